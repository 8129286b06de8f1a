//! Every message of Kafka's protocol that is described: the module of each API, its request and its
//! response. The codec's tests and the fuzz targets both go through them all.

/// Hands them all to the macro of the name given.
macro_rules! every_message {
    ($then:ident) => {
        $then! {
            produce: ProduceRequest, ProduceResponse;
            fetch: FetchRequest, FetchResponse;
            list_offsets: ListOffsetsRequest, ListOffsetsResponse;
            metadata: MetadataRequest, MetadataResponse;
            api_versions: ApiVersionsRequest, ApiVersionsResponse;
            create_topics: CreateTopicsRequest, CreateTopicsResponse;
            delete_topics: DeleteTopicsRequest, DeleteTopicsResponse;
            delete_records: DeleteRecordsRequest, DeleteRecordsResponse;
            create_partitions: CreatePartitionsRequest, CreatePartitionsResponse;
            describe_configs: DescribeConfigsRequest, DescribeConfigsResponse;
            alter_configs: AlterConfigsRequest, AlterConfigsResponse;
            incremental_alter_configs: IncrementalAlterConfigsRequest, IncrementalAlterConfigsResponse;
            describe_log_dirs: DescribeLogDirsRequest, DescribeLogDirsResponse;
            describe_cluster: DescribeClusterRequest, DescribeClusterResponse;
            describe_topic_partitions: DescribeTopicPartitionsRequest, DescribeTopicPartitionsResponse;
            offset_for_leader_epoch: OffsetForLeaderEpochRequest, OffsetForLeaderEpochResponse;
            init_producer_id: InitProducerIdRequest, InitProducerIdResponse;
            describe_producers: DescribeProducersRequest, DescribeProducersResponse;
            find_coordinator: FindCoordinatorRequest, FindCoordinatorResponse;
            join_group: JoinGroupRequest, JoinGroupResponse;
            sync_group: SyncGroupRequest, SyncGroupResponse;
            heartbeat: HeartbeatRequest, HeartbeatResponse;
            leave_group: LeaveGroupRequest, LeaveGroupResponse;
            offset_commit: OffsetCommitRequest, OffsetCommitResponse;
            offset_fetch: OffsetFetchRequest, OffsetFetchResponse;
            offset_delete: OffsetDeleteRequest, OffsetDeleteResponse;
            describe_groups: DescribeGroupsRequest, DescribeGroupsResponse;
            list_groups: ListGroupsRequest, ListGroupsResponse;
            delete_groups: DeleteGroupsRequest, DeleteGroupsResponse;
            consumer_group_heartbeat: ConsumerGroupHeartbeatRequest, ConsumerGroupHeartbeatResponse;
            consumer_group_describe: ConsumerGroupDescribeRequest, ConsumerGroupDescribeResponse;
            elect_leaders: ElectLeadersRequest, ElectLeadersResponse;
            alter_partition_reassignments: AlterPartitionReassignmentsRequest, AlterPartitionReassignmentsResponse;
            list_partition_reassignments: ListPartitionReassignmentsRequest, ListPartitionReassignmentsResponse;
            describe_quorum: DescribeQuorumRequest, DescribeQuorumResponse;
            update_features: UpdateFeaturesRequest, UpdateFeaturesResponse;
            unregister_broker: UnregisterBrokerRequest, UnregisterBrokerResponse;
        }
    };
}

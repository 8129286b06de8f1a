//! The APIs: their numbers and versions, from which version on they are flexible, their messages.
//!
//! The table is Apache Kafka 4.3's, for the keys that are served. `Produce` is described from 0
//! though Kafka dropped 0 to 2: librdkafka wants to see them advertised, and a request in one of
//! them is answered in its own words that it is not served.

use core::ops::RangeInclusive;

use super::error::KafkaError;
use super::field::Field;
use super::header::RequestHeader;
use super::reader::Reader;
use super::writer::{Frame, Writer};
use super::{
    alter_configs, alter_partition_reassignments, api_versions, consumer_group_describe,
    consumer_group_heartbeat, create_partitions, create_topics, delete_groups, delete_records,
    delete_topics, describe_cluster, describe_configs, describe_groups, describe_log_dirs,
    describe_producers, describe_quorum, describe_topic_partitions, elect_leaders, fetch,
    find_coordinator, heartbeat, incremental_alter_configs, init_producer_id, join_group,
    leave_group, list_groups, list_offsets, list_partition_reassignments, metadata, offset_commit,
    offset_delete, offset_fetch, offset_for_leader_epoch, produce, sync_group, unregister_broker,
    update_features,
};

/// One of the two messages of an API.
pub trait Message<'a>: Field<'a> {
    /// The API.
    const API: ApiKey;

    /// Reads a message from the start of `body`. What lies behind it is ignored, as Kafka does: to
    /// ask for all topics librdkafka 2.x leaves three bytes there, and would find no broker.
    fn decode(version: i16, body: &'a [u8]) -> Result<Self, KafkaError> {
        Self::API.check(version)?;
        let mut reader = Reader::new(body, version, Self::API.is_flexible(version));
        Self::read(&mut reader).map_err(|expected| reader.error(Some(Self::API), expected))
    }

    /// Writes the message behind what `frame` holds. The version must be one of the API's.
    fn encode(&self, version: i16, frame: &mut Frame) {
        assert!(Self::API.versions().contains(&version), "the caller chose a version served");
        self.write(&mut Writer::new(frame, version, Self::API.is_flexible(version)));
    }
}

macro_rules! apis {
    ($(
        $name:ident = $number:literal, $versions:expr, flexible $flexible:expr,
            $module:ident: $request:ident $(<$request_life:lifetime>)?,
            $response:ident $(<$response_life:lifetime>)?;
    )*) => {
        /// An API, by Kafka's name and number.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
        #[repr(i16)]
        #[expect(missing_docs, reason = "each variant is documented in the module of its name")]
        pub enum ApiKey { $($name = $number,)* }

        impl ApiKey {
            /// Every API, in ascending order.
            pub const ALL: &'static [ApiKey] = &[$(ApiKey::$name),*];

            /// The API of a number, if this version knows it.
            pub const fn from_number(number: i16) -> Option<ApiKey> {
                match number { $($number => Some(ApiKey::$name),)* _ => None }
            }

            /// Its name.
            pub const fn name(self) -> &'static str {
                match self { $(ApiKey::$name => stringify!($name),)* }
            }

            /// The versions that are described.
            pub const fn versions(self) -> RangeInclusive<i16> {
                match self { $(ApiKey::$name => $versions,)* }
            }

            /// The first version with compact lengths and tagged fields.
            const fn flexible_from(self) -> i16 {
                match self { $(ApiKey::$name => $flexible,)* }
            }
        }

        /// Any request.
        #[derive(Clone, Debug, PartialEq, Eq)]
        #[expect(missing_docs, reason = "each variant is documented in the module of its name")]
        pub enum Request<'a> { $($name($module::$request $(<$request_life>)?),)* }

        impl<'a> Request<'a> {
            /// Reads the request that `header` announces from the start of `body`.
            pub fn decode(
                header: &RequestHeader<'_>,
                body: &'a [u8],
            ) -> Result<Request<'a>, KafkaError> {
                match header.api {
                    $(ApiKey::$name => {
                        Message::decode(header.version, body).map(Request::$name)
                    })*
                }
            }
        }

        $(
            impl<'a> Message<'a> for $module::$request $(<$request_life>)? {
                const API: ApiKey = ApiKey::$name;
            }

            impl<'a> Message<'a> for $module::$response $(<$response_life>)? {
                const API: ApiKey = ApiKey::$name;
            }
        )*
    };
}

/// For an API that never became flexible.
const NEVER: i16 = i16::MAX;

apis! {
    Produce = 0, 0..=13, flexible 9,
        produce: ProduceRequest<'a>, ProduceResponse<'a>;
    Fetch = 1, 4..=18, flexible 12,
        fetch: FetchRequest<'a>, FetchResponse<'a>;
    ListOffsets = 2, 1..=11, flexible 6,
        list_offsets: ListOffsetsRequest<'a>, ListOffsetsResponse<'a>;
    Metadata = 3, 0..=13, flexible 9,
        metadata: MetadataRequest<'a>, MetadataResponse<'a>;
    OffsetCommit = 8, 2..=10, flexible 8,
        offset_commit: OffsetCommitRequest<'a>, OffsetCommitResponse<'a>;
    OffsetFetch = 9, 1..=10, flexible 6,
        offset_fetch: OffsetFetchRequest<'a>, OffsetFetchResponse<'a>;
    FindCoordinator = 10, 0..=6, flexible 3,
        find_coordinator: FindCoordinatorRequest<'a>, FindCoordinatorResponse<'a>;
    JoinGroup = 11, 0..=9, flexible 6,
        join_group: JoinGroupRequest<'a>, JoinGroupResponse<'a>;
    Heartbeat = 12, 0..=4, flexible 4,
        heartbeat: HeartbeatRequest<'a>, HeartbeatResponse;
    LeaveGroup = 13, 0..=5, flexible 4,
        leave_group: LeaveGroupRequest<'a>, LeaveGroupResponse<'a>;
    SyncGroup = 14, 0..=5, flexible 4,
        sync_group: SyncGroupRequest<'a>, SyncGroupResponse<'a>;
    DescribeGroups = 15, 0..=6, flexible 5,
        describe_groups: DescribeGroupsRequest<'a>, DescribeGroupsResponse<'a>;
    ListGroups = 16, 0..=5, flexible 3,
        list_groups: ListGroupsRequest<'a>, ListGroupsResponse<'a>;
    ApiVersions = 18, 0..=4, flexible 3,
        api_versions: ApiVersionsRequest<'a>, ApiVersionsResponse<'a>;
    CreateTopics = 19, 2..=7, flexible 5,
        create_topics: CreateTopicsRequest<'a>, CreateTopicsResponse<'a>;
    DeleteTopics = 20, 1..=6, flexible 4,
        delete_topics: DeleteTopicsRequest<'a>, DeleteTopicsResponse<'a>;
    DeleteRecords = 21, 0..=2, flexible 2,
        delete_records: DeleteRecordsRequest<'a>, DeleteRecordsResponse<'a>;
    InitProducerId = 22, 0..=6, flexible 2,
        init_producer_id: InitProducerIdRequest<'a>, InitProducerIdResponse;
    OffsetForLeaderEpoch = 23, 2..=4, flexible 4,
        offset_for_leader_epoch: OffsetForLeaderEpochRequest<'a>, OffsetForLeaderEpochResponse<'a>;
    DescribeConfigs = 32, 1..=4, flexible 4,
        describe_configs: DescribeConfigsRequest<'a>, DescribeConfigsResponse<'a>;
    AlterConfigs = 33, 0..=2, flexible 2,
        alter_configs: AlterConfigsRequest<'a>, AlterConfigsResponse<'a>;
    DescribeLogDirs = 35, 1..=5, flexible 2,
        describe_log_dirs: DescribeLogDirsRequest<'a>, DescribeLogDirsResponse<'a>;
    CreatePartitions = 37, 0..=3, flexible 2,
        create_partitions: CreatePartitionsRequest<'a>, CreatePartitionsResponse<'a>;
    DeleteGroups = 42, 0..=2, flexible 2,
        delete_groups: DeleteGroupsRequest<'a>, DeleteGroupsResponse<'a>;
    ElectLeaders = 43, 0..=2, flexible 2,
        elect_leaders: ElectLeadersRequest<'a>, ElectLeadersResponse<'a>;
    IncrementalAlterConfigs = 44, 0..=1, flexible 1,
        incremental_alter_configs: IncrementalAlterConfigsRequest<'a>,
        IncrementalAlterConfigsResponse<'a>;
    AlterPartitionReassignments = 45, 0..=1, flexible 0,
        alter_partition_reassignments: AlterPartitionReassignmentsRequest<'a>,
        AlterPartitionReassignmentsResponse<'a>;
    ListPartitionReassignments = 46, 0..=0, flexible 0,
        list_partition_reassignments: ListPartitionReassignmentsRequest<'a>,
        ListPartitionReassignmentsResponse<'a>;
    OffsetDelete = 47, 0..=0, flexible NEVER,
        offset_delete: OffsetDeleteRequest<'a>, OffsetDeleteResponse<'a>;
    DescribeQuorum = 55, 0..=2, flexible 0,
        describe_quorum: DescribeQuorumRequest<'a>, DescribeQuorumResponse<'a>;
    UpdateFeatures = 57, 0..=2, flexible 0,
        update_features: UpdateFeaturesRequest<'a>, UpdateFeaturesResponse<'a>;
    DescribeCluster = 60, 0..=2, flexible 0,
        describe_cluster: DescribeClusterRequest, DescribeClusterResponse<'a>;
    DescribeProducers = 61, 0..=0, flexible 0,
        describe_producers: DescribeProducersRequest<'a>, DescribeProducersResponse<'a>;
    UnregisterBroker = 64, 0..=0, flexible 0,
        unregister_broker: UnregisterBrokerRequest, UnregisterBrokerResponse<'a>;
    ConsumerGroupHeartbeat = 68, 0..=1, flexible 0,
        consumer_group_heartbeat: ConsumerGroupHeartbeatRequest<'a>,
        ConsumerGroupHeartbeatResponse<'a>;
    ConsumerGroupDescribe = 69, 0..=1, flexible 0,
        consumer_group_describe: ConsumerGroupDescribeRequest<'a>,
        ConsumerGroupDescribeResponse<'a>;
    DescribeTopicPartitions = 75, 0..=0, flexible 0,
        describe_topic_partitions: DescribeTopicPartitionsRequest<'a>,
        DescribeTopicPartitionsResponse<'a>;
}

impl ApiKey {
    /// Its number.
    pub const fn number(self) -> i16 {
        self as i16
    }

    /// The versions that Apache Kafka 4.3 advertises for this API: all that are described, save the
    /// last of `InitProducerId`, which is part of KIP-939 and not stable there yet.
    pub const fn advertised(self) -> RangeInclusive<i16> {
        match self {
            ApiKey::InitProducerId => 0..=5,
            api => api.versions(),
        }
    }

    /// Refuses a version that is not described.
    pub fn check(self, version: i16) -> Result<(), KafkaError> {
        if self.versions().contains(&version) {
            return Ok(());
        }
        Err(KafkaError::UnsupportedVersion { api: self, version })
    }

    /// Has this version compact lengths and tagged fields?
    pub const fn is_flexible(self, version: i16) -> bool {
        self.flexible_from() <= version
    }

    /// Are there tagged fields in the response's header? Not in that of `ApiVersions`, which a
    /// client must be able to read before it knows what the broker speaks (KIP-511).
    pub const fn has_flexible_response_header(self, version: i16) -> bool {
        self.is_flexible(version) && !matches!(self, ApiKey::ApiVersions)
    }
}

//! The examples of the messages between replicas; see `wire_examples.rs`.

use odradek::ids::{LeaderEpoch, NodeId, Offset, Partition, TopicPartition};
use odradek::wire::replica::ReplicaApiKey;
use odradek::wire::replica::alter_partition::{
    AlterPartitionRequest, AlterPartitionResponse, AlterReplicas, AlteredReplicas, InSync,
};
use odradek::wire::replica::fetch::{
    EpochEnd, FetchFrom, FetchReplica, FetchedReplica, ReplicaFetch, ReplicaFetched,
};
use odradek::wire::replica::progress::{ProgressReplica, ReplicaProgress};
use odradek::wire::{ErrorCode, RequestHeader};
use serde::{Deserialize, Serialize};

use super::{Example, ID, example, response};

/// Every message between replicas once.
pub fn all() -> Vec<Example> {
    let mut examples = vec![fetch(), fetched(), progress()];
    examples.extend(alter_partition());
    examples
}

fn place(partition: i32) -> TopicPartition {
    TopicPartition { topic_id: ID, partition: Partition(partition) }
}

/// A message that goes one way.
fn message<M>(name: &'static str, api: ReplicaApiKey, body: &M, raw: &[u8]) -> Example
where
    M: Serialize + Deserialize<'static> + PartialEq + std::fmt::Debug,
{
    let header = RequestHeader { api_key: api as u8, api_version: 0, correlation_id: 0 };
    example(name, &header, body, raw)
}

fn fetch() -> Example {
    let first = FetchReplica {
        topic_partition: place(2),
        leader_epoch: LeaderEpoch(5),
        sequence: 1000,
        from: FetchFrom::Offset { offset: Offset(300), last_epoch: LeaderEpoch(4) },
        log_start: Offset::ZERO,
        log_end: Offset(300),
        durable_end: Offset(290),
        max_bytes: 1 << 20,
        is_damaged: false,
    };
    let second = FetchReplica { sequence: 1001, from: FetchFrom::Next, ..first };
    let body =
        ReplicaFetch { follower: NodeId(3), broker_epoch: 17, partitions: vec![first, second] };
    message("message replica-fetch", ReplicaApiKey::Fetch, &body, b"")
}

fn fetched() -> Example {
    let with_bytes = FetchedReplica {
        topic_partition: place(2),
        leader_epoch: LeaderEpoch(5),
        sequence: 1000,
        error: ErrorCode::NONE,
        high_watermark: Offset(290),
        log_start: Offset::ZERO,
        log_end: Offset(302),
        diverging: None,
        records_bytes: 4,
    };
    let end = EpochEnd { leader_epoch: LeaderEpoch(3), end_offset: Offset(280) };
    let parted =
        FetchedReplica { sequence: 1001, diverging: Some(end), records_bytes: 0, ..with_bytes };
    let body = ReplicaFetched { partitions: vec![with_bytes, parted] };
    message("message replica-fetched", ReplicaApiKey::Fetched, &body, b"wxyz")
}

fn progress() -> Example {
    let body = ReplicaProgress {
        follower: NodeId(3),
        broker_epoch: 17,
        partitions: vec![ProgressReplica {
            topic_partition: place(2),
            leader_epoch: LeaderEpoch(5),
            sequence: 1001,
            log_start: Offset::ZERO,
            log_end: Offset(302),
            durable_end: Offset(302),
        }],
    };
    message("message replica-progress", ReplicaApiKey::Progress, &body, b"")
}

fn alter_partition() -> [Example; 2] {
    let member = |node: i32, broker_epoch| InSync { node_id: NodeId(node), broker_epoch };
    let request = AlterPartitionRequest {
        leader: NodeId(1),
        broker_epoch: 16,
        partitions: vec![AlterReplicas {
            topic_partition: place(2),
            leader_epoch: LeaderEpoch(5),
            partition_epoch: 9,
            isr: vec![member(1, 16), member(3, 17)],
            damaged: vec![NodeId(2)],
        }],
    };
    let header = RequestHeader {
        api_key: ReplicaApiKey::AlterPartition as u8,
        api_version: 0,
        correlation_id: 300,
    };
    let answer = AlterPartitionResponse {
        error: ErrorCode::NONE,
        partitions: vec![AlteredReplicas {
            topic_partition: place(2),
            error: ErrorCode::NONE,
            leader: NodeId(1),
            leader_epoch: LeaderEpoch(5),
            isr: vec![NodeId(1), NodeId(3)],
            partition_epoch: 10,
        }],
    };
    [
        example("request alter-partition", &header, &request, b""),
        response("response alter-partition", &answer, b""),
    ]
}

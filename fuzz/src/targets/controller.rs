//! The records of the metadata log.

use odradek::controller::change::{self, BrokerState, Change, Endpoint};
use odradek::controller::image::Image;
use odradek::ids::{LeaderEpoch, NodeId, Partition, TopicId, TopicName, Uuid};

use crate::Target;
use crate::note::note;

/// One target: a list of changes.
pub fn all() -> Vec<Target> {
    vec![Target::new("controller/changes", seeds(), changes)]
}

fn seeds() -> Vec<Vec<u8>> {
    let (topic_id, node_id) = (TopicId(Uuid([7; 16])), NodeId(1));
    let all = [
        Change::Cluster { cluster_id: Uuid([3; 16]), feature_level: 1 },
        Change::Broker { node_id, broker_epoch: 5 },
        Change::Topic { topic_id, name: TopicName::new("host.vmstat").expect("legal") },
        Change::Partition {
            topic_id,
            partition: Partition(0),
            replicas: vec![node_id, NodeId(2)],
            leader: node_id,
            leader_epoch: LeaderEpoch(4),
        },
        Change::Config { topic_id, key: "retention.ms".into(), value: Some("5".into()) },
        Change::Config { topic_id, key: "retention.ms".into(), value: None },
        Change::RemoveTopic { topic_id },
        Change::Registration {
            node_id,
            broker_epoch: 7,
            incarnation: Uuid([4; 16]),
            directory_id: Uuid([5; 16]),
            endpoints: vec![Endpoint {
                protocol: "wire".into(),
                host: "edge-1.local".into(),
                port: 7092,
            }],
            rack: "attic".into(),
            life: 2,
            active_epoch: 6,
        },
        Change::BrokerState { node_id, state: BrokerState::Active },
        Change::PartitionChange {
            topic_id,
            partition: Partition(0),
            leader: Some(node_id),
            leader_epoch: LeaderEpoch(5),
            isr: vec![node_id],
            elr: vec![NodeId(2)],
            partition_epoch: 3,
        },
        Change::Replicas {
            topic_id,
            partition: Partition(0),
            replicas: vec![node_id, NodeId(2), NodeId(3)],
            adding: vec![NodeId(3)],
            removing: vec![NodeId(2)],
        },
        Change::ProducerIds { next_id: 1000 },
        Change::BrokerConfig {
            node_id: Some(node_id),
            key: "log.cleaner.backoff.ms".into(),
            value: Some("15000".into()),
        },
        Change::GroupConfig {
            group_id: "readers".into(),
            key: "consumer.session.timeout.ms".into(),
            value: None,
        },
        Change::BrokerLevel { node_id, feature_level: 1 },
        Change::FeatureLevel { feature_level: 1 },
        Change::Departed { node_id, life: 2 },
        Change::RemoveBroker { node_id },
    ];
    let mut seeds: Vec<Vec<u8>> =
        all.iter().map(|one| change::encode(std::slice::from_ref(one))).collect();
    seeds.push(change::encode(&all));
    seeds
}

fn changes(bytes: &[u8]) {
    // It is no image, or one that can be replayed.
    let _ = Image::read(bytes);
    match change::decode(bytes) {
        Err(error) => note(&error),
        Ok(changes) => {
            for change in &changes {
                note(&std::mem::discriminant(change));
            }
            let encoded = change::encode(&changes);
            assert_eq!(change::decode(&encoded).as_deref(), Ok(&*changes));
        }
    }
}

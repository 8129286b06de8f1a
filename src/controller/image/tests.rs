//! Whatever an image was, the changes to another one lead to it.

use super::*;

fn topic(number: u8) -> TopicId {
    TopicId(Uuid([number; 16]))
}

fn made(number: u8, partitions: i32) -> Vec<Change> {
    let topic_id = topic(number);
    let name = TopicName::new(&format!("t{number}")).expect("legal");
    let mut changes = vec![Change::Topic { topic_id, name }];
    changes.extend((0..partitions).map(|partition| Change::Partition {
        topic_id,
        partition: Partition(partition),
        replicas: vec![NodeId(1), NodeId(2)],
        leader: NodeId(1),
        leader_epoch: LeaderEpoch(0),
    }));
    changes
}

fn image(changes: &[Vec<Change>]) -> Image {
    let mut image = Image::default();
    changes.iter().flatten().for_each(|change| image.replay(change));
    image
}

fn moved(partition: i32, replicas: &[i32], adding: &[i32], removing: &[i32]) -> Vec<Change> {
    let nodes = |list: &[i32]| list.iter().map(|node| NodeId(*node)).collect();
    let (replicas, adding, removing) = (nodes(replicas), nodes(adding), nodes(removing));
    let (topic_id, partition) = (topic(1), Partition(partition));
    vec![Change::Replicas { topic_id, partition, replicas, adding, removing }]
}

fn joined(node: i32, broker_epoch: i64) -> Vec<Change> {
    let node_id = NodeId(node);
    let registration = Change::Registration {
        node_id,
        broker_epoch,
        incarnation: Uuid([1; 16]),
        directory_id: Uuid([2; 16]),
        endpoints: Vec::new(),
        rack: "".into(),
        life: 3,
        active_epoch: 0,
    };
    vec![registration, Change::BrokerState { node_id, state: BrokerState::Active }]
}

#[test]
fn an_older_image_is_led_to_a_later_one() {
    let cluster = vec![Change::Cluster { cluster_id: Uuid([9; 16]), feature_level: 1 }];
    let fenced =
        |node: i32| vec![Change::BrokerState { node_id: NodeId(node), state: BrokerState::Fenced }];
    let config = |value: Option<&str>| {
        let (key, value) = ("retention.ms".into(), value.map(Into::into));
        vec![Change::Config { topic_id: topic(1), key, value }]
    };
    let led = |partition: i32, partition_epoch: i32| {
        vec![Change::PartitionChange {
            topic_id: topic(1),
            partition: Partition(partition),
            leader: None,
            leader_epoch: LeaderEpoch(3),
            isr: vec![NodeId(2)],
            elr: vec![NodeId(1)],
            partition_epoch,
        }]
    };
    let gone = |number: u8| vec![Change::RemoveTopic { topic_id: topic(number) }];
    let left = vec![Change::RemoveBroker { node_id: NodeId(1) }];
    let history = [
        cluster,
        joined(1, 1),
        made(1, 2),
        config(Some("5")),
        made(2, 1),
        led(0, 1),
        fenced(1),
        joined(2, 7),
        config(None),
        gone(2),
        vec![Change::ProducerIds { next_id: 1000 }],
        made(3, 1),
        joined(1, 12),
        vec![Change::Departed { node_id: NodeId(5), life: 9 }],
        led(1, 4),
        [moved(0, &[3, 1, 2], &[3], &[1, 2]), led(0, 2)].concat(),
        vec![Change::BrokerLevel { node_id: NodeId(2), feature_level: 2 }],
        [moved(0, &[3], &[], &[]), led(0, 3)].concat(),
        vec![Change::FeatureLevel { feature_level: 2 }],
        left,
        vec![Change::Departed { node_id: NodeId(1), life: 3 }],
    ];
    for from in 0..=history.len() {
        for to in from..=history.len() {
            let later = image(&history[..to]);
            let mut earlier = image(&history[..from]);
            let changes = earlier.changes_to(&later);
            for change in &changes {
                earlier.replay(change);
            }
            assert_eq!(earlier, later, "from {from} to {to} by {changes:?}");
        }
    }
}

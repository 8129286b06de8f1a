//! A shard's core by itself, without threads or sockets: events in, outputs out, on a disk in
//! memory. What is a matter of order between a shard and its neighbours is shown here.

#[path = "support/sim_disk.rs"]
mod sim_disk;

use std::path::Path;

use odradek::broker::BrokerConfig;
use odradek::broker::mail::ShardId;
use odradek::broker::shard::{Apply, Event, Output, Shard};
use odradek::controller::change::Change;
use odradek::ids::{LeaderEpoch, NodeId, Partition, TopicId, TopicName, TopicPartition, Uuid};
use odradek::log::Log;
use odradek::time::{Boot, Now, Timestamp};
use odradek::topic_config::TopicConfig;
use sim_disk::SimDisk;

const TOPIC: TopicPartition =
    TopicPartition { topic_id: TopicId(Uuid([3; 16])), partition: Partition(0) };

fn at(ms: u64) -> Now {
    let wall = Timestamp(1_790_000_000_000 + ms as i64);
    Now { boot: Boot(0).plus_ms(ms), wall, wall_trusted: true }
}

/// A shard with one topic `t` of one partition, on a disk of its own.
struct World {
    disk: SimDisk,
    shard: Shard<SimDisk>,
}

impl World {
    fn new(config: TopicConfig) -> World {
        let broker = BrokerConfig {
            node_id: NodeId(1),
            shard_count: 1,
            frame_bytes_max: 1 << 20,
            fetch_bytes_max: 1 << 20,
            auto_create_topics_enable: false,
            retention_check_interval_ms: 1_000_000,
            handles_max: 100,
            topic_defaults: config.clone(),
            shown: Vec::new(),
            process: Box::leak(Box::default()),
        };
        let disk = SimDisk::new();
        let name = TopicName::new("t").expect("legal");
        let log = Log::create(disk.clone(), Path::new("/d"), &name, TOPIC, config, at(0));
        let topic_id = TOPIC.topic_id;
        let made = Change::Partition {
            topic_id,
            partition: TOPIC.partition,
            replicas: vec![NodeId(1)],
            leader: NodeId(1),
            leader_epoch: LeaderEpoch(0),
        };
        let changes = vec![Change::Topic { topic_id, name }, made];
        let adopted = vec![log.expect("the disk works")];
        let mut world = World { disk, shard: Shard::new(at(0), ShardId(0), broker) };
        world.step(0, Event::Apply(Apply { version: 1, changes, adopted }));
        world
    }

    fn step(&mut self, ms: u64, event: Event<SimDisk>) -> Vec<Output<SimDisk>> {
        self.shard.step(at(ms), event);
        std::iter::from_fn(|| self.shard.poll()).collect()
    }
}

#[test]
fn a_deleted_log_leaves_before_its_deletion_counts_as_applied() {
    // Both commands may wait in the control thread's queue: delete a topic, create one of the same
    // name. With "applied" first the second one made its directory before the first one's log was
    // retired, and the retirement then took the new directory away.
    let mut world = World::new(TopicConfig::default());
    let changes = vec![Change::RemoveTopic { topic_id: TOPIC.topic_id }];
    let apply = Apply { version: 2, changes, adopted: Vec::new() };
    let mut order = Vec::new();
    for output in world.step(0, Event::Apply(apply)) {
        match output {
            Output::Retired(_) => order.push("retired"),
            Output::Applied(2) => order.push("applied"),
            _ => {}
        }
    }
    assert_eq!(order, ["retired", "applied"]);
    drop(world.disk);
}

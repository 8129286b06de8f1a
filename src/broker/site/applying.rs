//! Committed changes on their way to the shards, one batch after the other.
//!
//! ```text
//! replayed ─► waiting ─► directories of partitions are made and synced ─► every shard confirms
//! ```
//!
//! The controller's image is ahead of the shards': a command is judged by everything that is
//! committed. An answer waits for the shards.

use std::collections::{BTreeSet, VecDeque};
use std::mem;

use crate::broker::control::{ControlOutput, share_out};
use crate::broker::mail::ShardId;
use crate::broker::making::{Making, Wanted};
use crate::broker::shard::Apply;
use crate::broker::site::Site;
use crate::broker::site::storage::FULL_RETRY_MS;
use crate::controller::change::{self, Change, ChangesError};
use crate::controller::image::Image;
use crate::ids::{Offset, TopicName, TopicPartition};
use crate::journal::disk::Disk;
use crate::log::{Log, LogError};
use crate::quorum::{Committed, Reads, Snapshot};
use crate::record::Batch;
use crate::time::{Boot, Now};
use crate::wire::TopicRef;

/// A list of changes that take effect together, and the end of the metadata with them.
#[derive(Debug)]
struct Step {
    changes: Vec<Change>,
    /// Partitions that came here from elsewhere.
    gained: Vec<TopicPartition>,
    end_offset: Offset,
}

enum State<D: Disk> {
    Idle,
    /// There is no room for the rest of the partitions: they are made later.
    Full {
        step: Step,
        making: Making<D>,
        retry_at: Boot,
    },
    Preparing {
        step: Step,
    },
    Applying {
        end_offset: Offset,
        due: u16,
    },
}

/// What the shards do not know yet.
pub(super) struct Applying<D: Disk> {
    waiting: VecDeque<Step>,
    state: State<D>,
    version: u64,
    /// Since there was no room for a partition.
    is_full: bool,
    /// The end of what the shards know.
    applied_end: Offset,
    /// Partitions whose log a shard has. It lets one go when it is told to, and not before it knows
    /// all that was decided: of what it is told anew after a start it has kept the log.
    given: BTreeSet<TopicPartition>,
}

impl<D: Disk> Applying<D> {
    pub(super) fn new(applied_end: Offset) -> Applying<D> {
        Applying {
            waiting: VecDeque::new(),
            state: State::Idle,
            version: 0,
            is_full: false,
            applied_end,
            given: BTreeSet::new(),
        }
    }

    /// Whether there is no room for a partition.
    pub(super) fn is_full(&self) -> bool {
        self.is_full
    }
}

impl<D: Disk> Site<D> {
    /// The shards begin with the logs of these partitions.
    pub fn note_given(&mut self, partitions: impl Iterator<Item = TopicPartition>) {
        self.applying.given.extend(partitions);
    }

    /// A shard has let a log go.
    pub(super) fn note_retired(&mut self, topic_partition: TopicPartition) {
        self.applying.given.remove(&topic_partition);
    }

    /// The end of the metadata that every shard here knows.
    pub(super) fn applied_end(&self) -> Offset {
        // What changes nothing, a leader's first batch, needs no shard.
        let is_idle =
            matches!(self.applying.state, State::Idle) && self.applying.waiting.is_empty();
        if is_idle { self.replayed_end } else { self.applying.applied_end }
    }

    /// Takes a committed batch of changes into the image.
    pub(super) fn replay(&mut self, committed: &Committed) {
        self.replay_changes(changes_of(&committed.batch), Offset(committed.offset.0 + 1));
    }

    pub(super) fn replay_changes(&mut self, changes: Vec<Change>, end_offset: Offset) {
        let gained = self.gained_by(&changes);
        let changes = self.controller.replay_batch(changes, end_offset);
        self.replayed_end = end_offset;
        self.applying.waiting.push_back(Step { changes, gained, end_offset });
    }

    /// Replaces everything by what a leader sent.
    pub(super) fn restore(&mut self, snapshot: &Snapshot) {
        let image = Image::read(&snapshot.image).expect("it was read before it was taken");
        if !self.controller.image().may_become(&image) {
            // The shards cannot get there from where they are. The next start begins with it.
            log::error!("a leader's image has a known topic under another name, or less of it");
            return self.storage.fail();
        }
        let changes = self.controller.image().changes_to(&image);
        let gained = self.gained_by(&changes);
        self.controller.restore(image);
        self.replayed_end = Offset(snapshot.last_offset.0 + 1);
        self.applying.waiting.push_back(Step { changes, gained, end_offset: self.replayed_end });
    }

    /// Partitions that are known, have no replica here so far, and are to have one.
    fn gained_by(&self, changes: &[Change]) -> Vec<TopicPartition> {
        let own = self.id.node_id;
        let gained = changes.iter().filter_map(|change| {
            let Change::Replicas { topic_id, partition, replicas, .. } = change else {
                return None;
            };
            let topic = TopicRef::Id(*topic_id);
            let (topic_partition, image) =
                self.controller.image().find_partition(topic, *partition)?;
            let comes = replicas.contains(&own) && !image.replicas.contains(&own);
            comes.then_some(topic_partition)
        });
        gained.collect()
    }

    /// Begins with the next batch; answers whether there was one to begin with.
    pub(super) fn apply_next(&mut self, now: Now) -> bool {
        let (step, making) = match mem::replace(&mut self.applying.state, State::Idle) {
            State::Idle => match self.applying.waiting.pop_front() {
                Some(step) => {
                    let making = self.making(&step);
                    (step, making)
                }
                None => return false,
            },
            State::Full { step, mut making, retry_at } if retry_at <= now.boot => {
                making.wanted.retain(|wanted| self.is_still_wanted(wanted));
                (step, making)
            }
            other => {
                self.applying.state = other;
                return false;
            }
        };
        if making.wanted.is_empty() && making.logs.is_empty() {
            self.hand_to_shards(step, Vec::new());
        } else {
            self.applying.state = State::Preparing { step };
            self.outputs.push_back(ControlOutput::Prepare(making));
        }
        true
    }

    /// The logs are made and durable, or not.
    pub(super) fn apply_prepared(
        &mut self,
        now: Now,
        making: Making<D>,
        outcome: Result<(), LogError>,
    ) {
        let step = match mem::replace(&mut self.applying.state, State::Idle) {
            State::Preparing { step } => step,
            other => return self.applying.state = other,
        };
        let was_full = self.applying.is_full;
        match outcome {
            Ok(()) if was_full => log::warn!("the disk has room again: partitions are created"),
            Ok(()) => {}
            Err(LogError::DiskFull) => {
                if !was_full {
                    log::warn!("the disk is full: partitions are created when there is room");
                }
                let retry_at = now.boot.plus_ms(FULL_RETRY_MS);
                self.applying.is_full = true;
                self.applying.state = State::Full { step, making, retry_at };
                return;
            }
            Err(why) => {
                // The site has decided; a node that cannot follow has no use for more of it.
                log::error!("a partition could not be created: {why}");
                self.storage.fail();
            }
        }
        for wanted in &making.wanted {
            self.applying.given.remove(&wanted.topic_partition);
        }
        self.hand_to_shards(step, making.logs);
    }

    /// A shard has replayed a list.
    pub(super) fn apply_confirmed(&mut self, version: u64) {
        if version != self.applying.version {
            return;
        }
        if let State::Applying { end_offset, due } = &mut self.applying.state {
            *due -= 1;
            if *due == 0 {
                self.applying.applied_end = *end_offset;
                self.applying.state = State::Idle;
            }
        }
    }

    fn hand_to_shards(&mut self, step: Step, mut logs: Vec<Log<D>>) {
        let Step { changes, end_offset, .. } = step;
        self.applying.is_full = false;
        for log in &mut logs {
            // It may have changed since it was to be made: room is waited for as long as it takes.
            let topic = self.controller.image().topic(log.topic_partition().topic_id);
            if let Some(topic) = topic {
                log.set_config(topic.effective(&self.topic_defaults));
            }
        }
        if changes.iter().any(|change| matches!(change, Change::BrokerConfig { .. })) {
            // Before a shard confirms the change, it has what follows from it.
            self.outputs.push_back(ControlOutput::Configure);
        }
        self.applying.version += 1;
        let version = self.applying.version;
        let is_current = self.is_current_at(end_offset);
        for (shard, adopted) in share_out(logs, self.shard_count).into_iter().enumerate() {
            let apply = Apply { version, changes: changes.clone(), adopted, is_current };
            self.outputs.push_back(ControlOutput::Apply(ShardId(shard as u16), apply));
        }
        self.applying.state = State::Applying { end_offset, due: self.shard_count };
    }

    /// Whether this process is registered by what is decided before an offset.
    fn is_current_at(&self, end_offset: Offset) -> bool {
        let own = self.controller.image().broker(self.id.node_id);
        own.is_some_and(|own| own.incarnation == self.process && own.broker_epoch < end_offset.0)
    }

    /// The logs of partitions that have a replica here, as far as they are found.
    fn making(&mut self, step: &Step) -> Making<D> {
        let node_id = self.id.node_id;
        let made = step.changes.iter().filter_map(|change| match change {
            Change::Partition { topic_id, partition, replicas, leader_epoch, .. } => {
                let topic_partition = TopicPartition { topic_id: *topic_id, partition: *partition };
                let begins = (replicas.len() == 1).then_some(*leader_epoch);
                replicas.contains(&node_id).then_some((topic_partition, begins))
            }
            _ => None,
        });
        // Where there are others, whoever leads begins the epoch.
        let gained = step.gained.iter().map(|topic_partition| (*topic_partition, None));
        let mut making = Making { wanted: VecDeque::new(), logs: Vec::new() };
        for (topic_partition, begins) in made.chain(gained) {
            // A topic that a later batch removed is not made any more.
            let Some(topic) = self.controller.image().topic(topic_partition.topic_id) else {
                continue;
            };
            if !self.applying.given.insert(topic_partition) {
                continue;
            }
            let config = topic.effective(&self.topic_defaults);
            if let Some(mut log) = self.unclaimed.remove(&topic_partition) {
                log.set_config(config);
                making.logs.push(log);
                continue;
            }
            let name = TopicName::new(&topic.name).expect("the controller checked it");
            making.wanted.push_back(Wanted { name, topic_partition, config, begins });
        }
        making
    }

    /// Whether the topic of a log that found no room is there still.
    fn is_still_wanted(&mut self, wanted: &Wanted) -> bool {
        let topic_partition = wanted.topic_partition;
        let is_wanted = self.controller.image().topic(topic_partition.topic_id).is_some();
        if !is_wanted {
            self.applying.given.remove(&topic_partition);
        }
        is_wanted
    }
}

/// What a peer may bring.
pub(super) const READS: Reads = Reads {
    changes: |value| change::each(value).is_ok_and(|mut all| all.all(|change| change.is_ok())),
    image: |bytes| Image::read(bytes).is_ok(),
};

/// The changes of a batch that was committed.
pub(super) fn changes_of(batch: &[u8]) -> Vec<Change> {
    read_changes(batch)
        .and_then(Result::ok)
        .expect("what this software proposed it reads; what came from others was read before")
}

/// The changes of a batch, if it is about changes.
pub(super) fn read_changes(batch: &[u8]) -> Option<Result<Vec<Change>, ChangesError>> {
    let (batch, _) = Batch::split_first(batch).ok()?;
    let is_changes = !batch.header().attributes.is_control();
    let record = batch.records().next()?.ok()?;
    record.value.filter(|_| is_changes).map(change::decode)
}

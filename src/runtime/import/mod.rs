//! `odradek log import`: the topics of a cleanly stopped Apache Kafka become ours.
//!
//! 1. *Plan* ([`ImportPlan`]): the directories are read and compared, nothing is changed.
//! 2. *Bring*: every partition is copied or moved to `import.staging` in the log dir, each batch
//!    checked, each file synced. A stop up to here leaves the topics as they were.
//! 3. *Name*: the directories get their names in the log dir.
//! 4. *Commit*: one journal commit holds the partitions' starts, epochs and recovery points, and
//!    behind them the topics' creation in the metadata log. From then on they are ours.
//!
//! Stopped anywhere and begun again it ends the same: what was brought is brought over, what was
//! named is found by its topic id, and what was committed is not taken twice.

mod metadata;
mod plan;

use std::fmt;
use std::io;
use std::path::{Path, PathBuf};

use crate::broker::control::{Control, ControlStart};
use crate::config::Config;
use crate::controller::change::Change;
use crate::controller::image::Image;
use crate::ids::{
    LeaderEpoch, NodeId, Offset, Partition, TopicId, TopicName, TopicPartition, Uuid,
};
use crate::journal::disk::{Disk, Open};
use crate::journal::{Entry, SegmentRef, SmallState};
use crate::log::{KafkaDirError, KafkaPartition, OpenError, Take, TakeError, Taken, take_over};
use crate::runtime::boot::{File, OpenDir, random};
use crate::runtime::disk::FileDisk;
use crate::runtime::lock::{DirLock, LockError};
use crate::runtime::{StartError, clock, reload};
use crate::wire::TopicRef;
pub use metadata::{KafkaMetadata, KafkaTopic};
pub use plan::{ImportPlan, PlannedTopic};

/// Where partitions stay until all of them are there.
const STAGING: &str = "import.staging";

/// Why nothing, or not everything, is taken over.
#[derive(Debug)]
pub enum ImportError {
    /// A directory is not one to take over.
    Source(KafkaDirError),
    /// Kafka runs on it.
    Running(PathBuf),
    /// Source and log dir are one directory.
    Into(PathBuf),
    /// Two directories hold the same partition.
    Twice(PathBuf, PathBuf),
    /// A partition of a topic is in none of the directories.
    Missing(Box<TopicName>, Partition),
    /// The partitions of a topic have several ids.
    TwoIds(Box<TopicName>),
    /// The log dir has another topic of this name.
    Exists(Box<TopicName>),
    /// Kafka's metadata cannot be read.
    Metadata(PathBuf),
    /// A partition is not fit to be taken over.
    Take(TakeError),
    /// The log dir cannot be opened.
    Start(StartError),
    /// A file cannot be read or written.
    Io(PathBuf, io::Error),
}

impl fmt::Display for ImportError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Source(why) => why.fmt(f),
            Self::Running(dir) => {
                write!(f, "{}: Kafka is running; stop it with kafka-server-stop", dir.display())
            }
            Self::Into(dir) => write!(
                f,
                "{}: is both where the topics are and where they are to go; --into names another \
                 directory",
                dir.display()
            ),
            Self::Twice(one, other) => {
                write!(f, "{} and {} are the same partition", one.display(), other.display())
            }
            Self::Missing(name, partition) => write!(
                f,
                "{name}-{partition} is missing: a topic is taken over whole; name every directory \
                 of Kafka's log.dirs"
            ),
            Self::TwoIds(name) => write!(f, "{name}: its partitions have several topic ids"),
            Self::Exists(name) => write!(f, "{name}: there is another topic of this name already"),
            Self::Metadata(file) => {
                write!(f, "{}: Kafka's metadata cannot be read", file.display())
            }
            Self::Take(why) => why.fmt(f),
            Self::Start(why) => why.fmt(f),
            Self::Io(path, why) => write!(f, "{}: {why}", path.display()),
        }
    }
}

impl std::error::Error for ImportError {}

/// A topic that was taken over.
#[derive(Debug)]
pub struct ImportedTopic {
    /// Its name.
    pub name: TopicName,
    /// Its id.
    pub topic_id: TopicId,
    /// Start and what was found, by partition; empty when it was there already.
    pub partitions: Vec<(Offset, Taken)>,
}

/// Takes over what `plan` names into the log dir `into`. `progress` is told of bytes as they are
/// done with.
pub fn import(
    config: &Config,
    plan: &ImportPlan,
    into: &Path,
    how: Take,
    progress: &mut dyn FnMut(u64),
) -> Result<Vec<ImportedTopic>, ImportError> {
    let io_failed = |why| ImportError::Start(StartError::LogDirIo(into.to_owned(), why));
    let _lock = DirLock::take(into).map_err(|why| match why {
        LockError::Held => ImportError::Start(StartError::LogDirInUse(into.to_owned())),
        LockError::Io(why) => io_failed(why),
    })?;
    let now = clock::now();
    let mut config = config.clone();
    let opened = match OpenDir::open(&config, into, now) {
        Err(StartError::LogDir(OpenError::OtherNode { found, .. })) => {
            config.broker_id = found;
            OpenDir::open(&config, into, now)
        }
        opened => opened,
    };
    let mut opened = opened.map_err(ImportError::Start)?;
    let log = opened.take_metadata(now).map_err(ImportError::Start)?;
    let start = ControlStart {
        controller: reload::controller(&config, config.broker_id, usize::MAX),
        log,
        shard_count: 1,
        seed: u64::from_be_bytes(random()),
    };
    let metadata_failed = |why| ImportError::Start(StartError::Metadata(why));
    let cluster_id = opened.dir.identity().cluster_id;
    let (mut control, entries) = Control::start(now, start, cluster_id).map_err(metadata_failed)?;

    let mut job = Job {
        node_id: config.broker_id,
        into,
        how,
        entries,
        changes: Vec::new(),
        imported: Vec::new(),
    };
    let outcome = job.bring(plan, control.controller().image(), progress);
    if outcome.is_ok() {
        job.note_producer_ids(plan, control.controller().image());
        for changes in &job.changes {
            let entry = control.import(now, changes).map_err(metadata_failed)?;
            job.entries.push(entry);
        }
    }
    opened.commit(&job.entries).map_err(ImportError::Start)?;
    opened.logs.push(control.into_log());
    let OpenDir { dir, journal, logs, .. } = opened;
    let journal_failed = |why| ImportError::Start(StartError::Journal(into.to_owned(), why));
    journal.close().map_err(journal_failed)?;
    dir.close(logs, now).map_err(io_failed)?;
    outcome?;
    if how == Take::Move {
        remove_sources(plan)?;
    }
    Ok(job.imported)
}

/// What is left of the partitions that were moved: caches.
fn remove_sources(plan: &ImportPlan) -> Result<(), ImportError> {
    for partition in plan.topics.iter().flat_map(|topic| &topic.partitions) {
        let removed = FileDisk::new().remove_dir_all(&partition.dir);
        removed.map_err(|why| ImportError::Io(partition.dir.clone(), why))?;
    }
    Ok(())
}

/// An import under way.
struct Job<'a> {
    node_id: NodeId,
    into: &'a Path,
    how: Take,
    entries: Vec<Entry<File>>,
    /// A list a topic: each is there whole or not at all.
    changes: Vec<Vec<Change>>,
    imported: Vec<ImportedTopic>,
}

impl Job<'_> {
    /// Brings every topic that is not there, names its directories, and gathers what is to be
    /// committed.
    fn bring(
        &mut self,
        plan: &ImportPlan,
        image: &Image,
        progress: &mut dyn FnMut(u64),
    ) -> Result<(), ImportError> {
        let mut fresh = Vec::new();
        for topic in &plan.topics {
            let there = image.find(TopicRef::Name(topic.name.as_str())).map(|found| found.0);
            match there {
                Some(id) if Some(id) == topic.topic_id => {
                    let (name, partitions) = (topic.name.clone(), Vec::new());
                    self.imported.push(ImportedTopic { name, topic_id: id, partitions });
                }
                Some(_) => return Err(ImportError::Exists(Box::new(topic.name.clone()))),
                None => fresh.push(topic),
            }
        }
        let staging = self.into.join(STAGING);
        let mut taken = Vec::new();
        for topic in &fresh {
            let topic_id = topic.topic_id.unwrap_or_else(|| TopicId(Uuid::from_random(random())));
            for partition in &topic.partitions {
                let found = self.bring_partition(&staging, partition, topic_id, progress);
                // A copy that was not finished is of no use; what was moved is not to be lost.
                if found.is_err() && self.how == Take::Copy {
                    let _ = FileDisk::new().remove_dir_all(&staging);
                }
                taken.push((topic_id, partition, found?));
            }
        }
        self.name_all(&staging, &taken)?;
        let mut taken = taken.into_iter();
        for topic in fresh {
            let own: Vec<_> = taken.by_ref().take(topic.partitions.len()).collect();
            self.settle(topic, own)?;
        }
        Ok(())
    }

    fn bring_partition(
        &self,
        staging: &Path,
        partition: &KafkaPartition,
        topic_id: TopicId,
        progress: &mut dyn FnMut(u64),
    ) -> Result<Taken, ImportError> {
        let disk = FileDisk::new();
        let named = dir_of(self.into, partition);
        if !named.exists() {
            let to = dir_of(staging, partition);
            return take_over(&disk, partition, topic_id, &to, self.how, progress)
                .map_err(ImportError::Take);
        }
        // It was named before a stop; it is looked at where it is.
        let mut there = partition.clone();
        there.dir.clone_from(&named);
        take_over(&disk, &there, topic_id, &named, self.how, progress).map_err(ImportError::Take)
    }

    /// Gives every directory its name.
    fn name_all(
        &self,
        staging: &Path,
        taken: &[(TopicId, &KafkaPartition, Taken)],
    ) -> Result<(), ImportError> {
        let disk = FileDisk::new();
        let failed = |why| ImportError::Io(self.into.to_owned(), why);
        for (_, partition, _) in taken {
            let (from, to) = (dir_of(staging, partition), dir_of(self.into, partition));
            if !to.exists() {
                disk.rename(&from, &to).map_err(failed)?;
            }
        }
        disk.sync_dir(self.into).map_err(failed)?;
        if staging.exists() {
            disk.remove_dir_all(staging).map_err(failed)?;
        }
        Ok(())
    }

    /// What makes a topic ours.
    fn settle(
        &mut self,
        topic: &PlannedTopic,
        taken: Vec<(TopicId, &KafkaPartition, Taken)>,
    ) -> Result<(), ImportError> {
        let Some(topic_id) = taken.first().map(|first| first.0) else { return Ok(()) };
        let name = topic.name.clone();
        let mut changes = vec![Change::Topic { topic_id, name: name.clone() }];
        for (key, value) in &topic.configs {
            let (key, value) = (key.as_str().into(), Some(value.as_str().into()));
            changes.push(Change::Config { topic_id, key, value });
        }
        let node_id = self.node_id;
        let mut partitions = Vec::new();
        for (_, partition, found) in taken {
            let latest = found.epochs.last().map_or(LeaderEpoch::NONE, |last| last.0);
            let latest = latest.max(partition.latest_epoch);
            changes.push(Change::Partition {
                topic_id,
                partition: partition.partition,
                replicas: vec![node_id],
                leader: node_id,
                leader_epoch: latest.next().expect("2^31 epochs are not reached"),
            });
            self.note_state(topic_id, partition, &found)?;
            partitions.push((partition.start, found));
        }
        self.changes.push(changes);
        self.imported.push(ImportedTopic { name, topic_id, partitions });
        Ok(())
    }

    /// What the journal is to know of a partition.
    fn note_state(
        &mut self,
        topic_id: TopicId,
        partition: &KafkaPartition,
        taken: &Taken,
    ) -> Result<(), ImportError> {
        let topic_partition = TopicPartition { topic_id, partition: partition.partition };
        let epochs = taken.epochs.iter();
        let states = epochs.map(|&(epoch, offset)| SmallState::EpochStart { epoch, offset });
        let states = states.chain([SmallState::LogStart(partition.start)]);
        self.entries.extend(states.map(|state| Entry::State { topic_partition, state }));
        let Some(last) = taken.last else { return Ok(()) };
        let dir = dir_of(self.into, partition);
        let path = dir.join(format!("{:020}.log", last.base.0));
        let file = FileDisk::new().open(&path, Open::Write);
        let file = file.map_err(|why| ImportError::Io(path, why))?;
        let segment =
            SegmentRef { file, base_offset: last.base, is_new: true, dir: dir.as_path().into() };
        let (end_offset, position_end) = (taken.end, last.bytes);
        self.entries.push(Entry::Flush { topic_partition, end_offset, segment, position_end });
        Ok(())
    }

    /// Producers whose records were taken over keep their ids to themselves.
    fn note_producer_ids(&mut self, plan: &ImportPlan, image: &Image) {
        let found = self.imported.iter().flat_map(|topic| &topic.partitions);
        let max = found.map(|(_, taken)| taken.producer_id_max).max().unwrap_or(-1);
        let next_id = plan.next_producer_id.max(max.saturating_add(1));
        if image.next_producer_id() < next_id {
            self.changes.push(vec![Change::ProducerIds { next_id }]);
        }
    }
}

fn dir_of(parent: &Path, partition: &KafkaPartition) -> PathBuf {
    parent.join(format!("{}-{}", partition.name, partition.partition))
}

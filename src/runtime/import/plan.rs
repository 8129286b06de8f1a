//! What would be taken over: the directories read and compared, nothing changed.

use std::collections::BTreeMap;
use std::fs::{File, OpenOptions};
use std::path::{Path, PathBuf};

use rustix::fs::{FlockOperation, fcntl_lock};
use rustix::io::Errno;

use super::ImportError;
use super::metadata::KafkaMetadata;
use crate::ids::{Partition, TopicId, TopicName};
use crate::log::{KafkaDir, KafkaPartition, topic_id_in};
use crate::runtime::disk::FileDisk;
use crate::topic_config::TopicConfig;

/// A topic to take over.
#[derive(Clone, Debug)]
pub struct PlannedTopic {
    /// Its name.
    pub name: TopicName,
    /// Its id; one is made for a topic of before Kafka 2.8.
    pub topic_id: Option<TopicId>,
    /// Its partitions, from 0 on without a hole.
    pub partitions: Vec<KafkaPartition>,
    /// Keys of its configuration that are known here.
    pub configs: Vec<(String, String)>,
    /// Keys that are not, or whose value is none here.
    pub dropped: Vec<(String, String)>,
    /// Whether a directory of it is there already, of the same id.
    pub is_there: bool,
}

/// What is to be done.
#[derive(Debug)]
pub struct ImportPlan {
    /// By name.
    pub topics: Vec<PlannedTopic>,
    /// What stays behind, and why.
    pub left: Vec<(PathBuf, &'static str)>,
    /// Whether Kafka's metadata was found, and with it the topics' configurations.
    pub has_metadata: bool,
    /// Producer ids below this one were given out by Kafka.
    pub next_producer_id: i64,
    /// Kafka's own locks, so that it does not start meanwhile.
    locks: Vec<File>,
}

impl ImportPlan {
    /// Reads `sources` with a view to `into`.
    pub fn of(sources: &[PathBuf], into: &Path) -> Result<ImportPlan, ImportError> {
        let disk = FileDisk::new();
        let mut plan = ImportPlan {
            topics: Vec::new(),
            left: Vec::new(),
            has_metadata: false,
            next_producer_id: 0,
            locks: Vec::new(),
        };
        let mut metadata = KafkaMetadata::default();
        let mut topics: BTreeMap<TopicName, BTreeMap<Partition, KafkaPartition>> = BTreeMap::new();
        for source in sources {
            if is_same(source, into) {
                return Err(ImportError::Into(into.into()));
            }
            plan.locks.extend(lock(source)?);
            let dir = KafkaDir::read(&disk, source).map_err(ImportError::Source)?;
            if let Some(found) = KafkaMetadata::read(&disk, source)? {
                plan.has_metadata = true;
                metadata = found;
            }
            plan.left.extend(dir.left.into_iter().map(|(name, why)| (source.join(name), why)));
            for partition in dir.partitions {
                let (name, number) = (partition.name.clone(), partition.partition);
                let twin = topics.entry(name).or_default().insert(number, partition.clone());
                if let Some(twin) = twin {
                    return Err(ImportError::Twice(partition.dir, twin.dir));
                }
            }
        }
        plan.next_producer_id = metadata.next_producer_id;
        for (name, partitions) in topics {
            let planned = plan_topic(disk, into, name, partitions, &metadata)?;
            plan.topics.push(planned);
        }
        Ok(plan)
    }

    /// Bytes of all segments.
    pub fn size_bytes(&self) -> u64 {
        let partitions = self.topics.iter().flat_map(|topic| &topic.partitions);
        partitions.map(KafkaPartition::size_bytes).sum()
    }
}

fn is_same(a: &Path, b: &Path) -> bool {
    match (a.canonicalize(), b.canonicalize()) {
        (Ok(a), Ok(b)) => a == b,
        _ => a == b,
    }
}

/// Takes the lock that a running Kafka holds; Java takes it by `fcntl`, not by `flock`.
fn lock(dir: &Path) -> Result<Option<File>, ImportError> {
    let path = dir.join(".lock");
    if !path.exists() {
        return Ok(None);
    }
    let failed = |error| ImportError::Io(path.clone(), error);
    let file = OpenOptions::new().read(true).write(true).open(&path).map_err(failed)?;
    match fcntl_lock(&file, FlockOperation::NonBlockingLockExclusive) {
        Ok(()) => Ok(Some(file)),
        Err(Errno::AGAIN | Errno::ACCESS) => Err(ImportError::Running(dir.into())),
        Err(why) => Err(failed(why.into())),
    }
}

fn plan_topic(
    disk: FileDisk,
    into: &Path,
    name: TopicName,
    partitions: BTreeMap<Partition, KafkaPartition>,
    metadata: &KafkaMetadata,
) -> Result<PlannedTopic, ImportError> {
    let known = metadata.topics.get(name.as_str());
    let last = partitions.keys().next_back().map_or(0, |last| last.0.saturating_add(1));
    let count = known.map_or(0, |topic| topic.partition_count).max(last);
    let partitions: Vec<KafkaPartition> = partitions.into_values().collect();
    let missing = (0..count).find(|number| {
        partitions.get(*number as usize).is_none_or(|found| found.partition.0 != *number)
    });
    if let Some(number) = missing {
        return Err(ImportError::Missing(Box::new(name), Partition(number)));
    }
    let mut ids = partitions.iter().filter_map(|partition| partition.topic_id);
    let topic_id = ids.next();
    if ids.any(|other| Some(other) != topic_id) {
        return Err(ImportError::TwoIds(Box::new(name)));
    }
    let mut planned = PlannedTopic {
        topic_id,
        partitions,
        configs: Vec::new(),
        dropped: Vec::new(),
        is_there: false,
        name,
    };
    for partition in &planned.partitions {
        let there = into.join(format!("{}-{}", planned.name, partition.partition));
        if there.exists() {
            let id = topic_id_in(&disk, &there).map_err(ImportError::Source)?;
            if id.is_none() || id != topic_id {
                return Err(ImportError::Exists(Box::new(planned.name)));
            }
            planned.is_there = true;
        }
    }
    let mut config = TopicConfig::default();
    for (key, value) in known.into_iter().flat_map(|topic| &topic.configs) {
        let pair = (key.clone(), value.clone());
        match config.set(key, value) {
            Ok(()) => planned.configs.push(pair),
            Err(_) => planned.dropped.push(pair),
        }
    }
    Ok(planned)
}

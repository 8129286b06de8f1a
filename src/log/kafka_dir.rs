//! A log directory of Apache Kafka, read without a change: what `odradek log import` takes over.
//!
//! Only a directory that Kafka stopped cleanly is one: then its checkpoints say where each log
//! ends, and nothing in a segment awaits truncation.

use std::collections::BTreeMap;
use std::fmt;
use std::io;
use std::path::{Path, PathBuf};

use super::Disk;
use super::dir::parse_dir_name;
use super::identity::FORMAT_FILE;
use super::kafka_files::{
    self, CLEAN_SHUTDOWN, LEADER_EPOCHS, LOG_STARTS, META_PROPERTIES, PARTITION_METADATA,
};
use super::recovery::segment_bases;
use super::segment::file_name;
use super::small_file;
use crate::ids::{LeaderEpoch, Offset, Partition, TopicId, TopicName};
use crate::journal::disk::{DiskFile, Open};

/// Where Kafka notes up to where a log is synced: its end, after a clean stop.
const RECOVERY_POINTS: &str = "recovery-point-offset-checkpoint";
/// Where Kafka notes the high watermarks.
const HIGH_WATERMARKS: &str = "replication-offset-checkpoint";

/// Topics that are Kafka's own and mean nothing here, and why.
const LEFT_TOPICS: &[(&str, &str)] = &[
    ("__cluster_metadata", "Kafka's metadata: topics and their configurations are read from it"),
    ("__transaction_state", "Kafka's transactions: none is open after a clean stop"),
    ("__share_group_state", "Kafka's share groups are not served"),
    ("__remote_log_metadata", "there is no tiered storage"),
];

/// Why a directory is not taken over.
#[derive(Debug)]
pub enum KafkaDirError {
    /// It has no `meta.properties`.
    NotKafkas(PathBuf),
    /// It is a log dir of Odradek.
    Ours(PathBuf),
    /// Kafka did not stop, or not cleanly.
    NotStopped(PathBuf),
    /// It cannot be read.
    Io(PathBuf, io::Error),
}

impl fmt::Display for KafkaDirError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NotKafkas(dir) => write!(
                f,
                "{}: no log directory of Apache Kafka (it has no {META_PROPERTIES})",
                dir.display()
            ),
            Self::Ours(dir) => {
                write!(f, "{}: a log dir of Odradek already; log.dirs may name it", dir.display())
            }
            Self::NotStopped(dir) => write!(
                f,
                "{}: Kafka did not stop cleanly (no {CLEAN_SHUTDOWN}); start it once more and \
                 stop it with kafka-server-stop",
                dir.display()
            ),
            Self::Io(path, why) => write!(f, "{}: {why}", path.display()),
        }
    }
}

impl std::error::Error for KafkaDirError {}

/// A segment of Kafka's.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct KafkaSegment {
    /// Its name's offset.
    pub base: Offset,
    /// Length of its `.log` file.
    pub bytes: u64,
}

/// A partition's directory.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KafkaPartition {
    /// Where it lies.
    pub dir: PathBuf,
    /// Its topic.
    pub name: TopicName,
    /// Its number.
    pub partition: Partition,
    /// Its topic's id; Kafka has given them since 2.8.
    pub topic_id: Option<TopicId>,
    /// Its first offset.
    pub start: Offset,
    /// Where it ends, as Kafka noted it.
    pub noted_end: Option<Offset>,
    /// Its high watermark, as Kafka noted it.
    pub high_watermark: Option<Offset>,
    /// The latest leader epoch that Kafka noted.
    pub latest_epoch: LeaderEpoch,
    /// Its segments, ascending.
    pub segments: Vec<KafkaSegment>,
}

impl KafkaPartition {
    /// Bytes of all segments.
    pub fn size_bytes(&self) -> u64 {
        self.segments.iter().map(|segment| segment.bytes).sum()
    }
}

/// A directory of Kafka's log.dirs.
#[derive(Clone, Debug)]
pub struct KafkaDir {
    /// Where it is.
    pub path: PathBuf,
    /// Its partitions, by topic and number.
    pub partitions: Vec<KafkaPartition>,
    /// What stays behind, and why.
    pub left: Vec<(String, &'static str)>,
}

/// What Kafka's checkpoint files of one directory say.
struct Noted {
    starts: BTreeMap<(TopicName, Partition), Offset>,
    ends: BTreeMap<(TopicName, Partition), Offset>,
    high_watermarks: BTreeMap<(TopicName, Partition), Offset>,
}

impl KafkaDir {
    /// Reads what lies in `path`, or says why it is not to be taken over.
    pub fn read(disk: &impl Disk, path: &Path) -> Result<KafkaDir, KafkaDirError> {
        let failed = |error| KafkaDirError::Io(path.into(), error);
        let has = |name: &str| disk.exists(&path.join(name)).map_err(failed);
        if has(FORMAT_FILE)? {
            return Err(KafkaDirError::Ours(path.into()));
        }
        if !has(META_PROPERTIES)? {
            return Err(KafkaDirError::NotKafkas(path.into()));
        }
        if !has(CLEAN_SHUTDOWN)? {
            return Err(KafkaDirError::NotStopped(path.into()));
        }
        let offsets = |name: &str| text(disk, &path.join(name)).map(|text| offsets_of(&text));
        let noted = Noted {
            starts: offsets(LOG_STARTS)?,
            ends: offsets(RECOVERY_POINTS)?,
            high_watermarks: offsets(HIGH_WATERMARKS)?,
        };
        let mut dir = KafkaDir { path: path.into(), partitions: Vec::new(), left: Vec::new() };
        for name in disk.list(path).map_err(failed)? {
            let Some(name) = name.to_str() else { continue };
            if let Some((topic, partition)) = parse_dir_name(name) {
                dir.add(disk, name, topic, partition, &noted)?;
            } else if ["-delete", "-future", "-stray"].iter().any(|end| name.ends_with(end)) {
                dir.left.push((name.to_owned(), "on its way out, or not yet in, by its name"));
            }
        }
        dir.partitions.sort_by(|a, b| (&a.name, a.partition).cmp(&(&b.name, b.partition)));
        Ok(dir)
    }

    fn add(
        &mut self,
        disk: &impl Disk,
        dir_name: &str,
        name: TopicName,
        partition: Partition,
        noted: &Noted,
    ) -> Result<(), KafkaDirError> {
        if let Some((_, why)) = LEFT_TOPICS.iter().find(|(left, _)| *left == name.as_str()) {
            self.left.push((dir_name.to_owned(), why));
            return Ok(());
        }
        let dir = self.path.join(dir_name);
        let failed = |error| KafkaDirError::Io(dir.clone(), error);
        let mut segments = Vec::new();
        for base in segment_bases(disk, &dir).map_err(failed)? {
            let file = disk.open(&dir.join(file_name(base, "log")), Open::Read);
            let bytes = file.and_then(|file| file.len()).map_err(failed)?;
            segments.push(KafkaSegment { base, bytes });
        }
        let key = (name.clone(), partition);
        let first = segments.first().map_or(Offset::ZERO, |segment| segment.base);
        self.partitions.push(KafkaPartition {
            topic_id: topic_id_in(disk, &dir)?,
            start: noted.starts.get(&key).copied().unwrap_or(first).max(first),
            noted_end: noted.ends.get(&key).copied(),
            high_watermark: noted.high_watermarks.get(&key).copied(),
            latest_epoch: latest_epoch(&text(disk, &dir.join(LEADER_EPOCHS))?),
            dir,
            name,
            partition,
            segments,
        });
        Ok(())
    }
}

/// The topic id that Kafka's file in a partition's directory names.
pub fn topic_id_in(disk: &impl Disk, dir: &Path) -> Result<Option<TopicId>, KafkaDirError> {
    text(disk, &dir.join(PARTITION_METADATA)).map(|text| kafka_files::topic_id_of(&text))
}

/// A small file's text, empty when it is missing or none.
fn text(disk: &impl Disk, path: &Path) -> Result<String, KafkaDirError> {
    let bytes = small_file::read_bytes(disk, path);
    let bytes = bytes.map_err(|error| KafkaDirError::Io(path.into(), error))?.unwrap_or_default();
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}

fn offsets_of(text: &str) -> BTreeMap<(TopicName, Partition), Offset> {
    kafka_files::offsets_of(text)
}

/// The epoch of the last row of a `leader-epoch-checkpoint`.
fn latest_epoch(text: &str) -> LeaderEpoch {
    let rows = text.lines().skip(2).filter_map(|line| line.split(' ').next()?.parse().ok());
    rows.max().map_or(LeaderEpoch::NONE, LeaderEpoch)
}

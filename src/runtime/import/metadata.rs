//! What Kafka's metadata log says of its topics: how many partitions, and their configurations.
//!
//! The newest snapshot (`<offset>-<epoch>.checkpoint`) is replayed, then what the log holds behind
//! it. Directories of a Kafka with `ZooKeeper` have neither.

use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};

use super::ImportError;
use crate::ids::{Offset, TopicId};
use crate::journal::disk::{Disk, DiskFile};
use crate::limits::DECOMPRESSED_BYTES_MAX;
use crate::log::{Dump, Dumped};
use crate::record::{Batch, BatchHeader, Records, decompress};
use crate::wire::kafka::metadata_records::{MetadataRecord, TOPIC_RESOURCE};

/// The directory in one of Kafka's log.dirs.
const DIR: &str = "__cluster_metadata-0";

/// A topic as Kafka's metadata has it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct KafkaTopic {
    /// Its partitions.
    pub partition_count: i32,
    /// Its configuration.
    pub configs: BTreeMap<String, String>,
}

/// Kafka's metadata, as far as moving in needs it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct KafkaMetadata {
    /// Topics by name.
    pub topics: BTreeMap<String, KafkaTopic>,
    /// Producer ids below this one were given out.
    pub next_producer_id: i64,
    names: BTreeMap<TopicId, String>,
}

impl KafkaMetadata {
    /// Reads the metadata in a log directory; none where it has none.
    pub fn read(disk: &impl Disk, path: &Path) -> Result<Option<KafkaMetadata>, ImportError> {
        let dir = path.join(DIR);
        let failed = |error| ImportError::Io(dir.clone(), error);
        if !disk.exists(&dir).map_err(failed)? {
            return Ok(None);
        }
        let mut snapshots = Vec::new();
        let mut segments = Vec::new();
        for name in disk.list(&dir).map_err(failed)? {
            let Some(text) = name.to_str() else { continue };
            match text.rsplit_once('.') {
                Some((at, "checkpoint")) => snapshots.extend(snapshot_of(at, &dir, text)),
                Some((_, "log")) => segments.push(dir.join(text)),
                _ => {}
            }
        }
        snapshots.sort();
        let mut metadata = KafkaMetadata::default();
        let mut from = Offset::ZERO;
        if let Some((offset, _, file)) = snapshots.pop() {
            metadata.replay(disk, &file, Offset::ZERO)?;
            from = offset;
        }
        for file in segments {
            metadata.replay(disk, &file, from)?;
        }
        Ok(Some(metadata))
    }

    /// Replays the batches of a file from an offset on.
    fn replay(&mut self, disk: &impl Disk, file: &Path, from: Offset) -> Result<(), ImportError> {
        let failed = |error: io::Error| ImportError::Io(file.into(), error);
        let mut dump = Dump::open(disk, file).map_err(failed)?;
        while let Some(dumped) = dump.next() {
            match dumped.map_err(failed)? {
                Dumped::Batch { position, header, crc_is_valid: true } => {
                    if from <= header.base_offset && !header.attributes.is_control() {
                        self.replay_batch(&dump, file, position, &header)?;
                    }
                }
                Dumped::Batch { .. } | Dumped::Garbage { .. } => {
                    return Err(ImportError::Metadata(file.into()));
                }
            }
        }
        Ok(())
    }

    fn replay_batch<F: DiskFile>(
        &mut self,
        dump: &Dump<F>,
        file: &Path,
        position: u64,
        header: &BatchHeader,
    ) -> Result<(), ImportError> {
        let bad = || ImportError::Metadata(file.into());
        let bytes = dump.bytes(position, header);
        let bytes = bytes.map_err(|error| ImportError::Io(file.into(), error))?.ok_or_else(bad)?;
        let (batch, _) = Batch::split_first(&bytes).map_err(|_| bad())?;
        let section = decompress(&batch, DECOMPRESSED_BYTES_MAX).map_err(|_| bad())?;
        for record in Records::new(header, &section) {
            let value = record.ok().and_then(|record| record.value).ok_or_else(bad)?;
            self.take(MetadataRecord::decode(value).map_err(|_| bad())?);
        }
        Ok(())
    }

    fn take(&mut self, record: MetadataRecord<'_>) {
        match record {
            MetadataRecord::Topic(topic) => {
                self.names.insert(topic.topic_id, topic.name.to_owned());
                self.topics.entry(topic.name.to_owned()).or_default();
            }
            MetadataRecord::Partition(partition) => {
                let name = self.names.get(&partition.topic_id);
                if let Some(topic) = name.and_then(|name| self.topics.get_mut(name)) {
                    let count = partition.partition_id.0.saturating_add(1);
                    topic.partition_count = topic.partition_count.max(count);
                }
            }
            MetadataRecord::Config(config) if config.resource_type == TOPIC_RESOURCE => {
                let topic = self.topics.entry(config.resource_name.to_owned()).or_default();
                match config.value {
                    Some(value) => topic.configs.insert(config.name.to_owned(), value.to_owned()),
                    None => topic.configs.remove(config.name),
                };
            }
            MetadataRecord::RemoveTopic(removed) => {
                let name = self.names.remove(&removed.topic_id);
                name.and_then(|name| self.topics.remove(&name));
            }
            MetadataRecord::ProducerIds(ids) => {
                self.next_producer_id = self.next_producer_id.max(ids.next_producer_id);
            }
            MetadataRecord::Config(_) | MetadataRecord::Other { .. } => {}
        }
    }
}

/// Offset and epoch in a snapshot's name, and its path.
fn snapshot_of(at: &str, dir: &Path, name: &str) -> Option<(Offset, i64, PathBuf)> {
    let (offset, epoch) = at.split_once('-')?;
    Some((Offset(offset.parse().ok()?), epoch.parse().ok()?, dir.join(name)))
}

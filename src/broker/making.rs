//! The logs of new partitions, made where one may wait for the disk.
//!
//! A card that stalls holds up whoever makes a file for as long. The control thread must go on
//! meanwhile: its peers take a silent leader for a dead one.

use std::collections::VecDeque;
use std::path::Path;

use crate::ids::{LeaderEpoch, TopicName, TopicPartition};
use crate::journal::disk::Disk;
use crate::log::{Log, LogError};
use crate::time::Now;
use crate::topic_config::TopicConfig;

/// A log that is to be.
#[derive(Debug)]
pub(super) struct Wanted {
    pub name: TopicName,
    pub topic_partition: TopicPartition,
    pub config: TopicConfig,
    /// The epoch it begins with. There is nothing to persist of it: it is in the metadata, and in
    /// every batch. A replica among others begins it when it hears that it leads.
    pub begins: Option<LeaderEpoch>,
}

/// Logs that are to be, and those that are: first in [`ControlOutput::Prepare`], then back to who
/// asked for it.
///
/// [`ControlOutput::Prepare`]: super::control::ControlOutput::Prepare
pub struct Making<D: Disk> {
    pub(super) wanted: VecDeque<Wanted>,
    pub(super) logs: Vec<Log<D>>,
}

impl<D: Disk> Making<D> {
    /// Makes all of them, and all names and files made so far durable with one sync of the file
    /// system. After an error some may be made, which are not durable.
    pub fn run(&mut self, disk: &D, log_dir: &Path, now: Now) -> Result<(), LogError> {
        while let Some(wanted) = self.wanted.front() {
            let (name, config) = (&wanted.name, wanted.config.clone());
            let at = wanted.topic_partition;
            let mut log = Log::create_unsynced(disk.clone(), log_dir, name, at, config, now)?;
            if let Some(leader_epoch) = wanted.begins {
                log.begin_epoch(leader_epoch);
            }
            self.logs.push(log);
            self.wanted.pop_front();
        }
        disk.sync_all(log_dir).map_err(LogError::Io)
    }
}

//! Recovery without a broker, for `odradek log recover`: what the next start would do to a log
//! dir, followed by a clean stop.
//!
//! It begins no leader epoch: nothing is served, so no offset can be used twice.

use std::path::Path;

use crate::config::Config;
use crate::ids::Offset;
use crate::journal::JournalDamage;
use crate::log::{OpenError, RecoveryReport};
use crate::runtime::boot::OpenDir;
use crate::runtime::lock::{DirLock, LockError};
use crate::runtime::{StartError, clock};

/// What a recovery found and left.
#[derive(Debug)]
pub struct Recovered {
    /// Partition by partition.
    pub report: RecoveryReport,
    /// Start and end of each partition's log, in the order of the report.
    pub ends: Vec<(Offset, Offset)>,
    /// What was wrong with the journal itself.
    pub damage: Option<JournalDamage>,
}

/// Recovers the log dir at `path`, whichever node it belongs to, and stops it cleanly.
pub fn recover(config: &Config, path: &Path) -> Result<Recovered, StartError> {
    let io_failed = |why| StartError::LogDirIo(path.to_owned(), why);
    let _lock = DirLock::take(path).map_err(|why| match why {
        LockError::Held => StartError::LogDirInUse(path.to_owned()),
        LockError::Io(why) => io_failed(why),
    })?;
    let now = clock::now();
    let opened = match OpenDir::open(config, path, now) {
        // The directory knows its node better than a command line without a configuration.
        Err(StartError::LogDir(OpenError::OtherNode { found, .. })) => {
            let mut config = config.clone();
            config.broker_id = found;
            OpenDir::open(&config, path, now)?
        }
        opened => opened?,
    };
    let ends = opened.logs.iter().map(|log| (log.start_offset(), log.end_offset())).collect();
    let OpenDir { dir, journal, logs, recovery, damage, .. } = opened;
    journal.close().map_err(|why| StartError::Journal(path.to_owned(), why))?;
    dir.close(logs, now).map_err(io_failed)?;
    Ok(Recovered { report: recovery, ends, damage })
}

//! What a broker finds on its card when it starts: the directory is claimed, the journal replayed,
//! the logs are recovered.

#![allow(dead_code, missing_docs)]

use std::path::Path;

use odradek::journal::{self, Journal, JournalDamage};
use odradek::log::{Log, LogDir, OpenParameters, RecoveryReport};

use super::sim_disk::SimDisk;

pub struct Booted {
    pub dir: LogDir<SimDisk>,
    pub journal: Journal<SimDisk>,
    /// What was wrong with the journal before it was replayed.
    pub damage: Option<JournalDamage>,
    /// Whether the card may be an old one (see `journal::Opened`).
    pub is_unproven: bool,
    pub logs: Vec<Log<SimDisk>>,
    pub report: RecoveryReport,
}

/// `None` when the disk stops. The journal's ring is as large as `ring_bytes` says if it is new.
pub fn boot(
    disk: &SimDisk,
    path: &Path,
    ring_bytes: u64,
    salt: u64,
    parameters: &OpenParameters,
) -> Option<Booted> {
    let mut dir = LogDir::claim(disk.clone(), path, parameters).ok()?;
    let opened = Journal::open(disk.clone(), path, ring_bytes, salt).ok()?;
    let is_unproven = opened.is_unproven;
    let mut journal = opened.journal;
    let replayed = journal.replay(&mut dir.redo(opened.states)).ok()?;
    let damage = opened.damage.or(replayed.damage);
    let (logs, report) = dir.recover(parameters, damage.is_none()).ok()?;
    journal::started(disk, path).ok()?;
    Some(Booted { dir, journal, damage, is_unproven, logs, report })
}

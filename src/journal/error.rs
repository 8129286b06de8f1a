//! What goes wrong with a journal: failures of the disk, and damage that a start finds.

use std::fmt;
use std::io;

use crate::journal::JOURNAL_FILE;

/// Why the journal cannot go on.
#[derive(Debug)]
pub enum JournalError {
    /// The disk failed.
    Io(io::Error),
    /// An earlier failure: nothing is written until it is opened again.
    Poisoned,
    /// It was written by newer software.
    Version(u32),
    /// The next half is not free yet: finish the checkpoint first.
    Full,
}

impl fmt::Display for JournalError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Io(why) => write!(f, "{JOURNAL_FILE}: {why}"),
            Self::Poisoned => write!(f, "{JOURNAL_FILE} failed earlier and must be opened again"),
            Self::Version(version) => {
                write!(f, "{JOURNAL_FILE} has format {version}, this software reads up to 1")
            }
            Self::Full => write!(f, "{JOURNAL_FILE} waits for a checkpoint"),
        }
    }
}

impl std::error::Error for JournalError {}

impl From<io::Error> for JournalError {
    fn from(why: io::Error) -> JournalError {
        JournalError::Io(why)
    }
}

/// What is wrong with the journal itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum JournalDamage {
    /// There are checkpoints, but no journal.
    Missing,
    /// No superblock is valid. Commits were looked for one by one, and those found are replayed.
    Superblock,
    /// No copy of the checkpoint is sound: first offsets and leader epochs that were in no segment
    /// are lost.
    Checkpoint,
    /// A commit below the durable mark is not valid; the ones after it are.
    Commit {
        /// Its sequence number.
        sequence: u64,
    },
    /// It was found before, and no broker's start has come to its end since.
    Earlier,
}

impl fmt::Display for JournalDamage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Missing => write!(
                f,
                "{JOURNAL_FILE} is missing: what was acknowledged shortly before the last stop may \
                 be lost"
            ),
            Self::Superblock => write!(
                f,
                "{JOURNAL_FILE} has no valid superblock: its commits were searched for, some may be \
                 lost"
            ),
            Self::Checkpoint => write!(
                f,
                "no copy of the checkpoint is sound: deleted records may be back, and leader \
                 epochs are read from the segments"
            ),
            Self::Commit { sequence } => write!(
                f,
                "{JOURNAL_FILE}: commit {sequence} is damaged; what it alone held is lost"
            ),
            Self::Earlier => write!(
                f,
                "{JOURNAL_FILE} was damaged or missing, and the broker has not come to the end of a \
                 start since"
            ),
        }
    }
}

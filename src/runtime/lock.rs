//! One process per log dir: an advisory lock on its `.lock` file, held for as long as the process
//! lives. The kernel drops it with the process, so a crash leaves nothing to clean up.

use std::fs::{File, OpenOptions};
use std::io;
use std::path::Path;

use rustix::fs::{FlockOperation, flock};

/// A held lock.
#[derive(Debug)]
pub struct DirLock {
    _file: File,
}

/// Why a log dir cannot be locked.
#[derive(Debug)]
pub enum LockError {
    /// Another process holds it.
    Held,
    /// The file cannot be opened or locked.
    Io(io::Error),
}

impl DirLock {
    /// Locks a directory, which is made if it is missing.
    pub fn take(dir: &Path) -> Result<DirLock, LockError> {
        std::fs::create_dir_all(dir).map_err(LockError::Io)?;
        let options = OpenOptions::new().create(true).truncate(false).write(true).to_owned();
        let file = options.open(dir.join(".lock")).map_err(LockError::Io)?;
        match flock(&file, FlockOperation::NonBlockingLockExclusive) {
            Ok(()) => Ok(DirLock { _file: file }),
            Err(rustix::io::Errno::WOULDBLOCK) => Err(LockError::Held),
            Err(why) => Err(LockError::Io(why.into())),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_second_lock_is_refused_until_the_first_is_dropped() {
        let dir = std::env::temp_dir().join(format!("odradek-lock-{}", std::process::id()));
        let first = DirLock::take(&dir).expect("free");
        assert!(matches!(DirLock::take(&dir), Err(LockError::Held)));
        drop(first);
        drop(DirLock::take(&dir).expect("free again"));
        std::fs::remove_dir_all(&dir).expect("made above");
    }
}

//! The budget of file handles: what the system lets this process open, shared out between
//! connections and partitions.
//!
//! A connection is a handle, and so is a partition (its active segment). Where the system allows
//! few, `max.connections` shrinks rather than leave no room for a partition. Reference: getrlimit(2).

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

use crate::limits::BROKER_PARTITIONS_MAX;

/// Handles kept for everything that is neither a connection nor a partition.
const RESERVED: u64 = 64;

/// How the handles are shared out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Handles {
    /// Connections that may be open.
    pub(super) connections_max: u64,
    /// Connections that may be open if more are asked for at run time.
    pub(super) connections_ceiling: u64,
    /// Partitions there may be, and the segments that may be open beside each other.
    pub(super) partitions_max: usize,
}

impl Handles {
    /// Raises the process's limit as far as it goes and shares out what it is then.
    pub(super) fn claim(connections_wanted: usize) -> Handles {
        let limit = getrlimit(Resource::Nofile);
        let raised = Rlimit { current: limit.maximum, maximum: limit.maximum };
        if let Err(why) = setrlimit(Resource::Nofile, raised) {
            log::warn!("the limit of file handles stays at {:?}: {why}", limit.current);
        }
        let files = getrlimit(Resource::Nofile).current.unwrap_or(u64::MAX);
        let handles = Handles::share(files, connections_wanted as u64);
        log::info!(
            "of {files} file handles {} are for connections, {} for partitions",
            handles.connections_max,
            handles.partitions_max
        );
        if handles.connections_max < connections_wanted as u64 {
            log::warn!(
                "max.connections is {} instead of {connections_wanted}: this process may open \
                 {files} files (ulimit -Hn)",
                handles.connections_max
            );
        }
        handles
    }

    /// How many connections there may be when `wanted` are asked for at run time: the partitions
    /// keep what they were given at the start.
    pub(super) fn connections(self, wanted: u64) -> u64 {
        wanted.min(self.connections_ceiling)
    }

    /// At least half of what there is stays for partitions.
    pub(super) fn share(files: u64, connections_wanted: u64) -> Handles {
        let free = files.saturating_sub(RESERVED);
        let connections_max = connections_wanted.min(free / 2).max(1);
        let for_partitions = free.saturating_sub(connections_max);
        let partitions_max = for_partitions.min(BROKER_PARTITIONS_MAX as u64);
        let connections_ceiling = (free - partitions_max.min(free)).max(connections_max);
        let partitions_max = partitions_max as usize;
        Handles { connections_max, connections_ceiling, partitions_max }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn connections_get_what_was_asked_for_where_there_is_plenty() {
        let handles = Handles::share(20_000, 2048);
        assert_eq!(handles.connections_max, 2048);
        assert_eq!(handles.partitions_max, (20_000 - 64 - 2048).min(BROKER_PARTITIONS_MAX));
        let handles = Handles::share(u64::MAX, 2048);
        assert_eq!(
            (handles.connections_max, handles.partitions_max),
            (2048, BROKER_PARTITIONS_MAX)
        );
    }

    #[test]
    fn partitions_get_half_where_handles_are_few() {
        let even = Handles { connections_max: 480, connections_ceiling: 480, partitions_max: 480 };
        assert_eq!(Handles::share(1024, 2048), even);
        let few = Handles { connections_max: 100, connections_ceiling: 100, partitions_max: 860 };
        assert_eq!(Handles::share(1024, 100), few);
    }

    #[test]
    fn one_connection_is_always_allowed() {
        let none = Handles { connections_max: 1, connections_ceiling: 1, partitions_max: 0 };
        assert_eq!(Handles::share(10, 2048), none);
    }
}

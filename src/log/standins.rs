//! Stand-ins for `record`, `topic_config` and `journal` until their branches are merged.
#![allow(missing_docs, clippy::all, clippy::pedantic)]

pub mod journal {
    use crate::ids::{LeaderEpoch, Offset};
    use std::path::Path;
    use std::sync::Arc;

    #[derive(Clone, Debug)]
    pub struct SegmentRef<F> {
        pub file: F,
        pub base_offset: Offset,
        pub is_new: bool,
        pub dir: Arc<Path>,
    }
    #[derive(Clone, Copy, Debug, PartialEq, Eq)]
    pub enum SmallState {
        LogStart(Offset),
        EpochStart { epoch: LeaderEpoch, offset: Offset },
        Forget,
    }
    #[derive(Clone, Debug, Default, PartialEq, Eq)]
    pub struct PartitionState {
        pub log_start: Offset,
        pub epochs: Vec<(LeaderEpoch, Offset)>,
        pub recovery_segment: Offset,
        pub recovery_position: u64,
        pub recovery_offset: Offset,
    }
}

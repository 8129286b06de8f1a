//! Stand-ins for `record`, `topic_config` and `journal` until their branches are merged.
#![allow(missing_docs, clippy::all, clippy::pedantic)]

pub mod record {
    use crate::ids::{LeaderEpoch, Offset};
    use crate::time::Timestamp;

    pub const HEADER_BYTES: usize = 61;

    pub use crate::record::TimestampType;

    #[derive(Clone, Copy, Debug, PartialEq, Eq)]
    pub struct BatchHeader {
        pub base_offset: Offset,
        pub length: i32,
        pub leader_epoch: LeaderEpoch,
        pub magic: i8,
        pub crc: u32,
        pub last_offset_delta: i32,
        pub base_timestamp: Timestamp,
        pub max_timestamp: Timestamp,
        pub record_count: i32,
    }

    #[derive(Debug)]
    pub struct BatchError;

    impl BatchHeader {
        pub fn parse(b: &[u8]) -> Result<Self, BatchError> {
            if b.len() < HEADER_BYTES {
                return Err(BatchError);
            }
            let i32_at = |p: usize| i32::from_be_bytes(b[p..p + 4].try_into().unwrap_or_default());
            let i64_at = |p: usize| i64::from_be_bytes(b[p..p + 8].try_into().unwrap_or_default());
            let h = BatchHeader {
                base_offset: Offset(i64_at(0)),
                length: i32_at(8),
                leader_epoch: LeaderEpoch(i32_at(12)),
                magic: b[16] as i8,
                crc: i32_at(17) as u32,
                last_offset_delta: i32_at(23),
                base_timestamp: Timestamp(i64_at(27)),
                max_timestamp: Timestamp(i64_at(35)),
                record_count: i32_at(57),
            };
            if h.magic != 2 || h.length < 49 || h.last_offset_delta < 0 || h.base_offset.0 < 0 {
                return Err(BatchError);
            }
            Ok(h)
        }
        pub fn size_bytes(&self) -> usize {
            12 + self.length as usize
        }
        pub fn last_offset(&self) -> Offset {
            Offset(self.base_offset.0.saturating_add(i64::from(self.last_offset_delta)))
        }
        pub fn next_offset(&self) -> Offset {
            Offset(self.last_offset().0.saturating_add(1))
        }
    }

    pub fn stamp(batch: &mut [u8], base: Offset, epoch: LeaderEpoch) {
        batch[..8].copy_from_slice(&base.0.to_be_bytes());
        batch[12..16].copy_from_slice(&epoch.0.to_be_bytes());
    }
    pub fn stamp_log_append_time(_batch: &mut [u8], _now: Timestamp) {}
}

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
    #[derive(Clone, Debug, PartialEq, Eq)]
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

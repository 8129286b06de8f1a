//! A partition about itself.

use super::Back;
use crate::broker::mail::{DescribeItem, ReplyBody, RequestId};
use crate::journal::disk::Disk;
use crate::limits::DESCRIBED_DAMAGE_MAX;
use crate::topic_config::TopicConfig;
use crate::wire::ErrorCode;
use crate::wire::describe_log_dirs::{DescribedLog, Hole};

impl<D: Disk> Back<D> {
    pub(super) fn describe(&mut self, request: RequestId, items: &[DescribeItem]) {
        let described = items.iter().map(|item| (item.place, self.describe_one(item))).collect();
        self.reply(request, ReplyBody::Described(described));
    }

    fn describe_one(&self, item: &DescribeItem) -> DescribedLog {
        let topic_partition = item.topic_partition;
        let Some(state) = self.partitions.get(&topic_partition) else {
            let error = ErrorCode::UNKNOWN_TOPIC_OR_PARTITION;
            return DescribedLog::failed(error, item.topic_place, topic_partition.partition);
        };
        let log = &state.log;
        let error = if self.is_writable { ErrorCode::NONE } else { ErrorCode::KAFKA_STORAGE_ERROR };
        let hole = |hole: &crate::log::Hole| Hole { from: hole.from, end: hole.to };
        DescribedLog {
            error,
            topic_place: item.topic_place,
            partition: topic_partition.partition,
            leader_epoch: log.leader_epoch(),
            log_start_offset: log.start_offset(),
            high_watermark: state.high_watermark(),
            durable_offset: log.durable_offset(),
            log_end_offset: log.end_offset(),
            size_bytes: log.size_bytes(),
            segment_count: log.segment_count() as u32,
            loss_window_ms: loss_window_ms(log.config()),
            holes: log.holes().iter().take(DESCRIBED_DAMAGE_MAX).map(hole).collect(),
            suspects: log.suspects().take(DESCRIBED_DAMAGE_MAX).collect(),
        }
    }
}

/// How much a power cut may take of what was acknowledged with acks −1.
fn loss_window_ms(config: &TopicConfig) -> u64 {
    if config.acks_durable { 0 } else { u64::try_from(config.flush_ms).unwrap_or(0) }
}

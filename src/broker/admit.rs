//! A producer's batch on its way into a log: its topic's rules, the memory that looking at it takes,
//! and Kafka's code for what is refused (semantics.md 2.2 and §3, rows of Produce).
//!
//! **Invariant:** nothing is decompressed into memory that was not reserved before; it is given back
//! before the batch is appended. When there is none the producer is asked to try again, which
//! changes nothing here.

use bytes::BytesMut;

use crate::broker::Memory;
use crate::limits::{DECOMPRESSED_BYTES_MAX, DECOMPRESSION_GUESS_RATIO, DECOMPRESSION_WINDOW_MIN};
use crate::record::{Admitted, BatchHeader, Compression, ProduceRules, Rejection, admit_produce};
use crate::time::Now;
use crate::topic_config::TopicConfig;
use crate::wire::ErrorCode;

/// A vector that grows is copied to one twice its size, so a window may cost this many times what
/// it holds.
const GROWTH: u64 = 2;

/// Validates a batch by its topic's rules, and brings it into the topic's codec. `bad_records` is
/// empty, and names those that are to blame when it is refused for some of its records.
pub(super) fn admit(
    now: Now,
    config: &TopicConfig,
    memory: &dyn Memory,
    batch: &mut BytesMut,
    bad_records: &mut Vec<u32>,
) -> Result<(), ErrorCode> {
    let mut rules = ProduceRules {
        now: now.wall,
        max_message_bytes: config.max_message_bytes as usize,
        compacted: config.cleanup_policy.compact,
        timestamp_type: config.message_timestamp_type,
        timestamp_before_max_ms: config.message_timestamp_before_max_ms,
        timestamp_after_max_ms: config.message_timestamp_after_max_ms,
        compression: config.compression_type,
        window_bytes_max: 0,
    };
    let codec = BatchHeader::parse(batch).ok().and_then(|header| header.attributes.compression());
    let admitted = match codec {
        // Checked where it lies, or refused unseen.
        None | Some(Compression::None) => {
            admit_produce(batch, &rules, bad_records).map_err(error_code)?
        }
        Some(codec) => {
            let is_rewritten = rules.compression.is_some_and(|target| target != codec);
            let cost = if is_rewritten { GROWTH + 1 } else { GROWTH };
            admit_compressed(&mut rules, memory, cost, batch, bad_records)?
        }
    };
    if let Some(rewritten) = admitted.rewritten {
        *batch = BytesMut::from(&rewritten[..]);
    }
    Ok(())
}

/// Tries with a window that most batches fit in, and with larger ones until it is large enough.
fn admit_compressed(
    rules: &mut ProduceRules,
    memory: &dyn Memory,
    cost: u64,
    batch: &mut BytesMut,
    bad_records: &mut Vec<u32>,
) -> Result<Admitted, ErrorCode> {
    let largest = (memory.windows_bytes_max() / cost).min(DECOMPRESSED_BYTES_MAX as u64);
    let guess = (batch.len() as u64).saturating_mul(DECOMPRESSION_GUESS_RATIO);
    let mut window = guess.max(DECOMPRESSION_WINDOW_MIN).min(largest);
    loop {
        if !memory.try_hold_window(window * cost) {
            return Err(ErrorCode::THROTTLING_QUOTA_EXCEEDED);
        }
        rules.window_bytes_max = window as usize;
        let admitted = admit_produce(batch, rules, bad_records);
        memory.release_window(window * cost);
        match admitted {
            Err(Rejection::Window) if window < largest => {
                window = window.saturating_mul(DECOMPRESSION_GUESS_RATIO).min(largest);
            }
            admitted => return admitted.map_err(error_code),
        }
    }
}

/// The code that a client gets for a refused batch.
fn error_code(why: Rejection) -> ErrorCode {
    match why {
        Rejection::Corrupt => ErrorCode::CORRUPT_MESSAGE,
        Rejection::TooLarge | Rejection::Window => ErrorCode::MESSAGE_TOO_LARGE,
        Rejection::Timestamp => ErrorCode::INVALID_TIMESTAMP,
        Rejection::Codec => ErrorCode::UNSUPPORTED_COMPRESSION_TYPE,
        Rejection::Invalid => ErrorCode::INVALID_RECORD,
    }
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;

    use super::*;
    use crate::record::BatchBuilder;
    use crate::time::{Boot, Timestamp};

    const NOW: Now = Now { boot: Boot(0), wall: Timestamp(1_790_000_000_000), wall_trusted: true };

    /// Memory that remembers how much of it was taken at most.
    #[derive(Debug)]
    struct Counted {
        max: u64,
        free: Cell<u64>,
        most: Cell<u64>,
        tries: Cell<u32>,
    }

    impl Counted {
        fn new(max: u64, free: u64) -> Counted {
            Counted { max, free: Cell::new(free), most: Cell::new(0), tries: Cell::new(0) }
        }
    }

    impl Memory for Counted {
        fn windows_bytes_max(&self) -> u64 {
            self.max
        }

        fn try_hold_window(&self, bytes: u64) -> bool {
            self.tries.set(self.tries.get() + 1);
            let Some(left) = self.free.get().checked_sub(bytes) else { return false };
            self.free.set(left);
            self.most.set(self.most.get().max(bytes));
            true
        }

        fn release_window(&self, bytes: u64) {
            self.free.set(self.free.get() + bytes);
        }
    }

    fn batch(value_bytes: usize, codec: Compression) -> BytesMut {
        let mut builder = BatchBuilder::new();
        builder.push(NOW.wall, None, Some(&vec![7; value_bytes]), &[]);
        BytesMut::from(&builder.finish(codec)[..])
    }

    fn check(value_bytes: usize, codec: Compression, memory: &Counted) -> Result<(), ErrorCode> {
        let free = memory.free.get();
        let mut batch = batch(value_bytes, codec);
        let found = admit(NOW, &TopicConfig::default(), memory, &mut batch, &mut Vec::new());
        assert_eq!(memory.free.get(), free, "all of it is given back");
        found
    }

    #[test]
    fn a_window_grows_until_the_batch_fits_and_no_further() {
        for codec in Compression::ALL.into_iter().skip(1) {
            let memory = Counted::new(64 << 20, 64 << 20);
            assert_eq!(check(10_000, codec, &memory), Ok(()), "{codec:?}");
            assert_eq!((memory.tries.get(), memory.most.get()), (1, 2 * (64 << 10)), "{codec:?}");
            assert_eq!(check(3 << 20, codec, &memory), Ok(()), "{codec:?}");
            assert!(memory.most.get() <= 2 * 8 * (3 << 20), "{codec:?}: {}", memory.most.get());
        }
        let memory = Counted::new(0, 0);
        assert_eq!(check(10_000, Compression::None, &memory), Ok(()), "nothing to decompress");
        assert_eq!(memory.tries.get(), 0);
    }

    #[test]
    fn want_of_memory_is_worth_another_try_and_want_of_room_is_not() {
        let short = Counted::new(64 << 20, 1 << 20);
        let found = check(3 << 20, Compression::Gzip, &short);
        assert_eq!(found, Err(ErrorCode::THROTTLING_QUOTA_EXCEEDED));
        assert!(ErrorCode::THROTTLING_QUOTA_EXCEEDED.is_retriable());
        // Free or not, this broker never has so much: the producer must send less at once.
        let small = Counted::new(1 << 20, 1 << 20);
        let found = check(3 << 20, Compression::Gzip, &small);
        assert_eq!(found, Err(ErrorCode::MESSAGE_TOO_LARGE));
        assert!(small.most.get() <= 1 << 20);
    }

    #[test]
    fn a_batch_that_is_written_anew_pays_for_both() {
        let memory = Counted::new(64 << 20, 64 << 20);
        let mut config = TopicConfig::default();
        config.set("compression.type", "zstd").expect("legal");
        let mut bytes = batch(10_000, Compression::Gzip);
        admit(NOW, &config, &memory, &mut bytes, &mut Vec::new()).expect("fits");
        assert_eq!(memory.most.get(), 3 * (64 << 10));
        let header = BatchHeader::parse(&bytes).expect("whole");
        assert_eq!(header.attributes.compression(), Some(Compression::Zstd));
    }
}

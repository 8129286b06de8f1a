//! Producer state against semantics.md 2.15, rule by rule, and against a model that forgets nothing.

use super::*;
use crate::ids::LeaderEpoch;
use crate::record::Attributes;

/// The header of a batch of `count` records.
fn header(producer_id: i64, epoch: i16, sequence: i32, count: i32, offset: i64) -> BatchHeader {
    BatchHeader {
        base_offset: Offset(offset),
        length: 100,
        leader_epoch: LeaderEpoch(0),
        magic: 2,
        crc: 0,
        attributes: Attributes::default(),
        last_offset_delta: count - 1,
        base_timestamp: Timestamp(7),
        max_timestamp: Timestamp(1000 + offset),
        producer_id,
        producer_epoch: epoch,
        base_sequence: sequence,
        record_count: count,
    }
}

fn earlier(offset: i64, count: i64) -> SequenceError {
    SequenceError::Duplicate(Earlier {
        base_offset: Offset(offset),
        end_offset: Offset(offset + count),
        timestamp: Timestamp(1000 + offset),
    })
}

/// Checks each batch (epoch, sequence, count) of producer 9 in turn, and observes those that pass.
#[track_caller]
fn check(batches: &[(i16, i32, i32, Result<(), SequenceError>)]) {
    let mut producers = Producers::default();
    let mut offset = 0;
    for (number, &(epoch, sequence, count, expected)) in batches.iter().enumerate() {
        let header = header(9, epoch, sequence, count, offset);
        assert_eq!(producers.check(&header), expected, "batch {number}");
        if expected.is_ok() {
            producers.observe(&header, Boot(0));
            offset += i64::from(count);
        }
    }
}

const OUT_OF_ORDER: Result<(), SequenceError> = Err(SequenceError::OutOfOrder);
const STALE_EPOCH: Result<(), SequenceError> = Err(SequenceError::StaleEpoch);

#[test]
fn rule_1_the_last_five_are_answered_and_the_sixth_is_not() {
    check(&[
        (0, 0, 2, Ok(())),
        (0, 2, 2, Ok(())),
        (0, 4, 1, Ok(())),
        (0, 5, 3, Ok(())),
        (0, 8, 1, Ok(())),
        (0, 0, 2, Err(earlier(0, 2))),
        (0, 5, 3, Err(earlier(5, 3))),
        (0, 5, 2, OUT_OF_ORDER),
        (0, 6, 2, OUT_OF_ORDER),
        (0, 9, 1, Ok(())),
        (0, 0, 2, OUT_OF_ORDER),
        (0, 2, 2, Err(earlier(2, 2))),
    ]);
}

#[test]
fn rules_2_and_3_an_epoch_only_rises_and_begins_at_0() {
    check(&[
        (3, 0, 1, Ok(())),
        (2, 1, 1, STALE_EPOCH),
        (2, 0, 1, STALE_EPOCH),
        (4, 1, 1, OUT_OF_ORDER),
        (4, 0, 1, Ok(())),
        (4, 0, 1, Err(earlier(1, 1))),
        (3, 0, 1, STALE_EPOCH),
    ]);
}

#[test]
fn rule_4_sequences_have_no_gap_and_wrap() {
    check(&[
        (0, i32::MAX - 3, 3, Ok(())),
        (0, 0, 1, OUT_OF_ORDER),
        (0, i32::MAX, 1, Ok(())),
        (0, 1, 1, OUT_OF_ORDER),
        (0, 0, 1, Ok(())),
        (0, i32::MAX, 1, Err(earlier(3, 1))),
    ]);
    // Within one batch, too.
    check(&[
        (0, i32::MAX - 1, 4, Ok(())),
        (0, i32::MAX - 1, 4, Err(earlier(0, 4))),
        (0, 3, 1, OUT_OF_ORDER),
        (0, 2, 1, Ok(())),
    ]);
    assert_eq!(sequence_after(i32::MAX, 1), 0);
    assert_eq!(sequence_after(i32::MAX, i32::MAX), i32::MAX - 1);
}

#[test]
fn rule_5_a_producer_nobody_knows_begins_anywhere() {
    check(&[(7, 41, 1, Ok(())), (7, 42, 1, Ok(()))]);
    let mut producers = Producers::default();
    producers.observe(&header(1, 0, 0, 1, 0), Boot(0));
    producers.expire(Boot(5_000), 5);
    assert_eq!(producers.check(&header(1, 0, 5, 1, 1)), OUT_OF_ORDER, "not a moment too early");
    producers.expire(Boot(6_000), 5);
    assert_eq!(producers.check(&header(1, 0, 5, 1, 1)), Ok(()), "expired");
    assert_eq!(producers.count(), 0);
}

#[test]
fn batches_without_a_producer_and_markers_leave_no_trace() {
    let mut producers = Producers::default();
    let anonymous = header(-1, -1, -1, 3, 0);
    assert_eq!(producers.check(&anonymous), Ok(()));
    producers.observe(&anonymous, Boot(0));
    let marker = BatchHeader { attributes: Attributes(0x30), ..header(4, 0, -1, 1, 3) };
    producers.observe(&marker, Boot(0));
    assert_eq!(producers, Producers::default());
}

#[test]
fn a_million_producers_are_as_many_as_the_limit_and_the_oldest_go() {
    let mut producers = Producers::default();
    let count = PARTITION_PRODUCERS_MAX as i64 + 100;
    for id in 0..count {
        producers.observe(&header(id, 0, 0, 1, 2 * id), Boot(0));
        // Producer 0 keeps writing, so it is never the oldest.
        let sequence = id as i32 + 1;
        producers.observe(&header(0, 0, sequence, 1, 2 * id + 1), Boot(0));
    }
    assert_eq!(producers.count(), PARTITION_PRODUCERS_MAX);
    assert_eq!(producers.check(&header(0, 0, 0, 1, 0)), OUT_OF_ORDER, "known");
    assert_eq!(producers.check(&header(100, 0, 9, 1, 0)), Ok(()), "forgotten");
    assert_eq!(producers.check(&header(101, 0, 9, 1, 0)), OUT_OF_ORDER, "the oldest but 0");
}

/// The rules, applied to all that was ever stored.
fn model(stored: &[BatchHeader], header: &BatchHeader) -> Result<(), SequenceError> {
    let of_producer: Vec<_> =
        stored.iter().filter(|old| old.producer_id == header.producer_id).collect();
    let Some(last) = of_producer.last() else { return Ok(()) };
    if header.producer_epoch != last.producer_epoch {
        return match (header.producer_epoch < last.producer_epoch, header.base_sequence) {
            (true, _) => STALE_EPOCH,
            (false, 0) => Ok(()),
            (false, _) => OUT_OF_ORDER,
        };
    }
    let of_epoch =
        of_producer.iter().rev().filter(|old| old.producer_epoch == header.producer_epoch);
    for old in of_epoch.take(5) {
        let is_same =
            old.base_sequence == header.base_sequence && old.record_count == header.record_count;
        if is_same {
            return Err(earlier(old.base_offset.0, i64::from(old.record_count)));
        }
    }
    let next = (i64::from(last.base_sequence) + i64::from(last.record_count)) % (1 << 31);
    if i64::from(header.base_sequence) == next { Ok(()) } else { OUT_OF_ORDER }
}

#[test]
fn the_state_answers_as_the_whole_history_would() {
    let mut seed = 0x5eed_u64;
    let mut random = |below: u64| {
        seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (seed >> 33) % below
    };
    let mut verdicts = BTreeMap::new();
    for _ in 0..60 {
        let mut producers = Producers::default();
        let mut stored: Vec<BatchHeader> = Vec::new();
        let mut offset = 0;
        for _ in 0..300 {
            let sent = if random(3) == 0 && !stored.is_empty() {
                // Again, one of the last few.
                let back = random(stored.len().min(12) as u64) as usize;
                BatchHeader { base_offset: Offset(offset), ..stored[stored.len() - 1 - back] }
            } else {
                let id = random(3) as i64;
                let last = stored.iter().rev().find(|old| old.producer_id == id);
                let next = last.map_or(i32::MAX - 4, |old| {
                    sequence_after(old.base_sequence, old.record_count)
                });
                let epoch = last.map_or(0, |old| old.producer_epoch);
                let count = 1 + random(3) as i32;
                match random(12) {
                    0 => header(id, epoch, sequence_after(next, 1), count, offset),
                    1 => header(id, epoch + 1, 0, count, offset),
                    2 => header(id, epoch - 1, next, count, offset),
                    _ => header(id, epoch, next, count, offset),
                }
            };
            let verdict = producers.check(&sent);
            assert_eq!(verdict, model(&stored, &sent), "{sent:?}");
            let kind = match verdict {
                Ok(()) => "new",
                Err(SequenceError::Duplicate(_)) => "duplicate",
                Err(SequenceError::OutOfOrder) => "out of order",
                Err(SequenceError::StaleEpoch) => "stale",
            };
            *verdicts.entry(kind).or_insert(0) += 1;
            if verdict.is_ok() {
                producers.observe(&sent, Boot(0));
                offset += i64::from(sent.record_count);
                stored.push(sent);
            }
        }
    }
    assert!(verdicts.len() == 4 && verdicts.values().all(|&count| 100 < count), "{verdicts:?}");
}

/// The million under `CI_LONG=1` (fewer show the same: beyond the bound nothing changes any
/// more): those that wrote last are remembered, and the others cost nothing.
#[test]
fn a_million_producers_leave_the_last_few_thousand() {
    let mut producers = Producers::default();
    let million = if std::env::var_os("CI_LONG").is_some() { 1_000_000 } else { 50_000 };
    for id in 0..million {
        producers.observe(&header(id, 0, 0, 1, id), Boot(0));
    }
    assert_eq!(producers.count(), PARTITION_PRODUCERS_MAX);
    let first = million - PARTITION_PRODUCERS_MAX as i64;
    assert!(producers.known().map(|known| known.producer_id).eq(first..million));
    // One that was forgotten begins anew: what it sent then is no duplicate any more.
    assert_eq!(producers.check(&header(0, 0, 7, 1, million)), Ok(()));
}

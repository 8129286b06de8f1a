//! Taking records out of a batch: what compaction leaves of it (semantics.md 2.6).
//!
//! Offsets, timestamps, producer, sequences and codec stay; so do the offsets that the batch
//! spans, whatever is left in it. Only the count, the records' bytes, the largest timestamp and,
//! when it is set, the delete horizon change.

use alloc::vec::Vec;

use crate::ids::{LeaderEpoch, Offset};
use crate::record::batch::{Attributes, BatchHeader, HEADER_BYTES, MAGIC};
use crate::record::builder::{compress, seal};
use crate::record::record::{Record, RecordError, Records};
use crate::record::varint::{put_i64, size_i64, take_i32, take_i64};
use crate::record::{Compression, TimestampType};
use crate::time::Timestamp;

/// A batch without records that takes up the offsets from `base` to `last`. Where all records of
/// some batches are gone it stands for them, so that offsets still follow one another.
///
/// # Panics
/// `last` must not lie before `base`, nor further from it than a batch reaches.
pub fn empty_batch(base: Offset, last: Offset, leader_epoch: LeaderEpoch) -> [u8; HEADER_BYTES] {
    emptied(&BatchHeader {
        base_offset: base,
        length: 0,
        leader_epoch,
        magic: MAGIC,
        crc: 0,
        attributes: Attributes::default(),
        last_offset_delta: i32::try_from(last.since(base)).expect("within a batch's reach"),
        base_timestamp: Timestamp::NONE,
        max_timestamp: Timestamp::NONE,
        producer_id: -1,
        producer_epoch: -1,
        base_sequence: -1,
        record_count: 0,
    })
}

/// The same batch without its records: its producer's last sequence is still told by it, and when
/// that was.
pub fn emptied(header: &BatchHeader) -> [u8; HEADER_BYTES] {
    let mut batch = [0; HEADER_BYTES];
    let attributes = header.attributes.with_compression(Compression::None).without_delete_horizon();
    let header =
        BatchHeader { attributes, base_timestamp: Timestamp::NONE, record_count: 0, ..*header };
    seal(header, &mut batch);
    batch
}

/// Which records of a batch are kept.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Kept {
    /// Records that are kept.
    pub record_count: i32,
    /// Whether one of them has no value.
    pub has_tombstone: bool,
}

/// Counts the records of a batch that `keeps` wants. `section` is its records, uncompressed.
pub fn count_kept(
    header: &BatchHeader,
    section: &[u8],
    mut keeps: impl FnMut(&Record<'_>) -> bool,
) -> Result<Kept, RecordError> {
    let mut kept = Kept::default();
    let mut records = Records::new(header, section);
    for record in records.by_ref() {
        let record = record?;
        if keeps(&record) {
            kept.record_count += 1;
            kept.has_tombstone |= record.value.is_none();
        }
    }
    if records.remaining_bytes() == 0 { Ok(kept) } else { Err(RecordError) }
}

/// The batch with only the records that `keeps` wants, at least one, in its own codec. With
/// `delete_horizon` its tombstones may go from then on.
pub fn retain(
    header: &BatchHeader,
    section: &[u8],
    delete_horizon: Option<Timestamp>,
    mut keeps: impl FnMut(&Record<'_>) -> bool,
) -> Result<Vec<u8>, RecordError> {
    let mut batch = Vec::from([0; HEADER_BYTES]);
    let mut kept = BatchHeader { record_count: 0, ..*header };
    if let Some(horizon) = delete_horizon {
        kept.base_timestamp = horizon;
        kept.attributes = kept.attributes.with_delete_horizon();
    }
    let mut max_timestamp = Timestamp(i64::MIN);
    let mut records = Records::new(header, section);
    let mut rest = section;
    while let Some(record) = records.next() {
        let record = record?;
        let bytes = rest.len() - records.remaining_bytes();
        let (raw, tail) = rest.split_at_checked(bytes).ok_or(RecordError)?;
        rest = tail;
        if !keeps(&record) {
            continue;
        }
        kept.record_count += 1;
        max_timestamp = max_timestamp.max(record.timestamp);
        if kept.base_timestamp == header.base_timestamp {
            batch.extend_from_slice(raw);
        } else {
            put_rebased(&mut batch, raw, header.base_timestamp, kept.base_timestamp)?;
        }
    }
    if header.attributes.timestamp_type() == TimestampType::CreateTime {
        kept.max_timestamp = max_timestamp;
    }
    compress(header.attributes.compression().ok_or(RecordError)?, &mut batch);
    seal(kept, &mut batch);
    Ok(batch)
}

/// Appends a record whose timestamp counts from another time.
fn put_rebased(
    out: &mut Vec<u8>,
    raw: &[u8],
    from: Timestamp,
    to: Timestamp,
) -> Result<(), RecordError> {
    let mut rest = raw;
    take_i32(&mut rest).ok_or(RecordError)?;
    let (&attributes, tail) = rest.split_first().ok_or(RecordError)?;
    rest = tail;
    let delta = take_i64(&mut rest).ok_or(RecordError)?;
    // As records are read: any two timestamps have a delta.
    let delta = from.0.wrapping_add(delta).wrapping_sub(to.0);
    let bytes = 1 + size_i64(delta) + rest.len();
    put_i64(out, bytes as i64);
    out.push(attributes);
    put_i64(out, delta);
    out.extend_from_slice(rest);
    Ok(())
}

#[cfg(test)]
#[allow(clippy::indexing_slicing, reason = "tests know their sizes")]
mod tests {
    use super::*;
    use crate::record::{Batch, BatchBuilder, decompress, stamp};

    fn batch(codec: Compression) -> Vec<u8> {
        let mut builder = BatchBuilder::new();
        for number in 0..10u8 {
            let value = [number; 20];
            let value = (number % 4 != 3).then_some(&value[..]);
            let time = Timestamp(1000 + i64::from(number));
            builder.push(time, Some(&[number % 3]), value, &[("h", Some(b"v"))]);
        }
        let mut batch = builder.finish(codec);
        stamp(&mut batch, Offset(70), LeaderEpoch(1));
        batch
    }

    type Row = (i64, i64, Vec<u8>, bool, usize);

    fn rows(bytes: &[u8]) -> (BatchHeader, Vec<Row>) {
        let (batch, rest) = Batch::split_first(bytes).expect("sound");
        assert!(rest.is_empty() && batch.crc_is_valid());
        let section = decompress(&batch, usize::MAX).expect("sound");
        let mut records = Records::new(batch.header(), &section);
        let rows = records.by_ref().map(|record| {
            let record = record.expect("sound");
            let key = record.key.expect("keyed").to_vec();
            let headers = record.headers().count();
            (record.offset.0, record.timestamp.0, key, record.value.is_none(), headers)
        });
        let rows: Vec<Row> = rows.collect();
        assert_eq!(records.remaining_bytes(), 0);
        (*batch.header(), rows)
    }

    #[test]
    fn what_is_kept_is_as_it_was_in_every_codec() {
        for codec in Compression::ALL {
            let bytes = batch(codec);
            let (header, all) = rows(&bytes);
            let (parsed, _) = Batch::split_first(&bytes).expect("sound");
            let section = decompress(&parsed, usize::MAX).expect("sound");
            let keeps = |record: &Record<'_>| record.offset.0 % 3 == 0;
            let wanted: Vec<Row> = all.into_iter().filter(|row| row.0 % 3 == 0).collect();
            let counted = count_kept(&header, &section, keeps).expect("sound");
            assert_eq!(counted, Kept { record_count: 3, has_tombstone: false });
            for horizon in [None, Some(Timestamp(5_000_000)), Some(Timestamp(-7))] {
                let left = retain(&header, &section, horizon, keeps).expect("sound");
                let (now, found) = rows(&left);
                assert_eq!(found, wanted, "{codec:?} {horizon:?}");
                assert_eq!((now.base_offset, now.last_offset()), (Offset(70), Offset(79)));
                assert_eq!((now.record_count, now.max_timestamp.0), (3, 1008));
                assert_eq!(now.attributes.compression(), Some(codec));
                assert_eq!(now.attributes.has_delete_horizon(), horizon.is_some());
                assert_eq!(horizon.unwrap_or(header.base_timestamp), now.base_timestamp);
            }
        }
    }

    #[test]
    fn an_emptied_batch_keeps_offsets_and_sequences() {
        let (header, _) = rows(&batch(Compression::Gzip));
        let header = BatchHeader { producer_id: 7, producer_epoch: 2, base_sequence: 30, ..header };
        let (left, records) = rows(&emptied(&header));
        assert!(records.is_empty());
        assert_eq!((left.base_offset, left.last_offset()), (Offset(70), Offset(79)));
        assert_eq!((left.producer_id, left.producer_epoch, left.base_sequence), (7, 2, 30));
        assert_eq!(left.max_timestamp, header.max_timestamp);
        let (gap, records) = rows(&empty_batch(Offset(5), Offset(5), LeaderEpoch(3)));
        assert!(records.is_empty());
        assert_eq!((gap.last_offset(), gap.leader_epoch), (Offset(5), LeaderEpoch(3)));
    }

    #[test]
    fn broken_records_are_an_error() {
        let bytes = batch(Compression::None);
        let (header, _) = rows(&bytes);
        let section = &bytes[HEADER_BYTES..];
        for cut in [0, 1, section.len() - 1] {
            assert!(count_kept(&header, &section[..cut], |_| true).is_err());
        }
        let more = [section, &[0]].concat();
        assert!(count_kept(&header, &more, |_| true).is_err(), "bytes are left over");
    }
}

//! Entries: one batch of one record each, and what the consensus crate keeps of them.
//!
//! ```text
//! offset = index, leader epoch = term, both in the batch's header
//!
//! a list of changes    an ordinary batch; its record's value is for the controller
//! a leader's first     control batch, key 0 0 0 2; value as Kafka's LeaderChangeMessage:
//!                      i16 version 0, i32 leader, 1, 1, 0 (two empty lists, no tagged fields)
//! a change of members  control batch, key 0 0 0 6; value as in `wire::quorum::members`
//! ```
//!
//! **Invariant:** a batch is the same bytes on every replica. What the crate makes by itself, a
//! leader's first entry, becomes a batch by a function of offset, epoch and leader alone.

use bytes::Bytes;
use raft::eraftpb::{ConfChangeSingle, ConfChangeType, ConfChangeV2, Entry, EntryType};

use crate::ids::{LeaderEpoch, NodeId, Offset};
use crate::quorum::members::raft_id;
use crate::record::{self, Batch, BatchBuilder, Compression};
use crate::time::Timestamp;
use crate::wire::quorum::members::MemberChange;

/// Kafka's key of a control record that says who leads: version 0, type 2.
const LEADER_CHANGE_KEY: [u8; 4] = [0, 0, 0, 2];

/// Kafka's key of a control record about voters: version 0, type 6.
const MEMBERS_KEY: [u8; 4] = [0, 0, 0, 6];

/// What a batch of the metadata log is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum EntryKind {
    /// The controller's changes.
    Changes,
    /// The first batch of a leader. When it is committed, so is everything before it.
    LeaderChange,
    /// A step from one set of members to the next.
    Members(MemberChange),
}

/// Why bytes are no entry.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NotAnEntry;

/// A batch that was read: its place and what it is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Read {
    pub offset: Offset,
    pub epoch: LeaderEpoch,
    pub kind: EntryKind,
}

/// What a batch of the metadata log is about; `None` when it is no entry.
pub fn kind_of(batch: &[u8]) -> Option<EntryKind> {
    read(batch).ok().map(|read| read.kind)
}

/// Reads exactly one batch of one record, and verifies its checksum.
pub(super) fn read(bytes: &[u8]) -> Result<Read, NotAnEntry> {
    let Ok((batch, [])) = Batch::split_first(bytes) else { return Err(NotAnEntry) };
    let header = batch.header();
    let is_one = header.record_count == 1 && header.last_offset_delta == 0;
    let is_plain = header.attributes.compression() == Some(Compression::None);
    if !is_one || !is_plain || header.leader_epoch.0 < 1 || !batch.crc_is_valid() {
        return Err(NotAnEntry);
    }
    let mut records = batch.records();
    let (Some(Ok(record)), None) = (records.next(), records.next()) else {
        return Err(NotAnEntry);
    };
    let kind = if header.attributes.is_control() {
        control_kind(record.key, record.value).ok_or(NotAnEntry)?
    } else {
        record.value.ok_or(NotAnEntry)?;
        EntryKind::Changes
    };
    Ok(Read { offset: header.base_offset, epoch: header.leader_epoch, kind })
}

/// The value that holds the controller's changes, if that is what an entry's batch is about.
pub(super) fn changes_in(batch: &[u8]) -> Option<&[u8]> {
    let (batch, _) = Batch::split_first(batch).ok()?;
    let is_changes = !batch.header().attributes.is_control();
    batch.records().next()?.ok()?.value.filter(|_| is_changes)
}

fn control_kind(key: Option<&[u8]>, value: Option<&[u8]>) -> Option<EntryKind> {
    let (key, value) = (<[u8; 4]>::try_from(key?).ok()?, value?);
    match key {
        LEADER_CHANGE_KEY => Some(EntryKind::LeaderChange),
        MEMBERS_KEY => MemberChange::decode(value).ok().map(EntryKind::Members),
        _ => None,
    }
}

/// A batch of changes for an offset of an epoch.
pub(super) fn changes_batch(
    at: Timestamp,
    value: &[u8],
    offset: Offset,
    epoch: LeaderEpoch,
) -> Bytes {
    let mut builder = BatchBuilder::new();
    builder.push(at, None, Some(value), &[]);
    finish(builder, offset, epoch)
}

/// A batch that changes the members.
pub(super) fn members_batch(
    at: Timestamp,
    change: MemberChange,
    offset: Offset,
    epoch: LeaderEpoch,
) -> Bytes {
    let mut builder = BatchBuilder::new();
    builder.set_control();
    builder.push(at, Some(&MEMBERS_KEY), Some(&change.encode()), &[]);
    finish(builder, offset, epoch)
}

fn leader_change_batch(leader: NodeId, offset: Offset, epoch: LeaderEpoch) -> Bytes {
    let mut value = vec![0, 0];
    value.extend(leader.0.to_be_bytes());
    value.extend([1, 1, 0]);
    let mut builder = BatchBuilder::new();
    builder.set_control();
    // No clock is asked: the crate hands this entry out more than once.
    builder.push(Timestamp::NONE, Some(&LEADER_CHANGE_KEY), Some(&value), &[]);
    finish(builder, offset, epoch)
}

fn finish(builder: BatchBuilder, offset: Offset, epoch: LeaderEpoch) -> Bytes {
    let mut batch = builder.finish(Compression::None);
    record::stamp(&mut batch, offset, epoch);
    batch.into()
}

/// The batch of an entry; `this` is the node, which is the leader where the entry has no bytes.
pub(super) fn batch_of(entry: &Entry, this: NodeId) -> Bytes {
    match entry.get_entry_type() {
        EntryType::EntryNormal if entry.data.is_empty() => {
            leader_change_batch(this, offset_of(entry.index), epoch_of(entry.term))
        }
        EntryType::EntryNormal => entry.data.clone(),
        // The crate reads a change of members from `data` when it is proposed here; the batch
        // then stands in the context. Whoever got it from a peer has only the batch.
        EntryType::EntryConfChange | EntryType::EntryConfChangeV2 => {
            if entry.context.is_empty() {
                entry.data.clone()
            } else {
                entry.context.clone()
            }
        }
    }
}

/// The entry of a batch.
pub(super) fn entry_of(batch: Bytes) -> Result<Entry, NotAnEntry> {
    let Read { offset, epoch, kind } = read(&batch)?;
    let (index, term) = (offset.0 as u64, epoch.0 as u64);
    let mut entry = Entry { index, term, data: batch, ..Entry::default() };
    if matches!(kind, EntryKind::Members(_)) {
        entry.set_entry_type(EntryType::EntryConfChangeV2);
    }
    Ok(entry)
}

/// A change of members as the crate takes it.
pub(super) fn conf_change(change: MemberChange) -> ConfChangeV2 {
    let node_id = raft_id(change.id());
    let mut single = ConfChangeSingle { node_id, ..ConfChangeSingle::default() };
    single.set_change_type(match change {
        MemberChange::Observe(_) => ConfChangeType::AddLearnerNode,
        MemberChange::Promote { .. } => ConfChangeType::AddNode,
        MemberChange::Remove(_) => ConfChangeType::RemoveNode,
    });
    let mut conf_change = ConfChangeV2::default();
    conf_change.mut_changes().push(single);
    conf_change
}

/// The offset of an index.
pub(super) fn offset_of(index: u64) -> Offset {
    Offset(i64::try_from(index).expect("indexes are checked where they enter"))
}

/// The leader epoch of a term.
pub(super) fn epoch_of(term: u64) -> LeaderEpoch {
    LeaderEpoch(i32::try_from(term).expect("terms are checked where they enter"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::quorum::VoterId;

    #[test]
    fn every_kind_is_read_as_it_was_written() {
        let (offset, epoch) = (Offset(7), LeaderEpoch(3));
        let change = MemberChange::Remove(VoterId { node_id: NodeId(2), incarnation: 9 });
        for (batch, kind) in [
            (changes_batch(Timestamp(5), b"value", offset, epoch), EntryKind::Changes),
            (leader_change_batch(NodeId(1), offset, epoch), EntryKind::LeaderChange),
            (members_batch(Timestamp(5), change, offset, epoch), EntryKind::Members(change)),
        ] {
            assert_eq!(read(&batch), Ok(Read { offset, epoch, kind }));
            let entry = entry_of(batch.clone()).expect("an entry");
            assert_eq!((entry.index, entry.term), (7, 3));
            assert_eq!(batch_of(&entry, NodeId(5)), batch, "whoever hands it on");
        }
    }

    #[test]
    fn bytes_that_are_no_entry_are_refused() {
        let good = changes_batch(Timestamp(5), b"value", Offset(7), LeaderEpoch(3));
        let refused = |change: &dyn Fn(&mut Vec<u8>)| {
            let mut bytes = good.to_vec();
            change(&mut bytes);
            assert_eq!(read(&bytes), Err(NotAnEntry));
        };
        refused(&|bytes| bytes.truncate(60));
        refused(&|bytes| bytes.push(0));
        refused(&|bytes| bytes.extend_from_slice(&good));
        refused(&|bytes| *bytes.last_mut().expect("bytes") ^= 1);
        refused(&|bytes| record::stamp(bytes, Offset(7), LeaderEpoch(0)));
        refused(&|bytes| record::stamp(bytes, Offset(-1), LeaderEpoch(1)));
        let mut two = BatchBuilder::new();
        two.push(Timestamp(1), None, Some(b"a"), &[]);
        two.push(Timestamp(1), None, Some(b"b"), &[]);
        assert_eq!(read(&finish(two, Offset(1), LeaderEpoch(1))), Err(NotAnEntry));
        let mut unknown = BatchBuilder::new();
        unknown.set_control();
        unknown.push(Timestamp(1), Some(&[0, 0, 0, 1]), Some(b""), &[]);
        assert_eq!(read(&finish(unknown, Offset(1), LeaderEpoch(1))), Err(NotAnEntry));
    }

    #[test]
    fn a_leaders_first_batch_has_this_value() {
        let batch = leader_change_batch(NodeId(0x0102), Offset(1), LeaderEpoch(1));
        let (read, _) = Batch::split_first(&batch).expect("a batch");
        let record = read.records().next().expect("one").expect("sound");
        assert_eq!(record.key, Some(&[0, 0, 0, 2][..]));
        assert_eq!(record.value, Some(&[0, 0, 0, 0, 1, 2, 1, 1, 0][..]));
    }
}

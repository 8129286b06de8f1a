//! Appends under way, and what follows when they are durable.
//!
//! A [`Change`] is a list of records with one consequence; it becomes as many writes as its records
//! need batches, mostly one. The consequence comes once: after the last write, or at the deadline.

use std::collections::BTreeMap;

use crate::record::{BatchBuilder, Compression};
use crate::time::{Boot, Timestamp};
use crate::wire::ErrorCode;

/// Bytes that a record needs beside its key and value, at most, and the batch's own header.
const RECORD_OVERHEAD_BYTES: usize = 128;

/// A record to append; without a value it is a tombstone.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Record {
    pub key: Vec<u8>,
    pub value: Option<Vec<u8>>,
}

impl Record {
    fn size_bytes(&self) -> usize {
        self.key.len() + self.value.as_ref().map_or(0, Vec::len) + RECORD_OVERHEAD_BYTES
    }
}

/// What follows when a change is durable, or has failed.
#[derive(Debug)]
pub(super) enum After {
    /// Nothing waits for it.
    Nothing,
    /// Answer a commit with these results.
    Committed { token: u64, results: Vec<ErrorCode> },
    /// Answer a deletion of groups with these results.
    GroupsDeleted { token: u64, results: Vec<ErrorCode> },
    /// Answer a deletion of offsets with these results.
    OffsetsDeleted { token: u64, results: Vec<ErrorCode> },
    /// A classic group's assignment stands.
    Assigned { group_id: Box<str>, generation: i32 },
    /// Answer a request about a group.
    Told { group_id: Box<str>, reader: Reader },
    /// A group with members speaks another protocol.
    Moved(Box<Moved>),
    /// A static member of a classic group has its new id.
    Returned(Box<Returned>),
}

/// A static member that came back.
#[derive(Debug)]
pub(super) struct Returned {
    pub group_id: Box<str>,
    pub instance_id: Box<str>,
    pub old_member_id: Box<str>,
    pub member_id: Box<str>,
    pub can_skip_assignment: bool,
    /// The leader's id before.
    pub old_leader: Option<Box<str>>,
    pub token: u64,
    /// What the member had said before, should the write fail.
    pub before: super::classic::Said,
}

/// A group that changes over.
#[derive(Debug)]
pub(super) struct Moved {
    pub group_id: Box<str>,
    /// Its members as they were, should the write fail.
    pub before: super::groups::Members,
    /// Whoever brought it about.
    pub reader: Option<Reader>,
}

/// An answer that tells of what was appended, and waits until it is durable.
#[derive(Debug)]
pub(super) struct Reader {
    pub token: u64,
    pub body: Vec<u8>,
    /// The answer if it never is.
    pub failed: fn(&[u8], ErrorCode) -> Vec<u8>,
}

/// One batch under way.
#[derive(Debug)]
pub(super) struct Write {
    change: u64,
    /// Until they are replayed.
    pub records: Vec<Record>,
    pub readers: Vec<Reader>,
}

#[derive(Debug)]
struct Change {
    writes_left: usize,
    error: Option<ErrorCode>,
    deadline: Boot,
    after: After,
}

/// Everything that is under way.
#[derive(Debug, Default)]
pub(super) struct Writes {
    last_id: u64,
    open: BTreeMap<u64, Write>,
    /// By a number that rises with the deadline, as all may take equally long.
    changes: BTreeMap<u64, Change>,
}

impl Writes {
    /// Begins a change; answers the batches to append. None: `after` follows at once, with the
    /// error if there is one.
    pub fn begin(
        &mut self,
        wall: Timestamp,
        deadline: Boot,
        batch_bytes_max: usize,
        records: Vec<Record>,
        after: After,
    ) -> Result<Vec<(u64, Vec<u8>)>, (After, Result<(), ErrorCode>)> {
        if records.is_empty() {
            return Err((after, Ok(())));
        }
        if records.iter().any(|record| batch_bytes_max < record.size_bytes()) {
            return Err((after, Err(ErrorCode::MESSAGE_TOO_LARGE)));
        }
        let change = self.fresh_id();
        let mut batches = Vec::new();
        for records in split(records, batch_bytes_max) {
            let mut builder = BatchBuilder::new();
            for record in &records {
                builder.push(wall, Some(&record.key), record.value.as_deref(), &[]);
            }
            let id = self.fresh_id();
            batches.push((id, builder.finish(Compression::None)));
            self.open.insert(id, Write { change, records, readers: Vec::new() });
        }
        let writes_left = batches.len();
        self.changes.insert(change, Change { writes_left, error: None, deadline, after });
        Ok(batches)
    }

    fn fresh_id(&mut self) -> u64 {
        self.last_id += 1;
        self.last_id
    }

    /// The write's records, which are replayed now.
    pub fn take_records(&mut self, write: u64) -> Vec<Record> {
        self.open
            .get_mut(&write)
            .map(|write| std::mem::take(&mut write.records))
            .unwrap_or_default()
    }

    /// Has an answer wait for a write; gives it back if that is over, or took too long already.
    pub fn park(
        &mut self,
        write: u64,
        reader: Reader,
    ) -> Result<(), (Reader, Result<(), ErrorCode>)> {
        match self.open.get_mut(&write) {
            None => Err((reader, Ok(()))),
            Some(write) if !self.changes.contains_key(&write.change) => {
                Err((reader, Err(ErrorCode::REQUEST_TIMED_OUT)))
            }
            Some(write) => {
                write.readers.push(reader);
                Ok(())
            }
        }
    }

    /// Ends a write; answers who waited for it, and what follows if it was the last of its change.
    pub fn end(
        &mut self,
        write: u64,
        result: Result<(), ErrorCode>,
    ) -> (Vec<Reader>, Option<(After, Result<(), ErrorCode>)>) {
        let Some(Write { change: id, readers, .. }) = self.open.remove(&write) else {
            return (Vec::new(), None);
        };
        let Some(change) = self.changes.get_mut(&id) else { return (readers, None) };
        change.writes_left -= 1;
        change.error = change.error.or(result.err());
        if 0 < change.writes_left {
            return (readers, None);
        }
        let change = self.changes.remove(&id).expect("it was there");
        (readers, Some((change.after, change.error.map_or(Ok(()), Err))))
    }

    /// A change whose deadline has passed.
    pub fn overdue(&self, now: Boot) -> Option<u64> {
        let (id, change) = self.changes.first_key_value()?;
        (change.deadline <= now).then_some(*id)
    }

    /// Gives a change up: its writes may still come to pass, but nothing waits for them. Answers who
    /// did.
    pub fn give_up(&mut self, change: u64) -> (Vec<Reader>, Option<After>) {
        let mut readers = Vec::new();
        // The writes of a change were numbered right behind it.
        let writes = self.open.range_mut(change..).map(|(_, write)| write);
        for write in writes.take_while(|write| write.change == change) {
            readers.append(&mut write.readers);
        }
        (readers, self.changes.remove(&change).map(|change| change.after))
    }

    /// When the next change is overdue.
    pub fn next_deadline(&self) -> Boot {
        self.changes.first_key_value().map_or(Boot::NEVER, |(_, change)| change.deadline)
    }
}

/// Cuts records into lists that fit a batch each.
fn split(records: Vec<Record>, batch_bytes_max: usize) -> Vec<Vec<Record>> {
    let mut lists = Vec::new();
    let mut list = Vec::new();
    let mut bytes = 0;
    for record in records {
        let more = record.size_bytes();
        if batch_bytes_max < bytes + more && !list.is_empty() {
            lists.push(std::mem::take(&mut list));
            bytes = 0;
        }
        bytes += more;
        list.push(record);
    }
    lists.push(list);
    lists
}

/// What a client is told of a failed append (semantics.md 2.20).
pub(super) fn told(error: ErrorCode) -> ErrorCode {
    match error {
        ErrorCode::UNKNOWN_TOPIC_OR_PARTITION
        | ErrorCode::NOT_ENOUGH_REPLICAS
        | ErrorCode::NOT_ENOUGH_REPLICAS_AFTER_APPEND
        | ErrorCode::REQUEST_TIMED_OUT => ErrorCode::COORDINATOR_NOT_AVAILABLE,
        ErrorCode::NOT_LEADER_OR_FOLLOWER | ErrorCode::KAFKA_STORAGE_ERROR => {
            ErrorCode::NOT_COORDINATOR
        }
        ErrorCode::MESSAGE_TOO_LARGE | ErrorCode::RECORD_LIST_TOO_LARGE => {
            ErrorCode::UNKNOWN_SERVER_ERROR
        }
        other => other,
    }
}

//! What all groups of a coordinator share: rules, outputs, appends under way, timers, ids.

use std::collections::VecDeque;

use serde::Serialize;

use super::ids::MemberIds;
use super::offsets::Retention;
use super::timers::Timers;
use super::writes::{After, Reader, Record, Writes, told};
use super::{GroupOutput, GroupRules};
use crate::time::Now;
use crate::wire::{ErrorCode, frame};

/// What an id takes that was given out, but for the texts.
const PENDING_BYTES: usize = 128;

/// See the module.
#[derive(Debug)]
pub(super) struct Context {
    pub rules: GroupRules,
    pub writes: Writes,
    pub timers: Timers,
    pub member_ids: MemberIds,
    pub retention: Retention,
    /// Group and member ids that were given out, the oldest first; some have joined since.
    pub pending: VecDeque<(Box<str>, Box<str>)>,
    /// What they take, roughly.
    pub pending_bytes: usize,
    /// The last append, which what is known here may rest on.
    pub appended: Option<u64>,
    /// What groups with their members and offsets take, roughly.
    pub state_bytes: usize,
    /// Changes without an append: what follows, follows at the next chance.
    pub settled: VecDeque<(After, Result<(), ErrorCode>)>,
    outputs: VecDeque<GroupOutput>,
}

impl Context {
    pub fn new(rules: GroupRules, seed: u64) -> Context {
        Context {
            rules,
            writes: Writes::default(),
            timers: Timers::default(),
            member_ids: MemberIds::new(seed),
            retention: Retention::default(),
            pending: VecDeque::new(),
            pending_bytes: 0,
            appended: None,
            state_bytes: 0,
            settled: VecDeque::new(),
            outputs: VecDeque::new(),
        }
    }

    /// Answers a request.
    pub fn answer<T: Serialize>(&mut self, token: u64, response: &T) {
        self.answer_body(token, frame::encode_body(response));
    }

    /// Answers a request with a body that is encoded already.
    pub fn answer_body(&mut self, token: u64, body: Vec<u8>) {
        self.outputs.push_back(GroupOutput::Answer { token, body });
    }

    /// Appends records; `after` follows when they are durable, or have failed.
    pub fn write(&mut self, now: Now, records: Vec<Record>, after: After) {
        let deadline = now.boot.plus_ms(self.rules.offsets_commit_timeout_ms);
        let batch_bytes_max = self.rules.batch_bytes_max;
        match self.writes.begin(now.wall, deadline, batch_bytes_max, records, after) {
            Ok(batches) => {
                let appends = batches.into_iter();
                let appends = appends.map(|(write, batch)| GroupOutput::Append { write, batch });
                self.outputs.extend(appends);
            }
            Err(settled) => self.settled.push_back(settled),
        }
    }

    /// Answers when all that was appended so far is durable: appends become so in their order.
    pub fn answer_durable(&mut self, reader: Reader) {
        let parked = match self.appended {
            Some(write) => self.writes.park(write, reader),
            None => Err((reader, Ok(()))),
        };
        if let Err((reader, result)) = parked {
            self.tell(vec![reader], result);
        }
    }

    /// Answers those who waited for a write.
    pub fn tell(&mut self, readers: Vec<Reader>, result: Result<(), ErrorCode>) {
        for reader in readers {
            let body = match result {
                Ok(()) => reader.body,
                Err(error) => (reader.failed)(&reader.body, told(error)),
            };
            self.answer_body(reader.token, body);
        }
    }

    /// Remembers an id that was given out.
    pub fn push_pending(&mut self, group_id: &str, member_id: &str) {
        self.pending_bytes += pending_cost(group_id, member_id);
        self.pending.push_back((group_id.into(), member_id.into()));
    }

    /// Takes out the id that was given out longest ago.
    pub fn take_pending(&mut self) -> Option<(Box<str>, Box<str>)> {
        let (group_id, member_id) = self.pending.pop_front()?;
        self.pending_bytes -= pending_cost(&group_id, &member_id);
        Some((group_id, member_id))
    }

    /// Whether so much more may be kept.
    pub fn has_room(&self, bytes: usize) -> bool {
        self.state_bytes.saturating_add(bytes) <= self.rules.state_bytes_max
    }

    pub fn poll(&mut self) -> Option<GroupOutput> {
        self.outputs.pop_front()
    }
}

/// What an id takes that was given out: its group has it too.
fn pending_cost(group_id: &str, member_id: &str) -> usize {
    PENDING_BYTES + group_id.len() + 2 * member_id.len()
}

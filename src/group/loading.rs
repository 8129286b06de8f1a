//! Records: replayed at boot and after an append, and what follows when they are durable.

use super::Coordinator;
use super::classic::{ClassicGroup, Stored};
use super::consumer::ConsumerGroup;
use super::groups::{Group, Members};
use super::offsets::Committed;
use super::writes::{After, Returned, told};
use crate::ids::Offset;
use crate::mutant::{self, Mutant};
use crate::time::{Now, Timestamp};
use crate::wire::ErrorCode;
use crate::wire::delete_groups::DeleteGroupsResponse;
use crate::wire::join_group::JoinGroupResponse;
use crate::wire::kafka::consumer_group_records::ConsumerGroupKey;
use crate::wire::kafka::group_records::{GroupKey, GroupMetadataValue, OffsetCommitValue};
use crate::wire::offset_commit::OffsetCommitResponse;
use crate::wire::offset_delete::OffsetDeleteResponse;

/// Why a record cannot be replayed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum GroupError {
    /// Its key does not decode.
    Key,
    /// Its value does not decode.
    Value,
}

impl std::fmt::Display for GroupError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Key => "the key of a group's record does not decode",
            Self::Value => "the value of a group's record does not decode",
        })
    }
}

impl std::error::Error for GroupError {}

impl Coordinator {
    /// Takes a record into account; the only mutator of what is durable. A record of a kind that is
    /// not known is skipped.
    pub fn replay(
        &mut self,
        _now: Now,
        offset: Offset,
        timestamp: Timestamp,
        key: &[u8],
        value: Option<&[u8]>,
    ) -> Result<(), GroupError> {
        match GroupKey::decode(key).map_err(|_| GroupError::Key)? {
            GroupKey::Offset(key) => {
                let value = value.map(OffsetCommitValue::decode).transpose();
                let value = value.map_err(|_| GroupError::Value)?;
                let committed = value.map(|value| Committed::of(&value, offset, timestamp));
                self.replay_offset(key.group, key.topic, key.partition, committed);
            }
            GroupKey::Group(key) => {
                let value = value.map(GroupMetadataValue::decode).transpose();
                let value = value.map_err(|_| GroupError::Value)?;
                self.replay_group(key.group, value.as_ref().map(Stored::of));
            }
            GroupKey::ConsumerGroup(key) => self.replay_consumers(&key, value)?,
            GroupKey::Unknown(_) => {}
        }
        Ok(())
    }

    fn replay_consumers(
        &mut self,
        key: &ConsumerGroupKey<'_>,
        value: Option<&[u8]>,
    ) -> Result<(), GroupError> {
        let group_id = key.group();
        if value.is_none() && !self.groups.contains_key(group_id) {
            return Ok(());
        }
        let group = self.group_or_new(group_id);
        if group.consumer().is_none() {
            // Of two protocols the later counts, unless the group has members by the other.
            if value.is_none() || !group.is_empty() {
                return Ok(());
            }
            group.members = Members::Consumer(Box::new(ConsumerGroup::new(group_id)));
        }
        let consumers = group.consumer_mut().expect("it was put in if it was not there");
        let more_bytes = consumers.replay(key, value).map_err(|_| GroupError::Value)?;
        if consumers.is_vain() {
            group.members = Members::Simple;
        }
        self.context.state_bytes = self.context.state_bytes.saturating_add_signed(more_bytes);
        self.forget_if_vain(group_id);
        Ok(())
    }

    fn replay_group(&mut self, group_id: &str, stored: Option<Stored>) {
        let Some(stored) = stored else {
            // One that is of KIP-848 by now comes behind this record.
            let Some(group) = self.groups.get_mut(group_id) else { return };
            let Some(classic) = group.classic_mut() else { return };
            classic.replay(None);
            // Members that joined meanwhile stay.
            if classic.is_vain() {
                group.members = Members::Simple;
                self.forget_if_vain(group_id);
            }
            return;
        };
        let group = self.group_or_new(group_id);
        let is_of_others = match &group.members {
            Members::Simple => true,
            Members::Classic(_) => false,
            Members::Consumer(consumers) => consumers.is_empty(),
        };
        if is_of_others {
            group.members = Members::Classic(Box::new(ClassicGroup::new(group_id)));
        }
        if let Members::Classic(classic) = &mut group.members {
            classic.replay(Some(stored));
        }
    }

    /// The log was replayed: sessions start now, and requests are served.
    pub fn loaded(&mut self, now: Now) {
        self.is_loaded = true;
        self.context.retention.begin(now, &self.context.rules);
        for group in self.groups.values_mut() {
            match &mut group.members {
                Members::Simple => {}
                Members::Classic(group) => group.restore(&mut self.context, now),
                Members::Consumer(group) => group.restore(&mut self.context, now),
            }
        }
        self.settle(now);
        self.invariants();
    }

    /// A batch is in the log, from `base_offset` on: its records are replayed.
    pub fn appended(&mut self, now: Now, write: u64, base_offset: Offset) {
        self.context.appended = Some(write);
        let mut offset = base_offset;
        for record in self.context.writes.take_records(write) {
            let value = record.value.as_deref();
            self.replay(now, offset, now.wall, &record.key, value).expect("we wrote it ourselves");
            offset = offset.next().expect("a log does not reach the end of the offset space");
        }
        if mutant::is_on(Mutant::AnswersUncommitted) {
            self.committed(now, write, Ok(()));
        }
    }

    /// A batch is durable, or its append or its way to the disk failed: answers that rest on it
    /// leave.
    pub fn committed(&mut self, now: Now, write: u64, result: Result<(), ErrorCode>) {
        let (readers, after) = self.context.writes.end(write, result);
        if let Some((after, result)) = after {
            self.follow(now, after, result);
        }
        self.context.tell(readers, result);
        self.settle(now);
        self.invariants();
    }

    /// A change takes too long.
    pub(super) fn give_up(&mut self, now: Now, change: u64) {
        let late = Err(ErrorCode::REQUEST_TIMED_OUT);
        let (readers, after) = self.context.writes.give_up(change);
        if let Some(after) = after {
            self.follow(now, after, late);
        }
        self.context.tell(readers, late);
        self.settle(now);
    }

    /// What follows a change.
    pub(super) fn follow(&mut self, now: Now, after: After, result: Result<(), ErrorCode>) {
        let failed = |mut results: Vec<ErrorCode>| {
            if let Err(error) = result {
                for result in results.iter_mut().filter(|result| result.is_ok()) {
                    *result = match error {
                        ErrorCode::MESSAGE_TOO_LARGE => ErrorCode::INVALID_COMMIT_OFFSET_SIZE,
                        error => told(error),
                    };
                }
            }
            results
        };
        match after {
            After::Nothing => {}
            After::Committed { token, results } => {
                let response = OffsetCommitResponse { partitions: failed(results) };
                self.context.answer(token, &response);
            }
            After::GroupsDeleted { token, results } => {
                let response = DeleteGroupsResponse { groups: failed(results) };
                self.context.answer(token, &response);
            }
            After::OffsetsDeleted { token, results } => {
                let error = ErrorCode::NONE;
                let response = OffsetDeleteResponse { error, partitions: failed(results) };
                self.context.answer(token, &response);
            }
            After::Assigned { group_id, generation } => {
                if let Some(group) = self.groups.get_mut(&group_id).and_then(Group::classic_mut) {
                    group.assigned(&mut self.context, now, generation, result);
                }
                self.forget_if_vain(&group_id);
            }
            After::Told { group_id, reader } => {
                self.context.tell(vec![reader], result);
                self.forget_if_vain(&group_id);
            }
            After::Moved(moved) => self.moved(now, *moved, result),
            After::Returned(returned) => self.returned(now, *returned, result),
        }
    }

    fn returned(&mut self, now: Now, returned: Returned, result: Result<(), ErrorCode>) {
        let group = self.groups.get_mut(&returned.group_id).and_then(Group::classic_mut);
        if let Some(group) = group {
            group.returned(&mut self.context, now, returned, result);
        } else {
            let refusal = JoinGroupResponse::failed(ErrorCode::UNKNOWN_MEMBER_ID, "");
            self.context.answer(returned.token, &refusal);
        }
    }
}

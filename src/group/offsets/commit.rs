//! `OffsetCommit` and `OffsetDelete`.

use super::super::groups::Members;
use super::super::writes::{After, Record};
use super::super::{Coordinator, ids};
use super::{Committed, OFFSET_BYTES, tombstone};
use crate::limits::GROUP_OFFSETS_MAX;
use crate::time::Now;
use crate::wire::kafka::group_records::{OffsetCommitKey, OffsetCommitValue};
use crate::wire::offset_commit::{CommitPartition, OffsetCommitRequest, OffsetCommitResponse};
use crate::wire::offset_delete::{OffsetDeleteRequest, OffsetDeleteResponse};
use crate::wire::{ErrorCode, TopicRef};

impl Coordinator {
    /// Keeps offsets, if they come from whom they should come from.
    pub(in super::super) fn commit(
        &mut self,
        now: Now,
        token: u64,
        request: &OffsetCommitRequest<'_>,
    ) {
        if let Err(error) = self.check_commit(now, request) {
            let partitions = vec![error; request.partitions.len()];
            return self.context.answer(token, &OffsetCommitResponse { partitions });
        }
        let mut records = Vec::new();
        let mut results = Vec::new();
        for item in &request.partitions {
            let record = self.commit_record(now, request, item);
            results.push(record.as_ref().err().copied().unwrap_or(ErrorCode::NONE));
            records.extend(record);
        }
        self.context.write(now, records, After::Committed { token, results });
        self.settle(now);
    }

    fn check_commit(
        &mut self,
        now: Now,
        request: &OffsetCommitRequest<'_>,
    ) -> Result<(), ErrorCode> {
        let group_id = request.group_id;
        if !ids::is_legal(group_id) {
            return Err(ErrorCode::INVALID_GROUP_ID);
        }
        let cost = |item: &CommitPartition<'_>| item.metadata.len() + OFFSET_BYTES;
        let generation = request.generation_id_or_member_epoch;
        let Some(group) = self.groups.get_mut(group_id) else {
            if 0 <= generation {
                return Err(ErrorCode::GROUP_ID_NOT_FOUND);
            }
            let bytes = request.partitions.iter().map(cost).sum();
            if !self.make_room(now, group_id, bytes) {
                return Err(ErrorCode::INVALID_COMMIT_OFFSET_SIZE);
            }
            return Ok(());
        };
        // What takes another's place takes no more room: whoever is there goes on when all is full.
        let growth = |item: &CommitPartition<'_>| match item.topic {
            TopicRef::Name(topic) => {
                let before = group.offsets.find(topic, item.partition).map_or(0, Committed::cost);
                cost(item).saturating_sub(before)
            }
            TopicRef::Id(_) => 0,
        };
        let growth_bytes = request.partitions.iter().map(growth).sum();
        let is_too_much = 0 < growth_bytes && !self.context.has_room(growth_bytes);
        if is_too_much || GROUP_OFFSETS_MAX < group.offsets.count() + request.partitions.len() {
            return Err(ErrorCode::INVALID_COMMIT_OFFSET_SIZE);
        }
        match &mut group.members {
            Members::Simple if generation < 0 => Ok(()),
            Members::Simple => Err(ErrorCode::UNKNOWN_MEMBER_ID),
            Members::Classic(classic) => {
                let instance_id = request.group_instance_id;
                classic.check_commit(now, generation, request.member_id, instance_id)
            }
            Members::Consumer(consumers) => consumers.check_commit(request),
        }
    }

    fn commit_record(
        &self,
        now: Now,
        request: &OffsetCommitRequest<'_>,
        item: &CommitPartition<'_>,
    ) -> Result<Record, ErrorCode> {
        let TopicRef::Name(topic) = item.topic else { return Err(ErrorCode::UNKNOWN_TOPIC_ID) };
        if self.context.rules.offset_metadata_bytes_max < item.metadata.len() {
            return Err(ErrorCode::OFFSET_METADATA_TOO_LARGE);
        }
        let expire_timestamp = match request.retention_time_ms {
            ..0 => -1,
            retention_ms => now.wall.0.saturating_add(retention_ms),
        };
        let value = OffsetCommitValue {
            offset: item.offset,
            leader_epoch: item.leader_epoch,
            metadata: item.metadata,
            commit_timestamp: now.wall.0,
            expire_timestamp,
        };
        let key = OffsetCommitKey { group: request.group_id, topic, partition: item.partition };
        Ok(Record { key: key.encode(), value: Some(value.encode()) })
    }

    /// Forgets offsets that nobody is using.
    pub(in super::super) fn delete_offsets(
        &mut self,
        now: Now,
        token: u64,
        request: &OffsetDeleteRequest<'_>,
    ) {
        let group_id = request.group_id;
        let group = self.groups.get(group_id);
        let error = match group {
            None => ErrorCode::GROUP_ID_NOT_FOUND,
            Some(group) if group.is_opaque() => ErrorCode::NON_EMPTY_GROUP,
            Some(_) => ErrorCode::NONE,
        };
        let Some(group) = group.filter(|_| error.is_ok()) else {
            let response = OffsetDeleteResponse { error, partitions: Vec::new() };
            return self.context.answer(token, &response);
        };
        let mut records = Vec::new();
        let mut results = Vec::new();
        for item in &request.partitions {
            results.push(match item.topic {
                TopicRef::Id(_) => ErrorCode::UNKNOWN_TOPIC_ID,
                TopicRef::Name(topic) if group.is_subscribed(topic) => {
                    ErrorCode::GROUP_SUBSCRIBED_TO_TOPIC
                }
                TopicRef::Name(topic) => {
                    if group.offsets.find(topic, item.partition).is_some() {
                        records.push(tombstone(group_id, topic, item.partition));
                    }
                    ErrorCode::NONE
                }
            });
        }
        self.context.write(now, records, After::OffsetsDeleted { token, results });
        self.settle(now);
    }

    /// A topic is gone, and with it what its offsets mean.
    pub fn topic_deleted(&mut self, now: Now, name: &str) {
        let mut records = Vec::new();
        for (group_id, group) in &self.groups {
            let partitions = group.offsets.of_topic(name);
            records.extend(partitions.map(|partition| tombstone(group_id, name, partition)));
        }
        self.context.write(now, records, After::Nothing);
        self.settle(now);
    }
}

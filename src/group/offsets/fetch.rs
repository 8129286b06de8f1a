//! `OffsetFetch`: what was committed, told once it is durable.

use super::super::groups::Group;
use super::super::writes::Reader;
use super::super::{Coordinator, ids};
use super::Committed;
use crate::ids::Partition;
use crate::wire::offset_fetch::{
    FetchOffsetsGroup, FetchedOffset, FetchedOffsets, OffsetFetchRequest, OffsetFetchResponse,
};
use crate::wire::{ErrorCode, TopicRef, frame};

impl Coordinator {
    /// Tells what groups have committed.
    pub(in super::super) fn fetch(&mut self, token: u64, request: &OffsetFetchRequest<'_>) {
        let groups = request.groups.iter().map(|asked| self.fetch_group(asked));
        let body = frame::encode_body(&OffsetFetchResponse { groups: groups.collect() });
        self.context.answer_durable(Reader { token, body, failed });
    }

    fn fetch_group<'a>(&'a self, asked: &FetchOffsetsGroup<'a>) -> FetchedOffsets<'a> {
        if !ids::is_legal(asked.group_id) {
            return FetchedOffsets { error: ErrorCode::INVALID_GROUP_ID, partitions: Vec::new() };
        }
        let group = self.groups.get(asked.group_id);
        let consumers = group.and_then(Group::consumer);
        let checked = consumers
            .map_or(Ok(()), |group| group.check_fetch(asked.member_epoch, asked.member_id));
        if let Err(error) = checked {
            return FetchedOffsets { error, partitions: Vec::new() };
        }
        let partitions = if let Some(asked) = &asked.partitions {
            asked.iter().map(|item| fetched(group, item.topic, item.partition)).collect()
        } else {
            let all = group.into_iter().flat_map(|group| group.offsets.iter());
            let all = all.map(|(topic, partition, committed)| {
                found(TopicRef::Name(topic), partition, committed)
            });
            all.collect()
        };
        FetchedOffsets { error: ErrorCode::NONE, partitions }
    }
}

fn fetched<'a>(
    group: Option<&'a Group>,
    topic: TopicRef<'a>,
    partition: Partition,
) -> FetchedOffset<'a> {
    let TopicRef::Name(name) = topic else {
        return FetchedOffset::absent(topic, partition, ErrorCode::UNKNOWN_TOPIC_ID);
    };
    match group.and_then(|group| group.offsets.find(name, partition)) {
        Some(committed) => found(topic, partition, committed),
        None => FetchedOffset::absent(topic, partition, ErrorCode::NONE),
    }
}

fn found<'a>(
    topic: TopicRef<'a>,
    partition: Partition,
    committed: &'a Committed,
) -> FetchedOffset<'a> {
    FetchedOffset {
        topic,
        partition,
        offset: committed.offset,
        leader_epoch: committed.leader_epoch,
        metadata: &committed.metadata,
        error: ErrorCode::NONE,
    }
}

/// The answer where what it would tell is not durable after all.
fn failed(body: &[u8], error: ErrorCode) -> Vec<u8> {
    let told: OffsetFetchResponse<'_> = frame::decode(body).expect("we encoded it ourselves");
    let groups = told.groups.iter().map(|_| FetchedOffsets { error, partitions: Vec::new() });
    frame::encode_body(&OffsetFetchResponse { groups: groups.collect() })
}

//! Requests about consumer groups: from a front to the coordinators, and their answers together.
//!
//! A group's coordinator is that of the partition of `__consumer_offsets` which the group's id
//! names, as in Kafka: `abs(hash) mod partitions`, where the hash is Java's of the id. Requests on
//! several groups are taken apart, one item per group; a list asks every coordinator.
//!
//! Coordinators know topics by name only. Ids become names here, and what names no partition is
//! answered here, since only a front has the topics.
//!
//! **Invariant:** an answer has as many elements as its request, in its order.
//!
//! Read semantics.md 2.18 and 2.20 before editing.

use std::collections::{BTreeMap, BTreeSet};

use bytes::BytesMut;

use crate::broker::ConnectionId;
use crate::broker::front::{ControlAsk, Front, Gathering, owner_of};
use crate::broker::handlers::Call;
use crate::broker::handlers::cluster::LiveBroker;
use crate::broker::mail::{AskBody, GroupAsk, GroupItem, ShardId};
use crate::controller::OFFSETS_TOPIC;
use crate::controller::image::PartitionImage;
use crate::group;
use crate::ids::{NodeId, Partition, TopicId, TopicPartition};
use crate::time::{Boot, Now};
use crate::wire::consumer_group_describe::{
    ConsumerGroupDescribeRequest, ConsumerGroupDescribeResponse,
};
use crate::wire::consumer_group_heartbeat::ConsumerGroupHeartbeatRequest;
use crate::wire::delete_groups::{DeleteGroupsRequest, DeleteGroupsResponse};
use crate::wire::describe_groups::{DescribeGroupsRequest, DescribeGroupsResponse};
use crate::wire::find_coordinator::{
    CoordinatorKind, FindCoordinatorRequest, FindCoordinatorResponse, FoundCoordinator,
};
use crate::wire::heartbeat::HeartbeatRequest;
use crate::wire::join_group::JoinGroupRequest;
use crate::wire::leave_group::LeaveGroupRequest;
use crate::wire::list_groups::{ListGroupsRequest, ListGroupsResponse};
use crate::wire::offset_commit::{CommitPartition, OffsetCommitRequest, OffsetCommitResponse};
use crate::wire::offset_delete::{DeleteOffset, OffsetDeleteRequest, OffsetDeleteResponse};
use crate::wire::offset_fetch::{
    FetchOffset, FetchOffsetsGroup, FetchedOffset, OffsetFetchRequest, OffsetFetchResponse,
};
use crate::wire::sync_group::SyncGroupRequest;
use crate::wire::{ApiKey, ErrorCode, FrameError, TopicRef, frame};

/// A request about groups, and who makes it.
#[derive(Debug)]
pub(super) struct GroupRequest {
    /// What kind it is.
    pub(super) api: ApiKey,
    /// Its body.
    pub(super) body: BytesMut,
    /// The client's name for itself.
    pub(super) client_id: Box<str>,
    /// The address it comes from.
    pub(super) client_host: Box<str>,
}

/// What a request about groups gathers.
#[derive(Debug)]
pub(super) struct GroupGathering {
    api: ApiKey,
    /// The body of the request, for the answer is put together with it.
    request: BytesMut,
    /// What was wrong with each of its partitions, where it has some; found by the front.
    refused: Vec<Option<ErrorCode>>,
    /// The coordinators' answers.
    pub(super) results: Vec<Option<Vec<u8>>>,
    /// Shards that give notice when their answer is there.
    pub(super) parked: BTreeSet<ShardId>,
}

/// A request to one coordinator, before it has its place.
type Part = (TopicPartition, Vec<u8>);

impl GroupGathering {
    /// Whether it waits for other members.
    pub(super) fn may_wait(&self) -> bool {
        matches!(self.api, ApiKey::JoinGroup | ApiKey::SyncGroup)
    }

    /// Whether it waits for them now.
    pub(super) fn is_parked(&self) -> bool {
        !self.parked.is_empty()
    }

    /// The body of the response. A coordinator that went away has answered nothing: whoever asked
    /// is to look for it anew.
    pub(super) fn into_body(self) -> Vec<u8> {
        let answers: Option<Vec<Vec<u8>>> = self.results.into_iter().collect();
        let answers = answers.expect("every ask was answered");
        let merged = merge(self.api, &self.request, &self.refused, answers);
        let body = merged
            .or_else(|| group::refusal(self.api, &self.request, ErrorCode::NOT_COORDINATOR).ok());
        body.unwrap_or_default()
    }
}

impl<F: Clone> Front<F> {
    /// Handles a request about groups.
    pub(super) fn group(&mut self, call: Call, request: GroupRequest) -> Result<(), FrameError> {
        check(request.api, &request.body)?;
        let number = self.reserve_slot(call.connection);
        if self.needs_offsets_topic(&request) {
            let ask = ControlAsk {
                request: self.request_id(number),
                api: ApiKey::FindCoordinator,
                body: BytesMut::new(),
            };
            let pending = call.pending(Gathering::GroupAfterCreate(request), Boot::NEVER);
            self.start_control(number, pending, ask);
        } else {
            self.start_group(call, number, request);
        }
        Ok(())
    }

    /// The same once the topic of groups is there, or could not be made.
    pub(super) fn group_after_create(
        &mut self,
        now: Now,
        connection: ConnectionId,
        number: u64,
        correlation_id: u32,
        request: GroupRequest,
    ) {
        // The frame is released already.
        let call = Call { connection, correlation_id, frame_bytes: 0, now };
        self.start_group(call, number, request);
    }

    /// Whether the topic of groups must be made first. Whoever only looks finds nothing without.
    fn needs_offsets_topic(&self, request: &GroupRequest) -> bool {
        let only_looks = match request.api {
            ApiKey::ListGroups
            | ApiKey::DescribeGroups
            | ApiKey::ConsumerGroupDescribe
            | ApiKey::DeleteGroups => true,
            ApiKey::FindCoordinator => frame::decode::<FindCoordinatorRequest<'_>>(&request.body)
                .is_ok_and(|find| find.kind != CoordinatorKind::Group || find.keys.is_empty()),
            _ => false,
        };
        !only_looks && self.image.find(TopicRef::Name(OFFSETS_TOPIC)).is_none()
    }

    /// Starts a request whose body is known to decode.
    fn start_group(&mut self, call: Call, number: u64, request: GroupRequest) {
        let GroupRequest { api, body, client_id, client_host } = request;
        if api == ApiKey::FindCoordinator {
            return self.find_coordinator(call, number, &body);
        }
        let mut refused = Vec::new();
        let Some(parts) = self.parts(api, &body, &mut refused) else {
            let ready = self.ready_body(call.connection, call.correlation_id, absent(api, &body));
            self.fill_slot(call.connection, number, ready);
            return self.release(call.frame_bytes);
        };
        let mut items: BTreeMap<ShardId, Vec<GroupItem>> = BTreeMap::new();
        let result_count = parts.len();
        for (place, (topic_partition, body)) in parts.into_iter().enumerate() {
            let shard = owner_of(&self.config, topic_partition);
            let item = GroupItem { place: place as u32, topic_partition, body };
            items.entry(shard).or_default().push(item);
        }
        let gathering = GroupGathering {
            api,
            request: body,
            refused,
            results: std::iter::repeat_with(|| None).take(result_count).collect(),
            parked: BTreeSet::new(),
        };
        let ask = |items| {
            let (client_id, client_host) = (client_id.clone(), client_host.clone());
            AskBody::Group(GroupAsk { api, client_id, client_host, items })
        };
        let asks = items.into_iter().map(|(shard, items)| (shard, ask(items))).collect();
        let pending = call.pending(Gathering::Group(gathering), Boot::NEVER);
        self.start_or_complete(call.now, number, pending, asks);
    }

    fn find_coordinator(&mut self, call: Call, number: u64, body: &[u8]) {
        let request: FindCoordinatorRequest<'_> = frame::decode(body).expect("it was checked");
        let brokers = self.live_brokers(call.connection);
        let found = |group_id: &&str| match request.kind {
            CoordinatorKind::Group => self
                .coordinator_of(group_id)
                .and_then(|leader| brokers.iter().find(|broker| broker.node_id() == leader))
                .map_or(
                    FoundCoordinator::failed(ErrorCode::COORDINATOR_NOT_AVAILABLE),
                    LiveBroker::as_coordinator,
                ),
            // There are no transactions yet: a client that tried again would try for ever.
            CoordinatorKind::Transaction => FoundCoordinator::failed(ErrorCode::INVALID_REQUEST),
        };
        let coordinators = request.keys.iter().map(found).collect();
        self.respond(
            call.connection,
            number,
            call.correlation_id,
            &FindCoordinatorResponse { coordinators },
        );
        self.release(call.frame_bytes);
    }

    /// Who leads the partition that a group's state is in.
    fn coordinator_of(&self, group_id: &str) -> Option<NodeId> {
        let (_, topic) = self.image.find(TopicRef::Name(OFFSETS_TOPIC))?;
        let number = partition_of(group_id, topic.partitions.len() as i32);
        topic.partitions.get(number as usize)?.leader
    }

    /// What each coordinator is asked; `None` where there are no groups at all.
    fn parts(
        &self,
        api: ApiKey,
        body: &[u8],
        refused: &mut Vec<Option<ErrorCode>>,
    ) -> Option<Vec<Part>> {
        let (topic_id, topic) = self.image.find(TopicRef::Name(OFFSETS_TOPIC))?;
        let count = topic.partitions.len() as i32;
        let place = |group_id: &str| {
            let partition = Partition(partition_of(group_id, count));
            TopicPartition { topic_id, partition }
        };
        let whole = |group_id: &str| vec![(place(group_id), body.to_vec())];
        Some(match api {
            ApiKey::JoinGroup => whole(decoded::<JoinGroupRequest<'_>>(body).group_id),
            ApiKey::SyncGroup => whole(decoded::<SyncGroupRequest<'_>>(body).group_id),
            ApiKey::Heartbeat => whole(decoded::<HeartbeatRequest<'_>>(body).group_id),
            ApiKey::LeaveGroup => whole(decoded::<LeaveGroupRequest<'_>>(body).group_id),
            ApiKey::OffsetCommit => self.commit_part(body, refused, place),
            ApiKey::OffsetDelete => self.delete_part(body, refused, place),
            ApiKey::OffsetFetch => {
                let OffsetFetchRequest { require_stable, groups } = decoded(body);
                let mut parts = Vec::with_capacity(groups.len());
                for mut group in groups {
                    let at = place(group.group_id);
                    self.name_all(&mut group, refused);
                    let groups = vec![group];
                    let request = OffsetFetchRequest { require_stable, groups };
                    parts.push((at, frame::encode_body(&request)));
                }
                parts
            }
            ApiKey::DescribeGroups => {
                let part = |group| {
                    let groups = vec![group];
                    (place(group), frame::encode_body(&DescribeGroupsRequest { groups }))
                };
                decoded::<DescribeGroupsRequest<'_>>(body).groups.into_iter().map(part).collect()
            }
            ApiKey::ConsumerGroupHeartbeat => {
                whole(decoded::<ConsumerGroupHeartbeatRequest<'_>>(body).group_id)
            }
            ApiKey::ConsumerGroupDescribe => {
                let part = |group| {
                    let groups = vec![group];
                    (place(group), frame::encode_body(&ConsumerGroupDescribeRequest { groups }))
                };
                let request: ConsumerGroupDescribeRequest<'_> = decoded(body);
                request.groups.into_iter().map(part).collect()
            }
            ApiKey::DeleteGroups => {
                let part = |group| {
                    let groups = vec![group];
                    (place(group), frame::encode_body(&DeleteGroupsRequest { groups }))
                };
                decoded::<DeleteGroupsRequest<'_>>(body).groups.into_iter().map(part).collect()
            }
            _ => self.parts_led_here(topic_id, &topic.partitions, body)?,
        })
    }

    /// The same question for each coordinator that leads here; other brokers are asked for theirs.
    fn parts_led_here(
        &self,
        topic_id: TopicId,
        partitions: &[PartitionImage],
        body: &[u8],
    ) -> Option<Vec<Part>> {
        let own = Some(self.config.node_id);
        let led = partitions.iter().enumerate().filter(|(_, partition)| partition.leader == own);
        let part = |(number, _)| {
            let partition = Partition(number as i32);
            (TopicPartition { topic_id, partition }, body.to_vec())
        };
        let parts: Vec<Part> = led.map(part).collect();
        (!parts.is_empty()).then_some(parts)
    }

    fn commit_part(
        &self,
        body: &[u8],
        refused: &mut Vec<Option<ErrorCode>>,
        place: impl Fn(&str) -> TopicPartition,
    ) -> Vec<Part> {
        let mut request: OffsetCommitRequest<'_> = decoded(body);
        let checked = request.partitions.iter().filter_map(|item| {
            let topic = self.existing(item.topic, item.partition, refused)?;
            Some(CommitPartition { topic, ..*item })
        });
        request.partitions = checked.collect();
        match request.partitions.is_empty() {
            true => Vec::new(),
            false => vec![(place(request.group_id), frame::encode_body(&request))],
        }
    }

    fn delete_part(
        &self,
        body: &[u8],
        refused: &mut Vec<Option<ErrorCode>>,
        place: impl Fn(&str) -> TopicPartition,
    ) -> Vec<Part> {
        let mut request: OffsetDeleteRequest<'_> = decoded(body);
        let checked = request.partitions.iter().filter_map(|item| {
            let topic = self.existing(item.topic, item.partition, refused)?;
            Some(DeleteOffset { topic, ..*item })
        });
        request.partitions = checked.collect();
        vec![(place(request.group_id), frame::encode_body(&request))]
    }

    /// A topic by its name, if it has this partition; what is wrong is noted.
    fn existing<'a>(
        &'a self,
        topic: TopicRef<'a>,
        partition: Partition,
        refused: &mut Vec<Option<ErrorCode>>,
    ) -> Option<TopicRef<'a>> {
        let found = self.resolve(topic, partition).map_err(|error| match error {
            // An illegal name is one more that no topic has.
            ErrorCode::INVALID_TOPIC_EXCEPTION => ErrorCode::UNKNOWN_TOPIC_OR_PARTITION,
            error => error,
        });
        refused.push(found.err());
        let topic = self.image.topic(found.ok()?.topic_id).expect("its partition was found");
        Some(TopicRef::Name(&topic.name))
    }

    /// Replaces ids by names. A topic that is gone keeps what was committed for its name until its
    /// groups forget it, so names are not looked up.
    fn name_all<'a>(
        &'a self,
        group: &mut FetchOffsetsGroup<'a>,
        refused: &mut Vec<Option<ErrorCode>>,
    ) {
        let Some(partitions) = &mut group.partitions else { return };
        let named = partitions.iter().filter_map(|item| {
            let named = match item.topic {
                TopicRef::Name(_) => Some(item.topic),
                TopicRef::Id(topic_id) => {
                    self.image.topic(topic_id).map(|topic| TopicRef::Name(&topic.name))
                }
            };
            refused.push(named.is_none().then_some(ErrorCode::UNKNOWN_TOPIC_ID));
            named.map(|topic| FetchOffset { topic, ..*item })
        });
        let named: Vec<FetchOffset<'a>> = named.collect();
        *partitions = named;
    }
}

/// The partition, of `count`, that keeps a group.
fn partition_of(group_id: &str, count: i32) -> i32 {
    let hash = group_id
        .encode_utf16()
        .fold(0i32, |hash, unit| hash.wrapping_mul(31).wrapping_add(i32::from(unit)));
    // The smallest number has no absolute value; Kafka takes 0.
    hash.checked_abs().unwrap_or(0) % count
}

fn decoded<'a, T: serde::Deserialize<'a>>(body: &'a [u8]) -> T {
    frame::decode(body).expect("the front has checked it")
}

/// Whether a body decodes.
fn check(api: ApiKey, body: &[u8]) -> Result<(), FrameError> {
    match api {
        ApiKey::FindCoordinator => frame::decode::<FindCoordinatorRequest<'_>>(body).map(drop),
        ApiKey::JoinGroup => frame::decode::<JoinGroupRequest<'_>>(body).map(drop),
        ApiKey::SyncGroup => frame::decode::<SyncGroupRequest<'_>>(body).map(drop),
        ApiKey::Heartbeat => frame::decode::<HeartbeatRequest<'_>>(body).map(drop),
        ApiKey::LeaveGroup => frame::decode::<LeaveGroupRequest<'_>>(body).map(drop),
        ApiKey::OffsetCommit => frame::decode::<OffsetCommitRequest<'_>>(body).map(drop),
        ApiKey::OffsetFetch => frame::decode::<OffsetFetchRequest<'_>>(body).map(drop),
        ApiKey::OffsetDelete => frame::decode::<OffsetDeleteRequest<'_>>(body).map(drop),
        ApiKey::DescribeGroups => frame::decode::<DescribeGroupsRequest<'_>>(body).map(drop),
        ApiKey::ListGroups => frame::decode::<ListGroupsRequest>(body).map(drop),
        ApiKey::DeleteGroups => frame::decode::<DeleteGroupsRequest<'_>>(body).map(drop),
        ApiKey::ConsumerGroupHeartbeat => {
            frame::decode::<ConsumerGroupHeartbeatRequest<'_>>(body).map(drop)
        }
        ApiKey::ConsumerGroupDescribe => {
            frame::decode::<ConsumerGroupDescribeRequest<'_>>(body).map(drop)
        }
        _ => Err(FrameError::Malformed),
    }
}

/// The body of a response where there are no groups at all.
fn absent(api: ApiKey, body: &[u8]) -> Vec<u8> {
    match api {
        ApiKey::ListGroups => refusal(api, body, ErrorCode::NONE),
        ApiKey::DescribeGroups | ApiKey::ConsumerGroupDescribe | ApiKey::DeleteGroups => {
            refusal(api, body, ErrorCode::GROUP_ID_NOT_FOUND)
        }
        // The topic of groups could not be made.
        _ => refusal(api, body, ErrorCode::COORDINATOR_NOT_AVAILABLE),
    }
}

/// The body of a response that refuses all of a request, which is known to decode.
pub(super) fn refusal(api: ApiKey, body: &[u8], error: ErrorCode) -> Vec<u8> {
    group::refusal(api, body, error).expect("the front has checked it")
}

/// One answer out of those of the coordinators; none if one of them does not decode.
fn merge(
    api: ApiKey,
    request: &[u8],
    refused: &[Option<ErrorCode>],
    mut answers: Vec<Vec<u8>>,
) -> Option<Vec<u8>> {
    match api {
        ApiKey::OffsetCommit => merge_commit(refused, answers.first()),
        ApiKey::OffsetDelete => {
            let answer: OffsetDeleteResponse = frame::decode(answers.first()?).ok()?;
            if !answer.error.is_ok() {
                return answers.pop();
            }
            let partitions = fill_in(refused, answer.partitions)?;
            Some(frame::encode_body(&OffsetDeleteResponse { error: ErrorCode::NONE, partitions }))
        }
        ApiKey::OffsetFetch => merge_fetched(request, refused, &answers),
        ApiKey::DescribeGroups => {
            let mut groups = Vec::new();
            for answer in &answers {
                groups.extend(frame::decode::<DescribeGroupsResponse<'_>>(answer).ok()?.groups);
            }
            Some(frame::encode_body(&DescribeGroupsResponse { groups }))
        }
        ApiKey::ConsumerGroupDescribe => {
            let mut groups = Vec::new();
            for answer in &answers {
                let answer: ConsumerGroupDescribeResponse<'_> = frame::decode(answer).ok()?;
                groups.extend(answer.groups);
            }
            Some(frame::encode_body(&ConsumerGroupDescribeResponse { groups }))
        }
        ApiKey::DeleteGroups => {
            let mut groups = Vec::new();
            for answer in &answers {
                groups.extend(frame::decode::<DeleteGroupsResponse>(answer).ok()?.groups);
            }
            Some(frame::encode_body(&DeleteGroupsResponse { groups }))
        }
        ApiKey::ListGroups => merge_lists(&answers),
        // Those have one coordinator.
        _ => answers.pop().filter(|answer| !answer.is_empty()),
    }
}

/// The coordinator's results at the places where the front found nothing wrong.
fn fill_in(refused: &[Option<ErrorCode>], results: Vec<ErrorCode>) -> Option<Vec<ErrorCode>> {
    let mut results = results.into_iter();
    refused.iter().map(|error| error.or_else(|| results.next())).collect()
}

fn merge_commit(refused: &[Option<ErrorCode>], answer: Option<&Vec<u8>>) -> Option<Vec<u8>> {
    let results = match answer {
        Some(answer) => frame::decode::<OffsetCommitResponse>(answer).ok()?.partitions,
        // No partition was left to ask about.
        None => Vec::new(),
    };
    let partitions = fill_in(refused, results)?;
    Some(frame::encode_body(&OffsetCommitResponse { partitions }))
}

fn merge_fetched(
    request: &[u8],
    refused: &[Option<ErrorCode>],
    answers: &[Vec<u8>],
) -> Option<Vec<u8>> {
    let request: OffsetFetchRequest<'_> = frame::decode(request).ok()?;
    let mut refused = refused.iter();
    let mut groups = Vec::with_capacity(answers.len());
    for (wanted, answer) in request.groups.iter().zip(answers) {
        let mut answer = frame::decode::<OffsetFetchResponse<'_>>(answer).ok()?;
        let mut group = answer.groups.pop()?;
        if let Some(wanted) = &wanted.partitions {
            // The notes of a group that failed as a whole are passed over as well.
            let notes: Vec<Option<ErrorCode>> =
                refused.by_ref().take(wanted.len()).copied().collect();
            if group.error.is_ok() {
                let mut found = group.partitions.into_iter();
                let whole = wanted.iter().zip(notes).map(|(item, note)| match note {
                    Some(error) => Some(FetchedOffset::absent(item.topic, item.partition, error)),
                    // As it was asked for, be it by id.
                    None => found.next().map(|found| FetchedOffset { topic: item.topic, ..found }),
                });
                group.partitions = whole.collect::<Option<_>>()?;
            }
        }
        groups.push(group);
    }
    Some(frame::encode_body(&OffsetFetchResponse { groups }))
}

fn merge_lists(answers: &[Vec<u8>]) -> Option<Vec<u8>> {
    let mut merged = ListGroupsResponse { error: ErrorCode::NONE, groups: Vec::new() };
    for answer in answers {
        let answer: ListGroupsResponse<'_> = frame::decode(answer).ok()?;
        if merged.error.is_ok() {
            merged.error = answer.error;
        }
        merged.groups.extend(answer.groups);
    }
    merged.groups.sort_by_key(|group| group.group_id);
    Some(frame::encode_body(&merged))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::heartbeat::{HeartbeatRequest, HeartbeatResponse};

    /// Found in a simulated site: whoever asked a coordinator that had to go got a response without a body,
    /// and took its broker for broken.
    #[test]
    fn a_coordinator_that_went_away_is_to_be_looked_for_anew() {
        let request = HeartbeatRequest {
            group_id: "g",
            generation_id: 1,
            member_id: "m",
            group_instance_id: None,
        };
        let gathering = GroupGathering {
            api: ApiKey::Heartbeat,
            request: BytesMut::from(&frame::encode_body(&request)[..]),
            refused: Vec::new(),
            results: vec![Some(Vec::new())],
            parked: BTreeSet::new(),
        };
        let body = gathering.into_body();
        let response: HeartbeatResponse = frame::decode(&body).expect("a response");
        assert_eq!(response.error, ErrorCode::NOT_COORDINATOR);
    }

    #[test]
    fn a_group_is_kept_where_kafka_would_keep_it() {
        // `Utils.abs("…".hashCode()) % n`, by Java itself.
        assert_eq!(partition_of("", 50), 0);
        assert_eq!(partition_of("a", 50), 97 % 50);
        assert_eq!(partition_of("readers", 1 << 30), 1_080_410_128 % (1 << 30));
        assert_eq!(partition_of("polygenelubricants", 50), 0, "its hash is the smallest number");
        for group in ["x", "é", "😀", "console-consumer-12345"] {
            assert!((0..4).contains(&partition_of(group, 4)));
        }
    }

    #[test]
    fn what_the_front_refused_keeps_its_place() {
        let unknown = ErrorCode::UNKNOWN_TOPIC_OR_PARTITION;
        let refused = [Some(unknown), None, Some(unknown), None];
        let results = vec![ErrorCode::NONE, ErrorCode::ILLEGAL_GENERATION];
        let whole = fill_in(&refused, results).expect("as many as were asked for");
        assert_eq!(whole, [unknown, ErrorCode::NONE, unknown, ErrorCode::ILLEGAL_GENERATION]);
        assert_eq!(fill_in(&refused, vec![ErrorCode::NONE]), None, "one too few");
    }

    #[test]
    fn offsets_by_id_are_answered_by_id() {
        use crate::wire::offset_fetch::FetchedOffsets;

        use crate::ids::{LeaderEpoch, Offset, TopicId, Uuid};
        let id = |byte| TopicRef::Id(TopicId(Uuid([byte; 16])));
        let wanted = |topic| FetchOffset { topic, partition: Partition(3) };
        let group = |partitions| FetchOffsetsGroup {
            group_id: "g",
            member_id: None,
            member_epoch: -1,
            partitions,
        };
        let groups = vec![group(Some(vec![wanted(id(1)), wanted(id(2))])), group(None)];
        let request = frame::encode_body(&OffsetFetchRequest { require_stable: false, groups });
        let found = FetchedOffset {
            topic: TopicRef::Name("t"),
            partition: Partition(3),
            offset: Offset(42),
            leader_epoch: LeaderEpoch(1),
            metadata: "m",
            error: ErrorCode::NONE,
        };
        let answer = |partitions| {
            let groups = vec![FetchedOffsets { error: ErrorCode::NONE, partitions }];
            frame::encode_body(&OffsetFetchResponse { groups })
        };
        let refused = [Some(ErrorCode::UNKNOWN_TOPIC_ID), None];
        let answers = [answer(vec![found]), answer(vec![found])];
        let body = merge_fetched(&request, &refused, &answers).expect("whole");
        let whole: OffsetFetchResponse<'_> = frame::decode(&body).expect("decodes");
        let unknown = ErrorCode::UNKNOWN_TOPIC_ID;
        let absent = FetchedOffset::absent(id(1), Partition(3), unknown);
        assert_eq!(whole.groups[0].partitions, [absent, FetchedOffset { topic: id(2), ..found }]);
        assert_eq!(whole.groups[1].partitions, [found]);
    }
}

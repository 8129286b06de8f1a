//! The admin client's calls about consumer groups.
//!
//! A group is asked at its coordinator, which is looked up first; while that loads its log or
//! moves, the call waits, within `request.timeout.ms`.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use crate::client::ClientError;
use crate::client::admin::{Admin, checked};
use crate::client::cluster::Cluster;
use crate::client::offsets::TopicPartition;
use crate::ids::{LeaderEpoch, NodeId, Offset};
use crate::wire::consumer_group_describe::{
    ConsumerGroupDescribeRequest, ConsumerGroupDescribeResponse, ConsumerMember,
    DescribedConsumerGroup,
};
use crate::wire::delete_groups::{DeleteGroupsRequest, DeleteGroupsResponse};
use crate::wire::describe_groups::{
    DescribeGroupsRequest, DescribeGroupsResponse, DescribedGroup, DescribedMember,
};
use crate::wire::find_coordinator::{
    CoordinatorKind, FindCoordinatorRequest, FindCoordinatorResponse,
};
use crate::wire::kafka::consumer_protocol::ConsumerProtocolAssignment;
use crate::wire::list_groups::{GroupKind, GroupState, ListGroupsRequest, ListGroupsResponse};
use crate::wire::offset_commit::{CommitPartition, OffsetCommitRequest, OffsetCommitResponse};
use crate::wire::offset_delete::{DeleteOffset, OffsetDeleteRequest, OffsetDeleteResponse};
use crate::wire::offset_fetch::{
    FetchOffset, FetchOffsetsGroup, OffsetFetchRequest, OffsetFetchResponse,
};
use crate::wire::{ApiKey, ErrorCode, FrameError, TopicRef};

/// Time between two tries at a coordinator.
const RETRY_BACKOFF: Duration = Duration::from_millis(100);

/// A group in a list.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GroupListing {
    /// Its id.
    pub group_id: String,
    /// What kind of members it has: `consumer`; empty where it only has offsets.
    pub protocol_type: String,
    /// What it is doing.
    pub state: GroupState,
    /// By which protocol.
    pub kind: GroupKind,
}

/// A group.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GroupInfo {
    /// Its id.
    pub group_id: String,
    /// By which protocol.
    pub kind: GroupKind,
    /// What it is doing.
    pub state: GroupState,
    /// What kind of members it has: `consumer`.
    pub protocol_type: String,
    /// How it assigns partitions, as `range`; empty while it does not.
    pub protocol_name: String,
    /// Its members, ascending by id.
    pub members: Vec<GroupMember>,
}

/// A member of a group.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GroupMember {
    /// Its id.
    pub member_id: String,
    /// Its static name, if it has one.
    pub group_instance_id: Option<String>,
    /// As its connection said.
    pub client_id: String,
    /// Where it connects from.
    pub client_host: String,
    /// The partitions it reads, ascending.
    pub partitions: Vec<TopicPartition>,
}

/// How far a group has read a partition.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CommittedOffset {
    /// The offset of the next record to read.
    pub offset: Offset,
    /// Leader epoch of the last record read, if it was known.
    pub leader_epoch: LeaderEpoch,
    /// What was committed with it.
    pub metadata: String,
}

impl GroupInfo {
    fn new(group_id: &str, group: &DescribedGroup<'_>) -> GroupInfo {
        let is_consumer = group.protocol_type == "consumer";
        let members = group.members.iter().map(|member| GroupMember::new(member, is_consumer));
        GroupInfo {
            group_id: group_id.to_owned(),
            kind: GroupKind::Classic,
            state: group.state,
            protocol_type: group.protocol_type.to_owned(),
            protocol_name: group.protocol_name.to_owned(),
            members: members.collect(),
        }
    }

    /// A group of KIP-848.
    fn assigned(group_id: &str, group: &DescribedConsumerGroup<'_>) -> GroupInfo {
        GroupInfo {
            group_id: group_id.to_owned(),
            kind: GroupKind::Consumer,
            state: group.state,
            protocol_type: "consumer".to_owned(),
            protocol_name: group.assignor.to_owned(),
            members: group.members.iter().map(GroupMember::assigned).collect(),
        }
    }
}

impl GroupMember {
    /// A member of a group of KIP-848.
    fn assigned(member: &ConsumerMember<'_>) -> GroupMember {
        let partitions = member.assignment.iter().flat_map(|topic| {
            let numbers = topic.partitions.iter();
            numbers.map(|number| TopicPartition::new(topic.topic, number.0))
        });
        let mut partitions: Vec<TopicPartition> = partitions.collect();
        partitions.sort();
        GroupMember {
            member_id: member.member_id.to_owned(),
            group_instance_id: member.instance_id.map(str::to_owned),
            client_id: member.client_id.to_owned(),
            client_host: member.client_host.trim_start_matches('/').to_owned(),
            partitions,
        }
    }

    fn new(member: &DescribedMember<'_>, is_consumer: bool) -> GroupMember {
        // Other kinds of members (Connect's, for one) share out what is theirs in their own form.
        let assignment = match member.assignment {
            bytes if is_consumer && !bytes.is_empty() => ConsumerProtocolAssignment::decode(bytes),
            _ => Ok(ConsumerProtocolAssignment::default()),
        };
        let mut partitions = Vec::new();
        for topic in assignment.unwrap_or_default().assigned_partitions {
            let numbers = topic.partitions.iter();
            partitions.extend(numbers.map(|number| TopicPartition::new(topic.topic, number.0)));
        }
        partitions.sort();
        GroupMember {
            member_id: member.member_id.to_owned(),
            group_instance_id: member.group_instance_id.map(str::to_owned),
            client_id: member.client_id.to_owned(),
            client_host: member.client_host.trim_start_matches('/').to_owned(),
            partitions,
        }
    }
}

/// Whether the group may be asked again, elsewhere or later.
fn is_coordinator_error(error: ErrorCode) -> bool {
    matches!(
        error,
        ErrorCode::COORDINATOR_LOAD_IN_PROGRESS
            | ErrorCode::COORDINATOR_NOT_AVAILABLE
            | ErrorCode::NOT_COORDINATOR
    )
}

/// The first error that sends a client back to its coordinator, if there is one.
fn coordinator_error(errors: impl IntoIterator<Item = ErrorCode>) -> ErrorCode {
    errors.into_iter().find(|error| is_coordinator_error(*error)).unwrap_or(ErrorCode::NONE)
}

impl Admin {
    /// Calls the coordinator of a group until it is one. The call answers the code that says so,
    /// and what it found.
    fn with_coordinator<T>(
        &self,
        group_id: &str,
        mut call: impl FnMut(&mut Cluster, NodeId) -> Result<(ErrorCode, T), ClientError>,
    ) -> Result<T, ClientError> {
        self.until_ready(|cluster| match self.find_coordinator(cluster, group_id)? {
            Ok(node) => match call(cluster, node)? {
                (error, found) if !is_coordinator_error(error) => Ok(Ok(found)),
                (error, _) => Ok(Err(error)),
            },
            Err(error) => Ok(Err(error)),
        })
    }

    /// Calls until no coordinator says that it is none, or reads its log, for as long as a request may
    /// take.
    fn until_ready<T>(
        &self,
        mut call: impl FnMut(&mut Cluster) -> Result<Result<T, ErrorCode>, ClientError>,
    ) -> Result<T, ClientError> {
        let deadline = Instant::now() + self.request_timeout();
        loop {
            let answer = call(&mut self.cluster())?;
            match answer {
                Ok(found) => return Ok(found),
                Err(error) if is_coordinator_error(error) && Instant::now() < deadline => {}
                Err(error) => return Err(ClientError::Broker(error)),
            }
            std::thread::sleep(RETRY_BACKOFF);
        }
    }

    fn find_coordinator(
        &self,
        cluster: &mut Cluster,
        group_id: &str,
    ) -> Result<Result<NodeId, ErrorCode>, ClientError> {
        let request = FindCoordinatorRequest { kind: CoordinatorKind::Group, keys: vec![group_id] };
        let frame = cluster.call_any(ApiKey::FindCoordinator, &request, self.request_timeout())?;
        let response: FindCoordinatorResponse<'_> = frame.body()?;
        let found = one(response.coordinators)?;
        if !found.error.is_ok() {
            return Ok(Err(found.error));
        }
        // Or whoever comes first would be asked in its place, and say that it is not the one.
        cluster.meet(found.node_id, found.host, found.port);
        Ok(Ok(found.node_id))
    }

    /// The groups of all brokers, ascending by id. One that was just started reads its log first, and
    /// is asked again.
    pub fn list_groups(&self) -> Result<Vec<GroupListing>, ClientError> {
        self.until_ready(|cluster| self.list_groups_now(cluster))
    }

    fn list_groups_now(
        &self,
        cluster: &mut Cluster,
    ) -> Result<Result<Vec<GroupListing>, ErrorCode>, ClientError> {
        let brokers = cluster.metadata(Some(&[]), false)?.brokers;
        let mut listings = Vec::new();
        for broker in brokers {
            let request = ListGroupsRequest { states: Vec::new(), kinds: Vec::new() };
            let node = Some(broker.node_id);
            let frame =
                cluster.call_node(node, ApiKey::ListGroups, &request, self.request_timeout())?;
            let response: ListGroupsResponse<'_> = frame.body()?;
            if !response.error.is_ok() {
                return Ok(Err(response.error));
            }
            listings.extend(response.groups.into_iter().map(|group| GroupListing {
                group_id: group.group_id.to_owned(),
                protocol_type: group.protocol_type.to_owned(),
                state: group.state,
                kind: group.kind,
            }));
        }
        listings.sort_by(|a, b| a.group_id.cmp(&b.group_id));
        Ok(Ok(listings))
    }

    /// Some groups; `GROUP_ID_NOT_FOUND` for one that is not there.
    pub fn describe_groups(
        &self,
        group_ids: &[&str],
    ) -> Result<Vec<Result<GroupInfo, ErrorCode>>, ClientError> {
        let describe = |group_id: &&str| {
            self.with_coordinator(group_id, |cluster, node| {
                let request = DescribeGroupsRequest { groups: vec![group_id] };
                let timeout = self.request_timeout();
                let api = ApiKey::DescribeGroups;
                let frame = cluster.call_node(Some(node), api, &request, timeout)?;
                let response: DescribeGroupsResponse<'_> = frame.body()?;
                let group = one(response.groups)?;
                if group.error == ErrorCode::GROUP_ID_NOT_FOUND {
                    // Those of KIP-848 are asked about by themselves.
                    return describe_assigned(cluster, node, group_id, timeout);
                }
                let error = group.error;
                let is_ok = error.is_ok();
                Ok((error, if is_ok { Ok(GroupInfo::new(group_id, &group)) } else { Err(error) }))
            })
        };
        group_ids.iter().map(describe).collect()
    }

    /// What a group has committed: for some partitions, or all (`None`). Those without a committed
    /// offset are left out.
    pub fn list_group_offsets(
        &self,
        group_id: &str,
        partitions: Option<&[TopicPartition]>,
    ) -> Result<BTreeMap<TopicPartition, CommittedOffset>, ClientError> {
        let wanted = partitions.map(|partitions| {
            let wanted = partitions.iter().map(|one| FetchOffset {
                topic: TopicRef::Name(&one.topic),
                partition: one.partition,
            });
            wanted.collect::<Vec<_>>()
        });
        self.with_coordinator(group_id, |cluster, node| {
            let group = FetchOffsetsGroup {
                group_id,
                member_id: None,
                member_epoch: -1,
                partitions: wanted.clone(),
            };
            let request = OffsetFetchRequest { require_stable: false, groups: vec![group] };
            let timeout = self.request_timeout();
            let frame = cluster.call_node(Some(node), ApiKey::OffsetFetch, &request, timeout)?;
            let response: OffsetFetchResponse<'_> = frame.body()?;
            let group = one(response.groups)?;
            if is_coordinator_error(group.error) {
                return Ok((group.error, BTreeMap::new()));
            }
            let mut committed = BTreeMap::new();
            for found in group.partitions {
                let error = if group.error.is_ok() { found.error } else { group.error };
                if !error.is_ok() {
                    return Err(ClientError::Broker(error));
                }
                let TopicRef::Name(topic) = found.topic else { continue };
                if 0 <= found.offset.0 {
                    let offset = CommittedOffset {
                        offset: found.offset,
                        leader_epoch: found.leader_epoch,
                        metadata: found.metadata.to_owned(),
                    };
                    committed.insert(TopicPartition::new(topic, found.partition.0), offset);
                }
            }
            match group.error.is_ok() {
                true => Ok((ErrorCode::NONE, committed)),
                false => Err(ClientError::Broker(group.error)),
            }
        })
    }

    /// Commits offsets for a group that has no members: where it reads on.
    pub fn alter_group_offsets(
        &self,
        group_id: &str,
        offsets: &[(TopicPartition, Offset)],
    ) -> Result<Vec<Result<(), ErrorCode>>, ClientError> {
        self.with_coordinator(group_id, |cluster, node| {
            let partitions = offsets.iter().map(|(one, offset)| CommitPartition {
                topic: TopicRef::Name(&one.topic),
                partition: one.partition,
                offset: *offset,
                leader_epoch: LeaderEpoch::NONE,
                metadata: "",
            });
            let request = OffsetCommitRequest {
                group_id,
                generation_id_or_member_epoch: -1,
                member_id: "",
                group_instance_id: None,
                retention_time_ms: -1,
                knows_member_epochs: true,
                partitions: partitions.collect(),
            };
            let timeout = self.request_timeout();
            let frame = cluster.call_node(Some(node), ApiKey::OffsetCommit, &request, timeout)?;
            let errors = frame.body::<OffsetCommitResponse>()?.partitions;
            let errors = checked(errors, offsets.len())?;
            Ok((coordinator_error(errors.iter().copied()), each(&errors)))
        })
    }

    /// Has a group forget what it committed for some partitions.
    pub fn delete_group_offsets(
        &self,
        group_id: &str,
        partitions: &[TopicPartition],
    ) -> Result<Vec<Result<(), ErrorCode>>, ClientError> {
        self.with_coordinator(group_id, |cluster, node| {
            let wanted = partitions.iter().map(|one| DeleteOffset {
                topic: TopicRef::Name(&one.topic),
                partition: one.partition,
            });
            let request = OffsetDeleteRequest { group_id, partitions: wanted.collect() };
            let timeout = self.request_timeout();
            let frame = cluster.call_node(Some(node), ApiKey::OffsetDelete, &request, timeout)?;
            let response: OffsetDeleteResponse = frame.body()?;
            if is_coordinator_error(response.error) {
                return Ok((response.error, Vec::new()));
            }
            if !response.error.is_ok() {
                return Err(ClientError::Broker(response.error));
            }
            Ok((ErrorCode::NONE, each(&checked(response.partitions, partitions.len())?)))
        })
    }

    /// Removes groups that have no members, with all they committed.
    pub fn delete_groups(
        &self,
        group_ids: &[&str],
    ) -> Result<Vec<Result<(), ErrorCode>>, ClientError> {
        let delete = |group_id: &&str| {
            self.with_coordinator(group_id, |cluster, node| {
                let request = DeleteGroupsRequest { groups: vec![group_id] };
                let timeout = self.request_timeout();
                let api = ApiKey::DeleteGroups;
                let frame = cluster.call_node(Some(node), api, &request, timeout)?;
                let error = one(frame.body::<DeleteGroupsResponse>()?.groups)?;
                Ok((error, if error.is_ok() { Ok(()) } else { Err(error) }))
            })
        };
        group_ids.iter().map(delete).collect()
    }
}

/// One group of KIP-848.
fn describe_assigned(
    cluster: &mut Cluster,
    node: NodeId,
    group_id: &str,
    timeout: Duration,
) -> Result<(ErrorCode, Result<GroupInfo, ErrorCode>), ClientError> {
    let request = ConsumerGroupDescribeRequest { groups: vec![group_id] };
    let api = ApiKey::ConsumerGroupDescribe;
    let frame = cluster.call_node(Some(node), api, &request, timeout)?;
    let response: ConsumerGroupDescribeResponse<'_> = frame.body()?;
    let group = one(response.groups)?;
    let error = group.error;
    let is_ok = error.is_ok();
    Ok((error, if is_ok { Ok(GroupInfo::assigned(group_id, &group)) } else { Err(error) }))
}

/// The one answer to one question.
fn one<T>(answers: Vec<T>) -> Result<T, ClientError> {
    checked(answers, 1)?.pop().ok_or(ClientError::Protocol(FrameError::Malformed))
}

fn each(errors: &[ErrorCode]) -> Vec<Result<(), ErrorCode>> {
    let result = |error: &ErrorCode| if error.is_ok() { Ok(()) } else { Err(*error) };
    errors.iter().map(result).collect()
}

//! What operators ask: `DescribeGroups`, `ListGroups`, `DeleteGroups`.

use super::Coordinator;
use super::groups::{Group, Members};
use super::offsets;
use super::writes::After;
use crate::time::Now;
use crate::wire::ErrorCode;
use crate::wire::delete_groups::DeleteGroupsRequest;
use crate::wire::describe_groups::{DescribeGroupsRequest, DescribeGroupsResponse, DescribedGroup};
use crate::wire::list_groups::{GroupState, ListGroupsRequest, ListGroupsResponse, ListedGroup};

impl Group {
    /// Whether its members use offsets in a way that is not known here.
    pub(super) fn is_opaque(&self) -> bool {
        match &self.members {
            Members::Simple | Members::Consumer(_) => false,
            Members::Classic(group) => !group.is_empty() && !group.is_of_consumers(),
        }
    }

    /// Whether a member reads the topic, or might.
    pub(super) fn is_subscribed(&self, topic: &str) -> bool {
        match &self.members {
            Members::Simple => false,
            Members::Classic(group) => group.is_subscribed(topic),
            Members::Consumer(group) => group.is_subscribed(topic),
        }
    }

    fn describe(&self) -> DescribedGroup<'_> {
        match &self.members {
            Members::Simple => DescribedGroup {
                error: ErrorCode::NONE,
                state: GroupState::Empty,
                protocol_type: "",
                protocol_name: "",
                members: Vec::new(),
            },
            Members::Classic(group) => group.describe(),
            // Whoever asks about such a group by the other protocol finds none, as in Kafka.
            Members::Consumer(_) => DescribedGroup::failed(ErrorCode::GROUP_ID_NOT_FOUND),
        }
    }
}

impl Coordinator {
    pub(super) fn describe(&mut self, token: u64, request: &DescribeGroupsRequest<'_>) {
        let unknown = DescribedGroup::failed(ErrorCode::GROUP_ID_NOT_FOUND);
        let groups = request.groups.iter().map(|group_id| {
            self.groups.get(*group_id).map_or_else(|| unknown.clone(), Group::describe)
        });
        let response = DescribeGroupsResponse { groups: groups.collect() };
        self.context.answer(token, &response);
    }

    pub(super) fn list(&mut self, token: u64, request: &ListGroupsRequest) {
        let groups = self.groups.iter().filter(|(_, group)| {
            (request.states.is_empty() || request.states.contains(&group.state()))
                && (request.kinds.is_empty() || request.kinds.contains(&group.kind()))
        });
        let groups = groups.map(|(group_id, group)| ListedGroup {
            group_id,
            protocol_type: group.protocol_type(),
            state: group.state(),
            kind: group.kind(),
        });
        let response = ListGroupsResponse { error: ErrorCode::NONE, groups: groups.collect() };
        self.context.answer(token, &response);
    }

    pub(super) fn delete_groups(
        &mut self,
        now: Now,
        token: u64,
        request: &DeleteGroupsRequest<'_>,
    ) {
        let mut records = Vec::new();
        let mut results = Vec::new();
        for group_id in &request.groups {
            let group = self.groups.get(*group_id);
            results.push(match group {
                None => ErrorCode::GROUP_ID_NOT_FOUND,
                Some(group) if !group.is_empty() => ErrorCode::NON_EMPTY_GROUP,
                Some(_) => ErrorCode::NONE,
            });
            let Some(group) = group.filter(|group| group.is_empty()) else { continue };
            let offsets = group.offsets.iter();
            records.extend(
                offsets.map(|(topic, partition, _)| offsets::tombstone(group_id, topic, partition)),
            );
            records.extend(group.tombstones(group_id));
        }
        self.context.write(now, records, After::GroupsDeleted { token, results });
        self.settle(now);
    }
}

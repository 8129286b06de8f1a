//! Members on their way from one protocol to the other (KIP-848, online migration).

use super::member::Member;
use super::{CONSUMER, ClassicGroup, Phase, Said};
use crate::group::Caller;
use crate::group::context::Context;
use crate::group::writes::Record;
use crate::time::{Boot, Now};
use crate::wire::ErrorCode;

/// A member as both protocols know it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in super::super) struct Moving {
    pub member_id: Box<str>,
    pub instance_id: Option<Box<str>>,
    pub client_id: Box<str>,
    pub client_host: Box<str>,
    pub said: Said,
    /// As a consumer reads it.
    pub assignment: Box<[u8]>,
}

impl ClassicGroup {
    /// A group of members that were in one of KIP-848. They keep what they have, and join anew.
    pub fn of_members(group_id: &str, epoch: i32, members: Vec<Moving>, now: Now) -> ClassicGroup {
        let mut group = ClassicGroup::new(group_id);
        group.generation = epoch;
        group.protocol_type = Some(CONSUMER.into());
        group.phase = Phase::Stable { sync_deadline: Boot::NEVER };
        group.state_since = now.wall;
        for moving in members {
            let caller = Caller { client_id: &moving.client_id, client_host: &moving.client_host };
            let mut member = Member::new(caller, moving.instance_id.as_deref(), moving.said);
            member.assignment = moving.assignment;
            member.is_new = false;
            member.order = group.next_order;
            group.next_order += 1;
            member.renew(now.boot);
            if let Some(instance_id) = &member.instance_id {
                group.static_members.insert(instance_id.clone(), moving.member_id.clone());
            }
            group.leader.get_or_insert_with(|| moving.member_id.clone());
            group.members.insert(moving.member_id, member);
        }
        group.protocol = group.vote();
        group.subscribed = group.subscriptions();
        group
    }

    /// The record that makes it durable as it is.
    pub fn first_record(&mut self) -> Record {
        self.is_written = true;
        self.record(|member_id| &self.members[member_id].assignment)
    }

    /// Has everybody join again, whatever they wait for.
    pub fn begin_anew(&mut self, context: &mut Context, now: Now) {
        self.prepare_rebalance(context, now);
        self.wake(context);
    }

    /// The members, as a group of KIP-848 takes them over.
    pub fn moving(&self) -> impl Iterator<Item = Moving> {
        self.members.iter().map(|(member_id, member)| Moving {
            member_id: member_id.clone(),
            instance_id: member.instance_id.clone(),
            client_id: member.client_id.clone(),
            client_host: member.client_host.clone(),
            said: member.said.clone(),
            assignment: member.assignment.clone(),
        })
    }

    /// Tells everybody who waits to join again: the group is another from here on.
    pub fn send_away(&mut self, context: &mut Context) {
        for member in self.members.values_mut() {
            member.refuse(context, ErrorCode::REBALANCE_IN_PROGRESS);
        }
    }

    pub fn id(&self) -> &str {
        &self.id
    }

    pub fn generation(&self) -> i32 {
        self.generation
    }

    /// The protocol by which the members' metadata are to be read.
    pub fn protocol(&self) -> Option<&str> {
        self.protocol.as_deref()
    }

    pub fn member_count(&self) -> usize {
        self.members.len()
    }

    /// What its members take.
    pub fn cost(&self) -> usize {
        self.members.iter().map(|(member_id, member)| member.cost(member_id)).sum()
    }
}

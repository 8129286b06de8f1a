//! `JoinGroup`: who may join, and what that does to the group.

use super::member::{MEMBER_BYTES, Member, Said};
use super::{ClassicGroup, Phase};
use crate::group::Caller;
use crate::group::context::Context;
use crate::limits::{GROUP_MEMBERS_MAX, GROUP_METADATA_BYTES_MAX};
use crate::time::Now;
use crate::wire::ErrorCode;
use crate::wire::join_group::{JoinGroupRequest, JoinGroupResponse, JoinedMember};

use super::super::{GroupRules, ids};

/// Whether a request can be looked at at all.
pub(in super::super) fn check(
    rules: &GroupRules,
    request: &JoinGroupRequest<'_>,
) -> Result<(), ErrorCode> {
    if request.group_id.is_empty() || !ids::is_legal(request.group_id) {
        return Err(ErrorCode::INVALID_GROUP_ID);
    }
    let timeouts = rules.session_timeout_ms_min..=rules.session_timeout_ms_max;
    if !timeouts.contains(&request.session_timeout_ms) {
        return Err(ErrorCode::INVALID_SESSION_TIMEOUT);
    }
    let names = request.protocols.iter().map(|protocol| protocol.name);
    if !names.chain([request.protocol_type]).all(ids::is_legal) {
        return Err(ErrorCode::INCONSISTENT_GROUP_PROTOCOL);
    }
    let instance_id = request.group_instance_id.unwrap_or("-");
    let metadata: usize = request.protocols.iter().map(|protocol| protocol.metadata.len()).sum();
    let is_bounded = metadata <= GROUP_METADATA_BYTES_MAX;
    if !is_bounded || instance_id.is_empty() || !ids::is_legal(instance_id) {
        return Err(ErrorCode::INVALID_REQUEST);
    }
    Ok(())
}

impl ClassicGroup {
    /// A member joins, or comes back.
    pub fn join(
        &mut self,
        context: &mut Context,
        now: Now,
        token: u64,
        caller: Caller<'_>,
        request: &JoinGroupRequest<'_>,
    ) {
        let outcome = self.try_join(context, now, token, caller, request);
        if let Err(error) = outcome {
            let member_id = match error {
                ErrorCode::GROUP_MAX_SIZE_REACHED => "",
                _ => request.member_id,
            };
            context.answer(token, &JoinGroupResponse::failed(error, member_id));
        }
    }

    fn try_join(
        &mut self,
        context: &mut Context,
        now: Now,
        token: u64,
        caller: Caller<'_>,
        request: &JoinGroupRequest<'_>,
    ) -> Result<(), ErrorCode> {
        let member_id = request.member_id;
        if !self.accepts(&context.rules, member_id) {
            let was_member = self.members.contains_key(member_id);
            self.drop_member(context, member_id, ErrorCode::GROUP_MAX_SIZE_REACHED);
            if was_member {
                self.after_departure(context, now);
                self.wake(context);
            }
            return Err(ErrorCode::GROUP_MAX_SIZE_REACHED);
        }
        if self.is_one_more(request) && !context.has_room(MEMBER_BYTES) {
            return Err(ErrorCode::GROUP_MAX_SIZE_REACHED);
        }
        if !self.supports(request) {
            return Err(ErrorCode::INCONSISTENT_GROUP_PROTOCOL);
        }
        if !member_id.is_empty() {
            return self.join_known(context, now, token, caller, request);
        }
        let name = request.group_instance_id.unwrap_or(caller.client_id);
        let fresh_id = context.member_ids.fresh(name);
        let Some(instance_id) = request.group_instance_id else {
            if request.needs_known_member_id {
                self.give_out(context, now, token, request, &fresh_id);
                return Ok(());
            }
            return self.add(context, now, token, &fresh_id, caller, request);
        };
        match self.static_members.get(instance_id).cloned() {
            Some(old_id) => self.return_static(context, now, token, (&old_id, &fresh_id), request),
            None => self.add(context, now, token, &fresh_id, caller, request),
        }
    }

    /// Whether the group is not full for this member.
    fn accepts(&self, rules: &GroupRules, member_id: &str) -> bool {
        let size_max = rules.group_size_max.min(GROUP_MEMBERS_MAX);
        match self.phase {
            Phase::Empty => true,
            // No more can have joined than there are.
            Phase::Preparing { .. } if self.members.len() < size_max => true,
            Phase::Preparing { .. } => {
                let member = self.members.get(member_id);
                let joining = self.members.values().filter(|member| member.joining.is_some());
                member.is_some_and(|member| member.joining.is_some()) || joining.count() < size_max
            }
            Phase::Completing { .. } | Phase::Stable { .. } => {
                self.members.contains_key(member_id) || self.members.len() < size_max
            }
        }
    }

    /// Whether the request would make a member more: where there is no room for any, it is not
    /// compared with all members first.
    fn is_one_more(&self, request: &JoinGroupRequest<'_>) -> bool {
        let member_id = request.member_id;
        match request.group_instance_id {
            Some(instance_id) => !self.static_members.contains_key(instance_id),
            None if member_id.is_empty() => !request.needs_known_member_id,
            None => self.pending.contains_key(member_id),
        }
    }

    /// Whether the member shares a protocol with all members.
    fn supports(&self, request: &JoinGroupRequest<'_>) -> bool {
        if self.is_empty() {
            return !request.protocol_type.is_empty() && !request.protocols.is_empty();
        }
        let is_common = |name: &str| self.members.values().all(|member| member.said.knows(name));
        self.protocol_type.as_deref() == Some(request.protocol_type)
            && request.protocols.iter().any(|protocol| is_common(protocol.name))
    }

    /// Tells a new member its id; it must come back with it (KIP-394). The work does not grow with
    /// the ids that are out already, or whoever asks for many of them would hold up everybody.
    fn give_out(
        &mut self,
        context: &mut Context,
        now: Now,
        token: u64,
        request: &JoinGroupRequest<'_>,
        member_id: &str,
    ) {
        let session_ms = super::member::millis(request.session_timeout_ms);
        let deadline = now.boot.plus_ms(session_ms);
        self.pending.insert(member_id.into(), deadline);
        context.timers.wake(&self.id, deadline);
        context.push_pending(&self.id, member_id);
        let required = ErrorCode::MEMBER_ID_REQUIRED;
        context.answer(token, &JoinGroupResponse::failed(required, member_id));
    }

    fn join_known(
        &mut self,
        context: &mut Context,
        now: Now,
        token: u64,
        caller: Caller<'_>,
        request: &JoinGroupRequest<'_>,
    ) -> Result<(), ErrorCode> {
        let member_id = request.member_id;
        if request.group_instance_id.is_none() && self.pending.contains_key(member_id) {
            return self.add(context, now, token, member_id, caller, request);
        }
        self.check_member(member_id, request.group_instance_id)?;
        let member = self.members.get(member_id).expect("it was checked");
        let has_news = !member.said.has_same_protocols(request);
        let is_leader = self.is_leader(member_id);
        let joins = match self.phase {
            Phase::Empty => return Err(ErrorCode::UNKNOWN_MEMBER_ID),
            Phase::Preparing { .. } => true,
            // Perhaps the answer to its join was lost: it is told again.
            Phase::Completing { .. } => has_news,
            // The leader may know of changes that we do not, as new partitions.
            Phase::Stable { .. } => has_news || is_leader,
        };
        if joins {
            self.update(context, member_id, Said::of(request))?;
            self.wait_for_join(context, now, member_id, token);
            return Ok(());
        }
        let has_members = is_leader && matches!(self.phase, Phase::Completing { .. });
        let response = self.joined(member_id, has_members);
        context.answer(token, &response);
        Ok(())
    }

    /// Takes a member in.
    fn add(
        &mut self,
        context: &mut Context,
        now: Now,
        token: u64,
        member_id: &str,
        caller: Caller<'_>,
        request: &JoinGroupRequest<'_>,
    ) -> Result<(), ErrorCode> {
        let mut member = Member::new(caller, request.group_instance_id, Said::of(request));
        let cost = member.cost(member_id);
        if !context.has_room(cost) {
            return Err(ErrorCode::GROUP_MAX_SIZE_REACHED);
        }
        context.state_bytes += cost;
        self.pending.remove(member_id);
        member.order = self.next_order;
        self.next_order += 1;
        member.session_deadline = now.boot.plus_ms(context.rules.new_member_join_timeout_ms);
        if self.members.is_empty() {
            self.protocol_type = Some(request.protocol_type.into());
        }
        self.leader.get_or_insert_with(|| member_id.into());
        if let Some(instance_id) = &member.instance_id {
            self.static_members.insert(instance_id.clone(), member_id.into());
        }
        self.members.insert(member_id.into(), member);
        if let Phase::Preparing { initial: Some(initial), .. } = &mut self.phase {
            initial.has_newcomer = true;
        }
        self.wait_for_join(context, now, member_id, token);
        Ok(())
    }

    /// A member says something new.
    pub(super) fn update(
        &mut self,
        context: &mut Context,
        member_id: &str,
        said: Said,
    ) -> Result<Said, ErrorCode> {
        let member = self.members.get_mut(member_id).expect("the caller found it");
        let old_cost = member.cost(member_id);
        let before = std::mem::replace(&mut member.said, said);
        let cost = member.cost(member_id);
        if old_cost < cost && !context.has_room(cost - old_cost) {
            member.said = before;
            return Err(ErrorCode::GROUP_MAX_SIZE_REACHED);
        }
        context.state_bytes = context.state_bytes + cost - old_cost;
        Ok(before)
    }

    /// The member waits until all have joined; a rebalance begins if none is running. When to look at
    /// the group is worked out anew: deadlines come nearer here.
    pub(super) fn wait_for_join(
        &mut self,
        context: &mut Context,
        now: Now,
        member_id: &str,
        token: u64,
    ) {
        if !matches!(self.phase, Phase::Preparing { .. }) {
            self.begin_preparing(context, now);
        }
        let member = self.members.get_mut(member_id).expect("the caller found it");
        // It asks again: nobody waits for the first answer any more.
        member.refuse_join(context, ErrorCode::REBALANCE_IN_PROGRESS);
        member.joining = Some(token);
        self.maybe_complete_join(context, now);
        self.wake(context);
    }

    /// What a member is told of the generation.
    pub(super) fn joined<'a>(
        &'a self,
        member_id: &'a str,
        has_members: bool,
    ) -> JoinGroupResponse<'a> {
        let protocol = self.protocol.as_deref();
        let members = self.members.iter().filter(|_| has_members);
        let members = members.map(|(member_id, member)| JoinedMember {
            member_id,
            group_instance_id: member.instance_id.as_deref(),
            metadata: member.said.metadata(protocol),
        });
        JoinGroupResponse {
            error: ErrorCode::NONE,
            generation_id: self.generation,
            protocol_type: self.protocol_type.as_deref(),
            protocol_name: protocol,
            leader: self.leader.as_deref().unwrap_or_default(),
            skip_assignment: false,
            member_id,
            members: members.collect(),
        }
    }
}

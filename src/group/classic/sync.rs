//! `SyncGroup`: the leader's assignment is written down, then told.

use std::collections::BTreeMap;

use super::{ClassicGroup, Phase};
use crate::group::context::Context;
use crate::group::writes::{After, told};
use crate::time::{Boot, Now};
use crate::wire::ErrorCode;
use crate::wire::sync_group::{SyncGroupRequest, SyncGroupResponse};

impl ClassicGroup {
    /// A member asks for its assignment; the leader brings all.
    pub fn sync(
        &mut self,
        context: &mut Context,
        now: Now,
        token: u64,
        request: &SyncGroupRequest<'_>,
    ) {
        if let Err(error) = self.try_sync(context, now, token, request) {
            context.answer(token, &SyncGroupResponse::failed(error));
        }
        self.wake(context);
    }

    fn try_sync(
        &mut self,
        context: &mut Context,
        now: Now,
        token: u64,
        request: &SyncGroupRequest<'_>,
    ) -> Result<(), ErrorCode> {
        let member_id = request.member_id;
        self.check_member(member_id, request.group_instance_id)?;
        self.check_generation(request.generation_id)?;
        let is_ours = |said: Option<&str>, ours: Option<&str>| said.is_none() || said == ours;
        if !is_ours(request.protocol_type, self.protocol_type.as_deref())
            || !is_ours(request.protocol_name, self.protocol.as_deref())
        {
            return Err(ErrorCode::INCONSISTENT_GROUP_PROTOCOL);
        }
        match self.phase {
            Phase::Empty => return Err(ErrorCode::UNKNOWN_MEMBER_ID),
            Phase::Preparing { .. } => return Err(ErrorCode::REBALANCE_IN_PROGRESS),
            Phase::Completing { is_assigning, .. } => {
                self.mark_synced(member_id);
                let member = self.members.get_mut(member_id).expect("it was checked");
                // It asks again: nobody waits for the first answer any more.
                member.refuse_sync(context, ErrorCode::REBALANCE_IN_PROGRESS);
                member.syncing = Some(token);
                if self.is_leader(member_id) && !is_assigning {
                    self.assign(context, now, request);
                }
            }
            Phase::Stable { .. } => {
                self.mark_synced(member_id);
                let member = self.members.get_mut(member_id).expect("it was checked");
                member.renew(now.boot);
                let response = self.synced(member_id);
                context.answer(token, &response);
            }
        }
        Ok(())
    }

    fn mark_synced(&mut self, member_id: &str) {
        let member = self.members.get_mut(member_id).expect("it was checked");
        member.is_sync_due = false;
        if !self.members.values().any(|member| member.is_sync_due) {
            self.set_sync_deadline(Boot::NEVER);
        }
    }

    /// Writes the leader's assignment down; whom it leaves out gets nothing.
    fn assign(&mut self, context: &mut Context, now: Now, request: &SyncGroupRequest<'_>) {
        let assignments = request.assignments.iter();
        let assignments: BTreeMap<&str, &[u8]> =
            assignments.map(|given| (given.member_id, given.assignment)).collect();
        let record = self.record(|id| assignments.get(id).copied().unwrap_or_default());
        if let Phase::Completing { is_assigning, .. } = &mut self.phase {
            *is_assigning = true;
        }
        let group_id = self.id.clone();
        let after = After::Assigned { group_id, generation: self.generation };
        self.is_written = true;
        context.write(now, vec![record], after);
    }

    /// The assignment of a generation is durable, or is not.
    pub fn assigned(
        &mut self,
        context: &mut Context,
        now: Now,
        generation: i32,
        result: Result<(), ErrorCode>,
    ) {
        // Members may have come or gone in between, and the group be on its way to another.
        let Phase::Completing { sync_deadline, .. } = self.phase else { return };
        if generation != self.generation {
            return;
        }
        if let Err(error) = result {
            for member in self.members.values_mut() {
                member.refuse_sync(context, told(error));
            }
            self.prepare_rebalance(context, now);
            return self.wake(context);
        }
        let stored = self.stored.as_ref().expect("its record was replayed when it was appended");
        let mut tokens = Vec::new();
        for (member_id, member) in &mut self.members {
            let given = stored.members.get(member_id);
            member.assignment = given.map(|given| given.assignment.clone()).unwrap_or_default();
            member.renew(now.boot);
            tokens.extend(member.syncing.take().map(|token| (token, member_id.clone())));
        }
        self.phase = Phase::Stable { sync_deadline };
        self.state_since = now.wall;
        for (token, member_id) in tokens {
            let response = self.synced(&member_id);
            context.answer(token, &response);
        }
        self.wake(context);
    }

    fn synced<'a>(&'a self, member_id: &str) -> SyncGroupResponse<'a> {
        SyncGroupResponse {
            error: ErrorCode::NONE,
            protocol_type: self.protocol_type.as_deref(),
            protocol_name: self.protocol.as_deref(),
            assignment: &self.members[member_id].assignment,
        }
    }
}

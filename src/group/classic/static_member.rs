//! Static members (KIP-345): a name that outlives the process, so that a restart is no rebalance.
//!
//! A member that comes back under its instance id gets a new member id and its old assignment;
//! whoever still uses the old member id is fenced.

use super::member::Said;
use super::{ClassicGroup, Phase};
use crate::group::context::Context;
use crate::group::writes::{After, Returned, told};
use crate::time::Now;
use crate::wire::ErrorCode;
use crate::wire::join_group::{JoinGroupRequest, JoinGroupResponse};

impl ClassicGroup {
    /// The static member `old_id` comes back as `member_id`.
    pub(super) fn return_static(
        &mut self,
        context: &mut Context,
        now: Now,
        token: u64,
        (old_id, member_id): (&str, &str),
        request: &JoinGroupRequest<'_>,
    ) -> Result<(), ErrorCode> {
        let before = self.update(context, old_id, Said::of(request))?;
        let old_leader = self.leader.clone();
        self.replace(context, now, old_id, member_id);
        let is_quiet = matches!(self.phase, Phase::Stable { .. }) && self.vote() == self.protocol;
        if !is_quiet {
            self.wait_for_join(context, now, member_id, token);
            return Ok(());
        }
        let record = self.record(|member_id| &self.members[member_id].assignment);
        let returned = Returned {
            group_id: self.id.clone(),
            instance_id: request.group_instance_id.unwrap_or_default().into(),
            old_member_id: old_id.into(),
            member_id: member_id.into(),
            can_skip_assignment: request.can_skip_assignment,
            old_leader,
            token,
            before,
        };
        self.is_written = true;
        context.write(now, vec![record], After::Returned(Box::new(returned)));
        // Its session may be a shorter one now.
        self.wake(context);
        Ok(())
    }

    /// Gives a static member another id; the old one is fenced from here on.
    fn replace(&mut self, context: &mut Context, now: Now, old_id: &str, member_id: &str) {
        let mut member = self.members.remove(old_id).expect("static members are members");
        context.state_bytes -= member.cost(old_id);
        context.state_bytes += member.cost(member_id);
        member.refuse(context, ErrorCode::FENCED_INSTANCE_ID);
        member.renew(now.boot);
        if self.is_leader(old_id) {
            self.leader = Some(member_id.into());
        }
        let instance_id = member.instance_id.clone().expect("it is static");
        self.static_members.insert(instance_id, member_id.into());
        self.members.insert(member_id.into(), member);
    }

    /// The new id is durable, or is not.
    pub fn returned(
        &mut self,
        context: &mut Context,
        now: Now,
        returned: Returned,
        result: Result<(), ErrorCode>,
    ) {
        let Returned { token, instance_id, member_id, before, .. } = returned;
        if self.static_members.get(&instance_id) != Some(&member_id) {
            // It left, or came back once more, while the record was on its way.
            let error = ErrorCode::UNKNOWN_MEMBER_ID;
            return context.answer(token, &JoinGroupResponse::failed(error, ""));
        }
        if let Err(error) = result {
            let member = self.members.get_mut(&member_id).expect("static members are members");
            context.state_bytes -= member.cost(&member_id);
            member.said = before;
            context.state_bytes += member.cost(&member_id);
            self.replace(context, now, &member_id, &returned.old_member_id);
            self.wake(context);
            return context.answer(token, &JoinGroupResponse::failed(told(error), ""));
        }
        let is_leader = self.is_leader(&member_id) && returned.can_skip_assignment;
        let mut response = self.joined(&member_id, is_leader);
        response.skip_assignment = is_leader;
        if !returned.can_skip_assignment {
            // By an id that is not its own, an old client takes itself for a follower, as it must.
            response.leader = returned.old_leader.as_deref().unwrap_or_default();
        }
        context.answer(token, &response);
    }
}

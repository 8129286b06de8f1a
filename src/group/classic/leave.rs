//! `Heartbeat` and `LeaveGroup`: members that live, and members that go.

use super::{ClassicGroup, Phase};
use crate::group::context::Context;
use crate::time::Now;
use crate::wire::ErrorCode;
use crate::wire::heartbeat::HeartbeatRequest;
use crate::wire::leave_group::LeavingMember;

impl ClassicGroup {
    /// A member lives; the answer says whether it must join again.
    pub fn heartbeat(&mut self, now: Now, request: &HeartbeatRequest<'_>) -> Result<(), ErrorCode> {
        self.check_member(request.member_id, request.group_instance_id)?;
        self.check_generation(request.generation_id)?;
        if self.is_empty() {
            return Err(ErrorCode::UNKNOWN_MEMBER_ID);
        }
        let member = self.members.get_mut(request.member_id).expect("it was checked");
        member.renew(now.boot);
        let is_preparing = matches!(self.phase, Phase::Preparing { .. });
        if is_preparing { Err(ErrorCode::REBALANCE_IN_PROGRESS) } else { Ok(()) }
    }

    /// Members leave; one answer each.
    pub fn leave(
        &mut self,
        context: &mut Context,
        now: Now,
        members: &[LeavingMember<'_>],
    ) -> Vec<ErrorCode> {
        let mut has_departures = false;
        let mut results = Vec::new();
        for leaving in members {
            let result = self.try_leave(context, leaving);
            has_departures |= result.is_ok();
            results.push(result.err().unwrap_or(ErrorCode::NONE));
        }
        if has_departures {
            self.after_departure(context, now);
            self.wake(context);
        }
        results
    }

    fn try_leave(
        &mut self,
        context: &mut Context,
        leaving: &LeavingMember<'_>,
    ) -> Result<(), ErrorCode> {
        let unknown = ErrorCode::UNKNOWN_MEMBER_ID;
        if leaving.member_id.is_empty() {
            // An operator removes a static member, whatever its id is at present.
            let instance_id = leaving.group_instance_id.ok_or(unknown)?;
            let member_id = self.static_members.get(instance_id).cloned().ok_or(unknown)?;
            self.drop_member(context, &member_id, unknown);
            return Ok(());
        }
        if !self.pending.contains_key(leaving.member_id) {
            self.check_member(leaving.member_id, leaving.group_instance_id)?;
        }
        self.drop_member(context, leaving.member_id, unknown);
        Ok(())
    }
}

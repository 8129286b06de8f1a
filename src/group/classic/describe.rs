//! What a person is told of a classic group.

use super::{ClassicGroup, Phase};
use crate::wire::ErrorCode;
use crate::wire::describe_groups::{DescribedGroup, DescribedMember};

impl ClassicGroup {
    /// The group and its members.
    pub fn describe(&self) -> DescribedGroup<'_> {
        let is_stable = matches!(self.phase, Phase::Stable { .. });
        // Before that the members have not agreed on what they say.
        let protocol = self.protocol.as_deref().filter(|_| is_stable);
        let members = self.members.iter().map(|(member_id, member)| DescribedMember {
            member_id,
            group_instance_id: member.instance_id.as_deref(),
            client_id: &member.client_id,
            client_host: &member.client_host,
            metadata: member.said.metadata(protocol),
            assignment: &member.assignment,
        });
        DescribedGroup {
            error: ErrorCode::NONE,
            state: self.state(),
            protocol_type: self.protocol_type(),
            protocol_name: protocol.unwrap_or_default(),
            members: members.collect(),
        }
    }
}

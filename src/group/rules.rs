//! What a coordinator is configured with, by Kafka's names.

use std::collections::BTreeMap;

use super::consumer::Assignor;
use crate::group_config::{GroupBounds, GroupConfig, GroupOverrides};
use crate::limits;

/// Which groups may change their protocol while they have members:
/// `group.consumer.migration.policy`. Those without members always may.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum MigrationPolicy {
    /// Both kinds.
    #[default]
    Bidirectional,
    /// Classic ones, when a member joins by KIP-848's protocol.
    Upgrade,
    /// Those of KIP-848, when only members of the classic protocol are left.
    Downgrade,
    /// None.
    Disabled,
}

impl MigrationPolicy {
    pub(super) const fn upgrades(self) -> bool {
        matches!(self, MigrationPolicy::Bidirectional | MigrationPolicy::Upgrade)
    }

    pub(super) const fn downgrades(self) -> bool {
        matches!(self, MigrationPolicy::Bidirectional | MigrationPolicy::Downgrade)
    }
}

/// A coordinator's configuration.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GroupRules {
    /// `group.min.session.timeout.ms`.
    pub session_timeout_ms_min: i32,
    /// `group.max.session.timeout.ms`.
    pub session_timeout_ms_max: i32,
    /// `group.initial.rebalance.delay.ms`: how long a new group waits for more members.
    pub initial_rebalance_delay_ms: u64,
    /// `group.max.size`.
    pub group_size_max: usize,
    /// `offset.metadata.max.bytes`.
    pub offset_metadata_bytes_max: usize,
    /// `offsets.retention.minutes`, in ms.
    pub offsets_retention_ms: u64,
    /// `offsets.retention.check.interval.ms`.
    pub offsets_retention_check_interval_ms: u64,
    /// `offsets.commit.timeout.ms`: how long an append may take before the answer is an error.
    pub offsets_commit_timeout_ms: u64,
    /// A new member that does not answer for so long while it joins is dropped.
    pub new_member_join_timeout_ms: u64,
    /// `group.consumer.session.timeout.ms` and `group.consumer.heartbeat.interval.ms`.
    pub consumer_defaults: GroupConfig,
    /// Their bounds, which hold for what a group has set itself, too.
    pub consumer_bounds: GroupBounds,
    /// What groups have set themselves, as the cluster's metadata has it.
    pub consumer_overrides: BTreeMap<Box<str>, GroupOverrides>,
    /// `group.consumer.max.size`.
    pub consumer_group_size_max: usize,
    /// `group.consumer.assignors`, the default first; at least one.
    pub consumer_assignors: Vec<Assignor>,
    /// `group.consumer.migration.policy`.
    pub consumer_migration_policy: MigrationPolicy,
    /// Groups; a member of one more is refused.
    pub groups_max: usize,
    /// Member ids that were given out and have not come back; the oldest gives way.
    pub pending_members_max: usize,
    /// Bytes that all members and offsets may take, roughly.
    pub state_bytes_max: usize,
    /// Bytes of one record batch: `max.message.bytes` of `__consumer_offsets`.
    pub batch_bytes_max: usize,
}

impl GroupRules {
    /// What holds for the members of a group of KIP-848.
    pub(super) fn consumer_config(&self, group_id: &str) -> GroupConfig {
        let own = self.consumer_overrides.get(group_id).copied().unwrap_or_default();
        own.effective(self.consumer_defaults, &self.consumer_bounds)
    }

    /// Takes note of what a group has set itself.
    pub fn configure_group(&mut self, group_id: &str, own: GroupOverrides) {
        if own.is_empty() {
            self.consumer_overrides.remove(group_id);
        } else {
            self.consumer_overrides.insert(group_id.into(), own);
        }
    }
}

impl Default for GroupRules {
    fn default() -> GroupRules {
        GroupRules {
            session_timeout_ms_min: 6_000,
            session_timeout_ms_max: 30 * 60_000,
            initial_rebalance_delay_ms: 3_000,
            group_size_max: limits::GROUP_MEMBERS_MAX,
            offset_metadata_bytes_max: 4096,
            offsets_retention_ms: 7 * 24 * 3_600_000,
            offsets_retention_check_interval_ms: 600_000,
            offsets_commit_timeout_ms: 5_000,
            new_member_join_timeout_ms: 5 * 60_000,
            consumer_defaults: GroupConfig::default(),
            consumer_bounds: GroupBounds::default(),
            consumer_overrides: BTreeMap::new(),
            consumer_group_size_max: limits::GROUP_MEMBERS_MAX,
            consumer_assignors: Assignor::ALL.to_vec(),
            consumer_migration_policy: MigrationPolicy::default(),
            groups_max: limits::GROUPS_MAX,
            pending_members_max: limits::GROUP_PENDING_MEMBERS_MAX,
            state_bytes_max: limits::GROUP_STATE_BYTES_MAX,
            batch_bytes_max: 1_048_588,
        }
    }
}

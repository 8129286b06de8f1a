//! Committed offsets: `commit_sync`, `commit_async`, auto-commit, `committed` (semantics.md rows
//! 109-112).
//!
//! What is committed is the position: the offset behind the last record that `poll` returned.
//! Auto-commit does that at the beginning of a `poll`, when all that the polls before it returned
//! has been worked on: whoever polls again has finished, and nothing is lost in a crash.

use std::collections::BTreeMap;
use std::sync::PoisonError;
use std::time::{Duration, Instant};

use crate::client::ClientError;
use crate::client::consumer::Consumer;
use crate::client::exchange::{Command, Commit, CommitCallback, Exchange, Mode, Question, Waits};
use crate::client::offsets::{OffsetAndMetadata, TopicPartition};
use crate::client::position::Stage;

/// Which member of which group this is, as `sendOffsetsToTransaction` will want it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConsumerGroupMetadata {
    /// `group.id`.
    pub group_id: String,
    /// The generation, −1 outside of one.
    pub generation_id: i32,
    /// Given by the coordinator; empty outside of the group.
    pub member_id: String,
    /// `group.instance.id`.
    pub group_instance_id: Option<String>,
}

/// Whether [`Consumer::wakeup_handle`] ends a wait.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Wakes {
    Yes,
    No,
}

impl Consumer {
    /// Commits the positions of all assigned partitions and waits until the coordinator has them.
    /// What may succeed later is tried again, for `default.api.timeout.ms` at most.
    pub fn commit_sync(&mut self) -> Result<(), ClientError> {
        let offsets = self.positions();
        self.commit_sync_offsets(&offsets)
    }

    /// Commits these offsets and waits until the coordinator has them.
    pub fn commit_sync_offsets(
        &mut self,
        offsets: &BTreeMap<TopicPartition, OffsetAndMetadata>,
    ) -> Result<(), ClientError> {
        self.must_have_group()?;
        let patience = self.shared.config.default_api_timeout;
        self.commit_and_wait(offsets, patience, Wakes::Yes)
    }

    /// Begins to commit the positions of all assigned partitions. It is not tried again: a later
    /// commit may have overtaken it.
    pub fn commit_async(&mut self) -> Result<(), ClientError> {
        let offsets = self.positions();
        self.begin_commit(offsets, None)
    }

    /// Begins to commit these offsets. The callback runs in a later `poll`, commit or `close`, in
    /// the order of the commits.
    pub fn commit_async_with(
        &mut self,
        offsets: BTreeMap<TopicPartition, OffsetAndMetadata>,
        callback: impl FnOnce(&BTreeMap<TopicPartition, OffsetAndMetadata>, Result<(), ClientError>)
        + Send
        + 'static,
    ) -> Result<(), ClientError> {
        self.begin_commit(offsets, Some(Box::new(callback)))
    }

    /// The positions of the assigned partitions, to commit them.
    pub fn positions(&self) -> BTreeMap<TopicPartition, OffsetAndMetadata> {
        let state = self.shared.lock();
        let known = state.positions.iter().filter(|(_, one)| one.stage == Stage::Fetching);
        let offsets = known.map(|(tp, position)| {
            let leader_epoch = position.last_epoch;
            let (offset, metadata) = (position.next, String::new());
            (tp.clone(), OffsetAndMetadata { offset, leader_epoch, metadata })
        });
        offsets.collect()
    }

    /// What the group committed last, for each of these partitions.
    pub fn committed(
        &mut self,
        partitions: &[TopicPartition],
    ) -> Result<Vec<Option<OffsetAndMetadata>>, ClientError> {
        self.must_have_group()?;
        let deadline = Instant::now() + self.shared.config.default_api_timeout;
        let id = self.shared.lock().group.next_id();
        let partitions = partitions.to_vec();
        let question = Question { id, partitions, deadline, retry_at: None };
        self.tell_group(Command::Ask(question));
        self.wait_for(deadline, Wakes::Yes, |group| group.found.remove(&id))
    }

    /// Which member of which group this is.
    pub fn group_metadata(&self) -> Result<ConsumerGroupMetadata, ClientError> {
        self.must_have_group()?;
        let config = &self.shared.config;
        let identity = self.shared.lock().group.identity.clone();
        Ok(ConsumerGroupMetadata {
            group_id: config.group_id.clone().unwrap_or_default(),
            generation_id: identity.generation,
            member_id: identity.member_id,
            group_instance_id: config.group_instance_id.clone(),
        })
    }

    fn begin_commit(
        &mut self,
        offsets: BTreeMap<TopicPartition, OffsetAndMetadata>,
        callback: Option<CommitCallback>,
    ) -> Result<(), ClientError> {
        self.must_have_group()?;
        let deadline = Instant::now() + self.shared.config.default_api_timeout;
        self.send_commit(offsets, Waits::Callback(callback), deadline);
        Ok(())
    }

    fn send_commit(
        &self,
        offsets: BTreeMap<TopicPartition, OffsetAndMetadata>,
        waits: Waits,
        deadline: Instant,
    ) {
        let is_member = self.mode() == Mode::Subscribed;
        let commit = Commit { offsets, is_member, waits, deadline, retry_at: None };
        self.tell_group(Command::Commit(commit));
    }

    fn commit_and_wait(
        &mut self,
        offsets: &BTreeMap<TopicPartition, OffsetAndMetadata>,
        patience: Duration,
        wakes: Wakes,
    ) -> Result<(), ClientError> {
        let deadline = Instant::now() + patience;
        let id = self.shared.lock().group.next_id();
        self.send_commit(offsets.clone(), Waits::Call(id), deadline);
        self.wait_for(deadline, wakes, |group| group.committed.remove(&id))?;
        self.intercept_commit(offsets);
        Ok(())
    }

    /// Waits for an answer of the group's thread, which comes at the deadline at the latest.
    fn wait_for<T>(
        &mut self,
        deadline: Instant,
        wakes: Wakes,
        mut take: impl FnMut(&mut Exchange) -> Option<Result<T, ClientError>>,
    ) -> Result<T, ClientError> {
        let grace = Duration::from_secs(1);
        let mut state = self.shared.lock();
        loop {
            if let Some(answer) = take(&mut state.group) {
                return answer;
            }
            if wakes == Wakes::Yes && std::mem::take(&mut state.is_woken) {
                return Err(ClientError::Wakeup);
            }
            let left = (deadline + grace).saturating_duration_since(Instant::now());
            if left.is_zero() {
                return Err(ClientError::Timeout);
            }
            let waited = self.shared.changed.wait_timeout(state, left);
            state = waited.unwrap_or_else(PoisonError::into_inner).0;
        }
    }

    /// A commit that nobody waits for came to an end.
    pub(super) fn committed_async(&mut self, commit: Commit, result: Result<(), ClientError>) {
        let Commit { offsets, waits, .. } = commit;
        if result.is_ok() {
            self.intercept_commit(&offsets);
        }
        match (waits, result) {
            (Waits::Callback(Some(callback)), result) => callback(&offsets, result),
            (_, Err(error)) => {
                log::warn!("offsets were not committed: {error}");
                self.last_auto_commit.retain(|tp, _| !offsets.contains_key(tp));
            }
            (_, Ok(())) => {}
        }
    }

    fn auto_commits(&self) -> bool {
        self.shared.config.enable_auto_commit && self.shared.config.group_id.is_some()
    }

    /// Commits what earlier polls returned, if it is time. Answers when to look again.
    pub(super) fn maybe_auto_commit(&mut self, now: Instant) -> Option<Instant> {
        if !self.auto_commits() {
            return None;
        }
        if now < self.auto_commit_due {
            return Some(self.auto_commit_due);
        }
        self.auto_commit_due = now + self.shared.config.auto_commit_interval;
        let can_commit = {
            let state = self.shared.lock();
            state.group.mode == Mode::Assigned || state.group.can_commit
        };
        let changed = self.uncommitted();
        if can_commit && !changed.is_empty() {
            self.last_auto_commit.extend(changed.clone());
            let deadline = now + self.shared.config.default_api_timeout;
            self.send_commit(changed, Waits::Callback(None), deadline);
        }
        Some(self.auto_commit_due)
    }

    /// Positions that moved since they were committed here: an idle consumer writes nothing.
    fn uncommitted(&self) -> BTreeMap<TopicPartition, OffsetAndMetadata> {
        let mut positions = self.positions();
        positions.retain(|tp, position| self.last_auto_commit.get(tp) != Some(position));
        positions
    }

    /// Auto-commit before partitions are given up; the consumer is closed; and so on. A failure is
    /// logged: others will read those records again.
    pub(super) fn commit_before_revocation(&mut self, patience: Duration) {
        if !self.auto_commits() {
            return;
        }
        let changed = self.positions();
        let can_commit = {
            let state = self.shared.lock();
            state.group.mode == Mode::Assigned || state.group.can_commit
        };
        if changed.is_empty() || !can_commit {
            return;
        }
        if let Err(error) = self.commit_and_wait(&changed, patience, Wakes::No) {
            log::warn!("offsets were not committed before their partitions went: {error}");
            return;
        }
        self.last_auto_commit.extend(changed);
    }
}

//! The coordinator's thread, as far as offsets go: commits, questions for committed offsets, and
//! positions that begin at them.

use std::sync::Arc;
use std::time::Instant;

use crate::client::ClientError;
use crate::client::consumer::State;
use crate::client::coordinator::Coordinator;
use crate::client::exchange::{Commit, Event, Question, Waits};
use crate::client::group_requests::{self as requests, Call};
use crate::client::membership::{Identity, is_about_coordinator};
use crate::client::net;
use crate::client::offsets::TopicPartition;
use crate::client::position::Stage;
use crate::limits::REQUEST_PARTITIONS_MAX;
use crate::wire::ErrorCode;

impl Coordinator {
    pub(super) fn send_commits(&mut self, now: Instant, state: &mut State) {
        let waiting = std::mem::take(&mut self.commits);
        for commit in waiting {
            let has_no_place = commit.is_member && !self.machine.can_commit();
            let is_due = commit.retry_at.is_none_or(|at| at <= now);
            if has_no_place {
                let code = match self.machine.is_idle() {
                    true => ErrorCode::UNKNOWN_MEMBER_ID,
                    false => ErrorCode::REBALANCE_IN_PROGRESS,
                };
                finish(state, commit, Err(ClientError::Broker(code)));
            } else if commit.offsets.is_empty() {
                finish(state, commit, Ok(()));
            } else if is_due && self.connection.is_some() {
                let shared = Arc::clone(&self.shared);
                let identity = match commit.is_member {
                    true => self.machine.identity().clone(),
                    false => Identity::default(),
                };
                let offsets = commit.offsets.clone();
                let request =
                    requests::commit(&shared.config, &identity, commit.is_member, &offsets);
                let generation = identity.generation;
                self.send(now, state, Call::Commit { commit, generation }, &request);
            } else {
                self.commits.push_back(commit);
            }
        }
    }

    pub(super) fn commit_answered(
        &mut self,
        now: Instant,
        state: &mut State,
        commit: Commit,
        generation: i32,
        code: ErrorCode,
    ) {
        if code.is_ok() {
            finish(state, commit, Ok(()));
            return;
        }
        self.machine.commit_refused(now, generation, code);
        self.commit_failed(now, state, commit, ClientError::Broker(code));
        if is_about_coordinator(code) {
            self.disconnect(now, state);
        }
    }

    /// A call goes on trying; everybody else is told.
    pub(super) fn commit_failed(
        &mut self,
        now: Instant,
        state: &mut State,
        mut commit: Commit,
        error: ClientError,
    ) {
        let is_tried_again = matches!(commit.waits, Waits::Call(_)) && error.is_retriable();
        if is_tried_again && now < commit.deadline {
            commit.retry_at = Some(now + self.shared.config.retry_backoff);
            self.commits.push_back(commit);
        } else {
            finish(state, commit, Err(error));
        }
    }

    pub(super) fn send_questions(&mut self, now: Instant, state: &mut State) {
        if self.connection.is_none() {
            return;
        }
        let shared = Arc::clone(&self.shared);
        for question in std::mem::take(&mut self.questions) {
            if question.retry_at.is_some_and(|at| now < at) {
                self.questions.push_back(question);
                continue;
            }
            let partitions = question.partitions.clone();
            let request = requests::offsets(&shared.config, &partitions);
            self.send(now, state, Call::Question(question), &request);
        }
        let mut asked: Vec<(TopicPartition, u64)> = Vec::new();
        for (tp, position) in &mut state.positions {
            if position.retry_at.is_some_and(|at| now < at) {
                continue;
            }
            if let Stage::AwaitingCommitted { is_asked: is_asked @ false } = &mut position.stage {
                if asked.len() < REQUEST_PARTITIONS_MAX {
                    *is_asked = true;
                    asked.push((tp.clone(), position.generation));
                }
            }
        }
        if !asked.is_empty() {
            let partitions: Vec<TopicPartition> = asked.iter().map(|(tp, _)| tp.clone()).collect();
            let request = requests::offsets(&shared.config, &partitions);
            self.send(now, state, Call::Positions(asked), &request);
        }
    }

    pub(super) fn question_answered(
        &mut self,
        now: Instant,
        state: &mut State,
        mut question: Question,
        frame: &net::Frame,
    ) -> Result<(), ClientError> {
        let answer = match requests::read_offsets(frame, question.partitions.len())? {
            Ok(answers) => answers.into_iter().collect::<Result<Vec<_>, ErrorCode>>(),
            Err(code) => Err(code),
        };
        match answer {
            Err(code) if code.is_retriable() && now < question.deadline => {
                question.retry_at = Some(now + self.shared.config.retry_backoff);
                self.questions.push_back(question);
                if is_about_coordinator(code) {
                    self.disconnect(now, state);
                }
            }
            answer => {
                state.group.found.insert(question.id, answer.map_err(ClientError::Broker));
            }
        }
        Ok(())
    }

    /// Positions begin where the group was; else where `auto.offset.reset` says.
    pub(super) fn positions_answered(
        &mut self,
        now: Instant,
        state: &mut State,
        asked: &[(TopicPartition, u64)],
        frame: &net::Frame,
    ) -> Result<(), ClientError> {
        let retry_at = Some(now + self.shared.config.retry_backoff);
        let answers = match requests::read_offsets(frame, asked.len()) {
            Ok(Ok(answers)) => answers,
            Ok(Err(code)) if code.is_retriable() => {
                ask_again(state, asked, retry_at);
                if is_about_coordinator(code) {
                    self.disconnect(now, state);
                }
                return Ok(());
            }
            Ok(Err(code)) => vec![Err(code); asked.len()],
            Err(error) => {
                ask_again(state, asked, retry_at);
                return Err(error);
            }
        };
        let reset = self.shared.config.auto_offset_reset;
        for ((tp, generation), answer) in asked.iter().zip(answers) {
            let Some(position) = state.positions.get_mut(tp) else { continue };
            if position.generation != *generation {
                continue;
            }
            match answer {
                Ok(Some(committed)) => position.seek(committed.offset, *generation),
                Ok(None) => position.begin(tp, reset.spec(), *generation),
                Err(code) if code.is_retriable() => {
                    position.stage = Stage::AwaitingCommitted { is_asked: false };
                    position.retry_at = retry_at;
                }
                Err(code) => position.stage = Stage::Failed(ClientError::Broker(code)),
            }
        }
        self.shared.waker.wake();
        Ok(())
    }

    /// Calls whose time is over.
    pub(super) fn give_up(&mut self, now: Instant, state: &mut State) {
        for commit in std::mem::take(&mut self.commits) {
            if commit.deadline <= now {
                finish(state, commit, Err(ClientError::Timeout));
            } else {
                self.commits.push_back(commit);
            }
        }
        for question in std::mem::take(&mut self.questions) {
            if question.deadline <= now {
                state.group.found.insert(question.id, Err(ClientError::Timeout));
            } else {
                self.questions.push_back(question);
            }
        }
    }
}

/// Tells whoever waits.
pub(super) fn finish(state: &mut State, commit: Commit, result: Result<(), ClientError>) {
    match commit.waits {
        Waits::Call(id) => drop(state.group.committed.insert(id, result)),
        Waits::Callback(_) => state.group.events.push_back(Event::Committed(commit, result)),
    }
}

pub(super) fn ask_again(
    state: &mut State,
    asked: &[(TopicPartition, u64)],
    retry_at: Option<Instant>,
) {
    for (tp, generation) in asked {
        if let Some(position) = state.positions.get_mut(tp) {
            if position.generation == *generation && position.stage.awaits_committed() {
                position.stage = Stage::AwaitingCommitted { is_asked: false };
                position.retry_at = retry_at;
            }
        }
    }
}

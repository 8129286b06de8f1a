//! Faults that a test builds into a quorum, to see that its checker finds them.

use raft::StateRole;
use raft::eraftpb::{Message as RaftMessage, MessageType};

use crate::mutant::{self, Mutant as Chosen};
use crate::quorum::Quorum;
use crate::time::Boot;

/// A fault.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mutant {
    /// Votes and acks leave before what they promise is durable.
    VoteBeforeSync,
    /// A vote that was given is forgotten when the next one is asked for.
    VoteTwice,
    /// A leader commits what a majority has, whoever appended it (Raft §5.4.2 says why not).
    CommitOldEpoch,
}

impl Quorum {
    /// Builds a fault in.
    pub fn set_mutant(&mut self, mutant: Option<Mutant>) {
        self.mutant = mutant;
    }

    /// Whether a fault is built in here, or chosen for all.
    fn does(&self, mutant: Mutant) -> bool {
        let chosen = match mutant {
            Mutant::VoteBeforeSync => Chosen::VotesUnsynced,
            Mutant::VoteTwice => Chosen::VotesTwice,
            Mutant::CommitOldEpoch => Chosen::CommitsOldEpoch,
        };
        self.mutant == Some(mutant) || mutant::is_on(chosen)
    }

    pub(super) fn mutate_before(&mut self, message: &RaftMessage) {
        let is_vote = message.get_msg_type() == MessageType::MsgRequestVote;
        if self.does(Mutant::VoteTwice) && is_vote {
            let raft = &mut self.raw.raft;
            if raft.state == StateRole::Follower {
                (raft.vote, raft.leader_id) = (0, 0);
            }
        }
    }

    pub(super) fn mutate_after(&mut self) {
        let is_meant = self.does(Mutant::CommitOldEpoch);
        let raft = &mut self.raw.raft;
        if is_meant && raft.state == StateRole::Leader {
            let (index, _) = raft.mut_prs().maximal_committed_index();
            raft.raft_log.commit_to(index);
        }
    }

    pub(super) fn mutate_waiting(&mut self, now: Boot) {
        if self.does(Mutant::VoteBeforeSync) {
            if let Some(last) = self.waiting.back_mut() {
                let messages = last.take_messages();
                self.send_all(messages, now);
            }
        }
    }
}

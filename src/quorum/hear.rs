//! What peers say, and the images that go between them.

use raft::eraftpb::{Message as RaftMessage, MessageType};
use raft::{INVALID_ID, SnapshotStatus, StateRole};

use crate::ids::NodeId;
use crate::quorum::admit::{self, Refusal};
use crate::quorum::members::{raft_id, voter_of};
use crate::quorum::message::{Body, Message};
use crate::quorum::transfer::{Confirmed, Piece};
use crate::quorum::{Quorum, VoterId, start};
use crate::time::Boot;
use crate::wire::quorum::members::MemberKind;
use crate::wire::quorum::{Envelope, LogPlace};

/// Ticks between two voters that know at once of a leader's end.
const RANK_TICKS: usize = 3;

impl Quorum {
    /// Hears a peer out, or says why not.
    pub(super) fn take(&mut self, now: Boot, message: &Message) -> Result<(), Refusal> {
        let Envelope { from, to, epoch } = message.envelope;
        if to != self.id {
            return Err(Refusal::NotForUs);
        }
        if from.node_id == self.id.node_id {
            return Err(Refusal::FromOurselves);
        }
        let is_known = self.members.kind(from).is_some() || self.introduced.contains(&from);
        if from.node_id.0 < 0 || !is_known {
            return Err(Refusal::NotAMember);
        }
        admit::check_epoch(epoch)?;
        match &message.body {
            Body::SnapshotRequest { last, members, image_bytes, position, piece } => {
                let piece = Piece {
                    last: *last,
                    members,
                    image_bytes: *image_bytes,
                    position: *position,
                    bytes: piece,
                };
                return self.take_piece(message.envelope, &piece);
            }
            &Body::SnapshotResponse { last, received_bytes } => {
                self.piece_confirmed(message.envelope, last, received_bytes, now);
                return Ok(());
            }
            // It would stand with a log that is not durable, or in an epoch that has no number.
            Body::CampaignNow if !self.may_campaign() => return Ok(()),
            // It was asked for in an earlier epoch, and comes late. The crate would count it for the
            // present one, and two of those unseat a leader that everybody hears.
            Body::VoteResponse { is_pre_vote: true, is_granted: true, .. }
                if epoch != self.raw.raft.term + 1 =>
            {
                return Ok(());
            }
            _ => {}
        }
        let admitted = admit::admit(&self.raw, self.reads, message)?;
        self.hear(now, from.node_id);
        #[cfg(any(test, feature = "mutants"))]
        self.mutate_before(&admitted);
        self.notice_empty_log(&admitted);
        // The crate answers with an error only for what does not come this far.
        let _ = self.raw.step(admitted);
        #[cfg(any(test, feature = "mutants"))]
        self.mutate_after();
        Ok(())
    }

    /// Notes that a peer is there, if it is one that speaks all the time: a leader's members, a
    /// follower's leader.
    fn hear(&mut self, now: Boot, from: NodeId) {
        let raft = &self.raw.raft;
        let leader = voter_of(raft.leader_id).map(|leader| leader.node_id);
        if raft.state == StateRole::Leader || leader == Some(from) {
            self.patience.hear(now, from);
        }
    }

    /// A process is gone for certain. If it led, nobody waits for it: this node asks soon whether it
    /// should lead, and no longer holds others back.
    pub(super) fn vanished(&mut self, node_id: NodeId) {
        let raft = &mut self.raw.raft;
        let leader = voter_of(raft.leader_id).map(|leader| leader.node_id);
        if raft.state != StateRole::Follower || leader != Some(node_id) {
            return;
        }
        raft.leader_id = INVALID_ID;
        // All learn of it at once: one goes first, the next one when that comes to nothing.
        let others = self.members.voters().filter(|id| id.node_id != node_id);
        let is_before = |id: &VoterId| {
            (self.members.kind(*id) == Some(MemberKind::Witness), *id) < (self.is_witness, self.id)
        };
        let rank = others.filter(is_before).count();
        let timeout = raft.randomized_election_timeout();
        raft.election_elapsed = timeout.saturating_sub(1 + rank * RANK_TICKS);
    }

    /// A follower that does not even have the bootstrap batch gets an image: the batches alone do
    /// not say who belonged to the quorum before the first of them.
    fn notice_empty_log(&mut self, message: &RaftMessage) {
        let is_refusal = message.get_msg_type() == MessageType::MsgAppendResponse
            && message.reject
            && message.index == 0;
        let raft = &mut self.raw.raft;
        if is_refusal && raft.state == StateRole::Leader && raft.term == message.term {
            if let Some(progress) = raft.mut_prs().get_mut(message.from) {
                progress.pending_request_snapshot = 1;
            }
        }
    }

    fn take_piece(&mut self, envelope: Envelope, piece: &Piece<'_>) -> Result<(), Refusal> {
        let mut heard = RaftMessage::default();
        heard.set_msg_type(MessageType::MsgHeartbeat);
        (heard.from, heard.to) = (raft_id(envelope.from), raft_id(envelope.to));
        heard.term = envelope.epoch;
        admit::is_from_the_leader(&self.raw, &heard)?;
        let members = piece.check(envelope.epoch, self.id)?;
        if heard.term < self.raw.raft.term {
            return Ok(());
        }
        // Whoever sends an image leads; an election must not interrupt it.
        let _ = self.raw.step(heard);
        if self.incoming.is_refused(envelope.from, piece.last) {
            // It would be sent without end.
            return Err(Refusal::Image);
        }
        let is_known = piece.last.offset <= self.raw.raft.raft_log.committed;
        let (received_bytes, snapshot) = match is_known {
            true => (piece.image_bytes, None),
            false => self.incoming.take(envelope.from, piece, members),
        };
        if !snapshot.as_ref().is_none_or(|snapshot| (self.reads.image)(&snapshot.image)) {
            self.incoming.refuse(envelope.from, piece.last);
            return Err(Refusal::Image);
        }
        self.send_body(envelope.from, Body::SnapshotResponse { last: piece.last, received_bytes });
        if let Some(snapshot) = snapshot {
            let mut message = RaftMessage::default();
            message.set_msg_type(MessageType::MsgSnapshot);
            (message.from, message.to) = (raft_id(envelope.from), raft_id(envelope.to));
            message.term = envelope.epoch;
            message.set_snapshot(start::raft_snapshot(&snapshot));
            self.arrived = Some(snapshot);
            let _ = self.raw.step(message);
        }
        Ok(())
    }

    fn piece_confirmed(&mut self, from: Envelope, last: LogPlace, received_bytes: u64, now: Boot) {
        let raft = &self.raw.raft;
        if raft.state != StateRole::Leader || raft.term != from.epoch {
            return;
        }
        match self.outgoing.confirmed(from.from, last, received_bytes, now) {
            Confirmed::Nothing => {}
            Confirmed::Next(body) => self.send_body(from.from, body),
            Confirmed::All => {
                self.raw.report_snapshot(raft_id(from.from), SnapshotStatus::Finish);
            }
        }
    }

    /// Sends pieces again whose answer did not come, and gives up on who is silent.
    pub(super) fn go_on_with_images(&mut self, now: Boot) {
        let (pieces, given_up) = self.outgoing.due(now);
        for (to, body) in pieces {
            self.send_body(to, body);
        }
        for follower in given_up {
            self.raw.report_snapshot(raft_id(follower), SnapshotStatus::Failure);
        }
    }
}

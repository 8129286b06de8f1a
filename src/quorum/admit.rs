//! What a peer says, weighed before the consensus crate hears of it.
//!
//! The crate takes its peers at their word and stops the process where a word makes no sense: a
//! heartbeat that commits what is not there, a hint before the first entry. Here each such word is
//! refused by name; it changes nothing and starts no election.
//!
//! **Invariant:** no message that [`admit`] lets through can make the crate panic. Its places that
//! do, and the line here that stands before each: `commit_to` behind the end ([`commits_what_is_here`]),
//! a conflict below the commit and entries that do not follow each other ([`entries`]),
//! `find_conflict_by_term` walking below index 0 ([`hint_term`]), members that are no quorum
//! (`transfer`), an empty proposal or read request (never made from a peer's message).

use bytes::Bytes;
use raft::eraftpb::{Entry, Message as RaftMessage, MessageType};
use raft::{CAMPAIGN_TRANSFER, INVALID_ID, RawNode, StateRole};

use crate::limits::{QUORUM_MESSAGE_BATCHES_MAX, QUORUM_MESSAGE_BYTES};
use crate::quorum::entry;
use crate::quorum::members::raft_id;
use crate::quorum::message::{Body, Message};
use crate::quorum::store::Store;
use crate::quorum::types::Reads;
use crate::wire::quorum::{Envelope, LogPlace};

/// The largest term: leader epochs are 31 bits wide in a record batch.
pub(super) const TERM_MAX: u64 = i32::MAX as u64;

/// Offsets beyond this one belong to no log; it leaves room to count on from any that is taken.
const OFFSET_MAX: u64 = 1 << 62;

/// Why a message is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refusal {
    /// It is for somebody else, or for an earlier life of this node.
    NotForUs,
    /// It says that it comes from this node: two boards have one id, or it was said by an earlier
    /// life of this one.
    FromOurselves,
    /// Its sender does not belong to the site.
    NotAMember,
    /// Its epoch is 0 or above 2^31 − 1.
    Epoch,
    /// An offset in it belongs to no log.
    Offset,
    /// A batch in it is no entry, or does not follow the one before.
    Batch,
    /// A batch in it holds what is no list of changes.
    Changes,
    /// It commits what this node does not have.
    CommitBeyondLog,
    /// It confirms what the leader did not send.
    AckBeyondLog,
    /// A node without a log is asked for its vote.
    NoLog,
    /// Its sender speaks as the leader of an epoch that another leads.
    NotTheLeader,
    /// An image is larger than any may be.
    ImageTooLarge,
    /// A piece of an image lies outside of it.
    ImagePiece,
    /// The members in a snapshot are no quorum, or this node is not among them.
    ImageMembers,
    /// A snapshot that came whole holds no image.
    Image,
}

/// The message as the crate takes it. Images are not for it: `transfer` puts their pieces together.
pub(super) fn admit(
    raw: &RawNode<Store>,
    reads: Reads,
    message: &Message,
) -> Result<RaftMessage, Refusal> {
    let Envelope { from, to, epoch } = message.envelope;
    let mut out =
        RaftMessage { to: raft_id(to), from: raft_id(from), term: epoch, ..RaftMessage::default() };
    match &message.body {
        Body::VoteRequest { is_pre_vote, is_handed_over, last, committed } => {
            if raw.store().base().term == 0 {
                return Err(Refusal::NoLog);
            }
            out.set_msg_type(match is_pre_vote {
                true => MessageType::MsgRequestPreVote,
                false => MessageType::MsgRequestVote,
            });
            set_vote(&mut out, *last, *committed)?;
            if *is_handed_over {
                out.context = Bytes::from_static(CAMPAIGN_TRANSFER);
            }
        }
        Body::VoteResponse { is_pre_vote, is_granted, committed } => {
            out.set_msg_type(match is_pre_vote {
                true => MessageType::MsgRequestPreVoteResponse,
                false => MessageType::MsgRequestVoteResponse,
            });
            set_vote(&mut out, LogPlace::default(), *committed)?;
            out.reject = !is_granted;
        }
        Body::AppendRequest { previous, committed_offset, batches } => {
            out.set_msg_type(MessageType::MsgAppend);
            is_from_the_leader(raw, &out)?;
            out.commit = offset(*committed_offset)?;
            set_batches(&mut out, reads, *previous, batches)?;
        }
        &Body::AppendResponse { is_appended, offset: index, hint, committed_offset } => {
            out.set_msg_type(MessageType::MsgAppendResponse);
            (out.index, out.commit) = (offset(index)?, offset(committed_offset)?);
            out.reject = !is_appended;
            set_ack(raw, &mut out, hint)?;
        }
        Body::HeartbeatRequest { committed_offset } => {
            out.set_msg_type(MessageType::MsgHeartbeat);
            is_from_the_leader(raw, &out)?;
            out.commit = offset(*committed_offset)?;
            commits_what_is_here(raw, &out)?;
        }
        Body::HeartbeatResponse { committed_offset } => {
            out.set_msg_type(MessageType::MsgHeartbeatResponse);
            out.commit = offset(*committed_offset)?;
        }
        Body::CampaignNow => {
            out.set_msg_type(MessageType::MsgTimeoutNow);
            if raw.raft.leader_id != out.from || raw.raft.term != out.term {
                return Err(Refusal::NotTheLeader);
            }
        }
        Body::SnapshotRequest { .. } | Body::SnapshotResponse { .. } => {
            unreachable!("pieces of images are taken elsewhere")
        }
    }
    Ok(out)
}

fn set_batches(
    out: &mut RaftMessage,
    reads: Reads,
    previous: LogPlace,
    batches: &[Bytes],
) -> Result<(), Refusal> {
    check_place(previous)?;
    // Every log begins with a batch of an epoch, so there is always one before.
    if previous.epoch == 0 || out.term < previous.epoch {
        return Err(Refusal::Epoch);
    }
    (out.index, out.log_term) = (previous.offset, previous.epoch);
    out.set_entries(entries(reads, previous, out.term, batches)?.into());
    Ok(())
}

fn set_ack(raw: &RawNode<Store>, out: &mut RaftMessage, hint: LogPlace) -> Result<(), Refusal> {
    check_place(hint)?;
    if out.reject {
        (out.reject_hint, out.log_term) = (hint.offset, hint_term(raw, hint));
    } else if is_about_this_leadership(raw, out.term) && raw.raft.raft_log.last_index() < out.index
    {
        return Err(Refusal::AckBeyondLog);
    }
    Ok(())
}

fn set_vote(out: &mut RaftMessage, last: LogPlace, committed: LogPlace) -> Result<(), Refusal> {
    check_place(last)?;
    check_place(committed)?;
    (out.index, out.log_term) = (last.offset, last.epoch);
    (out.commit, out.commit_term) = (committed.offset, committed.epoch);
    Ok(())
}

/// An epoch that a leadership can have.
pub(super) fn check_epoch(epoch: u64) -> Result<(), Refusal> {
    if (1..=TERM_MAX).contains(&epoch) { Ok(()) } else { Err(Refusal::Epoch) }
}

/// A place that a log can have, or "none".
pub(super) fn check_place(place: LogPlace) -> Result<(), Refusal> {
    offset(place.offset)?;
    if place.epoch <= TERM_MAX { Ok(()) } else { Err(Refusal::Epoch) }
}

fn offset(offset: u64) -> Result<u64, Refusal> {
    if offset <= OFFSET_MAX { Ok(offset) } else { Err(Refusal::Offset) }
}

/// Entries that follow `previous` and each other, of epochs that never fall and never pass the
/// sender's.
fn entries(
    reads: Reads,
    previous: LogPlace,
    term: u64,
    batches: &[Bytes],
) -> Result<Vec<Entry>, Refusal> {
    if QUORUM_MESSAGE_BATCHES_MAX < batches.len() {
        return Err(Refusal::Batch);
    }
    let mut entries = Vec::new();
    let mut last = previous;
    for batch in batches {
        let entry = entry::entry_of(batch.clone()).map_err(|_| Refusal::Batch)?;
        if !entry::changes_in(batch).is_none_or(reads.changes) {
            return Err(Refusal::Changes);
        }
        let follows = entry.index == last.offset + 1 && last.epoch <= entry.term;
        if !follows || term < entry.term {
            return Err(Refusal::Batch);
        }
        last = LogPlace { offset: entry.index, epoch: entry.term };
        entries.push(entry);
    }
    Ok(entries)
}

/// A leader commits by heartbeat only what the follower confirmed. Whoever names more, talks to a
/// log that is gone.
fn commits_what_is_here(raw: &RawNode<Store>, heartbeat: &RaftMessage) -> Result<(), Refusal> {
    let raft = &raw.raft;
    let is_heard = raft.term <= heartbeat.term;
    if is_heard && raft.raft_log.last_index() < heartbeat.commit {
        return Err(Refusal::CommitBeyondLog);
    }
    Ok(())
}

/// An epoch has one leader; who was heard first is it.
pub(super) fn is_from_the_leader(
    raw: &RawNode<Store>,
    message: &RaftMessage,
) -> Result<(), Refusal> {
    let raft = &raw.raft;
    let is_known = raft.term == message.term && raft.leader_id != INVALID_ID;
    if is_known && raft.leader_id != message.from {
        return Err(Refusal::NotTheLeader);
    }
    Ok(())
}

fn is_about_this_leadership(raw: &RawNode<Store>, term: u64) -> bool {
    raw.raft.state == StateRole::Leader && raw.raft.term == term
}

/// The term of a hint, or 0, "not known", where looking for it would lead before the log.
fn hint_term(raw: &RawNode<Store>, hint: LogPlace) -> u64 {
    if hint.epoch < raw.store().base().term { 0 } else { hint.epoch }
}

/// Appends that carry no more than a message may: the crate counts bytes in another way, and does
/// not count entries.
pub(super) fn appends(raw: &RaftMessage, batch_of: impl Fn(&Entry) -> Bytes) -> Vec<Body> {
    let mut previous = LogPlace { offset: raw.index, epoch: raw.log_term };
    let mut bodies = Vec::new();
    let mut entries = raw.entries.iter().peekable();
    loop {
        let (mut batches, mut bytes, mut last) = (Vec::new(), 0, previous);
        while let Some(entry) = entries.peek() {
            let batch = batch_of(entry);
            let is_more = bytes + batch.len() <= QUORUM_MESSAGE_BYTES
                && batches.len() < QUORUM_MESSAGE_BATCHES_MAX;
            if !is_more && !batches.is_empty() {
                break;
            }
            bytes += batch.len();
            batches.push(batch);
            last = LogPlace { offset: entry.index, epoch: entry.term };
            entries.next();
        }
        bodies.push(Body::AppendRequest { previous, committed_offset: raw.commit, batches });
        previous = last;
        if entries.peek().is_none() {
            return bodies;
        }
    }
}

/// What the crate sends, in our words; `None` for batches and images, and for what never leaves.
pub(super) fn body_of(raw: &RaftMessage) -> Option<Body> {
    let last = LogPlace { offset: raw.index, epoch: raw.log_term };
    let committed = LogPlace { offset: raw.commit, epoch: raw.commit_term };
    let is_handed_over = raw.context == CAMPAIGN_TRANSFER;
    let is_granted = !raw.reject;
    let committed_offset = raw.commit;
    Some(match raw.get_msg_type() {
        MessageType::MsgRequestPreVote => {
            Body::VoteRequest { is_pre_vote: true, is_handed_over, last, committed }
        }
        MessageType::MsgRequestVote => {
            Body::VoteRequest { is_pre_vote: false, is_handed_over, last, committed }
        }
        MessageType::MsgRequestPreVoteResponse => {
            Body::VoteResponse { is_pre_vote: true, is_granted, committed }
        }
        MessageType::MsgRequestVoteResponse => {
            Body::VoteResponse { is_pre_vote: false, is_granted, committed }
        }
        MessageType::MsgAppendResponse => Body::AppendResponse {
            is_appended: !raw.reject,
            offset: raw.index,
            hint: LogPlace { offset: raw.reject_hint, epoch: raw.log_term },
            committed_offset,
        },
        MessageType::MsgHeartbeat => Body::HeartbeatRequest { committed_offset },
        MessageType::MsgHeartbeatResponse => Body::HeartbeatResponse { committed_offset },
        MessageType::MsgTimeoutNow => Body::CampaignNow,
        MessageType::MsgAppend
        | MessageType::MsgSnapshot
        | MessageType::MsgHup
        | MessageType::MsgBeat
        | MessageType::MsgPropose
        | MessageType::MsgUnreachable
        | MessageType::MsgSnapStatus
        | MessageType::MsgCheckQuorum
        | MessageType::MsgTransferLeader
        | MessageType::MsgReadIndex
        | MessageType::MsgReadIndexResp => return None,
    })
}

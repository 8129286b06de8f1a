//! What happens in a simulated quorum, in words: the lines of its transcripts.

#![allow(dead_code, reason = "each test uses a part of it")]

use odradek::quorum::message::Body;
use odradek::quorum::{Base, EntryKind, Leadership, Message, Output, Quorum, Role, Snapshot};
use odradek::wire::quorum::LogPlace;
use odradek::wire::quorum::members::{Member, MemberChange, MemberKind};

/// A message; heartbeats are not worth a line.
pub fn message(message: &Message) -> Option<String> {
    let (from, to) = (message.envelope.from.node_id, message.envelope.to.node_id);
    let epoch = message.envelope.epoch;
    let words = match &message.body {
        Body::VoteRequest { is_pre_vote, is_handed_over, last, .. } => {
            let ask = if *is_pre_vote { "would you vote" } else { "vote" };
            let why = if *is_handed_over { ", the leader asked me" } else { "" };
            format!("{ask} for me in {epoch}, my log ends with {}{why}", at(*last))
        }
        Body::VoteResponse { is_pre_vote, is_granted, .. } => match (is_pre_vote, is_granted) {
            (true, true) => format!("I would vote for you in {epoch}"),
            (true, false) => format!("I would not vote for you, I am in {epoch}"),
            (false, true) => format!("my vote in {epoch} is yours"),
            (false, false) => format!("my vote in {epoch} is not yours"),
        },
        Body::AppendRequest { previous, batches, committed_offset } => {
            let count = batches.len();
            let place = at(*previous);
            format!("{count} batches behind {place}, committed {committed_offset} (epoch {epoch})")
        }
        Body::AppendResponse { is_appended: true, offset: 0, .. } => {
            format!("there is an epoch {epoch}")
        }
        Body::AppendResponse { is_appended: true, offset, .. } => {
            format!("I have up to {offset} for good (epoch {epoch})")
        }
        Body::AppendResponse { is_appended: false, offset, hint, .. } => {
            format!("I do not have {offset}, try {} (epoch {epoch})", at(*hint))
        }
        Body::HeartbeatRequest { .. } | Body::HeartbeatResponse { .. } => return None,
        Body::SnapshotRequest { last, image_bytes, position, piece, .. } => {
            let end = position + piece.len() as u64;
            format!("image of {}, bytes {position} to {end} of {image_bytes}", at(*last))
        }
        Body::SnapshotResponse { last, received_bytes } => {
            format!("I have {received_bytes} bytes of the image of {}", at(*last))
        }
        Body::CampaignNow => format!("stand for election now (epoch {epoch})"),
    };
    Some(format!("{from} > {to}: {words}"))
}

fn at(place: LogPlace) -> String {
    format!("{}@{}", place.offset, place.epoch)
}

/// What a node does.
pub fn output(node: i32, output: &Output) -> Option<String> {
    match output {
        Output::Send(sent) => message(sent),
        Output::Persist(persist) => {
            let mut parts = Vec::new();
            if let Some(state) = persist.hard_state {
                let vote = state.vote.map_or("nobody".into(), |vote| vote.node_id.to_string());
                parts.push(format!("epoch {} vote {vote}", state.epoch));
                if persist.batches.is_empty() && persist.snapshot.is_none() {
                    parts.push(format!("committed up to {}", state.high_watermark));
                }
            }
            if let Some(snapshot) = &persist.snapshot {
                let what = if persist.begins_anew { "log anew behind" } else { "snapshot of" };
                parts.push(format!("{what} {}", snapshot.last_offset));
            }
            for batch in &persist.batches {
                let (offset, epoch) = super::disk::place(batch);
                parts.push(format!("batch {offset}@{epoch}"));
            }
            Some(format!("{node} writes #{}: {}", persist.number, parts.join(", ")))
        }
        Output::Committed(committed) => {
            let what = match committed.kind {
                EntryKind::Changes => "changes".into(),
                EntryKind::LeaderChange => "a leader's first".into(),
                EntryKind::Members(change) => format!("members: {}", step(change)),
            };
            Some(format!("{node} commits {}@{}: {what}", committed.offset, committed.epoch))
        }
        Output::Restore(Snapshot { last_offset, epoch, .. }) => {
            Some(format!("{node} restores the image of {last_offset}@{epoch}"))
        }
        Output::Leadership(leadership) => Some(format!("{node} {}", stands(*leadership))),
        Output::WantImage => Some(format!("{node} wants an image")),
        Output::Refused(from, why) => Some(format!("{node} refuses {from}: {why:?}")),
    }
}

fn step(change: MemberChange) -> String {
    match change {
        MemberChange::Observe(id) => format!("{id} observes"),
        MemberChange::Promote { id, is_witness: false } => format!("{id} votes"),
        MemberChange::Promote { id, is_witness: true } => format!("{id} witnesses"),
        MemberChange::Remove(id) => format!("{id} is out"),
    }
}

fn stands(leadership: Leadership) -> String {
    let Leadership { role, epoch, leader } = leadership;
    match (role, leader) {
        (Role::Leader, _) => format!("leads epoch {epoch}"),
        (Role::Follower, Some(leader)) => format!("follows {} in epoch {epoch}", leader.node_id),
        (Role::Follower, None) => format!("follows nobody in epoch {epoch}"),
        (Role::PreCandidate, _) => format!("asks around in epoch {epoch}"),
        (Role::Candidate, _) => format!("stands in epoch {epoch}"),
    }
}

/// A node as it is.
pub fn status(quorum: &Quorum) -> String {
    let words = stands(quorum.leadership());
    let end = quorum.log_end_offset();
    let high_watermark = quorum.high_watermark();
    let members: Vec<String> = quorum.members().to_list().iter().map(member).collect();
    let members = members.join(" ");
    format!("{}: {words}, end {end}, high watermark {high_watermark}, {members}", quorum.id())
}

fn member(member: &Member) -> String {
    let kind = match member.kind {
        MemberKind::Voter => "",
        MemberKind::Witness => "(witness)",
        MemberKind::Observer => "(observer)",
    };
    format!("{}{kind}", member.id)
}

/// What a disk keeps.
pub fn base(base: &Base) -> String {
    match base {
        Base::Nothing => "nothing".into(),
        Base::Bootstrap { .. } => "the bootstrap batch".into(),
        Base::Snapshot(snapshot) => format!("a snapshot of {}", snapshot.last_offset),
    }
}

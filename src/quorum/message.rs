//! Messages between voters, and their frames.
//!
//! [`Message::encode`] and [`Message::decode`] are the only way from and to the wire
//! ([`crate::wire::quorum`]); batches are not copied when they come in, they share the frame.
//!
//! **Invariant:** decoding reserves nothing on the word of a count or length, and what comes out is
//! bounded. Whether it makes sense is for `admit` to say.

use bytes::Bytes;

use crate::limits::{QUORUM_BATCH_BYTES_MAX, QUORUM_MESSAGE_BYTES, QUORUM_PIECE_BYTES_MAX};
use crate::wire::frame::{self, FrameError, RequestHeader};
use crate::wire::quorum::append::{AppendRequest, AppendResponse};
use crate::wire::quorum::heartbeat::{HeartbeatRequest, HeartbeatResponse};
use crate::wire::quorum::members::Member;
use crate::wire::quorum::snapshot::{SnapshotRequest, SnapshotResponse};
use crate::wire::quorum::vote::{CampaignNow, VoteRequest, VoteResponse};
use crate::wire::quorum::{Envelope, LogPlace, QuorumApiKey};

/// One message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Message {
    /// Who says it to whom, in which epoch.
    pub envelope: Envelope,
    /// What.
    pub body: Body,
}

/// What is said. The fields are those of the wire.
#[derive(Clone, Debug, PartialEq, Eq)]
#[expect(missing_docs, reason = "the structs of `wire::quorum` document each field")]
pub enum Body {
    /// See [`VoteRequest`].
    VoteRequest { is_pre_vote: bool, is_handed_over: bool, last: LogPlace, committed: LogPlace },
    /// See [`VoteResponse`].
    VoteResponse { is_pre_vote: bool, is_granted: bool, committed: LogPlace },
    /// See [`AppendRequest`].
    AppendRequest { previous: LogPlace, committed_offset: u64, batches: Vec<Bytes> },
    /// See [`AppendResponse`].
    AppendResponse { is_appended: bool, offset: u64, hint: LogPlace, committed_offset: u64 },
    /// See [`HeartbeatRequest`].
    HeartbeatRequest { committed_offset: u64 },
    /// See [`HeartbeatResponse`].
    HeartbeatResponse { committed_offset: u64 },
    /// See [`SnapshotRequest`].
    SnapshotRequest {
        last: LogPlace,
        members: Vec<Member>,
        image_bytes: u64,
        position: u64,
        piece: Bytes,
    },
    /// See [`SnapshotResponse`].
    SnapshotResponse { last: LogPlace, received_bytes: u64 },
    /// See [`CampaignNow`].
    CampaignNow,
}

impl Body {
    /// Whether whoever hears it must write more than a promise.
    pub fn grows_log(&self) -> bool {
        match self {
            Body::AppendRequest { batches, .. } => !batches.is_empty(),
            Body::SnapshotRequest { .. } => true,
            _ => false,
        }
    }
}

/// Why a frame is no message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MessageError {
    /// No message has this number.
    Unknown(u8),
    /// This version of it is not spoken here.
    Version(u8),
    /// It does not decode.
    Frame(FrameError),
    /// It carries more than a message may.
    TooLarge,
}

impl From<FrameError> for MessageError {
    fn from(error: FrameError) -> MessageError {
        MessageError::Frame(error)
    }
}

impl Message {
    /// The whole frame, prefix included.
    pub fn encode(&self) -> Vec<u8> {
        let envelope = self.envelope;
        match &self.body {
            &Body::VoteRequest { is_pre_vote, is_handed_over, last, committed } => put(
                QuorumApiKey::VoteRequest,
                &VoteRequest { envelope, is_pre_vote, is_handed_over, last, committed },
                &[],
            ),
            &Body::VoteResponse { is_pre_vote, is_granted, committed } => put(
                QuorumApiKey::VoteResponse,
                &VoteResponse { envelope, is_pre_vote, is_granted, committed },
                &[],
            ),
            Body::AppendRequest { previous, committed_offset, batches } => {
                let batch_bytes = batches.iter().map(|batch| batch.len() as u32).collect();
                let (previous, committed_offset) = (*previous, *committed_offset);
                let body = AppendRequest { envelope, previous, committed_offset, batch_bytes };
                put(QuorumApiKey::AppendRequest, &body, batches)
            }
            &Body::AppendResponse { is_appended, offset, hint, committed_offset } => put(
                QuorumApiKey::AppendResponse,
                &AppendResponse { envelope, is_appended, offset, hint, committed_offset },
                &[],
            ),
            &Body::HeartbeatRequest { committed_offset } => {
                let body = HeartbeatRequest { envelope, committed_offset };
                put(QuorumApiKey::HeartbeatRequest, &body, &[])
            }
            &Body::HeartbeatResponse { committed_offset } => {
                let body = HeartbeatResponse { envelope, committed_offset };
                put(QuorumApiKey::HeartbeatResponse, &body, &[])
            }
            Body::SnapshotRequest { last, members, image_bytes, position, piece } => {
                let (last, members) = (*last, members.clone());
                let (image_bytes, position) = (*image_bytes, *position);
                let body = SnapshotRequest { envelope, last, members, image_bytes, position };
                put(QuorumApiKey::SnapshotRequest, &body, std::slice::from_ref(piece))
            }
            &Body::SnapshotResponse { last, received_bytes } => {
                let body = SnapshotResponse { envelope, last, received_bytes };
                put(QuorumApiKey::SnapshotResponse, &body, &[])
            }
            Body::CampaignNow => put(QuorumApiKey::CampaignNow, &CampaignNow { envelope }, &[]),
        }
    }

    /// Reads what follows the prefix of a frame.
    pub fn decode(frame: &Bytes) -> Result<Message, MessageError> {
        let (header, body): (RequestHeader, _) = frame::take(frame)?;
        let key = QuorumApiKey::from_number(header.api_key)
            .ok_or(MessageError::Unknown(header.api_key))?;
        if header.api_version != 0 {
            return Err(MessageError::Version(header.api_version));
        }
        decode_body(key, frame, body)
    }
}

fn decode_body(key: QuorumApiKey, frame: &Bytes, body: &[u8]) -> Result<Message, MessageError> {
    let (envelope, body) = match key {
        QuorumApiKey::VoteRequest => {
            let VoteRequest { envelope, is_pre_vote, is_handed_over, last, committed } =
                frame::decode(body)?;
            (envelope, Body::VoteRequest { is_pre_vote, is_handed_over, last, committed })
        }
        QuorumApiKey::VoteResponse => {
            let VoteResponse { envelope, is_pre_vote, is_granted, committed } =
                frame::decode(body)?;
            (envelope, Body::VoteResponse { is_pre_vote, is_granted, committed })
        }
        QuorumApiKey::AppendRequest => return decode_append(frame, body),
        QuorumApiKey::AppendResponse => {
            let AppendResponse { envelope, is_appended, offset, hint, committed_offset } =
                frame::decode(body)?;
            (envelope, Body::AppendResponse { is_appended, offset, hint, committed_offset })
        }
        QuorumApiKey::HeartbeatRequest => {
            let HeartbeatRequest { envelope, committed_offset } = frame::decode(body)?;
            (envelope, Body::HeartbeatRequest { committed_offset })
        }
        QuorumApiKey::HeartbeatResponse => {
            let HeartbeatResponse { envelope, committed_offset } = frame::decode(body)?;
            (envelope, Body::HeartbeatResponse { committed_offset })
        }
        QuorumApiKey::SnapshotRequest => {
            let (body, piece): (SnapshotRequest, _) = frame::take(body)?;
            if QUORUM_PIECE_BYTES_MAX < piece.len() {
                return Err(MessageError::TooLarge);
            }
            let SnapshotRequest { envelope, last, members, image_bytes, position } = body;
            let piece = frame.slice_ref(piece);
            (envelope, Body::SnapshotRequest { last, members, image_bytes, position, piece })
        }
        QuorumApiKey::SnapshotResponse => {
            let SnapshotResponse { envelope, last, received_bytes } = frame::decode(body)?;
            (envelope, Body::SnapshotResponse { last, received_bytes })
        }
        QuorumApiKey::CampaignNow => {
            let CampaignNow { envelope } = frame::decode(body)?;
            (envelope, Body::CampaignNow)
        }
    };
    Ok(Message { envelope, body })
}

fn decode_append(frame: &Bytes, body: &[u8]) -> Result<Message, MessageError> {
    let (body, raw): (AppendRequest, _) = frame::take(body)?;
    let AppendRequest { envelope, previous, committed_offset, batch_bytes } = body;
    // One batch may be as large as a batch may be; several keep to what a message holds.
    let is_single = batch_bytes.len() <= 1;
    let most = if is_single { QUORUM_BATCH_BYTES_MAX } else { QUORUM_MESSAGE_BYTES };
    if most < raw.len() {
        return Err(MessageError::TooLarge);
    }
    let pieces = frame::split_records(batch_bytes.into_iter(), raw)?;
    let batches = pieces.into_iter().map(|piece| frame.slice_ref(piece)).collect();
    Ok(Message { envelope, body: Body::AppendRequest { previous, committed_offset, batches } })
}

fn put<B: serde::Serialize>(key: QuorumApiKey, body: &B, raw: &[Bytes]) -> Vec<u8> {
    let header = RequestHeader { api_key: key as u8, api_version: 0, correlation_id: 0 };
    let raw_bytes = raw.iter().map(Bytes::len).sum();
    let mut out = Vec::new();
    frame::encode(&header, body, raw_bytes, &mut out);
    for piece in raw {
        out.extend_from_slice(piece);
    }
    out
}

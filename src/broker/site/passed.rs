//! What peers say to each other over an authenticated link, and its frames: messages of the quorum,
//! and requests that are passed on.

use bytes::Bytes;
use serde::Serialize;

use crate::quorum::Message;
use crate::wire::peer::PeerApiKey;
use crate::wire::peer::forward::{Answered, Forwarded};
use crate::wire::{FrameError, RequestHeader, frame};

/// A frame of a link.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Said {
    /// Between members of the quorum.
    Quorum(Message),
    /// A request.
    Forwarded(Forwarded, Bytes),
    /// An answer.
    Answered(Answered, Bytes),
}

impl Said {
    /// The whole frame, prefix included.
    pub fn encode(&self) -> Vec<u8> {
        match self {
            Said::Quorum(message) => message.encode(),
            Said::Forwarded(head, body) => put(PeerApiKey::Forwarded, head, body),
            Said::Answered(head, body) => put(PeerApiKey::Answered, head, body),
        }
    }

    /// Reads what follows the prefix of a frame.
    pub fn decode(bytes: &Bytes) -> Result<Said, FrameError> {
        let (header, rest): (RequestHeader, &[u8]) = frame::take(bytes)?;
        match PeerApiKey::from_number(header.api_key) {
            Some(PeerApiKey::Forwarded) => {
                let (head, body) = frame::take(rest)?;
                Ok(Said::Forwarded(head, bytes.slice_ref(body)))
            }
            Some(PeerApiKey::Answered) => {
                let (head, body) = frame::take(rest)?;
                Ok(Said::Answered(head, bytes.slice_ref(body)))
            }
            _ => Message::decode(bytes).map(Said::Quorum).map_err(|_| FrameError::Malformed),
        }
    }
}

fn put<B: Serialize>(key: PeerApiKey, head: &B, body: &[u8]) -> Vec<u8> {
    let header = RequestHeader { api_key: key as u8, api_version: 0, correlation_id: 0 };
    let mut out = Vec::new();
    frame::encode(&header, head, body.len(), &mut out);
    out.extend_from_slice(body);
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ids::{NodeId, Offset};
    use crate::limits::FRAME_PREFIX_BYTES;
    use crate::quorum::VoterId;
    use crate::quorum::message::Body;
    use crate::wire::ErrorCode;
    use crate::wire::quorum::Envelope;

    #[test]
    fn every_kind_of_frame_is_read_as_it_was_written() {
        let from = VoterId { node_id: NodeId(1), incarnation: 7 };
        let envelope = Envelope { from, to: from, epoch: 3 };
        let body = Bytes::from_static(b"body");
        for said in [
            Said::Quorum(Message { envelope, body: Body::CampaignNow }),
            Said::Forwarded(Forwarded { number: 300, api_key: 19 }, body.clone()),
            Said::Answered(
                Answered { number: 300, error: ErrorCode::NONE, end_offset: Offset(7) },
                body.clone(),
            ),
        ] {
            let frame = Bytes::from(said.encode());
            assert_eq!(Said::decode(&frame.slice(FRAME_PREFIX_BYTES..)), Ok(said));
        }
        assert!(Said::decode(&Bytes::from_static(&[84, 0, 0])).is_err());
        assert!(Said::decode(&Bytes::new()).is_err());
    }
}

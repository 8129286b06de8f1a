//! Who belongs to the quorum, as messages carry it and as the metadata log keeps it.
//!
//! A change of members is a control batch of type 6 (Kafka's `KRAFT_VOTERS`) with this value:
//!
//! ```text
//! 0  u8      version, 0
//! 1  ...     postcard: varint change (0 observe, 1 promote, 2 remove), then
//!              observe: voter id
//!              promote: voter id, bool witness
//!              remove: voter id
//! ```
//!
//! **Invariant:** a variant's place and its fields never change once released.

use alloc::vec::Vec;
use serde::{Deserialize, Serialize};

use crate::wire::frame::{self, FrameError};
use crate::wire::quorum::VoterId;

/// Version byte of a change.
pub const CHANGE_VERSION: u8 = 0;

/// What a member does.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum MemberKind {
    /// Votes, may lead, and runs the controller when it does.
    Voter,
    /// Votes, but holds no data: it leads only until a voter can.
    Witness,
    /// Follows, and does not count.
    Observer,
}

/// A member.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Member {
    /// Who.
    pub id: VoterId,
    /// As what.
    pub kind: MemberKind,
}

/// One step from one set of members to the next.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum MemberChange {
    /// It follows from now on.
    Observe(VoterId),
    /// An observer that has caught up counts from now on.
    Promote {
        /// The observer.
        id: VoterId,
        /// Whether it holds no data.
        is_witness: bool,
    },
    /// It no longer belongs to the quorum.
    Remove(VoterId),
}

impl MemberChange {
    /// Whom it concerns.
    pub const fn id(self) -> VoterId {
        match self {
            MemberChange::Observe(id)
            | MemberChange::Promote { id, .. }
            | MemberChange::Remove(id) => id,
        }
    }

    /// The value of its record.
    pub fn encode(self) -> Vec<u8> {
        let mut value = Vec::from([CHANGE_VERSION]);
        value.extend(frame::encode_body(&self));
        value
    }

    /// Reads the value of its record.
    pub fn decode(value: &[u8]) -> Result<MemberChange, FrameError> {
        match value.split_first() {
            Some((&CHANGE_VERSION, body)) => frame::decode(body),
            _ => Err(FrameError::Malformed),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ids::NodeId;

    #[test]
    fn a_change_has_this_layout() {
        let id = VoterId { node_id: NodeId(3), incarnation: 300 };
        for (change, value) in [
            (MemberChange::Observe(id), &[0, 0, 6, 0xac, 2][..]),
            (MemberChange::Promote { id, is_witness: true }, &[0, 1, 6, 0xac, 2, 1]),
            (MemberChange::Remove(id), &[0, 2, 6, 0xac, 2]),
        ] {
            assert_eq!(change.encode(), value);
            assert_eq!(MemberChange::decode(value), Ok(change));
        }
        assert!(MemberChange::decode(&[1, 2, 6, 0xac, 2]).is_err(), "newer");
        assert!(MemberChange::decode(&[0, 3, 6, 0xac, 2]).is_err(), "unknown");
        assert!(MemberChange::decode(&[0, 2, 6, 0xac, 2, 0]).is_err(), "too long");
        assert!(MemberChange::decode(&[]).is_err());
    }
}

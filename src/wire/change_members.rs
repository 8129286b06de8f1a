//! `ChangeMembers` (202): a node leaves the site for good, a dead one is taken out of it, or a vote
//! goes to another.
//!
//! Such a change takes several batches of the metadata log, so it is asked for again until it is
//! done: each request takes the next step, and none is harmed by coming twice.
//!
//! ```text
//! request                                   response
//! varint u32  0 leave, 1 remove, 2 move     varint i16  error code
//!   leave     varint i32 node               str         what was wrong, or what happens
//!   remove    varint i32 node, bool force   bool        whether it is done
//!   move      varint i32 from, to
//! ```

use serde::{Deserialize, Serialize};

use crate::ids::NodeId;
use crate::wire::ErrorCode;

/// What is to become of a node.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum SiteChange {
    /// It gives up what it leads and holds, and its vote, and is forgotten.
    Leave {
        /// Which; [`NodeId::NONE`] for the node that is asked.
        node_id: NodeId,
    },
    /// It is dead: the others forget it.
    Remove {
        /// Which.
        node_id: NodeId,
        /// Whether what only it holds is given up.
        is_forced: bool,
    },
    /// Another votes in its place.
    MoveVoter {
        /// Who votes now.
        from: NodeId,
        /// Who is to.
        to: NodeId,
    },
}

/// The next step of a change.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ChangeMembersRequest {
    /// Which.
    pub change: SiteChange,
}

/// What became of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ChangeMembersResponse<'a> {
    /// `NONE`, or why the change is refused; nothing has changed by this request then.
    pub error: ErrorCode,
    /// What was wrong, or what is under way.
    #[serde(borrow)]
    pub message: &'a str,
    /// Whether nothing is left to do.
    pub is_done: bool,
}

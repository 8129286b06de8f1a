//! `ManageSite` (203): how a site begins, and how a node finds its way into one. A broker takes it from
//! its own machine only.
//!
//! ```text
//! request                                   response
//! varint u32  0 init, 1 invite, 2 join      varint i16  error code
//!   join      str code, str address         str         what was wrong, or the pairing code
//!                                           str         HOST:PORT of this broker, or of who let it in
//!                                           16 bytes    cluster id, all zero when not known yet
//! ```
//!
//! After `init` and `join` the broker stops and starts again in its process, as a node of the site.

use serde::{Deserialize, Serialize};

use crate::ids::Uuid;
use crate::wire::ErrorCode;

/// What is asked of the node.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum SiteRequest<'a> {
    /// Found a site, and invite another board.
    Init,
    /// Invite another board.
    Invite,
    /// Join the site of whoever gave the code.
    Join {
        /// As it was printed.
        #[serde(borrow)]
        code: &'a str,
        /// `HOST:PORT`, or empty: it is looked for.
        #[serde(borrow)]
        address: &'a str,
    },
}

/// Asks for one of these.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ManageSiteRequest<'a> {
    /// Which.
    #[serde(borrow)]
    pub request: SiteRequest<'a>,
}

/// What became of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ManageSiteResponse<'a> {
    /// `NONE`, or why not.
    pub error: ErrorCode,
    /// What was wrong; or the code, of an invitation.
    #[serde(borrow)]
    pub text: &'a str,
    /// Where a board that joins finds this one; or who let this one in.
    #[serde(borrow)]
    pub address: &'a str,
    /// The site's cluster.
    pub cluster_id: Uuid,
}

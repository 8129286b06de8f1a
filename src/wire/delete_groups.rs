//! `DeleteGroups` (42): removes groups without members, and their offsets.
//!
//! ```text
//! request                                   response
//! list of     str group id                  list of     varint i16  error code
//! ```

use alloc::vec::Vec;
use serde::{Deserialize, Serialize};

use crate::limits::REQUEST_GROUPS_MAX;
use crate::wire::{ErrorCode, frame};

/// Groups to remove.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct DeleteGroupsRequest<'a> {
    /// Their ids.
    #[serde(borrow, deserialize_with = "frame::list::<REQUEST_GROUPS_MAX, _, _>")]
    pub groups: Vec<&'a str>,
}

/// What became of them.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct DeleteGroupsResponse {
    /// One per group, in the order of the request.
    #[serde(deserialize_with = "frame::list::<REQUEST_GROUPS_MAX, _, _>")]
    pub groups: Vec<ErrorCode>,
}

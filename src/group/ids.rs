//! Ids: which are legal, and how members get theirs.
//!
//! A member id is Kafka's: the client id (or the group instance id), `-`, and a random uuid. What
//! clients say ends up in logs and on terminals, so control characters go no further than here.

use crate::ids::Uuid;
use crate::limits::{GROUP_CLIENT_ID_BYTES_MAX, GROUP_TEXT_BYTES_MAX};

/// Whether a text may be kept and shown: bounded, and a line stays a line.
pub(super) fn is_legal(text: &str) -> bool {
    text.len() <= GROUP_TEXT_BYTES_MAX && !text.chars().any(char::is_control)
}

/// A client id as it is shown: without control characters, and not too long.
pub(super) fn shown(client_id: &str) -> Box<str> {
    let mut end = client_id.len().min(GROUP_CLIENT_ID_BYTES_MAX);
    while !client_id.is_char_boundary(end) {
        end -= 1;
    }
    let visible = |symbol: char| if symbol.is_control() { '?' } else { symbol };
    client_id[..end].chars().map(visible).collect()
}

/// Gives out member ids, random by a seed (splitmix64).
#[derive(Debug)]
pub(super) struct MemberIds {
    state: u64,
}

impl MemberIds {
    pub fn new(seed: u64) -> MemberIds {
        MemberIds { state: seed }
    }

    fn next(&mut self) -> u64 {
        self.state = self.state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.state;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    /// A fresh member id that begins with `name`.
    pub fn fresh(&mut self, name: &str) -> Box<str> {
        let mut bytes = [0; 16];
        bytes[..8].copy_from_slice(&self.next().to_be_bytes());
        bytes[8..].copy_from_slice(&self.next().to_be_bytes());
        let uuid = format!("{:032x}", u128::from_be_bytes(Uuid::from_random(bytes).0));
        let mut id = String::from(shown(name));
        for part in [0..8, 8..12, 12..16, 16..20, 20..32] {
            id.push('-');
            id.push_str(&uuid[part]);
        }
        id.into()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_are_lines_and_bounded() {
        assert!(is_legal("readers"));
        assert!(is_legal(""));
        assert!(!is_legal("a\nb"));
        assert!(!is_legal("a\u{7f}b"));
        assert!(!is_legal(&"x".repeat(1025)));
        assert_eq!(&*shown("a\nb\u{1b}[31m"), "a?b?[31m");
        assert_eq!(shown(&"é".repeat(200)).len(), 254);
    }

    #[test]
    fn member_ids_are_a_name_and_a_uuid() {
        let mut ids = MemberIds::new(7);
        let id = ids.fresh("c");
        assert_eq!(id.len(), 2 + 36);
        assert!(id.starts_with("c-"));
        assert_eq!(id.split('-').count(), 6);
        assert_ne!(id, ids.fresh("c"));
        assert_eq!(id, MemberIds::new(7).fresh("c"), "a seed repeats them");
    }
}

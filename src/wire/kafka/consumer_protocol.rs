//! What consumers tell each other through a classic group: subscription and assignment.
//!
//! To the broker the metadata of `JoinGroup` and the assignment of `SyncGroup` are bytes, but it
//! reads them to describe a group, to refuse the deletion of offsets that are subscribed to, and
//! to move a group to KIP-848; our own consumer writes them.
//!
//! ```text
//! 0  i16     version
//! 2          the structure of that version; never flexible
//! ```
//!
//! Newer versions only append: what lies behind the last known field is not looked at.

use alloc::vec::Vec;

use super::error::KafkaError;
use super::field::Field;
use super::versioned;
use crate::ids::Partition;

/// The last version of both structures.
pub const VERSION_MAX: i16 = 3;

structs! {
    ConsumerProtocolSubscription<'a> {
        [0..] topics: Vec<&'a str>,
        [0..] user_data: Option<&'a [u8]>,
        [1..] owned_partitions: Vec<TopicPartition<'a>>,
        [2..] generation_id: i32 = -1,
        [3..] rack_id: Option<&'a str>,
    }

    ConsumerProtocolAssignment<'a> {
        [0..] assigned_partitions: Vec<TopicPartition<'a>>,
        [0..] user_data: Option<&'a [u8]>,
    }

    TopicPartition<'a> {
        [0..] topic: &'a str,
        [0..] partitions: Vec<Partition>,
    }

    /// What Kafka's sticky assignor adds to a subscription. No version stands before it.
    StickyUserData<'a> {
        [0..] previous_assignment: Vec<TopicPartition<'a>>,
        [1..] generation: i32 = -1,
    }
}

/// Reads a structure behind its version.
fn decode<'a, T: Field<'a>>(bytes: &'a [u8]) -> Result<T, KafkaError> {
    let (version, rest) = versioned::split(bytes)?;
    versioned::read(version.clamp(0, VERSION_MAX), false, rest)
}

/// Writes a structure behind its version.
fn encode<'a, T: Field<'a>>(value: &T, version: i16) -> Vec<u8> {
    assert!((0..=VERSION_MAX).contains(&version), "the caller chose a version described");
    versioned::write(value, version, false)
}

impl<'a> ConsumerProtocolSubscription<'a> {
    /// Reads the metadata of a member, of whatever version.
    pub fn decode(bytes: &'a [u8]) -> Result<Self, KafkaError> {
        decode(bytes)
    }

    /// Writes the metadata of a member.
    pub fn encode(&self, version: i16) -> Vec<u8> {
        encode(self, version)
    }
}

impl<'a> ConsumerProtocolAssignment<'a> {
    /// Reads a member's assignment, of whatever version.
    pub fn decode(bytes: &'a [u8]) -> Result<Self, KafkaError> {
        decode(bytes)
    }

    /// Writes a member's assignment.
    pub fn encode(&self, version: i16) -> Vec<u8> {
        encode(self, version)
    }
}

impl<'a> StickyUserData<'a> {
    /// Reads the newer form, or else the older one, as Kafka does; `None` if it is neither.
    pub fn decode(bytes: &'a [u8]) -> Option<Self> {
        let read = |version| versioned::read(version, false, bytes).ok();
        read(1).or_else(|| read(0))
    }

    /// Writes the newer form.
    pub fn encode(&self) -> Vec<u8> {
        versioned::write_bare(self, 1, false)
    }
}

//! How nodes of a site meet, and what brokers ask the active controller: one file a message.
//!
//! A peer connects like a client, says Hello, then [`hello::PeerHello`] and [`hello::PeerProof`], each
//! answered before the next is sent. From then on frames go both ways and none is answered by
//! another in order: the quorum's messages ([`super::quorum`]), or [`forward`]ed requests.
//!
//! **Invariant:** before the proof nothing but these two messages is read, and neither changes
//! anything.

pub mod forward;
pub mod heartbeat;
pub mod hello;
pub mod pair;
pub mod producer_ids;
pub mod register;

/// Which message a frame between peers holds. Not listed in Hello.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[repr(u8)]
pub enum PeerApiKey {
    /// [`register`], within a forwarded request.
    RegisterBroker = 62,
    /// [`heartbeat`], within a forwarded request.
    BrokerHeartbeat = 63,
    /// [`producer_ids`], within a forwarded request.
    AllocateProducerIds = 67,
    /// [`hello::PeerHello`].
    Hello = 84,
    /// [`hello::PeerProof`].
    Proof = 85,
    /// [`forward::Forwarded`].
    Forwarded = 219,
    /// [`forward::Answered`].
    Answered = 220,
}

impl PeerApiKey {
    /// Every message, in ascending order.
    pub const ALL: [PeerApiKey; 7] = [
        PeerApiKey::RegisterBroker,
        PeerApiKey::BrokerHeartbeat,
        PeerApiKey::AllocateProducerIds,
        PeerApiKey::Hello,
        PeerApiKey::Proof,
        PeerApiKey::Forwarded,
        PeerApiKey::Answered,
    ];

    /// The message of a number, if this version knows it.
    pub fn from_number(number: u8) -> Option<PeerApiKey> {
        PeerApiKey::ALL.into_iter().find(|key| *key as u8 == number)
    }
}

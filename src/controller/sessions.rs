//! Who is heard of: the heartbeats of brokers, as the active controller counts them.
//!
//! Soft state: a controller that becomes active has heard of nobody, and gives every broker a whole
//! session from then on, so that a change of controllers fences nobody who is there.
//!
//! **Invariant:** sessions are measured by the boot clock; the wall clock decides nothing.

use std::collections::BTreeMap;

use crate::ids::NodeId;
use crate::time::Boot;

/// When brokers were heard of last.
#[derive(Debug, Default)]
pub struct Sessions {
    session_timeout_ms: u64,
    heard: BTreeMap<NodeId, Session>,
    /// When brokers were heard of last, their sessions over or not.
    last: BTreeMap<NodeId, Boot>,
}

#[derive(Clone, Copy, Debug)]
struct Session {
    /// When it was heard of last, or granted a session.
    at: Boot,
    /// Whether that process is there for all that is known.
    is_heard: bool,
}

impl Sessions {
    /// Sessions that last so long (`broker.session.timeout.ms`), for brokers of whom nothing is known.
    pub fn begin(
        now: Boot,
        session_timeout_ms: u64,
        brokers: impl Iterator<Item = NodeId>,
    ) -> Sessions {
        let granted = Session { at: now, is_heard: false };
        let heard = brokers.map(|broker| (broker, granted)).collect();
        Sessions { session_timeout_ms, heard, last: BTreeMap::new() }
    }

    /// A broker was heard of.
    pub fn hear(&mut self, now: Boot, broker: NodeId) {
        self.heard.insert(broker, Session { at: now, is_heard: true });
        self.last.insert(broker, now);
    }

    /// A broker's link broke: its process may be gone. Its session goes on, but another process of it
    /// need not wait for the end.
    pub fn doubt(&mut self, broker: NodeId) {
        if let Some(session) = self.heard.get_mut(&broker) {
            session.is_heard = false;
        }
    }

    /// This process stood still: nobody could have been heard.
    pub fn excuse(&mut self, pause_ms: u64) {
        for session in self.heard.values_mut() {
            session.at = session.at.plus_ms(pause_ms);
        }
    }

    /// Brokers whose sessions go on.
    pub fn brokers(&self) -> impl Iterator<Item = NodeId> + '_ {
        self.heard.keys().copied()
    }

    /// A broker's session is over, or the broker is gone for good.
    pub fn forget(&mut self, broker: NodeId) {
        self.heard.remove(&broker);
    }

    /// Whether a broker's process is there, for all that is known.
    pub fn is_heard(&self, now: Boot, broker: NodeId) -> bool {
        let session = self.heard.get(&broker);
        session.is_some_and(|session| session.is_heard && now < self.end_of(session.at))
    }

    /// How long ago a broker was heard of, if it was.
    pub fn silent_ms(&self, now: Boot, broker: NodeId) -> Option<u64> {
        self.last.get(&broker).map(|last| now.ms_since(*last))
    }

    /// A broker whose session is over; it is forgotten. One at a time, the most silent first.
    pub fn take_expired(&mut self, now: Boot) -> Option<NodeId> {
        let (&broker, session) =
            self.heard.iter().min_by_key(|(broker, session)| (session.at, **broker))?;
        if now < self.end_of(session.at) {
            return None;
        }
        self.heard.remove(&broker)?;
        Some(broker)
    }

    /// When the next session is over, if nothing is heard.
    pub fn next_deadline(&self) -> Boot {
        let first = self.heard.values().map(|session| session.at).min();
        first.map_or(Boot::NEVER, |at| self.end_of(at))
    }

    fn end_of(&self, at: Boot) -> Boot {
        at.plus_ms(self.session_timeout_ms)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn semantics_2_12_a_broker_is_over_nine_seconds_after_its_last_heartbeat() {
        let ms = |ms: u64| Boot(0).plus_ms(ms);
        let mut sessions = Sessions::begin(ms(0), 9000, [NodeId(1), NodeId(2)].into_iter());
        sessions.hear(ms(2000), NodeId(1));
        assert_eq!(sessions.next_deadline(), ms(9000));
        assert_eq!(sessions.take_expired(ms(8999)), None);
        assert!(!sessions.is_heard(ms(8999), NodeId(2)), "granted, and never heard of");
        assert!(sessions.is_heard(ms(8999), NodeId(1)));
        assert_eq!(sessions.take_expired(ms(9000)), Some(NodeId(2)));
        assert_eq!(sessions.take_expired(ms(9000)), None, "the other was heard of");
        assert!(sessions.is_heard(ms(10_999), NodeId(1)));
        sessions.doubt(NodeId(1));
        assert!(!sessions.is_heard(ms(10_999), NodeId(1)));
        assert_eq!(sessions.next_deadline(), ms(11_000), "the session goes on");
        assert!(!sessions.is_heard(ms(11_000), NodeId(1)));
        assert_eq!(sessions.silent_ms(ms(13_000), NodeId(1)), Some(11_000));
        assert_eq!(sessions.silent_ms(ms(13_000), NodeId(2)), None, "never");
        sessions.forget(NodeId(1));
        assert_eq!(sessions.next_deadline(), Boot::NEVER);
    }
}

//! How long a peer may be silent before it counts as gone: short where its frames come in time, longer
//! where the network is known to hold them up.
//!
//! A leader speaks to every member ten times a second, and is answered at once. The longest silences
//! between two frames of a peer say what this network does: on a quiet LAN they are a tenth of a
//! second, with packets that are late and lost they are seconds, for TCP sends again only what it
//! missed and holds back what came behind it.
//!
//! ```text
//! patience = 3 × longest silence + 300 ms, between 600 ms and a bound; 1.2 s while nothing is known
//! ```
//!
//! The longest silence is forgotten by half in some five minutes of frames. A silence of more than
//! twice the patience is taken for an outage, and teaches nothing: a board that was switched off for
//! a minute would otherwise be missed for minutes when it fails again. One that ends sooner, though
//! patience had run out, was an outage as well if it does not happen again within five minutes; else
//! this is what the network does. What follows an outage teaches nothing either: TCP has given up trying
//! often by then, and is as late again as the outage was long.
//!
//! Read Hayashibara et al., *The φ accrual failure detector* (2004), for the idea; the rule is ours,
//! because an outage here costs one election and a needless election is what we must not have.

use std::collections::BTreeMap;

use crate::ids::NodeId;
use crate::time::Boot;

/// Never less patience than this.
pub const PATIENCE_MS_MIN: u64 = 600;

/// The same while too little of a peer was heard: two of the lease's lengths, no more. A board that
/// was just started and knows nothing yet is asked for its vote like any other when the leader goes
/// now, and withholds it for so long; where it is the only one of its mind, others hold it back.
const PATIENCE_MS_UNKNOWN: u64 = 1_200;

/// Frames of a peer that make it known: a second of them.
const FRAMES_KNOWN: u64 = 10;

/// What comes in every case on top, for schedulers and disks.
const MARGIN_MS: u64 = 300;

/// A frame takes such a part of the longest silence away.
const FORGET_SHIFT: u32 = 12;

/// Within so many frames a second outage is none: five minutes of them.
const AGAIN_FRAMES: u64 = 3_000;

/// So many frames after an outage teach nothing.
const SETTLING_FRAMES: u8 = 10;

/// Parts of a millisecond in which the longest silence is counted.
const PARTS_SHIFT: u32 = 16;

/// What is known of the silences of peers.
#[derive(Debug, Default)]
pub struct Patience {
    peers: BTreeMap<NodeId, Rhythm>,
    ms_max: u64,
}

#[derive(Debug, Default)]
struct Rhythm {
    /// When it was heard last; `None` when nothing was to be heard since.
    at: Option<Boot>,
    /// The longest silence, in parts of a millisecond.
    longest_parts: u64,
    frame_count: u64,
    /// How many there were when patience had run out, though not by much.
    impatient_at: Option<u64>,
    /// So many frames teach nothing yet.
    settling: u8,
}

impl Patience {
    /// Nothing is known; nobody is waited for longer than `ms_max`.
    pub fn new(ms_max: u64) -> Patience {
        Patience { peers: BTreeMap::new(), ms_max: ms_max.max(PATIENCE_MS_MIN) }
    }

    /// A frame of a peer came, of those that come all the time.
    pub fn hear(&mut self, now: Boot, peer: NodeId) {
        let patience_ms = self.of(peer);
        let rhythm = self.peers.entry(peer).or_default();
        let Some(at) = rhythm.at.replace(now) else { return };
        let silence_ms = now.ms_since(at);
        if 2 * patience_ms < silence_ms {
            rhythm.settling = SETTLING_FRAMES;
            return;
        }
        rhythm.frame_count += 1;
        if patience_ms < silence_ms {
            let count = rhythm.frame_count;
            let before = rhythm.impatient_at.replace(count);
            if before.is_none_or(|before| AGAIN_FRAMES < count - before) {
                rhythm.settling = SETTLING_FRAMES;
                return;
            }
        } else if 0 < rhythm.settling {
            rhythm.settling -= 1;
            return;
        }
        let left = rhythm.longest_parts - (rhythm.longest_parts >> FORGET_SHIFT);
        rhythm.longest_parts = left.max(silence_ms << PARTS_SHIFT);
    }

    /// A peer is to be heard, and was last at `at`.
    pub fn expect(&mut self, at: Boot, peer: NodeId) {
        self.peers.entry(peer).or_default().at = Some(at);
    }

    /// Nothing is to be heard of peers from now on, or something else than before: a silence up to
    /// now says nothing.
    pub fn begin_anew(&mut self) {
        for rhythm in self.peers.values_mut() {
            rhythm.at = None;
        }
    }

    /// A peer is not to be heard until it is heard again.
    pub fn forget_silence(&mut self, peer: NodeId) {
        if let Some(rhythm) = self.peers.get_mut(&peer) {
            rhythm.at = None;
            rhythm.settling = SETTLING_FRAMES;
        }
    }

    /// This process stood still: nobody could have been heard.
    pub fn excuse(&mut self, pause_ms: u64) {
        for at in self.peers.values_mut().filter_map(|rhythm| rhythm.at.as_mut()) {
            *at = at.plus_ms(pause_ms);
        }
    }

    /// How long a peer may be silent, in milliseconds.
    pub fn of(&self, peer: NodeId) -> u64 {
        let known = |rhythm: &&Rhythm| FRAMES_KNOWN <= rhythm.frame_count;
        let own = self.peers.get(&peer).filter(known);
        // The network that others are behind is probably the same.
        let others = || self.peers.values().filter(known).max_by_key(|one| one.longest_parts);
        let unknown_ms = PATIENCE_MS_UNKNOWN.min(self.ms_max);
        own.or_else(others).map_or(unknown_ms, |rhythm| {
            let longest_ms = rhythm.longest_parts >> PARTS_SHIFT;
            (3 * longest_ms + MARGIN_MS).clamp(PATIENCE_MS_MIN, self.ms_max)
        })
    }

    /// When a peer is silent for too long, if it is to be heard.
    pub fn ends_at(&self, peer: NodeId) -> Option<Boot> {
        Some(self.heard_at(peer)?.plus_ms(self.of(peer)))
    }

    /// When a peer was heard last, if it is to be heard.
    pub fn heard_at(&self, peer: NodeId) -> Option<Boot> {
        self.peers.get(&peer)?.at
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PEER: NodeId = NodeId(2);

    fn ms(ms: u64) -> Boot {
        Boot(0).plus_ms(ms)
    }

    #[test]
    fn patience_follows_what_the_network_does() {
        let mut patience = Patience::new(9_000);
        assert_eq!(patience.of(PEER), 1_200, "nothing is known");
        let mut at = 0;
        for _ in 0..=FRAMES_KNOWN {
            patience.hear(ms(at), PEER);
            at += 100;
        }
        assert_eq!(patience.of(PEER), 600, "every 100 ms a frame");
        assert_eq!(patience.of(NodeId(3)), 600, "another behind the same network");
        at += 900;
        patience.hear(ms(at), PEER);
        assert_eq!(patience.of(PEER), 600, "one came a second late: an outage, it may be");
        at += 900;
        patience.hear(ms(at), PEER);
        assert_eq!(patience.of(PEER), 3_000, "and another: the network");
        for _ in 0..2_900 {
            at += 100;
            patience.hear(ms(at), PEER);
        }
        assert!((1_550..1_700).contains(&patience.of(PEER)), "five minutes later: half of it");
        at += 60_000;
        patience.hear(ms(at), PEER);
        assert!(patience.of(PEER) < 1_900, "an outage teaches nothing");
        patience.begin_anew();
        assert_eq!(patience.heard_at(PEER), None);
        at += 2_500;
        patience.hear(ms(at), PEER);
        assert!(patience.of(PEER) < 1_900, "nothing was to be heard");
        patience.excuse(500);
        assert_eq!(patience.heard_at(PEER), Some(ms(at + 500)));
    }

    /// Found by bench/run: a board that was cut off was silent again for as long when its cable was
    /// back, which was just within the patience; from then on it was missed after 2.4 s.
    #[test]
    fn what_follows_an_outage_teaches_nothing() {
        let mut patience = Patience::new(9_000);
        let mut at = 0;
        let mut hear = |patience: &mut Patience, silence_ms: u64| {
            at += silence_ms;
            patience.hear(ms(at), PEER);
        };
        for _ in 0..=FRAMES_KNOWN {
            hear(&mut patience, 154);
        }
        assert_eq!(patience.of(PEER), 762);
        // Who waits for it concludes that it is gone.
        patience.forget_silence(PEER);
        hear(&mut patience, 800);
        hear(&mut patience, 747);
        assert_eq!(patience.of(PEER), 762);
        // Who does not hears it late.
        hear(&mut patience, 800);
        hear(&mut patience, 747);
        assert!((750..=762).contains(&patience.of(PEER)), "{}", patience.of(PEER));
        for _ in 0..SETTLING_FRAMES {
            hear(&mut patience, 100);
        }
        hear(&mut patience, 700);
        assert_eq!(patience.of(PEER), 2_400, "this is how it is");
    }

    #[test]
    fn patience_has_an_end() {
        let mut patience = Patience::new(1_000);
        assert_eq!(patience.of(PEER), 1_000);
        for frame in 0..=FRAMES_KNOWN {
            patience.hear(ms(frame * 800), PEER);
        }
        assert_eq!(patience.of(PEER), 1_000);
    }
}

//! How a site begins, and who is taken into the quorum.
//!
//! **Founding.** Of the nodes that are to vote the one with the lowest id founds the site, once it has
//! seen that every other has no log yet: alone at first, a quorum of one. A board whose card was
//! emptied finds others that have a log, and waits to be taken in. Where no list names who is to vote,
//! and no code was given out, the same holds of those that `peers` leads to, if none of them goes by a
//! list either. A node that was alone before, and
//! has topics, founds the site with them.
//!
//! **Taking in.** The leader takes in who proved that it belongs to the site, one step at a time:
//! another life of a node takes the place of the old one, follows as an observer, and votes once it
//! has caught up, if it is one of those that are to vote, or if fewer vote than may
//! (`quorum.voters.max`). Whoever left the site, or was removed, is not taken in again with what it
//! had then: it comes with an empty log dir, as another life.
//!
//! **Invariant:** nobody founds a site while it cannot see all who might have been part of it.

use std::collections::BTreeSet;

use bytes::BytesMut;

use crate::broker::site::Site;
use crate::broker::site::applying::READS;
use crate::controller::FEATURE_LEVEL;
use crate::controller::change::{self, Change};
use crate::ids::{LeaderEpoch, NodeId, Offset};
use crate::journal::disk::Disk;
use crate::quorum::{Base, HardState, Members, Persist, Quorum, Snapshot, Start};
use crate::record::{BatchBuilder, Compression, stamp};
use crate::time::Now;
use crate::wire::peer::hello::{CONTROLLER, PeerIdentity, UNNAMED, WITNESS};
use crate::wire::quorum::members::{MemberChange, MemberKind};

/// Epoch of the first batch of a site, which nobody was elected for.
const FIRST_EPOCH: LeaderEpoch = LeaderEpoch(1);

impl<D: Disk> Site<D> {
    /// Takes the next step towards a whole quorum, if one is to be taken.
    pub(super) fn join(&mut self, now: Now) {
        if self.quorum.is_none() || self.is_failed {
            return;
        }
        if !self.has_log || self.is_legacy {
            if self.may_found() {
                self.found(now);
            }
        } else if self.leads() {
            self.take_in(now);
        }
    }

    fn may_found(&self) -> bool {
        let own = self.id.node_id;
        if self.config.roles & UNNAMED != 0 {
            let is_behind = |peer: &PeerIdentity| {
                let is_later = own < peer.voter.node_id || !peer.is(CONTROLLER);
                !peer.has_log && peer.is(UNNAMED) && is_later
            };
            return self.config.roles & CONTROLLER != 0
                && self.sees_all
                && self.peers.values().all(is_behind)
                && self.leadership.leader.is_none();
        }
        let is_blank = |node| self.peers.get(node).is_some_and(|peer| !peer.has_log);
        self.config.roles & CONTROLLER != 0
            && self.config.may_found
            && self.config.voters.iter().filter(|node| **node != own).all(is_blank)
            && self.leadership.leader.is_none()
    }

    /// Makes the beginning of a site durable; the quorum starts when it is.
    fn found(&mut self, now: Now) {
        log::info!("all who are to vote are here, and none has a log: this node founds the site");
        let members = Members::voting([self.id]);
        let vote = Some(self.id);
        self.quorum = None;
        self.storage.found();
        let (base, persist) = if self.is_legacy {
            let last_offset = Offset(self.storage.log().end_offset().0 - 1);
            let epoch = self.storage.log().leader_epoch().max(FIRST_EPOCH);
            let image = change::encode(&self.controller.image().as_changes()).into();
            let snapshot = Snapshot { last_offset, epoch, members, image };
            let hard_state = Some(HardState { epoch, vote, high_watermark: Offset::ZERO });
            let persist = Persist {
                number: 1,
                hard_state,
                snapshot: Some(snapshot.clone()),
                begins_anew: true,
                batches: Vec::new(),
            };
            (Base::Snapshot(snapshot), persist)
        } else {
            let cluster =
                Change::Cluster { cluster_id: self.cluster_id, feature_level: FEATURE_LEVEL };
            let mut builder = BatchBuilder::new();
            builder.push(
                now.wall,
                None,
                Some(&change::encode(std::slice::from_ref(&cluster))),
                &[],
            );
            let mut batch = BytesMut::from(&builder.finish(Compression::None)[..]);
            stamp(&mut batch, Offset::ZERO, FIRST_EPOCH);
            let epoch = FIRST_EPOCH;
            let hard_state = Some(HardState { epoch, vote, high_watermark: Offset(1) });
            self.replay_changes(vec![cluster], Offset(1));
            let persist = Persist {
                number: 1,
                hard_state,
                snapshot: None,
                begins_anew: false,
                batches: vec![batch.freeze()],
            };
            (Base::Bootstrap { epoch, members }, persist)
        };
        self.founding = Some(base);
        self.storage.persist(now, persist);
    }

    /// The beginning is durable.
    pub(super) fn begin_as_founder(&mut self, now: Now) {
        let Some(base) = self.founding.take() else { return };
        let start = Start {
            id: self.id,
            is_witness: self.is_witness(),
            reads: READS,
            timeouts: self.config.timeouts,
            seed: self.seed,
            hard_state: self.storage.state().hard_state(),
            base,
            batches: Vec::new(),
        };
        let quorum = Quorum::start(now, start).expect("a beginning is sound");
        (self.has_log, self.is_legacy) = (true, false);
        self.quorum = Some(quorum);
        let peers: Vec<_> = self.peers.values().map(|peer| peer.voter).collect();
        self.drain(now);
        for peer in peers {
            self.step(now, crate::quorum::Input::Introduce(peer));
        }
    }

    fn take_in(&mut self, now: Now) {
        let Some(quorum) = &self.quorum else { return };
        let members = quorum.members();
        let is_wanted = |id: NodeId| {
            let voters: BTreeSet<NodeId> = members.voters().map(|voter| voter.node_id).collect();
            let reserved = self.config.voters.union(&voters).count();
            self.config.voters.contains(&id) || reserved < self.config.voters_max
        };
        let mut next = None;
        for peer in self.peers.values() {
            let id = peer.voter;
            if self.is_let_go(now, id.node_id) || self.has_departed(id) {
                continue;
            }
            let lives = members.to_list().into_iter().map(|one| one.id);
            let old = lives.filter(|one| one.node_id == id.node_id).find(|one| *one != id);
            let may_vote = peer.is(CONTROLLER) || peer.is(WITNESS);
            let votes = may_vote && is_wanted(id.node_id) && !self.is_departing(now, id.node_id);
            next = match (old, members.kind(id)) {
                (Some(old), _) => Some(MemberChange::Remove(old)),
                (None, None) => Some(MemberChange::Observe(id)),
                (None, Some(MemberKind::Observer)) if votes => {
                    Some(MemberChange::Promote { id, is_witness: peer.is(WITNESS) })
                }
                (None, Some(_)) => None,
            };
            if next.is_some() {
                break;
            }
        }
        let Some(change) = next else { return };
        let quorum = self.quorum.as_mut().expect("just looked at");
        if quorum.change_members(now, change).is_ok() {
            log::info!("members of the metadata quorum change: {change:?}");
        }
        self.drain(now);
    }
}

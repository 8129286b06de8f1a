//! A topic whose acks do not wait for storage (`acks.durable=false`; design.md §6, reliability.md R8).
//!
//! What it promises: nothing that was acknowledged is lost, twice or out of order, unless everybody who is
//! in sync stops uncleanly before it is flushed. The site cannot tell a process that was killed from a
//! board that lost its power: either leaves the in-sync replicas, and the last one leads with what it
//! has. So here the power takes what was not flushed only from a board whose copies all others have, and
//! then nothing else goes wrong before that one is in sync again.

use odradek::controller::change::BrokerState;
use odradek::ids::NodeId;

use super::event::NodeNumber;
use super::world::{Board, World};

impl World {
    /// Whether some copy of such a topic lacks what it had, or may.
    pub fn has_weakened(&self) -> bool {
        self.checkers.copies.has_weakened()
    }

    /// Whether the power may go on a node: what it has is flushed, or safe elsewhere.
    pub fn may_go_dark(&self, node: NodeNumber) -> bool {
        self.checkers.copies.is_flushed(node) || self.may_weaken(node)
    }

    /// Whether a node may lose what it has of such a topic: all others are in sync, are known to the site
    /// as who they are, and none is about to be started anew.
    pub fn may_weaken(&self, node: NodeNumber) -> bool {
        let is_settled = |(number, board): (&NodeNumber, &Board)| {
            board.running.as_ref().is_some_and(|running| {
                let image = running.site.controller().image();
                let is_known = image.broker(NodeId(*number)).is_some_and(|known| {
                    let is_it = u64::from(known.incarnation.0[1]) == running.life.number;
                    is_it && known.state == BrokerState::Active
                });
                is_known && !running.flusher.is_failed && !board.disk.has_failing_syncs()
            })
        };
        self.plan.weak.is_none()
            || (self.is_quiet()
                && self.checkers.copies.damaged.is_empty()
                && self.may_lose(node)
                && self.boards.iter().filter(|(_, board)| !board.has_left).all(is_settled))
    }
}

//! Images on their way: cut into pieces by a leader, put together again by a follower.
//!
//! One piece is under way at a time. A piece that is lost is sent again; a follower that is silent
//! for long is given up, and the consensus crate tries again when it is heard of.
//!
//! **Invariant:** a follower holds one unfinished image at most, and never more of it than came.

use bytes::Bytes;
use std::collections::BTreeMap;

use crate::limits::{QUORUM_IMAGE_BYTES_MAX, QUORUM_PIECE_BYTES_MAX};
use crate::quorum::admit::{self, Refusal};
use crate::quorum::members::Members;
use crate::quorum::message::Body;
use crate::quorum::{Snapshot, entry};
use crate::time::Boot;
use crate::wire::quorum::members::Member;
use crate::wire::quorum::{LogPlace, VoterId};

/// When a piece is sent again.
const RESEND_MS: u64 = 500;

/// When a follower is given up that confirms nothing.
const GIVE_UP_MS: u64 = 10_000;

/// A leader's side.
#[derive(Debug, Default)]
pub(super) struct Outgoing {
    transfers: BTreeMap<VoterId, Transfer>,
}

#[derive(Debug)]
struct Transfer {
    snapshot: Snapshot,
    /// Confirmed by the follower.
    position: usize,
    resend_at: Boot,
    give_up_at: Boot,
}

impl Transfer {
    fn body(&self) -> Body {
        let image = &self.snapshot.image;
        let end = image.len().min(self.position + QUORUM_PIECE_BYTES_MAX);
        Body::SnapshotRequest {
            last: self.snapshot.place(),
            members: self.snapshot.members.to_list(),
            image_bytes: image.len() as u64,
            position: self.position as u64,
            piece: image.slice(self.position..end),
        }
    }
}

impl Outgoing {
    /// Begins to send; answers the first piece.
    pub(super) fn begin(&mut self, to: VoterId, snapshot: Snapshot, now: Boot) -> Body {
        let (resend_at, give_up_at) = (now.plus_ms(RESEND_MS), now.plus_ms(GIVE_UP_MS));
        let transfer = Transfer { snapshot, position: 0, resend_at, give_up_at };
        let body = transfer.body();
        self.transfers.insert(to, transfer);
        body
    }

    /// A follower says how much it has. Answers the next piece, or that it has all.
    pub(super) fn confirmed(
        &mut self,
        from: VoterId,
        last: LogPlace,
        received_bytes: u64,
        now: Boot,
    ) -> Confirmed {
        let transfer = self.transfers.get_mut(&from);
        let Some(transfer) = transfer.filter(|transfer| transfer.snapshot.place() == last) else {
            return Confirmed::Nothing;
        };
        let image_bytes = transfer.snapshot.image.len() as u64;
        if image_bytes <= received_bytes {
            self.transfers.remove(&from);
            return Confirmed::All;
        }
        // An answer that comes late or twice says what is known already; a follower that started
        // anew has nothing and says so.
        if 0 < received_bytes && received_bytes <= transfer.position as u64 {
            return Confirmed::Nothing;
        }
        transfer.position = received_bytes as usize;
        transfer.resend_at = now.plus_ms(RESEND_MS);
        transfer.give_up_at = now.plus_ms(GIVE_UP_MS);
        Confirmed::Next(transfer.body())
    }

    /// Pieces to send again, and followers to give up.
    pub(super) fn due(&mut self, now: Boot) -> (Vec<(VoterId, Body)>, Vec<VoterId>) {
        let mut pieces = Vec::new();
        let is_over = |transfer: &Transfer| transfer.give_up_at <= now;
        let given_up: Vec<VoterId> =
            self.transfers.iter().filter(|(_, one)| is_over(one)).map(|(&to, _)| to).collect();
        self.transfers.retain(|_, transfer| !is_over(transfer));
        for (&to, transfer) in &mut self.transfers {
            if transfer.resend_at <= now {
                transfer.resend_at = now.plus_ms(RESEND_MS);
                pieces.push((to, transfer.body()));
            }
        }
        (pieces, given_up)
    }

    /// The leadership is over.
    pub(super) fn clear(&mut self) {
        self.transfers.clear();
    }
}

/// What an answer of a follower leads to.
pub(super) enum Confirmed {
    /// Nothing.
    Nothing,
    /// Another piece.
    Next(Body),
    /// The end.
    All,
}

/// A follower's side.
#[derive(Debug, Default)]
pub(super) struct Incoming {
    unfinished: Option<Unfinished>,
    /// The last that was refused once it was whole: who sent it, and where it ends.
    refused: Option<(VoterId, LogPlace)>,
}

#[derive(Debug)]
struct Unfinished {
    from: VoterId,
    last: LogPlace,
    image_bytes: u64,
    image: Vec<u8>,
}

/// A piece as it comes.
pub(super) struct Piece<'a> {
    pub last: LogPlace,
    pub members: &'a [Member],
    pub image_bytes: u64,
    pub position: u64,
    pub bytes: &'a Bytes,
}

impl Piece<'_> {
    /// Whether such a piece can be; answers who belongs to the quorum by it.
    pub(super) fn check(&self, epoch: u64, this: VoterId) -> Result<Members, Refusal> {
        admit::check_place(self.last)?;
        if self.last.epoch == 0 || epoch < self.last.epoch {
            return Err(Refusal::Epoch);
        }
        if self.last.offset == 0 {
            return Err(Refusal::Offset);
        }
        let most = QUORUM_IMAGE_BYTES_MAX as u64;
        if most < self.image_bytes {
            return Err(Refusal::ImageTooLarge);
        }
        let bytes = self.bytes.len() as u64;
        let end = self.position.checked_add(bytes).filter(|end| *end <= self.image_bytes);
        let is_empty = self.bytes.is_empty() && 0 < self.image_bytes;
        if end.is_none() || is_empty || QUORUM_PIECE_BYTES_MAX < self.bytes.len() {
            return Err(Refusal::ImagePiece);
        }
        let members = Members::from_list(self.members);
        members.filter(|all| all.kind(this).is_some()).ok_or(Refusal::ImageMembers)
    }
}

impl Incoming {
    /// What came whole is no image.
    pub(super) fn refuse(&mut self, from: VoterId, last: LogPlace) {
        self.refused = Some((from, last));
    }

    /// Whether a piece belongs to what was refused so.
    pub(super) fn is_refused(&self, from: VoterId, last: LogPlace) -> bool {
        self.refused == Some((from, last))
    }

    /// Takes a piece that was checked. Answers how much is here now, and the snapshot once that is
    /// all of it.
    pub(super) fn take(
        &mut self,
        from: VoterId,
        piece: &Piece<'_>,
        members: Members,
    ) -> (u64, Option<Snapshot>) {
        let is_same = |one: &Unfinished| {
            one.from == from && one.last == piece.last && one.image_bytes == piece.image_bytes
        };
        if !self.unfinished.as_ref().is_some_and(is_same) {
            let (last, image_bytes) = (piece.last, piece.image_bytes);
            self.unfinished = Some(Unfinished { from, last, image_bytes, image: Vec::new() });
        }
        let unfinished = self.unfinished.as_mut().expect("just made sure of");
        if unfinished.image.len() as u64 == piece.position {
            unfinished.image.extend_from_slice(piece.bytes);
        }
        let received_bytes = unfinished.image.len() as u64;
        if received_bytes < unfinished.image_bytes {
            return (received_bytes, None);
        }
        let done = self.unfinished.take().expect("just looked at");
        let snapshot = Snapshot {
            last_offset: entry::offset_of(done.last.offset),
            epoch: entry::epoch_of(done.last.epoch),
            members,
            image: done.image.into(),
        };
        (received_bytes, Some(snapshot))
    }
}

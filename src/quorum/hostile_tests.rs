//! Peers that lie: whatever they say, the node refuses it or goes on; it never stops.

use bytes::Bytes;

use crate::ids::{LeaderEpoch, NodeId, Offset};
use crate::quorum::message::Body;
use crate::quorum::{
    Base, HardState, Input, Members, Message, Output, Quorum, Reads, Refusal, Role, Start,
    Timeouts, VoterId, entry,
};
use crate::time::{Boot, Now, Timestamp};
use crate::wire::quorum::members::{Member, MemberChange, MemberKind};
use crate::wire::quorum::{Envelope, LogPlace};

/// Anything can be read here.
const READS: Reads = Reads { changes: |_| true, image: |_| true };

const fn id(node: i32) -> VoterId {
    VoterId { node_id: NodeId(node), incarnation: 1 }
}

/// Somebody would vote for it, or does.
fn yes(is_pre_vote: bool) -> Body {
    Body::VoteResponse { is_pre_vote, is_granted: true, committed: LogPlace::default() }
}

/// A voter of three with a few batches.
struct Victim {
    quorum: Quorum,
    now: Now,
    persisted: u64,
    random: u64,
}

impl Victim {
    fn new(seed: u64) -> Victim {
        let now = Now { boot: Boot(1_000_000), wall: Timestamp(5), wall_trusted: true };
        let epoch = LeaderEpoch(2);
        let batch = |offset| entry::changes_batch(Timestamp(5), b"value", Offset(offset), epoch);
        let start = Start {
            id: id(1),
            is_witness: seed % 5 == 0,
            reads: READS,
            timeouts: Timeouts::default(),
            seed,
            hard_state: HardState { epoch, vote: None, high_watermark: Offset(2) },
            base: Base::Bootstrap {
                epoch: LeaderEpoch(1),
                members: Members::voting([id(1), id(2), id(3)]),
            },
            batches: (1..4).map(batch).collect(),
        };
        let quorum = Quorum::start(now, start).expect("a sound log");
        let mut victim = Victim { quorum, now, persisted: 0, random: seed };
        victim.poll();
        victim
    }

    fn random(&mut self, end: u64) -> u64 {
        self.random = self.random.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.random;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (z ^ (z >> 31)) % end
    }

    fn pick(&mut self, of: &[u64]) -> u64 {
        of[self.random(of.len() as u64) as usize]
    }

    fn poll(&mut self) -> Option<Refusal> {
        let mut refusal = None;
        let mut is_image_wanted = false;
        while let Some(output) = self.quorum.poll() {
            match output {
                Output::Persist(persist) => self.persisted = persist.number,
                Output::Refused(_, why) => refusal = Some(why),
                Output::WantImage => is_image_wanted = true,
                _ => {}
            }
        }
        self.quorum.invariants();
        if is_image_wanted {
            self.step(Input::Image(Bytes::from_static(b"image")));
        }
        refusal
    }

    /// A peer says what is no lie, and the disk keeps up.
    fn tell(&mut self, from: i32, epoch: u64, body: Body) {
        let envelope = Envelope { from: id(from), to: id(1), epoch };
        assert_eq!(self.step(Input::Message(Message { envelope, body })), None);
        self.step(Input::Persisted(self.persisted));
    }

    /// Hears nothing until it asks whether it should lead.
    fn campaign(&mut self) {
        while self.quorum.leadership().role != Role::PreCandidate {
            self.now.boot = self.now.boot.plus_ms(50);
            self.step(Input::Time);
        }
        self.step(Input::Persisted(self.persisted));
    }

    fn step(&mut self, input: Input) -> Option<Refusal> {
        self.quorum.step(self.now, input);
        self.poll()
    }

    fn epoch(&mut self) -> u64 {
        let here = self.quorum.leadership().epoch.0 as u64;
        let far = [0, 1, i32::MAX as u64, 1 << 31, u64::MAX];
        match self.random(20) {
            0 => self.pick(&far),
            1..4 => here + 1,
            4 => here.saturating_sub(1),
            _ => here,
        }
    }

    fn offset(&mut self) -> u64 {
        let end = self.quorum.log_end_offset().0 as u64;
        let committed = self.quorum.high_watermark().0 as u64;
        let last = end.saturating_sub(1);
        let far = [0, 1 << 62, (1 << 62) + 1, u64::MAX, i64::MAX as u64];
        match self.random(12) {
            0 => self.pick(&far),
            1 => end,
            2 => end + 1,
            3 => committed,
            4 => committed.saturating_sub(1),
            5 => self.random(end + 1),
            _ => last,
        }
    }

    fn place(&mut self) -> LogPlace {
        let offset = self.offset();
        let epoch = match self.random(3) {
            0 => self.random(4),
            1 => 2,
            _ => self.epoch(),
        };
        LogPlace { offset, epoch }
    }

    fn batches(&mut self, previous: LogPlace, epoch: u64) -> Vec<Bytes> {
        let mut batches = Vec::new();
        for step in 0..self.random(4) {
            let offset = Offset(previous.offset.saturating_add(1 + step) as i64);
            let epoch = LeaderEpoch(epoch as i32);
            let at = Timestamp(5);
            batches.push(match self.random(10) {
                0 => Bytes::from_static(b"noise"),
                1 => entry::members_batch(at, self.change(), offset, epoch),
                2 => entry::changes_batch(at, b"v", offset, LeaderEpoch(self.random(4) as i32)),
                _ => entry::changes_batch(at, b"v", offset, epoch),
            });
        }
        batches
    }

    fn change(&mut self) -> MemberChange {
        let who = id(self.random(6) as i32 - 1);
        match self.random(3) {
            0 => MemberChange::Observe(who),
            1 => MemberChange::Promote { id: who, is_witness: false },
            _ => MemberChange::Remove(who),
        }
    }

    fn lie(&mut self) -> Message {
        let from = id(self.random(4) as i32 + 1);
        let epoch = self.epoch();
        let (flag, other) = (self.random(2) == 0, self.random(8) == 0);
        let (last, committed) = (self.place(), self.place());
        let body = match self.random(10) {
            0 => Body::VoteRequest { is_pre_vote: flag, is_handed_over: other, last, committed },
            1 | 2 => Body::VoteResponse { is_pre_vote: flag, is_granted: !other, committed },
            3 | 4 => Body::AppendRequest {
                previous: last,
                committed_offset: committed.offset,
                batches: self.batches(last, epoch),
            },
            5 => Body::AppendResponse {
                is_appended: flag,
                offset: last.offset,
                hint: committed,
                committed_offset: self.offset(),
            },
            6 => Body::HeartbeatRequest { committed_offset: committed.offset },
            7 => Body::HeartbeatResponse { committed_offset: committed.offset },
            8 => {
                let image_bytes = self.pick(&[0, 5, 5, 9, 1 << 40]);
                let position = self.pick(&[0, 0, 0, 4, u64::MAX]);
                let kind = if other { MemberKind::Observer } else { MemberKind::Voter };
                let members =
                    (1..4).map(|node| Member { id: id(node), kind }).collect::<Vec<Member>>();
                let piece = Bytes::from_static(b"piece");
                Body::SnapshotRequest { last, members, image_bytes, position, piece }
            }
            _ if flag => Body::CampaignNow,
            _ => Body::SnapshotResponse { last, received_bytes: committed.offset },
        };
        Message { envelope: Envelope { from, to: id(1), epoch }, body }
    }
}

#[test]
fn no_lie_stops_a_node() {
    let (mut refused, mut taken, mut led) = (0, 0, 0);
    for seed in 0..300 {
        let mut victim = Victim::new(seed);
        for _ in 0..200 {
            match victim.random(10) {
                0 => {
                    let ms = victim.random(300);
                    victim.now.boot = victim.now.boot.plus_ms(ms);
                    victim.step(Input::Time);
                }
                1 | 2 => {
                    let number = victim.persisted;
                    victim.step(Input::Persisted(number));
                }
                3 => {
                    let (now, change) = (victim.now, victim.change());
                    let _ = victim.quorum.propose(now, b"changes");
                    victim.poll();
                    let _ = victim.quorum.change_members(now, change);
                    victim.poll();
                }
                _ => {
                    let lie = victim.lie();
                    match victim.step(Input::Message(lie)) {
                        Some(_) => refused += 1,
                        None => taken += 1,
                    }
                }
            }
            led += usize::from(victim.quorum.leadership().role == Role::Leader);
        }
    }
    // Lies that are all refused, or all believed, or told to followers only, would show little.
    assert!(5000 <= refused, "{refused} refused");
    assert!(5000 <= taken, "{taken} taken");
    assert!(1000 <= led, "{led} steps as a leader");
}

#[test]
fn a_leader_that_inherited_its_own_removal_steps_down() {
    // The batch that removes it was an earlier leader's; it is committed with this one's first. The
    // crate goes on leading without a place among its peers, and stops the process at the next ack.
    let mut victim = Victim::new(1);
    let previous = LogPlace { offset: 3, epoch: 2 };
    let removal =
        entry::members_batch(Timestamp(5), MemberChange::Remove(id(1)), Offset(4), LeaderEpoch(2));
    let batches = vec![removal];
    victim.tell(2, 2, Body::AppendRequest { previous, committed_offset: 3, batches });
    victim.campaign();
    victim.tell(2, 3, yes(true));
    victim.tell(2, 3, yes(false));
    assert_eq!(victim.quorum.leadership().role, Role::Leader);
    let ack = |offset| Body::AppendResponse {
        is_appended: true,
        offset,
        hint: LogPlace::default(),
        committed_offset: 3,
    };
    victim.tell(2, 3, ack(5));
    assert_eq!(victim.quorum.leadership().role, Role::Follower);
    assert!(!victim.quorum.members().is_voter(id(1)));
    victim.tell(3, 3, ack(5));
    assert_eq!(victim.quorum.leadership().role, Role::Follower);
}

#[test]
fn a_node_without_a_log_does_not_vote() {
    let now = Now { boot: Boot(1_000_000), wall: Timestamp(5), wall_trusted: true };
    let start = Start {
        id: id(1),
        is_witness: false,
        reads: READS,
        timeouts: Timeouts::default(),
        seed: 1,
        hard_state: HardState::default(),
        base: Base::Nothing,
        batches: Vec::new(),
    };
    let quorum = Quorum::start(now, start).expect("nothing is sound");
    let mut victim = Victim { quorum, now, persisted: 0, random: 1 };
    victim.poll();
    assert_eq!(victim.quorum.log_end_offset(), Offset(0));
    victim.step(Input::Introduce(id(2)));
    let last = LogPlace { offset: 9, epoch: 9 };
    for is_pre_vote in [true, false] {
        let body = Body::VoteRequest { is_pre_vote, is_handed_over: false, last, committed: last };
        let envelope = Envelope { from: id(2), to: id(1), epoch: 10 };
        let refusal = victim.step(Input::Message(Message { envelope, body }));
        assert_eq!(refusal, Some(Refusal::NoLog));
    }
    assert_eq!(victim.quorum.leadership().epoch, LeaderEpoch(0));
}

/// A voter was asked in epoch 2, and its answer came when there was a leader in epoch 3 that all but this
/// node heard. The crate counted it, and this node unseated that leader.
#[test]
fn q4_a_late_answer_to_what_was_asked_in_an_earlier_epoch_is_none_now() {
    let mut victim = Victim::new(1);
    victim.campaign();
    victim.tell(3, 3, Body::HeartbeatRequest { committed_offset: 2 });
    victim.campaign();
    victim.tell(2, 3, yes(true));
    let leadership = victim.quorum.leadership();
    assert_eq!((leadership.role, leadership.epoch), (Role::PreCandidate, LeaderEpoch(3)));
    victim.tell(2, 4, yes(true));
    let leadership = victim.quorum.leadership();
    assert_eq!((leadership.role, leadership.epoch), (Role::Candidate, LeaderEpoch(4)));
}

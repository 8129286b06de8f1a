//! A voter of the metadata quorum among peers that say anything.

use bytes::Bytes;
use odradek::broker::site::Said;
use odradek::ids::{LeaderEpoch, NodeId, Offset};
use odradek::limits::FRAME_PREFIX_BYTES;
use odradek::quorum::{
    Base, HardState, Input, Members, Message, Output, Quorum, Reads, Start, Timeouts, VoterId,
};
use odradek::time::{Boot, Now, Timestamp};

use crate::note::note;
use crate::wire_examples;
use crate::{Target, take};

/// Time passes.
const TIME: u8 = 0;

/// The disk has everything.
const PERSISTED: u8 = 1;

/// Steps of one execution.
const STEPS_MAX: usize = 64;

/// The frames of a peer, in the midst of time and syncs.
pub fn all() -> Vec<Target> {
    let frames = wire_examples::all().into_iter();
    let frames: Vec<Vec<u8>> = frames
        .filter(|example| example.name.starts_with("quorum "))
        .map(|example| example.frame[FRAME_PREFIX_BYTES..].to_vec())
        .collect();
    let mut seeds: Vec<Vec<u8>> = frames.iter().map(|frame| script(&[frame])).collect();
    let every: Vec<&Vec<u8>> = frames.iter().collect();
    seeds.push(script(&every));
    let passed = wire_examples::all().into_iter();
    let mut said: Vec<Vec<u8>> = passed
        .filter(|example| example.name.starts_with("peer "))
        .map(|example| example.frame[FRAME_PREFIX_BYTES..].to_vec())
        .collect();
    said.extend(frames);
    vec![Target::new("quorum/peer", seeds, peer), Target::new("quorum/link", said, link)]
}

/// A frame of a link is refused, or is read as it is written.
fn link(bytes: &[u8]) {
    match Said::decode(&Bytes::copy_from_slice(bytes)) {
        Ok(said) => {
            let frame = Bytes::from(said.encode());
            assert_eq!(Said::decode(&frame.slice(FRAME_PREFIX_BYTES..)), Ok(said));
        }
        Err(why) => note(&why),
    }
}

fn script(frames: &[&Vec<u8>]) -> Vec<u8> {
    let mut script = Vec::new();
    for frame in frames {
        script.extend([frame.len() as u8 + 2]);
        script.extend_from_slice(frame);
        script.extend([PERSISTED, TIME, 20]);
    }
    script
}

/// The one that the examples are sent to, among others.
fn voter() -> Quorum {
    let id = |node, incarnation| VoterId { node_id: NodeId(node), incarnation };
    let members = Members::voting([id(1, 300), id(2, 1), id(3, 1)]);
    let epoch = LeaderEpoch(4);
    let start = Start {
        id: id(2, 1),
        is_witness: false,
        reads: Reads { changes: |_| true, image: |_| true },
        timeouts: Timeouts::default(),
        seed: 7,
        hard_state: HardState { epoch, vote: None, high_watermark: Offset(1) },
        base: Base::Bootstrap { epoch, members },
        batches: Vec::new(),
    };
    Quorum::start(now(0), start).expect("a sound log")
}

fn now(ms: u64) -> Now {
    Now { boot: Boot(1_000_000).plus_ms(ms), wall: Timestamp(5), wall_trusted: true }
}

fn peer(mut bytes: &[u8]) {
    let mut quorum = voter();
    let (mut ms, mut persisted) = (0, 0);
    for _ in 0..STEPS_MAX {
        while let Some(output) = quorum.poll() {
            match output {
                Output::Persist(persist) => persisted = persist.number,
                Output::Refused(_, why) => note(&why),
                Output::Send(message) => {
                    let frame = Bytes::from(message.encode());
                    let again = Message::decode(&frame.slice(FRAME_PREFIX_BYTES..));
                    assert_eq!(again, Ok(message), "it reads what it wrote");
                }
                Output::Leadership(leadership) => note(&leadership.role),
                _ => {}
            }
        }
        quorum.invariants();
        if bytes.is_empty() {
            return;
        }
        let [step] = take(&mut bytes);
        let input = match step {
            TIME => {
                let [ticks] = take(&mut bytes);
                ms += u64::from(ticks) * 50;
                Input::Time
            }
            PERSISTED => Input::Persisted(persisted),
            length => {
                let (frame, rest) = bytes.split_at(bytes.len().min(usize::from(length) - 2));
                bytes = rest;
                match Message::decode(&Bytes::copy_from_slice(frame)) {
                    Ok(message) => Input::Message(message),
                    Err(why) => {
                        note(&why);
                        continue;
                    }
                }
            }
        };
        quorum.step(now(ms), input);
    }
}

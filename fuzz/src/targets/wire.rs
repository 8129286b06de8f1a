//! The postcard wire: headers, and every message that has an example.

use odradek::limits::FRAME_PREFIX_BYTES;
use odradek::wire::{ApiKey, RequestHeader, ResponseHeader, frame};

use crate::note::note;
use crate::wire_examples::{self, Example};
use crate::{Target, take};

/// The frame's own parts, and a target for each message.
pub fn all() -> Vec<Target> {
    let mut targets = vec![
        Target::new("wire/frame", frames(), frame),
        Target::new("wire/records", vec![lengths(&[2, 0, 1], b"abc")], records),
    ];
    targets.extend(wire_examples::all().into_iter().map(message));
    targets
}

fn frames() -> Vec<Vec<u8>> {
    wire_examples::all().into_iter().map(|example| example.frame).collect()
}

/// What a connection does with the first bytes of anything.
fn frame(bytes: &[u8]) {
    let Some((prefix, rest)) = bytes.split_first_chunk::<FRAME_PREFIX_BYTES>() else { return };
    let length = frame::frame_bytes(*prefix, 1 << 20);
    assert!(length.is_none_or(|length| (1..=1 << 20).contains(&length)));
    note(&length.is_some());
    if let Ok((header, body)) = frame::take::<RequestHeader>(rest) {
        note(&ApiKey::from_number(header.api_key));
        assert!(body.len() <= rest.len());
    }
    note(&frame::take::<ResponseHeader>(rest).is_ok());
}

fn lengths(lengths: &[u32], raw: &[u8]) -> Vec<u8> {
    let mut seed = vec![lengths.len() as u8];
    seed.extend(lengths.iter().flat_map(|length| length.to_be_bytes()));
    seed.extend_from_slice(raw);
    seed
}

/// The record batches behind a body, by the lengths that it names.
fn records(mut bytes: &[u8]) {
    let [count] = take(&mut bytes);
    let lengths: Vec<u32> = (0..count % 16).map(|_| u32::from_be_bytes(take(&mut bytes))).collect();
    let split = frame::split_records(lengths.iter().copied(), bytes);
    note(&split.is_ok());
    if let Ok(pieces) = split {
        assert_eq!(pieces.concat(), bytes);
        assert_eq!(pieces.len(), lengths.len());
    }
}

fn message(example: Example) -> Target {
    let Example { name, frame, again } = example;
    let seed = frame[FRAME_PREFIX_BYTES..].to_vec();
    Target::new(format!("wire/{}", name.replace(' ', "-")), vec![seed], move |bytes| {
        let again = |bytes: &[u8]| {
            // SAFETY: the examples borrow for ever because a function pointer can name no shorter
            // life for what it decodes; nothing of that leaves the function, whose answer is owned.
            again(unsafe { std::slice::from_raw_parts(bytes.as_ptr(), bytes.len()) })
        };
        match again(bytes) {
            Err(error) => note(&error),
            Ok(frame) => {
                let encoded = &frame[FRAME_PREFIX_BYTES..];
                // A varint may come longer than it need be; ours never are.
                assert!(encoded.len() <= bytes.len(), "it grew");
                let (shorter, same) = (encoded.len() < bytes.len(), encoded == bytes);
                note(&("decoded", shorter, same));
                assert_eq!(again(encoded).as_deref(), Ok(&*frame), "it reads what it wrote");
            }
        }
    })
}

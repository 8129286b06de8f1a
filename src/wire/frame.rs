//! Frames: a length, a postcard header, a postcard body, then record batches as raw bytes.
//!
//! ```text
//! request                                     response
//! 0  u32 big endian   bytes that follow       0  u32 big endian   bytes that follow
//! 4  u8               api key                 4  varint u32       correlation id
//!    u8               version of the api         varint u32       throttle hint, ms
//!    varint u32       correlation id             ...              body (postcard)
//!    ...              body (postcard)            ...              record batches, raw
//!    ...              record batches, raw
//! ```
//!
//! **Invariant:** the length is checked against a limit before a byte of the frame is kept, and
//! every count in it against its limit and the bytes that remain before anything is allocated.

use alloc::vec::Vec;
use core::fmt;

use serde::de::{Deserialize, Deserializer, Error as _, SeqAccess, Visitor};
use serde::{Deserialize as DeserializeDerive, Serialize};

use crate::limits::FRAME_PREFIX_BYTES;

/// First part of every request.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, DeserializeDerive)]
pub struct RequestHeader {
    /// Which request this is; see [`crate::wire::ApiKey`].
    pub api_key: u8,
    /// Version of that request's body.
    pub api_version: u8,
    /// Chosen by the client, repeated in the response.
    pub correlation_id: u32,
}

/// First part of every response.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, DeserializeDerive)]
pub struct ResponseHeader {
    /// That of the request.
    pub correlation_id: u32,
    /// How long the client should wait before its next request, in ms.
    pub throttle_time_ms: u32,
}

/// Why bytes are not a frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FrameError {
    /// The header or body does not decode: too short, a count beyond its limit, bad text.
    Malformed,
    /// Bytes are left over after the body.
    Trailing,
    /// The lengths of the record batches do not add up to the bytes that follow the body.
    Records,
}

impl fmt::Display for FrameError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Malformed => "the frame does not decode",
            Self::Trailing => "bytes are left over after the body",
            Self::Records => "record lengths do not add up to the bytes that follow",
        })
    }
}

impl core::error::Error for FrameError {}

/// Length in a frame's prefix, if it is positive and at most `max`.
pub fn frame_bytes(prefix: [u8; FRAME_PREFIX_BYTES], max: usize) -> Option<usize> {
    let bytes = u32::from_be_bytes(prefix);
    (1 <= bytes && u64::from(bytes) <= max as u64).then_some(bytes as usize)
}

/// Decodes `T` from the front of `bytes`; answers what is left too.
pub fn take<'a, T: Deserialize<'a>>(bytes: &'a [u8]) -> Result<(T, &'a [u8]), FrameError> {
    postcard::take_from_bytes(bytes).map_err(|_| FrameError::Malformed)
}

/// Decodes `T` from all of `bytes`.
pub fn decode<'a, T: Deserialize<'a>>(bytes: &'a [u8]) -> Result<T, FrameError> {
    match take(bytes)? {
        (value, []) => Ok(value),
        _ => Err(FrameError::Trailing),
    }
}

/// Builds a frame in `out` (which is cleared): prefix, `header`, `body`. The prefix counts
/// `raw_bytes` more, which the caller sends after it.
pub fn encode<H: Serialize, B: Serialize>(
    header: &H,
    body: &B,
    raw_bytes: usize,
    out: &mut Vec<u8>,
) {
    out.clear();
    out.extend_from_slice(&[0; FRAME_PREFIX_BYTES]);
    let encoded = postcard::to_extend(header, core::mem::take(out))
        .and_then(|out| postcard::to_extend(body, out))
        .expect("writing to a Vec cannot fail, and our types have known lengths");
    *out = encoded;
    let bytes = out.len() - FRAME_PREFIX_BYTES + raw_bytes;
    let bytes = u32::try_from(bytes).expect("frames are bounded far below 4 GiB");
    let prefix = out.first_chunk_mut().expect("the prefix was the first thing written");
    *prefix = bytes.to_be_bytes();
}

/// A body by itself, as it stands in a frame.
pub fn encode_body<B: Serialize>(body: &B) -> Vec<u8> {
    postcard::to_allocvec(body).expect("writing to a Vec cannot fail")
}

/// Deserializes a list of at most `MAX` elements, reserving nothing on the word of its count.
pub fn list<'de, const MAX: usize, T, D>(deserializer: D) -> Result<Vec<T>, D::Error>
where
    T: Deserialize<'de>,
    D: Deserializer<'de>,
{
    struct Bounded<T, const MAX: usize>(core::marker::PhantomData<T>);

    impl<'de, T: Deserialize<'de>, const MAX: usize> Visitor<'de> for Bounded<T, MAX> {
        type Value = Vec<T>;

        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            write!(f, "a list of at most {MAX} elements")
        }

        fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Vec<T>, A::Error> {
            if seq.size_hint().is_some_and(|count| MAX < count) {
                return Err(A::Error::custom("too many elements"));
            }
            let mut elements = Vec::new();
            while let Some(element) = seq.next_element()? {
                elements.push(element);
            }
            Ok(elements)
        }
    }

    deserializer.deserialize_seq(Bounded::<T, MAX>(core::marker::PhantomData))
}

/// As [`list`], for a list that may be absent.
pub fn optional_list<'de, const MAX: usize, T, D>(
    deserializer: D,
) -> Result<Option<Vec<T>>, D::Error>
where
    T: Deserialize<'de>,
    D: Deserializer<'de>,
{
    struct Maybe<T, const MAX: usize>(core::marker::PhantomData<T>);

    impl<'de, T: Deserialize<'de>, const MAX: usize> Visitor<'de> for Maybe<T, MAX> {
        type Value = Option<Vec<T>>;

        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            write!(f, "nothing, or a list of at most {MAX} elements")
        }

        fn visit_none<E>(self) -> Result<Self::Value, E> {
            Ok(None)
        }

        fn visit_some<D: Deserializer<'de>>(self, d: D) -> Result<Self::Value, D::Error> {
            list::<MAX, T, D>(d).map(Some)
        }
    }

    deserializer.deserialize_option(Maybe::<T, MAX>(core::marker::PhantomData))
}

/// Cuts `raw` into the pieces whose lengths a body names; all of it must be used.
pub fn split_records(
    lengths: impl Iterator<Item = u32>,
    mut raw: &[u8],
) -> Result<Vec<&[u8]>, FrameError> {
    let mut pieces = Vec::new();
    for bytes in lengths {
        let (piece, rest) = raw.split_at_checked(bytes as usize).ok_or(FrameError::Records)?;
        pieces.push(piece);
        raw = rest;
    }
    if raw.is_empty() { Ok(pieces) } else { Err(FrameError::Records) }
}

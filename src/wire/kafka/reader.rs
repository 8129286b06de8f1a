//! Reads the primitive types of Kafka's protocol from a frame, within bounds.
//!
//! ```text
//! type              classic versions                  flexible versions
//! string            i16 length, UTF-8; -1 null        varint length + 1, UTF-8; 0 null
//! bytes, records    i32 length; -1 null               varint length + 1; 0 null
//! array             i32 count; -1 null                varint count + 1; 0 null
//! structure or null i8: -1 null, otherwise it follows
//! end of structure  nothing                           varint count, then per tagged field
//!                                                     varint tag, varint bytes, the value
//! ```
//!
//! Varints here are unsigned: 7 bits a byte, low bits first.
//!
//! **Invariant:** a count is compared with the bytes that are left, each element at its smallest,
//! and with the memory that is left, before a vector is reserved. One message therefore reserves at
//! most [`limits::KAFKA_DECODED_BYTES_ALWAYS`] and [`limits::KAFKA_DECODED_RATIO_MAX`] times the
//! bytes it came in, and [`limits::KAFKA_DECODED_BYTES_MAX`] in any case.

use alloc::vec::Vec;

use super::error::{Expected, KafkaError, Place};
use super::field::{Field, STRING_BYTES_MAX};
use crate::limits;
use crate::wire::kafka::ApiKey;

/// The tagged fields at the end of one structure, on their way.
pub(super) struct Tags<'a> {
    left: u32,
    previous: Option<u32>,
    behind: &'a [u8],
}

/// A message on its way from bytes to values.
pub struct Reader<'a> {
    bytes: &'a [u8],
    version: i16,
    is_flexible: bool,
    memory_left: usize,
    place: &'static Place,
}

impl<'a> Reader<'a> {
    /// Reads a message of this version from the start of `bytes`.
    pub(super) fn new(bytes: &'a [u8], version: i16, is_flexible: bool) -> Reader<'a> {
        let ratio = bytes.len().saturating_mul(limits::KAFKA_DECODED_RATIO_MAX);
        Reader {
            bytes,
            version,
            is_flexible,
            memory_left: ratio
                .saturating_add(limits::KAFKA_DECODED_BYTES_ALWAYS)
                .min(limits::KAFKA_DECODED_BYTES_MAX),
            place: &Place { structure: "message", field: "first" },
        }
    }

    /// Says what is read next, for the error if it fails.
    #[inline]
    pub(super) fn enter(&mut self, place: &'static Place) {
        self.place = place;
    }

    /// The error for what was entered last.
    #[cold]
    pub(super) fn error(&self, api: Option<ApiKey>, expected: Expected) -> KafkaError {
        KafkaError::Malformed { api, place: self.place, expected }
    }

    #[inline]
    pub(super) fn version(&self) -> i16 {
        self.version
    }

    #[inline]
    pub(super) fn is_flexible(&self) -> bool {
        self.is_flexible
    }

    /// What was not read.
    pub(super) fn rest(&self) -> &'a [u8] {
        self.bytes
    }

    /// The next `N` bytes.
    #[inline]
    pub(super) fn array<const N: usize>(&mut self) -> Result<[u8; N], Expected> {
        let (taken, rest) = self.bytes.split_first_chunk().ok_or(Expected::MoreBytes)?;
        self.bytes = rest;
        Ok(*taken)
    }

    #[inline]
    pub(super) fn take(&mut self, count: usize) -> Result<&'a [u8], Expected> {
        let (taken, rest) = self.bytes.split_at_checked(count).ok_or(Expected::MoreBytes)?;
        self.bytes = rest;
        Ok(taken)
    }

    /// An unsigned varint of at most 32 bits.
    #[inline]
    pub(super) fn varint(&mut self) -> Result<u32, Expected> {
        let [first] = self.array()?;
        if first & 0x80 == 0 {
            return Ok(u32::from(first));
        }
        self.long_varint(first)
    }

    fn long_varint(&mut self, first: u8) -> Result<u32, Expected> {
        let mut value = u32::from(first & 0x7f);
        for shift in [7, 14, 21, 28] {
            let [byte] = self.array()?;
            // The fifth byte holds the last four bits, and no sixth may follow.
            if shift == 28 && 0x0f < byte {
                return Err(Expected::Varint);
            }
            value |= u32::from(byte & 0x7f) << shift;
            if byte & 0x80 == 0 {
                return Ok(value);
            }
        }
        Err(Expected::Varint)
    }

    /// A length or count of 32 bits, as this version writes it; `None` is null.
    #[inline]
    pub(super) fn length(&mut self) -> Result<Option<usize>, Expected> {
        if self.is_flexible {
            return compact(self.varint()?);
        }
        classic(i32::from_be_bytes(self.array()?))
    }

    /// The length of a string, as this version writes it; `None` is null.
    #[inline]
    pub(super) fn string_length(&mut self) -> Result<Option<usize>, Expected> {
        if !self.is_flexible {
            return classic(i32::from(i16::from_be_bytes(self.array()?)));
        }
        match compact(self.varint()?)? {
            Some(length) if STRING_BYTES_MAX < length => Err(Expected::Length),
            length => Ok(length),
        }
    }

    /// Text of `length` bytes.
    pub(super) fn text(&mut self, length: usize) -> Result<&'a str, Expected> {
        core::str::from_utf8(self.take(length)?).map_err(|_| Expected::Utf8)
    }

    /// `count` elements, after the bounds have been checked.
    pub(super) fn elements<T: Field<'a>>(&mut self, count: usize) -> Result<Vec<T>, Expected> {
        let bytes_min = count.saturating_mul(T::bytes_min(self.version, self.is_flexible));
        if self.bytes.len() < bytes_min {
            return Err(Expected::MoreBytes);
        }
        if count == 0 {
            return Ok(Vec::new());
        }
        let memory = count.saturating_mul(size_of::<T>()).max(limits::KAFKA_DECODED_VECTOR_BYTES);
        self.memory_left = self.memory_left.checked_sub(memory).ok_or(Expected::FewerElements)?;
        let mut elements = Vec::with_capacity(count);
        for _ in 0..count {
            elements.push(T::read(self)?);
        }
        Ok(elements)
    }

    /// The count of tagged fields, where a structure of a flexible version ends.
    #[inline]
    pub(super) fn tags(&mut self) -> Result<Tags<'a>, Expected> {
        self.enter(&Place { structure: "tagged", field: "count" });
        let left = self.varint()?;
        if limits::KAFKA_TAGGED_FIELDS_MAX < left {
            return Err(Expected::FewerTags);
        }
        Ok(Tags { left, previous: None, behind: &[] })
    }

    /// Narrows the reader to the value of the next tagged field; [`Reader::end_tag`] or
    /// [`Reader::skip_tag`] must follow.
    #[inline]
    pub(super) fn next_tag(&mut self, tags: &mut Tags<'a>) -> Result<Option<u32>, Expected> {
        let Some(left) = tags.left.checked_sub(1) else { return Ok(None) };
        tags.left = left;
        self.enter(&Place { structure: "tagged", field: "tag" });
        let tag = self.varint()?;
        if tags.previous.is_some_and(|previous| tag <= previous) {
            return Err(Expected::AscendingTags);
        }
        tags.previous = Some(tag);
        self.enter(&Place { structure: "tagged", field: "size" });
        let size = self.varint()? as usize;
        let (value, behind) = self.bytes.split_at_checked(size).ok_or(Expected::MoreBytes)?;
        (self.bytes, tags.behind) = (value, behind);
        Ok(Some(tag))
    }

    /// The value of a tagged field was read, and so must be all of its bytes.
    pub(super) fn end_tag(&mut self, tags: &Tags<'a>) -> Result<(), Expected> {
        if !self.bytes.is_empty() {
            return Err(Expected::End);
        }
        self.bytes = tags.behind;
        Ok(())
    }

    /// A tagged field of a newer peer.
    pub(super) fn skip_tag(&mut self, tags: &Tags<'a>) {
        self.bytes = tags.behind;
    }
}

#[inline]
fn compact(value: u32) -> Result<Option<usize>, Expected> {
    match value.checked_sub(1) {
        None => Ok(None),
        Some(length) if i32::MAX as u32 <= length => Err(Expected::Length),
        Some(length) => Ok(Some(length as usize)),
    }
}

#[inline]
fn classic(value: i32) -> Result<Option<usize>, Expected> {
    if value == -1 {
        return Ok(None);
    }
    usize::try_from(value).map(Some).map_err(|_| Expected::Length)
}

//! Structures that are stored behind their version: Kafka's records about groups, and what
//! consumers tell each other.
//!
//! ```text
//! 0  i16     version
//! 2          the structure of that version
//! ```

use alloc::vec::Vec;

use super::error::{Expected, KafkaError, Place};
use super::field::Field;
use super::reader::Reader;
use super::writer::{Frame, Writer};

/// The version, and what lies behind it.
pub(super) fn split(bytes: &[u8]) -> Result<(i16, &[u8]), KafkaError> {
    let mut head = Reader::new(bytes, 0, false);
    head.enter(&Place { structure: "versioned", field: "version" });
    let version = i16::read(&mut head).map_err(|expected| head.error(None, expected))?;
    Ok((version, head.rest()))
}

/// Reads a structure of this version; what lies behind its last known field is not looked at.
pub(super) fn read<'a, T: Field<'a>>(
    version: i16,
    is_flexible: bool,
    bytes: &'a [u8],
) -> Result<T, KafkaError> {
    let mut reader = Reader::new(bytes, version, is_flexible);
    T::read(&mut reader).map_err(|expected| reader.error(None, expected))
}

/// The error for a version that nobody knows.
pub(super) fn unknown(bytes: &[u8]) -> KafkaError {
    let mut head = Reader::new(bytes, 0, false);
    head.enter(&Place { structure: "versioned", field: "version" });
    head.error(None, Expected::Version)
}

/// Writes a structure behind its version.
pub(super) fn write<'a, T: Field<'a>>(value: &T, version: i16, is_flexible: bool) -> Vec<u8> {
    let mut frame = Frame::new();
    version.write(&mut Writer::new(&mut frame, version, is_flexible));
    value.write(&mut Writer::new(&mut frame, version, is_flexible));
    frame.into_parts().0
}

/// Writes a structure that stands by itself.
pub(super) fn write_bare<'a, T: Field<'a>>(value: &T, version: i16, is_flexible: bool) -> Vec<u8> {
    let mut frame = Frame::new();
    value.write(&mut Writer::new(&mut frame, version, is_flexible));
    frame.into_parts().0
}

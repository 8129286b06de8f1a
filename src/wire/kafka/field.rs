//! The types a field may have, each with both directions.
//!
//! A new type enters here once; the descriptions in the files of the APIs only name it.

use alloc::vec::Vec;

use super::error::Expected;
use super::reader::Reader;
use super::writer::Writer;
use crate::ids::{LeaderEpoch, NodeId, Offset, Partition, TopicId, Uuid};
use crate::wire::ErrorCode;

/// A type with a place in Kafka's messages.
pub trait Field<'a>: Sized {
    /// Fewest bytes that a value takes: what bounds the count of an array.
    fn bytes_min(version: i16, is_flexible: bool) -> usize;

    /// Reads a value; null is refused.
    fn read(reader: &mut Reader<'a>) -> Result<Self, Expected>;

    /// Writes a value.
    fn write(&self, writer: &mut Writer<'_>);
}

/// A type that may be absent, as `Option` of it.
pub trait Nullable<'a>: Field<'a> {
    /// Fewest bytes that a value or null takes.
    fn nullable_bytes_min(version: i16, is_flexible: bool) -> usize {
        Self::bytes_min(version, is_flexible)
    }

    /// Reads a value or null.
    fn read_nullable(reader: &mut Reader<'a>) -> Result<Option<Self>, Expected>;

    /// Writes a value where null would have been legal.
    fn write_some(&self, writer: &mut Writer<'_>) {
        self.write(writer);
    }

    /// Writes null.
    fn write_null(writer: &mut Writer<'_>);

    /// Writes what stands for null in a version without it: the value that says least.
    fn write_empty(writer: &mut Writer<'_>);
}

/// A type of fixed width whose value is a number: its own, or that of a newtype around one.
macro_rules! numbers {
    ($($type:ty: $number:ty, $wrap:expr, $unwrap:expr;)*) => { $(
        impl<'a> Field<'a> for $type {
            #[inline]
            fn bytes_min(_version: i16, _is_flexible: bool) -> usize {
                size_of::<$number>()
            }

            #[inline]
            fn read(reader: &mut Reader<'a>) -> Result<Self, Expected> {
                Ok($wrap(<$number>::from_be_bytes(reader.array()?)))
            }

            #[inline]
            fn write(&self, writer: &mut Writer<'_>) {
                let number: $number = $unwrap(*self);
                writer.put(&number.to_be_bytes());
            }
        }
    )* };
}

numbers! {
    i8: i8, |number| number, |number| number;
    i16: i16, |number| number, |number| number;
    u16: u16, |number| number, |number| number;
    i32: i32, |number| number, |number| number;
    i64: i64, |number| number, |number| number;
    // Kafka's own clients take any byte but 0 for true.
    bool: u8, |number| number != 0, u8::from;
    ErrorCode: i16, ErrorCode, |code: ErrorCode| code.0;
    Partition: i32, Partition, |partition: Partition| partition.0;
    NodeId: i32, NodeId, |node: NodeId| node.0;
    LeaderEpoch: i32, LeaderEpoch, |epoch: LeaderEpoch| epoch.0;
    Offset: i64, Offset, |offset: Offset| offset.0;
    Uuid: u128, |number: u128| Uuid(number.to_be_bytes()), |id: Uuid| u128::from_be_bytes(id.0);
    TopicId: u128, |number: u128| TopicId(Uuid(number.to_be_bytes())),
        |id: TopicId| u128::from_be_bytes(id.0.0);
}

/// Bytes of a string, in all versions.
pub(super) const STRING_BYTES_MAX: usize = i16::MAX as usize;

/// As much of a text as fits.
fn cut(text: &str) -> &str {
    if text.len() <= STRING_BYTES_MAX {
        return text;
    }
    // A character has at most four bytes, so that one of the last places is the end of one.
    let mut ends = (STRING_BYTES_MAX - 3..=STRING_BYTES_MAX).rev();
    ends.find_map(|end| text.get(..end)).unwrap_or_default()
}

impl<'a> Field<'a> for &'a str {
    #[inline]
    fn bytes_min(_version: i16, is_flexible: bool) -> usize {
        if is_flexible { 1 } else { 2 }
    }

    fn read(reader: &mut Reader<'a>) -> Result<Self, Expected> {
        Self::read_nullable(reader)?.ok_or(Expected::NotNull)
    }

    fn write(&self, writer: &mut Writer<'_>) {
        let text = cut(self);
        writer.string_length(Some(text.len()));
        writer.put(text.as_bytes());
    }
}

impl<'a> Nullable<'a> for &'a str {
    fn read_nullable(reader: &mut Reader<'a>) -> Result<Option<Self>, Expected> {
        reader.string_length()?.map(|length| reader.text(length)).transpose()
    }

    fn write_null(writer: &mut Writer<'_>) {
        writer.string_length(None);
    }

    fn write_empty(writer: &mut Writer<'_>) {
        writer.string_length(Some(0));
    }
}

impl<'a> Field<'a> for &'a [u8] {
    #[inline]
    fn bytes_min(_version: i16, is_flexible: bool) -> usize {
        if is_flexible { 1 } else { 4 }
    }

    fn read(reader: &mut Reader<'a>) -> Result<Self, Expected> {
        Self::read_nullable(reader)?.ok_or(Expected::NotNull)
    }

    fn write(&self, writer: &mut Writer<'_>) {
        writer.length(Some(self.len()));
        writer.put(self);
    }
}

impl<'a> Nullable<'a> for &'a [u8] {
    fn read_nullable(reader: &mut Reader<'a>) -> Result<Option<Self>, Expected> {
        reader.length()?.map(|length| reader.take(length)).transpose()
    }

    fn write_null(writer: &mut Writer<'_>) {
        writer.length(None);
    }

    fn write_empty(writer: &mut Writer<'_>) {
        writer.length(Some(0));
    }
}

/// Record batches in a message: never copied on the way in, and on the way out only if they are
/// given as bytes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Records<'a> {
    /// Null: there is no record section.
    #[default]
    Null,
    /// The batches. What is decoded never has another form.
    Bytes(&'a [u8]),
    /// So many bytes of batches, which the caller sends itself when the frame comes to them.
    Gap(u32),
}

impl<'a> Records<'a> {
    /// The batches, if they are here.
    pub const fn bytes(self) -> Option<&'a [u8]> {
        match self {
            Records::Bytes(bytes) => Some(bytes),
            Records::Null | Records::Gap(_) => None,
        }
    }
}

impl<'a> Field<'a> for Records<'a> {
    #[inline]
    fn bytes_min(_version: i16, is_flexible: bool) -> usize {
        if is_flexible { 1 } else { 4 }
    }

    fn read(reader: &mut Reader<'a>) -> Result<Self, Expected> {
        Ok(<&[u8]>::read_nullable(reader)?.map_or(Records::Null, Records::Bytes))
    }

    fn write(&self, writer: &mut Writer<'_>) {
        match self {
            Records::Null => writer.length(None),
            Records::Bytes(bytes) => bytes.write(writer),
            Records::Gap(bytes) => {
                writer.length(Some(*bytes as usize));
                writer.gap(*bytes);
            }
        }
    }
}

impl<'a, T: Field<'a>> Field<'a> for Vec<T> {
    #[inline]
    fn bytes_min(_version: i16, is_flexible: bool) -> usize {
        if is_flexible { 1 } else { 4 }
    }

    fn read(reader: &mut Reader<'a>) -> Result<Self, Expected> {
        Self::read_nullable(reader)?.ok_or(Expected::NotNull)
    }

    fn write(&self, writer: &mut Writer<'_>) {
        writer.length(Some(self.len()));
        for element in self {
            element.write(writer);
        }
    }
}

impl<'a, T: Field<'a>> Nullable<'a> for Vec<T> {
    fn read_nullable(reader: &mut Reader<'a>) -> Result<Option<Self>, Expected> {
        reader.length()?.map(|count| reader.elements(count)).transpose()
    }

    fn write_null(writer: &mut Writer<'_>) {
        writer.length(None);
    }

    fn write_empty(writer: &mut Writer<'_>) {
        writer.length(Some(0));
    }
}

impl<'a, T: Nullable<'a>> Field<'a> for Option<T> {
    #[inline]
    fn bytes_min(version: i16, is_flexible: bool) -> usize {
        T::nullable_bytes_min(version, is_flexible)
    }

    fn read(reader: &mut Reader<'a>) -> Result<Self, Expected> {
        T::read_nullable(reader)
    }

    fn write(&self, writer: &mut Writer<'_>) {
        match self {
            Some(value) => value.write_some(writer),
            None => T::write_null(writer),
        }
    }
}

/// A field that is null in some versions only: in the others an absent value is written empty.
pub(super) fn write_or_empty<'a, T: Nullable<'a>>(
    value: Option<&T>,
    is_nullable: bool,
    writer: &mut Writer<'_>,
) {
    match value {
        Some(value) => value.write_some(writer),
        None if is_nullable => T::write_null(writer),
        None => T::write_empty(writer),
    }
}

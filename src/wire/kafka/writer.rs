//! Writes the primitive types of Kafka's protocol into a frame that may have gaps.
//!
//! A gap is a place where bytes go that are not here: record batches that leave a segment file by
//! `sendfile`. Lengths count them as if they stood there. [`Frame::segments`] answers the bytes and
//! the gaps in the order in which they go to the socket.

use alloc::vec::Vec;

use super::field::Field;
use crate::limits::FRAME_PREFIX_BYTES;

/// Where bytes go that the frame does not hold.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Gap {
    /// The position in [`Frame::bytes`] before which they go.
    pub at: usize,
    /// How many they are, at least one.
    pub bytes: u32,
}

/// A part of a frame, in the order of sending.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Segment<'a> {
    /// These bytes.
    Bytes(&'a [u8]),
    /// So many bytes, of the next [`Records::Gap`](super::Records::Gap) in the message that is not
    /// of 0.
    Gap(u32),
}

/// An encoded frame with its prefix. It is kept and used again, so that encoding allocates nothing
/// once it has grown.
#[derive(Clone, Debug, Default)]
pub struct Frame {
    bytes: Vec<u8>,
    gaps: Vec<Gap>,
}

impl Frame {
    /// An empty frame.
    pub const fn new() -> Frame {
        Frame { bytes: Vec::new(), gaps: Vec::new() }
    }

    /// Whether the frame holds everything itself.
    pub fn is_whole(&self) -> bool {
        self.gaps.is_empty()
    }

    /// All bytes of the frame that are here.
    pub fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// The gaps between them, in order.
    pub fn gaps(&self) -> &[Gap] {
        &self.gaps
    }

    /// The bytes and the gaps, taken out.
    pub fn into_parts(self) -> (Vec<u8>, Vec<Gap>) {
        (self.bytes, self.gaps)
    }

    /// Bytes of the frame with its gaps filled.
    pub fn total_bytes(&self) -> usize {
        self.bytes.len() + self.gaps.iter().map(|gap| gap.bytes as usize).sum::<usize>()
    }

    /// What goes to the socket, in order.
    pub fn segments(&self) -> impl Iterator<Item = Segment<'_>> {
        let mut from = 0;
        let gaps = self.gaps.iter().map(|gap| (gap.at, Some(gap.bytes)));
        gaps.chain([(self.bytes.len(), None)]).flat_map(move |(to, gap)| {
            let bytes = self.bytes.get(from..to).unwrap_or_default();
            from = to;
            let bytes = (!bytes.is_empty()).then_some(Segment::Bytes(bytes));
            bytes.into_iter().chain(gap.map(Segment::Gap))
        })
    }

    /// Forgets everything but the memory, and leaves room for the prefix.
    pub(super) fn begin(&mut self) {
        self.bytes.clear();
        self.gaps.clear();
        self.bytes.extend_from_slice(&[0; FRAME_PREFIX_BYTES]);
    }

    /// Writes the prefix, now that everything else is there.
    pub(super) fn end(&mut self) {
        let bytes = self.total_bytes() - FRAME_PREFIX_BYTES;
        let bytes = i32::try_from(bytes).expect("responses are bounded far below 2 GiB");
        let prefix = self.bytes.first_chunk_mut().expect("the prefix was the first thing written");
        *prefix = bytes.to_be_bytes();
    }
}

/// A message on its way from values to bytes.
pub struct Writer<'w> {
    frame: &'w mut Frame,
    version: i16,
    is_flexible: bool,
}

impl<'w> Writer<'w> {
    pub(super) fn new(frame: &'w mut Frame, version: i16, is_flexible: bool) -> Writer<'w> {
        Writer { frame, version, is_flexible }
    }

    #[inline]
    pub(super) fn version(&self) -> i16 {
        self.version
    }

    #[inline]
    pub(super) fn is_flexible(&self) -> bool {
        self.is_flexible
    }

    #[inline]
    pub(super) fn put(&mut self, bytes: &[u8]) {
        self.frame.bytes.extend_from_slice(bytes);
    }

    /// An unsigned varint.
    #[inline]
    pub(super) fn varint(&mut self, mut value: u32) {
        while 0x7f < value {
            self.frame.bytes.push(value as u8 | 0x80);
            value >>= 7;
        }
        self.frame.bytes.push(value as u8);
    }

    /// A length or count of 32 bits, or null, as this version writes it.
    #[inline]
    pub(super) fn length(&mut self, length: Option<usize>) {
        let length = match length {
            Some(length) => i32::try_from(length).expect("lengths are bounded far below 2 GiB"),
            None => -1,
        };
        if self.is_flexible {
            self.varint((length + 1) as u32);
        } else {
            self.put(&length.to_be_bytes());
        }
    }

    /// The length of a string, or null, as this version writes it.
    #[inline]
    pub(super) fn string_length(&mut self, length: Option<usize>) {
        let length = match length {
            Some(length) => i16::try_from(length).expect("strings are at most 32,767 bytes"),
            None => -1,
        };
        if self.is_flexible {
            self.varint((i32::from(length) + 1) as u32);
        } else {
            self.put(&length.to_be_bytes());
        }
    }

    /// Leaves a gap. It counts in every length around it.
    pub(super) fn gap(&mut self, bytes: u32) {
        if 0 < bytes {
            let at = self.frame.bytes.len();
            self.frame.gaps.push(Gap { at, bytes });
        }
    }

    /// A tagged field: tag, size, value. The size is known once the value is there, so it is
    /// written behind it and turned to the front. No field with records, and so none with a gap,
    /// is tagged.
    pub(super) fn tagged<'a, T: Field<'a>>(&mut self, tag: u32, value: &T) {
        self.varint(tag);
        let start = self.frame.bytes.len();
        value.write(self);
        let end = self.frame.bytes.len();
        self.varint(u32::try_from(end - start).expect("a field is far below 4 GiB"));
        let size_bytes = self.frame.bytes.len() - end;
        self.frame.bytes.get_mut(start..).expect("written above").rotate_right(size_bytes);
    }
}

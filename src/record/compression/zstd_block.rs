//! A compressed block of zstd: literals, then sequences that mix them with copies of what was
//! decoded before (RFC 8878, section 3.1.1.3).
//!
//! **Invariant:** a block adds at most 128 KiB, and never more than the caller's limit allows.

use super::CompressionError;
use super::zstd_entropy::{BackwardBits, Fse, Huffman};

/// No block decodes to more, whatever its window.
pub(super) const BLOCK_BYTES_MAX: usize = 128 << 10;

/// What a block hands to the next one of its frame.
pub(super) struct BlockDecoder {
    huffman: Option<Huffman>,
    literal_lengths: Option<Fse>,
    offsets: Option<Fse>,
    match_lengths: Option<Fse>,
    /// The last three distances that were copied from.
    history: [u32; 3],
    literals: Vec<u8>,
}

impl BlockDecoder {
    /// The state at the start of a frame.
    pub(super) fn new() -> BlockDecoder {
        BlockDecoder {
            huffman: None,
            literal_lengths: None,
            offsets: None,
            match_lengths: None,
            history: [1, 4, 8],
            literals: Vec::new(),
        }
    }

    /// Appends what `block` decodes to. `out` holds the frame so far from `frame_start` on and may
    /// grow to `limit` bytes.
    pub(super) fn decode(
        &mut self,
        mut block: &[u8],
        out: &mut Vec<u8>,
        frame_start: usize,
        limit: usize,
    ) -> Result<(), CompressionError> {
        self.take_literals(&mut block).ok_or(CompressionError::Malformed)?;
        let bounds = Bounds { frame_start, end_max: out.len() + BLOCK_BYTES_MAX, limit };
        let count = take_sequence_count(&mut block).ok_or(CompressionError::Malformed)?;
        let mut literals = std::mem::take(&mut self.literals);
        let rest = if count == 0 && block.is_empty() {
            Ok(literals.as_slice())
        } else {
            self.run(count, block, &literals, out, &bounds)
        };
        let done = rest.and_then(|rest| bounds.check(out.len(), rest.len()).map(|()| rest));
        let done = done.map(|rest| out.extend_from_slice(rest));
        literals.clear();
        self.literals = literals;
        done
    }

    /// Runs the sequences and returns the literals that are left.
    fn run<'l>(
        &mut self,
        count: usize,
        mut block: &[u8],
        mut literals: &'l [u8],
        out: &mut Vec<u8>,
        bounds: &Bounds,
    ) -> Result<&'l [u8], CompressionError> {
        let malformed = CompressionError::Malformed;
        self.take_tables(&mut block).ok_or(malformed)?;
        let tables = (&self.literal_lengths, &self.offsets, &self.match_lengths);
        let (Some(lengths), Some(offsets), Some(matches)) = tables else {
            return Err(malformed);
        };
        let mut bits = BackwardBits::new(block).ok_or(malformed)?;
        let mut stream = Stream::start(lengths, offsets, matches, &mut bits).ok_or(malformed)?;
        for place in 0..count {
            let sequence = stream.sequence(&mut bits).ok_or(malformed)?;
            if place + 1 < count {
                stream.advance(&mut bits).ok_or(malformed)?;
            }
            let (head, tail) =
                literals.split_at_checked(sequence.literal_bytes).ok_or(malformed)?;
            literals = tail;
            bounds.check(out.len(), head.len() + sequence.match_bytes)?;
            out.extend_from_slice(head);
            let is_literal = !head.is_empty();
            let distance = take_distance(&mut self.history, sequence.offset, is_literal);
            let distance = distance.ok_or(malformed)? as usize;
            if out.len() - bounds.frame_start < distance {
                return Err(malformed);
            }
            copy(out, distance, sequence.match_bytes);
        }
        if bits.is_empty() { Ok(literals) } else { Err(malformed) }
    }

    /// Takes the literals section off the front of `block`.
    fn take_literals(&mut self, block: &mut &[u8]) -> Option<()> {
        self.literals.clear();
        let head = *block.first()?;
        let format = (head >> 2) & 3;
        let kind = head & 3;
        if kind < 2 {
            let (header_bytes, shift) =
                [(1, 3), (2, 4), (1, 3), (3, 4)].get(usize::from(format))?;
            let count = take_le(block, *header_bytes)? >> shift;
            let count = usize::try_from(count).ok().filter(|count| *count <= BLOCK_BYTES_MAX)?;
            if kind == 0 {
                self.literals.extend_from_slice(take(block, count)?);
            } else {
                self.literals.resize(count, *take(block, 1)?.first()?);
            }
            return Some(());
        }
        let (header_bytes, width) =
            [(3, 10), (3, 10), (4, 14), (5, 18)].get(usize::from(format))?;
        let sizes = take_le(block, *header_bytes)? >> 4;
        let mask = (1u64 << width) - 1;
        let count = (sizes & mask) as usize;
        let mut packed = take(block, (sizes >> width & mask) as usize)?;
        if BLOCK_BYTES_MAX < count {
            return None;
        }
        if kind == 2 {
            self.huffman = Some(Huffman::take(&mut packed)?);
        }
        let huffman = self.huffman.as_ref()?;
        if format == 0 {
            return huffman.decode(packed, count, &mut self.literals);
        }
        decode_four(huffman, packed, count, &mut self.literals)
    }

    /// Takes the three tables that a block of sequences begins with.
    fn take_tables(&mut self, block: &mut &[u8]) -> Option<()> {
        let modes = *take(block, 1)?.first()?;
        if modes & 3 != 0 {
            return None;
        }
        take_table(block, modes >> 6, &LITERAL_LENGTHS, &mut self.literal_lengths)?;
        take_table(block, modes >> 4 & 3, &OFFSETS, &mut self.offsets)?;
        take_table(block, modes >> 2 & 3, &MATCH_LENGTHS, &mut self.match_lengths)
    }
}

/// How far a block may write.
struct Bounds {
    frame_start: usize,
    end_max: usize,
    limit: usize,
}

impl Bounds {
    fn check(&self, length: usize, more: usize) -> Result<(), CompressionError> {
        if self.end_max < length + more {
            return Err(CompressionError::Malformed);
        }
        if self.limit < length + more {
            return Err(CompressionError::TooLarge);
        }
        Ok(())
    }
}

/// Appends `count` bytes from `distance` before the end, which may overlap what they make.
fn copy(out: &mut Vec<u8>, distance: usize, mut count: usize) {
    let start = out.len() - distance;
    while 0 < count {
        // From the start on, the bytes repeat every `distance`; each turn there are more of them.
        let bytes = count.min(out.len() - start);
        out.extend_from_within(start..start + bytes);
        count -= bytes;
    }
}

/// Four streams, of which the first three are equally long when decoded.
fn decode_four(huffman: &Huffman, packed: &[u8], count: usize, out: &mut Vec<u8>) -> Option<()> {
    let (jumps, mut streams) = packed.split_first_chunk::<6>()?;
    let part = count.div_ceil(4);
    for jump in jumps.chunks_exact(2) {
        let bytes = u16::from_le_bytes(*jump.first_chunk()?);
        huffman.decode(take(&mut streams, usize::from(bytes))?, part, out)?;
    }
    huffman.decode(streams, count.checked_sub(3 * part)?, out)
}

/// What one sequence does: some literals, then a copy.
struct Sequence {
    literal_bytes: usize,
    offset: u32,
    match_bytes: usize,
}

/// The three interleaved codes of a block's sequences.
struct Stream<'t> {
    tables: (&'t Fse, &'t Fse, &'t Fse),
    states: (u32, u32, u32),
}

impl<'t> Stream<'t> {
    fn start(
        lengths: &'t Fse,
        offsets: &'t Fse,
        matches: &'t Fse,
        bits: &mut BackwardBits<'_>,
    ) -> Option<Stream<'t>> {
        let states = (lengths.start(bits)?, offsets.start(bits)?, matches.start(bits)?);
        Some(Stream { tables: (lengths, offsets, matches), states })
    }

    #[inline]
    fn sequence(&self, bits: &mut BackwardBits<'_>) -> Option<Sequence> {
        let offset_bits = u32::from(self.tables.1.symbol(self.states.1)?);
        let (match_base, match_bits) =
            *MATCH_LENGTHS.codes.get(usize::from(self.tables.2.symbol(self.states.2)?))?;
        let (literal_base, literal_bits) =
            *LITERAL_LENGTHS.codes.get(usize::from(self.tables.0.symbol(self.states.0)?))?;
        if 31 < offset_bits {
            return None;
        }
        let offset = (1u32 << offset_bits) + bits.take(offset_bits)?;
        let match_bytes = (match_base + bits.take(match_bits)?) as usize;
        let literal_bytes = (literal_base + bits.take(literal_bits)?) as usize;
        Some(Sequence { literal_bytes, offset, match_bytes })
    }

    #[inline]
    fn advance(&mut self, bits: &mut BackwardBits<'_>) -> Option<()> {
        self.tables.0.advance(&mut self.states.0, bits)?;
        self.tables.2.advance(&mut self.states.2, bits)?;
        self.tables.1.advance(&mut self.states.1, bits)
    }
}

/// The distance that an offset value stands for: 1 to 3 name an earlier one.
fn take_distance(history: &mut [u32; 3], offset: u32, has_literals: bool) -> Option<u32> {
    let [first, second, third] = *history;
    let (distance, is_shift_whole) = match offset - u32::from(has_literals) {
        0 => return Some(first),
        _ if 3 < offset => (offset - 3, true),
        1 => (second, false),
        2 => (third, true),
        _ => (first - 1, true),
    };
    *history = [distance, first, if is_shift_whole { second } else { third }];
    (distance != 0).then_some(distance)
}

/// How one of the three codes of sequences is described.
struct Code {
    /// Value of a symbol, and how many bits follow to be added to it.
    codes: &'static [(u32, u32)],
    symbol_max: u8,
    log_max: u32,
    default_counts: &'static [i16],
    default_log: u32,
}

fn take_table(block: &mut &[u8], mode: u8, code: &Code, table: &mut Option<Fse>) -> Option<()> {
    *table = match mode {
        0 => Fse::of_counts(code.default_counts, code.default_log),
        1 => {
            let symbol = *take(block, 1)?.first()?;
            (symbol <= code.symbol_max).then(|| Fse::constant(symbol))
        }
        2 => Fse::take(block, code.symbol_max, code.log_max),
        _ => table.take(),
    };
    table.as_ref().map(|_| ())
}

fn take_sequence_count(block: &mut &[u8]) -> Option<usize> {
    let head = usize::from(*take(block, 1)?.first()?);
    if head < 128 {
        return Some(head);
    }
    if head < 255 {
        return Some(((head - 128) << 8) + take_le(block, 1)? as usize);
    }
    Some(take_le(block, 2)? as usize + 0x7f00)
}

/// Takes the first `count` bytes.
pub(super) fn take<'a>(bytes: &mut &'a [u8], count: usize) -> Option<&'a [u8]> {
    let (taken, rest) = bytes.split_at_checked(count)?;
    *bytes = rest;
    Some(taken)
}

/// Takes a little-endian number of `count <= 8` bytes.
pub(super) fn take_le(bytes: &mut &[u8], count: usize) -> Option<u64> {
    let taken = take(bytes, count)?;
    Some(taken.iter().rev().fold(0, |value, byte| value << 8 | u64::from(*byte)))
}

/// RFC 8878, table 16 and section 3.1.1.3.2.2.1.
const LITERAL_LENGTHS: Code = Code {
    codes: &[
        (0, 0),
        (1, 0),
        (2, 0),
        (3, 0),
        (4, 0),
        (5, 0),
        (6, 0),
        (7, 0),
        (8, 0),
        (9, 0),
        (10, 0),
        (11, 0),
        (12, 0),
        (13, 0),
        (14, 0),
        (15, 0),
        (16, 1),
        (18, 1),
        (20, 1),
        (22, 1),
        (24, 2),
        (28, 2),
        (32, 3),
        (40, 3),
        (48, 4),
        (64, 6),
        (128, 7),
        (256, 8),
        (512, 9),
        (1024, 10),
        (2048, 11),
        (4096, 12),
        (8192, 13),
        (16384, 14),
        (32768, 15),
        (65536, 16),
    ],
    symbol_max: 35,
    log_max: 9,
    default_counts: &[
        4, 3, 2, 2, 2, 2, 2, 2, 2, 2, 2, 2, 2, 1, 1, 1, 2, 2, 2, 2, 2, 2, 2, 2, 2, 3, 2, 1, 1, 1,
        1, 1, -1, -1, -1, -1,
    ],
    default_log: 6,
};

/// RFC 8878, section 3.1.1.3.2.2.2: an offset's symbol is the number of its bits.
const OFFSETS: Code = Code {
    codes: &[],
    symbol_max: 31,
    log_max: 8,
    default_counts: &[
        1, 1, 1, 1, 1, 1, 2, 2, 2, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, -1, -1, -1, -1, -1,
    ],
    default_log: 5,
};

/// RFC 8878, table 17 and section 3.1.1.3.2.2.3.
const MATCH_LENGTHS: Code = Code {
    codes: &[
        (3, 0),
        (4, 0),
        (5, 0),
        (6, 0),
        (7, 0),
        (8, 0),
        (9, 0),
        (10, 0),
        (11, 0),
        (12, 0),
        (13, 0),
        (14, 0),
        (15, 0),
        (16, 0),
        (17, 0),
        (18, 0),
        (19, 0),
        (20, 0),
        (21, 0),
        (22, 0),
        (23, 0),
        (24, 0),
        (25, 0),
        (26, 0),
        (27, 0),
        (28, 0),
        (29, 0),
        (30, 0),
        (31, 0),
        (32, 0),
        (33, 0),
        (34, 0),
        (35, 1),
        (37, 1),
        (39, 1),
        (41, 1),
        (43, 2),
        (47, 2),
        (51, 3),
        (59, 3),
        (67, 4),
        (83, 4),
        (99, 5),
        (131, 7),
        (259, 8),
        (515, 9),
        (1027, 10),
        (2051, 11),
        (4099, 12),
        (8195, 13),
        (16387, 14),
        (32771, 15),
        (65539, 16),
    ],
    symbol_max: 52,
    log_max: 9,
    default_counts: &[
        1, 4, 3, 2, 2, 2, 2, 2, 2, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1,
        1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, -1, -1, -1, -1, -1, -1, -1,
    ],
    default_log: 6,
};

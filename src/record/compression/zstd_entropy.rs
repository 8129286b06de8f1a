//! The entropy coding of zstd: bit readers, FSE tables and Huffman tables (RFC 8878, section 4).
//!
//! **Invariant:** a table has a power of two of entries and every state it leads to lies inside
//! it, so that a decoder never looks beyond; hostile descriptions end in `None`.

/// Reads bits from the front, lowest first: descriptions of FSE tables.
struct ForwardBits<'a> {
    bytes: &'a [u8],
    position: usize,
}

impl ForwardBits<'_> {
    /// The next `count <= 16` bits, without taking them; beyond the end they are 0.
    fn peek(&self, count: u32) -> u32 {
        let start = self.position / 8;
        let window = (0..4).fold(0, |window, place| {
            let byte = self.bytes.get(start + place).copied().unwrap_or(0);
            window | u32::from(byte) << (8 * place)
        });
        (window >> (self.position % 8)) & ((1 << count) - 1)
    }

    fn take(&mut self, count: u32) -> Option<u32> {
        let value = self.peek(count);
        self.position += count as usize;
        (self.position <= self.bytes.len() * 8).then_some(value)
    }
}

/// Reads bits from the back, highest first: FSE and Huffman streams.
pub(super) struct BackwardBits<'a> {
    bytes: &'a [u8],
    remaining: usize,
}

impl<'a> BackwardBits<'a> {
    /// The highest set bit of the last byte marks the end and is not part of the stream.
    pub(super) fn new(bytes: &'a [u8]) -> Option<BackwardBits<'a>> {
        let padding = bytes.last()?.leading_zeros() as usize + 1;
        (padding <= 8).then(|| BackwardBits { bytes, remaining: bytes.len() * 8 - padding })
    }

    /// The next `count <= 32` bits, without taking them; before the start they are 0.
    #[inline]
    fn peek(&self, count: u32) -> u32 {
        let mask = (1u64 << count) - 1;
        let Some(start) = self.remaining.checked_sub(count as usize) else {
            let missing = count as usize - self.remaining;
            let have = self.window(0) & ((1u64 << self.remaining) - 1);
            return (have << missing) as u32;
        };
        ((self.window(start / 8) >> (start % 8)) & mask) as u32
    }

    /// Eight bytes from `at`; beyond the end they are 0.
    #[inline]
    fn window(&self, at: usize) -> u64 {
        let bytes = self.bytes.get(at..).unwrap_or_default();
        if let Some(eight) = bytes.first_chunk() {
            return u64::from_le_bytes(*eight);
        }
        bytes.iter().rev().fold(0, |window, byte| window << 8 | u64::from(*byte))
    }

    #[inline]
    fn skip(&mut self, count: u32) -> Option<()> {
        self.remaining = self.remaining.checked_sub(count as usize)?;
        Some(())
    }

    /// Takes `count <= 32` bits.
    #[inline]
    pub(super) fn take(&mut self, count: u32) -> Option<u32> {
        let value = self.peek(count);
        self.skip(count).map(|()| value)
    }

    pub(super) fn is_empty(&self) -> bool {
        self.remaining == 0
    }
}

#[derive(Clone, Copy, Default)]
struct FseEntry {
    symbol: u8,
    bits: u8,
    base: u16,
}

/// A table of an FSE code.
pub(super) struct Fse {
    entries: Vec<FseEntry>,
    log: u32,
}

impl Fse {
    /// The table that always gives `symbol` and takes no bits.
    pub(super) fn constant(symbol: u8) -> Fse {
        Fse { entries: vec![FseEntry { symbol, bits: 0, base: 0 }], log: 0 }
    }

    /// Takes a description off the front of `bytes`.
    pub(super) fn take(bytes: &mut &[u8], symbol_max: u8, log_max: u32) -> Option<Fse> {
        let mut bits = ForwardBits { bytes, position: 0 };
        let log = bits.take(4)? + 5;
        if log_max < log {
            return None;
        }
        let mut counts = Vec::with_capacity(usize::from(symbol_max) + 1);
        let mut remaining = 1i32 << log;
        while 0 < remaining {
            let count = take_count(&mut bits, remaining)?;
            remaining -= i32::from(count.abs());
            counts.push(count);
            if count == 0 {
                take_zeros(&mut bits, &mut counts, symbol_max)?;
            }
            if usize::from(symbol_max) + 1 < counts.len() {
                return None;
            }
        }
        let used = bits.position.div_ceil(8);
        *bytes = bytes.get(used..)?;
        if remaining == 0 { Fse::of_counts(&counts, log) } else { None }
    }

    /// The table in which symbol `n` has `counts[n]` of `1 << log` states; −1 stands for less
    /// than one. The counts add up to the table.
    pub(super) fn of_counts(counts: &[i16], log: u32) -> Option<Fse> {
        let size = 1usize << log;
        let mut entries = vec![FseEntry::default(); size];
        let mut high = size;
        for (symbol, &count) in counts.iter().enumerate() {
            if count == -1 {
                high = high.checked_sub(1)?;
                entries.get_mut(high)?.symbol = symbol as u8;
            }
        }
        let step = (size >> 1) + (size >> 3) + 3;
        let mut position = 0;
        for (symbol, &count) in counts.iter().enumerate() {
            for _ in 0..count.max(0) {
                entries.get_mut(position)?.symbol = symbol as u8;
                position = (position + step) & (size - 1);
                while high <= position {
                    position = (position + step) & (size - 1);
                }
            }
        }
        if position != 0 {
            return None;
        }
        let mut next: Vec<u32> =
            counts.iter().map(|count| u32::from(count.unsigned_abs())).collect();
        for entry in &mut entries {
            let state = next.get_mut(usize::from(entry.symbol))?;
            let bits = log.checked_sub(state.checked_ilog2()?)?;
            entry.bits = bits as u8;
            entry.base = ((*state << bits) as usize).checked_sub(size)? as u16;
            *state += 1;
        }
        Some(Fse { entries, log })
    }

    /// The state that a stream starts with.
    pub(super) fn start(&self, bits: &mut BackwardBits<'_>) -> Option<u32> {
        bits.take(self.log)
    }

    #[inline]
    pub(super) fn symbol(&self, state: u32) -> Option<u8> {
        self.entries.get(state as usize).map(|entry| entry.symbol)
    }

    /// Moves to the next state, or `None` when the stream is used up.
    #[inline]
    pub(super) fn advance(&self, state: &mut u32, bits: &mut BackwardBits<'_>) -> Option<()> {
        let entry = self.entries.get(*state as usize)?;
        *state = u32::from(entry.base) + bits.take(u32::from(entry.bits))?;
        Some(())
    }
}

/// One count of a description, of which `remaining` states are still to be given away. Small
/// values take a bit less.
fn take_count(bits: &mut ForwardBits<'_>, remaining: i32) -> Option<i16> {
    let range = remaining as u32 + 1;
    let width = range.ilog2() + 1;
    let low_mask = (1 << (width - 1)) - 1;
    let threshold = (1 << width) - 1 - range;
    let peeked = bits.peek(width);
    let value = if (peeked & low_mask) < threshold {
        bits.take(width - 1)?;
        peeked & low_mask
    } else {
        bits.take(width)?;
        if low_mask < peeked { peeked - threshold } else { peeked }
    };
    Some(value as i16 - 1)
}

/// After a count of 0, two bits at a time say how many more zeros follow.
fn take_zeros(bits: &mut ForwardBits<'_>, counts: &mut Vec<i16>, symbol_max: u8) -> Option<()> {
    loop {
        let repeat = bits.take(2)?;
        counts.resize(counts.len() + repeat as usize, 0);
        if usize::from(symbol_max) + 1 < counts.len() {
            return None;
        }
        if repeat < 3 {
            return Some(());
        }
    }
}

/// No Huffman code is longer (RFC 8878, 4.2.1).
const HUFFMAN_BITS_MAX: u32 = 11;

/// A table of a Huffman code: what the next `log` bits begin with.
pub(super) struct Huffman {
    /// Symbol, and the bits of its code.
    entries: Vec<(u8, u8)>,
    log: u32,
}

impl Huffman {
    /// Takes a description off the front of `bytes`.
    pub(super) fn take(bytes: &mut &[u8]) -> Option<Huffman> {
        let (&head, rest) = bytes.split_first()?;
        let head = usize::from(head);
        if head < 128 {
            let (packed, rest) = rest.split_at_checked(head)?;
            *bytes = rest;
            return Huffman::of_weights(unpack_weights(packed)?);
        }
        let count = head - 127;
        let (packed, rest) = rest.split_at_checked(count.div_ceil(2))?;
        *bytes = rest;
        let mut weights: Vec<u8> = packed.iter().flat_map(|byte| [byte >> 4, byte & 15]).collect();
        weights.truncate(count);
        Huffman::of_weights(weights)
    }

    /// The weight of the last symbol is not given: it makes the code complete.
    fn of_weights(mut weights: Vec<u8>) -> Option<Huffman> {
        if weights.iter().any(|&weight| HUFFMAN_BITS_MAX < u32::from(weight)) {
            return None;
        }
        let total: u32 = weights.iter().map(|&weight| (1 << weight) >> 1).sum();
        let log = total.checked_ilog2()? + 1;
        let left = (1u32 << log) - total;
        if HUFFMAN_BITS_MAX < log || !left.is_power_of_two() {
            return None;
        }
        weights.push(left.ilog2() as u8 + 1);
        // Light symbols have long codes, and those come first.
        let mut entries = Vec::with_capacity(1 << log);
        for weight in 1..=log as u8 {
            for (symbol, _) in weights.iter().enumerate().filter(|(_, w)| **w == weight) {
                let entry = (symbol as u8, (log + 1) as u8 - weight);
                entries.resize(entries.len() + (1 << (weight - 1)), entry);
            }
        }
        (entries.len() == 1 << log && weights.len() <= 256).then_some(Huffman { entries, log })
    }

    /// Appends the `count` symbols of a stream, which holds nothing else.
    pub(super) fn decode(&self, stream: &[u8], count: usize, out: &mut Vec<u8>) -> Option<()> {
        let mut bits = BackwardBits::new(stream)?;
        for _ in 0..count {
            let (symbol, width) = *self.entries.get(bits.peek(self.log) as usize)?;
            bits.skip(u32::from(width))?;
            out.push(symbol);
        }
        bits.is_empty().then_some(())
    }
}

/// Weights are packed by an FSE code, two states in turn.
fn unpack_weights(mut packed: &[u8]) -> Option<Vec<u8>> {
    let table = Fse::take(&mut packed, u8::MAX, 6)?;
    let mut bits = BackwardBits::new(packed)?;
    let mut state = table.start(&mut bits)?;
    let mut other = table.start(&mut bits)?;
    let mut weights = Vec::new();
    while weights.len() < 255 {
        weights.push(table.symbol(state)?);
        if table.advance(&mut state, &mut bits).is_none() {
            weights.push(table.symbol(other)?);
            return Some(weights);
        }
        core::mem::swap(&mut state, &mut other);
    }
    None
}

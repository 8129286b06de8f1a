//! The mutator: a seed and a corpus in, bytes out. The same seed gives the same bytes.

/// Longest input that is made.
pub const INPUT_BYTES_MAX: usize = 16 << 10;

/// Values at which decoders turn: the ends of every width, and what counts are compared with.
const INTERESTING: [i64; 20] = [
    0,
    1,
    -1,
    -2,
    16,
    61,
    64,
    127,
    128,
    255,
    256,
    4096,
    32_767,
    32_768,
    65_535,
    i32::MAX as i64,
    i32::MIN as i64,
    u32::MAX as i64,
    i64::MAX,
    i64::MIN,
];

/// A seeded source of numbers (`SplitMix64`).
#[derive(Clone, Debug)]
pub struct Random(u64);

impl Random {
    /// From a seed and a name, so that each target has numbers of its own.
    pub fn new(seed: u64, name: &str) -> Random {
        let mixed = name.bytes().fold(seed, |state, byte| {
            (state ^ u64::from(byte)).wrapping_mul(0x9e37_79b9_7f4a_7c15).rotate_left(23)
        });
        Random(mixed)
    }

    /// The next number.
    pub fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// A number below `end`.
    pub fn below(&mut self, end: usize) -> usize {
        (self.next() % end.max(1) as u64) as usize
    }

    fn interesting(&mut self) -> i64 {
        INTERESTING[self.below(INTERESTING.len())]
    }
}

/// An input made of one of the corpus.
pub fn mutate(random: &mut Random, corpus: &[Vec<u8>]) -> Vec<u8> {
    let mut bytes = corpus.get(random.below(corpus.len())).cloned().unwrap_or_default();
    // Mostly one or two changes, now and then many.
    let most = 1 << random.below(5);
    let changes = 1 + random.below(most);
    for _ in 0..changes {
        change(random, corpus, &mut bytes);
    }
    bytes.truncate(INPUT_BYTES_MAX);
    bytes
}

fn change(random: &mut Random, corpus: &[Vec<u8>], bytes: &mut Vec<u8>) {
    let at = random.below(bytes.len());
    match random.below(10) {
        0 | 1 => flip(random, bytes, at),
        2 => overwrite(bytes, at, &[random.next() as u8]),
        3 => {
            let number = number(random);
            overwrite(bytes, at, &number);
        }
        4 => {
            let number = number(random);
            splice(bytes, at, 0, &number);
        }
        5 => bytes.truncate(at),
        6 => {
            let count = 1 + random.below(16);
            splice(bytes, at, count, &[]);
        }
        7 => {
            let count = 1 + random.below(32);
            let copied: Vec<u8> = bytes.iter().skip(at).take(count).copied().collect();
            let to = random.below(bytes.len() + 1);
            splice(bytes, to, 0, &copied);
        }
        8 => {
            // A piece of another input.
            let Some(other) = corpus.get(random.below(corpus.len())) else { return };
            let from = random.below(other.len());
            let count = 1 + random.below(other.len() - from);
            let piece: Vec<u8> = other[from..].iter().take(count).copied().collect();
            let goes = random.below(piece.len() + 1);
            splice(bytes, at, goes, &piece);
        }
        _ => {
            let count = 1 + random.below(64);
            let noise: Vec<u8> = (0..count).map(|_| random.next() as u8).collect();
            overwrite(bytes, at, &noise);
        }
    }
}

fn flip(random: &mut Random, bytes: &mut [u8], at: usize) {
    if let Some(byte) = bytes.get_mut(at) {
        *byte ^= 1 << random.below(8);
    }
}

fn overwrite(bytes: &mut Vec<u8>, at: usize, with: &[u8]) {
    splice(bytes, at, with.len(), with);
}

/// Puts `with` in the place of `count` bytes.
fn splice(bytes: &mut Vec<u8>, at: usize, count: usize, with: &[u8]) {
    let end = bytes.len().min(at.saturating_add(count));
    let at = at.min(end);
    bytes.splice(at..end, with.iter().copied());
}

/// A number in one of the ways in which numbers are written.
fn number(random: &mut Random) -> Vec<u8> {
    let value = random.interesting().wrapping_add(random.below(3) as i64 - 1);
    match random.below(8) {
        0 => vec![value as u8],
        1 => (value as i16).to_be_bytes().to_vec(),
        2 => (value as i32).to_be_bytes().to_vec(),
        3 => value.to_be_bytes().to_vec(),
        4 => varint(value as u32 as u64),
        5 => varint(value as u64),
        6 => varint(((value << 1) ^ (value >> 63)) as u64),
        _ => value.to_string().into_bytes(),
    }
}

/// Seven bits a byte, low bits first.
fn varint(mut value: u64) -> Vec<u8> {
    let mut bytes = Vec::new();
    while 0x80 <= value {
        bytes.push(value as u8 | 0x80);
        value >>= 7;
    }
    bytes.push(value as u8);
    bytes
}

/// The smallest input found that still fails: pieces are left out while it does.
pub fn shrink(bytes: &[u8], mut fails: impl FnMut(&[u8]) -> bool) -> Vec<u8> {
    let mut best = bytes.to_vec();
    let mut piece = best.len().next_power_of_two() / 2;
    let mut tries = 0;
    while 0 < piece && tries < 2000 {
        let mut at = 0;
        while at < best.len() && tries < 2000 {
            let mut shorter = best.clone();
            splice(&mut shorter, at, piece, &[]);
            tries += 1;
            if fails(&shorter) { best = shorter } else { at += piece }
        }
        piece /= 2;
    }
    best
}

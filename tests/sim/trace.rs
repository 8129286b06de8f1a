//! What a run did: a hash of all of it, and the last of it in words.

use std::collections::VecDeque;

/// Lines that are kept.
const LINES_MAX: usize = 400;

/// See the module.
pub struct Trace {
    hash: u64,
    lines: VecDeque<String>,
    is_shown: bool,
    /// Now, for the lines.
    pub us: u64,
}

impl Trace {
    /// An empty one; shown as it grows, if somebody asks.
    pub fn new() -> Trace {
        let is_shown = std::env::var_os("ODRADEK_SIM_TRACE").is_some();
        Trace { hash: 0xcbf2_9ce4_8422_2325, lines: VecDeque::new(), is_shown, us: 0 }
    }

    /// Takes a number into the hash.
    pub fn mix(&mut self, value: u64) {
        self.hash = (self.hash ^ value).wrapping_mul(0x0000_0100_0000_01b3).rotate_left(23);
    }

    /// A frame arrived.
    pub fn frame(&mut self, conn: u64, bytes: &[u8]) {
        self.mix(conn);
        self.mix(u64::from(odradek::record::crc::crc32c(bytes)));
    }

    /// Something worth a line.
    pub fn note(&mut self, words: impl FnOnce() -> String) {
        let line = format!("{:>6}.{:06} {}", self.us / 1_000_000, self.us % 1_000_000, words());
        self.mix(u64::from(odradek::record::crc::crc32c(line.as_bytes())));
        if self.is_shown {
            eprintln!("{line}");
        }
        if self.lines.len() == LINES_MAX {
            self.lines.pop_front();
        }
        self.lines.push_back(line);
    }

    /// Of all that happened.
    pub fn hash(&self) -> u64 {
        self.hash
    }

    /// The last of it.
    pub fn text(&self) -> String {
        self.lines.iter().flat_map(|line| [line.as_str(), "\n"]).collect()
    }
}

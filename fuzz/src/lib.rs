//! Fuzzing: one target for each decoder, each a function of bytes that panics when something is
//! wrong.
//!
//! A target holds more than "no panic": what was decoded is encoded and decoded again, limits are
//! compared with what was allocated, what is stored is compared with what is read back. Its seeds
//! are the examples that the tests use.
//!
//! Two ways to run them:
//!
//! ```text
//! cd fuzz
//! cargo run --release                            each target for 3 s, by the seeded mutator
//! cargo run --release -- --seconds 60 --seed 7 kafka/
//! cargo run --release -- --replay kafka/FetchRequest 0c00ff
//! cargo run --release -- --write-seeds corpus/fetch kafka/FetchRequest
//! ODRADEK_FUZZ=kafka/FetchRequest cargo +nightly fuzz run --features libfuzzer any corpus/fetch
//! ```
//!
//! A run is a function of its seed and its number of executions: what is found is printed with
//! both, and with the bytes.

pub mod memory;
pub mod mutate;
pub mod note;
pub mod targets;

#[allow(dead_code, missing_docs, reason = "shared with the tests, which use all of it")]
#[path = "../../tests/support/partition.rs"]
mod partition;
#[allow(dead_code, reason = "shared with the tests, which use all of it")]
#[path = "../../tests/support/sim_disk.rs"]
mod sim_disk;
#[allow(dead_code, reason = "shared with the tests, which use all of it")]
#[path = "../../tests/support/wire_examples.rs"]
mod wire_examples;

/// A decoder to feed.
pub struct Target {
    /// Its name: a floor, a slash, what is decoded.
    pub name: String,
    /// Feeds it; panics when something is wrong.
    pub run: Box<dyn Fn(&[u8]) + Send + Sync>,
    /// Inputs to begin with.
    pub seeds: Vec<Vec<u8>>,
    /// Bytes that one execution may have allocated at a time, whatever its input.
    pub memory_bytes_max: usize,
}

impl Target {
    /// A target with the usual memory.
    pub fn new(
        name: impl Into<String>,
        seeds: Vec<Vec<u8>>,
        run: impl Fn(&[u8]) + Send + Sync + 'static,
    ) -> Target {
        Target { name: name.into(), run: Box::new(run), seeds, memory_bytes_max: 16 << 20 }
    }
}

/// Takes the first `N` bytes of an input, zeros where there are none.
pub fn take<const N: usize>(bytes: &mut &[u8]) -> [u8; N] {
    let (head, rest) = bytes.split_at(bytes.len().min(N));
    *bytes = rest;
    let mut taken = [0; N];
    taken[..head.len()].copy_from_slice(head);
    taken
}

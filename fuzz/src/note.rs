//! What an execution reached, in a target's own words: the stand-in for coverage on stable.
//!
//! A target notes which error it met, in which field, or how far it came. An input that notes what
//! none did before is kept and mutated further.

use std::cell::RefCell;
use std::collections::BTreeSet;
use std::fmt::Debug;

thread_local! {
    static NOTED: RefCell<BTreeSet<u64>> = const { RefCell::new(BTreeSet::new()) };
}

/// Notes something; what prints alike is alike.
pub fn note(fact: &impl Debug) {
    // FNV-1a: the same on every machine and in every release.
    let hash = format!("{fact:?}").bytes().fold(0xcbf2_9ce4_8422_2325, |hash, byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x100_0000_01b3)
    });
    NOTED.with_borrow_mut(|noted| noted.insert(hash));
}

/// Takes what this thread noted since the last call.
pub fn take() -> BTreeSet<u64> {
    NOTED.take()
}

//! Odradek: Kafka's log at the edge.

#![cfg_attr(not(feature = "std"), no_std)]

extern crate alloc;
// Test support is shared with `tests/`, which names this crate from outside.
#[cfg(test)]
extern crate self as odradek;

pub mod ids;
pub mod limits;
pub mod record;
pub mod time;
pub mod topic_config;
pub mod wire;

#[cfg(feature = "std")]
pub mod controller;
#[cfg(feature = "std")]
pub mod journal;
#[cfg(feature = "std")]
pub mod log;

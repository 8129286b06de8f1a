//! Odradek: Kafka's log at the edge.

#![cfg_attr(not(feature = "std"), no_std)]

extern crate alloc;

pub mod ids;
pub mod limits;
pub mod record;
pub mod time;
pub mod topic_config;
pub mod wire;

#[cfg(feature = "std")]
pub mod config;
#[cfg(feature = "std")]
pub mod journal;

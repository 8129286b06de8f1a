//! Odradek: Kafka's log at the edge.

#![cfg_attr(not(feature = "std"), no_std)]

extern crate alloc;
// Unit tests include files of tests/support/, which name the crate as its users do.
#[cfg(test)]
extern crate self as odradek;

pub mod ids;
pub mod limits;
pub mod record;
pub mod time;
pub mod topic_config;
pub mod wire;

#[cfg(feature = "std")]
pub mod broker;
#[cfg(feature = "std")]
pub mod client;
#[cfg(feature = "std")]
pub mod config;
#[cfg(feature = "std")]
pub mod controller;
#[cfg(feature = "std")]
pub mod journal;
#[cfg(feature = "std")]
pub mod log;
#[cfg(feature = "std")]
pub mod runtime;

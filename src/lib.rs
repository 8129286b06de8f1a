//! Odradek: Kafka's log at the edge, in one small binary.
//!
//! A broker for people with a few Raspberry Pis, gateways or laptops on one site, where power goes
//! away without warning, the uplink is thin, the disk is an SD card and nobody repairs anything.
//!
//! # Bird's-eye view
//!
//! ```text
//!            clients (the wire: postcard frames over TCP; Kafka's protocol through a door)
//!                     │
//!  acceptor ──► shard-0  shard-1 …   one thread each: poller, connections, partitions
//!                │   ╲___╱   │        spsc mailboxes, each to each
//!                │           │
//!                ▼           ▼        segments in the page cache (Kafka's files)
//!              flusher (one per log dir): commit journal, ONE write and ONE sync for all partitions
//!                ├──► checkpoint: segments synced off the commit path, half a ring is free again
//!                └──► syncer: large shares synced ahead of their commit, while others commit little
//!  control: topics, ids, configs as records in __cluster_metadata-0      loader: cold bytes
//!  scrubber: sealed segments verified      cleaner: logs compacted, both slowly
//! ```
//!
//! # The life of a produce
//!
//! 1. `runtime::connection` finds a frame's length, reserves its memory in the ledger, reads it.
//! 2. `broker::front` decodes it ([`wire::produce`]), resolves topics in its copy of the metadata,
//!    and sends each batch to the shard that owns its partition, which may be itself.
//! 3. `broker::back` validates the batch ([`record::validate`]); [`log`] looks whether its producer
//!    sent it before (then the first answer is given again), stamps offset and leader epoch into the
//!    same bytes and writes them to the active segment: page cache, no sync. A small batch with
//!    `acks` −1 is written later, with others: the journal will have it by the time it is answered.
//! 4. The bytes go on to the flusher. `acks` 1 is answered now, `acks` −1 is parked.
//! 5. [`journal`] writes one commit for everything that gathered, syncs once, and only then tells
//!    the shards, which raise their durable offsets and so the high watermarks.
//! 6. Whatever was parked below a high watermark is answered, in the order of its connection.
//!
//! # The life of a fetch
//!
//! 1. The front asks each shard concerned; each reads what lies below its high watermarks: an index
//!    look-up and a walk over batch headers gives a slice of a file. Bytes that are not in the page
//!    cache are loaded by the loader first; the shard goes on with others meanwhile.
//! 2. Too little found: the backs watch, and give notice when enough has come; the front asks again.
//!    Time up: it asks a last time and answers with what is there.
//! 3. The response's head is built, small slices are copied behind it, large ones leave by
//!    `sendfile`. The records are not touched between the disk and the socket.
//!
//! # At a site of several boards
//!
//! 1. Every connection between boards begins with a proof of the site's secret (`runtime::site`). Control
//!    threads talk of the metadata log, shards of their partitions, each over links of their own.
//! 2. [`quorum`] agrees on the metadata log: Raft among voters, observers behind them. Its leader's board
//!    is the active [`controller`]: it registers and fences brokers, elects leaders from the in-sync
//!    replicas, and writes each decision as a record.
//! 3. `broker::site` applies committed records on every board and tells the shards which of their
//!    [`replica`]s lead. Followers pull; each fetch says how far their log reaches and how much of it is
//!    on stable storage, and step 6 above waits for the durable ends of all in sync.
//! 4. A board that is lost is noticed by its silence or its refused connections; the others elect, and
//!    clients ask who leads now. A board that comes back cuts its log where the epochs part and follows.
//!
//! # Code map
//!
//! | floor | modules |
//! |---|---|
//! | vocabulary (`no_std`) | [`ids`], [`time`], [`limits`], [`topic_config`], [`group_config`], [`record`], [`wire`] |
//! | core (deterministic) | [`journal`], [`log`], [`replica`], [`controller`], [`group`], [`quorum`], [`broker`] |
//! | doors (translation) | [`kafka`] |
//! | shell (the only I/O) | [`runtime`] |
//! | beside it | [`config`], [`client`], and in the binary `cli` |
//!
//! A lower floor never imports a higher one; `tests/tidy.rs` fails on any other arrow.
//!
//! # Invariants
//!
//! - **Invariant:** an acknowledgement with `acks` −1 leaves after the sync it rests on returned.
//! - **Invariant:** recovery never discards a batch that may have been acknowledged.
//! - **Invariant:** the core has no clock, thread, socket or entropy: time and seeds are arguments,
//!   the disk is a trait ([`journal::disk::Disk`]). There is no `HashMap` in it either. So `tests/sim.rs`
//!   runs a whole site under a seed, and the same seed is the same run.
//! - **Invariant:** a poll thread never waits for a disk; a shard's partitions have no locks.
//! - **Invariant:** nothing from outside is allocated on the word of a count or length; every bound
//!   has a name in [`limits`].
//! - **Invariant:** segments are never mapped, and there is no writable mapping at all.
//! - **Invariant:** the wall clock decides nothing but record timestamps, and retention only while it
//!   is trusted.
//!
//! # Features
//!
//! `std` (default) is the whole broker. Without it the `no_std` vocabulary remains, for devices.

#![cfg_attr(not(feature = "std"), no_std)]

extern crate alloc;
// Unit tests include files of tests/support/, which name the crate as its users do.
#[cfg(test)]
extern crate self as odradek;

pub mod group_config;
pub mod ids;
pub mod limits;
pub mod metrics;
#[doc(hidden)]
pub mod mutant;
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
pub mod group;
#[cfg(feature = "std")]
pub mod journal;
#[cfg(feature = "std")]
pub mod kafka;
#[cfg(feature = "std")]
pub mod log;
#[cfg(feature = "std")]
pub mod quorum;
#[cfg(feature = "std")]
pub mod replica;
#[cfg(feature = "std")]
pub mod runtime;

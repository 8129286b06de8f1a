//! Kafka's own protocol: every message described once, and a bounded codec for both directions.
//!
//! A frame without its length prefix goes through [`RequestHeader::decode`] and
//! [`Request::decode`]; a response is built by [`encode_response`] into a [`Frame`], whose
//! segments go to the socket. One file holds one API and consists of its description; the legend
//! of the descriptions is in `structs.rs`. The drawings of the primitive types are in
//! `reader.rs`, those of the headers in `header.rs`. The authority is the message definitions in
//! Apache Kafka's clients (4.3); `tests/kafka_wire.rs` compares with them, with another codec and
//! with bytes that Kafka's classes wrote.
//!
//! **Invariant:** hostile bytes meet only readers that answer `Err`. What is decoded borrows from
//! the frame; memory is taken for arrays alone, in proportion to the frame.
//!
//! **Invariant:** encoding does not fail. A field that the version lacks is left out, null where
//! the version has none is written empty, and text beyond 32,767 bytes is cut, because answers may
//! quote what a peer sent. Unknown tagged fields are skipped and not kept: a broker does not pass
//! messages on.
//!
//! # Why
//!
//! The description is expanded by a macro into straight code per structure rather than read from a
//! table at run time: the door gets typed structures, a version check costs one comparison, and a
//! produce allocates only its two vectors. A table would need a value of its own for every field,
//! or `unsafe`. A build script or a derive would cost a crate, or a compiler stage, for what thirty
//! lines of description per API do. The macro only repeats; it does not munch tokens, so that it
//! expands in linear time.

#[macro_use]
mod structs;

pub mod alter_configs;
pub mod alter_partition_reassignments;
pub mod api_versions;
pub mod consumer_group_describe;
pub mod consumer_group_heartbeat;
pub mod consumer_group_records;
pub mod consumer_protocol;
pub mod create_partitions;
pub mod create_topics;
pub mod delete_groups;
pub mod delete_records;
pub mod delete_topics;
pub mod describe_cluster;
pub mod describe_configs;
pub mod describe_groups;
pub mod describe_log_dirs;
pub mod describe_producers;
pub mod describe_quorum;
pub mod describe_topic_partitions;
pub mod elect_leaders;
pub mod fetch;
pub mod find_coordinator;
pub mod group_records;
pub mod heartbeat;
pub mod incremental_alter_configs;
pub mod init_producer_id;
pub mod join_group;
pub mod leave_group;
pub mod list_groups;
pub mod list_offsets;
pub mod list_partition_reassignments;
pub mod metadata;
pub mod metadata_records;
pub mod offset_commit;
pub mod offset_delete;
pub mod offset_fetch;
pub mod offset_for_leader_epoch;
pub mod produce;
pub mod sync_group;
pub mod unregister_broker;
pub mod update_features;

mod api;
mod error;
mod field;
mod header;
mod reader;
mod versioned;
mod writer;

pub use api::{ApiKey, Message, Request};
pub use error::{Expected, KafkaError, Place};
pub use field::{Field, Nullable, Records};
pub use header::{RequestHeader, decode_response_header, encode_request, encode_response};
pub use reader::Reader;
pub use writer::{Frame, Gap, Segment, Writer};

//! The client: producer, consumer and admin, as a Kafka user would guess them.
//!
//! A [`Producer`] has a thread that sends (`sender`), a [`Consumer`] one that fetches (`fetcher`)
//! and, with `group.id`, one that speaks with the group's coordinator (`coordinator`). Each of
//! these has a helper for calls that block. The user's own thread runs what the user hooked in:
//! interceptors, serializers, partitioners, and inside `poll` the rebalance listener.
//!
//! # Why
//!
//! Kafka's Java consumer joins its group on the user's thread, inside `poll`. Here a thread does
//! it, and `poll` only gives partitions up and takes them on: a join that takes minutes then
//! delays no poll, and the rules of membership sit in one machine that is tested without a
//! network (`membership`).

mod accumulator;
mod admin;
mod admin_groups;
mod admin_partitions;
mod admin_site;
pub mod assignors;
mod background;
mod cluster;
mod commit;
mod consumer;
mod consumer_config;
mod coordinator;
mod coordinator_offsets;
mod error;
mod exchange;
mod fetcher;
mod group_requests;
mod idempotence;
mod interceptor;
mod link;
mod membership;
mod net;
mod offsets;
mod outcome;
mod partitioner;
mod position;
mod producer;
mod producer_record;
mod sender;
mod serializer;
mod subscription;
mod topics;

pub use admin::{
    Admin, AdminConfig, AlterConfig, ClusterInfo, ConfigValue, CreatedTopicInfo, Each, MetricValue,
    NewTopic, QuorumInfo, QuorumMember, Refusal, Resource,
};
pub use admin_groups::{CommittedOffset, GroupInfo, GroupListing, GroupMember};
pub use admin_partitions::{ElectionKind, PlacedPartition, PlacedTopic};
pub use admin_site::{SiteAnswer, SiteStep};
pub use cluster::{BrokerInfo, PartitionInfo, TopicInfo};
pub use commit::ConsumerGroupMetadata;
pub use consumer::{Consumer, WakeupHandle};
pub use consumer_config::{ConsumerConfig, OffsetReset};
pub use error::ClientError;
pub use exchange::CommitCallback;
pub use interceptor::{ConsumerInterceptor, ProducerInterceptor};
pub use offsets::{OffsetAndMetadata, OffsetAndTimestamp, OffsetSpec, TopicPartition};
pub use outcome::{RecordMetadata, SendHandle};
pub use partitioner::{Partitioner, RoundRobinPartitioner, murmur2, partition_for_key};
pub use position::ConsumerRecord;
pub use producer::{Acks, Producer, ProducerConfig, Trouble};
pub use producer_record::ProducerRecord;
pub use serializer::{
    BooleanDeserializer, BooleanSerializer, ByteArrayDeserializer, ByteArraySerializer,
    Deserializer, DoubleDeserializer, DoubleSerializer, FloatDeserializer, FloatSerializer,
    IntegerDeserializer, IntegerSerializer, LongDeserializer, LongSerializer, SerializationError,
    Serializer, ShortDeserializer, ShortSerializer, StringDeserializer, StringSerializer,
    TypedProducer, UuidDeserializer, UuidSerializer,
};
pub use subscription::RebalanceListener;

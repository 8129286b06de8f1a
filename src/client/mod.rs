//! The client: producer, consumer and admin, as a Kafka user would guess them.

mod accumulator;
mod admin;
mod background;
mod cluster;
mod consumer;
mod error;
mod fetcher;
mod idempotence;
mod link;
mod net;
mod offsets;
mod outcome;
mod partitioner;
mod position;
mod producer;
mod sender;
mod topics;

pub use admin::{
    Admin, AdminConfig, AlterConfig, ClusterInfo, ConfigValue, CreatedTopicInfo, Each, MetricValue,
    NewTopic, Refusal, Resource,
};
pub use cluster::{BrokerInfo, PartitionInfo, TopicInfo};
pub use consumer::{Consumer, ConsumerConfig, OffsetReset};
pub use error::ClientError;
pub use offsets::{OffsetAndTimestamp, OffsetSpec, TopicPartition};
pub use outcome::{RecordMetadata, SendHandle};
pub use partitioner::{murmur2, partition_for_key};
pub use position::ConsumerRecord;
pub use producer::{Acks, Producer, ProducerConfig, ProducerRecord, Trouble};

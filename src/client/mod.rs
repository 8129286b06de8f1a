//! The client: producer, consumer and admin, as a Kafka user would guess them.

mod accumulator;
mod admin;
pub mod assignors;
mod background;
mod cluster;
mod consumer;
mod error;
mod fetcher;
mod idempotence;
mod interceptor;
mod link;
mod net;
mod offsets;
mod outcome;
mod partitioner;
mod position;
mod producer;
mod producer_record;
mod sender;
mod serializer;
mod topics;

pub use admin::{
    Admin, AdminConfig, AlterConfig, ClusterInfo, ConfigValue, CreatedTopicInfo, Each, MetricValue,
    NewTopic, Refusal, Resource,
};
pub use cluster::{BrokerInfo, PartitionInfo, TopicInfo};
pub use consumer::{Consumer, ConsumerConfig, OffsetReset};
pub use error::ClientError;
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

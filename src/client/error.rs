//! What a client may meet, split by who can do something about it.

use std::fmt;
use std::io::{self, ErrorKind};

use crate::client::serializer::SerializationError;
use crate::ids::{Offset, Partition, TopicNameError};
use crate::wire::{ApiKey, ErrorCode, FrameError};

/// Why a call of the client failed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ClientError {
    /// A setting is out of its range, or contradicts another: its name.
    Config(&'static str),
    /// The topic name is not legal.
    Topic(TopicNameError),
    /// A value has no bytes, or bytes are no value of the type that was asked for.
    Serialization(SerializationError),
    /// No broker could be reached.
    Unreachable(ErrorKind),
    /// The connection broke.
    Disconnected(ErrorKind),
    /// The peer does not speak the protocol.
    Protocol(FrameError),
    /// Client and broker share no version of this API.
    Incompatible(ApiKey),
    /// The broker said no.
    Broker(ErrorCode),
    /// The time allowed is over (`max.block.ms`, `delivery.timeout.ms`, `request.timeout.ms`,
    /// `default.api.timeout.ms`). A record may have been written all the same.
    Timeout,
    /// `buffer.memory` stayed full for `max.block.ms`.
    BufferExhausted,
    /// The record, or the request that holds it, is larger than `max.request.size` or than the
    /// broker reads.
    RecordTooLarge {
        /// Its size.
        bytes: usize,
    },
    /// The producer or consumer is closed, or was closed before the record could be sent.
    Closed,
    /// The call would wait for the thread it runs on: `flush` or `close` inside a callback, `poll`
    /// inside a rebalance listener.
    Callback,
    /// The partition is not assigned to this consumer.
    NotAssigned,
    /// `group.id` is not set, and without it nothing is committed and nothing subscribed to.
    NoGroup,
    /// `subscribe` and `assign` exclude each other; `unsubscribe` comes between.
    Subscription,
    /// [`WakeupHandle::wakeup`](crate::client::WakeupHandle::wakeup) ended the wait.
    Wakeup,
    /// `auto.offset.reset` is `none`, and there is no valid position.
    OffsetOutOfRange {
        /// The topic.
        topic: String,
        /// The partition.
        partition: Partition,
        /// The position that is not there; `None` when none was ever set.
        offset: Option<Offset>,
    },
    /// A batch fails its checksum or does not decode. The consumer stays before it; `seek` passes
    /// over it.
    Corrupt {
        /// The topic.
        topic: String,
        /// The partition.
        partition: Partition,
        /// Position of the consumer.
        offset: Offset,
    },
}

impl ClientError {
    /// Whether the same call may succeed later.
    pub fn is_retriable(&self) -> bool {
        match self {
            ClientError::Unreachable(_)
            | ClientError::Disconnected(_)
            | ClientError::Timeout
            | ClientError::BufferExhausted => true,
            ClientError::Broker(code) => code.is_retriable(),
            ClientError::Config(_)
            | ClientError::Topic(_)
            | ClientError::Serialization(_)
            | ClientError::Protocol(_)
            | ClientError::Incompatible(_)
            | ClientError::RecordTooLarge { .. }
            | ClientError::Closed
            | ClientError::Callback
            | ClientError::NotAssigned
            | ClientError::NoGroup
            | ClientError::Subscription
            | ClientError::Wakeup
            | ClientError::OffsetOutOfRange { .. }
            | ClientError::Corrupt { .. } => false,
        }
    }
}

impl fmt::Display for ClientError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Config(key) => write!(f, "`{key}` is out of its range"),
            Self::Topic(error) => error.fmt(f),
            Self::Serialization(error) => error.fmt(f),
            Self::Unreachable(kind) => write!(f, "no broker can be reached: {kind}"),
            Self::Disconnected(kind) => write!(f, "the connection broke: {kind}"),
            Self::Protocol(error) => write!(f, "the peer does not speak the protocol: {error}"),
            Self::Incompatible(api) => write!(f, "the broker shares no version of {api:?}"),
            Self::Broker(code) => write!(f, "{} ({})", code.text(), code.name()),
            Self::Timeout => f.write_str("not done in the time allowed"),
            Self::BufferExhausted => f.write_str("`buffer.memory` is full"),
            Self::RecordTooLarge { bytes } => {
                write!(f, "{bytes} bytes are more than one request may hold")
            }
            Self::Closed => f.write_str("the client is closed"),
            Self::Callback => f.write_str("a callback cannot wait for its own thread"),
            Self::NotAssigned => f.write_str("the partition is not assigned to this consumer"),
            Self::NoGroup => f.write_str("`group.id` is not set"),
            Self::Subscription => f.write_str("`subscribe` and `assign` exclude each other"),
            Self::Wakeup => f.write_str("woken up"),
            Self::OffsetOutOfRange { topic, partition, offset } => match offset {
                Some(offset) => write!(f, "{topic}-{partition} does not hold offset {offset}"),
                None => write!(f, "{topic}-{partition} has no position"),
            },
            Self::Corrupt { topic, partition, offset } => {
                write!(f, "{topic}-{partition} is corrupt at or after offset {offset}")
            }
        }
    }
}

impl std::error::Error for ClientError {}

impl From<io::Error> for ClientError {
    fn from(error: io::Error) -> Self {
        Self::Disconnected(error.kind())
    }
}

impl From<FrameError> for ClientError {
    fn from(error: FrameError) -> Self {
        Self::Protocol(error)
    }
}

impl From<TopicNameError> for ClientError {
    fn from(error: TopicNameError) -> Self {
        Self::Topic(error)
    }
}

impl From<SerializationError> for ClientError {
    fn from(error: SerializationError) -> Self {
        Self::Serialization(error)
    }
}

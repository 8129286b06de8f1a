//! Why bytes are not a message of Kafka's protocol.

use core::fmt;

use crate::wire::kafka::ApiKey;

/// A field by its structure and name: what an error points at.
#[derive(Debug, PartialEq, Eq)]
pub struct Place {
    /// Name of the message or of a structure in it.
    pub structure: &'static str,
    /// Name of the field.
    pub field: &'static str,
}

/// What would have been legal where the bytes are not.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Expected {
    /// More bytes: the frame ends within the field.
    MoreBytes,
    /// The end: bytes of a tagged field are left over behind its value.
    End,
    /// An unsigned varint of at most 32 bits in at most five bytes.
    Varint,
    /// A length or count that is −1 (where there is null) or more.
    Length,
    /// Something other than null, in this version.
    NotNull,
    /// UTF-8.
    Utf8,
    /// Tags in ascending order, each once.
    AscendingTags,
    /// At most [`crate::limits::KAFKA_TAGGED_FIELDS_MAX`] tagged fields.
    FewerTags,
    /// Elements that need less memory in proportion to the bytes they came in.
    FewerElements,
    /// A version that is known.
    Version,
}

/// Why a frame is refused. It names the first thing wrong; nothing after it was looked at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum KafkaError {
    /// No API of this number is served.
    UnknownApi(i16),
    /// The API is served, but not in this version.
    UnsupportedVersion {
        /// The API.
        api: ApiKey,
        /// The version asked for.
        version: i16,
    },
    /// The bytes do not decode.
    Malformed {
        /// The API whose message this was to be; `None` in embedded data.
        api: Option<ApiKey>,
        /// The field that was being read.
        place: &'static Place,
        /// What would have been legal.
        expected: Expected,
    },
}

impl fmt::Display for Expected {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::MoreBytes => "more bytes",
            Self::End => "no bytes to be left over",
            Self::Varint => "a varint of 32 bits",
            Self::Length => "a legal length",
            Self::NotNull => "a value, not null",
            Self::Utf8 => "UTF-8",
            Self::AscendingTags => "ascending tags",
            Self::FewerTags => "fewer tagged fields",
            Self::FewerElements => "fewer elements in so few bytes",
            Self::Version => "a version that is known",
        })
    }
}

impl fmt::Display for KafkaError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::UnknownApi(number) => write!(f, "no API has the number {number}"),
            Self::UnsupportedVersion { api, version } => {
                write!(f, "{} is not served in version {version}", api.name())
            }
            Self::Malformed { place, expected, .. } => {
                write!(f, "{}.{}: expected {expected}", place.structure, place.field)
            }
        }
    }
}

impl core::error::Error for KafkaError {}

//! `DescribeConfigs` (32) and `IncrementalAlterConfigs` (44).
//!
//! ```text
//! resource    varint 0, str topic; varint 1 the broker; varint 2, str group; or varint 3 what all
//!             brokers have in common
//! change      varint 0, str key, str value to set; varint 1, str key to delete;
//!             varint 2, str key, str words to add to a list; or varint 3, the same to take out
//!
//! DescribeConfigs request                   response
//! list of     resource                      list of
//!                                             varint i16  error code
//!                                             list of
//!                                               str         key
//!                                               str         value
//!                                               varint      0 default, 1 file, 2 environment,
//!                                                           3 command line, 4 topic, 5 group,
//!                                                           6 broker, 7 all brokers
//!
//! IncrementalAlterConfigs request           response
//! bool        validate only                 list of
//! list of                                     varint i16  error code
//!   resource                                  str         message
//!   list of     change
//! ```

use alloc::vec::Vec;
use serde::{Deserialize, Serialize};

use crate::limits::{CONFIG_ENTRIES_MAX, REQUEST_CONFIG_RESOURCES_MAX};
use crate::wire::delete_topics::TopicOutcome;
use crate::wire::{ErrorCode, frame};

/// What a configuration belongs to. The order of the variants is the wire format.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum ConfigResource<'a> {
    /// A topic, by name.
    Topic(#[serde(borrow)] &'a str),
    /// The broker that answers.
    Broker,
    /// A consumer group of KIP-848, by id; it need not be there.
    Group(&'a str),
    /// All brokers: what is set at run time and each has unless it is set for itself.
    Brokers,
}

/// Resources to describe.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct DescribeConfigsRequest<'a> {
    /// The resources.
    #[serde(borrow, deserialize_with = "frame::list::<REQUEST_CONFIG_RESOURCES_MAX, _, _>")]
    pub resources: Vec<ConfigResource<'a>>,
}

/// Where a value comes from. The order of the variants is the wire format.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum ConfigSource {
    /// Built in.
    Default,
    /// The configuration file.
    File,
    /// An environment variable.
    Environment,
    /// `--set` on the command line.
    CommandLine,
    /// Set on the topic at run time.
    Topic,
    /// Set on the group at run time.
    Group,
    /// Set on the broker at run time.
    Broker,
    /// Set on all brokers at run time.
    Brokers,
}

impl ConfigSource {
    /// Kafka's name of it, which does not tell apart what a broker is started with.
    pub const fn kafka_name(self) -> &'static str {
        match self {
            ConfigSource::Default => "DEFAULT_CONFIG",
            ConfigSource::File | ConfigSource::Environment | ConfigSource::CommandLine => {
                "STATIC_BROKER_CONFIG"
            }
            ConfigSource::Topic => "DYNAMIC_TOPIC_CONFIG",
            ConfigSource::Group => "GROUP_CONFIG",
            ConfigSource::Broker => "DYNAMIC_BROKER_CONFIG",
            ConfigSource::Brokers => "DYNAMIC_DEFAULT_BROKER_CONFIG",
        }
    }
}

/// One key with its effective value.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct DescribedConfig<'a> {
    /// The key.
    #[serde(borrow)]
    pub key: &'a str,
    /// The value as text.
    #[serde(borrow)]
    pub value: &'a str,
    /// Where it comes from.
    pub source: ConfigSource,
}

/// One resource.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct DescribedResource<'a> {
    /// `UNKNOWN_TOPIC_OR_PARTITION` for a topic that is not there.
    pub error: ErrorCode,
    /// Its keys in alphabetical order.
    #[serde(borrow, deserialize_with = "frame::list::<CONFIG_ENTRIES_MAX, _, _>")]
    pub configs: Vec<DescribedConfig<'a>>,
}

/// One answer per resource, in the order of the request.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct DescribeConfigsResponse<'a> {
    /// See [`DescribedResource`].
    #[serde(borrow, deserialize_with = "frame::list::<REQUEST_CONFIG_RESOURCES_MAX, _, _>")]
    pub resources: Vec<DescribedResource<'a>>,
}

/// One change. The order of the variants is the wire format.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum ConfigChange<'a> {
    /// Set a key.
    Set {
        /// The key.
        #[serde(borrow)]
        key: &'a str,
        /// Its new value.
        #[serde(borrow)]
        value: &'a str,
    },
    /// Return a key to the broker's default.
    Delete {
        /// The key.
        #[serde(borrow)]
        key: &'a str,
    },
    /// Add words to a key whose value is a list, with commas between them.
    Append {
        /// The key.
        #[serde(borrow)]
        key: &'a str,
        /// The words; those that are there already change nothing.
        #[serde(borrow)]
        value: &'a str,
    },
    /// Take words out of such a list.
    Subtract {
        /// The key.
        #[serde(borrow)]
        key: &'a str,
        /// The words; those that are not there change nothing.
        #[serde(borrow)]
        value: &'a str,
    },
}

impl<'a> ConfigChange<'a> {
    /// The key that it changes.
    pub const fn key(self) -> &'a str {
        match self {
            ConfigChange::Set { key, .. }
            | ConfigChange::Delete { key }
            | ConfigChange::Append { key, .. }
            | ConfigChange::Subtract { key, .. } => key,
        }
    }
}

/// Changes to one resource; all of them take effect or none.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct AlterResource<'a> {
    /// The resource.
    #[serde(borrow)]
    pub resource: ConfigResource<'a>,
    /// The changes.
    #[serde(borrow, deserialize_with = "frame::list::<CONFIG_ENTRIES_MAX, _, _>")]
    pub changes: Vec<ConfigChange<'a>>,
}

/// Changes to some resources.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct IncrementalAlterConfigsRequest<'a> {
    /// Check, but change nothing.
    pub validate_only: bool,
    /// The resources.
    #[serde(borrow, deserialize_with = "frame::list::<REQUEST_CONFIG_RESOURCES_MAX, _, _>")]
    pub resources: Vec<AlterResource<'a>>,
}

/// One answer per resource, in the order of the request.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct IncrementalAlterConfigsResponse<'a> {
    /// See [`TopicOutcome`].
    #[serde(borrow, deserialize_with = "frame::list::<REQUEST_CONFIG_RESOURCES_MAX, _, _>")]
    pub resources: Vec<TopicOutcome<'a>>,
}

//! The topics there are, as far as a coordinator that assigns partitions must know them.

use std::collections::BTreeMap;

use crate::ids::TopicId;

/// What `__` at the front of a name means: a topic of the brokers' own.
const INTERNAL_PREFIX: &str = "__";

/// A topic.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Topic {
    pub id: TopicId,
    pub partition_count: i32,
}

/// See the module.
#[derive(Debug, Default)]
pub(super) struct Topics {
    by_name: BTreeMap<Box<str>, Topic>,
    names: BTreeMap<TopicId, Box<str>>,
}

impl Topics {
    /// Takes note of a topic; answers whether that is news.
    pub fn set(&mut self, name: &str, topic: Topic) -> bool {
        let before = self.by_name.insert(name.into(), topic);
        if let Some(before) = before {
            if before == topic {
                return false;
            }
            self.names.remove(&before.id);
        }
        self.names.insert(topic.id, name.into());
        true
    }

    /// A topic is gone; answers whether it was known.
    pub fn remove(&mut self, name: &str) -> bool {
        let Some(before) = self.by_name.remove(name) else { return false };
        self.names.remove(&before.id);
        true
    }

    pub fn find(&self, name: &str) -> Option<Topic> {
        self.by_name.get(name).copied()
    }

    pub fn name(&self, id: TopicId) -> Option<&str> {
        self.names.get(&id).map(|name| &**name)
    }

    /// The names of all topics that are not the brokers' own, ascending.
    pub fn public_names(&self) -> impl Iterator<Item = &str> {
        self.by_name.keys().map(|name| &**name).filter(|name| !name.starts_with(INTERNAL_PREFIX))
    }
}

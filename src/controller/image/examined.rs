//! An image that comes from elsewhere: weighed before anybody goes by it.
//!
//! [`Image::replay`] takes changes that a controller made, and stops the process where they make no
//! sense. A peer's image, and one that was read from a disk, is looked through first.

use std::fmt;

use crate::controller::change::{self, Change, ChangesError};
use crate::controller::image::Image;
use crate::ids::TopicId;
use crate::wire::TopicRef;

/// Why bytes are no image.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ImageError {
    /// They are no list of changes, or one of newer software.
    Changes(ChangesError),
    /// A change cannot follow those before it: its place in the list.
    Change(usize),
}

impl fmt::Display for ImageError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Changes(why) => why.fmt(f),
            Self::Change(place) => {
                write!(f, "change {place} of an image cannot follow those before it")
            }
        }
    }
}

impl std::error::Error for ImageError {}

impl Image {
    /// The image that [`Image::as_changes`] was encoded from.
    pub fn read(bytes: &[u8]) -> Result<Image, ImageError> {
        let changes = change::decode(bytes).map_err(ImageError::Changes)?;
        let mut image = Image::default();
        for (place, change) in changes.iter().enumerate() {
            if !image.may_follow(change) {
                return Err(ImageError::Change(place));
            }
            image.replay(change);
        }
        Ok(image)
    }

    /// Whether it can be replayed. What is merely odd is taken: a disk's image must not be lost to a
    /// rule that is stricter than the controller was.
    fn may_follow(&self, change: &Change) -> bool {
        let has_topic = |topic_id: &TopicId| self.topic(*topic_id).is_some();
        match change {
            Change::Cluster { .. }
            | Change::FeatureLevel { .. }
            | Change::ProducerIds { .. }
            | Change::BrokerConfig { .. }
            | Change::GroupConfig { .. }
            | Change::Registration { .. }
            | Change::Departed { .. } => true,
            // It raises the epochs of what the broker leads; in an image it comes before that.
            Change::Broker { .. } => self.topic_count() == 0,
            Change::BrokerState { node_id, .. }
            | Change::BrokerLevel { node_id, .. }
            | Change::RemoveBroker { node_id } => self.broker(*node_id).is_some(),
            Change::Topic { topic_id, name } => {
                !has_topic(topic_id) && self.find(TopicRef::Name(name.as_str())).is_none()
            }
            Change::Config { topic_id, .. } | Change::RemoveTopic { topic_id } => {
                has_topic(topic_id)
            }
            Change::Partition { topic_id, partition, .. } => {
                let count = self.topic(*topic_id).map(|topic| topic.partitions.len());
                count.is_some() && count == usize::try_from(partition.0).ok()
            }
            Change::Replicas { topic_id, partition, .. }
            | Change::PartitionChange { topic_id, partition, .. } => {
                self.find_partition(TopicRef::Id(*topic_id), *partition).is_some()
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::controller::change::BrokerState;
    use crate::ids::{LeaderEpoch, NodeId, Partition, TopicName, Uuid};

    const TOPIC: TopicId = TopicId(Uuid([1; 16]));

    fn topic(topic_id: TopicId) -> Change {
        Change::Topic { topic_id, name: TopicName::new("t").expect("legal") }
    }

    fn partition(number: i32) -> Change {
        Change::Partition {
            topic_id: TOPIC,
            partition: Partition(number),
            replicas: vec![NodeId(1)],
            leader: NodeId(1),
            leader_epoch: LeaderEpoch(i32::MAX),
        }
    }

    fn config() -> Change {
        Change::Config { topic_id: TOPIC, key: "retention.ms".into(), value: None }
    }

    #[test]
    fn an_image_is_read_as_it_was_written() {
        let changes = [topic(TOPIC), config(), partition(0), partition(1)];
        let mut image = Image::default();
        for change in &changes {
            image.replay(change);
        }
        assert_eq!(Image::read(&change::encode(&image.as_changes())), Ok(image));
        assert_eq!(Image::read(b""), Err(ImageError::Changes(ChangesError::Malformed)));
        assert_eq!(Image::read(&[200]), Err(ImageError::Changes(ChangesError::Version(200))));
    }

    #[test]
    fn what_could_not_be_replayed_is_no_image() {
        let broker = Change::Broker { node_id: NodeId(1), broker_epoch: 4 };
        let fenced = Change::BrokerState { node_id: NodeId(1), state: BrokerState::Fenced };
        let gone = Change::RemoveTopic { topic_id: TOPIC };
        for changes in [
            vec![topic(TOPIC), topic(TOPIC)],
            vec![topic(TOPIC), topic(TopicId::METADATA)],
            vec![topic(TOPIC), partition(1)],
            vec![topic(TOPIC), partition(-1)],
            vec![topic(TOPIC), partition(0), broker],
            vec![partition(0)],
            vec![config()],
            vec![fenced],
            vec![gone],
        ] {
            let place = changes.len() - 1;
            let read = Image::read(&change::encode(&changes));
            assert_eq!(read, Err(ImageError::Change(place)), "{changes:?}");
        }
    }
}

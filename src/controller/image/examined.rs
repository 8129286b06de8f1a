//! What comes from elsewhere: weighed before anybody goes by it.
//!
//! [`Image::replay`] takes changes that a controller made, and stops the process where they make no
//! sense. A peer's image, one that was read from a disk, and each change that a site has committed is
//! looked at first.

use std::fmt;

use crate::controller::change::{self, Change, ChangesError};
use crate::controller::image::Image;
use crate::ids::{Partition, TopicId};
use crate::wire::TopicRef;

/// No epoch comes this far: it rises by one with each board that starts or fails. Behind it is room for
/// as many more, so that none of them ends the count.
const EPOCH_MAX: i32 = 1 << 30;

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
                write!(
                    f,
                    "change {place} of an image cannot follow those before it: newer software may have \
                     written it. Start that again; nothing is lost"
                )
            }
        }
    }
}

impl std::error::Error for ImageError {}

impl Image {
    /// The image that [`Image::as_changes`] was encoded from.
    pub fn read(bytes: &[u8]) -> Result<Image, ImageError> {
        let mut image = Image::default();
        for (place, change) in change::each(bytes).map_err(ImageError::Changes)?.enumerate() {
            let change = change.map_err(ImageError::Changes)?;
            if !image.may_follow(&change) {
                return Err(ImageError::Change(place));
            }
            image.replay(&change);
        }
        Ok(image)
    }

    /// Whether it can be replayed, and what follows from it be counted on. What is merely odd is taken:
    /// a disk's image must not be refused by a rule that is stricter than the controller was.
    pub(in crate::controller) fn may_follow(&self, change: &Change) -> bool {
        let has_topic = |topic_id: &TopicId| self.topic(*topic_id).is_some();
        let is_epoch = |epoch: i32| (0..=EPOCH_MAX).contains(&epoch);
        let has_partition = |topic_id: &TopicId, partition: Partition| {
            self.find_partition(TopicRef::Id(*topic_id), partition).is_some()
        };
        match change {
            Change::Cluster { .. }
            | Change::FeatureLevel { .. }
            | Change::ProducerIds { .. }
            | Change::BrokerConfig { .. }
            | Change::GroupConfig { .. }
            | Change::Broker { .. }
            | Change::Registration { .. }
            | Change::Departed { .. } => true,
            Change::BrokerState { node_id, .. }
            | Change::BrokerLevel { node_id, .. }
            | Change::RemoveBroker { node_id } => self.broker(*node_id).is_some(),
            Change::Topic { topic_id, name } => {
                !has_topic(topic_id) && self.find(TopicRef::Name(name.as_str())).is_none()
            }
            Change::Config { topic_id, .. } | Change::RemoveTopic { topic_id } => {
                has_topic(topic_id)
            }
            Change::Partition { topic_id, partition, replicas, leader_epoch, .. } => {
                let count = self.topic(*topic_id).map(|topic| topic.partitions.len());
                count.is_some()
                    && count == usize::try_from(partition.0).ok()
                    && !replicas.is_empty()
                    && is_epoch(leader_epoch.0)
            }
            Change::Replicas { topic_id, partition, replicas, .. } => {
                has_partition(topic_id, *partition) && !replicas.is_empty()
            }
            Change::PartitionChange {
                topic_id, partition, leader_epoch, partition_epoch, ..
            } => {
                has_partition(topic_id, *partition)
                    && is_epoch(leader_epoch.0)
                    && is_epoch(*partition_epoch)
            }
        }
    }

    /// Whether a node that goes by this image can go on by a later one of the same cluster: a topic
    /// keeps its name and its partitions.
    pub fn may_become(&self, later: &Image) -> bool {
        self.topics.iter().all(|(topic_id, topic)| {
            later.topics.get(topic_id).is_none_or(|after| {
                after.name == topic.name && topic.partitions.len() <= after.partitions.len()
            })
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::controller::change::BrokerState;
    use crate::ids::{LeaderEpoch, NodeId, TopicName, Uuid};

    const TOPIC: TopicId = TopicId(Uuid([1; 16]));

    const MALFORMED: ImageError = ImageError::Changes(ChangesError::Malformed);

    fn topic(topic_id: TopicId) -> Change {
        Change::Topic { topic_id, name: TopicName::new("t").expect("legal") }
    }

    fn made(number: i32, replicas: Vec<NodeId>, leader_epoch: i32) -> Change {
        Change::Partition {
            topic_id: TOPIC,
            partition: Partition(number),
            replicas,
            leader: NodeId(1),
            leader_epoch: LeaderEpoch(leader_epoch),
        }
    }

    fn partition(number: i32) -> Change {
        made(number, vec![NodeId(1)], EPOCH_MAX)
    }

    fn changed(leader_epoch: i32, partition_epoch: i32) -> Change {
        Change::PartitionChange {
            topic_id: TOPIC,
            partition: Partition(0),
            leader: None,
            leader_epoch: LeaderEpoch(leader_epoch),
            isr: vec![],
            elr: vec![],
            partition_epoch,
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
        assert_eq!(Image::read(b""), Err(MALFORMED));
        assert_eq!(Image::read(&[200]), Err(ImageError::Changes(ChangesError::Version(200))));
    }

    #[test]
    fn what_could_not_be_replayed_is_no_image() {
        let nowhere = Change::Replicas {
            topic_id: TOPIC,
            partition: Partition(0),
            replicas: vec![],
            adding: vec![],
            removing: vec![],
        };
        let fenced = Change::BrokerState { node_id: NodeId(1), state: BrokerState::Fenced };
        let gone = Change::RemoveTopic { topic_id: TOPIC };
        for changes in [
            vec![topic(TOPIC), topic(TOPIC)],
            vec![topic(TOPIC), topic(TopicId::METADATA)],
            vec![topic(TOPIC), partition(1)],
            vec![topic(TOPIC), partition(-1)],
            vec![topic(TOPIC), made(0, vec![], 1)],
            vec![topic(TOPIC), made(0, vec![NodeId(1)], -1)],
            vec![topic(TOPIC), made(0, vec![NodeId(1)], i32::MAX)],
            vec![topic(TOPIC), partition(0), changed(i32::MAX, 1)],
            vec![topic(TOPIC), partition(0), changed(1, i32::MAX)],
            vec![topic(TOPIC), partition(0), changed(1, -1)],
            vec![topic(TOPIC), partition(0), nowhere],
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

    /// A list says how many there are; memory goes to those that come.
    #[test]
    fn a_count_is_not_believed() {
        let mut bytes = change::encode(&[config()]);
        assert_eq!(Image::read(&bytes), Err(ImageError::Change(0)));
        bytes[1] = 127;
        bytes[2..].fill(0);
        assert_eq!(Image::read(&[0, 0xff, 0xff, 0xff, 0xff, 0xf]), Err(MALFORMED));
        assert_eq!(Image::read(&[0, 0xff, 0xff, 0xff, 0xff, 0xff, 1]), Err(MALFORMED));
        assert_eq!(change::decode(&bytes), Err(ChangesError::Malformed));
    }

    #[test]
    fn a_topic_keeps_its_name_and_its_partitions() {
        let image = |changes: &[Change]| Image::read(&change::encode(changes)).expect("an image");
        let named = |name: &str| Change::Topic {
            topic_id: TOPIC,
            name: TopicName::new(name).expect("legal"),
        };
        let now = image(&[named("t"), partition(0), partition(1)]);
        assert!(now.may_become(&now) && now.may_become(&Image::default()));
        assert!(now.may_become(&image(&[named("t"), partition(0), partition(1), partition(2)])));
        assert!(!now.may_become(&image(&[named("u"), partition(0), partition(1)])));
        assert!(!now.may_become(&image(&[named("t"), partition(0)])));
    }
}

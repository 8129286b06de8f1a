//! Kafka's own small text files, so that Kafka can open a directory that was stopped cleanly.
//!
//! ```text
//! meta.properties              cluster.id, directory.id, node.id, version=1; `key=value` lines
//! partition.metadata           version: 0 \n topic_id: <uuid>
//! *-offset-checkpoint          0 \n <count> \n <topic> <partition> <offset> ...
//! leader-epoch-checkpoint      0 \n <count> \n <epoch> <start offset> ...
//! .kafka_cleanshutdown         {"version":0,"brokerEpoch":-1}
//! ```
//!
//! We read only the first two, and only where our own checksummed copy is missing.

use std::collections::BTreeMap;
use std::fmt::{Display, Write};

use crate::ids::{LeaderEpoch, Offset, Partition, TopicId, TopicName, Uuid};

/// Name of the identity of a log dir.
pub(super) const META_PROPERTIES: &str = "meta.properties";
/// Name of the identity of a partition directory.
pub(super) const PARTITION_METADATA: &str = "partition.metadata";
/// Name of the mark of a clean stop.
pub(super) const CLEAN_SHUTDOWN: &str = ".kafka_cleanshutdown";
/// What that file holds: no broker epoch, for there is no `KRaft` controller that gave one.
/// Name of the checkpoint of log starts.
pub(super) const LOG_STARTS: &str = "log-start-offset-checkpoint";
pub(super) const CLEAN_SHUTDOWN_TEXT: &str = "{\"version\":0,\"brokerEpoch\":-1}";
/// Name of a partition's epoch cache.
pub(super) const LEADER_EPOCHS: &str = "leader-epoch-checkpoint";

/// The `key=value` lines of a properties file.
pub(super) fn properties(text: &str) -> BTreeMap<&str, &str> {
    let lines = text.lines().map(str::trim).filter(|line| !line.starts_with(['#', '!']));
    lines.filter_map(|line| line.split_once('=')).map(|(k, v)| (k.trim(), v.trim())).collect()
}

/// The text of `meta.properties`.
pub(super) fn meta_properties(cluster_id: Uuid, directory_id: Uuid, node_id: i32) -> String {
    format!(
        "#\ncluster.id={cluster_id}\ndirectory.id={directory_id}\nnode.id={node_id}\nversion=1\n"
    )
}

/// The text of `partition.metadata`.
pub(super) fn partition_metadata(topic_id: TopicId) -> String {
    format!("version: 0\ntopic_id: {topic_id}")
}

/// The topic id in `partition.metadata`.
pub(super) fn topic_id_of(text: &str) -> Option<TopicId> {
    let id = text.lines().find_map(|line| line.strip_prefix("topic_id:"))?;
    Uuid::parse(id.trim()).map(TopicId)
}

/// The text of an offset checkpoint.
pub(super) fn offset_checkpoint(rows: &[(&TopicName, Partition, Offset)]) -> String {
    let rows =
        rows.iter().map(|(topic, partition, offset)| format!("{topic} {partition} {offset}"));
    checkpoint(rows.len(), rows)
}

/// The rows of an offset checkpoint, as far as they can be read.
pub(super) fn offsets_of(text: &str) -> BTreeMap<(TopicName, Partition), Offset> {
    let row = |line: &str| {
        let mut words = line.split(' ');
        let topic = TopicName::new(words.next()?).ok()?;
        let partition = Partition(words.next()?.parse().ok()?);
        Some(((topic, partition), Offset(words.next()?.parse().ok()?)))
    };
    // Version and count.
    text.lines().skip(2).filter_map(row).collect()
}

/// The text of `leader-epoch-checkpoint`.
pub(super) fn epoch_checkpoint(epochs: &[(LeaderEpoch, Offset)]) -> String {
    checkpoint(epochs.len(), epochs.iter().map(|(epoch, start)| format!("{epoch} {start}")))
}

fn checkpoint(count: usize, rows: impl Iterator<Item = impl Display>) -> String {
    let mut text = format!("0\n{count}\n");
    for row in rows {
        let _ = writeln!(text, "{row}");
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_are_kafkas() {
        let name = TopicName::new("host.vmstat").expect("legal");
        let rows = [(&name, Partition(0), Offset(12))];
        assert_eq!(offset_checkpoint(&rows), "0\n1\nhost.vmstat 0 12\n");
        let read = offsets_of("0\n3\nhost.vmstat 0 12\nhost.vmstat x 1\nhalf");
        assert_eq!(read, BTreeMap::from([((name.clone(), Partition(0)), Offset(12))]));
        let epochs = [(LeaderEpoch(1), Offset(0)), (LeaderEpoch(3), Offset(9))];
        assert_eq!(epoch_checkpoint(&epochs), "0\n2\n1 0\n3 9\n");
        let text = partition_metadata(TopicId::METADATA);
        assert_eq!(text, "version: 0\ntopic_id: AAAAAAAAAAAAAAAAAAAAAQ");
        assert_eq!(topic_id_of(&text), Some(TopicId::METADATA));
        let text = meta_properties(Uuid::ZERO, Uuid::ZERO, 3);
        assert_eq!(properties(&text).get("node.id"), Some(&"3"));
        assert_eq!(properties("# a=b\n c = d\n").into_iter().collect::<Vec<_>>(), [("c", "d")]);
    }
}

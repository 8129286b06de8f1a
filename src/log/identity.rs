//! Who a log dir and a partition directory belong to.
//!
//! A log dir says so twice: in Kafka's `meta.properties`, and in our small file `format` with the
//! version of the layout. A partition directory says its topic id in Kafka's `partition.metadata`
//! and in our small file `identity`. Ours are checksummed and bind; Kafka's are restored from them.
//!
//! ```text
//! format     format <n> | oldest_reader <n> | written_by <text>
//!            | cluster.id <uuid> | directory.id <uuid> | node.id <n>          one a line
//! identity   topic_id <uuid>
//! ```

use std::collections::BTreeMap;
use std::fmt;
use std::io;
use std::path::{Path, PathBuf};

use super::Disk;
use super::kafka_files::{self, META_PROPERTIES, PARTITION_METADATA};
use super::repair::write_again;
use super::small_file::{self, SmallFile};
use crate::ids::{NodeId, TopicId, Uuid};
use crate::journal::JOURNAL_FILE;
use crate::journal::disk::{DiskFile, Open};

pub(super) const FORMAT_FILE: &str = "format";
const IDENTITY_FILE: &str = "identity";

/// Version of the directory's layout that this release writes.
const FORMAT: u32 = 1;
/// The oldest release of the layout that can still read it.
const OLDEST_READER: u32 = 1;

/// Identity of a log dir.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DirIdentity {
    /// The cluster that its data belongs to.
    pub cluster_id: Uuid,
    /// This directory, whatever its path.
    pub directory_id: Uuid,
    /// The broker that it belongs to.
    pub node_id: NodeId,
}

/// Why a log dir is not opened.
#[derive(Debug)]
pub enum OpenError {
    /// It belongs to another broker.
    OtherNode {
        /// The file that says so.
        file: PathBuf,
        /// Whom it names.
        found: NodeId,
        /// Who asks.
        expected: NodeId,
    },
    /// It belongs to another cluster.
    OtherCluster {
        /// The file that says so.
        file: PathBuf,
        /// Which it names.
        found: Uuid,
        /// Which was asked for.
        expected: Uuid,
    },
    /// A newer release wrote it, in a layout that this one cannot read.
    NewerFormat {
        /// The file that says so.
        file: PathBuf,
        /// The oldest layout that a reader must know; 0 when even that is not known.
        found: u32,
        /// The newest layout that this release knows.
        expected: u32,
    },
    /// A file that must be there is damaged, and so is its spare.
    Damaged {
        /// The file.
        file: PathBuf,
        /// What it should hold.
        expected: &'static str,
    },
    /// It is Apache Kafka's.
    Kafkas {
        /// The directory.
        dir: PathBuf,
    },
    /// The disk failed, or the directory cannot be used.
    Io {
        /// What was being touched.
        file: PathBuf,
        /// How it failed.
        error: io::Error,
    },
}

impl OpenError {
    pub(super) fn io(file: &Path, error: io::Error) -> Self {
        OpenError::Io { file: file.into(), error }
    }
}

impl fmt::Display for OpenError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::OtherNode { file, found, expected } => write!(
                f,
                "{}: the directory belongs to node {found}, but broker.id is {expected}; a board \
                 of its own id needs a directory of its own, not a copy",
                file.display()
            ),
            Self::OtherCluster { file, found, expected } => write!(
                f,
                "{}: the directory belongs to cluster {found}, but cluster {expected} is expected",
                file.display()
            ),
            Self::NewerFormat { file, found, expected } => write!(
                f,
                "{}: written by a newer release in format {found}; this one reads up to {expected}",
                file.display()
            ),
            Self::Damaged { file, expected } => {
                write!(f, "{}: damaged; expected {expected}", file.display())
            }
            Self::Kafkas { dir } => write!(
                f,
                "{}: this is Apache Kafka's, and is not touched; `odradek log import` takes over \
                 its topics into a directory of our own",
                dir.display()
            ),
            Self::Io { file, error } => {
                let hint = match error.kind() {
                    io::ErrorKind::PermissionDenied => " (the broker must be able to write here)",
                    io::ErrorKind::ReadOnlyFilesystem => " (the file system is read-only)",
                    io::ErrorKind::NotADirectory => " (log.dirs must name a directory)",
                    _ => "",
                };
                write!(f, "{}: {error}{hint}", file.display())
            }
        }
    }
}

impl std::error::Error for OpenError {}

/// Reads a log dir's identity, or gives it one: `fresh` with the cluster and node that are asked
/// for. `cluster_id` is `None` where any cluster will do.
pub(super) fn of_log_dir(
    disk: &impl Disk,
    path: &Path,
    node_id: NodeId,
    cluster_id: Option<Uuid>,
    random: [u8; 32],
) -> Result<DirIdentity, OpenError> {
    let ours = read_format(disk, path)?;
    let kafkas = read_meta(disk, path)?;
    for (file, identity) in [(FORMAT_FILE, &ours), (META_PROPERTIES, &kafkas)] {
        let Some(found) = identity else { continue };
        let file = path.join(file);
        if found.node_id != node_id {
            return Err(OpenError::OtherNode { file, found: found.node_id, expected: node_id });
        }
        if let Some(expected) = cluster_id.filter(|&expected| expected != found.cluster_id) {
            return Err(OpenError::OtherCluster { file, found: found.cluster_id, expected });
        }
    }
    let (first, second) = random.split_at(16);
    let uuid = |bytes: &[u8]| Uuid::from_random(bytes.try_into().expect("halves of 32 bytes"));
    let identity = ours.or(kafkas).unwrap_or(DirIdentity {
        cluster_id: cluster_id.unwrap_or_else(|| uuid(first)),
        directory_id: uuid(second),
        node_id,
    });
    let io_error = |file: &str| {
        let file = path.join(file);
        move |error| OpenError::Io { file, error }
    };
    if ours != Some(identity) {
        let text = format_text(&identity);
        small_file::write(disk, path, FORMAT_FILE, &text).map_err(io_error(FORMAT_FILE))?;
    }
    if kafkas != Some(identity) {
        let DirIdentity { cluster_id, directory_id, node_id } = identity;
        let text = kafka_files::meta_properties(cluster_id, directory_id, node_id.0);
        small_file::replace(disk, path, META_PROPERTIES, text.as_bytes())
            .map_err(io_error(META_PROPERTIES))?;
    }
    Ok(identity)
}

/// Makes a log dir one of another cluster's: its node has joined that.
pub fn adopt_cluster<D: Disk>(disk: &D, path: &Path, cluster_id: Uuid) -> io::Result<()> {
    let invalid = |why: OpenError| io::Error::new(io::ErrorKind::InvalidData, why.to_string());
    let found = read_format(disk, path).map_err(invalid)?;
    let Some(found) = found.filter(|found| found.cluster_id != cluster_id) else { return Ok(()) };
    let identity = DirIdentity { cluster_id, ..found };
    small_file::write(disk, path, FORMAT_FILE, &format_text(&identity))?;
    let DirIdentity { cluster_id, directory_id, node_id } = identity;
    let text = kafka_files::meta_properties(cluster_id, directory_id, node_id.0);
    small_file::replace(disk, path, META_PROPERTIES, text.as_bytes())
}

/// Refuses a directory in which Apache Kafka keeps its logs. Ours has `meta.properties` too, but
/// never without one of our own files.
pub(super) fn refuse_kafkas(disk: &impl Disk, path: &Path) -> Result<(), OpenError> {
    let ours = [FORMAT_FILE, "format.spare", JOURNAL_FILE, "checkpoint", "checkpoint.spare"];
    let has = |name: &str| {
        let file = path.join(name);
        disk.exists(&file).map_err(|error| OpenError::Io { file, error })
    };
    if !has(META_PROPERTIES)? {
        return Ok(());
    }
    for name in ours {
        if has(name)? {
            return Ok(());
        }
    }
    Err(OpenError::Kafkas { dir: path.into() })
}

fn format_text(identity: &DirIdentity) -> String {
    let version = env!("CARGO_PKG_VERSION");
    let DirIdentity { cluster_id, directory_id, node_id } = identity;
    format!(
        "format {FORMAT}\noldest_reader {OLDEST_READER}\nwritten_by odradek {version}\n\
         cluster.id {cluster_id}\ndirectory.id {directory_id}\nnode.id {node_id}\n"
    )
}

fn read_format(disk: &impl Disk, path: &Path) -> Result<Option<DirIdentity>, OpenError> {
    let file = path.join(FORMAT_FILE);
    let damaged = OpenError::Damaged {
        file: file.clone(),
        expected: "the format and identity of this log dir",
    };
    let newer = |found| OpenError::NewerFormat { file: file.clone(), found, expected: FORMAT };
    let found = small_file::read(disk, path, FORMAT_FILE);
    let text = match found.map_err(|error| OpenError::io(&file, error))? {
        SmallFile::Missing => return Ok(None),
        // Both copies bad: Kafka's file still says whose it is, and its absence is an error there.
        SmallFile::Damaged if has_meta(disk, path) => return Ok(None),
        SmallFile::Damaged => return Err(damaged),
        SmallFile::Newer => return Err(newer(0)),
        SmallFile::Text(text) => text,
    };
    let fields: BTreeMap<&str, &str> =
        text.lines().filter_map(|line| line.split_once(' ')).collect();
    let oldest_reader = fields.get("oldest_reader").and_then(|text| text.parse().ok());
    match oldest_reader {
        Some(found) if FORMAT < found => return Err(newer(found)),
        Some(_) => {}
        None => return Err(damaged),
    }
    identity_of(&fields).map(Some).ok_or(damaged)
}

fn read_meta(disk: &impl Disk, path: &Path) -> Result<Option<DirIdentity>, OpenError> {
    let file = path.join(META_PROPERTIES);
    let bytes = small_file::read_bytes(disk, &file);
    let bytes = bytes.map_err(|error| OpenError::io(&file, error))?.unwrap_or_default();
    let text = String::from_utf8_lossy(&bytes);
    Ok(identity_of(&kafka_files::properties(&text)))
}

fn has_meta(disk: &impl Disk, path: &Path) -> bool {
    matches!(read_meta(disk, path), Ok(Some(_)))
}

fn identity_of(fields: &BTreeMap<&str, &str>) -> Option<DirIdentity> {
    let uuid = |key| Uuid::parse(fields.get(key)?);
    Some(DirIdentity {
        cluster_id: uuid("cluster.id")?,
        directory_id: uuid("directory.id")?,
        node_id: NodeId(fields.get("node.id")?.parse().ok()?),
    })
}

/// Writes a partition directory's identity. It is durable once the files that are answered, and
/// the directory, are synced.
pub(super) fn write_topic_id<D: Disk>(
    disk: &D,
    dir: &Path,
    topic_id: TopicId,
) -> io::Result<[D::File; 2]> {
    let ours = small_file::create(disk, dir, IDENTITY_FILE, &format!("topic_id {topic_id}\n"))?;
    let kafkas = disk.open(&dir.join(PARTITION_METADATA), Open::CreateOrWrite)?;
    kafkas.set_len(0)?;
    kafkas.write_all_at(kafka_files::partition_metadata(topic_id).as_bytes(), 0)?;
    Ok([ours, kafkas])
}

/// Writes a partition directory's identity once more, as it is, and makes it durable.
pub(super) fn sync_topic_id(disk: &impl Disk, dir: &Path) -> io::Result<()> {
    for name in [IDENTITY_FILE, PARTITION_METADATA] {
        let file = disk.open(&dir.join(name), Open::Write)?;
        write_again(&file, 0, file.len()?)?;
        file.sync_data()?;
    }
    Ok(())
}

/// Whether a file of a partition's directory says only whose it is.
pub(super) fn is_identity_file(name: &str) -> bool {
    name == IDENTITY_FILE || name == PARTITION_METADATA
}

/// Whose partition directory it is, `None` when neither file says. Mends the other one.
pub(super) fn topic_id(disk: &impl Disk, dir: &Path) -> io::Result<Option<TopicId>> {
    let ours = match small_file::read(disk, dir, IDENTITY_FILE)? {
        SmallFile::Text(text) => {
            text.trim_end().strip_prefix("topic_id ").and_then(Uuid::parse).map(TopicId)
        }
        _ => None,
    };
    let bytes = small_file::read_bytes(disk, &dir.join(PARTITION_METADATA))?.unwrap_or_default();
    let kafkas = kafka_files::topic_id_of(&String::from_utf8_lossy(&bytes));
    let Some(topic_id) = ours.or(kafkas) else { return Ok(None) };
    if ours != kafkas {
        for file in write_topic_id(disk, dir, topic_id)? {
            file.sync_data()?;
        }
    }
    Ok(Some(topic_id))
}

//! A log dir: its identity, its partitions' directories, and what a stop leaves for Kafka.
//!
//! Opening goes: identity, then the journal, whose entries are written again into the segments
//! ([`Redo`]), then each partition by itself ([`super::recovery`]). A directory that nobody knows
//! is kept and reported, never deleted (reliability.md 0.3); what is deleted bears Kafka's
//! `-delete` suffix from the moment its end was durable.

use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};

use super::cleaned::Cleaned;
use super::damage::Damage;
use super::identity::{self, DirIdentity, OpenError};
use super::kafka_files::{self, CLEAN_SHUTDOWN, CLEAN_SHUTDOWN_TEXT, LOG_STARTS, META_PROPERTIES};
use super::recovery::{self, CutAt, Evidence, LogReport, remove_if_there};
use super::segment::file_name;
use super::small_file::{self, SmallFile};
use super::{Disk, Log};
use crate::ids::{NodeId, Offset, Partition, TopicName, TopicPartition, Uuid};
use crate::journal::disk::{DiskFile, Open};
use crate::journal::{self, PartitionState, SegmentRef, SmallState};
use crate::time::{Now, Timestamp};
use crate::topic_config::TopicConfig;

const CLOCK_FILE: &str = "clock";

/// Says that a stop was not clean, until whoever asks has been told: a clean one may come before that.
const UNCLEAN_FILE: &str = "unclean-shutdown";

/// What opening a log dir needs to know.
#[derive(Clone, Debug)]
pub struct OpenParameters {
    /// The broker that opens it.
    pub node_id: NodeId,
    /// The cluster that it must belong to; `None`: any.
    pub cluster_id: Option<Uuid>,
    /// Entropy for the ids of a fresh directory.
    pub random: [u8; 32],
    /// The present.
    pub now: Now,
    /// What partitions are opened with, until their topics' own configurations are known.
    pub config: TopicConfig,
}

/// A directory that was not opened as a partition.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UnknownDir {
    /// Its name in the log dir.
    pub name: PathBuf,
    /// Why.
    pub why: Unknown,
}

/// Why a directory was not opened.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unknown {
    /// Neither of its files says which topic it is of.
    NoTopicId,
    /// Another directory has the same topic id and partition.
    Twin,
    /// It was set aside when a topic of its name was made anew.
    Stray,
}

/// What opening a log dir found.
#[derive(Clone, Debug, Default)]
pub struct RecoveryReport {
    /// Partition by partition.
    pub partitions: Vec<LogReport>,
    /// Directories that were left alone.
    pub unknown: Vec<UnknownDir>,
    /// Directories of partitions that were never made to the end, now gone.
    pub unfinished_count: usize,
    /// Whether the last stop was a clean one.
    pub was_clean: bool,
    /// Whether that or an earlier one was not, and nobody was told ([`forget_unclean`]).
    pub is_unclean: bool,
    /// Entries of the journal whose partition has no directory any more.
    pub orphan_entry_count: u64,
}

/// A log dir.
#[derive(Debug)]
pub struct LogDir<D: Disk> {
    disk: D,
    path: PathBuf,
    identity: DirIdentity,
    newest_wall: Option<Timestamp>,
    was_clean: bool,
    is_unclean: bool,
    /// Log starts as the last clean stop noted them.
    noted_starts: BTreeMap<(TopicName, Partition), Offset>,
    found: BTreeMap<TopicPartition, Found>,
    unknown: Vec<UnknownDir>,
    unfinished_count: usize,
}

/// A partition's directory and what the journal proved about it so far.
#[derive(Debug)]
struct Found {
    dir: PathBuf,
    name: TopicName,
    state: Option<PartitionState>,
    mark: Option<Offset>,
    /// Whether it was deleted, and the stop came before its directory went.
    is_forgotten: bool,
    /// Before this offset nothing is redone: compaction has synced it, and perhaps moved it. Read
    /// when the first entry comes.
    rewritten: Option<Offset>,
    /// Base offset of the newest segment on disk before anything was redone.
    newest_base: Option<Offset>,
    /// A truncation behind which nothing was appended.
    cut: Option<CutAt>,
}

impl<D: Disk> LogDir<D> {
    /// Takes possession of a directory: makes or checks its identity, finds its partitions, and
    /// finishes deletions that were begun.
    pub fn claim(disk: D, path: &Path, parameters: &OpenParameters) -> Result<Self, OpenError> {
        let at_path = |error| OpenError::io(path, error);
        disk.create_dir_all(path).map_err(at_path)?;
        identity::refuse_kafkas(&disk, path)?;
        let OpenParameters { node_id, cluster_id, random, .. } = *parameters;
        let is_new = !disk.exists(&path.join(META_PROPERTIES)).map_err(at_path)?;
        let identity = identity::of_log_dir(&disk, path, node_id, cluster_id, random)?;
        let mark = path.join(CLEAN_SHUTDOWN);
        let was_clean = disk.exists(&mark).map_err(|error| OpenError::io(&mark, error))?;
        let unclean = path.join(UNCLEAN_FILE);
        let is_unclean = !was_clean || disk.exists(&unclean).map_err(at_path)?;
        if !was_clean && !is_new {
            disk.open(&unclean, Open::CreateOrWrite).map_err(at_path)?;
        }
        // Gone before anything changes: a crash from here on is an unclean stop.
        remove_if_there(&disk, &mark).map_err(|error| OpenError::io(&mark, error))?;
        let noted = small_file::read_bytes(&disk, &path.join(LOG_STARTS)).map_err(at_path)?;
        let noted = String::from_utf8(noted.unwrap_or_default()).unwrap_or_default();
        let mut dir = LogDir {
            noted_starts: kafka_files::offsets_of(&noted),
            newest_wall: read_clock(&disk, path).map_err(at_path)?,
            disk,
            path: path.into(),
            identity,
            was_clean,
            is_unclean,
            found: BTreeMap::new(),
            unknown: Vec::new(),
            unfinished_count: 0,
        };
        dir.find_partitions()?;
        dir.disk.sync_dir(path).map_err(at_path)?;
        Ok(dir)
    }

    fn find_partitions(&mut self) -> Result<(), OpenError> {
        let names = self.disk.list(&self.path).map_err(|error| OpenError::io(&self.path, error))?;
        for path in names {
            let Some(text) = path.file_name().and_then(|name| name.to_str()) else { continue };
            let (dir, name) = (self.path.join(text), PathBuf::from(text));
            if text.ends_with("-delete") {
                self.disk.remove_dir_all(&dir).map_err(|error| OpenError::io(&dir, error))?;
            } else if text.ends_with("-stray") {
                self.unknown.push(UnknownDir { name, why: Unknown::Stray });
            } else if let Some((topic, partition)) = parse_dir_name(text) {
                self.find_partition(dir, name, topic, partition)?;
            }
        }
        Ok(())
    }

    fn find_partition(
        &mut self,
        dir: PathBuf,
        name: PathBuf,
        topic: TopicName,
        partition: Partition,
    ) -> Result<(), OpenError> {
        let topic_id = identity::topic_id(&self.disk, &dir);
        let Some(topic_id) = topic_id.map_err(|error| OpenError::io(&dir, error))? else {
            if is_unfinished(&self.disk, &dir).map_err(|error| OpenError::io(&dir, error))? {
                self.unfinished_count += 1;
                return self.disk.remove_dir_all(&dir).map_err(|error| OpenError::io(&dir, error));
            }
            self.unknown.push(UnknownDir { name, why: Unknown::NoTopicId });
            return Ok(());
        };
        let topic_partition = TopicPartition { topic_id, partition };
        if self.found.contains_key(&topic_partition) {
            self.unknown.push(UnknownDir { name, why: Unknown::Twin });
            return Ok(());
        }
        let bases = recovery::segment_bases(&self.disk, &dir);
        let newest_base = bases.map_err(|error| OpenError::io(&dir, error))?.last().copied();
        let found = Found {
            dir,
            name: topic,
            state: None,
            mark: None,
            is_forgotten: false,
            rewritten: None,
            newest_base,
            cut: None,
        };
        self.found.insert(topic_partition, found);
        Ok(())
    }

    /// Takes the journal's knowledge of the partitions and answers what its entries are redone on.
    pub fn redo(&mut self, states: BTreeMap<TopicPartition, PartitionState>) -> Redo<'_, D> {
        for (topic_partition, state) in states {
            if let Some(found) = self.found.get_mut(&topic_partition) {
                found.mark = Some(state.recovery_offset);
                found.state = Some(state);
            }
        }
        Redo { disk: &self.disk, found: &mut self.found, last: None, orphan_entry_count: 0 }
    }

    /// Opens every partition, after the journal was redone. `is_journal_whole` is false when the
    /// journal or a part of it was lost: then anything bad counts as damage.
    pub fn recover(
        &mut self,
        parameters: &OpenParameters,
        is_journal_whole: bool,
    ) -> Result<(Vec<Log<D>>, RecoveryReport), OpenError> {
        let mut report = RecoveryReport {
            unknown: std::mem::take(&mut self.unknown),
            unfinished_count: self.unfinished_count,
            was_clean: self.was_clean,
            is_unclean: self.is_unclean,
            ..RecoveryReport::default()
        };
        let mut logs = Vec::new();
        for (topic_partition, found) in std::mem::take(&mut self.found) {
            // One without a byte was made since: it was given up, and is to come back.
            let is_made_since = || is_unfinished(&self.disk, &found.dir);
            let at_dir = |error| OpenError::io(&found.dir, error);
            if found.is_forgotten && !is_made_since().map_err(at_dir)? {
                self.remove_dir(&found.dir, topic_partition.topic_id.0)
                    .map_err(|error| OpenError::io(&found.dir, error))?;
                continue;
            }
            let mark = found.mark.filter(|_| is_journal_whole);
            let place = (found.name.clone(), topic_partition.partition);
            let noted_start = self.noted_starts.get(&place).copied();
            let (log, log_report) = recovery::open(
                self.disk.clone(),
                &found.dir,
                &found.name,
                topic_partition,
                parameters.config.clone(),
                parameters.now,
                Evidence {
                    state: found.state,
                    mark,
                    is_journal_whole,
                    noted_start,
                    cut: found.cut,
                },
            )
            .map_err(|error| OpenError::io(&found.dir, error))?;
            logs.push(log);
            report.partitions.push(log_report);
        }
        Ok((logs, report))
    }

    /// The directory's path.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Whose it is.
    pub fn identity(&self) -> DirIdentity {
        self.identity
    }

    /// The newest trusted wall-clock time that was written down; a clock behind it is wrong.
    pub fn newest_wall(&self) -> Option<Timestamp> {
        self.newest_wall
    }

    /// Writes down the wall clock, if it is trusted. Once an hour is enough.
    pub fn note_wall(&mut self, now: Now) -> io::Result<()> {
        if !now.wall_trusted || self.newest_wall.is_some_and(|newest| now.wall <= newest) {
            return Ok(());
        }
        self.newest_wall = Some(now.wall);
        small_file::write(&self.disk, &self.path, CLOCK_FILE, &format!("{}\n", now.wall.0))
    }

    /// Makes a partition. A directory of the same name that is another topic's is set aside.
    pub fn create(
        &self,
        name: &TopicName,
        topic_partition: TopicPartition,
        config: TopicConfig,
        now: Now,
    ) -> Result<Log<D>, super::LogError> {
        Log::create(self.disk.clone(), &self.path, name, topic_partition, config, now)
    }

    /// Removes a partition that no topic has, if there was never a record in it: what a stop left
    /// of a request that was making partitions. Answers the log where it must stay.
    pub fn remove_unfinished(&self, log: Log<D>) -> io::Result<Option<Log<D>>> {
        let is_empty = log.end_offset() == Offset::ZERO && is_unfinished(&self.disk, log.dir())?;
        if !is_empty {
            return Ok(Some(log));
        }
        // Stopped half-way it is still unfinished, and goes at the next start.
        self.disk.remove_dir_all(log.dir()).map(|()| None)
    }

    /// Finishes a deletion that a stop interrupted.
    fn remove_dir(&self, from: &Path, topic_id: Uuid) -> io::Result<()> {
        let Some(name) = from.file_name().and_then(|name| name.to_str()) else { return Ok(()) };
        let to = doomed_path(&self.disk, &self.path, name, topic_id, "delete")?;
        self.disk.rename(from, &to)?;
        self.disk.sync_dir(&self.path)?;
        self.disk.remove_dir_all(&to)
    }

    /// Leaves the directory as Kafka wants to find it. The journal must have been closed, which
    /// made every segment durable.
    pub fn close(mut self, mut logs: Vec<Log<D>>, now: Now) -> io::Result<()> {
        logs.sort_by(|a, b| a.name().cmp(b.name()));
        let mut ends = Vec::new();
        let mut starts = Vec::new();
        let mut cleaned = Vec::new();
        let mut is_whole = true;
        for log in &mut logs {
            is_whole &= !log.is_poisoned();
            log.close()?;
        }
        for log in &logs {
            let partition = log.topic_partition().partition;
            ends.push((log.name(), partition, log.end_offset()));
            if Offset::ZERO < log.start_offset() {
                starts.push((log.name(), partition, log.start_offset()));
            }
            if Offset::ZERO < log.cleaned_offset() {
                cleaned.push((log.name(), partition, log.cleaned_offset()));
            }
        }
        for (name, rows) in [
            ("recovery-point-offset-checkpoint", &ends),
            (LOG_STARTS, &starts),
            ("cleaner-offset-checkpoint", &cleaned),
            ("replication-offset-checkpoint", &ends),
        ] {
            let text = kafka_files::offset_checkpoint(rows);
            small_file::replace(&self.disk, &self.path, name, text.as_bytes())?;
        }
        self.note_wall(now)?;
        self.disk.sync_all(&self.path)?;
        if is_whole {
            let text = CLEAN_SHUTDOWN_TEXT.as_bytes();
            small_file::replace(&self.disk, &self.path, CLEAN_SHUTDOWN, text)?;
        }
        Ok(())
    }
}

/// Takes note that [`RecoveryReport::is_unclean`] is known to whoever goes by it.
pub fn forget_unclean(disk: &impl Disk, path: &Path) -> io::Result<()> {
    let unclean = path.join(UNCLEAN_FILE);
    if !disk.exists(&unclean)? {
        return Ok(());
    }
    disk.remove_file(&unclean)?;
    disk.sync_dir(path)
}

impl<D: Disk> Log<D> {
    /// Takes the directory of a deleted partition out of the way, under a name that no start takes
    /// for a partition's, and answers that name. Its files may go at any time; a start removes
    /// them too.
    pub fn retire(self) -> io::Result<PathBuf> {
        let topic_id = self.topic_partition.topic_id;
        let name = format!("{}-{}", self.name, self.topic_partition.partition);
        let log_dir = self.dir.parent().expect("a partition's directory lies in a log dir");
        let to = doomed_path(&self.disk, log_dir, &name, topic_id.0, "delete")?;
        self.disk.rename(&self.dir, &to)?;
        Ok(to)
    }
}

/// Where the journal's entries are written again.
#[derive(Debug)]
pub struct Redo<'a, D: Disk> {
    disk: &'a D,
    found: &'a mut BTreeMap<TopicPartition, Found>,
    /// The segment of the last entry, open: entries come in runs.
    last: Option<(TopicPartition, Offset, D::File)>,
    /// Entries whose partition is gone.
    pub orphan_entry_count: u64,
}

impl<D: Disk> Redo<'_, D> {
    /// Takes note of an end offset that a commit proves.
    pub fn note_mark(&mut self, topic_partition: TopicPartition, end_offset: Offset) {
        if let Some(found) = self.found.get_mut(&topic_partition) {
            found.mark = found.mark.max(Some(end_offset));
        }
    }
}

impl<D: Disk> journal::Redo<D::File> for Redo<'_, D> {
    /// Writes a batch where it belongs, even if it is there: after a failed sync the page cache has
    /// it, passes for clean, and storage has it not. The next checkpoint must sync it.
    fn append(
        &mut self,
        topic_partition: TopicPartition,
        end_offset: Offset,
        segment_base: Offset,
        position: u64,
        bytes: &[u8],
    ) -> io::Result<Option<SegmentRef<D::File>>> {
        let Some(found) = self.found.get_mut(&topic_partition) else {
            self.orphan_entry_count += 1;
            return Ok(None);
        };
        // It was given up, and is back.
        found.is_forgotten = false;
        found.mark = found.mark.max(Some(end_offset));
        // It was made durable before anything was appended behind it.
        found.cut = None;
        let rewritten = match found.rewritten {
            Some(rewritten) => rewritten,
            None => Cleaned::load(self.disk, &found.dir, topic_partition.topic_id)?.rewritten_end,
        };
        found.rewritten = Some(rewritten);
        if end_offset <= rewritten {
            return Ok(None);
        }
        let start = found.state.as_ref().map_or(Offset::ZERO, |state| state.log_start);
        let path = found.dir.join(file_name(segment_base, "log"));
        let is_open =
            matches!(&self.last, Some((t, b, _)) if (*t, *b) == (topic_partition, segment_base));
        if !is_open {
            // A deleted segment is not brought back: it lies before the start, and there is a
            // newer one. (Where there is none, recovery drops it again.)
            let is_old = end_offset <= start && found.newest_base > Some(segment_base);
            if is_old && !self.disk.exists(&path)? {
                return Ok(None);
            }
            let there_bytes = match self.disk.open(&path, Open::Read) {
                Ok(file) => file.len()?,
                Err(error) if error.kind() == io::ErrorKind::NotFound => 0,
                Err(error) => return Err(error),
            };
            if there_bytes < position {
                suspect(self.disk, &found.dir, segment_base)?;
            }
            let file = self.disk.open(&path, Open::CreateOrWrite)?;
            self.last = Some((topic_partition, segment_base, file));
        }
        let (_, _, file) = self.last.as_ref().expect("opened above");
        file.write_all_at(bytes, position)?;
        Ok(Some(SegmentRef {
            file: file.clone(),
            base_offset: segment_base,
            is_new: true,
            dir: found.dir.as_path().into(),
        }))
    }

    /// Takes note that a segment was synced up to here.
    fn flush(
        &mut self,
        topic_partition: TopicPartition,
        end_offset: Offset,
        segment_base: Offset,
        position_end: u64,
    ) {
        let Some(found) = self.found.get_mut(&topic_partition) else {
            self.orphan_entry_count += 1;
            return;
        };
        found.is_forgotten = false;
        found.mark = found.mark.max(Some(end_offset));
        found.cut = None;
        let state = found.state.get_or_insert_with(PartitionState::default);
        if state.recovery_offset < end_offset {
            state.recovery_segment = segment_base;
            state.recovery_position = position_end;
            state.recovery_offset = end_offset;
        }
    }

    /// Takes note of a partition's small state.
    fn state(&mut self, topic_partition: TopicPartition, state: SmallState) {
        let Some(found) = self.found.get_mut(&topic_partition) else { return };
        if state == SmallState::Forget {
            (found.state, found.mark, found.cut) = (None, None, None);
            found.is_forgotten = true;
            return;
        }
        found.is_forgotten = false;
        if let SmallState::Truncated { end, segment, position, is_set_aside, .. } = state {
            // What is above the cut is promised no more.
            found.mark = Some(found.mark.unwrap_or_default().min(end));
            found.cut = Some(CutAt { end, segment, position, is_set_aside });
        }
        found.state.get_or_insert_with(PartitionState::default).take(state);
    }
}

/// Notes that a segment lacks bytes before those that are about to be redone, which were durable when
/// these were written. Afterwards it is as long as ever, and only a scan finds out; so the note is
/// durable before.
fn suspect(disk: &impl Disk, dir: &Path, segment_base: Offset) -> io::Result<()> {
    let mut damage = Damage::load(disk, dir)?;
    if damage.suspects.insert(segment_base) { damage.save(disk, dir) } else { Ok(()) }
}

/// Whether a partition's directory holds nothing but what making one writes: identity, and a
/// segment without a byte. Whatever else lies there keeps it.
pub(super) fn is_unfinished(disk: &impl Disk, dir: &Path) -> io::Result<bool> {
    for name in disk.list(dir)? {
        let Some(text) = name.to_str() else { return Ok(false) };
        if identity::is_identity_file(text) || text == kafka_files::LEADER_EPOCHS {
            continue;
        }
        let base = Offset::ZERO;
        let is_cache =
            ["index", "timeindex", "summary"].iter().any(|suffix| text == file_name(base, suffix));
        let is_empty_segment =
            text == file_name(base, "log") && disk.open(&dir.join(text), Open::Read)?.len()? == 0;
        if !is_cache && !is_empty_segment {
            return Ok(false);
        }
    }
    Ok(true)
}

fn read_clock(disk: &impl Disk, path: &Path) -> io::Result<Option<Timestamp>> {
    Ok(match small_file::read(disk, path, CLOCK_FILE)? {
        SmallFile::Text(text) => text.trim_end().parse().ok().map(Timestamp),
        _ => None,
    })
}

/// Topic and partition that a directory's name stands for.
pub(super) fn parse_dir_name(name: &str) -> Option<(TopicName, Partition)> {
    let (topic, partition) = name.rsplit_once('-')?;
    let number: i32 = partition.parse().ok()?;
    // `-0`, `+1` and `01` parse as numbers but are not how a partition is written.
    let is_canonical = 0 <= number && number.to_string() == partition;
    is_canonical.then(|| TopicName::new(topic).ok().map(|topic| (topic, Partition(number))))?
}

/// Where a directory that is to go, or is set aside, is out of the way. One of the same partition may be
/// there since it went before.
pub(super) fn doomed_path(
    disk: &impl Disk,
    log_dir: &Path,
    name: &str,
    id: Uuid,
    suffix: &str,
) -> io::Result<PathBuf> {
    let mut path = log_dir.join(doomed_name(name, id, suffix));
    let mut number = 1;
    while disk.exists(&path)? {
        path = log_dir.join(doomed_name(name, id, &format!("{number}-{suffix}")));
        number += 1;
    }
    Ok(path)
}

/// Kafka's name of such a directory, cut to what a file name may have.
fn doomed_name(name: &str, id: Uuid, suffix: &str) -> String {
    use std::fmt::Write;
    let mut hex = String::new();
    for byte in id.0 {
        let _ = write!(hex, "{byte:02x}");
    }
    let kept = name.len().min(255 - hex.len() - suffix.len() - 2);
    format!("{}.{hex}-{suffix}", &name[..kept])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn directory_names_are_kafkas() {
        let parsed = |name| parse_dir_name(name).map(|(topic, p)| (topic.to_string(), p.0));
        assert_eq!(parsed("a-b-3"), Some(("a-b".into(), 3)));
        assert_eq!(parsed("host.vmstat-0"), Some(("host.vmstat".into(), 0)));
        for other in ["a", "a-", "a-01", "a-+1", "-1", "a b-1", "clock.spare"] {
            assert_eq!(parsed(other), None, "{other}");
        }
        let long = format!("{}-99999", "x".repeat(249));
        let doomed = doomed_name(&long, Uuid([0xab; 16]), "delete");
        assert_eq!(doomed.len(), 255);
        assert!(doomed.ends_with("abab-delete"));
    }
}

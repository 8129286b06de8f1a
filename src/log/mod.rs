//! One partition's log, and the log dir that holds them: Kafka's files, and what survives a stop.
//!
//! ```text
//! <log dir>/   meta.properties format clock            who it belongs to; newest wall clock
//!              .kafka_cleanshutdown *-checkpoint       written at a clean stop, for Kafka
//! <topic>-<n>/ identity partition.metadata             which topic's partition this is
//!              <base>.log                              record batches, nothing else
//!              <base>.index .timeindex .summary        caches of what the batches imply
//!              <offset>.snapshot                       what was known of producers there
//!              damage leader-epoch-checkpoint          holes; epochs, for Kafka
//!              cleaned <base>.log.cleaned .log.swap    compaction: what was done, what is under way
//!              <base>.<position>.torn                  what recovery cut off
//! ```
//!
//! The life of a batch: [`Log::append`] stamps offset and epoch and writes it to the page cache
//! ([`Log::append_held`] writes a small one when there is time, or before it is read);
//! the journal commits it; [`Log::mark_durable`] says so; [`Log::read`] answers a range of the file
//! for `sendfile`; [`Log::expire`] and [`Log::delete_expired`] let it go. After any stop
//! [`LogDir::claim`], [`LogDir::redo`] and [`LogDir::recover`] bring back all that was promised.
//!
//! **Invariants.** `0 <= start <= durable <= end`. An offset is given out once: an append asserts
//! that it begins at the end, and recovery never lets the end fall behind what a commit named.
//! Nothing served is taken on an index's word. Nothing here waits for a disk on the way of a read.
//!
//! # Why
//! - *Indexes are read with `pread`, not mapped.* A map of a file that is cut under us, or that lies
//!   on a card that dies, ends the process with SIGBUS; a lookup is some ten reads of the page
//!   cache, and a reader that goes on where it stopped needs none. It also needs no `unsafe` and no
//!   addresses on 32-bit boards.
//! - *A summary beside each segment* holds checksums of its indexes. Kafka trusts an index whose
//!   length is right; after a power cut that is a file of zeros. Syncing index files instead would
//!   double the wear of a card for something that can be learnt again.
//! - *A damaged segment is parted in two files* rather than rewritten with its bad bytes: each file
//!   is then whole, for us and for Kafka's tools, and the gap is where offsets may have one.

mod cleaned;
mod cleaning;
mod compaction;
mod copy;
mod damage;
mod derived;
mod dir;
mod dump;
mod epochs;
mod identity;
mod import;
#[cfg(test)]
mod import_tests;
mod index;
mod kafka_dir;
mod kafka_files;
mod key_map;
mod producer_snapshot;
#[cfg(test)]
mod producer_tests;
mod producers;
mod read;
mod recovery;
mod repair;
mod retention;
#[cfg(test)]
mod retention_tests;
mod rewrite;
mod scrub;
mod segment;
mod small_file;
#[cfg(test)]
pub(crate) mod testing;
#[cfg(test)]
mod tests;
mod timestamps;
mod truncation;
mod types;
mod walk;

use std::io;
use std::path::Path;
use std::sync::Arc;

use crate::ids::{LeaderEpoch, Offset, TopicName, TopicPartition};
use crate::journal::disk::{Disk, DiskFile};
use crate::journal::{SegmentRef, SmallState};
use crate::record::{self, BatchHeader, TimestampType};
use crate::time::{Boot, Now};

use crate::topic_config::TopicConfig;
use cleaning::Cleaning;
use damage::Damage;
use producer_snapshot::{Between, Snapshots};
use producers::Producers;
use retention::Retention;
use segment::{Place, Segment};

pub use cleaning::Filth;
pub use compaction::{CleanCounts, CleanError, CleanLimits, CleanTurn, Round};
pub use copy::Copied;
pub use dir::{LogDir, OpenParameters, RecoveryReport, Redo, Unknown, UnknownDir, forget_unclean};
pub use dump::{Dump, Dumped};
pub use epochs::Epochs;
pub use identity::{DirIdentity, OpenError, adopt_cluster};
pub use import::{Take, TakeError, Taken, take_over};
pub use kafka_dir::{KafkaDir, KafkaDirError, KafkaPartition, KafkaSegment, topic_id_in};
pub use producer_snapshot::ProducersNote;
pub use producers::{Earlier, KnownProducer, SequenceError};
pub use recovery::{LogReport, owed_entries};
pub use scrub::{DamageNote, Scrub, Scrubbed};
pub use truncation::{Cut, CutDone, Truncation};
pub use types::{Appended, FlushTarget, FoundOffset, Hole, LogError, ReadError, Slice};

/// One partition's log.
///
/// Range: `0 <= start <= durable <= end`; segments rise, only the last one grows.
pub struct Log<D: Disk> {
    disk: D,
    /// Shared with the flusher by every entry handed to it, hence counted atomically.
    dir: Arc<Path>,
    name: TopicName,
    topic_partition: TopicPartition,
    config: TopicConfig,
    start: Offset,
    durable: Offset,
    /// Oldest first; the last one is active.
    segments: Vec<Segment<D>>,
    epochs: Epochs,
    damage: Damage,
    retention: Retention,
    cleaning: Cleaning,
    producers: Producers,
    snapshots: Snapshots,
    /// The high watermark as it was last written down, where the partition has other replicas.
    noted_high_watermark: Offset,
    /// What the last `expire` would have had to wait for.
    cold: Option<Box<(D::File, u64, u64)>>,
    /// Whether a cut is under way: nothing may be appended.
    is_truncating: bool,
    is_poisoned: bool,
}

impl<D: Disk> Log<D> {
    /// Makes a partition's directory and its first segment, and makes their names durable. A
    /// directory of the same name that belongs to another topic is set aside, not touched.
    pub fn create(
        disk: D,
        log_dir: &Path,
        name: &TopicName,
        topic_partition: TopicPartition,
        config: TopicConfig,
        now: Now,
    ) -> Result<Self, LogError> {
        let (log, identity) = Log::make(disk, log_dir, name, topic_partition, config, now)?;
        for file in identity {
            file.sync_data()?;
        }
        log.disk.sync_dir(&log.dir)?;
        log.disk.sync_dir(log_dir)?;
        Ok(log)
    }

    /// As [`Log::create`], without a sync. Whoever makes many partitions at once makes them all
    /// durable by one [`Disk::sync_all`] of the log dir, before anybody hears of them. A stop
    /// before that leaves directories that no metadata names; the next start removes them.
    pub fn create_unsynced(
        disk: D,
        log_dir: &Path,
        name: &TopicName,
        topic_partition: TopicPartition,
        config: TopicConfig,
        now: Now,
    ) -> Result<Self, LogError> {
        let made = Log::make(disk, log_dir, name, topic_partition, config, now);
        // What there is of it is no log yet, and is made anew.
        made.map(|(log, _)| log).map_err(|error| match error {
            LogError::Io(error) => disk_error(error),
            error => error,
        })
    }

    fn make(
        disk: D,
        log_dir: &Path,
        name: &TopicName,
        topic_partition: TopicPartition,
        config: TopicConfig,
        now: Now,
    ) -> Result<(Self, [D::File; 2]), LogError> {
        let dir_name = format!("{name}-{}", topic_partition.partition);
        let dir: Arc<Path> = log_dir.join(&dir_name).into();
        if disk.exists(&dir)? {
            if dir::is_unfinished(&disk, &dir)? {
                disk.remove_dir_all(&dir)?;
            } else {
                let other = identity::topic_id(&disk, &dir)?.unwrap_or_default();
                let aside = dir::doomed_path(&disk, log_dir, &dir_name, other.0, "stray")?;
                disk.rename(&dir, &aside)?;
            }
        }
        disk.create_dir_all(&dir)?;
        let identity = identity::write_topic_id(&disk, &dir, topic_partition.topic_id)?;
        let active = Segment::create(Place { disk: &disk, dir: &dir }, Offset::ZERO, now.boot)?;
        let log = Log {
            disk,
            dir,
            name: name.clone(),
            topic_partition,
            config,
            start: Offset::ZERO,
            durable: Offset::ZERO,
            segments: vec![active],
            epochs: Epochs::default(),
            damage: Damage::default(),
            retention: Retention::new(now, Offset::ZERO),
            cleaning: Cleaning::default(),
            producers: Producers::default(),
            snapshots: Snapshots::default(),
            noted_high_watermark: Offset::ZERO,
            cold: None,
            is_truncating: false,
            is_poisoned: false,
        };
        log.invariants();
        Ok((log, identity))
    }

    /// Stamps a validated batch with the next offset and the epoch in force, and writes it at the
    /// end, in a new segment if one is due. It is in the page cache when this returns, no further.
    /// A batch of an idempotent producer must follow that producer's last one.
    pub fn append(&mut self, now: Now, batch: &mut [u8]) -> Result<Appended<D::File>, LogError> {
        self.add(now, batch, false)
    }

    /// As [`Log::append`], but a small batch may be held in memory until [`Log::settle`], or until
    /// somebody reads: for batches that are acknowledged on the journal's word, which has them too.
    /// [`Appended::is_written`] says which it was; what is held must be settled before the half of
    /// the ring that has it is freed.
    pub fn append_held(
        &mut self,
        now: Now,
        batch: &mut [u8],
    ) -> Result<Appended<D::File>, LogError> {
        self.add(now, batch, true)
    }

    fn add(
        &mut self,
        now: Now,
        batch: &mut [u8],
        may_hold: bool,
    ) -> Result<Appended<D::File>, LogError> {
        if self.is_poisoned {
            return Err(LogError::Poisoned);
        }
        assert!(!self.is_truncating, "a leader does not cut its log");
        let leader_epoch = self.leader_epoch();
        let header = BatchHeader::parse(batch).expect("the batch was validated");
        self.producers.check(&header).map_err(LogError::Sequence)?;
        let last = self.end_offset().checked_add(i64::from(header.last_offset_delta));
        if last.is_none_or(|last| last.next().is_none()) {
            return Err(LogError::OffsetsExhausted);
        }
        record::stamp(batch, self.end_offset(), leader_epoch);
        let stamps_time = self.config.message_timestamp_type == TimestampType::LogAppendTime;
        let log_append_time = stamps_time.then_some(now.wall);
        if let Some(time) = log_append_time {
            record::stamp_log_append_time(batch, time);
        }
        let header = BatchHeader::parse(batch).expect("the batch was validated");
        assert!(header.size_bytes() == batch.len(), "exactly one batch is appended");
        assert!(header.base_offset == self.end_offset(), "offsets are handed out once");
        if (self.config.segment_bytes as usize) < batch.len() {
            return Err(LogError::BatchTooLarge);
        }
        if self.active().is_due_to_roll(&header, &self.config, now) {
            self.roll(now.boot)?;
        }
        let is_written = self.write(now.boot, batch, &header, may_hold)?;
        self.producers.observe(&header, now.boot);
        if self.snapshots.is_due_after(batch.len() as u64) {
            // Without it a start reads more: the segments say the same.
            let _ = self.save_producers(now.boot);
        }
        let dir = Arc::clone(&self.dir);
        let active = self.active();
        Ok(Appended {
            base_offset: header.base_offset,
            end_offset: header.next_offset(),
            leader_epoch,
            position: active.bytes - batch.len() as u64,
            is_written,
            segment: SegmentRef {
                file: active.handle(self.place())?,
                base_offset: active.base,
                is_new: active.is_new,
                dir,
            },
            log_append_time,
        })
    }

    fn write(
        &mut self,
        now: Boot,
        batch: &[u8],
        header: &BatchHeader,
        may_hold: bool,
    ) -> Result<bool, LogError> {
        let place = Place { disk: &self.disk, dir: &self.dir };
        let active = self.segments.last_mut().expect("a log has an active segment");
        match active.append(place, batch, header, &self.config, now, may_hold) {
            Ok(is_written) => {
                self.invariants();
                Ok(is_written)
            }
            Err(error) => {
                let is_full = error.kind() == io::ErrorKind::StorageFull;
                // Nobody was told of these bytes yet, so they may go; if they do not, the file's
                // end is unknown and nothing may be written behind it.
                if is_full && active.undo_append(place).is_ok() {
                    return Err(LogError::DiskFull);
                }
                self.is_poisoned = true;
                Err(LogError::Io(error))
            }
        }
    }

    /// Writes what [`Log::append_held`] held. A log that cannot takes no more appends; the journal
    /// still has what is held, and must keep it.
    pub fn settle(&mut self) -> Result<(), LogError> {
        let settled = self.active().settle(self.place());
        settled.map_err(|error| {
            self.is_poisoned = true;
            LogError::Io(error)
        })
    }

    /// Bytes that [`Log::settle`] would write.
    pub fn held_bytes(&self) -> usize {
        self.active().held_bytes()
    }

    /// Seals the active segment and begins a new one at the end of the log.
    pub fn roll(&mut self, now: Boot) -> Result<(), LogError> {
        let end = self.end_offset();
        if self.active().base == end {
            // The empty segment is made anew only to grow into indexes that are not full.
            let segment = Segment::create(self.place(), end, now).map_err(disk_error)?;
            *self.active_mut() = segment;
            return Ok(());
        }
        let place = Place { disk: &self.disk, dir: &self.dir };
        let sealed = self.segments.last_mut().expect("a log has an active segment");
        if let Err(error) = sealed.seal(place) {
            let error = disk_error(error);
            // A full disk leaves it as it was, and the log goes on in it.
            self.is_poisoned |= !matches!(error, LogError::DiskFull);
            return Err(error);
        }
        let segment = Segment::create(self.place(), end, now).map_err(disk_error)?;
        self.segments.push(segment);
        let _ = self.save_producers(now);
        self.invariants();
        Ok(())
    }

    /// Writes down what is known of producers at the end of the log, if that is not nothing new.
    fn save_producers(&mut self, now: Boot) -> io::Result<()> {
        let place = Place { disk: &self.disk, dir: &self.dir };
        let active = self.segments.last().expect("a log has an active segment");
        // While the log is cut it is not known what they have done up to its end.
        if active.end == Offset::ZERO || self.is_truncating {
            return Ok(());
        }
        let at = Between { offset: active.end, base: active.base, position: active.bytes };
        self.snapshots.write(place, &self.producers, at, now)
    }

    /// The same, and waits until it is on stable storage.
    fn sync_producers(&mut self, now: Boot) -> io::Result<()> {
        self.save_producers(now)?;
        self.snapshots.sync(self.place())
    }

    /// Writes down what is known of producers when much has come since the last time, so that a
    /// start need not read it. Call it now and then.
    pub fn maybe_save_producers(&mut self, now: Now) {
        if !self.is_poisoned && self.snapshots.is_due(now.boot) {
            let _ = self.save_producers(now.boot);
        }
    }

    /// Forgets idempotent producers that wrote nothing for `expiration_ms`
    /// (`producer.id.expiration.ms`).
    pub fn expire_producers(&mut self, now: Now, expiration_ms: u64) {
        self.producers.expire(now.boot, expiration_ms);
    }

    /// Forgets the idempotent producers that wrote least recently: all partitions together remember
    /// too many.
    pub fn forget_producers(&mut self, count: usize) {
        self.producers.forget(count);
    }

    /// The idempotent producers whose last batches are known.
    pub fn producers(&self) -> impl Iterator<Item = KnownProducer> + '_ {
        self.producers.known()
    }

    /// How many they are.
    pub fn producer_count(&self) -> usize {
        self.producers.count()
    }

    /// Whether this one is among them.
    pub fn knows_producer(&self, producer_id: i64) -> bool {
        self.producers.knows(producer_id)
    }

    /// Raises what is known to be on stable storage.
    pub fn mark_durable(&mut self, end_offset: Offset) {
        assert!(end_offset <= self.end_offset(), "nothing beyond the end can be durable");
        self.durable = self.durable.max(end_offset);
        self.invariants();
    }

    /// Parts of segments to sync so that all of the log is durable, oldest first.
    pub fn flush_targets(&self) -> Result<Vec<FlushTarget<D::File>>, LogError> {
        let mut targets = Vec::new();
        let first = self.segments.partition_point(|segment| segment.end <= self.durable);
        for segment in &self.segments[first..] {
            if segment.end == segment.base {
                continue;
            }
            targets.push(self.flush_target(segment)?);
        }
        Ok(targets)
    }

    /// The last segment, though nothing of it may be new.
    pub fn last_flush_target(&self) -> Result<FlushTarget<D::File>, LogError> {
        let last = self.segments.last().expect("a log has a segment");
        Ok(self.flush_target(last)?)
    }

    fn flush_target(&self, segment: &Segment<D>) -> io::Result<FlushTarget<D::File>> {
        let reference = SegmentRef {
            file: segment.file(self.place())?,
            base_offset: segment.base,
            is_new: segment.is_new,
            dir: Arc::clone(&self.dir),
        };
        let (end_offset, position_end) = (segment.end, segment.bytes);
        Ok(FlushTarget { segment: reference, end_offset, position_end })
    }

    /// Begins a leader epoch at the end of the log; an epoch that does not rise is a bug.
    pub fn begin_epoch(&mut self, epoch: LeaderEpoch) -> SmallState {
        assert!(self.leader_epoch() < epoch, "a leader epoch rises");
        let offset = self.end_offset();
        self.epochs.assign(epoch, offset);
        SmallState::EpochStart { epoch, offset }
    }

    /// Leaves the files as Kafka wants to find them, all of the log on stable storage. The log can
    /// be read on, not appended to.
    pub fn close(&mut self) -> io::Result<()> {
        let place = Place { disk: &self.disk, dir: &self.dir };
        let first = self.segments.partition_point(|segment| segment.end <= self.durable);
        let unsynced = &self.segments[first.min(self.segments.len() - 1)..];
        for segment in unsynced.iter().filter(|segment| self.durable < segment.end) {
            segment.file(place)?.sync_data()?;
        }
        for segment in &mut self.segments {
            let is_complete = segment.span().is_some() && !segment.has_loose_entries();
            if !is_complete {
                segment.complete(place, &self.config)?;
                segment.seal(place)?;
            }
        }
        self.save_producers(Boot(0))?;
        let text = kafka_files::epoch_checkpoint(self.epochs.entries());
        small_file::replace(&self.disk, &self.dir, kafka_files::LEADER_EPOCHS, text.as_bytes())?;
        self.close_clean()?;
        self.durable = self.end_offset();
        self.is_poisoned = true;
        self.close_idle_handles();
        Ok(())
    }

    /// Closes files that are opened again when needed.
    pub fn close_idle_handles(&mut self) {
        let place = Place { disk: &self.disk, dir: &self.dir };
        let active = self.segments.len() - 1;
        for (number, segment) in self.segments.iter_mut().enumerate() {
            segment.close_handles(place, number == active);
        }
    }

    /// Files that are open.
    pub fn handle_count(&self) -> usize {
        self.segments.iter().map(Segment::handle_count).sum()
    }

    /// First offset that may be read.
    pub fn start_offset(&self) -> Offset {
        self.start
    }

    /// Offset that the next record gets.
    pub fn end_offset(&self) -> Offset {
        self.active().end
    }

    /// End of what is on stable storage.
    pub fn durable_offset(&self) -> Offset {
        self.durable
    }

    /// Writes a high watermark down, if it is a newer one.
    pub fn note_high_watermark(&mut self, high_watermark: Offset) -> Option<SmallState> {
        let is_news = self.noted_high_watermark < high_watermark;
        self.noted_high_watermark = self.noted_high_watermark.max(high_watermark);
        is_news.then_some(SmallState::HighWatermark(high_watermark))
    }

    /// The high watermark as it was last written down.
    pub fn noted_high_watermark(&self) -> Offset {
        self.noted_high_watermark
    }

    /// Bytes of all segments.
    pub fn size_bytes(&self) -> u64 {
        self.segments.iter().map(|segment| segment.bytes).sum()
    }

    /// Segments, the active one included.
    pub fn segment_count(&self) -> usize {
        self.segments.len()
    }

    /// The epoch in force, [`LeaderEpoch::NONE`] before the first.
    pub fn leader_epoch(&self) -> LeaderEpoch {
        self.epochs.latest().unwrap_or(LeaderEpoch::NONE)
    }

    /// All epochs known.
    pub fn epochs(&self) -> &Epochs {
        &self.epochs
    }

    /// Offsets that are lost.
    pub fn holes(&self) -> &[Hole] {
        &self.damage.holes
    }

    /// The topic's configuration as this log applies it.
    pub fn config(&self) -> &TopicConfig {
        &self.config
    }

    /// Applies another configuration from now on.
    pub fn set_config(&mut self, config: TopicConfig) {
        self.config = config;
    }

    /// Which partition this is.
    pub fn topic_partition(&self) -> TopicPartition {
        self.topic_partition
    }

    /// Name of the topic.
    pub fn name(&self) -> &TopicName {
        &self.name
    }

    /// The partition's directory.
    pub fn dir(&self) -> &Path {
        &self.dir
    }

    /// Whether an earlier failure keeps the log from growing.
    pub fn is_poisoned(&self) -> bool {
        self.is_poisoned
    }

    fn place(&self) -> Place<'_, D> {
        Place { disk: &self.disk, dir: &self.dir }
    }

    fn active(&self) -> &Segment<D> {
        self.segments.last().expect("a log has an active segment")
    }

    fn active_mut(&mut self) -> &mut Segment<D> {
        self.segments.last_mut().expect("a log has an active segment")
    }

    /// What holds between any two calls; checked in debug builds after each mutation.
    fn invariants(&self) {
        if !cfg!(debug_assertions) {
            return;
        }
        let (start, durable, end) = (self.start, self.durable, self.end_offset());
        assert!(Offset::ZERO <= start, "start {start}");
        assert!(start <= durable, "start {start}, durable {durable}");
        assert!(durable <= end, "durable {durable}, end {end}");
        for pair in self.segments.windows(2) {
            assert!(pair[0].base < pair[1].base, "segments rise");
            assert!(pair[0].end <= pair[1].base, "segments do not overlap");
        }
    }
}

/// Says that the disk is full where that is all there is to an error.
fn disk_error(error: io::Error) -> LogError {
    if error.kind() == io::ErrorKind::StorageFull {
        LogError::DiskFull
    } else {
        LogError::Io(error)
    }
}

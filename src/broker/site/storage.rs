//! What the quorum wants persisted, on its way to the disk: promises to their file, batches through
//! the journal, a snapshot in the place of what it replaces.
//!
//! ```text
//! Persist ─► promises or snapshot? ─► Keep, on a thread that may wait ─┐
//!         ─► replaces batches? ─► Truncated to the journal ─► Cut ─────┤
//!         ─► batches ─► segment and journal ───────────────────────────┴─► Persisted, in order
//! ```
//!
//! Batches alone, which is nearly always, are pipelined: one commit of the journal holds what came
//! of several. Whatever else waits until those before it are durable, and is alone.
//!
//! # A full disk
//!
//! Nothing is lost by it, so nothing is given up: what does not fit is tried again from time to time,
//! and whatever follows waits behind it. Meanwhile nothing is promised: no vote and no
//! acknowledgement leaves. Whatever else fails is final until the node is started anew.
//!
//! **Invariant:** `Persisted(n)` comes when everything up to `n` is on stable storage, and the steps
//! of one [`Persist`] happen in the order above: a promise is durable before the batches that rest
//! on it, a snapshot before the log begins anew behind it.

use std::collections::VecDeque;
use std::io;
use std::path::Path;

use bytes::Bytes;

use crate::broker::back::Flushed;
use crate::broker::control::METADATA;
use crate::broker::site::kept::{Keep, KeptState};
use crate::ids::Offset;
use crate::journal::disk::Disk;
use crate::journal::{self, Entry, SmallState};
use crate::limits::{QUORUM_LOG_BYTES, QUORUM_STEPS_WAITING_MAX};
use crate::log::{Cut, CutDone, Log, LogError, ReadError, Truncation, forget_unclean};
use crate::quorum::{HardState, Persist};
use crate::record::BatchHeader;
use crate::time::{Boot, Now};

/// How long a full disk is left alone before it is asked again.
pub(super) const FULL_RETRY_MS: u64 = 1000;

/// What the storage wants done.
pub(super) enum StorageOutput<D: Disk> {
    /// Hand to the flusher.
    Journal(Entry<D::File>),
    /// Do on a thread that may wait for the disk, then say so by [`Storage::worked`].
    Work(Work<D>),
    /// Everything up to this number is on stable storage.
    Persisted(u64),
    /// Nothing more will be.
    Failed,
}

/// Work that waits for the disk.
pub enum Work<D: Disk> {
    /// Files to write.
    Keep(Vec<Keep>),
    /// A log to cut.
    Cut(Box<Cut<D>>),
    /// Bytes to bring into the page cache.
    Load(D::File, u64, u64),
    /// The controller knows what the last stop has left ([`prove`]).
    Prove,
}

/// Takes note that the controller knows what the last stop has left, or that there is none but this
/// node's own: a journal that was lost ([`journal::prove`]), or a stop that was not clean.
pub fn prove(disk: &impl Disk, dir: &Path) -> io::Result<()> {
    journal::prove(disk, dir)?;
    forget_unclean(disk, dir)
}

/// What became of it.
pub enum Worked {
    /// The files are durable, or not.
    Kept(io::Result<()>),
    /// The cut is durable, or not.
    Cut(io::Result<CutDone>),
    /// The bytes are there, or lost.
    Loaded(io::Result<()>),
    /// It is noted, or will be said again.
    Proven(io::Result<()>),
}

enum Step<D: Disk> {
    Idle,
    Keeping(Persist),
    Loading(Persist),
    Announced(Persist, Truncation),
    Cutting(Persist, Box<Cut<D>>),
    Full(Attempt<D>),
}

/// What found no room, and is tried again as it was.
enum Attempt<D: Disk> {
    Keep(Persist),
    Begin(Persist, Truncation),
    Cut(Persist, Box<Cut<D>>),
    /// So many of the batches are in the log.
    Append(Persist, usize),
}

/// The way to the disk.
pub(super) struct Storage<D: Disk> {
    log: Log<D>,
    state: KeptState,
    queue: VecDeque<Persist>,
    step: Step<D>,
    /// The disk was full when it was written last: when that is tried again.
    retry_at: Option<Boot>,
    /// Batches that the journal has and their numbers, oldest first.
    in_flight: VecDeque<(u64, Offset)>,
    outputs: VecDeque<StorageOutput<D>>,
    is_failed: bool,
}

impl<D: Disk> Storage<D> {
    pub(super) fn new(log: Log<D>, state: KeptState) -> Storage<D> {
        Storage {
            log,
            state,
            queue: VecDeque::new(),
            step: Step::Idle,
            retry_at: None,
            in_flight: VecDeque::new(),
            outputs: VecDeque::new(),
            is_failed: false,
        }
    }

    pub(super) fn poll(&mut self) -> Option<StorageOutput<D>> {
        self.outputs.pop_front()
    }

    /// What was promised, as it was persisted last.
    pub(super) fn state(&self) -> KeptState {
        self.state
    }

    /// The founder's log begins with the site.
    pub(super) fn found(&mut self) {
        self.state.is_founder = true;
    }

    pub(super) fn log(&self) -> &Log<D> {
        &self.log
    }

    pub(super) fn into_log(self) -> Log<D> {
        self.log
    }

    /// Whether something found no room.
    pub(super) fn is_full(&self) -> bool {
        self.retry_at.is_some()
    }

    /// Whether so much waits for room that no more of the log may come.
    pub(super) fn is_clogged(&self) -> bool {
        let bytes_of = |persist: &Persist| persist.batches.iter().map(Bytes::len).sum::<usize>();
        self.is_full()
            && (QUORUM_STEPS_WAITING_MAX <= self.queue.len()
                || QUORUM_LOG_BYTES <= self.queue.iter().map(bytes_of).sum())
    }

    pub(super) fn persist(&mut self, now: Now, persist: Persist) {
        self.queue.push_back(persist);
        self.advance(now);
    }

    /// Work is done.
    pub(super) fn worked(&mut self, now: Now, worked: Worked) {
        match (std::mem::replace(&mut self.step, Step::Idle), worked) {
            (Step::Keeping(persist), Worked::Kept(Ok(()))) => {
                self.found_room();
                self.kept(now, persist);
            }
            (Step::Keeping(persist), Worked::Kept(Err(why))) if is_full(&why) => {
                self.wait_for_room(now, Attempt::Keep(persist));
            }
            (Step::Loading(persist), Worked::Loaded(Ok(()))) => self.place(now, persist),
            (Step::Cutting(persist, _), Worked::Cut(Ok(done))) => {
                self.found_room();
                self.log.finish_truncation(done);
                self.append(now, persist, 0);
            }
            (Step::Cutting(persist, cut), Worked::Cut(Err(why))) if is_full(&why) => {
                self.wait_for_room(now, Attempt::Cut(persist, cut));
            }
            (_, Worked::Kept(Err(why)) | Worked::Loaded(Err(why)) | Worked::Cut(Err(why))) => {
                log::error!("the quorum's log cannot be written: {why}");
                self.fail();
            }
            (step, _) => self.step = step,
        }
        self.advance(now);
    }

    /// A commit of the journal with something of the metadata log in it is durable.
    pub(super) fn flushed(&mut self, now: Now, flushed: &Flushed) {
        if let Some(durable_offset) = flushed.durable_offset {
            self.log.mark_durable(durable_offset);
        }
        if let Some(start) = flushed.log_start_offset {
            self.log.mark_start_durable(start);
            self.remove_old(now);
        }
        if flushed.is_truncated {
            match std::mem::replace(&mut self.step, Step::Idle) {
                Step::Announced(persist, truncation) => self.cut(now, persist, truncation),
                step => self.step = step,
            }
        }
        self.settle_flight();
        self.advance(now);
    }

    /// The log dir failed.
    pub(super) fn fail(&mut self) {
        if !self.is_failed {
            self.is_failed = true;
            self.outputs.push_back(StorageOutput::Failed);
        }
    }

    /// Looks whether something is due: another attempt at a full disk, and to unlink segments that a
    /// snapshot replaced.
    pub(super) fn look(&mut self, now: Now) {
        self.remove_old(now);
        if self.retry_at.is_none_or(|at| now.boot < at) || self.is_failed {
            return;
        }
        match std::mem::replace(&mut self.step, Step::Idle) {
            Step::Full(Attempt::Keep(persist)) => self.keep(persist),
            Step::Full(Attempt::Begin(persist, truncation)) => self.cut(now, persist, truncation),
            Step::Full(Attempt::Cut(persist, cut)) => self.hand_out(persist, cut),
            Step::Full(Attempt::Append(persist, done)) => self.append(now, persist, done),
            step => self.step = step,
        }
        self.advance(now);
    }

    fn wait_for_room(&mut self, now: Now, attempt: Attempt<D>) {
        if self.retry_at.is_none() {
            log::warn!(
                "the disk is full: this node promises nothing in the metadata quorum until there \
                 is room"
            );
        }
        self.retry_at = Some(now.boot.plus_ms(FULL_RETRY_MS));
        self.step = Step::Full(attempt);
    }

    fn found_room(&mut self) {
        if self.retry_at.take().is_some() {
            log::warn!("the disk has room again: this node goes on in the metadata quorum");
        }
    }

    fn remove_old(&mut self, now: Now) {
        if let Err(why) = self.log.delete_expired(now) {
            log::warn!("old metadata could not be removed: {why}");
        }
    }

    fn advance(&mut self, now: Now) {
        while matches!(self.step, Step::Idle) && !self.is_failed {
            let Some(head) = self.queue.front() else { return };
            let is_plain = !self.must_keep(head) && !self.must_cut(head);
            if !is_plain && !self.in_flight.is_empty() {
                return;
            }
            let persist = self.queue.pop_front().expect("just looked at");
            if self.must_keep(&persist) {
                if let Some(state) = persist.hard_state {
                    self.state = self.state.with(self.promised(state, &persist));
                }
                self.keep(persist);
            } else {
                self.place(now, persist);
            }
        }
    }

    fn keep(&mut self, persist: Persist) {
        let mut keeps = vec![Keep::State(self.state)];
        keeps.extend(persist.snapshot.clone().map(Keep::Snapshot));
        self.outputs.push_back(StorageOutput::Work(Work::Keep(keeps)));
        self.step = Step::Keeping(persist);
    }

    fn must_keep(&self, persist: &Persist) -> bool {
        // How far the log is committed may lag behind: that is no promise, unless it comes alone.
        let is_alone = persist.batches.is_empty();
        let is_promise = |state: &HardState| {
            is_alone || (state.epoch, state.vote) != (self.state.epoch, self.state.vote)
        };
        persist.snapshot.is_some() || persist.hard_state.as_ref().is_some_and(is_promise)
    }

    /// What may be promised before the batches of the same step are durable. How far the log is
    /// committed is said of them, and what lies in their place until then may be something else: a
    /// start would take that for committed.
    fn promised(&self, state: HardState, persist: &Persist) -> HardState {
        if persist.batches.is_empty() && persist.snapshot.is_none() {
            return state;
        }
        HardState { high_watermark: self.state.high_watermark, ..state }
    }

    fn must_cut(&self, persist: &Persist) -> bool {
        // A stop may have come after a snapshot was durable and before the log began behind it.
        persist.begins_anew
            || first_offset(persist).is_some_and(|first| first != self.log.end_offset())
    }

    /// Promises and snapshot are durable.
    fn kept(&mut self, now: Now, persist: Persist) {
        if let (Some(snapshot), false) = (&persist.snapshot, persist.begins_anew) {
            let start = Offset(snapshot.last_offset.0 + 1);
            let raised = self.log.advance_start(start);
            let end = self.log.end_offset();
            let dropped = self.log.expire(now, end).unwrap_or(None);
            for state in raised.into_iter().chain(dropped) {
                self.journal(state);
            }
        }
        self.place(now, persist);
    }

    fn journal(&mut self, state: SmallState) {
        let entry = Entry::State { topic_partition: METADATA, state };
        self.outputs.push_back(StorageOutput::Journal(entry));
    }

    /// Makes room for the batches, if something else is in their place.
    fn place(&mut self, now: Now, persist: Persist) {
        if !self.must_cut(&persist) {
            return self.append(now, persist, 0);
        }
        let truncation = match &persist.snapshot {
            Some(snapshot) if persist.begins_anew => {
                Ok(Truncation::restart(Offset(snapshot.last_offset.0 + 1)))
            }
            _ => match first_offset(&persist) {
                Some(first) if first < self.log.end_offset() => self.log.truncation(first),
                first => Ok(Truncation::restart(first.unwrap_or(self.log.end_offset()))),
            },
        };
        match truncation {
            Ok(truncation) => {
                self.journal(truncation.state());
                self.step = Step::Announced(persist, truncation);
            }
            Err(ReadError::Cold { file, position, bytes, .. }) => {
                self.outputs.push_back(StorageOutput::Work(Work::Load(file, position, bytes)));
                self.step = Step::Loading(persist);
            }
            Err(_) => {
                log::error!("the quorum's log cannot be read where it must be cut");
                self.fail();
            }
        }
    }

    /// The journal knows of the cut.
    fn cut(&mut self, now: Now, persist: Persist, truncation: Truncation) {
        match self.log.begin_truncation(now, truncation) {
            Ok(cut) => self.hand_out(persist, Box::new(cut)),
            Err(LogError::DiskFull) => {
                self.wait_for_room(now, Attempt::Begin(persist, truncation));
            }
            Err(why) => {
                log::error!("the quorum's log cannot be cut: {why}");
                self.fail();
            }
        }
    }

    fn hand_out(&mut self, persist: Persist, cut: Box<Cut<D>>) {
        self.outputs.push_back(StorageOutput::Work(Work::Cut(cut.clone())));
        self.step = Step::Cutting(persist, cut);
    }

    /// Appends the batches behind the first ones, which are in the log.
    fn append(&mut self, now: Now, persist: Persist, done: usize) {
        for (number, batch) in persist.batches.iter().enumerate().skip(done) {
            match self.append_one(now, batch) {
                Ok(()) => self.found_room(),
                Err(LogError::DiskFull) => {
                    return self.wait_for_room(now, Attempt::Append(persist, number));
                }
                Err(why) => {
                    log::error!("the quorum's log cannot be written: {why}");
                    return self.fail();
                }
            }
        }
        self.in_flight.push_back((persist.number, self.log.end_offset()));
        self.settle_flight();
    }

    fn append_one(&mut self, now: Now, batch: &Bytes) -> Result<(), LogError> {
        let copied = self.log.append_copy(now, batch, false)?;
        if let Some(epoch_start) = copied.epoch_start {
            self.journal(epoch_start);
        }
        let entry = copied.appended.into_entry(METADATA, batch.clone());
        self.outputs.push_back(StorageOutput::Journal(entry));
        Ok(())
    }

    fn settle_flight(&mut self) {
        let durable = self.log.durable_offset();
        while self.in_flight.front().is_some_and(|(_, end)| *end <= durable) {
            let (number, _) = self.in_flight.pop_front().expect("just looked at");
            self.outputs.push_back(StorageOutput::Persisted(number));
        }
    }
}

fn is_full(why: &io::Error) -> bool {
    why.kind() == io::ErrorKind::StorageFull
}

fn first_offset(persist: &Persist) -> Option<Offset> {
    let first = persist.batches.first()?;
    Some(BatchHeader::parse(first).expect("a batch of our own").base_offset)
}

#[cfg(test)]
mod tests;

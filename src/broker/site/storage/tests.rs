//! The quorum's way to the disk, where power goes and room runs out.

use std::path::Path;

use super::*;
use crate::broker::control::{METADATA_TOPIC, metadata_topic_config};
use crate::ids::{LeaderEpoch, TopicName};
use crate::log::testing::{MemoryDisk, at};
use crate::quorum::HardState;
use crate::record::{BatchBuilder, Compression, stamp};

fn persist(number: u64, epoch: LeaderEpoch, committed: i64) -> Persist {
    let mut builder = BatchBuilder::new();
    builder.push(at(0).wall, None, Some(b"changes"), &[]);
    let mut batch = builder.finish(Compression::None);
    stamp(&mut batch, Offset::ZERO, epoch);
    let high_watermark = Offset(committed);
    Persist {
        number,
        hard_state: Some(HardState { epoch, vote: None, high_watermark }),
        snapshot: None,
        begins_anew: false,
        batches: vec![batch.into()],
    }
}

/// Found by tests/sim: a node with a batch that nobody else had heard of a new leader by a batch in
/// its place that was committed already. It noted the new epoch and how far the log was committed
/// first, so that a power cut before the old batch was cut left that one, committed.
#[test]
fn nothing_is_noted_as_committed_before_it_is_there() {
    let mut storage = Rig::new().storage;
    let mut kept = Vec::new();
    for persist in [persist(1, LeaderEpoch(5), 0), persist(2, LeaderEpoch(6), 1)] {
        storage.persist(at(1), persist);
        while let Some(output) = storage.poll() {
            if let StorageOutput::Work(Work::Keep(keeps)) = output {
                kept.extend(keeps);
                storage.worked(at(1), Worked::Kept(Ok(())));
            }
        }
        let durable_offset = Some(storage.log().end_offset());
        let flushed = Flushed { durable_offset, ..Flushed::nothing_of(METADATA) };
        storage.flushed(at(1), &flushed);
    }
    let noted = kept.iter().map(|keep| match keep {
        Keep::State(state) => (state.epoch.0, state.high_watermark.0),
        Keep::Snapshot(_) => unreachable!("there is none"),
    });
    assert_eq!(noted.collect::<Vec<_>>(), [(5, 0), (6, 0)]);
}

const SEGMENT: &str = "/data/__cluster_metadata-0/00000000000000000000.log";

/// A storage with an empty log, and what it has had done since.
struct Rig {
    disk: MemoryDisk,
    storage: Storage<MemoryDisk>,
    journaled: usize,
    persisted: Vec<u64>,
    is_failed: bool,
}

impl Rig {
    fn new() -> Rig {
        let name = TopicName::new(METADATA_TOPIC).expect("legal");
        let (disk, config) = (MemoryDisk::default(), metadata_topic_config());
        let log = Log::create(disk.clone(), Path::new("/data"), &name, METADATA, config, at(0));
        let state = KeptState {
            incarnation: 1,
            is_founder: true,
            epoch: LeaderEpoch(0),
            vote: None,
            high_watermark: Offset::ZERO,
        };
        let storage = Storage::new(log.expect("the disk works"), state);
        Rig { disk, storage, journaled: 0, persisted: Vec::new(), is_failed: false }
    }

    fn set_full(&self, is_full: bool) {
        *self.disk.is_full.borrow_mut() = is_full;
    }

    /// Does what the storage wants done, as far as the disk has room for it.
    fn run(&mut self, ms: u64) {
        self.storage.look(at(ms));
        while let Some(output) = self.storage.poll() {
            match output {
                StorageOutput::Work(Work::Keep(keeps)) => {
                    let dir = Path::new("/data");
                    let kept = keeps.iter().try_for_each(|keep| keep.run(&self.disk, dir));
                    self.storage.worked(at(ms), Worked::Kept(kept));
                }
                StorageOutput::Work(Work::Cut(cut)) => {
                    self.storage.worked(at(ms), Worked::Cut(cut.run()));
                }
                StorageOutput::Work(_) => unreachable!("everything is in memory"),
                StorageOutput::Journal(entry) => {
                    self.journaled += 1;
                    let flushed = Flushed::of(&entry).unwrap_or(Flushed::nothing_of(METADATA));
                    self.storage.flushed(at(ms), &flushed);
                }
                StorageOutput::Persisted(number) => self.persisted.push(number),
                StorageOutput::Failed => self.is_failed = true,
            }
        }
    }
}

/// A batch that follows another.
fn behind(number: u64, offset: i64) -> Persist {
    let mut persist = persist(number, LeaderEpoch(1), 0);
    let mut batch = persist.batches[0].to_vec();
    stamp(&mut batch, Offset(offset), LeaderEpoch(1));
    (persist.hard_state, persist.batches) = (None, vec![batch.into()]);
    persist
}

/// Found by tests/sim: a node whose disk had been full voted on, and took nothing more of the metadata
/// log: it stayed outside every ISR until somebody started it anew. On a site without anybody that is
/// for good.
#[test]
fn a_full_disk_is_tried_again_and_nothing_is_promised_meanwhile() {
    let mut rig = Rig::new();
    rig.set_full(true);
    rig.storage.persist(at(0), persist(1, LeaderEpoch(1), 0));
    rig.storage.persist(at(0), behind(2, 1));
    for ms in [0, 1000, 2000] {
        rig.run(ms);
        assert!(rig.storage.is_full() && rig.persisted.is_empty() && rig.journaled == 0);
    }
    // The promise finds room, and its batch does not: what was torn of it is gone from the file.
    rig.set_full(false);
    rig.storage.look(at(3000));
    let Some(StorageOutput::Work(Work::Keep(keeps))) = rig.storage.poll() else {
        panic!("it is tried again");
    };
    assert_eq!(keeps, [Keep::State(rig.storage.state())]);
    rig.set_full(true);
    rig.storage.worked(at(3000), Worked::Kept(Ok(())));
    rig.run(3500);
    assert!(rig.storage.is_full() && rig.persisted.is_empty() && rig.journaled == 0);
    assert!(rig.disk.bytes(Path::new(SEGMENT)).borrow().is_empty());
    rig.set_full(false);
    rig.run(3900);
    assert!(rig.persisted.is_empty(), "a full disk is left alone for a while");
    rig.run(4000);
    assert!(!rig.storage.is_full() && !rig.is_failed);
    assert_eq!(rig.persisted, [1, 2]);
    assert_eq!(rig.storage.log().end_offset(), Offset(2));
}

#[test]
fn a_cut_waits_for_room_too() {
    let mut rig = Rig::new();
    rig.storage.persist(at(0), persist(1, LeaderEpoch(1), 0));
    rig.storage.persist(at(0), behind(2, 1));
    rig.run(0);
    // A new leader has something else in the place of both.
    rig.storage.persist(at(0), persist(3, LeaderEpoch(2), 0));
    let Some(StorageOutput::Work(Work::Keep(_))) = rig.storage.poll() else {
        panic!("the epoch is promised first");
    };
    rig.storage.worked(at(0), Worked::Kept(Ok(())));
    let mut refused = 0;
    while let Some(output) = rig.storage.poll() {
        match output {
            StorageOutput::Journal(_) => rig.storage.flushed(at(0), &CUT),
            StorageOutput::Work(Work::Cut(_)) if refused == 0 => {
                refused += 1;
                let full = Err(io::ErrorKind::StorageFull.into());
                rig.storage.worked(at(0), Worked::Cut(full));
            }
            _ => unreachable!("nothing else before there is room"),
        }
    }
    assert_eq!((rig.storage.is_full(), refused), (true, 1));
    rig.run(1000);
    assert_eq!(rig.persisted, [1, 2, 3]);
    assert_eq!(rig.storage.log().end_offset(), Offset(1));
}

const CUT: Flushed = Flushed { is_truncated: true, ..Flushed::nothing_of(METADATA) };

#[test]
fn another_failure_is_final() {
    let mut rig = Rig::new();
    rig.storage.persist(at(0), persist(1, LeaderEpoch(1), 0));
    let _ = rig.storage.poll();
    rig.storage.worked(at(0), Worked::Kept(Err(io::Error::from_raw_os_error(5))));
    rig.run(1000);
    assert!(rig.is_failed && !rig.storage.is_full() && rig.persisted.is_empty());
}

#[test]
fn what_waits_for_room_is_bounded() {
    let mut rig = Rig::new();
    rig.set_full(true);
    for number in 0..=QUORUM_STEPS_WAITING_MAX as u64 {
        assert!(!rig.storage.is_clogged());
        rig.storage.persist(at(0), behind(number + 1, number as i64));
    }
    assert!(rig.storage.is_clogged());
    rig.set_full(false);
    rig.run(1000);
    assert!(!rig.storage.is_clogged());
    assert_eq!(rig.persisted.len(), QUORUM_STEPS_WAITING_MAX + 1);
}

//! The commit journal: superblocks, commits and checkpoint files, their checksums made right, so
//! that what lies behind them is met.

use std::io;
use std::path::Path;
use std::sync::Arc;

use bytes_of_journal::Shape;
use odradek::ids::{LeaderEpoch, Offset, Partition, TopicId, TopicPartition, Uuid};
use odradek::journal::disk::{Disk, Open};
use odradek::journal::{Entry, JOURNAL_FILE, Journal, Redo, SegmentRef, SmallState};
use odradek::limits::JOURNAL_COMMIT_BYTES_MAX;
use odradek::record::crc::crc32c;

use crate::note::note;
use crate::sim_disk::{Cut, SimDisk, SimFile};
use crate::{Target, take};

const DIR: &str = "/data";
/// Whatever is asked for, the smallest ring is four times the share that bypasses it.
const RING_BYTES: u64 = 256 << 10;
const SALT: u64 = 0x5a17;

/// One target for each of the three.
pub fn all() -> Vec<Target> {
    let shape = Arc::new(Shape::of(&template()));
    let seed = |shape: &Shape| [&[0, 0, shape.entry_count], &*shape.body].concat();
    // All entries at once, and each by itself.
    let mut commits = vec![seed(&shape)];
    for number in 0..entries(&template()).len() {
        let one = make_template(|disk| vec![entries(disk).swap_remove(number)]);
        commits.push(seed(&Shape::of(&one)));
    }
    let superblocks = vec![
        [&[0x80], &shape.superblock[12..72]].concat(),
        [&[0x81], &shape.superblock[12..72]].concat(),
        [&[0x83], &shape.superblock[12..72]].concat(),
    ];
    let checkpoints = vec![
        [&[0x83], &shape.checkpoint[4..]].concat(),
        [&[0x01], &*shape.checkpoint].concat(),
        [&[0x02], &*shape.checkpoint].concat(),
    ];
    vec![
        Target::new("journal/commit", commits, move |bytes| commit(&shape, bytes)),
        Target::new("journal/superblock", superblocks, superblock),
        Target::new("journal/checkpoint", checkpoints, checkpoint),
    ]
}

fn partition(number: i32) -> TopicPartition {
    TopicPartition { topic_id: TopicId(Uuid([5; 16])), partition: Partition(number) }
}

/// Takes what is redone, as a log dir would.
struct Sink {
    file: SimFile,
    states: Vec<SmallState>,
}

impl Redo<SimFile> for Sink {
    fn append(
        &mut self,
        _: TopicPartition,
        _: Offset,
        base_offset: Offset,
        _: u64,
        bytes: &[u8],
    ) -> io::Result<Option<SegmentRef<SimFile>>> {
        assert!(bytes.len() <= 2 * JOURNAL_COMMIT_BYTES_MAX);
        note(&("append", bytes.len().min(1)));
        let file = self.file.clone();
        Ok(Some(SegmentRef { file, base_offset, is_new: false, dir: Path::new(DIR).into() }))
    }

    fn flush(&mut self, _: TopicPartition, _: Offset, _: Offset, _: u64) {
        note(&"flush");
    }

    fn state(&mut self, _: TopicPartition, state: SmallState) {
        note(&std::mem::discriminant(&state));
        self.states.push(state);
    }
}

fn sink(disk: &SimDisk) -> Sink {
    let path = Path::new(DIR).join("segment");
    let file = disk.open(&path, Open::CreateOrWrite).expect("the disk works");
    Sink { file, states: Vec::new() }
}

thread_local! {
    static TEMPLATE: SimDisk = make_template(entries);
}

/// A log dir that went through a checkpoint and was killed after one more commit.
fn template() -> SimDisk {
    TEMPLATE.with(|disk| disk.power_cut(Cut::KeepAll))
}

fn make_template(entries: impl Fn(&SimDisk) -> Vec<Entry<SimFile>>) -> SimDisk {
    let disk = SimDisk::default();
    disk.create_dir_all(Path::new(DIR)).expect("the disk works");
    let opened = Journal::open(disk.clone(), Path::new(DIR), RING_BYTES, SALT).expect("fresh");
    let mut journal = opened.journal;
    journal.replay(&mut sink(&disk)).expect("nothing to replay");
    journal.commit(&entries(&disk)).expect("it fits");
    journal.close().expect("the disk works");
    let opened = Journal::open(disk.clone(), Path::new(DIR), RING_BYTES, SALT).expect("ours");
    let mut journal = opened.journal;
    journal.replay(&mut sink(&disk)).expect("nothing to replay");
    journal.commit(&entries(&disk)).expect("it fits");
    disk
}

fn entries(disk: &SimDisk) -> Vec<Entry<SimFile>> {
    let segment = SegmentRef {
        file: sink(disk).file,
        base_offset: Offset(0),
        is_new: true,
        dir: Path::new(DIR).into(),
    };
    let append = |number, base| Entry::Append {
        topic_partition: partition(number),
        leader_epoch: LeaderEpoch(3),
        base_offset: Offset(base),
        end_offset: Offset(base + 2),
        segment: segment.clone(),
        position: 100,
        is_written: true,
        bytes: vec![7; 20].into(),
    };
    let state = |state| Entry::State { topic_partition: partition(1), state };
    vec![
        append(0, 0),
        append(1, 50),
        state(SmallState::LogStart(Offset(5))),
        state(SmallState::EpochStart { epoch: LeaderEpoch(3), offset: Offset(5) }),
        state(SmallState::HighWatermark(Offset(50))),
        state(SmallState::Truncated {
            start: Offset(5),
            end: Offset(51),
            segment: Offset(0),
            position: 110,
            is_set_aside: true,
        }),
        Entry::Flush {
            topic_partition: partition(2),
            end_offset: Offset(9),
            segment: segment.clone(),
            position_end: 300,
        },
        state(SmallState::Forget),
    ]
}

mod bytes_of_journal {
    //! Where things lie in the files: the table in the journal's module doc.

    use std::path::Path;

    use super::{DIR, JOURNAL_FILE, SimDisk};

    /// Bytes of a block.
    pub const BLOCK: usize = 4096;
    /// Where the ring begins.
    pub const RING_START: usize = 2 * BLOCK;

    /// The parts of a journal's files.
    pub struct Shape {
        /// The newest superblock.
        pub superblock: Vec<u8>,
        /// Where the last commit begins, and its sequence number.
        pub last: (usize, u64),
        /// Entries of that.
        pub entry_count: u8,
        /// Their bytes.
        pub body: Vec<u8>,
        /// The checkpoint file.
        pub checkpoint: Vec<u8>,
    }

    fn u64_at(bytes: &[u8], at: usize) -> u64 {
        u64::from_be_bytes(bytes[at..at + 8].try_into().expect("8 bytes"))
    }

    impl Shape {
        /// Reads them off a disk.
        pub fn of(disk: &SimDisk) -> Shape {
            let files = disk.files();
            let ring = &files[&Path::new(DIR).join(JOURNAL_FILE)];
            let (a, b) = (&ring[..BLOCK], &ring[BLOCK..RING_START]);
            let newest = if u64_at(a, 16) < u64_at(b, 16) { b } else { a };
            let is_commit = |place: &usize| ring[*place..].starts_with(b"OJC1");
            let commits = (RING_START..ring.len()).step_by(BLOCK).filter(is_commit);
            let last = commits.max_by_key(|place| u64_at(ring, place + 16)).expect("there is one");
            let body_bytes = u64_at(ring, last + 24) >> 32;
            Shape {
                superblock: newest.to_vec(),
                last: (last, u64_at(ring, last + 16)),
                entry_count: ring[last + 31],
                body: ring[last + 32..][..body_bytes as usize].to_vec(),
                checkpoint: files[&Path::new(DIR).join("checkpoint")].clone(),
            }
        }
    }
}

/// A commit behind the last good one: the sequence number's distance, the count of entries, the
/// entries.
fn commit(shape: &Shape, mut bytes: &[u8]) {
    let [ahead] = take(&mut bytes);
    let count = u16::from_be_bytes(take(&mut bytes));
    let sequence = shape.last.1.wrapping_add(u64::from(ahead) + 1);
    let mut commit = b"OJC1\0\0\0\0".to_vec();
    commit.extend(SALT.to_be_bytes());
    commit.extend(sequence.to_be_bytes());
    commit.extend((bytes.len() as u32).to_be_bytes());
    commit.extend(u32::from(count).to_be_bytes());
    commit.extend_from_slice(bytes);
    let crc = crc32c(&commit[8..]);
    commit[4..8].copy_from_slice(&crc.to_be_bytes());
    let disk = template();
    let place = shape.last.0 + bytes_of_journal::BLOCK;
    disk.damage(&Path::new(DIR).join(JOURNAL_FILE), |ring| {
        ring[place..place + commit.len()].copy_from_slice(&commit);
    });
    live_on(&disk);
}

/// A superblock's fields: bit 0 of the first byte chooses the copy, bit 1 spoils the other, bit 7
/// makes the checksum right.
fn superblock(mut bytes: &[u8]) {
    let [options] = take(&mut bytes);
    let fields: [u8; 60] = take(&mut bytes);
    let mut block = b"ODRKJRNL\0\0\0\0".to_vec();
    block.extend(fields);
    if options & 0x80 != 0 {
        let crc = crc32c(&block[12..72]);
        block[8..12].copy_from_slice(&crc.to_be_bytes());
    }
    let disk = template();
    let place = usize::from(options & 1) * bytes_of_journal::BLOCK;
    disk.damage(&Path::new(DIR).join(JOURNAL_FILE), |ring| {
        ring[place..place + block.len()].copy_from_slice(&block);
        if options & 2 != 0 {
            ring[bytes_of_journal::BLOCK - place] ^= 1;
        }
    });
    live_on(&disk);
}

/// The checkpoint file (bit 0 of the first byte), its spare (bit 1), the checksum right (bit 7).
fn checkpoint(mut bytes: &[u8]) {
    let [options] = take(&mut bytes);
    let mut file = bytes.to_vec();
    if options & 0x80 != 0 {
        file = [&crc32c(bytes).to_be_bytes(), bytes].concat();
    }
    let disk = template();
    for (bit, name) in [(1, "checkpoint"), (2, "checkpoint.spare")] {
        if options & bit != 0 {
            disk.damage(&Path::new(DIR).join(name), |content| content.clone_from(&file));
        }
    }
    live_on(&disk);
}

/// Whatever was found, a journal that opens takes commits, and keeps what it took.
fn live_on(disk: &SimDisk) {
    let open = || Journal::open(disk.clone(), Path::new(DIR), RING_BYTES, SALT);
    let mut journal = match open() {
        Err(error) => return note(&std::mem::discriminant(&error)),
        Ok(opened) => {
            note(&(opened.was_clean, opened.damage));
            opened.journal
        }
    };
    match journal.replay(&mut sink(disk)) {
        Err(error) => return note(&std::mem::discriminant(&error)),
        Ok(report) => note(&(report.commit_count.min(4), report.damage.is_some())),
    }
    let mark = SmallState::LogStart(Offset(123_456));
    let entry = Entry::State { topic_partition: partition(77), state: mark };
    if let Err(error) = journal.commit(&[entry]) {
        return note(&("commit", std::mem::discriminant(&error)));
    }
    // A kill: what was committed is found again.
    let mut opened = open().expect("it opened before");
    let mut found = sink(disk);
    opened.journal.replay(&mut found).expect("it replayed before");
    assert_eq!(found.states.last(), Some(&mark), "what was committed is there");
    let states = opened.journal.states().clone();
    if let Err(error) = opened.journal.close() {
        return note(&("close", std::mem::discriminant(&error)));
    }
    let opened = open().expect("it was closed");
    // Not clean where a copy of the superblock is still spoiled: the next start looks closer.
    note(&("closed", opened.was_clean));
    for (partition, state) in &states {
        // Recovery points move to what was synced; nothing else changes.
        let kept = opened.states.get(partition).expect("it was in the checkpoint");
        assert_eq!((kept.log_start, &kept.epochs), (state.log_start, &state.epochs));
    }
}

//! A follower's log, cut and grown again over the real journal, stopped at every write, sync and
//! change of a name in turn, and recovered.
//!
//! What is found is always the beginning of one history: the newest, as far as it was durable at
//! least, or, while a cut has not come to its end, the one from before. Never a mixture: records
//! that were cut off do not return behind others, not from the page cache, not from the journal's
//! ring, not by a checkpoint. `ODRADEK_STOP=n` replays one stop.

#[path = "support/booted.rs"]
mod booted;
#[path = "support/partition.rs"]
mod partition;
#[path = "support/sim_disk.rs"]
mod sim_disk;

use std::collections::BTreeMap;
use std::path::Path;

use booted::{Booted, boot};
use odradek::ids::{LeaderEpoch, NodeId, Offset};
use odradek::journal::{CheckpointJob, Entry, Journal, SmallState};
use odradek::log::{Copied, FlushTarget, Log, LogReport, OpenParameters, ReadError, Truncation};
use odradek::record::{BatchBuilder, Compression, stamp};
use odradek::time::{Boot, Now, Timestamp};
use odradek::topic_config::TopicConfig;
use partition::{Fate, Random, WALL, name, read_all, topic_partition};
use sim_disk::{SimDisk, SimFile};

const RING_BYTES: u64 = 32 << 10;

fn parameters(ms: u64) -> OpenParameters {
    OpenParameters {
        node_id: NodeId(1),
        cluster_id: None,
        random: [9; 32],
        now: Now { boot: Boot(ms * 1000), wall: Timestamp(WALL + ms as i64), wall_trusted: true },
        config: TopicConfig {
            segment_bytes: 20_000,
            index_interval_bytes: 1000,
            retention_bytes: -1,
            ..TopicConfig::default()
        },
    }
}

/// Values and epochs by offset.
type History = BTreeMap<i64, (u64, i32)>;

/// What the leader's records are, and how far they were durable here.
#[derive(Clone, Default)]
struct Told {
    start: i64,
    history: History,
    durable: i64,
    /// While a cut is under way: start, history and what of it was durable before.
    before: Option<(i64, History, i64)>,
}

impl Told {
    fn end(&self) -> i64 {
        self.history.last_key_value().map_or(self.start, |(last, _)| last + 1)
    }
}

struct Site {
    disk: SimDisk,
    journal: Journal<SimDisk>,
    log: Log<SimDisk>,
    ms: u64,
    next_value: u64,
    epoch: i32,
    /// Batches that waited in memory, and cuts made while some did.
    held_count: u32,
    held_cut_count: u32,
}

impl Site {
    /// `None` when the disk stops.
    fn open(disk: &SimDisk, ms: u64, next_value: u64) -> Option<Site> {
        let parameters = parameters(ms);
        let path = Path::new("/data");
        let Booted { dir, journal, damage, mut logs, report, .. } =
            boot(disk, path, RING_BYTES, 77, &parameters)?;
        assert_eq!(damage, None);
        assert!(report.partitions.iter().all(LogReport::is_sound), "{report:?}");
        let log = match logs.pop() {
            Some(log) => log,
            None => dir
                .create(&name(), topic_partition(), parameters.config.clone(), parameters.now)
                .ok()?,
        };
        let mut site = Site {
            disk: disk.clone(),
            journal,
            log,
            ms,
            next_value,
            epoch: 0,
            held_count: 0,
            held_cut_count: 0,
        };
        site.epoch = site.log.leader_epoch().0.max(0);
        let states = report.partitions.iter().flat_map(|report| &report.small_states);
        let mut entries: Vec<_> = states.map(|state| state_entry(*state)).collect();
        // The journal knows the partition before a byte is written to it.
        let start = SmallState::LogStart(site.log.start_offset());
        entries.extend(report.partitions.is_empty().then(|| state_entry(start)));
        site.commit(&entries)?;
        Some(site)
    }

    fn now(&self) -> Now {
        parameters(self.ms).now
    }

    fn commit(&mut self, entries: &[Entry<SimFile>]) -> Option<()> {
        if !self.journal.has_room(entries) {
            let job = self.journal.checkpoint_due()?;
            self.checkpoint(&job)?;
        }
        self.journal.commit(entries).ok().map(|_| ())
    }

    fn checkpoint(&mut self, job: &CheckpointJob<SimDisk>) -> Option<()> {
        // What the job syncs must have been written.
        self.log.settle().ok()?;
        let done = job.run().ok()?;
        self.journal.checkpoint_done(done).ok()
    }

    /// What the leader appended next; answers what is to be committed.
    fn append(
        &mut self,
        records: i64,
        bytes: usize,
        may_hold: bool,
        told: &mut Told,
    ) -> Option<Vec<Entry<SimFile>>> {
        self.ms += 3;
        let mut builder = BatchBuilder::new();
        let first = told.end();
        for offset in first..first + records {
            let mut value = self.next_value.to_be_bytes().to_vec();
            value.resize(8 + bytes, b'.');
            builder.push(self.now().wall, None, Some(&value), &[]);
            told.history.insert(offset, (self.next_value, self.epoch));
            self.next_value += 1;
        }
        let mut batch = builder.finish(Compression::None);
        stamp(&mut batch, Offset(first), LeaderEpoch(self.epoch));
        let copied = self.log.append_copy(self.now(), &batch, may_hold);
        let Copied { appended, epoch_start, .. } = copied.ok()?;
        self.held_count += u32::from(!appended.is_written);
        let mut entries: Vec<_> = epoch_start.map(state_entry).into_iter().collect();
        entries.push(appended.into_entry(topic_partition(), batch.into()));
        Some(entries)
    }

    fn append_durably(&mut self, random: &mut Random, told: &mut Told) -> Option<()> {
        let mut entries = Vec::new();
        // Some are large enough to bypass the ring, which what is held cannot.
        let is_large = random.is_one_in(4);
        for _ in 0..=random.below(3) {
            let bytes = if is_large { 66_000 } else { 100 + random.below(900) as usize };
            let may_hold = !is_large && !random.is_one_in(3);
            entries.extend(self.append(1 + random.below(2) as i64, bytes, may_hold, told)?);
        }
        self.commit(&entries)?;
        self.log.mark_durable(self.log.end_offset());
        told.durable = self.log.end_offset().0;
        Some(())
    }

    /// The leader's log parts from this one at `to`, in a newer epoch.
    fn cut(&mut self, plan: Truncation, random: &mut Random, told: &mut Told) -> Option<()> {
        told.before = Some((told.start, told.history.clone(), told.durable));
        // A checkpoint may be under way meanwhile, and end at any of three places.
        let mut job = if random.is_one_in(2) { self.journal.checkpoint_due() } else { None };
        let ends_at = random.below(3);
        let entries = [state_entry(plan.state())];
        if ends_at == 0 || !self.journal.has_room(&entries) {
            job.take().map_or(Some(()), |job| self.checkpoint(&job))?;
        }
        // From here on it may be durable, whatever the commit says.
        let SmallState::Truncated { start, end, .. } = plan.state() else { unreachable!("a cut") };
        told.start = start.0;
        told.history.retain(|offset, _| start.0 <= *offset && *offset < end.0);
        told.durable = told.durable.min(end.0).max(start.0);
        self.commit(&entries)?;
        self.held_cut_count += u32::from(0 < self.log.held_bytes());
        let cut = self.log.begin_truncation(self.now(), plan).ok()?;
        assert_eq!(self.log.held_bytes(), 0);
        if ends_at == 1 {
            job.take().map_or(Some(()), |job| self.checkpoint(&job))?;
        }
        let done = cut.run().ok()?;
        self.log.finish_truncation(done);
        told.before = None;
        // Nothing is appended before the journal knows.
        let mut targets = self.log.flush_targets().ok()?;
        targets.push(self.log.last_flush_target().ok()?);
        let notes: Vec<_> = targets.into_iter().map(flush_entry).collect();
        self.commit(&notes)?;
        self.epoch += 1;
        job.map_or(Some(()), |job| self.checkpoint(&job))
    }

    fn run(&mut self, told: &mut Told) -> Option<()> {
        let mut random = Random::new(4);
        for round in 0..26 {
            self.append_durably(&mut random, told)?;
            if round % 3 == 1 {
                // Written, not committed: the cut may come first.
                self.append(1, 300, true, told)?;
                let to = told.end() - 1 - random.below(12) as i64;
                let plan = self.plan(Offset(to.max(told.start)))?;
                self.cut(plan, &mut random, told)?;
            } else if round == 11 {
                // The leader's log begins behind this one's end.
                let plan = Truncation::restart(Offset(told.end() + 40));
                self.cut(plan, &mut random, told)?;
            } else if round == 17 {
                let plan = self.plan(Offset(told.start))?.set_aside();
                self.cut(plan, &mut random, told)?;
            } else if round == 20 {
                let plan = Truncation::restart(Offset(told.start - 20));
                self.cut(plan, &mut random, told)?;
            }
        }
        Some(())
    }

    /// `None` when the disk stops.
    fn plan(&self, to: Offset) -> Option<Truncation> {
        for _ in 0..1000 {
            match self.log.truncation(to) {
                Ok(plan) => return Some(plan),
                Err(ReadError::Cold { .. }) => {}
                Err(_) => return None,
            }
        }
        panic!("the lookup never ends");
    }

    fn describe(&self, told: &Told) -> String {
        let shown = |history: &History| format!("{:?}", history.iter().collect::<Vec<_>>());
        let before = told.before.as_ref().map(|(start, history, durable)| {
            format!("before: from {start}, durable {durable}: {}", shown(history))
        });
        format!(
            "found {}..{} {:?} {:?}\nwant from {}, durable {}: {}\n{}",
            self.log.start_offset(),
            self.log.end_offset(),
            read_all(&self.log, 1 << 20),
            self.log.epochs().entries(),
            told.start,
            told.durable,
            shown(&told.history),
            before.unwrap_or_default()
        )
    }

    /// The history that the log is the beginning of.
    fn found<'a>(&self, told: &'a Told) -> Option<&'a History> {
        let found = read_all(&self.log, 1 << 20).expect("nothing is damaged");
        let (start, end) = (self.log.start_offset().0, self.log.end_offset().0);
        let is = |first: i64, history: &History, durable: i64| {
            let want: Vec<_> = history.range(..end).map(|(&o, &(value, _))| (o, value)).collect();
            let epoch_of = |offset: i64| self.log.epochs().epoch_of(Offset(offset));
            let has_epochs = history
                .range(..end)
                .all(|(&offset, &(_, epoch))| epoch_of(offset) == Some(LeaderEpoch(epoch)));
            first == start && durable <= end && found == want && has_epochs
        };
        if is(told.start, &told.history, told.durable) {
            return Some(&told.history);
        }
        let (first, history, durable) = told.before.as_ref()?;
        is(*first, history, told.durable.min(*durable)).then_some(history)
    }
}

fn state_entry(state: SmallState) -> Entry<SimFile> {
    Entry::State { topic_partition: topic_partition(), state }
}

fn flush_entry(target: FlushTarget<SimFile>) -> Entry<SimFile> {
    let FlushTarget { segment, end_offset, position_end } = target;
    Entry::Flush { topic_partition: topic_partition(), end_offset, segment, position_end }
}

fn after(disk: &SimDisk, seed: u64) -> SimDisk {
    if seed % 3 == 0 { disk.after_kill() } else { disk.after_power_cut(&mut Random::new(seed)) }
}

fn stops() -> Vec<u64> {
    if let Ok(stop) = std::env::var("ODRADEK_STOP") {
        return vec![stop.parse().expect("ODRADEK_STOP is a number")];
    }
    let disk = SimDisk::new();
    let mut site = Site::open(&disk, 1000, 0).expect("an empty disk");
    let begin = disk.operation_count();
    let mut told = Told::default();
    site.run(&mut told).expect("the disk does not stop");
    assert!(site.found(&told).is_some(), "{}", site.describe(&told));
    let counts = (site.held_count, site.held_cut_count);
    assert!(20 < counts.0 && 3 < counts.1, "held, cut while held: {counts:?}");
    (0..disk.operation_count() - begin).collect()
}

#[test]
fn records_that_were_cut_off_do_not_return() {
    let stops = stops();
    assert!(stops.len() == 1 || 200 < stops.len(), "{}", stops.len());
    for stop in stops {
        for seed in 0..2 {
            println!("stop {stop}, seed {seed}");
            let disk = SimDisk::new();
            let mut site = Site::open(&disk, 1000, 0).expect("an empty disk");
            disk.fail_after(stop);
            let mut told = Told::default();
            let _ = site.run(&mut told);
            // Recovery is itself stopped once.
            let cut = after(&disk, stop * 2 + seed);
            let again = cut.after_kill();
            again.fail_after(stop % 19);
            let _ = Site::open(&again, 2000, 1_000_000);
            let disk = after(&again, stop + seed);
            let mut site = Site::open(&disk, 2000, 1_000_000).expect("the disk works");
            let found = site.found(&told);
            let history = found.unwrap_or_else(|| panic!("{}", site.describe(&told))).clone();
            // It goes on as the follower of another leader, and is cut once more.
            let (start, end) = (site.log.start_offset().0, site.log.end_offset().0);
            let history = history.into_iter().filter(|(offset, _)| *offset < end).collect();
            let mut told = Told { start, history, durable: end, before: None };
            site.epoch = site.epoch.max(told.history.values().map(|v| v.1).max().unwrap_or(0)) + 1;
            let mut random = Random::new(stop);
            site.append_durably(&mut random, &mut told).expect("the disk works");
            let plan = site.plan(Offset(start.max(told.end() - 2))).expect("it works");
            site.cut(plan, &mut random, &mut told).expect("the disk works");
            site.append_durably(&mut random, &mut told).expect("the disk works");
            let disk = after(&site.disk, stop + seed + 1);
            let site = Site::open(&disk, 3000, 2_000_000).expect("the disk works");
            assert!(site.found(&told).is_some(), "{}", site.describe(&told));
        }
    }
}

#[test]
fn a_cut_within_a_batch_takes_the_whole_batch() {
    let disk = SimDisk::new();
    let mut site = Site::open(&disk, 1000, 0).expect("an empty disk");
    let mut told = Told::default();
    site.epoch = 3;
    for _ in 0..3 {
        let entries = site.append(4, 50, false, &mut told).expect("the disk works");
        site.commit(&entries).expect("the disk works");
    }
    let plan = |to| site.plan(Offset(to)).expect("the disk works");
    let end_of = |to| plan(to).end_offset().0;
    assert_eq!((end_of(12), end_of(11), end_of(8), end_of(7), end_of(0)), (12, 8, 8, 4, 0));
    let state = plan(-1).state();
    let empty_at = |state| match state {
        SmallState::Truncated { start, end, position: 0, .. } => Some((start.0, end.0)),
        _ => None,
    };
    assert_eq!(empty_at(state), Some((-1, -1)), "below the start it begins anew");
}

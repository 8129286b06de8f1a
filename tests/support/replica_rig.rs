//! One replica, node 1, driven by lines of text; its peers and the controller are the lines.
//!
//! ```text
//! new [min=N] [rate=BYTES] [weak]     an empty log; lag 1000 ms, waits 100 ms, pauses 50 ms
//! metadata leader=N|none epoch=E version=V isr=1,2 [replicas=1,2,3]
//! brokers 1:10 2:20 3:30-             node:broker epoch; `-` is fenced
//! produce TOKEN records=N [acks=1] [by=ID/SEQUENCE] [more]    `more` in the same turn of the shard
//! delete TOKEN OFFSET
//! read OFFSET                         a consumer's, behind the log's end
//! flush [COUNT]                       the flusher commits, the oldest so many if that is said
//! cut                                 a cut ends on disk
//! persist                             all of it, and that the cut is made
//! fetch N seq=S at=OFFSET/EPOCH|next end=O durable=O [start=O] [epoch=E] [broker=E] [damaged]
//! progress N seq=S end=O durable=O [start=O] [epoch=E] [broker=E]
//! answer seq=S [batches=EPOCH:RECORDS,..] [hw=O] [start=O] [end=O] [error=CODE]
//!        [parts=EPOCH/OFFSET] [epoch=E] [base=O] [corrupt]
//! altered version=V error=CODE        of the proposal that builds on version V
//! altered version=V leader=.. epoch=.. isr=.. now=V
//! cold | warm | loaded TOKEN [lost]   the page cache has nothing; has all; what was loaded
//! disconnected N | damaged OFFSET | failed | time MS | state | restart
//! ```

use std::fmt::Write as _;
use std::io;

use bytes::{Bytes, BytesMut};
use odradek::ids::{LeaderEpoch, NodeId, Offset};
use odradek::limits::REPLICA_FETCH_BYTES;
use odradek::record::{BatchBuilder, Compression, stamp};
use odradek::replica::{
    BrokerState, Input, LeaderAndIsr, Output, ReplicaConfig, Role, ThrottledRates,
};
use odradek::time::{Boot, Now, Timestamp};
use odradek::topic_config::TopicConfig;
use odradek::wire::ErrorCode;
use odradek::wire::replica::fetch::{EpochEnd, FetchFrom, FetchReplica, FetchedReplica};
use odradek::wire::replica::progress::ProgressReplica;

use super::partition::{Fate, WALL, name, topic_partition};
use super::replica_node::{Node, Sent, Setup};
use super::sim_disk::SimDisk;

/// See the module.
pub struct Rig {
    node: Node,
    setup: Setup,
    us: u64,
    shown: String,
}

/// The words of a line.
struct Words<'a>(Vec<&'a str>);

impl<'a> Words<'a> {
    fn has(&self, word: &str) -> bool {
        self.0.contains(&word)
    }

    fn text(&self, key: &str) -> Option<&'a str> {
        self.0.iter().find_map(|word| word.strip_prefix(key)?.strip_prefix('='))
    }

    fn number(&self, key: &str) -> Option<i64> {
        self.text(key).map(|text| text.parse().expect("a number"))
    }

    fn offset(&self, key: &str) -> Option<Offset> {
        self.number(key).map(Offset)
    }

    fn nodes(&self, key: &str) -> Option<Vec<NodeId>> {
        self.text(key).map(|text| text.split(',').map(node).collect())
    }

    fn plain(&self, place: usize) -> i64 {
        self.0[place].parse().expect("a number")
    }
}

fn node(text: &str) -> NodeId {
    NodeId(text.parse().expect("a node"))
}

fn pair(text: &str) -> (i64, i64) {
    let (a, b) = text.split_once('/').expect("two numbers");
    (a.parse().expect("a number"), b.parse().expect("a number"))
}

fn now_at(us: u64) -> Now {
    Now { boot: Boot(us), wall: Timestamp(WALL), wall_trusted: true }
}

impl Rig {
    /// A replica with an empty log.
    pub fn new(line: &str) -> Rig {
        let words = Words(line.split_whitespace().collect());
        let config = ReplicaConfig {
            lag_time_max_ms: 1000,
            fetch_wait_max_ms: 100,
            fetch_timeout_ms: 5000,
            fetch_backoff_ms: 50,
            alter_timeout_ms: 200,
            throttled: ThrottledRates {
                follower: words.number("rate").map(|rate| rate as u64),
                leader: words.number("leader-rate").map(|rate| rate as u64),
            },
            ..ReplicaConfig::new(NodeId(1), 10)
        };
        let topic = TopicConfig {
            min_insync_replicas: words.number("min").unwrap_or(1) as i32,
            acks_durable: !words.has("weak"),
            ..TopicConfig::default()
        };
        let setup = Setup { config, topic, name: name(), topic_partition: topic_partition() };
        let (node, _) = Node::open(now_at(0), &SimDisk::new(), &setup);
        Rig { node, setup, us: 0, shown: String::new() }
    }

    /// Runs a line and answers what came of it.
    pub fn run(&mut self, line: &str) -> String {
        self.shown.clear();
        let words = Words(line.split_whitespace().collect());
        match words.0[0] {
            "metadata" => {
                let state = self.state_of(&words, "version");
                self.give(Input::Metadata(state));
            }
            "brokers" => {
                let brokers = words.0[1..].iter().map(|word| broker(word)).collect();
                self.give(Input::Brokers(brokers));
            }
            "produce" => {
                let producer = words.text("by").map(pair);
                let batch = batch_by(producer, words.number("records").unwrap_or(1));
                let acks = words.number("acks").unwrap_or(-1) as i8;
                let batch = BytesMut::from(&batch[..]);
                self.give(Input::Produce { token: words.plain(1) as u64, acks, batch });
                let is_due = self.node.replica.next_deadline() <= Boot(self.us);
                if is_due && !words.has("more") {
                    self.give(Input::Tick);
                }
            }
            "delete" => {
                let (token, offset) = (words.plain(1) as u64, Offset(words.plain(2)));
                self.give(Input::DeleteRecords { token, offset });
            }
            "read" => {
                let offset = Offset(words.plain(1));
                let error = self.node.replica.refuse_offset(now_at(self.us), offset);
                writeln!(self.shown, "read: {error}").expect("a String takes all");
                self.give(Input::Tick);
            }
            "flush" if 1 < words.0.len() => self.flush(words.plain(1) as usize),
            "flush" => self.flush(usize::MAX),
            "persist" => {
                self.flush(usize::MAX);
                self.cut();
                self.flush(usize::MAX);
            }
            "cut" if words.has("full") => self.give_up_cut(),
            "cut" => self.cut(),
            "fetch" => self.fetch(&words),
            "progress" => self.progress(&words),
            "answer" => self.answer(&words),
            "altered" => self.altered(&words),
            "disconnected" => self.give(Input::Disconnected(NodeId(words.plain(1) as i32))),
            "damaged" => self.give(Input::Damaged(Offset(words.plain(1)))),
            "cold" => self.node.disk.set_cold(true),
            "warm" => self.node.disk.set_cold(false),
            "loaded" => {
                let (token, is_lost) = (words.plain(1) as u64, words.has("lost"));
                self.give(Input::Loaded { token, is_lost });
            }
            "failed" => self.give(Input::StorageFailed),
            "time" => self.pass(words.plain(1) as u64),
            "state" => self.show_state(),
            "restart" => {
                let disk = self.node.disk.after_kill();
                self.node = Node::open(now_at(self.us), &disk, &self.setup).0;
            }
            other => panic!("no command {other}"),
        }
        if self.shown.is_empty() {
            self.shown.push_str("ok\n");
        }
        std::mem::take(&mut self.shown)
    }

    fn give(&mut self, input: Input) {
        let before = self.node.queue.len();
        let sent = self.node.step(now_at(self.us), input);
        for entry in &self.node.queue[before..] {
            let words = match entry {
                odradek::journal::Entry::Append {
                    base_offset, end_offset, leader_epoch, ..
                } => {
                    format!("batch {base_offset}..{end_offset} of epoch {leader_epoch}")
                }
                odradek::journal::Entry::State { state, .. } => format!("{state:?}"),
                odradek::journal::Entry::Flush { .. } => "a flush".into(),
            };
            writeln!(self.shown, "  persist {words}").expect("a String takes all");
        }
        for output in sent {
            self.show(&output);
        }
    }

    fn show(&mut self, output: &Sent) {
        let words = match output {
            Output::Fetch { leader, fetch } => {
                let at = match fetch.from {
                    FetchFrom::Next => "next".into(),
                    FetchFrom::Offset { offset, last_epoch } => format!("{offset}/{last_epoch}"),
                };
                let FetchReplica { sequence, log_start, log_end, durable_end, .. } = fetch;
                let damaged = if fetch.is_damaged { " damaged" } else { "" };
                let is_whole = fetch.max_bytes == REPLICA_FETCH_BYTES;
                let size = if is_whole { ", as much as it may" } else { "" };
                format!(
                    "fetch from {leader}: seq {sequence} at {at}, has {log_start}..{log_end}, \
                     durable {durable_end}{damaged}{size}"
                )
            }
            Output::Progress { leader, progress } => format!(
                "progress to {leader}: seq {}, has {}..{}, durable {}",
                progress.sequence, progress.log_start, progress.log_end, progress.durable_end
            ),
            Output::Fetched { follower, answer, slice } => {
                shown_answer(*follower, answer, slice.as_ref())
            }
            Output::Alter(proposal) => {
                let isr: Vec<String> = proposal
                    .isr
                    .iter()
                    .map(|member| format!("{}:{}", member.node_id, member.broker_epoch))
                    .collect();
                format!(
                    "propose isr {} for epoch {} version {}",
                    isr.join(" "),
                    proposal.leader_epoch,
                    proposal.partition_epoch
                )
            }
            Output::Produced { token, outcome: Ok(produced) } => {
                format!("produced {token}: {}..{}", produced.base_offset, produced.end_offset)
            }
            Output::Produced { token, outcome: Err(error) } => format!("produced {token}: {error}"),
            Output::Deleted { token, outcome: Ok(low) } => format!("deleted {token}: to {low}"),
            Output::Deleted { token, outcome: Err(error) } => format!("deleted {token}: {error}"),
            Output::HighWatermark(offset) => format!("high watermark {offset}"),
            Output::Load { token, .. } => format!("load {token}"),
            Output::Lost { from, to, is_damage: false } => format!("LOST {from}..{to}"),
            Output::Lost { from, to, .. } => format!("damage {from}..{to} is cut off"),
            Output::Failed => "FAILED".into(),
            Output::Damaged { segment, .. } => format!("segment {segment} is damaged"),
            Output::Persist(_) | Output::Cut(_) | Output::Note(_) => unreachable!("kept there"),
        };
        writeln!(self.shown, "{words}").expect("a String takes all");
    }

    fn flush(&mut self, count: usize) {
        if self.node.begin_flush_of(count) {
            for input in self.node.end_flush() {
                self.give(input);
            }
        }
    }

    fn cut(&mut self) {
        if let Some(done) = self.node.run_cut() {
            writeln!(self.shown, "  cut on disk").expect("a String takes all");
            self.give(done);
        }
    }

    /// The disk has no room for the cut.
    fn give_up_cut(&mut self) {
        if self.node.cut.take().is_some() {
            self.give(Input::CutDone(Err(io::ErrorKind::StorageFull.into())));
        }
    }

    fn state_of(&self, words: &Words<'_>, version: &str) -> LeaderAndIsr {
        let known = self.node.replica.state();
        let leader = words.text("leader").expect("a leader");
        let all = || vec![NodeId(1), NodeId(2), NodeId(3)];
        LeaderAndIsr {
            leader: (leader != "none").then(|| node(leader)),
            leader_epoch: words
                .number("epoch")
                .map_or(known.leader_epoch, |epoch| LeaderEpoch(epoch as i32)),
            replicas: words.nodes("replicas").unwrap_or_else(all),
            isr: words.nodes("isr").unwrap_or_else(all),
            partition_epoch: words.number(version).expect("a version") as i32,
        }
    }

    fn epoch_of(&self, words: &Words<'_>) -> LeaderEpoch {
        let current = self.node.replica.state().leader_epoch;
        words.number("epoch").map_or(current, |epoch| LeaderEpoch(epoch as i32))
    }

    fn fetch(&mut self, words: &Words<'_>) {
        let follower = NodeId(words.plain(1) as i32);
        let from = match words.text("at").expect("a place") {
            "next" => FetchFrom::Next,
            at => {
                let (offset, epoch) = pair(at);
                FetchFrom::Offset { offset: Offset(offset), last_epoch: LeaderEpoch(epoch as i32) }
            }
        };
        let fetch = FetchReplica {
            topic_partition: topic_partition(),
            leader_epoch: self.epoch_of(words),
            sequence: words.number("seq").expect("a sequence") as u64,
            from,
            log_start: words.offset("start").unwrap_or_default(),
            log_end: words.offset("end").expect("an end"),
            durable_end: words.offset("durable").expect("a durable end"),
            max_bytes: 1 << 20,
            is_damaged: words.has("damaged"),
        };
        let broker_epoch = words.number("broker").unwrap_or(i64::from(follower.0) * 10);
        self.give(Input::Fetch { follower, broker_epoch, fetch });
    }

    fn progress(&mut self, words: &Words<'_>) {
        let follower = NodeId(words.plain(1) as i32);
        let progress = ProgressReplica {
            topic_partition: topic_partition(),
            leader_epoch: self.epoch_of(words),
            sequence: words.number("seq").expect("a sequence") as u64,
            log_start: words.offset("start").unwrap_or_default(),
            log_end: words.offset("end").expect("an end"),
            durable_end: words.offset("durable").expect("a durable end"),
        };
        let broker_epoch = words.number("broker").unwrap_or(i64::from(follower.0) * 10);
        self.give(Input::Progress { follower, broker_epoch, progress });
    }

    fn answer(&mut self, words: &Words<'_>) {
        let mut records = Vec::new();
        let mut base = words.offset("base").unwrap_or(self.node.log().end_offset());
        for batch in words.text("batches").iter().flat_map(|text| text.split(',')) {
            let (epoch, count) = batch.split_once(':').expect("epoch and records");
            let count: i64 = count.parse().expect("a number");
            let mut batch = batch_of(count);
            stamp(&mut batch, base, LeaderEpoch(epoch.parse().expect("an epoch")));
            base = Offset(base.0 + count);
            records.extend(batch);
        }
        if words.has("corrupt") {
            let last = records.last_mut().expect("there are bytes");
            *last ^= 1;
        }
        let diverging = words.text("parts").map(|text| {
            let (epoch, offset) = pair(text);
            EpochEnd { leader_epoch: LeaderEpoch(epoch as i32), end_offset: Offset(offset) }
        });
        let answer = FetchedReplica {
            topic_partition: topic_partition(),
            leader_epoch: self.epoch_of(words),
            sequence: words.number("seq").expect("a sequence") as u64,
            error: ErrorCode(words.number("error").unwrap_or(0) as i16),
            high_watermark: words.offset("hw").unwrap_or_default(),
            log_start: words.offset("start").unwrap_or_default(),
            log_end: words.offset("end").unwrap_or(base),
            diverging,
            records_bytes: records.len() as u32,
        };
        self.give(Input::Fetched { answer, records: Bytes::from(records) });
    }

    fn altered(&mut self, words: &Words<'_>) {
        let partition_epoch = words.number("version").expect("a version") as i32;
        let outcome = match words.number("error") {
            Some(code) => Err(ErrorCode(code as i16)),
            None => Ok(self.state_of(words, "now")),
        };
        self.give(Input::Altered { partition_epoch, outcome });
    }

    /// Lets time pass, stopping at each deadline.
    fn pass(&mut self, ms: u64) {
        let end = self.us + ms * 1000;
        loop {
            let next = self.node.replica.next_deadline().0.max(self.us);
            if end < next {
                break;
            }
            let waited_ms = (next - (end - ms * 1000)) / 1000;
            self.us = next;
            let before = self.shown.len();
            self.give(Input::Tick);
            if before < self.shown.len() {
                self.shown.insert_str(before, &format!("after {waited_ms} ms\n"));
            } else if self.node.replica.next_deadline().0 <= self.us {
                panic!("a deadline at which nothing happens");
            }
        }
        self.us = end;
    }

    fn show_state(&mut self) {
        let replica = &self.node.replica;
        let log = replica.log();
        let role = match replica.role() {
            Role::Leader(leader) => {
                let list = |nodes: Vec<&NodeId>| {
                    nodes.iter().map(ToString::to_string).collect::<Vec<_>>().join(" ")
                };
                let maximal = leader.maximal_isr();
                format!(
                    "leader, isr {}, maximal {}",
                    list(leader.isr().iter().collect()),
                    list(maximal.iter().collect())
                )
            }
            Role::Follower(follower) if follower.is_fetching() => "follower, fetching".into(),
            Role::Follower(_) => "follower".into(),
        };
        let epochs: Vec<String> =
            log.epochs().entries().iter().map(|(e, o)| format!("{e}@{o}")).collect();
        write!(
            self.shown,
            "{role}\nepoch {}, log {}..{}, durable {}, high watermark {}, epochs [{}]",
            replica.state().leader_epoch,
            log.start_offset(),
            log.end_offset(),
            log.durable_offset(),
            replica.high_watermark(),
            epochs.join(" ")
        )
        .expect("a String takes all");
    }
}

fn shown_answer<F>(
    follower: NodeId,
    answer: &FetchedReplica,
    slice: Option<&odradek::log::Slice<F>>,
) -> String {
    let mut words = format!("answer {follower}: seq {}", answer.sequence);
    if !answer.error.is_ok() {
        let _ = write!(words, ", {}", answer.error);
    }
    if let Some(end) = answer.diverging {
        let _ = write!(words, ", parts {}/{}", end.leader_epoch, end.end_offset);
    }
    if let Some(slice) = slice {
        let _ = write!(words, ", {} bytes to {}", slice.bytes, slice.end_offset);
    }
    let _ = write!(
        words,
        ", high watermark {}, log {}..{}",
        answer.high_watermark, answer.log_start, answer.log_end
    );
    words
}

fn broker(word: &str) -> BrokerState {
    let (node_id, epoch) = word.split_once(':').expect("node and epoch");
    BrokerState {
        node_id: node(node_id),
        broker_epoch: epoch.trim_end_matches('-').parse().expect("an epoch"),
        is_active: !epoch.ends_with('-'),
    }
}

fn batch_of(records: i64) -> Vec<u8> {
    batch_by(None, records)
}

fn batch_by(producer: Option<(i64, i64)>, records: i64) -> Vec<u8> {
    let mut builder = BatchBuilder::new();
    if let Some((id, sequence)) = producer {
        builder.set_producer(id, 0, sequence as i32);
    }
    for _ in 0..records {
        builder.push(Timestamp(WALL), None, Some(b"12345678"), &[]);
    }
    builder.finish(Compression::None)
}

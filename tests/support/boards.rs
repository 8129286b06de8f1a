//! The boards of a site: real brokers, each in its own network where that can be had, and each on
//! its own disk where a test cuts the power.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::fs;
use std::net::TcpListener;
use std::path::PathBuf;
use std::slice;
use std::thread;
use std::time::{Duration, Instant};

use odradek::client::{Admin, AdminConfig, NewTopic, TopicInfo};
use odradek::ids::{NodeId, Partition};
use rustix::process::Signal;

use crate::broker::{Broker, Folder, Setup};
use crate::lan::{DESK, Lan};
use crate::power::{self, Device};

/// How long a site may take to come to what it should be. A limit against hanging, not a promise:
/// a test goes on as soon as it is so.
pub const PATIENCE: Duration = Duration::from_secs(120);

/// How long a board may take to answer a question; some are paused, or cut off.
const ANSWER_WAIT: Duration = Duration::from_secs(5);

/// Where boards listen in networks of their own, for the wire and for Kafka's protocol.
const PORTS: (u16, u16) = (17_092, 19_092);

/// Some boards and what is between them.
pub struct Boards {
    brokers: BTreeMap<usize, Broker>,
    addresses: Vec<(String, String)>,
    voter_count: usize,
    settings: Vec<(String, String)>,
    /// Topics are made with `acks.durable=false`.
    pub acks_wait_for_memory_only: bool,
    devices: Vec<Device>,
    lan: Option<Lan>,
    folder: Folder,
}

/// Runs a test among so many boards, none of which is started yet.
pub fn among(count: usize, settings: &[(&str, &str)], test: impl FnOnce(&mut Boards) + Send) {
    let lan = Lan::new(count);
    let folder = Folder::new();
    fs::write(folder.join("secret"), "what only the boards of this site know\n").expect("written");
    let own = |(key, value): &(&str, &str)| ((*key).to_owned(), (*value).to_owned());
    let mut boards = Boards {
        brokers: BTreeMap::new(),
        addresses: addresses(count, lan.is_some()),
        voter_count: 3,
        settings: settings.iter().map(own).collect(),
        acks_wait_for_memory_only: false,
        devices: Vec::new(),
        lan,
        folder,
    };
    match boards.lan.take() {
        None => {
            eprintln!("all boards on loopback: nothing is cut");
            test(&mut boards);
        }
        // Clients are where the bridge is: every board hears them.
        Some(lan) => {
            let desk = lan.handle(DESK);
            boards.lan = Some(lan);
            Lan::inside(desk, || test(&mut boards));
        }
    }
}

/// Where boards listen.
fn addresses(count: usize, is_apart: bool) -> Vec<(String, String)> {
    if is_apart {
        let both = |place| (Lan::address(place), PORTS);
        let both = (1..=count).map(both);
        return both.map(|(host, (a, b))| (format!("{host}:{a}"), format!("{host}:{b}"))).collect();
    }
    // Held all at once, so that no two are alike, and free again when the boards want them.
    let bind = |_| TcpListener::bind("127.0.0.1:0").expect("loopback has a port");
    let held: Vec<TcpListener> = (0..2 * count).map(bind).collect();
    let address = |one: &TcpListener| one.local_addr().expect("bound").to_string();
    held.chunks(2).map(|pair| (address(&pair[0]), address(&pair[1]))).collect()
}

fn admin_at(servers: &str) -> Admin {
    let mut config = AdminConfig::new(servers);
    config.request_timeout = ANSWER_WAIT;
    config.connection_setup_timeout = ANSWER_WAIT;
    Admin::new(config).expect("the settings are legal")
}

impl Boards {
    /// Gives each board a disk of its own whose power can be cut; whether that can be done.
    pub fn put_on_disks(&mut self) -> bool {
        for _ in 0..self.addresses.len() {
            let Some(device) = Device::with(128 << 20, &[]) else { return false };
            self.devices.push(device);
        }
        true
    }

    /// Whether one board can be cut off from another here.
    pub fn can_cut(&self) -> bool {
        self.lan.is_some()
    }

    /// Starts a board and waits for its ready line.
    pub fn start(&mut self, node: usize) {
        let setup = self.setup(node);
        let broker = match &self.lan {
            Some(lan) => lan.within(node, || setup.start()),
            None => setup.start(),
        };
        self.brokers.insert(node, broker);
    }

    /// Starts the first boards and waits until they are one site.
    pub fn found(&mut self, count: usize) {
        (1..=count).for_each(|node| self.start(node));
        self.wait_for("all boards take part", |boards| {
            let cluster = boards.admin().describe_cluster();
            cluster.is_ok_and(|cluster| cluster.brokers.len() == count)
        });
        // A board takes part before it votes. Of two votes both are needed, so that whoever were killed
        // before the third has its vote would be waited for.
        let voter_count = self.voter_count.min(count);
        self.wait_for("all who are to vote do", |boards| {
            let quorum = boards.admin().describe_quorum();
            quorum.is_ok_and(|quorum| quorum.voters().count() == voter_count)
        });
    }

    /// A topic with a replica on each of three boards, two of which must have what is acknowledged.
    pub fn create_topic(&self, name: &str, partitions: i32) {
        let topic = NewTopic::new(name).partitions(partitions).replication_factor(3);
        let mut topic = topic.config("min.insync.replicas", "2");
        if self.acks_wait_for_memory_only {
            topic = topic.config("acks.durable", "false");
        }
        self.wait_for("a topic can be made", |boards| {
            let made = boards.admin().create_topics(slice::from_ref(&topic));
            made.is_ok_and(|made| made.iter().all(Result::is_ok))
        });
        self.wait_for_isr(name, 3);
    }

    /// `kill -9`.
    pub fn kill(&mut self, node: usize) {
        self.brokers.remove(&node).expect("it runs").kill();
    }

    /// Stops it as a person does, which must succeed.
    pub fn stop(&mut self, node: usize) {
        let status = self.brokers.remove(&node).expect("it runs").stop();
        assert!(status.success(), "board {node} stops: {status}\n{}", self.words());
    }

    /// Waits until it ends by itself, and well.
    pub fn wait_for_end(&mut self, node: usize) {
        let status = self.brokers.remove(&node).expect("it runs").wait();
        assert!(status.success(), "board {node} ends: {status}\n{}", self.words());
    }

    /// It does nothing any more, until it is resumed.
    pub fn pause(&self, node: usize) {
        self.brokers[&node].signal(Signal::STOP);
    }

    /// It goes on as if no time had passed.
    pub fn resume(&self, node: usize) {
        self.brokers[&node].signal(Signal::CONT);
    }

    /// From now on nothing that one board sends reaches the other.
    pub fn cut(&self, from: usize, to: usize) {
        self.lan.as_ref().expect("asked before").cut(from, to);
    }

    /// Mends a cut.
    pub fn mend(&self, from: usize, to: usize) {
        self.lan.as_ref().expect("asked before").mend(from, to);
    }

    /// Cuts the power of some boards at once; it is back when this returns, and no board runs.
    pub fn cut_power(&mut self, nodes: &[usize]) {
        for node in nodes {
            let device = &self.devices[node - 1];
            assert!(power::is_mounted_apart(&device.path()), "only a device of our own is cut");
            // Stopped first, all of them: none must run on while others have no power.
            self.brokers[node].signal(Signal::STOP);
        }
        for node in nodes {
            self.devices[node - 1].cut(self.brokers[node].id());
        }
        for node in nodes {
            self.kill(*node);
            self.devices[node - 1].restore();
        }
    }

    /// The card of a board dies; its broker runs on.
    pub fn fail_disk(&self, node: usize) {
        assert!(
            power::is_mounted_apart(&self.devices[node - 1].path()),
            "only a device of our own"
        );
        self.devices[node - 1].fail();
    }

    /// The card of a board that does not run works again, with what had been written to it.
    pub fn mend_disk(&self, node: usize) {
        self.devices[node - 1].restore();
    }

    /// The boards that run, paused ones too.
    pub fn running(&self) -> Vec<usize> {
        self.brokers.keys().copied().collect()
    }

    /// A running board.
    pub fn broker(&self, node: usize) -> &Broker {
        &self.brokers[&node]
    }

    /// Where all boards listen, as `--server` takes it.
    pub fn servers(&self) -> String {
        let wire: Vec<&str> = self.addresses.iter().map(|(wire, _)| wire.as_str()).collect();
        wire.join(",")
    }

    /// Where all doors for Kafka's clients are.
    pub fn doors(&self) -> String {
        let doors: Vec<&str> = self.addresses.iter().map(|(_, door)| door.as_str()).collect();
        doors.join(",")
    }

    /// Asks whichever board answers.
    pub fn admin(&self) -> Admin {
        admin_at(&self.servers())
    }

    /// Asks this board, and whomever it names.
    pub fn admin_of(&self, node: usize) -> Admin {
        admin_at(&self.addresses[node - 1].0)
    }

    /// A topic as one board sees it, if it answers.
    fn topic_at(&self, node: usize, name: &str) -> Option<TopicInfo> {
        let admin = self.admin_of(node);
        admin.describe_topics(&[name]).ok()?.into_iter().next()?.ok()
    }

    /// The leader of a partition as one board sees it.
    pub fn leader_at(&self, node: usize, topic: &str, partition: i32) -> Option<usize> {
        let NodeId(leader) = self.topic_at(node, topic)?.leader(Partition(partition))?;
        usize::try_from(leader).ok()
    }

    /// The board that leads a partition; waits for it, among boards of which none is paused.
    pub fn leader(&self, topic: &str, partition: i32) -> usize {
        let nodes = self.running();
        let seen = |boards: &Boards| {
            nodes.iter().find_map(|node| boards.leader_at(*node, topic, partition))
        };
        self.wait_for("a partition has a leader", |boards| seen(boards).is_some());
        seen(self).expect("it was there a moment ago")
    }

    /// The board that leads the metadata quorum.
    pub fn controller(&self) -> usize {
        let seen = |boards: &Boards| {
            let quorum = boards.admin().describe_quorum().ok()?;
            usize::try_from(quorum.leader?.0).ok()
        };
        self.wait_for("the site has a controller", |boards| seen(boards).is_some());
        seen(self).expect("it was there a moment ago")
    }

    /// Waits until every partition of a topic has a leader and so many replicas in sync, in the eyes
    /// of every running board.
    pub fn wait_for_isr(&self, topic: &str, count: usize) {
        let nodes = self.running();
        self.wait_for(&format!("{topic} has {count} replicas in sync"), |boards| {
            nodes.iter().all(|node| {
                let Some(seen) = boards.topic_at(*node, topic) else { return false };
                let mut all = seen.partitions.iter();
                all.all(|one| one.leader.is_some() && one.isr.len() == count)
            })
        });
    }

    /// Waits until something is so; what all boards said, when it does not come.
    pub fn wait_for(&self, what: &str, mut is_so: impl FnMut(&Boards) -> bool) {
        let deadline = Instant::now() + PATIENCE;
        while !is_so(self) {
            assert!(Instant::now() < deadline, "not in {PATIENCE:?}: {what}\n{}", self.words());
            thread::sleep(Duration::from_millis(50));
        }
    }

    /// What each board said last.
    pub fn words(&self) -> String {
        let mut all = String::new();
        for node in 1..=self.addresses.len() {
            let words = fs::read_to_string(self.words_at(node)).unwrap_or_default();
            let lines: Vec<&str> = words.lines().collect();
            let last = &lines[lines.len().saturating_sub(40)..];
            let _ = writeln!(all, "-- board {node}\n{}", last.join("\n"));
            if self.brokers.contains_key(&node) {
                self.describe(node, &mut all);
            }
        }
        all
    }

    /// What a board thinks of every partition, and what it has of it.
    fn describe(&self, node: usize, all: &mut String) {
        let admin = self.admin_of(node);
        let topics = admin.list_topics().unwrap_or_default();
        for topic in &topics {
            let Ok(logs) = admin.describe_log_dirs(&[&topic.name]) else { continue };
            for one in &topic.partitions {
                let (leader, epoch, isr) = (one.leader, one.leader_epoch, &one.isr);
                let place = format!("{}-{}", topic.name, one.partition.0);
                let _ = writeln!(all, "{place}: led by {leader:?} in {epoch}, in sync {isr:?}");
                for log in logs.iter().filter(|log| log.partition == one.partition) {
                    let (mark, durable) = (log.high_watermark, log.durable_offset);
                    let (epoch, end) = (log.leader_epoch, log.log_end_offset);
                    let _ = writeln!(all, "  to {end}, durable {durable}, {mark} in {epoch}");
                }
            }
        }
    }

    /// Stops every board, and sees that what each has of a topic is the same, byte for byte.
    pub fn stop_and_compare(&mut self, topic: &str, partitions: i32) {
        self.wait_for_isr(topic, 3);
        for node in self.running() {
            self.stop(node);
        }
        for partition in 0..partitions {
            let logs: Vec<(usize, Vec<u8>)> = (1..=self.addresses.len())
                .filter_map(|node| Some((node, self.log(node, topic, partition)?)))
                .collect();
            assert_eq!(logs.len(), 3, "three replicas of {topic}-{partition}");
            for (node, log) in &logs[1..] {
                assert!(
                    *log == logs[0].1,
                    "{topic}-{partition}: board {node} has {} bytes, board {} has {}, and they \
                     differ\n{}",
                    log.len(),
                    logs[0].0,
                    logs[0].1.len(),
                    self.words()
                );
            }
        }
    }

    /// All bytes that a stopped board has of a partition, if it has a replica.
    fn log(&self, node: usize, topic: &str, partition: i32) -> Option<Vec<u8>> {
        let folder = self.data(node).join(format!("{topic}-{partition}"));
        let files = fs::read_dir(folder).ok()?;
        let mut paths: Vec<PathBuf> = files.flatten().map(|file| file.path()).collect();
        paths.retain(|path| path.extension().is_some_and(|extension| extension == "log"));
        paths.sort();
        Some(paths.iter().flat_map(|path| fs::read(path).expect("it can be read")).collect())
    }

    fn data(&self, node: usize) -> PathBuf {
        match self.devices.get(node - 1) {
            Some(device) => power::data(device),
            None => self.folder.join(&format!("node-{node}")),
        }
    }

    /// A file that goes with the test.
    pub fn file(&self, name: &str) -> PathBuf {
        self.folder.join(name)
    }

    fn words_at(&self, node: usize) -> PathBuf {
        self.folder.join(&format!("node-{node}.log"))
    }

    fn setup(&self, node: usize) -> Setup {
        let voter = |(place, (wire, _)): (usize, &(String, String))| {
            let node = place + 1;
            format!("\"{node}@{wire}\"")
        };
        let voters = self.addresses.iter().enumerate().take(self.voter_count);
        let voters: Vec<String> = voters.map(voter).collect();
        let (wire, door) = &self.addresses[node - 1];
        let mut setup = Setup::new(&self.data(node))
            .words_at(&self.words_at(node))
            .set("broker.id", &node.to_string())
            .set("listeners", &format!("wire://{wire},kafka://{door}"))
            .set("controller.quorum.voters", &format!("[{}]", voters.join(", ")))
            .set("cluster.secret.file", &self.folder.join("secret").display().to_string());
        for (key, value) in &self.settings {
            setup = setup.set(key, value);
        }
        setup
    }
}

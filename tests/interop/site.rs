//! Apache Kafka's tools at a site of three nodes: what they say of it is what `odradek` says, and
//! what they have done is done.

use std::collections::BTreeSet;
use std::fs;
use std::net::TcpListener;
use std::thread;
use std::time::{Duration, Instant};

use crate::broker::{Broker, Folder, Setup};
use crate::interop::dump::jars;
use crate::interop::one_machine::Tools;

const REASSIGN: &str = "reassign.ReassignPartitionsCommand";

/// How long a site may take to come to what it should be, on a busy machine.
const PATIENCE: Duration = Duration::from_secs(90);

struct Site {
    folder: Folder,
    ports: Vec<u16>,
}

impl Site {
    fn of_three() -> Site {
        let folder = Folder::new();
        fs::write(folder.join("secret"), "what only these three know\n").expect("written");
        // Held all at once, so that no two are alike, and free again when the nodes want them.
        let held: Vec<TcpListener> =
            (0..3).map(|_| TcpListener::bind("127.0.0.1:0").expect("loopback")).collect();
        let port = |listener: &TcpListener| listener.local_addr().expect("bound").port();
        let ports = held.iter().map(port).collect();
        Site { folder, ports }
    }

    fn start(&self, node: usize) -> Broker {
        let voter = |(place, port): (usize, &u16)| format!("\"{}@127.0.0.1:{port}\"", place + 1);
        let voters: Vec<String> = self.ports.iter().enumerate().map(voter).collect();
        let listeners = format!("wire://127.0.0.1:{},kafka://127.0.0.1:0", self.ports[node - 1]);
        Setup::new(&self.folder.join(&format!("node-{node}")))
            .set("broker.id", &node.to_string())
            .set("listeners", &listeners)
            .set("controller.quorum.voters", &format!("[{}]", voters.join(", ")))
            .set("cluster.secret.file", &self.folder.join("secret").display().to_string())
            .set("broker.session.timeout.ms", "3000")
            .set("broker.heartbeat.interval.ms", "500")
            .set("auto.leader.rebalance.enable", "false")
            .start()
    }

    /// What stands in the file of a reassignment of topic `t`.
    fn plan(&self, partitions: &[(u32, &str)]) -> String {
        let one = |(partition, replicas): &(u32, &str)| {
            format!("{{\"topic\":\"t\",\"partition\":{partition},\"replicas\":[{replicas}]}}")
        };
        let all: Vec<String> = partitions.iter().map(one).collect();
        write_plan(&self.folder, &all.join(","))
    }
}

fn write_plan(folder: &Folder, partitions: &str) -> String {
    let path = folder.join("plan.json");
    let text = format!("{{\"version\":1,\"partitions\":[{partitions}]}}");
    fs::write(&path, text).expect("written");
    path.display().to_string()
}

/// Topic `t` as `odradek topic describe` has it: partition, leader, replicas, ISR, ELR.
fn ours(at: &Broker) -> Vec<[String; 5]> {
    let text = at.text(&["topic", "describe", "t"]);
    let rows = text.lines().skip_while(|line| !line.starts_with("PARTITION")).skip(1);
    let rows = rows.take_while(|line| line.starts_with(|first: char| first.is_ascii_digit()));
    let row = |line: &str| {
        let words: Vec<&str> = line.split_whitespace().collect();
        [0, 1, 3, 4, 5].map(|place| words[place].to_owned())
    };
    rows.map(row).collect()
}

/// The same in the words of `kafka-topics --describe`.
fn theirs(described: &str) -> Vec<[String; 5]> {
    let lines = described.lines().filter(|line| line.contains("Partition: "));
    let row = |line: &str| {
        ["Partition: ", "Leader: ", "Replicas: ", "Isr: ", "Elr: "].map(|name| {
            let (_, rest) = line.split_once(name).unwrap_or_else(|| panic!("{name} in {line}"));
            let value = rest.split('\t').next().unwrap_or_default().trim();
            if value.is_empty() { "-".to_owned() } else { value.to_owned() }
        })
    };
    lines.map(row).collect()
}

/// Members of a list of brokers, in whatever order.
fn members(list: &str) -> BTreeSet<&str> {
    list.split(',').filter(|id| *id != "-").collect()
}

fn are_alike(ours: &[[String; 5]], theirs: &[[String; 5]]) -> bool {
    let is_alike = |(one, other): (&[String; 5], &[String; 5])| {
        one[..3] == other[..3]
            && members(&one[3]) == members(&other[3])
            && members(&one[4]) == members(&other[4])
    };
    ours.len() == theirs.len() && ours.iter().zip(theirs).all(is_alike)
}

/// Both say the same of `t`, and `is_so` of it; asked again while things are on the move.
fn agree(
    tools: &mut Tools,
    at: &Broker,
    which: &[&str],
    what: &str,
    is_so: impl Fn(&[[String; 5]]) -> bool,
) -> String {
    let deadline = Instant::now() + PATIENCE;
    loop {
        let described = tools.run("TopicCommand", at, &[&["--describe"], which].concat());
        let (ours, theirs) = (ours(at), theirs(&described));
        if are_alike(&ours, &theirs) && is_so(&ours) {
            return described;
        }
        let words = at.words();
        assert!(Instant::now() < deadline, "{what}: {ours:?}\n{theirs:?}\n{words}");
        thread::sleep(Duration::from_millis(100));
    }
}

/// Waits until topic `t` is as it should be.
fn until(at: &Broker, what: &str, is_so: impl Fn(&[[String; 5]]) -> bool) -> Vec<[String; 5]> {
    let deadline = Instant::now() + PATIENCE;
    loop {
        let rows = ours(at);
        if is_so(&rows) {
            return rows;
        }
        assert!(Instant::now() < deadline, "{what}: {rows:?}\n{}", at.words());
        thread::sleep(Duration::from_millis(100));
    }
}

/// Brokers that take part, as `cluster status` has them.
fn live(at: &Broker) -> usize {
    let status = at.run(&["cluster", "status"]);
    let status = String::from_utf8_lossy(&status.stdout).into_owned();
    status.lines().filter(|line| line.starts_with("broker ")).count()
}

fn come_together(site: &Site) -> [Broker; 3] {
    let nodes = [1, 2, 3].map(|node| site.start(node));
    let deadline = Instant::now() + PATIENCE;
    for node in &nodes {
        while live(node) < 3 {
            assert!(Instant::now() < deadline, "{}", node.words());
            thread::sleep(Duration::from_millis(100));
        }
    }
    nodes
}

fn is_whole(rows: &[[String; 5]]) -> bool {
    rows.len() == 3 && rows.iter().all(|row| members(&row[3]).len() == 3)
}

#[test]
fn kafkas_tools_see_and_change_a_site_as_we_do() {
    let Some(mut tools) = jars().and_then(|jars| Tools::start(&jars)) else { return };
    let tools = &mut tools;
    let site = Site::of_three();
    let [first, second, third] = come_together(&site);
    let first = &first;
    let create = ["--create", "--topic", "t", "--partitions", "3", "--replication-factor", "3"];
    let create = [&create[..], &["--config", "min.insync.replicas=2"]].concat();
    tools.run("TopicCommand", first, &create);
    let all = ["--topic", "t"];
    let described = agree(tools, first, &all, "three partitions on three", is_whole);
    assert!(described.contains("ReplicationFactor: 3"), "{described}");

    agree_on_the_quorum(tools, first);
    reassign(&site, tools, first);

    // A board is lost: who led is replaced, and the tools name what lacks a copy.
    third.kill();
    let lacking = ["--under-replicated-partitions"];
    agree(tools, first, &lacking, "without the third", |rows| {
        rows.iter().all(|row| row[1] != "3" && !members(&row[3]).contains("3"))
    });
    assert_eq!(live(first), 2, "cluster status lists who takes part");
    let (code, words) = tools.try_run("ClusterTool", first, &["unregister", "--id", "2"]);
    assert!(code != 0 && words.contains("takes part"), "{words}");

    // It comes back, catches up, and leads again what it led when it is told to.
    let third = site.start(3);
    until(first, "whole again", is_whole);
    let described = [&["--describe"], &lacking[..]].concat();
    assert_eq!(theirs(&tools.run("TopicCommand", first, &described)), Vec::<[String; 5]>::new());
    let elect = ["--election-type", "preferred", "--all-topic-partitions"];
    tools.run("LeaderElectionCommand", first, &elect);
    until(first, "led by the preferred", |rows| {
        rows.iter().all(|row| row[2].split(',').next() == Some(&*row[1]))
    });

    // It leaves for good: what it had goes to the others first.
    let plan = site.plan(&[(0, "1,2"), (1, "2,1"), (2, "1,2")]);
    move_by(tools, first, &plan, &[]);
    until(first, "on two", |rows| rows.iter().all(|row| !members(&row[2]).contains("3")));
    third.kill();
    let deadline = Instant::now() + PATIENCE;
    loop {
        let (code, words) = tools.try_run("ClusterTool", first, &["unregister", "--id", "3"]);
        if code == 0 {
            break;
        }
        assert!(words.contains("takes part") && Instant::now() < deadline, "{words}");
        thread::sleep(Duration::from_millis(100));
    }
    assert!(second.stop().success());
}

/// `kafka-metadata-quorum` and `kafka-features` beside `odradek cluster status`.
fn agree_on_the_quorum(tools: &mut Tools, at: &Broker) {
    let status = at.text(&["cluster", "status"]);
    let led = status.split_once("led by node ").expect("it is led").1;
    let leader = led.split(' ').next().unwrap_or_default();
    let quorum = tools.run("MetadataQuorumCommand", at, &["describe", "--status"]);
    let value = |name: &str| {
        let line = quorum.lines().find(|line| line.starts_with(name));
        let line = line.unwrap_or_else(|| panic!("{name} in {quorum}"));
        line.split_once(':').expect("a name and a value").1.trim().to_owned()
    };
    assert_eq!(value("LeaderId"), leader, "{status}");
    let epoch = led.split_once(" in epoch ").expect("an epoch").1.split(',').next();
    assert_eq!(value("LeaderEpoch"), epoch.unwrap_or_default(), "{status}");
    let number = |text: &str| {
        let text = text.trim_start();
        let end = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
        text[..end].parse::<i32>().expect("a node id")
    };
    let voters = value("CurrentVoters");
    let theirs: BTreeSet<i32> = voters.split("\"id\":").skip(1).map(number).collect();
    let votes = |line: &&str| line.starts_with("node ") && line.contains(" voter ");
    let ours: BTreeSet<i32> =
        status.lines().filter(votes).map(|line| number(&line["node ".len()..])).collect();
    assert_eq!((ours.len(), &ours), (3, &theirs), "{status}\n{voters}");
    let progress = tools.run("MetadataQuorumCommand", at, &["describe", "--replication"]);
    let leads = |line: &&str| line.trim_end().ends_with("Leader");
    let line = progress.lines().find(leads).expect("one of them leads");
    assert!(line.starts_with(leader), "{progress}");
    assert_eq!(progress.lines().filter(|line| line.contains("Follower")).count(), 2, "{progress}");
    let features = tools.run("FeatureCommand", at, &["describe"]);
    assert!(features.contains("odradek.level"), "{features}");
    assert!(features.contains("FinalizedVersionLevel: 1"), "{features}");
}

/// Two copies and back to three, with a bound that is lifted when it is done.
fn reassign(site: &Site, tools: &mut Tools, at: &Broker) {
    let plan = site.plan(&[(0, "2,1"), (1, "3,2")]);
    move_by(tools, at, &plan, &["--throttle", "50000000"]);
    until(at, "two of them on two", |rows| rows[0][2] == "2,1" && rows[1][2] == "3,2");
    let shown = at.text(&["config", "show"]);
    assert!(!shown.contains("throttled.rate = 5"), "lifted by --verify");
    let plan = site.plan(&[(0, "3,1,2"), (1, "2,3,1"), (2, "1,2,3")]);
    move_by(tools, at, &plan, &[]);
    let all_on_three = |rows: &[[String; 5]]| {
        rows.iter().all(|row| members(&row[2]).len() == 3 && members(&row[3]).len() == 3)
    };
    until(at, "all on three", all_on_three);
    let listed = tools.run(REASSIGN, at, &["--list"]);
    assert!(listed.contains("No partition reassignments found"), "{listed}");
}

fn move_by(tools: &mut Tools, at: &Broker, plan: &str, more: &[&str]) {
    let execute = [&["--reassignment-json-file", plan, "--execute"][..], more].concat();
    let said = tools.run(REASSIGN, at, &execute);
    assert!(said.contains("Successfully started partition reassignment"), "{said}");
    let deadline = Instant::now() + PATIENCE;
    loop {
        let said = tools.run(REASSIGN, at, &["--reassignment-json-file", plan, "--verify"]);
        if !said.contains("in progress") {
            assert!(!said.contains("Error"), "{said}");
            return;
        }
        assert!(Instant::now() < deadline, "{said}");
        thread::sleep(Duration::from_millis(100));
    }
}

/// What a node that is alone answers to the same questions.
#[test]
fn kafkas_tools_find_a_node_that_is_alone_to_be_a_site_of_one() {
    let Some(mut tools) = jars().and_then(|jars| Tools::start(&jars)) else { return };
    let tools = &mut tools;
    let folder = Folder::new();
    let listeners = "wire://127.0.0.1:0,kafka://127.0.0.1:0";
    let broker = Setup::new(&folder.join("data")).set("listeners", listeners).start();
    let quorum = tools.run("MetadataQuorumCommand", &broker, &["describe", "--status"]);
    let leads = quorum.lines().any(|line| line.starts_with("LeaderId:") && line.ends_with('1'));
    assert!(leads, "{quorum}");
    broker.text(&["topic", "create", "t"]);
    agree(tools, &broker, &["--topic", "t"], "one of one", |rows| rows.len() == 1);
    let plan = write_plan(&folder, "{\"topic\":\"t\",\"partition\":0,\"replicas\":[2]}");
    let words = ["--reassignment-json-file", &plan, "--execute"];
    let (code, said) = tools.try_run(REASSIGN, &broker, &words);
    assert!(code != 0 && said.contains('2'), "{said}");
}

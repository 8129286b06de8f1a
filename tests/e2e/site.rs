//! A site of three nodes on loopback: they form a quorum, go on without any one of them, and take a
//! node with an empty card in again. No record is written here: it is about who decides.

use std::fs;
use std::net::TcpListener;
use std::path::PathBuf;
use std::thread;
use std::time::{Duration, Instant};

use crate::broker::{Broker, Folder, Setup};

/// How long a site may take to come to what it should be, on a busy machine.
const PATIENCE: Duration = Duration::from_secs(120);

struct Site {
    folder: Folder,
    ports: Vec<u16>,
    secret: PathBuf,
}

impl Site {
    fn of(count: usize) -> Site {
        let folder = Folder::new();
        let secret = folder.join("secret");
        fs::write(&secret, "what only the boards of this site know\n").expect("written");
        // Held all at once, so that no two are alike, and free again when the nodes want them.
        let held: Vec<TcpListener> =
            (0..count).map(|_| TcpListener::bind("127.0.0.1:0").expect("loopback")).collect();
        let port = |listener: &TcpListener| listener.local_addr().expect("bound").port();
        let ports = held.iter().map(port).collect();
        Site { folder, ports, secret }
    }

    fn data(&self, node: usize) -> PathBuf {
        self.folder.join(&format!("node-{node}"))
    }

    fn setup(&self, node: usize) -> Setup {
        let voter = |(place, port): (usize, &u16)| format!("\"{}@127.0.0.1:{port}\"", place + 1);
        let voters: Vec<String> = self.ports.iter().enumerate().map(voter).collect();
        let secret = self.secret.display().to_string();
        Setup::new(&self.data(node))
            .set("broker.id", &node.to_string())
            .set("listeners", &format!("wire://127.0.0.1:{}", self.ports[node - 1]))
            .set("controller.quorum.voters", &format!("[{}]", voters.join(", ")))
            .set("cluster.secret.file", &secret)
            .set("broker.session.timeout.ms", "3000")
            .set("broker.heartbeat.interval.ms", "500")
    }

    fn start(&self, node: usize) -> Broker {
        self.setup(node).start()
    }
}

/// What `odradek cluster status` says.
fn status(broker: &Broker) -> String {
    let output = broker.run(&["cluster", "status"]);
    String::from_utf8_lossy(&output.stdout).into_owned()
}

/// Who leads and in which epoch, as one node sees it.
fn leader(status: &str) -> Option<(usize, u32)> {
    let (_, rest) = status.split_once("led by node ")?;
    let (node, rest) = rest.split_once(" in epoch ")?;
    let (epoch, _) = rest.split_once(',')?;
    Some((node.parse().ok()?, epoch.parse().ok()?))
}

fn count(status: &str, words: &str) -> usize {
    status.lines().filter(|line| line.contains(words)).count()
}

/// Waits until every node sees the same leader, so many voters and so many brokers.
fn agree(brokers: &[&Broker], voters: usize, live: usize) -> (usize, u32) {
    let deadline = Instant::now() + PATIENCE;
    loop {
        let seen: Vec<String> = brokers.iter().map(|broker| status(broker)).collect();
        let leaders: Vec<_> = seen.iter().map(|status| leader(status)).collect();
        let is_whole = |status: &String| {
            count(status, " voter ") == voters && count(status, "broker ") == live
        };
        if let Some(Some(first)) = leaders.first().copied() {
            if leaders.iter().all(|other| *other == Some(first)) && seen.iter().all(is_whole) {
                return first;
            }
        }
        let words: Vec<String> = brokers.iter().map(|broker| broker.words()).collect();
        assert!(
            Instant::now() < deadline,
            "the site does not come together: {}\n{}",
            seen.join("\n"),
            words.join("\n--\n")
        );
        thread::sleep(Duration::from_millis(100));
    }
}

/// Waits until a topic is known to a node.
fn knows(broker: &Broker, topic: &str) {
    let deadline = Instant::now() + PATIENCE;
    while !broker.text(&["topic", "list"]).lines().any(|line| line == topic) {
        assert!(Instant::now() < deadline, "{topic} is not known: {}", broker.words());
        thread::sleep(Duration::from_millis(50));
    }
}

#[test]
fn three_nodes_agree_and_go_on_without_any_one_of_them() {
    let site = Site::of(3);
    let mut nodes: Vec<Option<Broker>> = (1..4).map(|node| Some(site.start(node))).collect();
    let all: Vec<&Broker> = nodes.iter().flatten().collect();
    let (first, epoch) = agree(&all, 3, 3);
    // Asked of any node, decided by one, known to all.
    let asked = all[first % 3];
    asked.text(&["topic", "create", "before", "--replication-factor", "3"]);
    knows(asked, "before");
    for broker in &all {
        knows(broker, "before");
    }

    nodes[first - 1].take().expect("it runs").kill();
    let rest: Vec<&Broker> = nodes.iter().flatten().collect();
    let (second, later) = agree(&rest, 3, 2);
    assert!(second != first && epoch < later, "{first} in {epoch}, then {second} in {later}");
    rest[0].text(&["topic", "create", "after", "--replication-factor", "2"]);
    for broker in &rest {
        knows(broker, "after");
    }

    nodes[first - 1] = Some(site.start(first));
    let all: Vec<&Broker> = nodes.iter().flatten().collect();
    agree(&all, 3, 3);
    knows(all[first - 1], "after");
}

#[test]
fn a_node_with_an_empty_card_is_taken_in_as_another_voter() {
    let site = Site::of(3);
    let mut nodes: Vec<Option<Broker>> = (1..4).map(|node| Some(site.start(node))).collect();
    let all: Vec<&Broker> = nodes.iter().flatten().collect();
    agree(&all, 3, 3);
    all[0].text(&["topic", "create", "t", "--replication-factor", "3"]);
    // The one that founds a site: with its card empty it must not found another.
    nodes[0].take().expect("it runs").kill();
    fs::remove_dir_all(site.data(1)).expect("an empty card");
    let rest: Vec<&Broker> = nodes.iter().flatten().collect();
    agree(&rest, 3, 2);
    nodes[0] = Some(site.start(1));
    let all: Vec<&Broker> = nodes.iter().flatten().collect();
    agree(&all, 3, 3);
    knows(all[0], "t");
}

#[test]
fn a_board_of_another_site_is_refused_and_disturbs_nobody() {
    let site = Site::of(3);
    let nodes: Vec<Broker> = (1..3).map(|node| site.start(node)).collect();
    let stranger = site.folder.join("other-secret");
    fs::write(&stranger, "what the boards of another site know\n").expect("written");
    let setup = site.setup(3).set("cluster.secret.file", &stranger.display().to_string());
    let third = setup.start();
    let deadline = Instant::now() + PATIENCE;
    while !third.words().contains("another secret") {
        assert!(Instant::now() < deadline, "{}", third.words());
        thread::sleep(Duration::from_millis(50));
    }
    assert!(nodes.iter().all(|node| leader(&status(node)).is_none()), "no site without all of it");
    third.kill();
    let third = site.start(3);
    agree(&[&nodes[0], &nodes[1], &third], 3, 3);
}

#[test]
fn a_member_without_the_others_and_a_site_without_a_secret_do_not_start() {
    let site = Site::of(2);
    let nodes: Vec<Broker> = (1..3).map(|node| site.start(node)).collect();
    agree(&nodes.iter().collect::<Vec<_>>(), 2, 2);
    for node in nodes {
        assert!(node.stop().success());
    }
    let alone = Setup::new(&site.data(1)).set("broker.id", "1").try_start();
    let words = alone.expect_err("it belongs to a site");
    assert!(words.contains("controller.quorum.voters must name the others"), "{words}");
    let open = Setup::new(&site.data(3))
        .set("controller.quorum.voters", "[\"1@127.0.0.1:1\", \"2@127.0.0.1:2\"]")
        .try_start();
    let words = open.expect_err("it has no secret");
    assert!(words.contains("cluster.secret.file"), "{words}");
}

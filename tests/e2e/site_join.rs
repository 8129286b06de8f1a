//! A site that is formed by pairing: `cluster init`, `join` and `join`, then `leave` and `remove`. And
//! two boards with a witness.

use std::fs;
use std::net::TcpListener;
use std::os::unix::fs::PermissionsExt;
use std::thread;
use std::time::{Duration, Instant};

use odradek::client::{ClientError, Producer, ProducerConfig, ProducerRecord};
use odradek::wire::ErrorCode;

use crate::broker::{Broker, Folder, Setup};

/// How long a site may take to come to what it should be, on a busy machine.
const PATIENCE: Duration = Duration::from_secs(120);

fn board(folder: &Folder, node: i32) -> Setup {
    Setup::new(&folder.join(&format!("node-{node}")))
        .set("broker.id", &node.to_string())
        .set("broker.session.timeout.ms", "2000")
        .set("broker.heartbeat.interval.ms", "300")
}

/// What a command says on standard error, which fails.
fn refusal(broker: &Broker, arguments: &[&str]) -> String {
    let output = broker.run(arguments);
    assert_eq!(output.status.code(), Some(1), "{arguments:?}");
    String::from_utf8_lossy(&output.stderr).into_owned()
}

fn until(broker: &Broker, what: &str, is_so: impl Fn() -> bool) {
    let deadline = Instant::now() + PATIENCE;
    while !is_so() {
        assert!(Instant::now() < deadline, "it is never so that {what}: {}", broker.words());
        thread::sleep(Duration::from_millis(100));
    }
}

/// Rows of `cluster members` that hold all of these words.
fn members(broker: &Broker, words: &[&str]) -> usize {
    let output = broker.run(&["cluster", "members"]);
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    text.lines().filter(|line| words.iter().all(|word| line.contains(word))).count()
}

fn whole(broker: &Broker, voters: usize, active: usize) {
    until(broker, &format!("{voters} vote and {active} are active"), || {
        members(broker, &[" voter "]) == voters && members(broker, &[" active "]) == active
    });
}

/// The code that a board prints.
fn code(broker: &Broker, command: &str) -> String {
    broker.text(&["cluster", command]).trim().to_owned()
}

/// What a board is told that may not join.
fn turned_away(broker: &Broker, code: &str, to: &Broker) -> String {
    refusal(broker, &["cluster", "join", code, "--address", &to.server])
}

fn join(broker: &Broker, code: &str, to: &Broker) {
    broker.text(&["cluster", "join", code, "--address", &to.server]);
}

/// Three boards become a site; who may not join is told why, and nothing changes.
fn pair(folder: &Folder) -> [Broker; 3] {
    let first = board(folder, 1).start();
    // What the first board held before becomes the site's.
    first.text(&["topic", "create", "own"]);
    first.produce(&["own"], &["kept".to_owned()]);
    assert!(refusal(&first, &["cluster", "invite"]).contains("cluster init"));
    assert!(refusal(&first, &["cluster", "leave"]).contains("belongs to no site"));
    let first_code = code(&first, "init");
    assert_eq!(first_code.len(), 19, "{first_code}");
    let secret = folder.join("node-1").join("site");
    let mode = fs::metadata(&secret).expect("the secret is kept").permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
    assert_eq!(first.consume(&["own"]), ["kept"]);

    let second = board(folder, 2).start();
    let twin = Setup::new(&folder.join("twin")).set("broker.id", "1").start();
    assert!(turned_away(&second, "7K3Q", &first).contains("no pairing code"));
    let words = turned_away(&twin, &first_code, &first);
    assert!(words.contains("a node of this id belongs to the site"), "{words}");
    twin.kill();
    for _ in 0..2 {
        assert!(turned_away(&second, "0000-0000-0000-0000", &first).contains("another code"));
    }
    join(&second, &first_code, &first);
    whole(&first, 2, 2);
    assert!(first.words().contains("two nodes vote"), "{}", first.words());
    until(&first, "the status says what two voters are worth", || {
        first.text(&["cluster", "status"]).contains("two vote")
    });
    let third = board(folder, 3).start();
    assert!(turned_away(&third, &first_code, &first).contains("was used"));
    let second_code = code(&first, "invite");
    for _ in 0..5 {
        assert!(turned_away(&third, "0000-0000-0000-0000", &first).contains("another code"));
    }
    assert!(turned_away(&third, &second_code, &first).contains("tried too often"));
    let third_code = code(&second, "invite");
    let words = turned_away(&third, &third_code, &first);
    assert!(words.contains("tried too often"), "that board made no such code: {words}");
    join(&third, &third_code, &second);
    whole(&third, 3, 3);
    assert!(turned_away(&third, &third_code, &first).contains("belongs to a site"));
    [first, second, third]
}

#[test]
fn boards_pair_join_leave_and_are_removed() {
    let folder = Folder::new();
    let [first, second, third] = pair(&folder);
    third.text(&["topic", "create", "t", "--replication-factor", "3"]);
    until(&first, "the topic is known", || {
        first.text(&["topic", "list"]).lines().any(|line| line == "t")
    });
    first.produce(&["t"], &["one".to_owned(), "two".to_owned()]);
    assert_eq!(third.consume(&["t"]), ["one", "two"]);

    // One that is alive stays.
    let words = refusal(&first, &["cluster", "remove", "3"]);
    assert!(words.contains("is alive"), "{words}");
    let words = refusal(&first, &["cluster", "remove", "9"]);
    assert!(words.contains("no node 9"), "{words}");

    // A dead one is removed, and joins again from an empty card.
    third.kill();
    until(&first, "the dead one is out of reach", || members(&first, &[" active "]) == 2);
    first.text(&["cluster", "remove", "3"]);
    whole(&first, 2, 2);
    let old = board(&folder, 3).start();
    until(&old, "it is told that it was removed", || old.words().contains("was removed"));
    assert_eq!((members(&first, &[" voter "]), members(&first, &[" active "])), (2, 2));
    old.kill();
    fs::remove_dir_all(folder.join("node-3")).expect("an empty card");
    let third = board(&folder, 3).start();
    join(&third, &code(&first, "invite"), &first);
    whole(&third, 3, 3);

    // Of one copy each: what the third has moves to the others.
    let spread = ["topic", "create", "spread", "--partitions", "3", "--replication-factor", "1"];
    first.text(&spread);
    let records: Vec<String> = (0..30).map(|number| format!("record {number}")).collect();
    first.produce(&["spread"], &records);
    third.text(&["cluster", "leave"]);
    assert!(third.wait().success());
    whole(&first, 2, 2);
    let words = board(&folder, 3).try_start().expect_err("it has left");
    assert!(words.contains("has left its site"), "{words}");
    assert_eq!(first.consume(&["t"]), ["one", "two"]);
    assert_eq!(first.consume(&["spread"]).len(), records.len(), "{}", first.words());

    // Of two, one is no majority: nobody leads, and nothing fails over, until the other is back.
    second.kill();
    let is_led = || !first.text(&["cluster", "status"]).contains("nobody leads");
    until(&first, "nobody leads", || !is_led());
    thread::sleep(Duration::from_secs(2));
    assert!(!is_led(), "{}", first.words());
    let status = first.text(&["cluster", "status", "--json"]);
    assert!(status.contains("\"trouble\":\"nobody leads"), "{status}");
    let second = board(&folder, 2).start();
    whole(&first, 2, 2);
    assert!(second.stop().success());
}

/// More than a move is through with before it is cancelled, at [`SLOWLY`].
const MOVED: usize = 4 << 20;
const SLOWLY: &str = "100000";

#[test]
fn a_vote_is_given_to_another_board_and_a_move_is_called_off() {
    let folder = Folder::new();
    let [first, second, third] = pair(&folder);
    let no_controller = board(&folder, 4).set("process.roles", "[\"broker\"]").start();
    join(&no_controller, &code(&first, "invite"), &first);
    whole(&first, 3, 4);
    let words = refusal(&first, &["cluster", "move-voter", "3", "4"]);
    assert!(words.contains("node 4 is no controller (process.roles)"), "{words}");
    // It takes part in all else.
    first.text(&["topic", "create", "t", "--replication-factor", "4"]);
    no_controller.produce(&["t"], &["one".to_owned()]);
    assert!(no_controller.stop().success());

    let fourth = board(&folder, 4).start();
    whole(&first, 3, 4);
    first.text(&["cluster", "move-voter", "3", "4"]);
    until(&third, "4 votes in the place of 3", || {
        is_listed(&third, 4, " voter ") && is_listed(&third, 3, " observer ")
    });
    let listed = second.text(&["cluster", "members", "--json"]);
    assert_eq!(listed.matches("\"voter\"").count(), 3, "{listed}");
    // It counts: without two of the old three the site goes on by its vote.
    second.kill();
    until(&fourth, "the dead one is fenced", || members(&fourth, &[" active "]) == 3);
    fourth.text(&["topic", "create", "since", "--replication-factor", "3"]);

    first.text(&["topic", "create", "big", "--replication-factor", "1"]);
    first.text(&["topic", "reassign", "big", "--replicas", "1"]);
    until(&first, "it is on the first board", || moving(&first).is_empty());
    first.produce(&["big"], &vec!["x".repeat(1 << 10); MOVED >> 10]);
    first.text(&["topic", "reassign", "--throttle", SLOWLY]);
    first.text(&["topic", "reassign", "big", "--replicas", "3"]);
    until(&first, "the move is listed", || moving(&first).contains("\"adding\":[3]"));
    first.text(&["topic", "reassign", "big", "--cancel"]);
    until(&first, "nothing moves", || moving(&first).is_empty());
    let described = first.text(&["topic", "describe", "big", "--json"]);
    assert!(described.contains("\"replicas\":[1]"), "{described}");
    assert_eq!(first.consume(&["big"]).len(), MOVED >> 10);
}

/// Whether `cluster members` says so of a node.
fn is_listed(broker: &Broker, node: i32, kind: &str) -> bool {
    let output = broker.run(&["cluster", "members"]);
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    text.lines().any(|line| line.starts_with(&format!("{node} ")) && line.contains(kind))
}

/// What moves, nothing if nothing does.
fn moving(broker: &Broker) -> String {
    let listed = broker.text(&["topic", "reassign", "--list", "--json"]);
    listed.trim().trim_start_matches("[]").to_owned()
}

fn free_ports(count: usize) -> Vec<u16> {
    // Held all at once, so that no two are alike, and free again when the nodes want them.
    let held: Vec<TcpListener> =
        (0..count).map(|_| TcpListener::bind("127.0.0.1:0").expect("loopback")).collect();
    held.iter().map(|listener| listener.local_addr().expect("bound").port()).collect()
}

#[test]
fn boards_that_only_name_each_other_become_a_site() {
    let folder = Folder::new();
    let ports = free_ports(3);
    let secret = folder.join("secret");
    fs::write(&secret, "what only the boards of this site know\n").expect("written");
    let start = |node: usize| {
        let others = (1..4).filter(|other| *other != node);
        let peers: Vec<String> =
            others.map(|other| format!("\"127.0.0.1:{}\"", ports[other - 1])).collect();
        board(&folder, node as i32)
            .set("listeners", &format!("wire://127.0.0.1:{}", ports[node - 1]))
            .set("peers", &format!("[{}]", peers.join(", ")))
            .set("cluster.secret.file", &secret.display().to_string())
            .start()
    };
    let (two, three) = (start(2), start(3));
    // Each waits for whoever it was told of, lest two sites begin.
    thread::sleep(Duration::from_secs(1));
    assert_eq!(members(&two, &[" active "]), 0);
    let one = start(1);
    whole(&three, 3, 3);
    three.text(&["topic", "create", "t", "--replication-factor", "3"]);
    // With an empty card the first begins nothing: the others have a log.
    one.kill();
    fs::remove_dir_all(folder.join("node-1")).expect("an empty card");
    let one = start(1);
    whole(&one, 3, 3);
    assert!(one.text(&["topic", "list"]).lines().any(|line| line == "t"));
}

#[test]
fn two_boards_and_a_witness_go_on_without_one_board() {
    let folder = Folder::new();
    let ports = free_ports(3);
    let secret = folder.join("secret");
    fs::write(&secret, "what only the boards of this site know\n").expect("written");
    let voters: Vec<String> =
        (1..4).map(|node| format!("\"{node}@127.0.0.1:{}\"", ports[node - 1])).collect();
    let start = |node: usize, roles: &str| {
        board(&folder, node as i32)
            .set("listeners", &format!("wire://127.0.0.1:{}", ports[node - 1]))
            .set("controller.quorum.voters", &format!("[{}]", voters.join(", ")))
            .set("cluster.secret.file", &secret.display().to_string())
            .set("process.roles", roles)
            .start()
    };
    let both = "[\"broker\", \"controller\"]";
    let (one, two) = (start(1, both), start(2, both));
    let witness = start(3, "[\"witness\"]");
    // A witness that is about to vote does not: two votes would be no majority without one of them.
    until(&one, "two brokers and a witness make a site", || {
        let words = one.text(&["cluster", "status"]);
        members(&one, &[" voter ", " active "]) == 2
            && words.lines().any(|line| line.starts_with("node 3 ") && line.contains(" witness "))
    });
    until(&witness, "the witness lists the two boards and not itself", || {
        let status = witness.text(&["cluster", "status"]);
        status.lines().filter(|line| line.starts_with("broker ")).count() == 2
            && status.lines().filter(|line| line.starts_with("node ")).count() == 3
    });
    assert!(witness.anonymous_bytes() <= 4 << 20, "{} bytes", witness.anonymous_bytes());
    // The pages of the program's files, of which unoptimised code has several times as many, are
    // looked at by `.ci/witness`.
    for (topic, least) in [("brave", "1"), ("careful", "2")] {
        let config = format!("min.insync.replicas={least}");
        one.text(&["topic", "create", topic, "--replication-factor", "2", "--set", &config]);
        one.produce(&[topic], &["before".to_owned()]);
    }
    two.kill();
    until(&one, "the dead board is fenced", || members(&one, &[" active "]) == 1);
    one.produce(&["brave"], &["after".to_owned()]);
    assert_eq!(one.consume(&["brave",]), ["before", "after"]);
    let config = ProducerConfig {
        retries: 0,
        enable_idempotence: Some(false),
        ..ProducerConfig::new(&one.server)
    };
    let producer = Producer::new(config).expect("the configuration is legal");
    let refused = producer.send(&ProducerRecord::new("careful", "lost")).expect("room").wait();
    assert_eq!(refused.err(), Some(ClientError::Broker(ErrorCode::NOT_ENOUGH_REPLICAS)));
    let two = start(2, both);
    until(&one, "it is back", || members(&one, &[" active "]) == 2);
    one.produce(&["careful"], &["again".to_owned()]);
    assert!(two.stop().success());
}

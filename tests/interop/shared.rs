//! One group, two kinds of client at once, as the issue "Kafka's door" shows it: `kcat -G` and
//! `odradek consume --group` share a topic's partitions by the classic protocol, and whoever asks
//! how far they are is told the same, by `kafka-consumer-groups` and by `odradek group describe`.

use std::collections::BTreeSet;
use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};

use crate::broker::{Broker, Folder, Setup};
use crate::interop::clients::{door, run, tool};
use crate::interop::dump::jars;
use crate::peers;

const PARTITIONS: usize = 4;
const WAIT: Duration = Duration::from_secs(60);

/// A reader that runs until it is told to stop; what it prints goes into a file.
struct Reader {
    child: Child,
    printed: PathBuf,
}

impl Reader {
    fn start(mut command: Command, printed: &Path) -> Reader {
        let file = File::create(printed).expect("a file can be made");
        command.stdin(Stdio::null()).stdout(file).stderr(Stdio::null());
        let child = command.spawn().expect("the program is there");
        Reader { child, printed: printed.to_owned() }
    }

    /// The whole lines it has printed so far.
    fn lines(&self) -> Vec<String> {
        let text = fs::read_to_string(&self.printed).expect("it was made");
        let whole = text.rfind('\n').map_or("", |end| &text[..end]);
        whole.lines().map(str::to_owned).collect()
    }

    /// Ends it as Ctrl-C does: it commits and leaves its group.
    fn interrupt(&mut self) {
        kill_process(Pid::from_child(&self.child), Signal::INT).expect("our child");
        self.child.wait().expect("it ends");
    }
}

impl Drop for Reader {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn wait_until(what: &str, mut is_so: impl FnMut() -> bool) {
    let deadline = Instant::now() + WAIT;
    while !is_so() {
        assert!(Instant::now() < deadline, "{what}: not in {WAIT:?}");
        thread::sleep(Duration::from_millis(50));
    }
}

/// What a description says of each partition: its topic and number, the committed offset, the end,
/// the lag, and its member's id, host and client id. Kafka's tool has the group before the topic, and
/// a slash before the host.
fn rows(text: &str, columns_before: usize) -> BTreeSet<Vec<String>> {
    let rows = text.lines().map(|line| line.split_whitespace().skip(columns_before));
    let bare = |cell: &str| cell.trim_start_matches('/').to_owned();
    let rows = rows.map(|cells| cells.map(bare).collect::<Vec<_>>());
    rows.filter(|cells| cells.first().is_some_and(|topic| topic == "plant")).collect()
}

/// Nothing while there is no such group yet.
fn ours(broker: &Broker) -> BTreeSet<Vec<String>> {
    rows(&String::from_utf8_lossy(&broker.run(&["group", "describe", "readers"]).stdout), 0)
}

/// How many partitions each of the members has.
fn shares(broker: &Broker) -> Vec<usize> {
    let owners: Vec<String> = ours(broker).iter().map(|cells| cells[5].clone()).collect();
    let members: BTreeSet<&String> = owners.iter().filter(|owner| *owner != "-").collect();
    members.iter().map(|member| owners.iter().filter(|owner| owner == member).count()).collect()
}

fn lines(from: usize, to: usize) -> Vec<String> {
    (from..to).map(|number| format!("line {number}")).collect()
}

/// Keyed, so that every partition gets some.
fn produce(broker: &Broker, from: usize, to: usize) {
    let keyed: Vec<String> = (from..to).map(|number| format!("{number}:line {number}")).collect();
    let mut command = Command::new("kcat");
    command.args(["-b", door(broker), "-P", "-K", ":", "-t", "plant"]);
    run(&mut command, &(keyed.join("\n") + "\n"));
}

#[test]
fn kcat_and_our_consumer_share_a_group_and_two_tools_describe_it_alike() {
    if !peers::has_program("kcat", "-V") {
        return peers::missing("kcat", "apt-get install kcat");
    }
    let Some(jars) = jars() else { return };
    let folder = Folder::new();
    let listeners = "wire://127.0.0.1:0,kafka://127.0.0.1:0";
    let setup = Setup::new(&folder.join("data")).set("listeners", listeners);
    let broker = setup.set("group.initial.rebalance.delay.ms", "0").start();
    broker.text(&["topic", "create", "plant", "--partitions", &PARTITIONS.to_string()]);

    let mut command = Command::new("kcat");
    // Or each rebalance waits three seconds for its next heartbeat, and each commit five.
    let settings = ["heartbeat.interval.ms=200", "auto.commit.interval.ms=200"];
    command.args(["-b", door(&broker), "-q", "-u", "-X", "auto.offset.reset=earliest"]);
    command.args(settings.iter().flat_map(|setting| ["-X", setting]));
    command.args(["-G", "readers", "plant"]);
    let mut kcat = Reader::start(command, &folder.join("kcat"));
    let words = ["consume", "plant", "--group", "readers", "--from-beginning"];
    let mut own = Reader::start(broker.command(&words), &folder.join("own"));
    wait_until("each has half", || shares(&broker) == [PARTITIONS / 2, PARTITIONS / 2]);

    produce(&broker, 0, 400);
    wait_until("all is read", || kcat.lines().len() + own.lines().len() == 400);
    let both: BTreeSet<String> = kcat.lines().into_iter().chain(own.lines()).collect();
    assert_eq!(both, lines(0, 400).into_iter().collect(), "each line once");
    assert!(!kcat.lines().is_empty() && !own.lines().is_empty(), "by both");

    let is_all_committed = || ours(&broker).iter().all(|cells| cells[4] == "0");
    wait_until("all is committed", is_all_committed);
    let words = ["--describe", "--group", "readers", "--timeout", "50000"];
    let kafkas = run(&mut tool(&jars, "consumer.group.ConsumerGroupCommand", &broker, &words), "");
    assert_eq!(rows(&kafkas, 1), ours(&broker), "{kafkas}");
    assert_eq!(ours(&broker).len(), PARTITIONS);

    kcat.interrupt();
    wait_until("ours has all", || shares(&broker) == [PARTITIONS]);
    let before = own.lines().len();
    produce(&broker, 400, 440);
    wait_until("it reads on", || before + 40 <= own.lines().len());
    let more: BTreeSet<String> = own.lines()[before..].iter().cloned().collect();
    assert_eq!(more, lines(400, 440).into_iter().collect(), "and nothing twice");
    own.interrupt();
    wait_until("nobody is left", || shares(&broker).is_empty());
    assert!(is_all_committed(), "what was printed last is committed");
}

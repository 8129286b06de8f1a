//! The command line as scripts see it: exit codes, what goes to stdout, what to stderr.

use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use odradek::client::{Admin, AdminConfig, NewTopic};
use odradek::config::{Config, Protocol, Sources};
use odradek::runtime::Broker;

fn odradek(args: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_odradek"))
        .args(args)
        .stdin(Stdio::null())
        .env_remove("ODRADEK_SERVER")
        .output()
        .expect("the binary runs")
}

/// Runs and answers exit code, stdout and stderr.
fn run(args: &[&str]) -> (i32, String, String) {
    let output = odradek(args);
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).expect("UTF-8");
    let code = output.status.code().expect("no signal ended it");
    (code, text(output.stdout), text(output.stderr))
}

/// A directory of this test's own, removed with it.
struct Scratch(PathBuf);

impl Scratch {
    fn new(name: &str) -> Scratch {
        let dir = std::env::temp_dir().join(format!("odradek-cli-{name}-{}", std::process::id()));
        std::fs::create_dir_all(&dir).expect("the temporary directory is writable");
        Scratch(dir)
    }

    fn path(&self, name: &str) -> String {
        self.0.join(name).display().to_string()
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

#[test]
fn exit_codes_tell_usage_from_failure() {
    for (args, code) in [
        (&["--version"][..], 0),
        (&["--help"], 0),
        (&["topic", "create", "--help"], 0),
        (&["config", "show"], 0),
        (&["nonsense"], 2),
        (&["topic", "create"], 2),
        (&["demo", "--seconds", "0"], 2),
        (&["demo", "--seconds", "soon"], 2),
        (&["demo", "--kill-leader"], 2),
        (&["demo", "--kill-leader", "--seconds", "4"], 2),
        (&["demo", "--board", "broker.id=1"], 2),
        (&["topic", "alter", "x"], 2),
        (&["topic", "trim", "x", "--before", "yesterday"], 2),
        (&["--set", "shards=99"], 2),
        (&["--set=shards=1", "status"], 2),
        (&["config", "check", "--config=/nonexistent"], 2),
        (&["topic", "list", "--server=127.0.0.1:1"], 1),
        (&["log", "dump", "/nonexistent"], 1),
        (&["log", "recover", "/"], 1),
    ] {
        let (seen, stdout, stderr) = run(args);
        assert_eq!(seen, code, "{args:?}: {stderr}");
        assert_eq!(stdout.is_empty(), code != 0, "data on stdout only on success: {args:?}");
        assert_eq!(stderr.is_empty(), code == 0, "{args:?}: {stderr}");
    }
}

/// All commands that do something, `--help` aside.
const COMMANDS: [&str; 19] = [
    "broker",
    "topic create",
    "topic list",
    "topic describe",
    "topic alter",
    "topic delete",
    "topic trim",
    "produce",
    "consume",
    "status",
    "log dump",
    "log recover",
    "config check",
    "config show",
    "demo",
    "bench",
    "bench produce",
    "bench consume",
    "bench latency",
];

#[test]
fn help_says_what_a_user_asks() {
    for command in COMMANDS {
        let words: Vec<&str> = command.split(' ').chain(["--help"]).collect();
        let (code, help, _) = run(&words);
        assert_eq!(code, 0, "{command}");
        let (options, rest) = help.split_once("  --help, help").expect("it is the last option");
        // One description an option, whose lines are indented further.
        let options: Vec<String> = options
            .split("\n  --")
            .skip(1)
            .map(|one| one.split_whitespace().collect::<Vec<_>>().join(" "))
            .collect();
        for option in &options {
            if option.starts_with("server ") {
                assert!(
                    option.ends_with("(default: ODRADEK_SERVER, or 127.0.0.1:7092)"),
                    "{option}"
                );
            }
            let (name, words) = option.split_once(' ').expect("it is described");
            assert!(!name.ends_with("-ms") || words.contains("in ms"), "{command} {option}");
            assert!(name != "seconds" || words.contains("seconds"), "{command} {option}");
        }
        if command.starts_with("bench ") {
            continue;
        }
        let (_, examples) = rest.split_once("Examples:").expect("each command has an example");
        let examples = examples.split("Notes:").next().expect("there is a first part");
        for line in examples.lines().filter(|line| line.contains("odradek ")) {
            let example = &line[line.rfind("odradek ").expect("it is there")..];
            assert!(example.contains(command), "{command}: {line}");
            let mut used = example.split_whitespace().filter_map(|word| word.strip_prefix("--"));
            let is_known = |used: &str| {
                let known = options.iter().any(|one| one.split(' ').next() == Some(used));
                known || command == "bench"
            };
            assert!(used.all(is_known), "{command}: {line}");
        }
    }
}

#[test]
fn a_wrong_configuration_names_place_and_key() {
    let scratch = Scratch::new("config");
    let file = scratch.path("c.toml");
    std::fs::write(&file, "broker.id = 7\nlog.retension.ms = 5\n").expect("writable");
    let (code, stdout, stderr) = run(&["config", "check", "--config", &file]);
    assert_eq!((code, stdout.as_str()), (2, ""));
    let expected = format!(
        "odradek: {file}:2:1: unknown key `log.retension.ms`: did you mean `log.retention.ms`?\n"
    );
    assert_eq!(stderr, expected);
}

#[test]
fn config_show_tells_values_and_sources() {
    let (code, stdout, _) = run(&["--set=shards=2", "config", "show", "--set", "broker.id=9"]);
    assert_eq!(code, 0);
    let row = |key: &str| {
        let mut lines = stdout.lines().map(|line| line.split_whitespace().collect::<Vec<_>>());
        lines.find(|cells| cells[0] == key).expect("every key is shown").join(" ")
    };
    assert_eq!(row("shards"), "shards 2 command line");
    assert_eq!(row("broker.id"), "broker.id 9 command line");
    assert_eq!(row("max.connections"), "max.connections 2048 default");
    assert_eq!(row("log.retention.ms"), "log.retention.ms - default");
}

fn broker(data: &str) -> Broker {
    let overrides = vec![
        "listeners=wire://127.0.0.1:0".to_owned(),
        format!("log.dirs={data}"),
        "shards=1".to_owned(),
        "broker.id=7".to_owned(),
    ];
    let config = Config::load(&Sources { overrides, ..Sources::default() }).expect("legal");
    Broker::start(&config).expect("it starts")
}

#[test]
fn topics_are_managed_and_their_files_looked_into() {
    let scratch = Scratch::new("topics");
    let data = scratch.path("data");
    let broker = broker(&data);
    let server = format!("--server={}", broker.address(Protocol::Wire).expect("it listens"));

    let (code, stdout, stderr) =
        run(&["topic", "create", "a", "--partitions=2", "--set=retention.ms=9", &server]);
    assert_eq!((code, stdout.as_str()), (0, ""), "{stderr}");
    assert_eq!(run(&["topic", "create", "a", &server]).0, 1);
    assert_eq!(run(&["topic", "create", "a", "--if-not-exists", &server]).0, 0);
    let admin = Admin::new(AdminConfig::new(
        &broker.address(Protocol::Wire).expect("it listens").to_string(),
    ))
    .expect("legal");
    let created = admin.create_topics(&[NewTopic::new("b")]).expect("it answers");
    assert!(created[0].is_ok());
    assert_eq!(run(&["topic", "list", &server]).1, "a\nb\n");

    assert_eq!(
        run(&["topic", "alter", "a", "--partitions=3", "--unset=retention.ms", &server]).0,
        0
    );
    let (code, stdout, _) = run(&["topic", "describe", "a", "--json", &server]);
    assert_eq!(code, 0);
    assert!(stdout.contains(r#""partition":2,"leader":7"#), "{stdout}");
    assert!(stdout.contains(r#""retention.ms":{"value":"604800000","source":"DEFAULT_CONFIG"}"#));
    let (code, _, stderr) = run(&["topic", "alter", "a", "--set=retension.ms=1", &server]);
    assert_eq!(code, 1);
    assert!(stderr.contains("did you mean `retention.ms`?"), "{stderr}");
    assert_eq!(run(&["topic", "trim", "a", "--before=end", &server]).0, 0);
    assert_eq!(run(&["topic", "trim", "a", "--before=5", &server]).0, 1);
    check_status(&server);
    assert_eq!(run(&["topic", "delete", "a", "nope", &server]).0, 1);
    assert_eq!(run(&["topic", "list", &server]).1, "b\n");

    let (code, _, stderr) = run(&["log", "recover", &data]);
    assert_eq!(code, 1);
    assert!(stderr.contains("in use"), "{stderr}");
    broker.stop();
    check_files(&data);
}

/// One screen for a person; every number, and the rates, for a script.
fn check_status(server: &str) {
    let (code, stdout, stderr) = run(&["status", "--interval-ms=100", server]);
    assert_eq!((code, stderr.as_str()), (0, ""));
    assert!(stdout.lines().count() <= 24 && stdout.lines().all(|line| line.len() <= 80));
    let line = |name: &str| {
        let found = stdout.lines().find(|line| line.starts_with(name));
        found.unwrap_or_else(|| panic!("`{name}` is not in: {stdout}")).to_owned()
    };
    assert!(line("broker 7").contains("up "), "{stdout}");
    assert!(line("flush, to the disk").len() < 80, "{stdout}");
    assert!(line("connections").contains(" of 2,048"), "{stdout}");
    assert!(line("partitions").contains("4 of 2 topics"), "{stdout}");
    assert!(line("disk").contains(" free"), "{stdout}");
    let (code, stdout, _) = run(&["status", "--json", "--interval-ms=100", server]);
    assert_eq!(code, 0);
    assert!(stdout.contains(r#""per_second":{"produce_records_count":0,"#), "{stdout}");
    assert!(stdout.contains(r#""flush_us_p99_now":"#), "{stdout}");
    let (code, stdout, _) = run(&["status", "--json", "--interval-ms=0", server]);
    assert_eq!(code, 0);
    assert!(stdout.contains(r#""per_second":{"produce_records_count":null,"#), "{stdout}");
}

/// The stopped broker's directory, of node 7, is recovered whichever node asks, and its metadata
/// log dumps until a byte of it is flipped.
fn check_files(data: &str) {
    let (code, stdout, stderr) = run(&["log", "recover", data]);
    assert_eq!(code, 0, "{stderr}");
    assert!(stdout.contains("__cluster_metadata-0"), "{stdout}");
    assert!(stdout.contains("b-0"), "{stdout}");

    let segment = Path::new(data).join("__cluster_metadata-0/00000000000000000000.log");
    let path = segment.display().to_string();
    let (code, stdout, stderr) = run(&["log", "dump", &path]);
    assert_eq!(code, 0, "{stderr}");
    assert!(stdout.lines().next().is_some_and(|line| line.starts_with("batch 0..0  records 1")));
    assert!(stdout.contains("compression none"));

    let mut bytes = std::fs::read(&segment).expect("it is there");
    bytes[65] ^= 1;
    std::fs::write(&segment, bytes).expect("it is ours");
    let (code, stdout, _) = run(&["log", "dump", "--batches", &path]);
    assert_eq!(code, 1);
    assert!(stdout.lines().next().is_some_and(|line| line.ends_with("BAD")), "{stdout}");
}

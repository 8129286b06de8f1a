//! Apache Kafka's own reader of log files, `kafka-dump-log`, and what it says.
//!
//! It iterates batches and records, checks each CRC, and compares the index files with the log. It
//! has no exit code for what it finds: a complaint is a line that is none of those listed here, so
//! that a complaint nobody has met yet is one too.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::{env, fs};

use crate::peers;

/// What the reader found in some files.
#[derive(Debug, Default)]
pub struct Dump {
    /// Per file, the payloads by offset.
    pub records: BTreeMap<PathBuf, BTreeMap<i64, String>>,
    /// Per index file, how many entries it has.
    pub index_entries: BTreeMap<PathBuf, usize>,
    /// Per snapshot file, what it says of each producer.
    pub producers: BTreeMap<PathBuf, Vec<String>>,
    /// Lines that praise nothing.
    pub complaints: Vec<String>,
}

/// The folder of the jars of Kafka's tools, when they were fetched and there is a Java to run them.
pub fn jars() -> Option<PathBuf> {
    fetched("kafka", include_str!("pom.xml"), "tests/interop/fetch")
}

/// The folder that a script has fetched the jars of a list to.
pub fn fetched(name: &str, list: &str, script: &str) -> Option<PathBuf> {
    if !peers::has_program("java", "-version") {
        peers::missing("java 17", "apt-get install default-jre-headless");
        return None;
    }
    let version = list.split("<artifactId>kafka").nth(1);
    let version = version.and_then(|rest| rest.split("<version>").nth(1)?.split('<').next());
    let version = version.expect("it is in the list");
    let cache = env::var_os("XDG_CACHE_HOME").map_or_else(
        || PathBuf::from(env::var_os("HOME").unwrap_or_default()).join(".cache"),
        PathBuf::from,
    );
    let folder = cache.join(format!("odradek-ci/{name}-{version}"));
    if !folder.join(".complete").exists() {
        peers::missing(&format!("Apache Kafka {version}"), &format!("{script} (needs mvn)"));
        return None;
    }
    Some(folder)
}

/// The `.log`, `.index`, `.timeindex` and `.snapshot` files of a partition's folder, in order of their names.
pub fn log_files(folder: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(folder).expect("the partition's folder is there");
    let mut paths: Vec<PathBuf> = entries.map(|entry| entry.expect("listed").path()).collect();
    paths.retain(|path| {
        let extension = path.extension().and_then(|extension| extension.to_str());
        matches!(extension, Some("log" | "index" | "timeindex" | "snapshot"))
    });
    paths.sort();
    paths
}

/// Runs `kafka-dump-log --deep-iteration --print-data-log` over files.
pub fn dump(jars: &Path, files: &[PathBuf]) -> Dump {
    let names: Vec<String> = files.iter().map(|file| file.display().to_string()).collect();
    let mut command = Command::new("java");
    command.arg("-Xmx256m").arg("-cp").arg(jars.join("*"));
    command.args(["org.apache.kafka.tools.DumpLogSegments", "--deep-iteration"]);
    command.args(["--print-data-log", "--files", &names.join(",")]);
    let output = command.stdin(Stdio::null()).output().expect("java starts");
    let text = String::from_utf8_lossy(&output.stdout);
    let words = String::from_utf8_lossy(&output.stderr);
    let mut dump = parse(&text);
    if !output.status.success() {
        dump.complaints.push(format!("{}: {words}", output.status));
    }
    // Its logging library says there that it has no configuration; a stack trace is not that.
    let traces = words.lines().filter(|line| line.contains("Exception") || line.contains("\tat "));
    dump.complaints.extend(traces.map(str::to_owned));
    dump
}

fn parse(text: &str) -> Dump {
    let mut dump = Dump::default();
    let mut file = PathBuf::new();
    for line in text.lines() {
        if let Some(name) = line.strip_prefix("Dumping ") {
            file = PathBuf::from(name);
            continue;
        }
        if line.starts_with("producerId: ") {
            dump.producers.entry(file.clone()).or_default().push(line.to_owned());
            continue;
        }
        if let Some(record) = line.strip_prefix("| offset: ") {
            let offset = record.split(' ').next().and_then(|number| number.parse().ok());
            let payload = record.split_once(" payload: ").map_or("", |(_, payload)| payload);
            match offset {
                Some(offset) => {
                    let records = dump.records.entry(file.clone()).or_default();
                    records.insert(offset, payload.to_owned());
                }
                None => dump.complaints.push(line.to_owned()),
            }
            continue;
        }
        let is_index_entry = line.starts_with("offset: ") || line.starts_with("timestamp: ");
        if is_index_entry {
            *dump.index_entries.entry(file.clone()).or_default() += 1;
        }
        let is_batch = line.starts_with("baseOffset: ") && line.contains(" isvalid: true");
        let is_start = line.starts_with("Log starting offset: ");
        if !(is_index_entry || is_batch || is_start || line.trim().is_empty()) {
            dump.complaints.push(line.to_owned());
        }
    }
    dump
}

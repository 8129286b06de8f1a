//! Transcript tests as etcd/raft has them: a file of commands, each followed by `----` and the
//! literal outcome.
//!
//! ```text
//! command and its arguments
//! ----
//! outcome, to the next blank line
//! ```
//!
//! `ODRADEK_BLESS=1 cargo test --test transcripts` rewrites the outcomes; the diff is then the
//! thing to review.

use std::fmt::Write as _;
use std::path::Path;

/// Runs every command of `tests/transcripts/NAME` and compares the outcomes.
pub fn check(name: &str, mut run: impl FnMut(&str) -> String) {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/transcripts").join(name);
    let text = std::fs::read_to_string(&path).expect("the transcript is part of the repository");
    let actual = replay(&text, &mut run);
    if std::env::var_os("ODRADEK_BLESS").is_some() {
        std::fs::write(&path, actual).expect("the transcript can be written");
        return;
    }
    for (line, (expected, actual)) in text.lines().zip(actual.lines()).enumerate() {
        assert_eq!(expected, actual, "{name}, line {}", line + 1);
    }
    assert_eq!(text, actual, "{name}: one is longer than the other");
}

fn replay(text: &str, run: &mut impl FnMut(&str) -> String) -> String {
    let mut actual = String::new();
    let mut in_outcome = false;
    let mut command = "";
    for line in text.lines() {
        if in_outcome {
            in_outcome = !line.is_empty();
            continue;
        }
        if line == "----" {
            let outcome = run(command);
            writeln!(actual, "----\n{}\n", outcome.trim_end()).expect("a String takes all");
            in_outcome = true;
            continue;
        }
        writeln!(actual, "{line}").expect("a String takes all");
        if !line.is_empty() && !line.starts_with('#') {
            command = line;
        }
    }
    actual.truncate(actual.trim_end().len());
    actual.push('\n');
    actual
}

/// Bytes as sixteen to a line.
pub fn hex(bytes: &[u8]) -> String {
    let mut text = String::new();
    for line in bytes.chunks(16) {
        let line: Vec<String> = line.iter().map(|byte| format!("{byte:02x}")).collect();
        writeln!(text, "{}", line.join(" ")).expect("a String takes all");
    }
    text
}

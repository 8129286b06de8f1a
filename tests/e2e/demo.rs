//! `odradek demo` without keys: a leader is killed in mid-run, and nothing that was acknowledged is
//! lost. What it leaves behind is nothing: no process, no folder.

use std::process::Command;

use crate::broker::{Folder, odradek, output_of};

/// The number in front of these words in the line of totals.
fn count(line: &str, what: &str) -> u64 {
    let words = line.strip_prefix("demo: ").expect("the line of totals").split(", ");
    let mut counts = words.filter_map(|one| one.strip_suffix(what)?.trim().parse().ok());
    counts.next().unwrap_or_else(|| panic!("no `{what}` in `{line}`"))
}

#[test]
fn a_killed_leader_loses_nothing_and_nothing_is_left_behind() {
    let folder = Folder::new();
    let mut command = Command::new(odradek());
    command.args(["demo", "--seconds", "10", "--kill-leader"]).env("TMPDIR", folder.path());
    let output = output_of(command, &[]);
    let text = String::from_utf8(output.stdout).expect("text");
    let words = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{text}{words}");
    assert_eq!(text.lines().count(), 1, "{text}");
    assert!(!text.contains('\x1b') && !words.contains('\x1b'), "{text}{words}");
    let line = text.trim_end();
    assert_eq!(count(line, " lost"), 0, "{line}");
    assert_eq!(count(line, " leader killed"), 1, "{line}");
    assert!(0 < count(line, " acknowledged"), "{line}");
    assert!(count(line, " acknowledged") <= count(line, " read"), "{line}");
    assert!(line.contains("failover in "), "{line}");
    let left = std::fs::read_dir(folder.path()).expect("it is ours").count();
    assert_eq!(left, 0, "{line}");
}

//! Data directories of every release, opened by this version: design.md §2, "Versions".
//!
//! `tests/compat/make` writes them, once per release; from then on they are never written again. A
//! directory is opened twice: what this version made of it must be good too.

#[path = "support/broker.rs"]
#[expect(dead_code, reason = "shared with the end-to-end tests, which use the rest")]
mod broker;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use broker::{Broker, Folder, Setup};

fn archives() -> Vec<PathBuf> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/compat");
    let entries = fs::read_dir(folder).expect("the folder is there");
    let mut paths: Vec<PathBuf> = entries.map(|entry| entry.expect("listed").path()).collect();
    paths.retain(|path| path.extension().is_some_and(|extension| extension == "gz"));
    paths.sort();
    paths
}

fn check(broker: &Broker, expected: &Path) {
    for entry in fs::read_dir(expected).expect("the expected lines are there") {
        let path = entry.expect("listed").path();
        let topic = path.file_name().expect("a file").to_string_lossy().into_owned();
        let text = fs::read_to_string(&path).expect("text");
        let lines: Vec<&str> = text.lines().collect();
        assert_eq!(broker.consume(&[&topic]), lines, "{topic}");
    }
}

#[test]
fn data_of_every_release_is_opened() {
    let archives = archives();
    assert!(!archives.is_empty(), "each release leaves its data: tests/compat/make");
    for archive in archives {
        let folder = Folder::new();
        let mut tar = Command::new("tar");
        tar.arg("-xzf").arg(&archive).arg("-C").arg(folder.path());
        assert!(tar.status().expect("tar starts").success(), "{}", archive.display());
        let setup = Setup::new(&folder.join("data"));
        for round in ["written", "read", "added"] {
            let broker = setup.start();
            check(&broker, &folder.join("expected"));
            let described = broker.text(&["topic", "describe", "trimmed"]);
            assert!(described.contains("retention.ms"), "{}: {described}", archive.display());
            broker.produce(&[round, "--create"], &[round.to_owned()]);
            assert_eq!(broker.consume(&[round]), [round], "{}", archive.display());
            assert!(broker.stop().success());
        }
    }
}

//! Stopping and sharing: a clean stop, a second broker on the same folder, a broker started again.

use rustix::process::Signal;

use crate::broker::{Folder, Setup};

fn lines(count: usize) -> Vec<String> {
    (0..count).map(|number| format!("line {number}")).collect()
}

#[test]
fn both_signals_stop_it_cleanly_and_everything_is_there_again() {
    let folder = Folder::new();
    let setup = Setup::new(&folder.join("data"));
    for (round, signal) in [(1, Signal::TERM), (2, Signal::INT)] {
        let broker = setup.start();
        broker.produce(&["stopped", "--create"], &lines(100));
        broker.signal(signal);
        let status = broker.wait();
        assert_eq!(status.code(), Some(0), "a stop that was asked for is no failure");
        let broker = setup.start();
        assert_eq!(broker.consume(&["stopped"]).len(), 100 * round);
    }
}

#[test]
fn a_second_broker_on_the_same_folder_is_refused() {
    let folder = Folder::new();
    let setup = Setup::new(&folder.join("data"));
    let mut first = setup.start();
    let refused = setup.try_start().expect_err("one folder, one broker");
    assert!(refused.contains("data"), "it names the folder: {refused}");
    assert!(first.is_running(), "the first goes on");
    first.produce(&["still", "--create"], &lines(10));
    first.kill();
    // The lock dies with its holder.
    assert_eq!(setup.start().consume(&["still"]), lines(10));
}

#[test]
fn a_clean_stop_leaves_files_without_slack() {
    let folder = Folder::new();
    let setup = Setup::new(&folder.join("data"));
    let broker = setup.start();
    broker.produce(&["trimmed", "--create"], &lines(1000));
    assert!(broker.stop().success());
    let partition = folder.join("data").join("trimmed-0");
    let entries = std::fs::read_dir(&partition).expect("the partition's folder is there");
    for entry in entries {
        let entry = entry.expect("listed");
        let path = entry.path();
        let bytes = entry.metadata().expect("a file").len();
        let entry_bytes = match path.extension().and_then(|extension| extension.to_str()) {
            Some("index") => 8,
            Some("timeindex") => 12,
            _ => continue,
        };
        assert_eq!(bytes % entry_bytes, 0, "{}: whole entries", path.display());
        assert!(bytes < 4096, "{}: {bytes} bytes for one small segment", path.display());
    }
    let log = partition.join("00000000000000000000.log");
    let dumped = std::process::Command::new(crate::broker::odradek())
        .args(["log", "dump"])
        .arg(&log)
        .output()
        .expect("the binary starts");
    assert!(dumped.status.success(), "{}", String::from_utf8_lossy(&dumped.stderr));
}

//! Consumer groups from the command line: what is read is remembered, by a killed broker too.

use crate::broker::{Broker, Folder, Setup};
use crate::load::field;

fn lines(from: usize, to: usize) -> Vec<String> {
    (from..to).map(|number| format!("line {number}")).collect()
}

/// Reads as a member of a group until there is no more.
fn read(broker: &Broker, group: &str) -> Vec<String> {
    let words = ["consume", "plant", "--group", group, "--from-beginning", "--until-end"];
    broker.text(&words).lines().map(str::to_owned).collect()
}

fn describe(broker: &Broker, group: &str) -> String {
    broker.text(&["group", "describe", group, "--json"])
}

#[test]
fn a_group_goes_on_where_it_was_after_a_kill() {
    let folder = Folder::new();
    let setup = Setup::new(&folder.join("data")).set("group.initial.rebalance.delay.ms", "0");
    let broker = setup.start();
    broker.produce(&["plant", "--create"], &lines(0, 500));
    assert_eq!(broker.text(&["group", "list"]), "");
    assert!(!broker.text(&["topic", "list", "--internal"]).contains("__consumer_offsets"));
    assert_eq!(read(&broker, "readers"), lines(0, 500));
    assert_eq!(broker.text(&["group", "list"]), "readers\n");
    assert!(broker.text(&["topic", "list", "--internal"]).contains("__consumer_offsets"));
    let described = describe(&broker, "readers");
    assert_eq!(field(&described, "committed_offset"), Some("500"), "{described}");
    assert_eq!(field(&described, "lag"), Some("0"), "{described}");
    broker.kill();

    let broker = setup.start();
    broker.produce(&["plant"], &lines(500, 600));
    let described = describe(&broker, "readers");
    assert_eq!(field(&described, "lag"), Some("100"), "{described}");
    assert_eq!(read(&broker, "readers"), lines(500, 600), "neither again nor left out");
    assert_eq!(read(&broker, "others"), lines(0, 600), "another group reads everything");
    assert!(broker.stop().success());

    let broker = setup.start();
    assert_eq!(broker.text(&["group", "list", "--state", "empty"]), "others\nreaders\n");
    let described = describe(&broker, "readers");
    assert_eq!(field(&described, "lag"), Some("0"), "a clean stop keeps it too: {described}");
}

#[test]
fn offsets_are_reset_when_it_is_said_twice_and_a_deleted_group_is_forgotten() {
    let folder = Folder::new();
    let broker = Setup::new(&folder.join("data")).start();
    broker.produce(&["plant", "--create"], &lines(0, 100));
    let reset = |words: &[&str]| {
        let words = [&["group", "reset-offsets", "readers", "--topic", "plant"], words].concat();
        broker.run(&words)
    };
    let committed = || {
        let described = describe(&broker, "readers");
        field(&described, "committed_offset").map(str::to_owned)
    };
    let missing = broker.run(&["group", "describe", "readers"]);
    assert_eq!(missing.status.code(), Some(1), "there is no such group yet");
    assert!(reset(&["--to-offset", "40"]).status.success());
    assert!(!broker.run(&["group", "describe", "readers"]).status.success(), "only shown");
    for (words, expected) in [
        (&["--to-offset", "40"][..], "40"),
        (&["--shift-by", "-5"][..], "35"),
        (&["--to-latest"][..], "100"),
        (&["--to-earliest"][..], "0"),
        (&["--to-datetime", "2020-01-01T00:00:00Z"][..], "0"),
        (&["--to-datetime", "2999-01-01T00:00:00Z"][..], "100"),
        (&["--to-offset", "4000"][..], "100"),
    ] {
        let done = reset(&[words, &["--execute"]].concat());
        assert!(done.status.success(), "{}", String::from_utf8_lossy(&done.stderr));
        assert_eq!(committed().as_deref(), Some(expected), "{words:?}");
    }
    assert_eq!(reset(&[]).status.code(), Some(2), "a target is needed");
    assert_eq!(reset(&["--to-latest", "--to-earliest"]).status.code(), Some(2), "and only one");
    let nowhere = ["group", "reset-offsets", "readers", "--topic", "nowhere", "--to-latest"];
    assert_eq!(broker.run(&nowhere).status.code(), Some(1));

    broker.text(&["group", "delete", "readers"]);
    assert_eq!(broker.text(&["group", "list"]), "");
    assert_eq!(broker.run(&["group", "delete", "readers"]).status.code(), Some(1));
    broker.text(&["group", "delete", "readers", "--if-exists"]);
}

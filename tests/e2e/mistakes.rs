//! What a person gets wrong, and what the program says: exit code 2 for usage, 1 for the rest, and
//! words that name the thing.

use std::fs;
use std::process::Output;

use crate::broker::{Folder, Setup, client_command};

/// Runs a command that needs no broker and checks its exit code and its words.
fn check(arguments: &[&str], code: i32, words: &[&str]) {
    let mut command = client_command("127.0.0.1:1", arguments);
    check_output(&command.output().expect("the binary starts"), arguments, code, words);
}

fn check_output(output: &Output, arguments: &[&str], code: i32, words: &[&str]) {
    let said = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(code), "{arguments:?}: {said}");
    for word in words {
        assert!(said.contains(word), "{arguments:?}: `{word}` is not in: {said}");
    }
    assert!(!said.contains("panicked"), "{arguments:?}: {said}");
}

#[test]
fn usage_is_exit_code_2() {
    check(&["--no-such-option"], 2, &["no-such-option"]);
    check(&["topic", "create"], 2, &[]);
    check(&["fly"], 2, &["fly"]);
}

#[test]
fn no_broker_is_exit_code_1_and_names_the_address() {
    check(&["topic", "list", "--server", "127.0.0.1:1"], 1, &["127.0.0.1:1"]);
}

#[test]
fn mistakes_in_the_configuration_name_the_place_and_the_key_that_was_meant() {
    let folder = Folder::new();
    let file = folder.join("config.toml");
    let path = file.display().to_string();
    // All kinds of mistakes are in the unit tests of `config`; here is what a person sees of them.
    let cases = [
        (
            "log.retention.hour = 1\n",
            "config.toml:1:1: unknown key `log.retention.hour`: did you mean `log.retention.hours`?",
        ),
        ("\n\nlog.dirs = 7\n", "config.toml:3:12: `log.dirs` takes a list of directories"),
        ("broker.id = \n", "config.toml:1:13:"),
        ("[memory]\n  limit = \"lots\"\n", "config.toml:2:11: `memory.limit` takes \"auto\" or"),
    ];
    for (text, word) in cases {
        fs::write(&file, text).expect("written");
        let mut command = client_command("", &["config", "check", "--config", &path]);
        let output = command.output().expect("the binary starts");
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!(output.status.code(), Some(2), "{text:?}: {said}");
        assert!(said.contains(word), "{text:?}: `{word}` is not in: {said}");
        // The broker itself says the same and makes nothing.
        let data = folder.join("data");
        let output = Setup::new(&data).config(&file).command().output().expect("it starts");
        check_output(&output, &[text], 2, &[word]);
        assert!(!data.exists(), "{text:?}: nothing is made");
    }
    check(&["--config", &folder.join("none.toml").display().to_string()], 2, &["none.toml"]);
}

#[test]
fn the_configurations_of_the_targets_are_sound() {
    for target in ["raspberry-pi-64", "raspberry-pi-32", "laptop"] {
        let path = format!("{}/targets/{target}/config.toml", env!("CARGO_MANIFEST_DIR"));
        check(&["config", "check", "--config", &path], 0, &[]);
    }
}

#[test]
fn what_the_broker_refuses_is_exit_code_1_with_its_reason() {
    let folder = Folder::new();
    let broker = Setup::new(&folder.join("data")).start();
    broker.text(&["topic", "create", "a.b"]);
    let before = broker.text(&["topic", "list", "--json"]);
    let too_long = "x".repeat(250);
    let cases: [(&[&str], &str); 13] = [
        (&["topic", "create", ".."], ".."),
        (&["topic", "create", "a/b"], "a/b"),
        (&["topic", "create", "a_b"], "a_b"),
        (&["topic", "create", "many", "--partitions", "1000000"], "partition"),
        (&["topic", "create", &too_long], "249"),
        (&["topic", "create", "a.b"], "a.b"),
        (&["topic", "create", "c", "--set", "retention.hours=1"], "retention.hours"),
        (&["topic", "create", "c", "--set", "retention.ms=soon"], "retention.ms"),
        (&["topic", "alter", "a.b", "--set", "segment.bytes=1"], "segment.bytes"),
        (&["topic", "alter", "a.b", "--partitions", "1000000"], "partition"),
        (&["consume", "a.b", "--partition", "7", "--from", "beginning", "--until-end"], "7"),
        (&["topic", "describe", "nowhere"], "nowhere"),
        (&["consume", "nowhere", "--from", "beginning", "--until-end"], "nowhere"),
    ];
    for (arguments, word) in cases {
        let output = broker.run(arguments);
        // A name that can never be one may be refused as usage before the broker is asked.
        let code = output.status.code().unwrap_or(-1);
        assert!(matches!(code, 1 | 2), "{arguments:?}: exit code {code}");
        check_output(&output, arguments, code, &[word]);
    }
    assert_eq!(broker.text(&["topic", "list", "--json"]), before, "nothing came of it");
}

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
    let cases = [
        ("log.retention.hour = 1\n", "log.retention.hours"),
        ("\n\nlog.dirs = 7\n", "3"),
        ("broker.id = \n", "1"),
    ];
    for (text, word) in cases {
        fs::write(&file, text).expect("written");
        let mut command = client_command("", &["config", "check", "--config", &path]);
        let output = command.output().expect("the binary starts");
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(matches!(output.status.code(), Some(1 | 2)), "{text:?}: {said}");
        assert!(said.contains(word), "{text:?}: `{word}` is not in: {said}");
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
    let cases: [(&[&str], &str); 6] = [
        (&["topic", "create", ".."], ".."),
        (&["topic", "create", "a/b"], "a/b"),
        (&["topic", "create", "a_b"], "a_b"),
        (&["topic", "create", "many", "--partitions", "1000000"], "partition"),
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
    assert_eq!(broker.text(&["topic", "list"]).lines().filter(|l| l.contains("a.b")).count(), 1);
}

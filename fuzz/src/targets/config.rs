//! The configuration: TOML files, Kafka's properties, `--set`, environment variables, topic-level
//! keys.

use odradek::config::{Config, ConfigErrors, Place, Source, Sources, default_file};
use odradek::topic_config::TopicConfig;

use crate::Target;
use crate::note::note;

/// The ways in.
pub fn all() -> Vec<Target> {
    let set =
        ["log.retention.hours=5", "listeners=wire://[::1]:0,kafka://a:1", "memory.limit=64MiB"];
    let set = set.map(|text| text.as_bytes().to_vec()).to_vec();
    vec![
        Target::new("config/toml", tomls(), toml),
        Target::new("config/properties", properties_seeds(), properties),
        Target::new("config/set", set.clone(), overrides),
        Target::new("config/environment", set, environment),
        Target::new("config/topic", topic_seeds(), topic),
    ]
}

fn tomls() -> Vec<Vec<u8>> {
    let whole = default_file();
    let mut seeds: Vec<Vec<u8>> =
        whole.split("\n\n").map(|part| part.replace("# ", "").into_bytes()).collect();
    seeds.push(b"log.segment.bytes = 1_000_000\n[max]\nconnections = 5\n".to_vec());
    seeds.push(b"max.connections = 5\nmax.connections.per.ip = 6\nlog.level = 'warn'".to_vec());
    seeds.push(whole.into_bytes());
    seeds
}

fn toml(bytes: &[u8]) {
    let Ok(text) = std::str::from_utf8(bytes) else { return };
    let file = Some(("config.toml".to_owned(), text.to_owned()));
    judge(Config::load(&Sources { file, ..Sources::default() }), Some(text), Source::File);
}

/// The files that the tests read, by the paragraph and whole.
fn properties_seeds() -> Vec<Vec<u8>> {
    let files = [
        include_str!("../../../tests/properties/kafka-4.properties"),
        include_str!("../../../tests/properties/kafka-3-zookeeper.properties"),
    ];
    let lines = files.iter().flat_map(|file| file.split("\n\n")).map(str::to_owned);
    let whole = files.iter().map(|file| (*file).to_owned());
    lines.chain(whole).map(String::into_bytes).collect()
}

fn properties(bytes: &[u8]) {
    // As the file is read: what is no UTF-8 is Latin 1.
    let text = String::from_utf8(bytes.to_vec())
        .unwrap_or_else(|_| bytes.iter().copied().map(char::from).collect());
    let file = Some(("server.properties".to_owned(), text.clone()));
    let loaded = Config::load(&Sources { file, ..Sources::default() });
    for warning in loaded.iter().flat_map(Config::warnings) {
        note(&(&warning.key, std::mem::discriminant(&warning.warned)));
        let words = warning.to_string();
        assert!(!words.contains(char::is_control), "{words:?}");
    }
    // Java ends a line at a carriage return too, and the first character may be a mark.
    let text = text.replace("\r\n", "\n").replace('\r', "\n");
    judge(loaded, Some(&text), Source::File);
}

fn overrides(bytes: &[u8]) {
    let Ok(text) = std::str::from_utf8(bytes) else { return };
    let overrides = text.lines().map(str::to_owned).collect();
    judge(Config::load(&Sources { overrides, ..Sources::default() }), None, Source::CommandLine);
}

fn environment(bytes: &[u8]) {
    let Ok(text) = std::str::from_utf8(bytes) else { return };
    let variable = |line: &str| {
        let (name, value) = line.split_once('=').unwrap_or((line, ""));
        let name = format!("ODRADEK_{}", name.to_ascii_uppercase().replace('.', "_"));
        (name, value.to_owned())
    };
    let environment = text.lines().map(variable).collect();
    judge(Config::load(&Sources { environment, ..Sources::default() }), None, Source::Environment);
}

/// A refusal names places that exist, in words that disturb no terminal; what was accepted is
/// accepted again in the form in which it is shown.
fn judge(loaded: Result<Config, ConfigErrors>, text: Option<&str>, source: Source) {
    let config = match loaded {
        Err(errors) => return judge_errors(&errors, text),
        Ok(config) => config,
    };
    let mut shown = Vec::new();
    for setting in config.settings().iter().filter(|setting| setting.source == source) {
        note(&setting.key);
        let value = setting.value.as_deref().unwrap_or_default();
        // A directory's name may hold a comma, and then its list reads otherwise.
        if setting.key != "log.dirs" {
            shown.push((setting.key, format!("{}={value}", setting.key)));
        }
    }
    let overrides = shown.iter().map(|(_, text)| text.clone()).collect();
    let again = Config::load(&Sources { overrides, ..Sources::default() });
    let again = again.unwrap_or_else(|errors| panic!("{shown:?}: {errors}"));
    for (key, text) in &shown {
        let value = again.settings().iter().find(|s| s.key == *key).and_then(|s| s.value.clone());
        assert_eq!(value.as_deref(), text.split_once('=').map(|(_, value)| value));
    }
}

fn judge_errors(errors: &ConfigErrors, text: Option<&str>) {
    assert!(!errors.0.is_empty());
    for error in &errors.0 {
        let words = error.to_string();
        assert!(!words.contains(|char: char| char.is_control() && char != '\n'), "{words:?}");
        note(&std::mem::discriminant(&error.problem));
        let (Place::File { line, column, .. }, Some(text)) = (&error.place, text) else { continue };
        let line = text.split('\n').nth(line.saturating_sub(1));
        let line = line.unwrap_or_else(|| panic!("no such line: {words}"));
        assert!(*column <= line.chars().count() + 1, "no such column: {words}");
    }
}

fn topic_seeds() -> Vec<Vec<u8>> {
    let defaults = TopicConfig::default();
    let seed = |key: &&str| format!("{key}={}", defaults.text(key).unwrap_or_default());
    TopicConfig::KEYS.iter().map(|key| seed(key).into_bytes()).collect()
}

fn topic(bytes: &[u8]) {
    let Ok(text) = std::str::from_utf8(bytes) else { return };
    let mut config = TopicConfig::default();
    for line in text.lines() {
        let (key, value) = line.split_once('=').unwrap_or((line, ""));
        let before = config.clone();
        match config.set(key, value) {
            Err(error) => {
                note(&std::mem::discriminant(&error));
                assert_eq!(config, before, "refused, so nothing changed");
                let words = error.to_string();
                assert!(!words.contains(char::is_control), "{words:?}");
            }
            Ok(()) => {
                note(&key);
                let shown = config.text(key).expect("it was set");
                let mut again = config.clone();
                again.set(key, &shown).expect("what is shown can be set");
                assert_eq!(again, config);
            }
        }
    }
}

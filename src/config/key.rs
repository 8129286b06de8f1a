//! What a key is: its name, what it takes, where that goes, and how it is read and shown.

use std::collections::BTreeSet;
use std::net::IpAddr;
use std::path::PathBuf;

use super::Config;
use super::error::Expected;
use super::keys::{ALIASES, KEYS, UNITS};
use super::listener::{Listener, Protocol};
use super::raw::RawValue;
use super::site::{Voter, peers, roles, voters};
use crate::topic_config::{self, TopicConfig, TopicConfigError};

/// One key.
pub(super) struct Key {
    pub name: &'static str,
    /// The default as TOML has it; `None`: the key is not set unless somebody does.
    pub default: Option<&'static str>,
    pub reloadable: bool,
    /// One line about it, for `config.toml`.
    pub about: &'static str,
    pub kind: Kind,
}

/// What a key takes, and where it goes.
pub(super) enum Kind {
    Boolean(fn(&mut Config, bool)),
    Integer {
        min: i64,
        max: i64,
        put: fn(&mut Config, i64),
    },
    /// A number of bytes, or `"auto"`.
    Size {
        min: u64,
        max: u64,
        put: fn(&mut Config, Option<u64>),
    },
    /// One of some words; its place among them is put.
    Word {
        words: &'static [&'static str],
        put: fn(&mut Config, usize),
    },
    /// Some of these names, the most wanted first.
    Names {
        names: &'static [&'static str],
        put: fn(&mut Config, Vec<&'static str>),
    },
    Directories,
    Listeners,
    Advertised,
    /// Nodes that are to vote, and where they are.
    Voters,
    /// Nodes of the site, by address alone.
    Peers,
    /// What the node does.
    Roles,
    /// A file.
    File(fn(&mut Config, PathBuf)),
    /// Free text of a few characters.
    Text(fn(&mut Config, &str)),
    /// A topic-level key's default; the text is the topic-level name.
    Topic(&'static str),
}

/// Bytes of a text without a meaning of its own.
const TEXT_BYTES_MAX: usize = 255;

/// A key that waits for a restart.
pub(super) const fn restart(
    name: &'static str,
    default: &'static str,
    kind: Kind,
    about: &'static str,
) -> Key {
    Key { name, default: Some(default), reloadable: false, about, kind }
}

/// A key that SIGHUP puts into effect.
pub(super) const fn reload(
    name: &'static str,
    default: &'static str,
    kind: Kind,
    about: &'static str,
) -> Key {
    Key { name, default: Some(default), reloadable: true, about, kind }
}

/// The same, without a default.
pub(super) const fn unset(name: &'static str, kind: Kind, about: &'static str) -> Key {
    Key { name, default: None, reloadable: true, about, kind }
}

impl Key {
    /// The place in [`KEYS`] of the key that `name` names.
    pub(super) fn find(name: &str) -> Option<usize> {
        let alias = ALIASES.iter().find(|alias| alias.0 == name);
        let name = alias.map_or(name, |alias| alias.1);
        KEYS.iter().position(|key| key.name == name)
    }

    /// A value for the file, of a key that has no default.
    pub(super) fn example(&self) -> &'static str {
        match self.kind {
            Kind::Advertised => "[\"wire://edge-1.local:7092\"]",
            Kind::Voters => {
                "[\"1@edge-1.local:7092\", \"2@edge-2.local:7092\", \"3@edge-3.local:7092\"]"
            }
            Kind::Peers => "[\"board-2.local:7092\"]",
            Kind::File(_) => "\"/etc/odradek/secret\"",
            Kind::Text(_) => "\"attic\"",
            _ => "1",
        }
    }

    /// Whether its value is a list.
    pub(super) fn is_list(&self) -> bool {
        match self.kind {
            Kind::Names { .. }
            | Kind::Directories
            | Kind::Listeners
            | Kind::Advertised
            | Kind::Voters
            | Kind::Peers
            | Kind::Roles => true,
            Kind::Topic(key) => TopicConfig::is_list(key),
            Kind::Boolean(_)
            | Kind::Integer { .. }
            | Kind::Size { .. }
            | Kind::Word { .. }
            | Kind::File(_)
            | Kind::Text(_) => false,
        }
    }

    /// Whether every broker needs a value of its own.
    pub(super) fn is_of_one_broker(&self) -> bool {
        matches!(self.kind, Kind::Listeners | Kind::Advertised)
    }

    /// The topic-level key whose default this key sets.
    pub(super) fn topic_key(&self) -> Option<&'static str> {
        match self.kind {
            Kind::Topic(key) => Some(key),
            _ => UNITS.iter().find(|unit| unit.0 == self.name).map(|unit| unit.1),
        }
    }

    /// The key that `name` was probably meant to be; a topic-level key means its default.
    pub(super) fn nearest(name: &str) -> Option<&'static str> {
        let of_topic =
            KEYS.iter().find(|key| matches!(key.kind, Kind::Topic(topic) if topic == name));
        if let Some(key) = of_topic {
            return Some(key.name);
        }
        let names: Vec<&'static str> = KEYS.iter().map(|key| key.name).collect();
        topic_config::nearest_key(name, &names)
    }

    /// Puts `value` into `config` and answers it as text, or says what the key takes.
    pub(super) fn put(&self, config: &mut Config, value: &RawValue) -> Result<String, Expected> {
        let simple = |expected| Err(Expected::Simple(expected));
        match self.kind {
            Kind::Boolean(put) => match boolean(value) {
                Some(flag) => {
                    put(config, flag);
                    Ok(flag.to_string())
                }
                None => simple(topic_config::Expected::Boolean),
            },
            Kind::Integer { min, max, put } => match integer(value) {
                Some(number) if min <= number && number <= max => {
                    put(config, number);
                    Ok(number.to_string())
                }
                _ => simple(topic_config::Expected::Integer { min, max }),
            },
            Kind::Size { min, max, put } => {
                if text(value) == Some("auto") {
                    put(config, None);
                    return Ok("auto".to_owned());
                }
                let size = size(value).filter(|size| min <= *size && *size <= max);
                let size = size.ok_or(Expected::Size { min, max })?;
                put(config, Some(size));
                Ok(size.to_string())
            }
            Kind::Word { words, put } => {
                let place = text(value).and_then(|word| words.iter().position(|w| *w == word));
                let Some(place) = place else {
                    return simple(topic_config::Expected::OneOf(words));
                };
                put(config, place);
                Ok(words[place].to_owned())
            }
            Kind::Names { names, put } => {
                let find = |text: &str| names.iter().copied().find(|name| *name == text);
                let chosen = list(value).and_then(|texts| texts.into_iter().map(find).collect());
                let Some(chosen) = chosen else {
                    return simple(topic_config::Expected::OneOf(names));
                };
                put(config, Vec::clone(&chosen));
                Ok(chosen.join(","))
            }
            Kind::Directories
            | Kind::Listeners
            | Kind::Advertised
            | Kind::Voters
            | Kind::Peers
            | Kind::Roles => self.put_list(config, value),
            Kind::File(put) => {
                let path = text(value).filter(|path| !path.is_empty() && !path.contains('\0'));
                let path = path.ok_or(Expected::File)?;
                put(config, PathBuf::from(path));
                Ok(path.to_owned())
            }
            Kind::Text(put) => {
                let text = text(value).filter(|text| text.len() <= TEXT_BYTES_MAX);
                let text = text.ok_or(Expected::Text)?;
                put(config, text);
                Ok(text.to_owned())
            }
            Kind::Topic(key) => put_topic_default(&mut config.topic_defaults, key, value),
        }
    }

    /// The same, of a key that takes a list of its own kind.
    fn put_list(&self, config: &mut Config, value: &RawValue) -> Result<String, Expected> {
        match self.kind {
            Kind::Directories => {
                config.log_dirs = directories(value).ok_or(Expected::Directories)?;
                Ok(joined(config.log_dirs.iter().map(|dir| dir.display().to_string())))
            }
            Kind::Listeners => {
                config.listeners = listeners(value).ok_or(Expected::Listeners)?;
                Ok(joined(config.listeners.iter().map(Listener::to_string)))
            }
            Kind::Advertised => {
                config.advertised_listeners = advertised(value).ok_or(Expected::Advertised)?;
                Ok(joined(config.advertised_listeners.iter().map(Listener::to_string)))
            }
            Kind::Voters => {
                config.controller_quorum_voters = voters(value).ok_or(Expected::Voters)?;
                Ok(joined(config.controller_quorum_voters.iter().map(Voter::to_string)))
            }
            Kind::Peers => {
                config.peers = peers(value).ok_or(Expected::Peers)?;
                Ok(config.peers.join(","))
            }
            Kind::Roles => {
                config.process_roles = roles(value).ok_or(Expected::Roles)?;
                Ok(joined(config.process_roles.iter().map(|role| role.name().to_owned())))
            }
            _ => unreachable!("only keys with lists are put here"),
        }
    }
}

/// Sets a topic-level key; TOML's type must be the key's, as with every other key.
fn put_topic_default(
    topic: &mut TopicConfig,
    key: &'static str,
    value: &RawValue,
) -> Result<String, Expected> {
    use topic_config::Expected::{Boolean, Integer, OneOf, Ratio};

    // No key takes an empty text, and the refusal says what it does take.
    let Err(TopicConfigError::Value { expected, .. }) = topic.clone().set(key, "") else {
        unreachable!("the table names topic keys, and none of them takes nothing")
    };
    let text = match (expected, value) {
        (_, RawValue::Bare(text)) | (OneOf(_), RawValue::Text(text)) => text.clone(),
        (OneOf(_), RawValue::List(words)) => words.join(","),
        (Integer { .. } | Ratio, RawValue::Integer(number)) => number.to_string(),
        (Boolean, RawValue::Boolean(flag)) => flag.to_string(),
        (Ratio, RawValue::Float(digits)) => digits.clone(),
        _ => return Err(Expected::Simple(expected)),
    };
    topic.set(key, &text).map_err(|_| Expected::Simple(expected))?;
    Ok(topic.text(key).expect("a key that was set has a text"))
}

fn boolean(value: &RawValue) -> Option<bool> {
    match value {
        RawValue::Boolean(flag) => Some(*flag),
        RawValue::Bare(text) => text.parse().ok(),
        _ => None,
    }
}

fn integer(value: &RawValue) -> Option<i64> {
    match value {
        RawValue::Integer(number) => Some(*number),
        RawValue::Bare(text) => text.parse().ok(),
        _ => None,
    }
}

fn text(value: &RawValue) -> Option<&str> {
    match value {
        RawValue::Text(text) | RawValue::Bare(text) => Some(text),
        _ => None,
    }
}

/// A number of bytes in one of its spellings; `auto` is not one.
fn size(value: &RawValue) -> Option<u64> {
    if let RawValue::Integer(number) = value {
        return u64::try_from(*number).ok();
    }
    let text = text(value)?;
    let digits = text.trim_end_matches(|char: char| char.is_ascii_alphabetic());
    let shift = match &text[digits.len()..] {
        "" if matches!(value, RawValue::Bare(_)) => 0,
        "B" => 0,
        "KiB" => 10,
        "MiB" => 20,
        "GiB" => 30,
        "TiB" => 40,
        _ => return None,
    };
    let number: u64 = digits.trim_end().parse().ok()?;
    number.checked_mul(1 << shift)
}

/// A list; a single text is split at its commas, as in Kafka's properties.
pub(super) fn list(value: &RawValue) -> Option<Vec<&str>> {
    let texts: Vec<&str> = match value {
        RawValue::List(texts) => texts.iter().map(String::as_str).collect(),
        _ => text(value)?.split(',').map(str::trim).collect(),
    };
    let repeats = |place: usize| texts[..place].contains(&texts[place]);
    let legal = !texts.is_empty() && !(0..texts.len()).any(repeats);
    legal.then_some(texts)
}

fn directories(value: &RawValue) -> Option<Vec<PathBuf>> {
    let texts = list(value)?;
    let legal = texts.iter().all(|text| !text.is_empty() && !text.contains('\0'));
    legal.then(|| texts.into_iter().map(PathBuf::from).collect())
}

fn listeners(value: &RawValue) -> Option<Vec<Listener>> {
    list(value)?.into_iter().map(Listener::parse).collect()
}

/// One address for each protocol that a client can connect to.
fn advertised(value: &RawValue) -> Option<Vec<Listener>> {
    let listeners = listeners(value)?;
    let is_reachable = |listener: &Listener| {
        let host = listener.host.parse::<IpAddr>();
        listener.port != 0 && !host.is_ok_and(|host| host.is_unspecified())
    };
    let protocols: BTreeSet<Protocol> = listeners.iter().map(|l| l.protocol).collect();
    let is_legal = protocols.len() == listeners.len() && listeners.iter().all(is_reachable);
    (is_legal && !listeners.is_empty()).then_some(listeners)
}

fn joined(texts: impl Iterator<Item = String>) -> String {
    texts.collect::<Vec<String>>().join(",")
}

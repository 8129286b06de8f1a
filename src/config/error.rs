//! What is wrong with a configuration, where, and what was meant.

use core::fmt;
use std::io;

use crate::topic_config;

/// Every mistake that was found; at least one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConfigErrors(pub Vec<ConfigError>);

impl fmt::Display for ConfigErrors {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (place, error) in self.0.iter().enumerate() {
            if 0 < place {
                f.write_str("\n")?;
            }
            error.fmt(f)?;
        }
        Ok(())
    }
}

impl core::error::Error for ConfigErrors {}

/// One mistake.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConfigError {
    /// Where it is.
    pub place: Place,
    /// What it is.
    pub problem: Problem,
}

impl ConfigError {
    /// The line of a file that is meant.
    pub fn line(&self) -> Option<usize> {
        match self.place {
            Place::File { line, .. } if 0 < line => Some(line),
            _ => None,
        }
    }
}

/// A setting that has no effect, in a file that was written for Kafka.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConfigWarning {
    /// Where it is.
    pub place: Place,
    /// Its key.
    pub key: String,
    /// Why it has none.
    pub warned: Warned,
}

/// Why a setting has no effect.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Warned {
    /// Neither Kafka nor we have such a key.
    Unknown {
        /// The key that was probably meant.
        nearest: Option<&'static str>,
    },
    /// Kafka has it and we have not; why, or what replaces it.
    NotHere(&'static str),
    /// The same key was given before, and now counts no more.
    Repeated,
    /// `log.dirs` was given and is stronger.
    Overridden,
}

impl fmt::Display for ConfigWarning {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let ConfigWarning { place, key, warned } = self;
        write!(f, "{place}: `{key}`: ")?;
        match warned {
            Warned::Unknown { nearest: None } => f.write_str("ignored, there is no such key"),
            Warned::Unknown { nearest: Some(nearest) } => {
                write!(f, "ignored, there is no such key; did you mean `{nearest}`?")
            }
            Warned::NotHere(words) => f.write_str(words),
            Warned::Repeated => f.write_str("given before; this one counts"),
            Warned::Overridden => f.write_str("ignored, `log.dirs` is stronger"),
        }
    }
}

/// Where a setting stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Place {
    /// In a file.
    File {
        /// The file as it was named.
        path: String,
        /// The line, from 1; 0 when the file as a whole is meant.
        line: usize,
        /// The character in the line, from 1.
        column: usize,
    },
    /// In an environment variable.
    Environment(String),
    /// In the argument of a `--set`.
    CommandLine(String),
    /// In the cluster's metadata, where a client has put it.
    RunTime,
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Place::File { path, line: 0, .. } => f.write_str(path),
            Place::File { path, line, column } => write!(f, "{path}:{line}:{column}"),
            Place::Environment(name) => f.write_str(name),
            Place::CommandLine(argument) => write!(f, "--set {argument}"),
            Place::RunTime => f.write_str("set at run time"),
        }
    }
}

/// What is wrong with a setting.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Problem {
    /// The file cannot be read.
    Unreadable(io::ErrorKind),
    /// The file is larger than any configuration.
    TooLarge,
    /// The file is not TOML; the parser's words.
    Syntax(String),
    /// Text without quotes in the file.
    Unquoted {
        /// The key.
        key: String,
        /// Its value.
        word: String,
    },
    /// A `\u` in a properties file without four hexadecimal digits, or half of a pair.
    Escape,
    /// A `--set` without `=`.
    NoValue,
    /// There is no such key.
    UnknownKey {
        /// The key as it was given.
        key: String,
        /// The key that was probably meant.
        nearest: Option<&'static str>,
    },
    /// The key was given before, perhaps under its other name.
    Duplicate {
        /// The key as it was given.
        key: String,
    },
    /// The value is of another kind or out of range.
    Value {
        /// The key.
        key: &'static str,
        /// What it takes.
        expected: Expected,
        /// What it was given.
        found: String,
    },
    /// The key waits for a restart, so that it cannot be set at run time.
    NeedsRestart {
        /// The key.
        key: &'static str,
    },
    /// The key is one that no two brokers can have in common.
    OfOneBroker {
        /// The key.
        key: &'static str,
    },
    /// The value is legal by itself, but not beside that of another key.
    OutOfBounds {
        /// The key whose value is to be the smaller one.
        key: &'static str,
        /// Its value.
        value: i64,
        /// The key whose value is to be the larger one.
        other: &'static str,
        /// Its value.
        bound: i64,
        /// Whether they may not even be alike.
        is_strict: bool,
    },
}

impl fmt::Display for ConfigError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.place, self.problem)
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Problem::Unreadable(kind) => write!(f, "{kind}"),
            Problem::TooLarge => f.write_str("too large for a configuration"),
            Problem::Syntax(message) => f.write_str(message),
            Problem::Unquoted { key, word } => {
                write!(f, "`{key}`: text stands in quotes: {key} = \"{word}\"")
            }
            Problem::Escape => {
                f.write_str("\\u stands before the four hexadecimal digits of a character")
            }
            Problem::NoValue => f.write_str("expected KEY=VALUE"),
            Problem::UnknownKey { key, nearest: None } => write!(f, "unknown key `{key}`"),
            Problem::UnknownKey { key, nearest: Some(nearest) } => {
                write!(f, "unknown key `{key}`: did you mean `{nearest}`?")
            }
            Problem::Duplicate { key } => write!(f, "`{key}` is given twice"),
            Problem::Value { key, expected, found } => {
                write!(f, "`{key}` takes {expected}, not {found}")
            }
            Problem::NeedsRestart { key } => {
                write!(f, "`{key}` takes effect at a start: change it in the file")
            }
            Problem::OfOneBroker { key } => {
                write!(f, "`{key}` is set for one broker, not for all of them")
            }
            Problem::OutOfBounds { key, value, other, bound, is_strict } => {
                let relation = if *is_strict { "less than" } else { "at most" };
                write!(f, "`{key}` is {value}, and must be {relation} `{other}`, which is {bound}")
            }
        }
    }
}

/// What a key takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Expected {
    /// What some topic-level key takes too.
    Simple(topic_config::Expected),
    /// A number of bytes, or `"auto"`.
    Size {
        /// The smallest.
        min: u64,
        /// The largest.
        max: u64,
    },
    /// Directories.
    Directories,
    /// Addresses to listen on.
    Listeners,
    /// Addresses in the form that Kafka gives them.
    KafkaListeners,
    /// An address that clients can connect to.
    Advertised,
    /// Nodes that vote.
    Voters,
    /// Addresses of other nodes.
    Peers,
    /// What a node does.
    Roles,
    /// A file.
    File,
    /// A short text.
    Text,
}

impl fmt::Display for Expected {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match *self {
            Expected::Simple(expected) => expected.fmt(f),
            Expected::Size { min, max } => write!(
                f,
                "\"auto\" or a size such as 1048576 or \"32MiB\", from {} to {}",
                Size(min),
                Size(max)
            ),
            Expected::Directories => {
                f.write_str("a list of directories such as [\"data\"], no two alike")
            }
            Expected::KafkaListeners => f.write_str(
                "addresses such as PLAINTEXT://:9092 (TLS and SASL are not served yet)",
            ),
            Expected::Advertised => f.write_str(
                "one address a protocol that clients can connect to, such as [\"wire://edge-1.local:7092\"]",
            ),
            Expected::Voters => f.write_str(
                "nodes and their wire listeners such as [\"1@edge-1.local:7092\"], no two alike, at \
                 most 7",
            ),
            Expected::Peers => f.write_str(
                "addresses of other nodes such as [\"board-2.local:7092\"], no two alike",
            ),
            Expected::Roles => {
                f.write_str("[\"broker\", \"controller\"], one of the two, or [\"witness\"]")
            }
            Expected::File => f.write_str("the path of a file"),
            Expected::Text => f.write_str("a text of at most 255 bytes"),
            Expected::Listeners => {
                f.write_str("a list of addresses such as [\"wire://127.0.0.1:7092\"], no two alike")
            }
        }
    }
}

/// Bytes in the largest unit that divides them.
struct Size(u64);

impl fmt::Display for Size {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (unit, shift) in [("TiB", 40), ("GiB", 30), ("MiB", 20), ("KiB", 10)] {
            if self.0 != 0 && shift <= self.0.trailing_zeros() {
                return write!(f, "{}{unit}", self.0 >> shift);
            }
        }
        write!(f, "{}", self.0)
    }
}

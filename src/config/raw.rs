//! Settings as their source gives them: a key, an untyped value, and where they stand.
//!
//! TOML reads `log.segment.bytes = 1` as tables within tables; here they become one dotted key
//! again. One thing Kafka's keys have and TOML's may not: a key beside a longer one that begins
//! with it (`max.connections`, `max.connections.per.ip`). Such a line is read as if the dots of
//! the longer key's rest were dashes, which keeps every column where it was.

use std::io::{self, Read};
use std::ops::Range;
use std::path::Path;

use toml::Spanned;
use toml::de::{DeTable, DeValue};

use super::error::{ConfigError, ConfigErrors, Expected, Place, Problem};
use super::key::Key;
use super::keys::KEYS;
use super::properties;

/// Largest file that is read.
const FILE_BYTES_MAX: u64 = 1 << 20;

/// What every variable of ours begins with.
const ENVIRONMENT_PREFIX: &str = "ODRADEK_";

/// Characters of a wrong value that an error repeats.
const FOUND_CHARS_MAX: usize = 60;

/// One setting before it is understood.
#[derive(Clone, Debug)]
pub(super) struct RawSetting {
    pub key: String,
    pub value: RawValue,
    key_place: Place,
    value_place: Place,
}

/// A value before it is understood.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum RawValue {
    /// TOML's integer.
    Integer(i64),
    /// TOML's float, as it was written.
    Float(String),
    /// TOML's boolean.
    Boolean(bool),
    /// TOML's string.
    Text(String),
    /// TOML's array of strings.
    List(Vec<String>),
    /// Text from the environment or the command line, where nothing tells `1` from `"1"`.
    Bare(String),
    /// What no key takes, as a message names it.
    Other(String),
}

impl RawSetting {
    pub(super) fn new(key: String, value: RawValue, key_place: Place, value_place: Place) -> Self {
        RawSetting { key, value, key_place, value_place }
    }

    /// The line of the file that it stands in.
    pub(super) fn line(&self) -> Option<usize> {
        match self.key_place {
            Place::File { line, .. } => Some(line),
            _ => None,
        }
    }

    /// Where its value stands.
    pub(super) fn into_place(self) -> Place {
        self.value_place
    }

    pub(super) fn unknown_key(self) -> ConfigError {
        let nearest = Key::nearest(&self.key);
        ConfigError {
            place: self.key_place,
            problem: Problem::UnknownKey { key: shown(&self.key), nearest },
        }
    }

    pub(super) fn duplicate(self) -> ConfigError {
        ConfigError { place: self.key_place, problem: Problem::Duplicate { key: self.key } }
    }

    pub(super) fn wrong_value(self, key: &'static str, expected: Expected) -> ConfigError {
        let found = self.value.describe();
        ConfigError { place: self.value_place, problem: Problem::Value { key, expected, found } }
    }
}

impl RawValue {
    fn describe(&self) -> String {
        match self {
            RawValue::Integer(number) => number.to_string(),
            RawValue::Float(digits) => shown(digits),
            RawValue::Boolean(flag) => flag.to_string(),
            RawValue::Text(text) => format!("\"{}\"", shown(text)),
            RawValue::List(texts) => shown(&format!("{texts:?}")),
            RawValue::Bare(text) => format!("`{}`", shown(text)),
            RawValue::Other(words) => words.clone(),
        }
    }
}

/// `text` without what would disturb a terminal, cut to a line's length.
pub(super) fn shown(text: &str) -> String {
    let mut shown: String =
        text.chars().filter(|char| !char.is_control()).take(FOUND_CHARS_MAX).collect();
    if FOUND_CHARS_MAX < text.chars().count() {
        shown.push('…');
    }
    shown
}

/// The text of the file at `path`.
pub(super) fn read_file(path: &Path) -> Result<String, ConfigErrors> {
    let failed = |problem| {
        let place = Place::File { path: path.display().to_string(), line: 0, column: 0 };
        ConfigErrors(vec![ConfigError { place, problem }])
    };
    let mut bytes = Vec::new();
    let read: io::Result<usize> = std::fs::File::open(path)
        .and_then(|file| file.take(FILE_BYTES_MAX + 1).read_to_end(&mut bytes));
    match read {
        Err(why) => Err(failed(Problem::Unreadable(why.kind()))),
        Ok(count) if FILE_BYTES_MAX < count as u64 => Err(failed(Problem::TooLarge)),
        Ok(_) if properties::is_named(&path.to_string_lossy()) => Ok(properties::decode(bytes)),
        Ok(_) => String::from_utf8(bytes)
            .map_err(|_| failed(Problem::Unreadable(io::ErrorKind::InvalidData))),
    }
}

/// The settings of a TOML file, or its syntax errors.
pub(super) fn from_file(path: &str, text: &str, errors: &mut Vec<ConfigError>) -> Vec<RawSetting> {
    let readable = with_clashing_keys_dashed(text);
    let file = File { path, text };
    let (table, syntax_errors) = DeTable::parse_recoverable(&readable);
    if !syntax_errors.is_empty() {
        // One mistake can make the parser stumble several times on its line.
        let mut line_before = 0;
        for error in syntax_errors.iter().map(|error| file.syntax_error(error)) {
            let line = error.line().unwrap_or(0);
            if line != line_before {
                errors.push(error);
            }
            line_before = line;
        }
        return Vec::new();
    }
    let mut settings = Vec::new();
    file.flatten("", table.get_ref(), &mut settings);
    settings
}

/// A file under its name, to say where something stands.
struct File<'a> {
    path: &'a str,
    text: &'a str,
}

impl File<'_> {
    fn flatten(&self, prefix: &str, table: &DeTable<'_>, settings: &mut Vec<RawSetting>) {
        for (name, value) in table {
            let key = match prefix {
                "" => name.get_ref().to_string(),
                _ => format!("{prefix}.{}", name.get_ref()),
            };
            match value.get_ref() {
                DeValue::Table(inner) if !inner.is_empty() => self.flatten(&key, inner, settings),
                _ => settings.push(RawSetting {
                    key: with_clashing_key_dotted(key),
                    value: value_of(value),
                    key_place: self.place(self.dotted_key(&name.span()).start),
                    value_place: self.place(value.span().start),
                }),
            }
        }
    }

    fn syntax_error(&self, error: &toml::de::Error) -> ConfigError {
        let span = error.span().unwrap_or_default();
        if error.message().starts_with("duplicate key") {
            let key = self.dotted_key(&span);
            let place = self.place(key.start);
            let key = self.text.get(key).unwrap_or_default().replace(['"', '\''], "");
            return ConfigError { place, problem: Problem::Duplicate { key: shown(&key) } };
        }
        let problem = match self.unquoted_value(span.start) {
            Some((key, word)) => Problem::Unquoted { key: shown(key), word: shown(word) },
            None => Problem::Syntax(error.message().to_owned()),
        };
        ConfigError { place: self.place(span.start), problem }
    }

    /// The key and the value of the line at `position`, when the value is text without quotes.
    fn unquoted_value(&self, position: usize) -> Option<(&str, &str)> {
        let start = self.text.get(..position)?.rfind('\n').map_or(0, |newline| newline + 1);
        let (key, value) = self.text[start..].lines().next()?.split_once('=')?;
        let word = value.split('#').next()?.trim();
        let is_text = !word.contains(['"', '\'', '[', '{'])
            && word.chars().any(char::is_alphabetic)
            && start + key.len() < position;
        is_text.then_some((key.trim(), word))
    }

    /// The whole dotted key around one of its parts.
    fn dotted_key(&self, part: &Range<usize>) -> Range<usize> {
        let of_key = |char: char| char.is_ascii_alphanumeric() || "-_.\"'".contains(char);
        let before = self.text.get(..part.start).unwrap_or_default();
        let after = self.text.get(part.end..).unwrap_or_default();
        let start = before.trim_end_matches(of_key).len();
        let end = self.text.len() - after.trim_start_matches(of_key).len();
        start..end.max(start)
    }

    fn place(&self, position: usize) -> Place {
        let before = self.text.get(..position).unwrap_or(self.text);
        let line = before.matches('\n').count() + 1;
        let line_start = before.rfind('\n').map_or(0, |newline| newline + 1);
        let column = before[line_start..].chars().count() + 1;
        Place::File { path: self.path.to_owned(), line, column }
    }
}

fn value_of(value: &Spanned<DeValue<'_>>) -> RawValue {
    match value.get_ref() {
        DeValue::String(text) => RawValue::Text(text.to_string()),
        DeValue::Boolean(flag) => RawValue::Boolean(*flag),
        DeValue::Float(digits) => RawValue::Float(digits.as_str().to_owned()),
        DeValue::Integer(digits) => i64::from_str_radix(digits.as_str(), digits.radix())
            .map_or_else(|_| RawValue::Other(shown(digits.as_str())), RawValue::Integer),
        DeValue::Array(values) => {
            let texts = values.iter().map(|value| match value.get_ref() {
                DeValue::String(text) => Some(text.to_string()),
                _ => None,
            });
            texts.collect::<Option<Vec<String>>>().map_or_else(
                || RawValue::Other("a list of other things than strings".to_owned()),
                RawValue::List,
            )
        }
        other @ (DeValue::Datetime(_) | DeValue::Table(_)) => {
            RawValue::Other(format!("a {}", other.type_str()))
        }
    }
}

/// The value of a TOML literal.
pub(super) fn value_of_literal(literal: &str) -> Option<RawValue> {
    DeValue::parse(literal).ok().map(|value| value_of(&value))
}

/// The settings among `variables`: `ODRADEK_LOG_SEGMENT_BYTES` is `log.segment.bytes`.
///
/// Others may use the prefix too (`ODRADEK_SERVER` is the clients'), so a variable that resembles
/// no key is left alone; one that nearly is a key is a mistake like any other.
pub(super) fn from_environment(variables: &[(String, String)]) -> Vec<RawSetting> {
    let mut settings = Vec::new();
    for (variable, value) in variables {
        let Some(name) = variable.strip_prefix(ENVIRONMENT_PREFIX) else { continue };
        let key = name.to_ascii_lowercase().replace('_', ".");
        if Key::find(&key).is_none() && Key::nearest(&key).is_none() {
            continue;
        }
        let place = Place::Environment(shown(variable));
        settings.push(RawSetting {
            key,
            value: bare_value(value),
            key_place: place.clone(),
            value_place: place,
        });
    }
    settings
}

/// The settings of `--set key=value` arguments.
pub(super) fn from_overrides(
    overrides: &[String],
    errors: &mut Vec<ConfigError>,
) -> Vec<RawSetting> {
    let mut settings = Vec::new();
    for argument in overrides {
        let place = Place::CommandLine(shown(argument));
        let Some((key, value)) = argument.split_once('=') else {
            errors.push(ConfigError { place, problem: Problem::NoValue });
            continue;
        };
        settings.push(RawSetting {
            key: key.trim().to_owned(),
            value: bare_value(value),
            key_place: place.clone(),
            value_place: place,
        });
    }
    settings
}

/// Text as it is, unless it is written as a TOML string or array.
fn bare_value(text: &str) -> RawValue {
    let text = text.trim();
    if text.starts_with(['"', '[']) {
        if let Some(value) = value_of_literal(text) {
            return value;
        }
    }
    RawValue::Bare(text.to_owned())
}

/// Whether `key` begins with another key.
pub(super) fn clashes(key: &Key) -> bool {
    clashing_keys().any(|(name, _)| name == key.name)
}

/// Keys that begin with another key, with their dashed form.
fn clashing_keys() -> impl Iterator<Item = (&'static str, String)> {
    KEYS.iter().filter_map(|key| {
        let is_prefix = |other: &&Key| {
            key.name.strip_prefix(other.name).is_some_and(|rest| rest.starts_with('.'))
        };
        let shorter = KEYS.iter().find(is_prefix)?.name;
        let rest = key.name[shorter.len()..].replace('.', "-");
        Some((key.name, format!("{shorter}{rest}")))
    })
}

/// `text` with the clashing keys at the start of its lines dashed; no byte moves.
fn with_clashing_keys_dashed(text: &str) -> String {
    let mut lines: Vec<String> = text.split('\n').map(str::to_owned).collect();
    for (key, dashed) in clashing_keys() {
        for line in &mut lines {
            let start = line.len() - line.trim_start().len();
            let Some(rest) = line[start..].strip_prefix(key) else { continue };
            if rest.starts_with(['=', ' ', '\t']) {
                line.replace_range(start..start + key.len(), &dashed);
            }
        }
    }
    lines.join("\n")
}

fn with_clashing_key_dotted(key: String) -> String {
    let known = clashing_keys().find(|(_, dashed)| *dashed == key);
    known.map_or(key, |(name, _)| name.to_owned())
}

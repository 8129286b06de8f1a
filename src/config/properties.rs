//! Kafka's `server.properties`: Java's property files, read into the same settings as TOML.
//!
//! ```text
//! # or ! begins a comment line        key = value    key: value    key value
//! a line that ends in \               goes on at the next line's first word
//! \t \n \r \f \uXXXX \<other>         escapes, in keys and values
//! ```
//!
//! A key that both know means here what it means there. The listeners of a controller are left
//! out, since every broker is its own; `PLAINTEXT` is our `kafka`, whatever name
//! `listener.security.protocol.map` gives it. What this broker does not know is a warning and no
//! error: a file that served Kafka for years names much that nobody needs here. Read the
//! documentation of `java.util.Properties#load` before editing.

use std::collections::BTreeMap;

use super::error::{ConfigError, ConfigWarning, Expected, Place, Problem, Warned};
use super::kafka_keys;
use super::key::Key;
use super::raw::{RawSetting, RawValue, shown};

/// Where a character stands: its line and column, from 1.
type Spot = (usize, usize);

/// What our own tools connect to when a file names Kafka's listeners only.
const OWN_LISTENER: &str = "wire://127.0.0.1:7092";

/// Whether a file's name says that it holds properties.
pub(super) fn is_named(path: &str) -> bool {
    let extension = path.rsplit_once('.').map(|(_, extension)| extension);
    extension.is_some_and(|extension| extension.eq_ignore_ascii_case("properties"))
}

/// The text of a file: UTF-8, or else ISO-8859-1, which Java takes it for.
pub(super) fn decode(bytes: Vec<u8>) -> String {
    String::from_utf8(bytes)
        .unwrap_or_else(|why| why.as_bytes().iter().copied().map(char::from).collect())
}

/// The settings of a file.
pub(super) fn from_file(
    path: &str,
    text: &str,
    errors: &mut Vec<ConfigError>,
    warnings: &mut Vec<ConfigWarning>,
) -> Vec<RawSetting> {
    let file = File { path };
    let mut properties = Vec::new();
    for line in logical_lines(text) {
        match Property::of(&line) {
            Ok(property) => properties.push(property),
            Err(spot) => {
                errors.push(ConfigError { place: file.place(spot), problem: Problem::Escape });
            }
        }
    }
    let listeners = ListenerNames::of(&properties);
    let mut settings: BTreeMap<usize, (bool, RawSetting)> = BTreeMap::new();
    for property in &properties {
        let warning = |warned| {
            let place = file.place(property.key_spot);
            ConfigWarning { place, key: shown(&property.key), warned }
        };
        let Some(number) = Key::find(&property.key) else {
            warnings.push(warning(kafka_keys::about(&property.key)));
            continue;
        };
        let Some(setting) = listeners.setting(property, &file, errors) else { continue };
        // In Java the last one counts; in Kafka `log.dirs` does, wherever `log.dir` stands.
        let is_weak = property.key == "log.dir";
        match settings.get(&number) {
            Some((false, _)) if is_weak => warnings.push(warning(Warned::Overridden)),
            Some(_) => {
                warnings.push(warning(Warned::Repeated));
                settings.insert(number, (is_weak, setting));
            }
            None => drop(settings.insert(number, (is_weak, setting))),
        }
    }
    settings.into_values().map(|(_, setting)| setting).collect()
}

/// A file under its name, to say where something stands.
struct File<'a> {
    path: &'a str,
}

impl File<'_> {
    fn place(&self, (line, column): Spot) -> Place {
        Place::File { path: self.path.to_owned(), line, column }
    }
}

/// A line that goes on over the line ends that a backslash hides: its characters and where each
/// stands, and where it ends.
struct Line {
    chars: Vec<(char, Spot)>,
    end: Spot,
}

fn is_blank(char: char) -> bool {
    matches!(char, ' ' | '\t' | '\u{c}')
}

/// Lines without comments and blank ones.
fn logical_lines(text: &str) -> Vec<Line> {
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    let text = text.replace("\r\n", "\n").replace('\r', "\n");
    let mut lines = Vec::new();
    let mut open: Option<Line> = None;
    for (number, natural) in text.split('\n').enumerate() {
        let number = number + 1;
        let chars = natural.chars().enumerate().map(|(at, char)| (char, (number, at + 1)));
        let content: Vec<(char, Spot)> = chars.skip_while(|(char, _)| is_blank(*char)).collect();
        let is_comment = content.first().is_none_or(|(char, _)| matches!(char, '#' | '!'));
        if open.is_none() && is_comment {
            continue;
        }
        let end = (number, natural.chars().count() + 1);
        let mut line = open.take().unwrap_or(Line { chars: Vec::new(), end });
        line.chars.extend(content);
        line.end = end;
        let backslashes = natural.chars().rev().take_while(|char| *char == '\\').count();
        if backslashes % 2 == 1 {
            line.chars.pop();
            open = Some(line);
        } else {
            lines.push(line);
        }
    }
    lines.extend(open);
    lines
}

/// A key and its value, unescaped.
struct Property {
    key: String,
    key_spot: Spot,
    value: Vec<(char, Spot)>,
    value_spot: Spot,
}

impl Property {
    /// Splits a line at the first `=`, `:` or blank that is not escaped; the spot of an escape that
    /// is none.
    fn of(line: &Line) -> Result<Property, Spot> {
        let chars = &line.chars;
        let mut split = 0;
        while let Some((char, _)) = chars.get(split) {
            if matches!(char, '=' | ':') || is_blank(*char) {
                break;
            }
            split += if *char == '\\' { 2 } else { 1 };
        }
        let split = split.min(chars.len());
        let (key, rest) = chars.split_at(split);
        let blanks =
            |chars: &[(char, Spot)]| chars.iter().take_while(|(c, _)| is_blank(*c)).count();
        let mut rest = &rest[blanks(rest)..];
        if rest.first().is_some_and(|(char, _)| matches!(char, '=' | ':')) {
            rest = &rest[1..];
        }
        let rest = &rest[blanks(rest)..];
        Ok(Property {
            key: unescape(key)?.into_iter().map(|(char, _)| char).collect(),
            key_spot: chars.first().map_or(line.end, |(_, spot)| *spot),
            value: unescape(rest)?,
            value_spot: rest.first().map_or(line.end, |(_, spot)| *spot),
        })
    }

    /// The value as text; Kafka trims what it reads.
    fn text(&self) -> String {
        let text: String = self.value.iter().map(|(char, _)| char).collect();
        text.trim().to_owned()
    }
}

fn unescape(chars: &[(char, Spot)]) -> Result<Vec<(char, Spot)>, Spot> {
    let mut out = Vec::with_capacity(chars.len());
    let mut rest = chars.iter().copied();
    let mut pending: Option<(u16, Spot)> = None;
    while let Some((char, spot)) = rest.next() {
        let (escaped, unit) = match char {
            '\\' => match rest.next() {
                Some(('u', _)) => (None, Some(code_unit(&mut rest).ok_or(spot)?)),
                Some(('t', _)) => (Some('\t'), None),
                Some(('n', _)) => (Some('\n'), None),
                Some(('r', _)) => (Some('\r'), None),
                Some(('f', _)) => (Some('\u{c}'), None),
                Some((other, _)) => (Some(other), None),
                None => continue,
            },
            plain => (Some(plain), None),
        };
        // Characters beyond 16 bits come as two escapes.
        match (pending.take(), unit) {
            (Some((high, at)), Some(low)) => {
                let pair = char::decode_utf16([high, low]).next().and_then(Result::ok);
                out.push((pair.ok_or(at)?, at));
            }
            (Some((_, at)), None) => return Err(at),
            (None, Some(unit)) if (0xd800..0xdc00).contains(&unit) => pending = Some((unit, spot)),
            (None, Some(unit)) => out.push((char::from_u32(unit.into()).ok_or(spot)?, spot)),
            (None, None) => out.extend(escaped.map(|char| (char, spot))),
        }
    }
    pending.map_or(Ok(out), |(_, at)| Err(at))
}

fn code_unit(rest: &mut impl Iterator<Item = (char, Spot)>) -> Option<u16> {
    let mut unit = 0;
    for _ in 0..4 {
        unit = unit << 4 | rest.next()?.0.to_digit(16)?;
    }
    u16::try_from(unit).ok()
}

/// What the names before `://` stand for in Kafka's listeners.
struct ListenerNames {
    /// Listeners of the controller.
    controllers: Vec<String>,
    /// Protocols by name.
    protocols: BTreeMap<String, String>,
}

impl ListenerNames {
    fn of(properties: &[Property]) -> ListenerNames {
        let last = |key| properties.iter().rev().find(|property| property.key == key);
        let words = |key| {
            let text = last(key).map(Property::text).unwrap_or_default().to_ascii_uppercase();
            text.split(',').map(|word| word.trim().to_owned()).collect::<Vec<String>>()
        };
        let pair = |word: &String| {
            let (name, protocol) = word.split_once(':')?;
            Some((name.trim().to_owned(), protocol.trim().to_owned()))
        };
        ListenerNames {
            controllers: words("controller.listener.names"),
            protocols: words("listener.security.protocol.map").iter().filter_map(pair).collect(),
        }
    }

    /// The setting that a property of a known key is; none when it is an error, or names nothing
    /// but the controller's listeners.
    fn setting(
        &self,
        property: &Property,
        file: &File<'_>,
        errors: &mut Vec<ConfigError>,
    ) -> Option<RawSetting> {
        let (key_place, value_place) =
            (file.place(property.key_spot), file.place(property.value_spot));
        let is_advertised = property.key == "advertised.listeners";
        if property.key != "listeners" && !is_advertised {
            let value = RawValue::Bare(property.text());
            return Some(RawSetting::new(property.key.clone(), value, key_place, value_place));
        }
        let mut listeners = Vec::new();
        for element in property.value.split(|(char, _)| *char == ',') {
            let text: String = element.iter().map(|(char, _)| char).collect();
            let first = element.iter().find(|(char, _)| !char.is_whitespace());
            match self.listener(text.trim(), is_advertised) {
                Some(Listened::At(listener)) => listeners.push(listener),
                Some(Listened::ByController) => {}
                None => {
                    let key = if is_advertised { "advertised.listeners" } else { "listeners" };
                    let found = format!("`{}`", shown(text.trim()));
                    let expected = Expected::KafkaListeners;
                    let place = first.map_or(value_place.clone(), |(_, spot)| file.place(*spot));
                    let problem = Problem::Value { key, expected, found };
                    errors.push(ConfigError { place, problem });
                    return None;
                }
            }
        }
        if listeners.is_empty() {
            return None;
        }
        // Without it neither `odradek status` nor any other of our tools reaches the broker.
        if !is_advertised && !listeners.iter().any(|listener| listener.starts_with("wire://")) {
            listeners.push(OWN_LISTENER.to_owned());
        }
        let (key, value) = (property.key.clone(), RawValue::List(listeners));
        Some(RawSetting::new(key, value, key_place, value_place))
    }

    fn listener(&self, text: &str, is_advertised: bool) -> Option<Listened> {
        let (name, address) = text.split_once("://")?;
        let name = name.to_ascii_uppercase();
        if self.controllers.contains(&name) {
            return Some(Listened::ByController);
        }
        let protocol = self.protocols.get(&name).map_or(&*name, String::as_str);
        let scheme = match protocol {
            "PLAINTEXT" | "KAFKA" => "kafka",
            "WIRE" => "wire",
            _ => return None,
        };
        // No host: Kafka listens on every interface.
        let is_open = address.starts_with(':') && !is_advertised;
        Some(Listened::At(format!("{scheme}://{}{address}", if is_open { "0.0.0.0" } else { "" })))
    }
}

/// What listens at an address.
enum Listened {
    /// The broker, at this address of ours.
    At(String),
    /// Kafka's controller.
    ByController,
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Vec<(String, String, Spot, Spot)> {
        let property = |line: &Line| {
            let property = Property::of(line).expect("legal escapes");
            let value = property.value.iter().map(|(char, _)| char).collect();
            (property.key.clone(), value, property.key_spot, property.value_spot)
        };
        logical_lines(text).iter().map(property).collect()
    }

    fn pairs(text: &str) -> Vec<(String, String)> {
        read(text).into_iter().map(|(key, value, ..)| (key, value)).collect()
    }

    /// The examples of the documentation of `java.util.Properties#load`, and its corners.
    #[test]
    fn lines_read_as_java_reads_them() {
        for text in ["Truth = Beauty", "    Truth:Beauty", "Truth                    :Beauty"] {
            assert_eq!(pairs(text), [("Truth".into(), "Beauty".into())], "{text}");
        }
        let fruits = "fruits                           apple, banana, pear, \\\n   \
                      cantaloupe, watermelon, \\\n   kiwi, mango";
        let value = "apple, banana, pear, cantaloupe, watermelon, kiwi, mango";
        assert_eq!(pairs(fruits), [("fruits".into(), value.into())]);
        assert_eq!(pairs("cheeses"), [("cheeses".into(), String::new())]);
        assert_eq!(pairs("\\:\\= = a"), [(":=".into(), "a".into())]);
        assert_eq!(pairs("a=b\\\\\nc=d"), [("a".into(), "b\\".into()), ("c".into(), "d".into())]);
        assert_eq!(pairs("! no\n  # no\n\n \t\x0c\na b=c"), [("a".into(), "b=c".into())]);
        assert_eq!(pairs("a = \\u00e9\\ud83d\\ude00\\t\\q"), [("a".into(), "é😀\tq".into())]);
        assert_eq!(pairs("a=b\r\nc=d\re=f \\").len(), 3, "every line end, and a last backslash");
        // A comment is not continued, and a line that continues is none, whatever it begins with.
        assert_eq!(pairs("# a \\\nb=c"), [("b".into(), "c".into())]);
        assert_eq!(pairs("b=c\\\n# d"), [("b".into(), "c# d".into())]);
    }

    #[test]
    fn places_are_those_of_the_file() {
        assert_eq!(read("\n  a  =  b")[0], ("a".into(), "b".into(), (2, 3), (2, 9)));
        assert_eq!(read("a=\\\n   b")[0].3, (2, 4), "a value on the next line");
        assert_eq!(read("a=")[0].3, (1, 3));
        for (text, spot) in [
            ("a=\\u12g4", (1, 3)),
            ("a=b\\u12", (1, 4)),
            ("a=\\ud83d.", (1, 3)),
            ("a=\\ude00", (1, 3)),
            ("\\u=1", (1, 1)),
        ] {
            let line = &logical_lines(text)[0];
            assert_eq!(Property::of(line).err(), Some(spot), "{text}");
        }
    }

    #[test]
    fn bytes_that_are_no_utf8_are_latin_1() {
        assert_eq!(decode(b"log.dirs=/caf\xe9".to_vec()), "log.dirs=/café");
        assert_eq!(decode("log.dirs=/café".into()), "log.dirs=/café");
        assert!(is_named("/etc/kafka/server.PROPERTIES") && !is_named("properties"));
    }
}

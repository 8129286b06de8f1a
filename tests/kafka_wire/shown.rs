//! What a codec decoded, read back from its `Debug` text: the only view that two codecs share.
//!
//! Names of types and wrappers of one value (`Some`, newtypes) are dropped, so that structures,
//! lists and bare values remain.

use std::collections::BTreeMap;

use crate::schema::{Field, Value};

/// A value as it was shown.
#[derive(Clone, Debug, PartialEq)]
pub enum Shown {
    Word(String),
    Text(String),
    List(Vec<Shown>),
    Struct(BTreeMap<String, Shown>),
}

/// Parses what `{:?}` prints.
pub fn parse(text: &str) -> Shown {
    let mut parser = Parser { rest: text };
    let shown = parser.value();
    assert!(parser.rest.trim().is_empty(), "left over: {}", parser.rest);
    shown
}

struct Parser<'a> {
    rest: &'a str,
}

impl<'a> Parser<'a> {
    fn eat(&mut self, token: &str) -> bool {
        self.rest = self.rest.trim_start();
        let Some(rest) = self.rest.strip_prefix(token) else { return false };
        self.rest = rest;
        true
    }

    fn word(&mut self) -> &'a str {
        self.rest = self.rest.trim_start();
        let is_part = |c: char| c.is_ascii_alphanumeric() || c == '_' || c == '-';
        let end = self.rest.find(|c| !is_part(c)).unwrap_or(self.rest.len());
        let (word, rest) = self.rest.split_at(end);
        self.rest = rest;
        word
    }

    fn value(&mut self) -> Shown {
        if self.eat("[") {
            return Shown::List(self.until("]", Self::value));
        }
        if self.eat("b\"") {
            return bytes(self.quoted());
        }
        if self.eat("\"") {
            return Shown::Text(self.quoted().to_owned());
        }
        let word = self.word();
        if self.eat("(") {
            let value = self.value();
            assert!(self.eat(")"), "a wrapper of one value: {}", self.rest);
            return value;
        }
        if self.eat("{") {
            let fields = self.until("}", |parser| {
                let name = parser.word().to_owned();
                assert!(parser.eat(":"), "a value for {name}: {}", parser.rest);
                (name, parser.value())
            });
            return Shown::Struct(fields.into_iter().collect());
        }
        if word.len() == 36 && word.matches('-').count() == 4 {
            let hex = word.replace('-', "");
            let byte = |at| u8::from_str_radix(&hex[at..at + 2], 16).expect("hex");
            return list((0..32).step_by(2).map(byte));
        }
        Shown::Word(word.to_owned())
    }

    fn until<T>(&mut self, end: &str, item: impl Fn(&mut Self) -> T) -> Vec<T> {
        let mut items = Vec::new();
        while !self.eat(end) {
            items.push(item(self));
            self.eat(",");
        }
        items
    }

    fn quoted(&mut self) -> &'a str {
        let mut is_escaped = false;
        for (at, c) in self.rest.char_indices() {
            if c == '"' && !is_escaped {
                let (text, rest) = (&self.rest[..at], &self.rest[at + 1..]);
                self.rest = rest;
                return text;
            }
            is_escaped = c == '\\' && !is_escaped;
        }
        panic!("no end of {}", self.rest)
    }
}

fn list(bytes: impl Iterator<Item = u8>) -> Shown {
    Shown::List(bytes.map(|byte| Shown::Word(byte.to_string())).collect())
}

/// The bytes of `b"..."` as the crate `bytes` prints them.
fn bytes(text: &str) -> Shown {
    let mut bytes = Vec::new();
    let mut rest = text.bytes();
    while let Some(byte) = rest.next() {
        bytes.push(match byte {
            b'\\' => match rest.next().expect("an escape") {
                b'n' => b'\n',
                b'r' => b'\r',
                b't' => b'\t',
                b'0' => 0,
                b'x' => {
                    let digits = [rest.next().expect("hex"), rest.next().expect("hex")];
                    let digits = std::str::from_utf8(&digits).expect("ASCII").to_owned();
                    u8::from_str_radix(&digits, 16).expect("hex")
                }
                other => other,
            },
            other => other,
        });
    }
    list(bytes.into_iter())
}

/// Asserts that what was shown is this value, in every field that the version has, and that numbers
/// it lacks have their default when `are_defaults_checked`.
pub fn assert_shows(
    fields: &[Field],
    value: &Value,
    shown: &Shown,
    are_defaults_checked: bool,
    path: &str,
) {
    let (Value::Struct(values), Shown::Struct(shown)) = (value, shown) else {
        panic!("{path}: {value:?} and {shown:?}")
    };
    for field in fields {
        let path = format!("{path}.{}", field.name);
        let shown = shown.get(&field.name);
        match (values.get(&field.name), shown) {
            (Some(value), Some(shown)) => {
                assert_field(field, value, shown, are_defaults_checked, &path);
            }
            (Some(_), None) => panic!("{path} is not shown"),
            (None, shown)
                if are_defaults_checked && field.kind.starts_with("int") && !field.is_array =>
            {
                let default = field.default.unwrap_or(0);
                assert_eq!(shown, Some(&Shown::Word(default.to_string())), "{path}: the default");
            }
            (None, _) => {}
        }
    }
}

fn assert_field(field: &Field, value: &Value, shown: &Shown, defaults: bool, path: &str) {
    let is_same = match (value, shown) {
        (Value::Null, Shown::Word(word)) => word == "None" || word == "Null",
        (Value::Number(number), Shown::Word(word)) if field.kind == "bool" => {
            *word == (*number != 0).to_string()
        }
        (Value::Number(number), Shown::Word(word)) => *word == number.to_string(),
        (Value::Text(text), Shown::Text(shown)) => text == shown,
        (Value::Bytes(bytes), shown) => *shown == list(bytes.iter().copied()),
        (Value::List(values), Shown::List(shown)) => {
            assert_eq!(values.len(), shown.len(), "{path}: elements");
            for (value, shown) in values.iter().zip(shown) {
                assert_field(field, value, shown, defaults, path);
            }
            true
        }
        (Value::Struct(_), shown) => {
            assert_shows(&field.fields, value, shown, defaults, path);
            true
        }
        _ => false,
    };
    assert!(is_same, "{path}: {value:?} is shown as {shown:?}");
}

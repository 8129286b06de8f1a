//! JSON for scripts: written, never read.

use std::fmt;

/// A value to write.
#[derive(Clone, Debug, PartialEq)]
pub enum Json {
    /// `null`.
    Null,
    /// `true` or `false`.
    Boolean(bool),
    /// A whole number.
    Integer(i128),
    /// Text.
    Text(String),
    /// An array.
    List(Vec<Json>),
    /// An object, its members in the order given.
    Object(Vec<(String, Json)>),
}

impl Json {
    /// An object of `members`.
    pub fn object<const N: usize>(members: [(&str, Json); N]) -> Json {
        Json::Object(members.into_iter().map(|(name, value)| (name.to_owned(), value)).collect())
    }

    /// An array of `items`.
    pub fn list(items: impl IntoIterator<Item = Json>) -> Json {
        Json::List(items.into_iter().collect())
    }
}

impl From<bool> for Json {
    fn from(value: bool) -> Json {
        Json::Boolean(value)
    }
}

impl From<&str> for Json {
    fn from(value: &str) -> Json {
        Json::Text(value.to_owned())
    }
}

impl From<String> for Json {
    fn from(value: String) -> Json {
        Json::Text(value)
    }
}

impl From<i32> for Json {
    fn from(value: i32) -> Json {
        Json::Integer(value.into())
    }
}

impl From<u32> for Json {
    fn from(value: u32) -> Json {
        Json::Integer(value.into())
    }
}

impl From<i64> for Json {
    fn from(value: i64) -> Json {
        Json::Integer(value.into())
    }
}

impl From<u64> for Json {
    fn from(value: u64) -> Json {
        Json::Integer(value.into())
    }
}

impl From<usize> for Json {
    fn from(value: usize) -> Json {
        Json::Integer(value as i128)
    }
}

impl<T: Into<Json>> From<Option<T>> for Json {
    fn from(value: Option<T>) -> Json {
        value.map_or(Json::Null, Into::into)
    }
}

impl fmt::Display for Json {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Json::Null => f.write_str("null"),
            Json::Boolean(value) => value.fmt(f),
            Json::Integer(value) => value.fmt(f),
            Json::Text(text) => escaped(text, f),
            Json::List(items) => {
                f.write_str("[")?;
                for (place, item) in items.iter().enumerate() {
                    f.write_str(if place == 0 { "" } else { "," })?;
                    item.fmt(f)?;
                }
                f.write_str("]")
            }
            Json::Object(members) => {
                f.write_str("{")?;
                for (place, (name, value)) in members.iter().enumerate() {
                    f.write_str(if place == 0 { "" } else { "," })?;
                    escaped(name, f)?;
                    write!(f, ":{value}")?;
                }
                f.write_str("}")
            }
        }
    }
}

/// RFC 8259 §7; DEL and the two separators that break JavaScript are escaped too.
fn escaped(text: &str, f: &mut fmt::Formatter<'_>) -> fmt::Result {
    f.write_str("\"")?;
    for char in text.chars() {
        match char {
            '"' => f.write_str("\\\"")?,
            '\\' => f.write_str("\\\\")?,
            '\n' => f.write_str("\\n")?,
            '\r' => f.write_str("\\r")?,
            '\t' => f.write_str("\\t")?,
            '\0'..='\x1f' | '\x7f' | '\u{2028}' | '\u{2029}' => {
                write!(f, "\\u{:04x}", u32::from(char))?;
            }
            _ => write!(f, "{char}")?,
        }
    }
    f.write_str("\"")
}

#[cfg(test)]
mod tests {
    use super::Json;

    #[test]
    fn texts_are_escaped() {
        for (text, json) in [
            ("", r#""""#),
            ("plain é 🦀", r#""plain é 🦀""#),
            ("a\"b\\c/", r#""a\"b\\c/""#),
            ("\n\r\t\0\x1b\x7f", r#""\n\r\t\u0000\u001b\u007f""#),
            ("\u{2028}", r#""\u2028""#),
        ] {
            assert_eq!(Json::from(text).to_string(), json);
        }
    }

    #[test]
    fn values_nest() {
        let value = Json::object([
            ("none", Json::from(None::<i64>)),
            ("flag", Json::from(true)),
            ("least", Json::from(i64::MIN)),
            ("list", Json::list([Json::from(1u64), Json::from("x")])),
            ("empty", Json::list([])),
            ("object", Json::object([])),
        ]);
        let expected = concat!(
            r#"{"none":null,"flag":true,"least":-9223372036854775808,"#,
            r#""list":[1,"x"],"empty":[],"object":{}}"#
        );
        assert_eq!(value.to_string(), expected);
    }
}

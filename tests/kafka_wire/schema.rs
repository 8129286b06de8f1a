//! A second reading of Kafka's message definitions, to judge the codec by: slow, allocating, and
//! interpreted from `schemas.txt` rather than compiled, so that it shares nothing with the codec.

use std::collections::BTreeMap;

/// A field of a message or of a structure in it.
#[derive(Clone, Debug)]
pub struct Field {
    pub name: String,
    pub kind: String,
    pub is_array: bool,
    pub fields: Vec<Field>,
    pub versions: (i16, i16),
    pub nulls: Option<(i16, i16)>,
    pub tag: Option<u32>,
    pub default: Option<i64>,
}

/// A message.
#[derive(Clone, Debug)]
pub struct Schema {
    pub name: String,
    pub api: i16,
    pub versions: (i16, i16),
    pub flexible_from: i16,
    pub fields: Vec<Field>,
}

/// A value of some field; a structure holds only the fields that its version has.
#[derive(Clone, Debug, PartialEq)]
pub enum Value {
    Null,
    Number(i64),
    Text(String),
    Bytes(Vec<u8>),
    List(Vec<Value>),
    Struct(BTreeMap<String, Value>),
}

/// Where numbers that look random come from (splitmix64).
pub struct Seed(pub u64);

impl Seed {
    pub fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    pub fn below(&mut self, end: usize) -> usize {
        (self.next() % end as u64) as usize
    }
}

fn range(text: &str) -> (i16, i16) {
    let number = |text: &str| text.parse().expect("a version");
    match text.split_once('-') {
        Some((from, "")) => (number(from), i16::MAX),
        Some((from, to)) => (number(from), number(to)),
        None => (number(text), number(text)),
    }
}

fn holds((from, to): (i16, i16), version: i16) -> bool {
    from <= version && version <= to
}

/// Reads `schemas.txt`.
pub fn schemas() -> Vec<Schema> {
    let text = include_str!("schemas.txt");
    let lines: Vec<&str> = text.lines().filter(|line| !line.starts_with('#')).collect();
    let mut rest = &lines[..];
    let mut schemas = Vec::new();
    while let [head, below @ ..] = rest {
        let words: Vec<&str> = head.split(' ').collect();
        rest = below;
        schemas.push(Schema {
            name: words[0].to_owned(),
            api: words[1].parse().expect("an api key"),
            versions: range(words[2]),
            flexible_from: words[4].parse().unwrap_or(i16::MAX),
            fields: fields(&mut rest, 2),
        });
    }
    schemas
}

fn fields(rest: &mut &[&str], indent: usize) -> Vec<Field> {
    let mut found = Vec::new();
    while let [line, below @ ..] = *rest {
        if line.len() - line.trim_start().len() != indent {
            break;
        }
        *rest = below;
        let words: Vec<&str> = line.trim().split(", ").collect();
        let option =
            |name: &str| words.iter().find_map(|word| word.strip_prefix(name)).map(str::trim_start);
        found.push(Field {
            name: words[0].to_owned(),
            kind: words[1].trim_start_matches("[]").to_owned(),
            is_array: words[1].starts_with("[]"),
            versions: range(words[2]),
            nulls: option("null ").map(range),
            tag: option("tag ").map(|tag| tag.parse().expect("a tag")),
            default: option("default ").map(|text| text.parse().unwrap_or(1)),
            fields: fields(rest, indent + 2),
        });
    }
    found
}

/// How values are chosen.
pub enum Fill<'a> {
    /// By the name of the field alone, as the program that wrote `vectors.txt` does.
    Plain,
    /// By a seed, everything that is legal.
    Random(&'a mut Seed),
}

/// A structure with a value for every field that exists in the version.
pub fn fill(fields: &[Field], version: i16, how: &mut Fill<'_>) -> Value {
    let exist = fields.iter().filter(|field| holds(field.versions, version));
    Value::Struct(
        exist.map(|field| (field.name.clone(), fill_field(field, version, how))).collect(),
    )
}

fn fill_field(field: &Field, version: i16, how: &mut Fill<'_>) -> Value {
    let is_nullable = field.nulls.is_some_and(|nulls| holds(nulls, version));
    let count = match how {
        Fill::Plain => 1,
        Fill::Random(seed) => {
            if is_nullable && seed.below(4) == 0 {
                return Value::Null;
            }
            // Now and then more than a varint of one byte can count.
            if seed.below(200) == 0 && field.kind != "struct" { 150 } else { seed.below(4) }
        }
    };
    if field.is_array {
        return Value::List((0..count).map(|_| element(field, version, how)).collect());
    }
    element(field, version, how)
}

fn element(field: &Field, version: i16, how: &mut Fill<'_>) -> Value {
    if field.kind == "struct" {
        return fill(&field.fields, version, how);
    }
    match how {
        Fill::Plain => plain(field),
        Fill::Random(seed) => random(field, seed),
    }
}

/// A number from the field's name, so that two fields hardly have the same.
fn plain(field: &Field) -> Value {
    let number = field.name.bytes().map(i64::from).sum::<i64>() % 97 + 1;
    match &*field.kind {
        "string" => Value::Text(format!("s{number}")),
        "bytes" | "records" => Value::Bytes(vec![number as u8]),
        "uuid" => Value::Bytes(vec![number as u8; 16]),
        "bool" => Value::Number(1),
        _ => Value::Number(number),
    }
}

fn random(field: &Field, seed: &mut Seed) -> Value {
    let long = if seed.below(50) == 0 { 300 } else { 0 };
    let length = seed.below(12) + long;
    let number = match seed.below(8) {
        0 => 0,
        1 => i64::MAX,
        2 => i64::MIN,
        3 => field.default.unwrap_or(-1),
        _ => seed.next() as i64,
    };
    match &*field.kind {
        "string" => {
            let letters = ['a', 'b', 'z', '0', '-', '.', 'é', '語'];
            Value::Text((0..length).map(|_| letters[seed.below(letters.len())]).collect())
        }
        "bytes" | "records" => Value::Bytes((0..length).map(|_| seed.next() as u8).collect()),
        "uuid" => Value::Bytes((0..16).map(|_| seed.next() as u8).collect()),
        "bool" => Value::Number(number & 1),
        "int8" => Value::Number(i64::from(number as i8)),
        "int16" => Value::Number(i64::from(number as i16)),
        "int32" => Value::Number(i64::from(number as i32)),
        "int64" => Value::Number(number),
        kind => panic!("no such type: {kind}"),
    }
}

/// The bytes of a structure.
pub fn encode(fields: &[Field], value: &Value, version: i16, is_flexible: bool) -> Vec<u8> {
    let Value::Struct(values) = value else { panic!("{value:?} is no structure") };
    let mut out = Vec::new();
    let mut tagged = BTreeMap::new();
    for field in fields {
        let Some(value) = values.get(&field.name) else { continue };
        let mut bytes = Vec::new();
        encode_field(field, value, version, is_flexible, &mut bytes);
        match field.tag {
            None => out.extend(bytes),
            Some(tag) if !is_default(field, value) => {
                tagged.insert(tag, bytes);
            }
            Some(_) => {}
        }
    }
    if is_flexible {
        varint(tagged.len(), &mut out);
        for (tag, bytes) in tagged {
            varint(tag as usize, &mut out);
            varint(bytes.len(), &mut out);
            out.extend(bytes);
        }
    }
    out
}

/// Is this what a reader assumes where a tagged field is not written?
pub fn is_default(field: &Field, value: &Value) -> bool {
    match value {
        Value::Null => true,
        Value::Number(number) => *number == field.default.unwrap_or(0),
        Value::Text(text) => text.is_empty() && field.nulls.is_none(),
        Value::Bytes(bytes) => bytes.iter().all(|&byte| byte == 0),
        Value::List(list) => list.is_empty(),
        Value::Struct(values) => field
            .fields
            .iter()
            .all(|field| values.get(&field.name).is_none_or(|value| is_default(field, value))),
    }
}

fn varint(mut value: usize, out: &mut Vec<u8>) {
    while 0x7f < value {
        out.push(value as u8 | 0x80);
        value >>= 7;
    }
    out.push(value as u8);
}

fn length(length: Option<usize>, is_short: bool, is_flexible: bool, out: &mut Vec<u8>) {
    match (is_flexible, is_short) {
        (true, _) => varint(length.map_or(0, |length| length + 1), out),
        (false, true) => out.extend(length.map_or(-1, |length| length as i16).to_be_bytes()),
        (false, false) => out.extend(length.map_or(-1, |length| length as i32).to_be_bytes()),
    }
}

fn encode_field(field: &Field, value: &Value, version: i16, is_flexible: bool, out: &mut Vec<u8>) {
    let is_text = field.kind == "string" && !field.is_array;
    match value {
        Value::Null if field.kind == "struct" && !field.is_array => out.push(0xff),
        Value::Null => length(None, is_text, is_flexible, out),
        Value::Number(number) => {
            let bytes = match &*field.kind {
                "bool" | "int8" => 1,
                "int16" => 2,
                "int32" => 4,
                _ => 8,
            };
            out.extend(&number.to_be_bytes()[8 - bytes..]);
        }
        Value::Text(text) => {
            length(Some(text.len()), true, is_flexible, out);
            out.extend(text.as_bytes());
        }
        Value::Bytes(bytes) => {
            if field.kind != "uuid" {
                length(Some(bytes.len()), false, is_flexible, out);
            }
            out.extend(bytes);
        }
        Value::List(list) => {
            length(Some(list.len()), false, is_flexible, out);
            let element = Field { is_array: false, nulls: None, ..field.clone() };
            for value in list {
                encode_field(&element, value, version, is_flexible, out);
            }
        }
        Value::Struct(_) => {
            if field.nulls.is_some_and(|nulls| holds(nulls, version)) {
                out.push(1);
            }
            out.extend(encode(&field.fields, value, version, is_flexible));
        }
    }
}

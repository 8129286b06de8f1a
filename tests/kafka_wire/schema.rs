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
        "uint16" => Value::Number(i64::from(number as u16)),
        "int32" => Value::Number(i64::from(number as i32)),
        "int64" => Value::Number(number),
        kind => panic!("no such type: {kind}"),
    }
}

/// One number, length or count of a message that is not what it should be. They are numbered as they
/// are written.
#[derive(Debug, Default)]
pub struct Lie {
    /// Which of them,
    pub at: usize,
    /// and which of the limits stands in its place.
    pub limit: usize,
    /// Whether there is such a place and such a limit.
    pub is_told: bool,
    /// Nothing is wrong.
    pub is_honest: bool,
    /// How many places there were so far.
    pub seen: usize,
}

impl Lie {
    fn put(&mut self, limits: &[&[u8]], honest: &[u8], out: &mut Vec<u8>) {
        let limit = limits.get(self.limit).filter(|_| !self.is_honest && self.seen == self.at);
        self.is_told |= limit.is_some();
        self.seen += 1;
        out.extend(limit.copied().unwrap_or(honest));
    }
}

/// Smallest, largest, null and less than null, in every width.
const NUMBERS: [&[&[u8]]; 4] = [
    &[&[0x7f], &[0x80], &[0xff], &[0xfe], &[0]],
    &[&[0x7f, 0xff], &[0x80, 0], &[0xff, 0xff], &[0xff, 0xfe], &[0; 2]],
    &[
        &[0x7f, 0xff, 0xff, 0xff],
        &[0x80, 0, 0, 0],
        &[0xff, 0xff, 0xff, 0xff],
        &[0xff, 0xff, 0xff, 0xfe],
        &[0; 4],
        // 20 million.
        &[0x01, 0x31, 0x2d, 0],
    ],
    &[
        &[0x7f, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff],
        &[0x80, 0, 0, 0, 0, 0, 0, 0],
        &[0xff; 8],
        &[0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xfe],
        &[0; 8],
    ],
];

/// The same as lengths of flexible versions, and varints that are too long.
const VARINTS: &[&[u8]] = &[
    &[0x80, 0x80, 0x80, 0x80, 0x08],
    &[0xff, 0xff, 0xff, 0xff, 0x07],
    &[0xff, 0xff, 0xff, 0xff, 0x0f],
    &[0x80, 0xda, 0xc4, 0x09],
    &[0x80, 0x80, 0x80, 0x80, 0x80, 0],
    &[0xff; 10],
    &[0],
];

/// The bytes of a structure.
pub fn encode(fields: &[Field], value: &Value, version: i16, is_flexible: bool) -> Vec<u8> {
    let mut honest = Lie { is_honest: true, ..Lie::default() };
    encode_with(fields, value, version, is_flexible, &mut honest)
}

/// The same, with a lie in it.
pub fn encode_with(
    fields: &[Field],
    value: &Value,
    version: i16,
    is_flexible: bool,
    lie: &mut Lie,
) -> Vec<u8> {
    let Value::Struct(values) = value else { panic!("{value:?} is no structure") };
    let mut out = Vec::new();
    let mut tagged = BTreeMap::new();
    for field in fields {
        let Some(value) = values.get(&field.name) else { continue };
        let mut bytes = Vec::new();
        encode_field(field, value, (version, is_flexible), lie, &mut bytes);
        match field.tag {
            None => out.extend(bytes),
            Some(tag) if !is_default(field, value) => {
                tagged.insert(tag, bytes);
            }
            Some(_) => {}
        }
    }
    if is_flexible {
        lying_varint(tagged.len(), lie, &mut out);
        for (tag, bytes) in tagged {
            lying_varint(tag as usize, lie, &mut out);
            lying_varint(bytes.len(), lie, &mut out);
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

fn lying_varint(value: usize, lie: &mut Lie, out: &mut Vec<u8>) {
    let mut honest = Vec::new();
    varint(value, &mut honest);
    lie.put(VARINTS, &honest, out);
}

fn length(
    length: Option<usize>,
    is_short: bool,
    is_flexible: bool,
    lie: &mut Lie,
    out: &mut Vec<u8>,
) {
    let or_null = |length: Option<usize>| length.map_or(-1, |length| length as i32);
    match (is_flexible, is_short) {
        (true, _) => lying_varint(length.map_or(0, |length| length + 1), lie, out),
        (false, true) => lie.put(NUMBERS[1], &(or_null(length) as i16).to_be_bytes(), out),
        (false, false) => lie.put(NUMBERS[2], &or_null(length).to_be_bytes(), out),
    }
}

fn encode_field(
    field: &Field,
    value: &Value,
    (version, is_flexible): (i16, bool),
    lie: &mut Lie,
    out: &mut Vec<u8>,
) {
    let is_text = field.kind == "string" && !field.is_array;
    match value {
        Value::Null if field.kind == "struct" && !field.is_array => out.push(0xff),
        Value::Null => length(None, is_text, is_flexible, lie, out),
        Value::Number(number) => {
            let width: usize = match &*field.kind {
                "bool" | "int8" => 0,
                "int16" | "uint16" => 1,
                "int32" => 2,
                _ => 3,
            };
            lie.put(NUMBERS[width], &number.to_be_bytes()[8 - (1 << width)..], out);
        }
        Value::Text(text) => {
            length(Some(text.len()), true, is_flexible, lie, out);
            out.extend(text.as_bytes());
        }
        Value::Bytes(bytes) => {
            if field.kind != "uuid" {
                length(Some(bytes.len()), false, is_flexible, lie, out);
            }
            out.extend(bytes);
        }
        Value::List(list) => {
            length(Some(list.len()), false, is_flexible, lie, out);
            let element = Field { is_array: false, nulls: None, ..field.clone() };
            for value in list {
                encode_field(&element, value, (version, is_flexible), lie, out);
            }
        }
        Value::Struct(_) => {
            if field.nulls.is_some_and(|nulls| holds(nulls, version)) {
                out.push(1);
            }
            out.extend(encode_with(&field.fields, value, version, is_flexible, lie));
        }
    }
}

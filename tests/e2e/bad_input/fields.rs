//! Requests that are sound but for one number, length or count.

use odradek::wire::kafka::ApiKey;

use super::{Client, Fate, frame, start, with_groups};
use crate::broker::Folder;
use crate::e2e::hostile::{accounts, is_unharmed};
use crate::kafka_schema::{Fill, Lie, encode_with, fill, schemas};

/// APIs that the door does not serve yet, if any, are refused as a whole.
#[test]
fn every_field_at_its_limits() {
    let folder = Folder::new();
    let broker = start(&folder);
    with_groups(&broker);
    let before = accounts(&broker);
    let mut client = Client::to(&broker);
    let (mut answered, mut closed) = (0, 0);
    for schema in schemas().iter().filter(|schema| schema.name.ends_with("Request")) {
        let api = ApiKey::from_number(schema.api).expect("described");
        for version in schema.versions.0..=schema.versions.1 {
            let value = fill(&schema.fields, version, &mut Fill::Plain);
            let mut lie = Lie::default();
            loop {
                let is_flexible = schema.flexible_from <= version;
                let body = encode_with(&schema.fields, &value, version, is_flexible, &mut lie);
                let (at, limit) = (lie.at, lie.limit);
                if !lie.is_told && limit == 0 {
                    break;
                }
                let is_told = lie.is_told;
                let (at, limit) = if is_told { (at, limit + 1) } else { (at + 1, 0) };
                lie = Lie { at, limit, ..Lie::default() };
                if !is_told {
                    continue;
                }
                // Once an answer at the most: `acks` of 0 asks for none.
                match client.fate_of(&frame(api, version, b"a test", &body)) {
                    Fate::Answered(answers) => {
                        assert!(answers <= 1, "{} {version}: {at}, {limit}", schema.name);
                        answered += 1;
                    }
                    Fate::Closed => {
                        closed += 1;
                        client = Client::to(&broker);
                    }
                }
            }
        }
    }
    assert!(1000 < answered && 1000 < closed, "{answered} answered, {closed} closed");
    drop(client);
    is_unharmed(&broker, &before);
    assert!(!broker.words().contains("panicked"), "{}", broker.words());
}

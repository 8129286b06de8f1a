//! What we say we serve, beside what Apache Kafka says: `kafka-broker-api-versions` against both.

use std::collections::BTreeMap;
use std::ops::RangeInclusive;

use crate::broker::{Folder, Setup};
use crate::interop::clients::{door, run, tool};
use crate::interop::dump::jars;
use crate::interop::moving_in::{Kafka, server_jars};
use crate::peers;

/// APIs whose versions here are not all of Kafka's, which ones they are, and why. The list may only
/// shrink: an entry that is no longer needed fails the test.
const SHORTER: &[(&str, RangeInclusive<i16>, &str)] = &[];

/// `Produce(0): 0 to 13 [usable: 13]`, or `OffsetDelete(47): 0 [usable: 0]`, a line each.
fn ranges(printed: &str) -> BTreeMap<String, RangeInclusive<i16>> {
    let parse = |line: &str| {
        let (name, rest) = line.trim().split_once("): ")?;
        let (versions, _) = rest.split_once(" [usable: ")?;
        let (first, last) = versions.split_once(" to ").unwrap_or((versions, versions));
        let (name, _) = name.split_once('(')?;
        Some((name.to_owned(), first.parse().ok()?..=last.parse().ok()?))
    };
    let ranges: BTreeMap<_, _> = printed.lines().filter_map(parse).collect();
    assert_eq!(ranges.len(), printed.matches("[usable: ").count(), "each line is read: {printed}");
    ranges
}

#[test]
fn the_versions_served_are_kafkas() {
    let Some(tools) = jars() else { return };
    let Some(server) = server_jars() else { return };
    if !peers::has_program("kcat", "-V") {
        return peers::missing("kcat", "apt-get install kcat");
    }
    let folder = Folder::new();
    let setup = Setup::new(&folder.join("data"));
    let broker = setup.set("listeners", "wire://127.0.0.1:0,kafka://127.0.0.1:0").start();
    let class = "BrokerApiVersionsCommand";
    let printed = run(&mut tool(&tools, class, &broker, &[]), "");
    let ours = ranges(&printed);
    assert!(ours.contains_key("Produce"), "at {}: {printed}", door(&broker));

    let kafka = Kafka::start(&tools, &server);
    let words = ["--bootstrap-server", &kafka.door()];
    let printed = kafka.tool(&format!("org.apache.kafka.tools.{class}"), &words);
    let theirs = ranges(&printed);
    assert!(ours.len() <= theirs.len(), "{printed}");

    let differ = |(name, range): &(&String, &RangeInclusive<i16>)| theirs.get(*name) != Some(range);
    let differing: BTreeMap<_, _> =
        ours.iter().filter(differ).map(|(name, range)| (&**name, range.clone())).collect();
    let known: BTreeMap<_, _> =
        SHORTER.iter().map(|(name, range, _)| (*name, range.clone())).collect();
    assert_eq!(differing, known, "ours where they differ, and those with a reason; {printed}");
    for (name, range, why) in SHORTER {
        let all = &theirs[*name];
        assert!(all.contains(range.start()) && all.contains(range.end()), "{name}: {why}");
    }
}

//! Apache Kafka's command line, the part for those who run a broker: configuration, log dirs,
//! offsets, deletion, and its two measuring programs.

use std::fs;
use std::path::Path;

use crate::broker::{Broker, Folder, Setup};
use crate::interop::clients::{door, java, run, tool};
use crate::interop::dump::jars;
use crate::interop::moving_in::server_jars;

fn start(data: &Path) -> Broker {
    Setup::new(data)
        .set("listeners", "wire://127.0.0.1:0,kafka://127.0.0.1:0")
        .set("group.initial.rebalance.delay.ms", "0")
        .start()
}

fn numbers(count: usize) -> Vec<String> {
    (0..count).map(|number| number.to_string()).collect()
}

/// The settings in what `kafka-configs` prints, without their synonyms.
fn settings(printed: &str) -> Vec<&str> {
    let lines = printed.lines().filter_map(|line| line.strip_prefix("  "));
    lines.filter_map(|line| line.split(' ').next()).collect()
}

#[test]
fn kafka_configs_describes_alters_and_deletes() {
    let Some(tools) = jars() else { return };
    let Some(server) = server_jars() else { return };
    let folder = Folder::new();
    let broker = start(&folder.join("data"));
    broker.text(&["topic", "create", "plant"]);
    let class_path = format!("{}/*:{}/*", server.display(), tools.display());
    let configs = |words: &[&str]| {
        let mut command = java(&class_path, "kafka.admin.ConfigCommand");
        run(command.args(["--bootstrap-server", door(&broker)]).args(words), "")
    };
    let topic = ["--topic", "plant"];
    let change = "retention.ms=86400000,cleanup.policy=[compact,delete]";
    let altered = configs(&[&topic[..], &["--alter", "--add-config", change]].concat());
    assert!(altered.contains("Completed updating config for topic plant."), "{altered}");
    let described = configs(&[&topic[..], &["--describe"]].concat());
    let wanted = ["cleanup.policy=compact,delete", "retention.ms=86400000"];
    assert_eq!(settings(&described), wanted, "{described}");

    configs(&[&topic[..], &["--alter", "--delete-config", "cleanup.policy"]].concat());
    let described = configs(&[&topic[..], &["--describe", "--all"]].concat());
    let found = settings(&described);
    assert!(found.contains(&"cleanup.policy=delete"), "the default again: {described}");
    assert!(found.contains(&"retention.ms=86400000"), "{described}");
    assert!(found.contains(&"max.message.bytes=1048588"), "{described}");
    let own = "{DYNAMIC_TOPIC_CONFIG:retention.ms=86400000}";
    assert!(described.contains(&format!("synonyms={own}")), "where it is from: {described}");

    let described = configs(&["--broker", "1", "--describe", "--all"]);
    let found = settings(&described);
    assert!(found.contains(&"broker.id=1") && found.contains(&"log.retention.hours=168"));
    let place = format!("log.dirs={}", folder.join("data").display());
    assert!(found.contains(&&*place), "{described}");

    configs(&["--broker", "1", "--alter", "--add-config", "num.partitions=3"]);
    let described = configs(&["--broker", "1", "--describe"]);
    assert_eq!(settings(&described), ["num.partitions=3"], "what is set at run time: {described}");
    assert!(described.contains("DYNAMIC_BROKER_CONFIG:num.partitions=3"), "{described}");
    broker.text(&["topic", "create", "wide"]);
    assert!(broker.text(&["topic", "describe", "wide"]).contains("partitions 3"));

    let session = "consumer.session.timeout.ms=50000";
    configs(&["--group", "readers", "--alter", "--add-config", session]);
    let described = configs(&["--group", "readers", "--describe"]);
    assert_eq!(settings(&described), [session], "what is set on the group: {described}");
}

#[test]
fn kafka_log_dirs_get_offsets_and_delete_records() {
    let Some(tools) = jars() else { return };
    let folder = Folder::new();
    let data = folder.join("data");
    let broker = start(&data);
    let kafka = |class: &str, words: &[&str]| run(&mut tool(&tools, class, &broker, words), "");
    broker.text(&["topic", "create", "plant", "--partitions", "2"]);
    broker.produce(&["plant", "--partition", "0"], &numbers(100));
    broker.produce(&["plant", "--partition", "1"], &numbers(40));

    let printed = kafka("LogDirsCommand", &["--describe", "--topic-list", "plant"]);
    for partition in ["plant-0", "plant-1"] {
        let segment = data.join(partition).join("00000000000000000000.log");
        let size = fs::metadata(segment).expect("it is there").len();
        let wanted = format!("\"partition\":\"{partition}\",\"size\":{size},\"offsetLag\":0");
        assert!(printed.contains(&wanted), "{wanted}: {printed}");
    }
    assert!(printed.contains(&format!("\"logDir\":\"{}\"", data.display())), "{printed}");

    let delete = "{\"partitions\":[{\"topic\":\"plant\",\"partition\":0,\"offset\":20},\
                  {\"topic\":\"plant\",\"partition\":1,\"offset\":-1}],\"version\":1}";
    let file = folder.join("delete.json");
    fs::write(&file, delete).expect("written");
    let words = ["--offset-json-file", file.to_str().expect("UTF-8")];
    let printed = kafka("DeleteRecordsCommand", &words);
    assert!(printed.contains("plant-0\tlow_watermark: 20"), "{printed}");
    assert!(printed.contains("plant-1\tlow_watermark: 40"), "{printed}");
    let offsets = |time: &str| {
        let words = ["--topic-partitions", "plant:0-2", "--time", time];
        kafka("GetOffsetShell", &words).lines().map(str::to_owned).collect::<Vec<String>>()
    };
    assert_eq!(offsets("earliest"), ["plant:0:20", "plant:1:40"]);
    assert_eq!(offsets("latest"), ["plant:0:100", "plant:1:40"]);
    assert_eq!(broker.consume(&["plant"]), numbers(100)[20..], "what is left");
}

#[test]
fn kafkas_measuring_programs_and_its_resets_of_a_group() {
    let Some(tools) = jars() else { return };
    let folder = Folder::new();
    let broker = start(&folder.join("data"));
    let kafka = |class: &str, words: &[&str]| run(&mut tool(&tools, class, &broker, words), "");
    broker.text(&["topic", "create", "perf"]);
    let records = ["--topic", "perf", "--num-records", "20000"];
    let how = ["--record-size", "200", "--throughput", "-1"];
    let property = ["--command-property", "compression.type=lz4"];
    let printed = kafka("ProducerPerformance", &[&records[..], &how, &property].concat());
    assert!(printed.contains("20000 records sent"), "{printed}");
    let read = broker.consume(&["perf"]);
    assert_eq!(read.len(), 20000);
    assert!(read.iter().all(|line| line.len() == 200), "of the size that was asked for");

    let words = ["--hide-header", "--timeout", "20000", "--group", "measurers"];
    let printed = kafka("ConsumerPerformance", &[&records[..], &words].concat());
    let cells: Vec<&str> = printed.trim().split(", ").collect();
    assert_eq!(cells.get(4), Some(&"20000"), "records: {printed}");
    assert!(committed(&broker) == 20000, "it commits when it ends");

    // Kafka's groups tool again: the ways to say where to that groups.rs does not try.
    let reset = |to: &[&str]| {
        let words = ["--reset-offsets", "--group", "measurers", "--topic", "perf", "--execute"];
        kafka("consumer.group.ConsumerGroupCommand", &[&words[..], to].concat());
        committed(&broker)
    };
    assert_eq!(reset(&["--to-offset", "77"]), 77);
    assert_eq!(reset(&["--to-datetime", "2020-01-01T00:00:00.000"]), 0);
    assert_eq!(reset(&["--to-latest"]), 20000);
}

/// Where the group is, by our own command.
fn committed(broker: &Broker) -> u64 {
    let described = broker.text(&["group", "describe", "measurers"]);
    let row = described.lines().find(|line| line.starts_with("perf "));
    let cell = row.and_then(|row| row.split_whitespace().nth(2)?.parse().ok());
    cell.unwrap_or_else(|| panic!("no committed offset: {described}"))
}

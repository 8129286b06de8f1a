//! Kafka's clients and command line of the major version before: what people have installed.

use crate::broker::{Broker, Folder, Setup};
use crate::interop::clients::{door, java, run};
use crate::interop::dump::fetched;

/// The tools of Kafka 3, before one broker.
struct Kafka3<'a> {
    class_path: String,
    broker: &'a Broker,
}

impl Kafka3<'_> {
    /// What a tool prints.
    fn tool(&self, class: &str, words: &[&str], input: &str) -> String {
        let mut command = java(&self.class_path, class);
        run(command.args(["--bootstrap-server", door(self.broker)]).args(words), input)
    }

    fn write_and_read_at_the_console(&self) {
        let create = ["--create", "--topic", "console", "--partitions", "2"];
        let config = ["--config", "retention.ms=86400000"];
        self.tool("org.apache.kafka.tools.TopicCommand", &[&create[..], &config].concat(), "");
        let described = self.broker.text(&["topic", "describe", "console"]);
        assert!(described.contains("partitions 2") && described.contains("86400000"));

        let lines: Vec<String> = (0..500).map(|n| format!("key{}\tline {n}", n % 7)).collect();
        let produce = ["--topic", "console", "--property", "parse.key=true"];
        let produce = [&produce[..], &["--compression-codec", "zstd"]].concat();
        self.tool("kafka.tools.ConsoleProducer", &produce, &(lines.join("\n") + "\n"));
        let mut stored = self.broker.consume(&["console", "--format", "key"]);
        // Each key went to one partition, so its records are in order; the keys are mixed.
        let by_key = |line: &String| line.split('\t').next().map(str::to_owned);
        stored.sort_by_key(by_key);
        let mut wanted = lines;
        wanted.sort_by_key(by_key);
        assert_eq!(stored, wanted);

        let consume = ["--topic", "console", "--group", "readers", "--from-beginning"];
        let shown = ["--property", "print.key=true", "--max-messages", "500"];
        let class = "org.apache.kafka.tools.consumer.ConsoleConsumer";
        let text = self.tool(class, &[&consume[..], &shown].concat(), "");
        let mut read: Vec<String> = text.lines().map(str::to_owned).collect();
        read.sort_by_key(by_key);
        assert_eq!(read, wanted);
    }

    fn verify(&self) {
        let class = "org.apache.kafka.tools.VerifiableProducer";
        let words = ["--topic", "verified", "--max-messages", "1000", "--acks", "-1"];
        let printed = self.tool(class, &words, "");
        let acks = printed.lines().filter(|line| line.contains("\"producer_send_success\""));
        assert_eq!(acks.count(), 1000, "each is acknowledged");
        let wanted: Vec<String> = (0..1000).map(|number| number.to_string()).collect();
        assert_eq!(self.broker.consume(&["verified"]), wanted, "each once, in order");

        let class = "org.apache.kafka.tools.VerifiableConsumer";
        let words = ["--topic", "verified", "--group-id", "verifiers", "--max-messages", "1000"];
        let words = [&words[..], &["--reset-policy", "earliest"]].concat();
        let printed = self.tool(class, &words, "");
        let committed = "\"partition\":0,\"offset\":1000}],\"success\":true";
        assert!(printed.contains(committed), "it says that it committed: {printed}");
    }

    fn describe_groups(&self) {
        let class = "org.apache.kafka.tools.consumer.group.ConsumerGroupCommand";
        // By itself it waits five seconds for an answer, most of which a busy machine takes to begin.
        let words = ["--describe", "--all-groups", "--timeout", "50000"];
        let printed = self.tool(class, &words, "");
        let rows = printed.lines().map(|line| line.split_whitespace().collect::<Vec<&str>>());
        let rows: Vec<Vec<&str>> = rows.filter(|row| 5 < row.len() && row[5] == "0").collect();
        let of = |group: &str| {
            let rows = rows.iter().filter(|row| row[0] == group);
            rows.map(|row| row[3].parse::<u64>().expect("an offset")).sum::<u64>()
        };
        assert_eq!((of("readers"), of("verifiers")), (500, 1000), "no lag: {printed}");
    }

    fn measure(&self) {
        let class = "org.apache.kafka.tools.ProducerPerformance";
        let mut command = java(&self.class_path, class);
        command.args(["--topic", "perf", "--num-records", "20000", "--record-size", "100"]);
        command.args(["--throughput", "-1", "--producer-props"]);
        command.arg(format!("bootstrap.servers={}", door(self.broker)));
        let printed = run(command.args(["acks=all", "compression.type=snappy"]), "");
        assert!(printed.contains("20000 records sent"), "{printed}");
        assert_eq!(self.broker.consume(&["perf"]).len(), 20000);
        let class = "org.apache.kafka.tools.ConsumerPerformance";
        let words = ["--topic", "perf", "--messages", "20000", "--hide-header"];
        let printed = self.tool(class, &[&words[..], &["--timeout", "20000"]].concat(), "");
        let cells: Vec<&str> = printed.trim().split(", ").collect();
        assert_eq!(cells.get(4), Some(&"20000"), "records: {printed}");
    }
}

#[test]
fn kafka_3_writes_reads_verifies_describes_and_measures() {
    let list = include_str!("kafka-3.xml");
    let Some(jars) = fetched("kafka", list, "tests/interop/fetch-3") else { return };
    let folder = Folder::new();
    let broker = Setup::new(&folder.join("data"))
        .set("listeners", "wire://127.0.0.1:0,kafka://127.0.0.1:0")
        .set("group.initial.rebalance.delay.ms", "0")
        .start();
    let kafka_3 = Kafka3 { class_path: format!("{}/*", jars.display()), broker: &broker };
    kafka_3.write_and_read_at_the_console();
    kafka_3.verify();
    kafka_3.describe_groups();
    kafka_3.measure();
}

//! `odradek status`: how a broker is doing, on one screen.
//!
//! Two samples, a moment apart, make the rates; the broker's own clock measures what lies between.

use std::fmt::Write as _;
use std::thread;
use std::time::Duration;

use argh::FromArgs;
use odradek::client::{Admin, ClientError, ClusterInfo, MetricValue};

use super::json::Json;
use super::{CliError, connect, out};

/// What is counted per second, with its total: the line's name, the metric, whether it is bytes.
const RATES: [(&str, &str, bool); 5] = [
    ("records in", "produce_records_count", false),
    ("bytes in", "append_bytes", true),
    ("records out", "fetch_records_count", false),
    ("bytes out", "fetch_bytes", true),
    ("requests", "requests_count", false),
];

/// What takes time: the line's name, and what its metrics begin with.
const LATENCIES: [(&str, &str); 2] =
    [("produce, to the answer", "produce_latency_us"), ("flush, to the disk", "flush_us")];

/// Who holds memory that `memory.limit` bounds.
const MEMORY: [(&str, &str); 5] = [
    ("requests", "memory_frames_bytes_now"),
    ("to be flushed", "memory_flusher_bytes_now"),
    ("kept for requests", "memory_buffers_bytes_now"),
    ("answers", "memory_responses_bytes_now"),
    ("decompression", "memory_windows_bytes_now"),
];

/// show how a broker is doing: rates, latencies, memory, disk
#[derive(FromArgs)]
#[argh(
    subcommand,
    name = "status",
    example = "{command_name}\n  one screen for a person",
    example = "{command_name} --json --interval-ms 0\n  every number, at once, for a script",
    note = "In --json, metrics whose names end in _now are present values, of latencies those of the last one to two minutes; all others count from the broker's start."
)]
pub struct Status {
    /// the broker, as HOST:PORT (default: ODRADEK_SERVER, or 127.0.0.1:7092)
    #[argh(option, arg_name = "host:port", default = "connect::default_server()")]
    server: String,

    /// how long to watch for the rates, in ms; 0 shows none (default: 1000)
    #[argh(option, arg_name = "ms", default = "1000")]
    interval_ms: u64,

    /// one JSON object: cluster_id, controller, brokers, interval_ms, per_second, metrics
    #[argh(switch)]
    json: bool,
}

impl Status {
    /// Asks and prints.
    pub fn run(self) -> Result<(), CliError> {
        let admin = connect::admin(&self.server)?;
        let failed = |why| connect::failed(&self.server, why);
        let cluster = admin.describe_cluster().map_err(failed)?;
        let seen = Seen::watch(&admin, Duration::from_millis(self.interval_ms)).map_err(failed)?;
        let mut out = out::stdout();
        if self.json {
            out.line(format_args!("{}", as_json(&cluster, &seen)))?;
            return out.flush();
        }
        let up = duration(seen.value("uptime_us_now") / 1_000_000);
        out.line(format_args!(
            "cluster {}  controller {}",
            cluster.cluster_id, cluster.controller
        ))?;
        for broker in &cluster.brokers {
            out.line(format_args!("broker {}  wire {}  up {up}", broker.node_id, broker.address))?;
        }
        out.line(format_args!(""))?;
        out.table(&rates(&seen))?;
        out.line(format_args!(""))?;
        out.table(&latencies(&seen))?;
        out.line(format_args!(""))?;
        out.table(&holdings(&seen))?;
        for trouble in troubles(&seen) {
            out.line(format_args!("{trouble}"))?;
        }
        out.flush()
    }
}

/// What the broker said, twice.
struct Seen {
    before: Vec<MetricValue>,
    after: Vec<MetricValue>,
}

impl Seen {
    fn watch(admin: &Admin, interval: Duration) -> Result<Seen, ClientError> {
        let before = admin.describe_metrics()?;
        if interval.is_zero() {
            return Ok(Seen { after: before.clone(), before });
        }
        thread::sleep(interval);
        Ok(Seen { before, after: admin.describe_metrics()? })
    }

    fn value(&self, name: &str) -> u64 {
        find(&self.after, name)
    }

    /// Microseconds between the samples; 0 when there is but one, or the broker was started anew.
    fn interval_us(&self) -> u64 {
        let up = |sample| find(sample, "uptime_us_now");
        up(&self.after).saturating_sub(up(&self.before))
    }

    fn per_second(&self, name: &str) -> Option<f64> {
        let seconds = self.interval_us() as f64 / 1e6;
        let more = self.value(name).checked_sub(find(&self.before, name))?;
        (0.0 < seconds).then(|| more as f64 / seconds)
    }
}

/// A metric's value; 0 where a broker does not know it.
fn find(sample: &[MetricValue], name: &str) -> u64 {
    sample.iter().find(|metric| metric.name == name).map_or(0, |metric| metric.value)
}

fn row<const N: usize>(cells: [String; N]) -> Vec<String> {
    cells.into()
}

fn rates(seen: &Seen) -> Vec<Vec<String>> {
    let mut rows = vec![row(["", "per second", "since the start"].map(str::to_owned))];
    for (name, metric, is_bytes) in RATES {
        let show = |value: u64| if is_bytes { size(value) } else { thousands(value) };
        let rate = seen.per_second(metric).map_or("-".to_owned(), |rate| show(rate.round() as u64));
        rows.push(row([name.to_owned(), rate, show(seen.value(metric))]));
    }
    rows
}

fn latencies(seen: &Seen) -> Vec<Vec<String>> {
    let mut rows = vec![row(["in the last minutes", "p50", "p99", "max"].map(str::to_owned))];
    for (name, metric) in LATENCIES {
        let show = |part| millis(seen.value(&format!("{metric}_{part}_now")));
        rows.push(row([name.to_owned(), show("p50"), show("p99"), show("max")]));
    }
    rows
}

fn holdings(seen: &Seen) -> Vec<Vec<String>> {
    let held: u64 = MEMORY.iter().map(|(_, metric)| seen.value(metric)).sum();
    let parts: Vec<String> = MEMORY
        .iter()
        .map(|(name, metric)| (name, seen.value(metric)))
        .filter(|(_, bytes)| 0 < *bytes)
        .map(|(name, bytes)| format!("{name} {}", size(bytes)))
        .collect();
    let count = |name| thousands(seen.value(name));
    let parts = if parts.is_empty() { String::new() } else { format!(": {}", parts.join(", ")) };
    let limit = size(seen.value("memory_limit_bytes_now"));
    let refused = match seen.value("connections_refused_count") {
        0 => String::new(),
        refused => format!(", {} were refused", thousands(refused)),
    };
    let logs = size(seen.value("log_bytes_now"));
    let free = size(seen.value("disk_free_bytes_now"));
    let total = size(seen.value("disk_total_bytes_now"));
    let named = |name: &str, words: String| row([name.to_owned(), words]);
    let mut rows = vec![
        named("memory", format!("{} of {limit}{parts}", size(held))),
        named(
            "connections",
            format!("{} of {}{refused}", count("connections_now"), count("connections_max_now")),
        ),
        named(
            "partitions",
            format!(
                "{} of {} topics, in {} segments",
                count("partition_count_now"),
                count("topic_count_now"),
                count("log_segments_now")
            ),
        ),
        named("disk", format!("{logs} in logs, {free} of {total} free")),
    ];
    rows.extend(compaction(seen).map(|words| named("compaction", words)));
    rows
}

/// What compaction did; nothing where there was none.
fn compaction(seen: &Seen) -> Option<String> {
    let (rounds, failed) = (seen.value("clean_rounds_count"), seen.value("clean_failed_count"));
    if rounds == 0 && failed == 0 {
        return None;
    }
    let mut words = format!(
        "{} became {} in {} rounds",
        size(seen.value("cleaned_before_bytes")),
        size(seen.value("cleaned_after_bytes")),
        thousands(rounds)
    );
    if let Some(at_us) = Some(seen.value("cleaned_at_us_now")).filter(|at_us| 0 < *at_us) {
        let ago_us = seen.value("uptime_us_now").saturating_sub(at_us);
        let _ = write!(words, ", the last {} ago", duration(ago_us / 1_000_000));
    }
    if 0 < failed {
        let _ = write!(words, ", {} FAILED; the log says why", thousands(failed));
    }
    Some(words)
}

/// What somebody should look at.
fn troubles(seen: &Seen) -> Vec<String> {
    let mut troubles = Vec::new();
    if seen.value("storage_failed_now") != 0 {
        troubles.push("STORAGE FAILED: nothing is taken until a restart; see the log".to_owned());
    }
    if seen.value("disk_full_now") != 0 {
        troubles.push("DISK FULL: nothing is taken until there is room".to_owned());
    }
    for (metric, what) in
        [("log_holes_now", "holes"), ("log_suspect_segments_now", "damaged segments")]
    {
        let count = seen.value(metric);
        if count != 0 {
            troubles.push(format!("DAMAGE: {what}: {count}; `odradek topic describe` names them"));
        }
    }
    troubles
}

fn as_json(cluster: &ClusterInfo, seen: &Seen) -> Json {
    let brokers = cluster.brokers.iter().map(|broker| {
        Json::object([
            ("node_id", Json::from(broker.node_id.0)),
            ("address", Json::from(broker.address.as_str())),
        ])
    });
    let per_second = RATES.iter().map(|(_, metric, _)| {
        let rate =
            seen.per_second(metric).map_or(Json::Null, |rate| Json::from(rate.round() as u64));
        ((*metric).to_owned(), rate)
    });
    let metrics = seen.after.iter().map(|metric| (metric.name.clone(), Json::from(metric.value)));
    Json::object([
        ("cluster_id", Json::from(cluster.cluster_id.to_string())),
        ("controller", Json::from(cluster.controller.0)),
        ("brokers", Json::list(brokers)),
        ("interval_ms", Json::from(seen.interval_us() / 1000)),
        ("per_second", Json::Object(per_second.collect())),
        ("metrics", Json::Object(metrics.collect())),
    ])
}

/// Bytes with three digits or four.
pub fn size(bytes: u64) -> String {
    for (unit, shift) in [("TiB", 40), ("GiB", 30), ("MiB", 20), ("KiB", 10)] {
        if (1 << shift) <= bytes {
            return format!("{:.1} {unit}", bytes as f64 / (1u64 << shift) as f64);
        }
    }
    format!("{bytes} B")
}

/// A count with its digits in groups of three.
fn thousands(count: u64) -> String {
    let digits = count.to_string();
    let groups: Vec<&str> = digits
        .as_bytes()
        .rchunks(3)
        .rev()
        .map(|group| std::str::from_utf8(group).expect("digits are ASCII"))
        .collect();
    groups.join(",")
}

/// Microseconds as milliseconds.
fn millis(us: u64) -> String {
    match us {
        0 => "-".to_owned(),
        1..=9_999 => format!("{:.2} ms", us as f64 / 1000.0),
        _ => format!("{} ms", thousands(us / 1000)),
    }
}

/// Seconds in the two largest units.
fn duration(seconds: u64) -> String {
    let (minutes, hours, days) = (seconds / 60, seconds / 3600, seconds / 86_400);
    match (days, hours, minutes) {
        (0, 0, 0) => format!("{seconds} s"),
        (0, 0, _) => format!("{minutes} min {} s", seconds % 60),
        (0, _, _) => format!("{hours} h {} min", minutes % 60),
        _ => format!("{days} d {} h", hours % 24),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use odradek::wire::describe_metrics::MetricKind;

    fn sample(values: &[(&str, u64)]) -> Vec<MetricValue> {
        let metric = |(name, value): &(&str, u64)| MetricValue {
            name: (*name).to_owned(),
            kind: MetricKind::Counter,
            value: *value,
        };
        values.iter().map(metric).collect()
    }

    #[test]
    fn rates_are_measured_by_the_brokers_clock() {
        let seen = Seen {
            before: sample(&[("uptime_us_now", 1_000_000), ("append_bytes", 1024)]),
            after: sample(&[("uptime_us_now", 1_500_000), ("append_bytes", 3072)]),
        };
        assert_eq!(seen.per_second("append_bytes"), Some(4096.0));
        assert_eq!(rates(&seen)[2], ["bytes in", "4.0 KiB", "3.0 KiB"]);
        assert_eq!(seen.interval_us(), 500_000);
        let restarted = Seen { before: seen.after, after: seen.before };
        assert_eq!(restarted.per_second("append_bytes"), None, "it counts from the start again");
    }

    #[test]
    fn compaction_is_told_once_there_was_some() {
        let seen = |values: &[(&str, u64)]| Seen { before: Vec::new(), after: sample(values) };
        assert_eq!(compaction(&seen(&[("clean_rounds_count", 0)])), None);
        let values = [
            ("clean_rounds_count", 3),
            ("clean_failed_count", 1),
            ("cleaned_before_bytes", 4096),
            ("cleaned_after_bytes", 1024),
            ("cleaned_at_us_now", 1_000_000),
            ("uptime_us_now", 63_000_000),
        ];
        let words = compaction(&seen(&values)).expect("there was some");
        let wanted = "4.0 KiB became 1.0 KiB in 3 rounds, the last 1 min 2 s ago, \
                      1 FAILED; the log says why";
        assert_eq!(words, wanted);
    }

    #[test]
    fn trouble_is_said_only_where_there_is_some() {
        let seen = |values: &[(&str, u64)]| Seen { before: Vec::new(), after: sample(values) };
        assert!(troubles(&seen(&[("disk_full_now", 0), ("log_holes_now", 0)])).is_empty());
        let found = troubles(&seen(&[("disk_full_now", 1), ("log_holes_now", 2)]));
        assert!(found[0].starts_with("DISK FULL") && found[1].contains("holes: 2"), "{found:?}");
    }

    #[test]
    fn numbers_are_readable() {
        for (bytes, text) in [(0, "0 B"), (1023, "1023 B"), (1536, "1.5 KiB"), (1 << 30, "1.0 GiB")]
        {
            assert_eq!(size(bytes), text);
        }
        for (count, text) in [(0, "0"), (999, "999"), (1000, "1,000"), (1_234_567, "1,234,567")] {
            assert_eq!(thousands(count), text);
        }
        for (us, text) in [(0, "-"), (310, "0.31 ms"), (9_999, "10.00 ms"), (1_234_567, "1,234 ms")]
        {
            assert_eq!(millis(us), text);
        }
        for (seconds, text) in [(59, "59 s"), (61, "1 min 1 s"), (7380, "2 h 3 min")] {
            assert_eq!(duration(seconds), text);
        }
        assert_eq!(duration(90_000), "1 d 1 h");
    }
}

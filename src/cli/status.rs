//! `odradek status`: a broker's numbers on one screen.

use argh::FromArgs;
use odradek::client::{ClusterInfo, MetricValue};

use super::json::Json;
use super::{CliError, connect, out};

/// Metrics beside each other in the table.
const COLUMNS: usize = 2;

/// show who is there and what the broker counts
#[derive(FromArgs)]
#[argh(
    subcommand,
    name = "status",
    note = "Names that end in _now are present values; all others count from the broker's start."
)]
pub struct Status {
    /// the broker to ask (default: ODRADEK_SERVER, or 127.0.0.1:7092)
    #[argh(option, arg_name = "host:port", default = "connect::default_server()")]
    server: String,

    /// one JSON object: cluster_id, controller, brokers, metrics
    #[argh(switch)]
    json: bool,
}

impl Status {
    /// Asks and prints.
    pub fn run(self) -> Result<(), CliError> {
        let admin = connect::admin(&self.server)?;
        let failed = |why| connect::failed(&self.server, why);
        let cluster = admin.describe_cluster().map_err(failed)?;
        let metrics = admin.describe_metrics().map_err(failed)?;
        let mut out = out::stdout();
        if self.json {
            out.line(format_args!("{}", as_json(&cluster, &metrics)))?;
            return out.flush();
        }
        out.line(format_args!(
            "cluster {}  controller {}",
            cluster.cluster_id, cluster.controller
        ))?;
        for broker in &cluster.brokers {
            out.line(format_args!("broker {}  wire {}", broker.node_id, broker.address))?;
        }
        out.line(format_args!(""))?;
        out.table(&rows(&metrics))?;
        out.flush()
    }
}

fn as_json(cluster: &ClusterInfo, metrics: &[MetricValue]) -> Json {
    let brokers = cluster.brokers.iter().map(|broker| {
        Json::object([
            ("node_id", Json::from(broker.node_id.0)),
            ("address", Json::from(broker.address.as_str())),
        ])
    });
    let metrics = metrics.iter().map(|metric| (metric.name.clone(), Json::from(metric.value)));
    Json::object([
        ("cluster_id", Json::from(cluster.cluster_id.to_string())),
        ("controller", Json::from(cluster.controller.0)),
        ("brokers", Json::list(brokers)),
        ("metrics", Json::Object(metrics.collect())),
    ])
}

/// The metrics in alphabetical order, downwards in each column.
fn rows(metrics: &[MetricValue]) -> Vec<Vec<String>> {
    let height = metrics.len().div_ceil(COLUMNS);
    let row = |line: usize| {
        let places = (0..COLUMNS).map(|column| column * height + line);
        let cells = places.filter_map(|place| metrics.get(place));
        cells.flat_map(|metric| [metric.name.clone(), readable(metric)]).collect()
    };
    (0..height).map(row).collect()
}

/// The value; bytes in a unit that a person can compare.
fn readable(metric: &MetricValue) -> String {
    if metric.name.contains("bytes") { size(metric.value) } else { metric.value.to_string() }
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

#[cfg(test)]
mod tests {
    use super::*;
    use odradek::wire::describe_metrics::MetricKind;

    #[test]
    fn metrics_run_down_the_columns() {
        let metric = |(name, value): (&str, u64)| MetricValue {
            name: name.to_owned(),
            kind: MetricKind::Counter,
            value,
        };
        let metrics: Vec<MetricValue> =
            [("a", 1), ("b_bytes", 2048), ("c", 3)].map(metric).into_iter().collect();
        assert_eq!(
            rows(&metrics),
            [vec!["a", "1", "c", "3"], vec!["b_bytes", "2.0 KiB"]]
                .map(|row| row.into_iter().map(str::to_owned).collect::<Vec<_>>())
        );
    }

    #[test]
    fn sizes_are_readable() {
        for (bytes, text) in [(0, "0 B"), (1023, "1023 B"), (1536, "1.5 KiB"), (1 << 30, "1.0 GiB")]
        {
            assert_eq!(size(bytes), text);
        }
    }
}

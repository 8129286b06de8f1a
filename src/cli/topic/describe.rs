//! `odradek topic describe`: where each partition stands, what a power cut may take, what is lost.

use std::collections::BTreeSet;

use argh::FromArgs;
use odradek::client::{Admin, ConfigValue, PlacedPartition, PlacedTopic, Resource};
use odradek::ids::{NodeId, Partition};
use odradek::wire::describe_log_dirs::{DescribedLog, Hole};

use super::reassign::ids;
use super::{connect, no_topic};
use crate::cli::json::Json;
use crate::cli::out::Out;
use crate::cli::{CliError, out, status};

/// show topics: who leads their partitions and who is in sync, offsets, durability, size and
/// damage, and their configuration
#[derive(FromArgs)]
#[argh(
    subcommand,
    name = "describe",
    example = "{command_name} plant.line1",
    note = "ELR may lead when nobody in ISR can. MOVES: +broker comes, -broker leaves. Offsets are \
            the leader's. DURABLE is the end of what is on stable storage. LOSS WINDOW is how much \
            a power cut may take of what was acknowledged. HOLES are offsets whose records are lost."
)]
pub(super) struct Describe {
    /// their names (default: all)
    #[argh(positional, arg_name = "name")]
    names: Vec<String>,

    /// one JSON array, an object a topic: its partitions and configs
    #[argh(switch)]
    json: bool,

    /// the broker, as HOST:PORT (default: ODRADEK_SERVER, or 127.0.0.1:7092)
    #[argh(option, arg_name = "host:port", default = "connect::default_server()")]
    server: String,
}

/// What the table of partitions shows.
const HEADER: [&str; 15] = [
    "PARTITION",
    "LEADER",
    "EPOCH",
    "REPLICAS",
    "ISR",
    "ELR",
    "MOVES",
    "LOG START",
    "HIGH WATERMARK",
    "DURABLE",
    "END",
    "SIZE",
    "SEGMENTS",
    "LOSS WINDOW",
    "HOLES",
];

/// All that is known of a topic.
struct Described {
    placed: PlacedTopic,
    /// As the leader of each has them.
    logs: Vec<DescribedLog>,
    configs: Vec<ConfigValue>,
}

impl Describe {
    pub(super) fn run(self) -> Result<(), CliError> {
        let described = self.ask()?;
        let mut out = out::stdout();
        if self.json {
            let list = Json::list(described.iter().map(Described::as_json));
            out.line(format_args!("{list}"))?;
            return out.flush();
        }
        for (place, topic) in described.iter().enumerate() {
            if 0 < place {
                out.line(format_args!(""))?;
            }
            topic.print(&mut out)?;
        }
        out.flush()
    }

    fn ask(&self) -> Result<Vec<Described>, CliError> {
        let admin = connect::admin(&self.server)?;
        let failed = |why| connect::failed(&self.server, why);
        let names: Vec<&str> = self.names.iter().map(String::as_str).collect();
        let asked = (!names.is_empty()).then_some(&names[..]);
        let placed = admin.describe_partitions(asked).map_err(failed)?;
        let mut topics = Vec::new();
        for (place, topic) in placed.into_iter().enumerate() {
            let name = names.get(place).copied().unwrap_or_default();
            topics.push(topic.map_err(|why| no_topic(name, why))?);
        }
        if names.is_empty() {
            topics.retain(|topic: &PlacedTopic| !topic.is_internal);
        }
        let mut described = Vec::new();
        // One topic a request: a broker of many has more partitions than one answer holds.
        for placed in topics {
            let logs = logs_of_leaders(&admin, &placed);
            let resource = Resource::Topic(placed.name.clone());
            let configs = admin.describe_configs(&[resource]).map_err(failed)?.pop();
            let configs =
                configs.unwrap_or(Ok(Vec::new())).map_err(|why| no_topic(&placed.name, why))?;
            described.push(Described { placed, logs, configs });
        }
        Ok(described)
    }
}

impl Described {
    fn log(&self, partition: Partition) -> Option<&DescribedLog> {
        self.logs.iter().find(|log| log.partition == partition && log.error.is_ok())
    }

    fn print(&self, out: &mut Out) -> Result<(), CliError> {
        let placed = &self.placed;
        let replicas = placed.partitions.first().map_or(0, |first| first.replicas.len());
        out.line(format_args!(
            "topic {}  id {}  partitions {}  replication factor {replicas}",
            placed.name,
            placed.topic_id,
            placed.partitions.len()
        ))?;
        let mut rows = vec![HEADER.map(str::to_owned).to_vec()];
        rows.extend(placed.partitions.iter().map(|partition| self.row(partition)));
        out.table(&rows)?;
        for partition in &placed.partitions {
            let suspects = self.log(partition.partition).map(|log| &log.suspects[..]);
            for segment in suspects.unwrap_or_default() {
                out.line(format_args!(
                    "partition {}: segment {segment} is DAMAGED; the next start scans it, keeps \
                     what is good and names what is lost",
                    partition.partition
                ))?;
            }
        }
        let mut rows = vec![["KEY", "VALUE", "SOURCE"].map(str::to_owned).to_vec()];
        for config in &self.configs {
            let source = config.source.kafka_name().to_owned();
            rows.push(vec![config.key.clone(), config.value.clone(), source]);
        }
        out.table(&rows)
    }

    fn row(&self, partition: &PlacedPartition) -> Vec<String> {
        let leader = partition.leader.map_or_else(|| "none".to_owned(), |id| id.to_string());
        let mut row = vec![
            partition.partition.to_string(),
            leader,
            partition.leader_epoch.to_string(),
            ids(&partition.replicas),
            ids(&partition.isr),
            ids(&partition.elr),
            moves(partition),
        ];
        match self.log(partition.partition) {
            Some(log) => row.extend([
                log.log_start_offset.to_string(),
                log.high_watermark.to_string(),
                log.durable_offset.to_string(),
                log.log_end_offset.to_string(),
                status::size(log.size_bytes),
                log.segment_count.to_string(),
                loss_window(log.loss_window_ms),
                holes(&log.holes),
            ]),
            None => row.resize(HEADER.len(), "-".to_owned()),
        }
        row
    }

    fn as_json(&self) -> Json {
        let partitions = self.placed.partitions.iter().map(|partition| {
            let log = self.log(partition.partition);
            let list = |ids: &[NodeId]| Json::list(ids.iter().map(|id| Json::from(id.0)));
            let of_log = |field: fn(&DescribedLog) -> Json| log.map_or(Json::Null, field);
            Json::object([
                ("partition", Json::from(partition.partition.0)),
                ("leader", Json::from(partition.leader.map(|leader| leader.0))),
                ("leader_epoch", Json::from(partition.leader_epoch.0)),
                ("partition_epoch", Json::from(partition.partition_epoch)),
                ("replicas", list(&partition.replicas)),
                ("isr", list(&partition.isr)),
                ("elr", list(&partition.elr)),
                ("adding", list(&partition.adding)),
                ("removing", list(&partition.removing)),
                ("offline", list(&partition.offline)),
                ("log_start_offset", of_log(|log| log.log_start_offset.0.into())),
                ("high_watermark", of_log(|log| log.high_watermark.0.into())),
                ("durable_offset", of_log(|log| log.durable_offset.0.into())),
                ("log_end_offset", of_log(|log| log.log_end_offset.0.into())),
                ("size_bytes", of_log(|log| log.size_bytes.into())),
                ("segment_count", of_log(|log| log.segment_count.into())),
                ("loss_window_ms", of_log(|log| log.loss_window_ms.into())),
                ("holes", of_log(|log| Json::list(log.holes.iter().map(hole_json)))),
                (
                    "damaged_segments",
                    of_log(|log| Json::list(log.suspects.iter().map(|base| Json::from(base.0)))),
                ),
            ])
        });
        let configs = self.configs.iter().map(|config| {
            let value = Json::object([
                ("value", Json::from(config.value.as_str())),
                ("source", Json::from(config.source.kafka_name())),
            ]);
            (config.key.clone(), value)
        });
        Json::object([
            ("name", Json::from(self.placed.name.as_str())),
            ("id", Json::from(self.placed.topic_id.to_string())),
            ("partitions", Json::list(partitions)),
            ("configs", Json::Object(configs.collect())),
        ])
    }
}

/// What the leaders of a topic's partitions have; nothing of one that is out of reach.
fn logs_of_leaders(admin: &Admin, placed: &PlacedTopic) -> Vec<DescribedLog> {
    let leaders: BTreeSet<NodeId> = placed.partitions.iter().filter_map(|one| one.leader).collect();
    let mut logs = Vec::new();
    for leader in leaders {
        let leads = |partition: Partition| {
            let found = placed.partitions.iter().find(|one| one.partition == partition);
            found.and_then(|found| found.leader) == Some(leader)
        };
        let found = admin.describe_log_dirs_of(leader, &placed.name).unwrap_or_default();
        logs.extend(found.into_iter().filter(|log| leads(log.partition)));
    }
    logs
}

/// Who comes and who leaves.
fn moves(partition: &PlacedPartition) -> String {
    let comes = partition.adding.iter().map(|id| format!("+{id}"));
    let leaves = partition.removing.iter().map(|id| format!("-{id}"));
    let words: Vec<String> = comes.chain(leaves).collect();
    if words.is_empty() { "-".to_owned() } else { words.join(",") }
}

fn hole_json(hole: &Hole) -> Json {
    Json::object([("from", Json::from(hole.from.0)), ("end", Json::from(hole.end.0))])
}

fn loss_window(ms: u64) -> String {
    if ms == 0 { "none".to_owned() } else { format!("{ms} ms") }
}

fn holes(holes: &[Hole]) -> String {
    if holes.is_empty() {
        return "none".to_owned();
    }
    let texts: Vec<String> =
        holes.iter().map(|hole| format!("{}..{}", hole.from, hole.end)).collect();
    texts.join(",")
}

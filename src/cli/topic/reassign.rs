//! `odradek topic reassign`: partitions move between brokers, and get more replicas or fewer.

use argh::FromArgs;
use odradek::client::{AlterConfig, PlacedPartition, PlacedTopic, Resource, TopicPartition};
use odradek::ids::NodeId;

use super::{connect, first, no_topic, out, say};
use crate::cli::CliError;
use crate::cli::json::Json;

/// The keys that `--throttle` sets for all brokers: what each takes, and what each gives.
const THROTTLES: [&str; 2] =
    ["follower.replication.throttled.rate", "leader.replication.throttled.rate"];

/// move a topic's partitions to other brokers, or give them more replicas or fewer
#[derive(FromArgs)]
#[argh(
    subcommand,
    name = "reassign",
    example = "{command_name} plant.line1 --replicas 1,2,4\n  partition 0 is led by broker 1, partition 1 by 2, partition 2 by 4, and so on round",
    example = "{command_name} plant.line1 --partition 0 --replicas 4 --throttle 2000000\n  broker 4 alone has it, when it has copied it at 2 MB/s",
    example = "{command_name} --list\n  what moves at present",
    note = "A replica leaves when all that stay are in sync. --cancel drops what is still coming. The throttle is of each broker and stays until --throttle none."
)]
pub(super) struct Reassign {
    /// the topic; with --list none stands for all
    #[argh(positional, arg_name = "name")]
    name: Option<String>,

    /// only this partition (default: all, each with the next broker of the list first)
    #[argh(option, arg_name = "number")]
    partition: Option<i32>,

    /// the brokers that are to hold it, the preferred leader first, as 1,2,3
    #[argh(option, arg_name = "id,id,…")]
    replicas: Option<String>,

    /// bytes a second that a broker takes, and gives, for replicas not in sync yet; none: no bound
    #[argh(option, arg_name = "bytes|none")]
    throttle: Option<String>,

    /// cancel what is under way
    #[argh(switch)]
    cancel: bool,

    /// show what is under way
    #[argh(switch)]
    list: bool,

    /// with --list: one JSON array of objects: topic, partition, replicas, adding, removing, isr
    #[argh(switch)]
    json: bool,

    /// the broker, as HOST:PORT (default: ODRADEK_SERVER, or 127.0.0.1:7092)
    #[argh(option, arg_name = "host:port", default = "connect::default_server()")]
    server: String,
}

impl Reassign {
    pub(super) fn run(self) -> Result<(), CliError> {
        let replicas = self.replicas.as_deref().map(parse_replicas).transpose()?;
        let wishes = [self.list, self.cancel, replicas.is_some()];
        let is_one = wishes.into_iter().filter(|is_wished| *is_wished).count() == 1;
        let only_throttles = self.throttle.is_some() && !wishes.contains(&true);
        if !is_one && !only_throttles {
            return Err(CliError::usage("expected one of --replicas, --cancel and --list"));
        }
        if self.list {
            return self.print();
        }
        if let Some(throttle) = &self.throttle {
            self.set_throttle(throttle)?;
        }
        if only_throttles {
            return Ok(());
        }
        let Some(name) = &self.name else {
            return Err(CliError::usage("expected the name of a topic"));
        };
        let placed = self.placed(Some(name))?.remove(0);
        let moves = self.moves(&placed, replicas.as_deref())?;
        if moves.is_empty() {
            say(format_args!("nothing of topic {name} moves"));
            return Ok(());
        }
        let admin = connect::admin(&self.server)?;
        let outcomes = admin
            .alter_partition_reassignments(&moves)
            .map_err(|why| connect::failed(&self.server, why))?;
        let mut refusals = Vec::new();
        for ((one, target), outcome) in moves.iter().zip(outcomes) {
            match (outcome, target) {
                (Err(why), _) => refusals.push(format!("{one}: {why}")),
                (Ok(()), Some(target)) => say(format_args!("{one} moves to {}", ids(target))),
                (Ok(()), None) => say(format_args!("{one} stays where it was")),
            }
        }
        if refusals.is_empty() { Ok(()) } else { Err(CliError::Failed(refusals.join("\n"))) }
    }

    fn placed(&self, name: Option<&str>) -> Result<Vec<PlacedTopic>, CliError> {
        let admin = connect::admin(&self.server)?;
        let names = name.as_ref().map(std::slice::from_ref);
        let placed = admin.describe_partitions(names);
        let placed = placed.map_err(|why| connect::failed(&self.server, why))?;
        let named = |one: Result<_, _>| one.map_err(|why| no_topic(name.unwrap_or_default(), why));
        placed.into_iter().map(named).collect()
    }

    /// Where each partition is to live; `None` where a move is cancelled.
    fn moves(
        &self,
        placed: &PlacedTopic,
        replicas: Option<&[NodeId]>,
    ) -> Result<Vec<(TopicPartition, Option<Vec<NodeId>>)>, CliError> {
        let is_wanted = |one: &&PlacedPartition| {
            self.partition.is_none_or(|wanted| wanted == one.partition.0)
                && (replicas.is_some() || one.is_moving() || self.partition.is_some())
        };
        let wanted: Vec<&PlacedPartition> = placed.partitions.iter().filter(is_wanted).collect();
        if let Some(partition) = self.partition.filter(|_| wanted.is_empty()) {
            return Err(CliError::Failed(format!("{} has no partition {partition}", placed.name)));
        }
        let target = |one: &PlacedPartition| {
            let mut target = replicas?.to_vec();
            if self.partition.is_none() {
                let first = one.partition.0 as usize % target.len();
                target.rotate_left(first);
            }
            Some(target)
        };
        let name = |one: &PlacedPartition| TopicPartition::new(&placed.name, one.partition.0);
        Ok(wanted.into_iter().map(|one| (name(one), target(one))).collect())
    }

    fn set_throttle(&self, throttle: &str) -> Result<(), CliError> {
        let change = |key: &str| match throttle {
            "none" => Some(AlterConfig::Delete(key.to_owned())),
            bytes if bytes.parse().is_ok_and(|bytes: i64| 0 < bytes) => {
                Some(AlterConfig::Set(key.to_owned(), bytes.to_owned()))
            }
            _ => None,
        };
        let Some(changes) = THROTTLES.map(change).into_iter().collect() else {
            return Err(CliError::usage("--throttle takes bytes a second, or none"));
        };
        let admin = connect::admin(&self.server)?;
        let outcome = admin
            .incremental_alter_configs(&[(Resource::Brokers, changes)])
            .map_err(|why| connect::failed(&self.server, why))?;
        first(outcome).map_err(|why| CliError::Failed(format!("the throttle: {why}")))
    }

    fn print(&self) -> Result<(), CliError> {
        let placed = self.placed(self.name.as_deref())?;
        let moving = placed.iter().flat_map(|topic| {
            let moves = topic.partitions.iter().filter(|one| one.is_moving());
            moves.map(|one| (topic.name.as_str(), one))
        });
        let mut out = out::stdout();
        if self.json {
            let list = |ids: &[NodeId]| Json::list(ids.iter().map(|id| Json::from(id.0)));
            let object = |(topic, one): (&str, &PlacedPartition)| {
                Json::object([
                    ("topic", Json::from(topic)),
                    ("partition", Json::from(one.partition.0)),
                    ("replicas", list(&one.replicas)),
                    ("adding", list(&one.adding)),
                    ("removing", list(&one.removing)),
                    ("isr", list(&one.isr)),
                ])
            };
            out.line(format_args!("{}", Json::list(moving.map(object))))?;
            return out.flush();
        }
        let header = ["TOPIC", "PARTITION", "REPLICAS", "ADDING", "REMOVING", "ISR"];
        let mut rows = vec![header.map(str::to_owned).to_vec()];
        rows.extend(moving.map(|(topic, one)| {
            let lists = [&one.replicas, &one.adding, &one.removing, &one.isr];
            let mut row = vec![topic.to_owned(), one.partition.to_string()];
            row.extend(lists.into_iter().map(|list| ids(list)));
            row
        }));
        out.table(&rows)?;
        out.flush()
    }
}

/// `1,2,3`.
fn parse_replicas(text: &str) -> Result<Vec<NodeId>, CliError> {
    let id = |word: &str| word.trim().parse().ok().filter(|id| 0 <= *id).map(NodeId);
    let ids: Option<Vec<NodeId>> = text.split(',').map(id).collect();
    ids.ok_or_else(|| CliError::usage("--replicas takes ids of brokers, as 1,2,3"))
}

/// A list of brokers, for a table.
pub(super) fn ids(list: &[NodeId]) -> String {
    if list.is_empty() {
        return "-".to_owned();
    }
    list.iter().map(NodeId::to_string).collect::<Vec<_>>().join(",")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn replicas_are_ids_with_commas_between() {
        assert_eq!(parse_replicas("1, 2,30"), Ok(vec![NodeId(1), NodeId(2), NodeId(30)]));
        for text in ["", "1,", "-1", "a", "1 2"] {
            assert!(parse_replicas(text).is_err(), "{text}");
        }
    }
}

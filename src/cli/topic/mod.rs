//! `odradek topic …`: what `kafka-topics`, `kafka-configs`, `kafka-delete-records`,
//! `kafka-reassign-partitions` and `kafka-leader-election` do.

mod describe;
mod elect;
mod reassign;

use argh::FromArgs;
use odradek::client::{
    Admin, AlterConfig, NewTopic, OffsetSpec, Refusal, Resource, TopicInfo, TopicPartition,
};
use odradek::ids::Offset;
use odradek::wire::ErrorCode;

use super::json::Json;
use super::{CliError, connect, out, rfc3339, say};

/// create, list, describe, alter, delete, move and trim topics
#[derive(FromArgs)]
#[argh(subcommand, name = "topic")]
pub struct Topic {
    #[argh(subcommand)]
    action: Action,
}

#[derive(FromArgs)]
#[argh(subcommand)]
enum Action {
    Create(Create),
    List(List),
    Describe(describe::Describe),
    Alter(Alter),
    Delete(Delete),
    ElectLeader(elect::ElectLeader),
    Reassign(reassign::Reassign),
    Trim(Trim),
}

impl Topic {
    /// Does what is asked.
    pub fn run(self) -> Result<(), CliError> {
        match self.action {
            Action::Create(create) => create.run(),
            Action::List(list) => list.run(),
            Action::Describe(describe) => describe.run(),
            Action::Alter(alter) => alter.run(),
            Action::Delete(delete) => delete.run(),
            Action::ElectLeader(elect) => elect.run(),
            Action::Reassign(reassign) => reassign.run(),
            Action::Trim(trim) => trim.run(),
        }
    }
}

/// create a topic
#[derive(FromArgs)]
#[argh(
    subcommand,
    name = "create",
    example = "odradek topic create plant.line1 --partitions 3 --set retention.ms=86400000"
)]
struct Create {
    /// its name: letters, digits, `.`, `_` and `-`
    #[argh(positional)]
    name: String,

    /// how many partitions (default: the broker's num.partitions)
    #[argh(option, arg_name = "count")]
    partitions: Option<i32>,

    /// how many replicas of each (default: the broker's default.replication.factor)
    #[argh(option, arg_name = "count")]
    replication_factor: Option<i16>,

    /// a configuration key of the topic, as key=value; may be repeated; `topic describe` lists all
    /// keys
    #[argh(option, arg_name = "key=value")]
    set: Vec<String>,

    /// succeed when the topic exists
    #[argh(switch)]
    if_not_exists: bool,

    /// one JSON object: name, id, partitions, replication_factor
    #[argh(switch)]
    json: bool,

    /// the broker, as HOST:PORT (default: ODRADEK_SERVER, or 127.0.0.1:7092)
    #[argh(option, arg_name = "host:port", default = "connect::default_server()")]
    server: String,
}

impl Create {
    fn run(self) -> Result<(), CliError> {
        let mut topic = NewTopic::new(&self.name);
        topic.partition_count = self.partitions.unwrap_or(-1);
        topic.replication_factor = self.replication_factor.unwrap_or(-1);
        for set in &self.set {
            let (key, value) = assignment(set)?;
            topic = topic.config(key, value);
        }
        let admin = connect::admin(&self.server)?;
        let created =
            admin.create_topics(&[topic]).map_err(|why| connect::failed(&self.server, why))?;
        let created = match first(created) {
            Err(refusal) if is_exists(&refusal) && self.if_not_exists => {
                say(format_args!("topic {} exists", self.name));
                return Ok(());
            }
            other => other.map_err(|why| refused(&self.name, &why))?,
        };
        if self.json {
            let object = Json::object([
                ("name", Json::from(self.name)),
                ("id", Json::from(created.topic_id.to_string())),
                ("partitions", Json::from(created.partition_count)),
                ("replication_factor", Json::from(i32::from(created.replication_factor))),
            ]);
            return super::print(format_args!("{object}"));
        }
        say(format_args!(
            "created topic {} with {} partition(s), replication factor {}",
            self.name, created.partition_count, created.replication_factor
        ));
        Ok(())
    }
}

/// list topics, one name a line
#[derive(FromArgs)]
#[argh(
    subcommand,
    name = "list",
    example = "{command_name} --json\n  with ids and partition counts, for a script"
)]
struct List {
    /// also topics that serve the broker itself
    #[argh(switch)]
    internal: bool,

    /// one JSON array of objects: name, id, partitions, replication_factor
    #[argh(switch)]
    json: bool,

    /// the broker, as HOST:PORT (default: ODRADEK_SERVER, or 127.0.0.1:7092)
    #[argh(option, arg_name = "host:port", default = "connect::default_server()")]
    server: String,
}

impl List {
    fn run(self) -> Result<(), CliError> {
        let admin = connect::admin(&self.server)?;
        let mut topics = topics(&admin, &self.server)?;
        topics.retain(|topic| self.internal || !topic.is_internal);
        let mut out = out::stdout();
        if self.json {
            let list = Json::list(topics.iter().map(|topic| {
                let replicas = topic.partitions.first().map_or(0, |first| first.replicas.len());
                Json::object([
                    ("name", Json::from(topic.name.as_str())),
                    ("id", Json::from(topic.topic_id.to_string())),
                    ("partitions", Json::from(topic.partitions.len())),
                    ("replication_factor", Json::from(replicas)),
                ])
            }));
            out.line(format_args!("{list}"))?;
            return out.flush();
        }
        for topic in &topics {
            out.line(format_args!("{}", topic.name))?;
        }
        out.flush()
    }
}

/// All topics in alphabetical order.
fn topics(admin: &Admin, server: &str) -> Result<Vec<TopicInfo>, CliError> {
    let mut topics = admin.list_topics().map_err(|why| connect::failed(server, why))?;
    topics.sort_by(|a, b| a.name.cmp(&b.name));
    Ok(topics)
}

/// change a topic's configuration, or give it more partitions
#[derive(FromArgs)]
#[argh(
    subcommand,
    name = "alter",
    note = "All of --set and --unset take effect or none. After --partitions some keys go to other \
            partitions than before; what is written stays where it is.",
    example = "odradek topic alter plant.line1 --set retention.ms=3600000 --unset segment.bytes"
)]
struct Alter {
    /// its name
    #[argh(positional)]
    name: String,

    /// how many partitions it has afterwards, all counted; more than now
    #[argh(option, arg_name = "count")]
    partitions: Option<i32>,

    /// a configuration key of the topic, as key=value; may be repeated
    #[argh(option, arg_name = "key=value")]
    set: Vec<String>,

    /// a key to return to the broker's default; may be repeated
    #[argh(option, arg_name = "key")]
    unset: Vec<String>,

    /// the broker, as HOST:PORT (default: ODRADEK_SERVER, or 127.0.0.1:7092)
    #[argh(option, arg_name = "host:port", default = "connect::default_server()")]
    server: String,
}

impl Alter {
    fn run(self) -> Result<(), CliError> {
        let mut changes = Vec::new();
        for set in &self.set {
            let (key, value) = assignment(set)?;
            changes.push(AlterConfig::Set(key.to_owned(), value.to_owned()));
        }
        changes.extend(self.unset.iter().cloned().map(AlterConfig::Delete));
        if changes.is_empty() && self.partitions.is_none() {
            return Err(CliError::usage("expected --partitions, --set or --unset"));
        }
        let admin = connect::admin(&self.server)?;
        let failed = |why| connect::failed(&self.server, why);
        if !changes.is_empty() {
            let changes = [(Resource::Topic(self.name.clone()), changes)];
            let outcome = admin.incremental_alter_configs(&changes).map_err(failed)?;
            first(outcome).map_err(|why| refused(&self.name, &why))?;
        }
        if let Some(count) = self.partitions {
            let outcome = admin.create_partitions(&[(&self.name, count)]).map_err(failed)?;
            first(outcome).map_err(|why| refused(&self.name, &why))?;
        }
        say(format_args!("altered topic {}", self.name));
        Ok(())
    }
}

/// delete topics with all their records
#[derive(FromArgs)]
#[argh(
    subcommand,
    name = "delete",
    example = "{command_name} plant.line1 plant.line2",
    note = "There is no way back, and no question is asked. The disk has its room again after the topic's file.delete.delay.ms."
)]
struct Delete {
    /// their names
    #[argh(positional, arg_name = "name")]
    names: Vec<String>,

    /// succeed when a topic does not exist
    #[argh(switch)]
    if_exists: bool,

    /// the broker, as HOST:PORT (default: ODRADEK_SERVER, or 127.0.0.1:7092)
    #[argh(option, arg_name = "host:port", default = "connect::default_server()")]
    server: String,
}

impl Delete {
    fn run(self) -> Result<(), CliError> {
        if self.names.is_empty() {
            return Err(CliError::usage("expected the name of a topic"));
        }
        let admin = connect::admin(&self.server)?;
        let names: Vec<&str> = self.names.iter().map(String::as_str).collect();
        let outcomes =
            admin.delete_topics(&names).map_err(|why| connect::failed(&self.server, why))?;
        let mut refusals = Vec::new();
        for (name, outcome) in names.iter().zip(outcomes) {
            match outcome {
                Ok(()) => say(format_args!("deleted topic {name}")),
                Err(why) if is_missing(&why) && self.if_exists => {
                    say(format_args!("there is no topic {name}"));
                }
                Err(why) => refusals.push(format!("topic {name}: {why}")),
            }
        }
        if refusals.is_empty() { Ok(()) } else { Err(CliError::Failed(refusals.join("\n"))) }
    }
}

/// make a topic's oldest records unreadable, and free the segments that hold nothing else
#[derive(FromArgs)]
#[argh(
    subcommand,
    name = "trim",
    example = "odradek topic trim plant.line1 --before @2026-11-01\n  forgets what is older than November",
    example = "odradek topic trim plant.line1 --partition 0 --before 120000\n  offset 120000 is the first that is left",
    note = "Offsets do not change: readers find the first record at its old offset."
)]
struct Trim {
    /// its name
    #[argh(positional)]
    name: String,

    /// only this partition (default: all)
    #[argh(option, arg_name = "number")]
    partition: Option<i32>,

    /// the first record to keep: an offset; `end` to keep none; or @ and a time in RFC 3339, as
    /// @2026-11-01 or @2026-11-01T08:00:00Z
    #[argh(option, arg_name = "offset|end|@time")]
    before: String,

    /// one JSON array of objects: partition, log_start_offset
    #[argh(switch)]
    json: bool,

    /// the broker, as HOST:PORT (default: ODRADEK_SERVER, or 127.0.0.1:7092)
    #[argh(option, arg_name = "host:port", default = "connect::default_server()")]
    server: String,
}

/// The first record that a trim keeps.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Before {
    /// None of those there are.
    End,
    /// This one.
    Offset(Offset),
    /// The first at or after this time.
    Time(odradek::time::Timestamp),
}

impl Before {
    fn parse(text: &str) -> Option<Before> {
        if text == "end" {
            return Some(Before::End);
        }
        match text.strip_prefix('@') {
            Some(time) => rfc3339::parse(time).map(Before::Time),
            None => text.parse().ok().filter(|offset| 0 <= *offset).map(Offset).map(Before::Offset),
        }
    }
}

impl Trim {
    fn run(self) -> Result<(), CliError> {
        let before = Before::parse(&self.before).ok_or_else(|| {
            CliError::usage(
                "--before takes an offset, `end`, or @TIME such as @2026-11-21T07:20:00Z",
            )
        })?;
        let admin = connect::admin(&self.server)?;
        let partitions = self.partitions(&admin)?;
        let below = self.below(&admin, partitions, before)?;
        let answers =
            admin.delete_records(&below).map_err(|why| connect::failed(&self.server, why))?;
        let mut refusals = Vec::new();
        let mut trimmed = Vec::new();
        for ((one, _), answer) in below.iter().zip(answers) {
            match answer {
                Ok(start) => trimmed.push((one.partition, start)),
                Err(code) => refusals.push(format!("{one}: {} ({})", code.text(), code.name())),
            }
        }
        if self.json {
            let list = Json::list(trimmed.iter().map(|(partition, start)| {
                Json::object([
                    ("partition", Json::from(partition.0)),
                    ("log_start_offset", Json::from(start.0)),
                ])
            }));
            super::print(format_args!("{list}"))?;
        } else {
            for (partition, start) in &trimmed {
                say(format_args!("{}-{partition} now starts at offset {start}", self.name));
            }
        }
        if refusals.is_empty() { Ok(()) } else { Err(CliError::Failed(refusals.join("\n"))) }
    }

    fn partitions(&self, admin: &Admin) -> Result<Vec<TopicPartition>, CliError> {
        if let Some(partition) = self.partition {
            return Ok(vec![TopicPartition::new(&self.name, partition)]);
        }
        let info = describe_one(admin, &self.server, &self.name)?;
        let partitions = info.partitions.iter();
        Ok(partitions.map(|info| TopicPartition::new(&self.name, info.partition.0)).collect())
    }

    /// What to ask of the broker: by time means below the offset of the first record that late,
    /// or everything where no record is.
    fn below(
        &self,
        admin: &Admin,
        partitions: Vec<TopicPartition>,
        before: Before,
    ) -> Result<Vec<(TopicPartition, Option<Offset>)>, CliError> {
        let at = match before {
            Before::End => return Ok(partitions.into_iter().map(|one| (one, None)).collect()),
            Before::Offset(offset) => {
                return Ok(partitions.into_iter().map(|one| (one, Some(offset))).collect());
            }
            Before::Time(at) => at,
        };
        let questions: Vec<(TopicPartition, OffsetSpec)> =
            partitions.into_iter().map(|one| (one, OffsetSpec::At(at))).collect();
        let found =
            admin.list_offsets(&questions).map_err(|why| connect::failed(&self.server, why))?;
        let mut below = Vec::new();
        for ((one, _), found) in questions.into_iter().zip(found) {
            let found =
                found.map_err(|code| CliError::Failed(format!("{one}: {}", code.text())))?;
            below.push((one, found.map(|found| found.offset)));
        }
        Ok(below)
    }
}

/// One topic by its name.
fn describe_one(admin: &Admin, server: &str, name: &str) -> Result<TopicInfo, CliError> {
    let mut infos = admin.describe_topics(&[name]).map_err(|why| connect::failed(server, why))?;
    let info = infos.pop().unwrap_or(Err(ErrorCode::UNKNOWN_TOPIC_OR_PARTITION));
    info.map_err(|code| no_topic(name, code))
}

fn no_topic(name: &str, code: ErrorCode) -> CliError {
    CliError::Failed(format!("topic {name}: {} ({})", code.text(), code.name()))
}

/// `key=value` in two.
fn assignment(text: &str) -> Result<(&str, &str), CliError> {
    text.split_once('=')
        .filter(|(key, _)| !key.is_empty())
        .ok_or_else(|| CliError::Usage(format!("--set {text}: expected KEY=VALUE")))
}

/// The one answer to one question; the client checked that there are as many.
fn first<T>(answers: Vec<Result<T, Refusal>>) -> Result<T, Refusal> {
    let answer = answers.into_iter().next();
    answer.expect("the client gives as many answers as there were questions")
}

fn refused(name: &str, why: &Refusal) -> CliError {
    CliError::Failed(format!("topic {name}: {why}"))
}

fn is_exists(why: &Refusal) -> bool {
    why.error == ErrorCode::TOPIC_ALREADY_EXISTS
}

fn is_missing(why: &Refusal) -> bool {
    why.error == ErrorCode::UNKNOWN_TOPIC_OR_PARTITION
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn assignments_need_a_key() {
        assert_eq!(assignment("a.b=c=d"), Ok(("a.b", "c=d")));
        assert_eq!(assignment("a="), Ok(("a", "")));
        assert!(matches!(assignment("=x"), Err(CliError::Usage(_))));
        assert!(matches!(assignment("a"), Err(CliError::Usage(_))));
    }

    #[test]
    fn a_trim_ends_at_an_offset_the_end_or_a_time() {
        assert_eq!(Before::parse("end"), Some(Before::End));
        assert_eq!(Before::parse("17"), Some(Before::Offset(Offset(17))));
        assert_eq!(
            Before::parse("@1970-01-01T00:00:01Z"),
            Some(Before::Time(odradek::time::Timestamp(1000)))
        );
        for text in ["-1", "", "@", "@yesterday", "beginning"] {
            assert_eq!(Before::parse(text), None, "{text}");
        }
    }
}

//! `odradek group reset-offsets`: where a group reads on.

use std::collections::BTreeMap;

use argh::FromArgs;
use odradek::client::{Admin, CommittedOffset, OffsetSpec, TopicPartition};
use odradek::ids::Offset;
use odradek::time::Timestamp;
use odradek::wire::ErrorCode;
use odradek::wire::list_groups::GroupState;

use super::{find, printable};
use crate::cli::json::Json;
use crate::cli::{CliError, connect, out, rfc3339, say};

/// change where a group reads on: shows what it would do, and with --execute does it
#[derive(FromArgs)]
#[argh(
    subcommand,
    name = "reset-offsets",
    example = "{command_name} readers --topic plant.line1 --to-earliest\n  what it would come to",
    example = "{command_name} readers --topic plant.line1:0,2 --to-datetime 2026-11-01T08:00:00Z --execute\n  two of its partitions begin again at eight",
    note = "The group must have no members: stop them first. An offset before the first record or \
            behind the last becomes the nearest there is."
)]
pub(super) struct ResetOffsets {
    /// the group's id
    #[argh(positional)]
    group: String,

    /// a topic, or some of its partitions as TOPIC:0,2; may be repeated
    #[argh(option, arg_name = "topic[:partitions]")]
    topic: Vec<String>,

    /// every partition that the group has an offset of
    #[argh(switch)]
    all_topics: bool,

    /// to the first record
    #[argh(switch)]
    to_earliest: bool,

    /// behind the last record
    #[argh(switch)]
    to_latest: bool,

    /// to the offset that is committed now: what is not committed begins at its end
    #[argh(switch)]
    to_current: bool,

    /// to this offset in every partition
    #[argh(option, arg_name = "offset")]
    to_offset: Option<i64>,

    /// by so many records, back when it is negative
    #[argh(option, arg_name = "records")]
    shift_by: Option<i64>,

    /// to the first record at or after a time in RFC 3339, as 2026-11-01T08:00:00Z
    #[argh(option, arg_name = "time")]
    to_datetime: Option<String>,

    /// only show it (the default)
    #[argh(switch)]
    dry_run: bool,

    /// do it
    #[argh(switch)]
    execute: bool,

    /// one JSON array of objects: topic, partition, old_offset, new_offset
    #[argh(switch)]
    json: bool,

    /// the broker, as HOST:PORT (default: ODRADEK_SERVER, or 127.0.0.1:7092)
    #[argh(option, arg_name = "host:port", default = "connect::default_server()")]
    server: String,
}

/// Where to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Target {
    Earliest,
    Latest,
    Current,
    Offset(i64),
    Shift(i64),
    Time(Timestamp),
}

/// What is known of a partition before it is reset.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Ends {
    first: Offset,
    end: Offset,
    /// The first record at or after the time that is asked for, if there is one.
    at: Option<Offset>,
    committed: Option<Offset>,
}

impl Target {
    /// The new offset, where there is something to shift or keep.
    fn of(self, ends: Ends) -> Option<Offset> {
        let wanted = match self {
            Target::Earliest => ends.first,
            Target::Latest => ends.end,
            Target::Current => ends.committed.unwrap_or(ends.end),
            Target::Offset(offset) => Offset(offset),
            Target::Shift(records) => Offset(ends.committed?.0.saturating_add(records)),
            Target::Time(_) => ends.at.unwrap_or(ends.end),
        };
        Some(wanted.clamp(ends.first, ends.end))
    }
}

/// A partition on its way.
struct Move {
    partition: TopicPartition,
    from: Option<Offset>,
    to: Offset,
}

impl ResetOffsets {
    pub(super) fn run(self) -> Result<(), CliError> {
        let target = self.target()?;
        if self.dry_run && self.execute {
            return Err(CliError::usage("--dry-run and --execute exclude each other"));
        }
        if self.topic.is_empty() != self.all_topics {
            return Err(CliError::usage("expected --topic, or --all-topics"));
        }
        let admin = connect::admin(&self.server)?;
        let failed = |why| connect::failed(&self.server, why);
        if let Some(info) = find(&admin, &self.server, &self.group)? {
            if !matches!(info.state, GroupState::Empty | GroupState::Dead) {
                return Err(CliError::Failed(format!(
                    "group {} is {} with {} member(s): its offsets can be reset when they are \
                     stopped",
                    printable(&self.group),
                    info.state,
                    info.members.len()
                )));
            }
        }
        let committed = admin.list_group_offsets(&self.group, None).map_err(failed)?;
        let partitions = self.partitions(&admin, &committed)?;
        let moves = self.moves(&admin, target, partitions, &committed)?;
        self.show(&moves)?;
        if self.execute {
            return self.commit(&admin, &moves);
        }
        say(format_args!("nothing is changed yet: --execute does it"));
        Ok(())
    }

    fn target(&self) -> Result<Target, CliError> {
        let time = match &self.to_datetime {
            Some(text) => Some(rfc3339::parse(text).ok_or_else(|| {
                CliError::usage(format_args!(
                    "--to-datetime {text}: expected RFC 3339, as 2026-11-01T08:00:00Z"
                ))
            })?),
            None => None,
        };
        let targets = [
            self.to_earliest.then_some(Target::Earliest),
            self.to_latest.then_some(Target::Latest),
            self.to_current.then_some(Target::Current),
            self.to_offset.map(Target::Offset),
            self.shift_by.map(Target::Shift),
            time.map(Target::Time),
        ];
        let mut given = targets.into_iter().flatten();
        match (given.next(), given.next()) {
            (Some(target), None) => Ok(target),
            _ => Err(CliError::usage(
                "expected one of --to-earliest, --to-latest, --to-current, --to-offset, \
                 --shift-by, --to-datetime",
            )),
        }
    }

    fn partitions(
        &self,
        admin: &Admin,
        committed: &BTreeMap<TopicPartition, CommittedOffset>,
    ) -> Result<Vec<TopicPartition>, CliError> {
        if self.all_topics {
            return Ok(committed.keys().cloned().collect());
        }
        let mut partitions = Vec::new();
        for topic in &self.topic {
            let (name, numbers) = numbered(topic)
                .ok_or_else(|| CliError::usage(format_args!("--topic {topic}: not TOPIC:0,2")))?;
            if let Some(numbers) = numbers {
                partitions.extend(numbers.iter().map(|number| TopicPartition::new(name, *number)));
                continue;
            }
            let mut infos =
                admin.describe_topics(&[name]).map_err(|why| connect::failed(&self.server, why))?;
            let info = infos.pop().unwrap_or(Err(ErrorCode::UNKNOWN_TOPIC_OR_PARTITION));
            let info = info.map_err(|code| {
                CliError::Failed(format!("topic {name}: {} ({})", code.text(), code.name()))
            })?;
            let numbers = info.partitions.iter().map(|info| info.partition.0);
            partitions.extend(numbers.map(|number| TopicPartition::new(name, number)));
        }
        partitions.sort();
        partitions.dedup();
        Ok(partitions)
    }

    fn moves(
        &self,
        admin: &Admin,
        target: Target,
        partitions: Vec<TopicPartition>,
        committed: &BTreeMap<TopicPartition, CommittedOffset>,
    ) -> Result<Vec<Move>, CliError> {
        let ask = |spec: OffsetSpec| {
            let questions: Vec<_> = partitions.iter().map(|one| (one.clone(), spec)).collect();
            let found = admin.list_offsets(&questions);
            let found = found.map_err(|why| connect::failed(&self.server, why))?;
            let found = found.into_iter().zip(&partitions).map(|(found, partition)| {
                let found = found.map_err(|code| {
                    CliError::Failed(format!("{partition}: {} ({})", code.text(), code.name()))
                });
                Ok(found?.map(|found| found.offset))
            });
            found.collect::<Result<Vec<Option<Offset>>, CliError>>()
        };
        let (firsts, ends) = (ask(OffsetSpec::Earliest)?, ask(OffsetSpec::Latest)?);
        let times = match target {
            Target::Time(at) => ask(OffsetSpec::At(at))?,
            _ => vec![None; partitions.len()],
        };
        let mut moves = Vec::new();
        for (place, partition) in partitions.into_iter().enumerate() {
            let from = committed.get(&partition).map(|committed| committed.offset);
            let ends = Ends {
                first: firsts[place].unwrap_or(Offset::ZERO),
                end: ends[place].unwrap_or(Offset::ZERO),
                at: times[place],
                committed: from,
            };
            match target.of(ends) {
                Some(to) => moves.push(Move { partition, from, to }),
                None => say(format_args!("{partition}: nothing is committed, so nothing to shift")),
            }
        }
        Ok(moves)
    }

    fn show(&self, moves: &[Move]) -> Result<(), CliError> {
        let mut out = out::stdout();
        if self.json {
            let list = Json::list(moves.iter().map(|one| {
                Json::object([
                    ("topic", Json::from(&*one.partition.topic)),
                    ("partition", Json::from(one.partition.partition.0)),
                    ("old_offset", one.from.map(|from| from.0).into()),
                    ("new_offset", Json::from(one.to.0)),
                ])
            }));
            out.line(format_args!("{list}"))?;
            return out.flush();
        }
        let header = ["TOPIC", "PARTITION", "COMMITTED", "NEW OFFSET"];
        let mut rows = vec![header.map(str::to_owned).to_vec()];
        for Move { partition, from, to } in moves {
            rows.push(vec![
                partition.topic.to_string(),
                partition.partition.to_string(),
                from.map_or("-".to_owned(), |from| from.to_string()),
                to.to_string(),
            ]);
        }
        out.table(&rows)?;
        out.flush()
    }

    fn commit(&self, admin: &Admin, moves: &[Move]) -> Result<(), CliError> {
        if moves.is_empty() {
            return Ok(());
        }
        let offsets: Vec<(TopicPartition, Offset)> =
            moves.iter().map(|one| (one.partition.clone(), one.to)).collect();
        let outcomes = admin
            .alter_group_offsets(&self.group, &offsets)
            .map_err(|why| connect::failed(&self.server, why))?;
        let mut refusals = Vec::new();
        for (one, outcome) in moves.iter().zip(outcomes) {
            if let Err(code) = outcome {
                refusals.push(format!("{}: {} ({})", one.partition, code.text(), code.name()));
            }
        }
        if !refusals.is_empty() {
            return Err(CliError::Failed(refusals.join("\n")));
        }
        say(format_args!("reset {} partition(s) of {}", moves.len(), printable(&self.group)));
        Ok(())
    }
}

/// `topic`, or `topic:0,2` in its parts.
fn numbered(text: &str) -> Option<(&str, Option<Vec<i32>>)> {
    let Some((name, numbers)) = text.split_once(':') else { return Some((text, None)) };
    let number = |text: &str| text.parse().ok().filter(|number: &i32| 0 <= *number);
    let numbers: Option<Vec<i32>> = numbers.split(',').map(number).collect();
    numbers.map(|numbers| (name, Some(numbers)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_topic_may_name_some_of_its_partitions() {
        assert_eq!(numbered("t"), Some(("t", None)));
        assert_eq!(numbered("t:0,12"), Some(("t", Some(vec![0, 12]))));
        for text in ["t:", "t:x", "t:-1", "t:1,", "t:1:2"] {
            assert_eq!(numbered(text), None, "{text}");
        }
    }

    #[test]
    fn a_target_stays_within_what_the_partition_holds() {
        let ends = Ends {
            first: Offset(10),
            end: Offset(100),
            at: Some(Offset(50)),
            committed: Some(Offset(60)),
        };
        let check = |target: Target, expected| assert_eq!(target.of(ends), Some(Offset(expected)));
        check(Target::Earliest, 10);
        check(Target::Latest, 100);
        check(Target::Current, 60);
        check(Target::Offset(5), 10);
        check(Target::Offset(500), 100);
        check(Target::Shift(-5), 55);
        check(Target::Shift(i64::MIN), 10);
        check(Target::Shift(i64::MAX), 100);
        check(Target::Time(Timestamp(1)), 50);
        let fresh = Ends { at: None, committed: None, ..ends };
        assert_eq!(Target::Time(Timestamp(1)).of(fresh), Some(Offset(100)), "no record is so late");
        assert_eq!(Target::Current.of(fresh), Some(Offset(100)));
        assert_eq!(Target::Shift(1).of(fresh), None);
    }
}

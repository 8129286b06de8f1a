//! `odradek consume TOPIC`: records become lines on stdout.

use std::sync::atomic::Ordering;
use std::time::Duration;

use argh::FromArgs;
use odradek::client::{
    ClientError, Consumer, ConsumerConfig, ConsumerRecord, OffsetReset, TopicPartition,
};
use odradek::ids::Offset;
use odradek::time::Timestamp;
use odradek::wire::ErrorCode;
use odradek::wire::describe_log_dirs::Hole;

use super::json::Json;
use super::out::{self, Out};
use super::{CliError, connect, consume_group, rfc3339, say};

/// How long one wait for records takes; what is buffered is printed in between.
const POLL: Duration = Duration::from_millis(200);

/// So many waits without a record make it look for holes.
const QUIET_POLLS_MAX: u32 = 10;

/// print the records of a topic
#[derive(FromArgs)]
#[argh(
    subcommand,
    name = "consume",
    example = "{command_name} host.vmstat --from beginning --until-end\n  everything that is there",
    example = "{command_name} host.vmstat --from @2026-11-21T08:00:00Z --format json\n  since this morning, and what comes",
    example = "{command_name} host.vmstat --group readers\n  shares the topic with the other members of the group, and goes on where the group was",
    note = "Without --max and --until-end it follows the topic until it is stopped. The order of records is kept within a partition, not between partitions. --from OFFSET means that offset in every partition. With --group, --from counts only where the group has committed nothing; what is printed is committed every second and at the end, so that after a crash a little is printed again and nothing is left out."
)]
pub struct Consume {
    /// the topic
    #[argh(positional)]
    topic: String,

    /// the broker, as HOST:PORT (default: ODRADEK_SERVER, or 127.0.0.1:7092)
    #[argh(option, arg_name = "host:port", default = "connect::default_server()")]
    server: String,

    /// only this partition (default: all)
    #[argh(option, arg_name = "number")]
    partition: Option<i32>,

    /// the group to read as a member of: its members share the partitions, and it remembers how
    /// far it has read
    #[argh(option, arg_name = "group")]
    group: Option<String>,

    /// where to begin: `beginning`, `end`, an offset, or @ and a time in RFC 3339, as @2026-11-01
    /// (default: end)
    #[argh(option, arg_name = "where", from_str_fn(start))]
    from: Option<Start>,

    /// the same as --from beginning
    #[argh(switch)]
    from_beginning: bool,

    /// stop after so many records
    #[argh(option, arg_name = "count")]
    max: Option<u64>,

    /// stop where the topic ended when the command began, instead of following it
    #[argh(switch)]
    until_end: bool,

    /// what to print of a record, one line each: `value`; `key` for key, tab, value; `json` for
    /// everything; `hex` for the value's bytes (default: value)
    #[argh(option, arg_name = "format", default = "Format::Value", from_str_fn(format))]
    format: Format,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Start {
    Beginning,
    End,
    Offset(Offset),
    Time(Timestamp),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Format {
    Value,
    Key,
    Json,
    Hex,
}

fn start(text: &str) -> Result<Start, String> {
    let wrong = || format!("`{text}` is none of beginning, end, an offset, @TIME (RFC 3339)");
    match text {
        "beginning" => Ok(Start::Beginning),
        "end" => Ok(Start::End),
        _ => match text.strip_prefix('@') {
            Some(time) => rfc3339::parse(time).map(Start::Time).ok_or_else(wrong),
            None => match text.parse() {
                Ok(offset) if 0 <= offset => Ok(Start::Offset(Offset(offset))),
                _ => Err(wrong()),
            },
        },
    }
}

fn format(text: &str) -> Result<Format, String> {
    match text {
        "value" => Ok(Format::Value),
        "key" => Ok(Format::Key),
        "json" => Ok(Format::Json),
        "hex" => Ok(Format::Hex),
        _ => Err(format!("`{text}` is none of value, key, json, hex")),
    }
}

impl Consume {
    /// Prints until there is a reason to end.
    pub fn run(self) -> Result<(), CliError> {
        let mut config = ConsumerConfig::new(&self.server);
        config.auto_offset_reset = OffsetReset::Earliest;
        "odradek-consume".clone_into(&mut config.client_id);
        if let Some(group) = &self.group {
            config.auto_offset_reset = self.group_start()?;
            consume_group::configure(&mut config, group);
        }
        let mut consumer = Consumer::new(config).map_err(CliError::usage)?;
        let partitions = self.partitions(&mut consumer)?;
        let ends = self.ends(&mut consumer, &partitions)?;
        if let Some(group) = &self.group {
            let subscribed = consume_group::subscribe(&mut consumer, group, &self.topic);
            subscribed.map_err(|why| self.failed(&why))?;
        } else {
            self.begin(&mut consumer, &partitions)?;
        }
        let printed = self.print_all(&mut consumer, ends);
        consumer.close();
        printed
    }

    fn print_all(
        &self,
        consumer: &mut Consumer,
        mut ends: Vec<(TopicPartition, Offset)>,
    ) -> Result<(), CliError> {
        let stopped = match &self.group {
            Some(_) => Some(consume_group::stop_on_signals(consumer.wakeup_handle())?),
            None => None,
        };
        let mut left = self.max.unwrap_or(u64::MAX);
        let mut out = out::stdout();
        let mut quiet_polls = 0;
        while 0 < left && !self.is_at_end(consumer, &ends)? {
            if self.until_end && QUIET_POLLS_MAX <= quiet_polls {
                quiet_polls = 0;
                self.skip_holes(consumer, &mut ends)?;
            }
            if stopped.as_ref().is_some_and(|stopped| stopped.load(Ordering::Relaxed)) {
                break;
            }
            let records = match consumer.poll(POLL) {
                Err(ClientError::Wakeup) => break,
                polled => polled.map_err(|why| self.failed(&why))?,
            };
            let printed = self.print_some(consumer, &mut out, &records, &ends, &mut left);
            if let Err(error) = printed.and_then(|()| out.flush()) {
                consume_group::go_back(consumer, &records);
                return Err(error);
            }
            quiet_polls = if records.is_empty() { quiet_polls + 1 } else { 0 };
        }
        out.flush()
    }

    /// Prints what is wanted of these records. The consumer goes back to what is not: it belongs
    /// to whoever reads on.
    fn print_some(
        &self,
        consumer: &mut Consumer,
        out: &mut Out,
        records: &[ConsumerRecord],
        ends: &[(TopicPartition, Offset)],
        left: &mut u64,
    ) -> Result<(), CliError> {
        let mut behind = Vec::new();
        for record in records {
            let is_wanted = ends.iter().all(|(partition, end)| {
                partition.partition != record.partition || record.offset < *end
            });
            if is_wanted && 0 < *left {
                self.print(out, record)?;
                *left -= 1;
            } else {
                behind.push(record.clone());
            }
        }
        consume_group::go_back(consumer, &behind);
        for record in &behind {
            // Or it would be fetched again and again, until the other partitions are at their end.
            let _ = consumer.pause(&[consume_group::partition_of(record)]);
        }
        Ok(())
    }

    /// Where a group begins that has committed nothing.
    fn group_start(&self) -> Result<OffsetReset, CliError> {
        if self.partition.is_some() {
            return Err(CliError::Usage(
                "--partition and --group exclude each other: the group shares the partitions out"
                    .to_owned(),
            ));
        }
        match self.start() {
            Start::Beginning => Ok(OffsetReset::Earliest),
            Start::End => Ok(OffsetReset::Latest),
            Start::Offset(_) | Start::Time(_) => Err(CliError::Usage(
                "with --group, --from takes beginning or end; \
                 `odradek group reset-offsets` moves a group"
                    .to_owned(),
            )),
        }
    }

    fn start(&self) -> Start {
        match self.from {
            Some(start) => start,
            None if self.from_beginning => Start::Beginning,
            None => Start::End,
        }
    }

    /// Offsets at the end of a partition may hold no records any more: damage that recovery found.
    /// Nothing comes from there, and it is said.
    fn skip_holes(
        &self,
        consumer: &mut Consumer,
        ends: &mut [(TopicPartition, Offset)],
    ) -> Result<(), CliError> {
        let admin = connect::admin(&self.server)?;
        let logs = admin.describe_log_dirs(&[&self.topic]).map_err(|why| self.failed(&why))?;
        let assigned = consumer.assignment();
        for (partition, end) in ends.iter_mut().filter(|(one, _)| assigned.contains(one)) {
            let position = consumer.position(partition).map_err(|why| self.failed(&why))?;
            let log = logs.iter().find(|log| log.partition == partition.partition);
            let holes = log.map(|log| &log.holes[..]).unwrap_or_default();
            let reaches_end = |hole: &Hole| hole.from <= position && *end <= hole.end;
            if position < *end && holes.iter().any(reaches_end) {
                say(format_args!("{partition}: offsets {position} up to {end} are lost: damaged"));
                *end = position;
            }
        }
        Ok(())
    }

    fn failed(&self, why: &ClientError) -> CliError {
        match why {
            ClientError::Broker(ErrorCode::UNKNOWN_TOPIC_OR_PARTITION) => {
                CliError::failed(format_args!("there is no topic `{}`", self.topic))
            }
            why => connect::failed(&self.server, why),
        }
    }

    fn partitions(&self, consumer: &mut Consumer) -> Result<Vec<TopicPartition>, CliError> {
        let all = consumer.partitions_for(&self.topic).map_err(|why| self.failed(&why))?;
        let Some(number) = self.partition else { return Ok(all) };
        let count = all.len();
        let wanted: Vec<_> = all.into_iter().filter(|tp| tp.partition.0 == number).collect();
        if wanted.is_empty() {
            let topic = &self.topic;
            return Err(CliError::failed(format_args!(
                "there is no partition {number}: topic `{topic}` has {count}"
            )));
        }
        Ok(wanted)
    }

    /// Where each partition ends now, if that is where the command ends.
    fn ends(
        &self,
        consumer: &mut Consumer,
        partitions: &[TopicPartition],
    ) -> Result<Vec<(TopicPartition, Offset)>, CliError> {
        if !self.until_end {
            return Ok(Vec::new());
        }
        let ends = consumer.end_offsets(partitions).map_err(|why| self.failed(&why))?;
        Ok(partitions.iter().cloned().zip(ends).collect())
    }

    fn begin(
        &self,
        consumer: &mut Consumer,
        partitions: &[TopicPartition],
    ) -> Result<(), CliError> {
        let mut begin = || {
            consumer.assign(partitions)?;
            match self.start() {
                Start::Beginning => consumer.seek_to_beginning(partitions),
                Start::End => consumer.seek_to_end(partitions),
                Start::Time(at) => consumer.seek_to_timestamp(partitions, at),
                Start::Offset(offset) => {
                    partitions.iter().try_for_each(|partition| consumer.seek(partition, offset))
                }
            }
        };
        begin().map_err(|why| self.failed(&why))
    }

    fn is_at_end(
        &self,
        consumer: &mut Consumer,
        ends: &[(TopicPartition, Offset)],
    ) -> Result<bool, CliError> {
        if !self.until_end {
            return Ok(false);
        }
        // Of a group, this member sees only the end of what is its own.
        let assigned = consumer.assignment();
        if assigned.is_empty() && !ends.is_empty() {
            return Ok(false);
        }
        for (partition, end) in ends.iter().filter(|(one, _)| assigned.contains(one)) {
            // An empty partition is at its end before its position is known.
            let is_there = *end == Offset::ZERO
                || *end <= consumer.position(partition).map_err(|why| self.failed(&why))?;
            if !is_there {
                return Ok(false);
            }
        }
        Ok(true)
    }

    fn print(&self, out: &mut Out, record: &ConsumerRecord) -> Result<(), CliError> {
        let key = record.key.as_deref();
        let value = record.value.as_deref();
        match self.format {
            Format::Value => out.bytes(&[value.unwrap_or_default()]),
            Format::Key => out.bytes(&[key.unwrap_or_default(), b"\t", value.unwrap_or_default()]),
            Format::Hex => out.line(format_args!("{}", hex(value.unwrap_or_default()))),
            Format::Json => out.line(format_args!("{}", json(record))),
        }
    }
}

fn hex(bytes: &[u8]) -> String {
    let digit = |value: u8| char::from_digit(value.into(), 16).expect("half a byte is a digit");
    bytes.iter().flat_map(|byte| [digit(byte >> 4), digit(byte & 0xf)]).collect()
}

fn text(bytes: Option<&[u8]>) -> Json {
    bytes.map_or(Json::Null, |bytes| String::from_utf8_lossy(bytes).as_ref().into())
}

fn json(record: &ConsumerRecord) -> Json {
    let header = |(key, value): &(bytes::Bytes, Option<bytes::Bytes>)| {
        Json::object([("key", text(Some(key))), ("value", text(value.as_deref()))])
    };
    Json::object([
        ("topic", (*record.topic).into()),
        ("partition", record.partition.0.into()),
        ("offset", Json::Integer(record.offset.0.into())),
        ("timestamp", rfc3339::print(record.timestamp).into()),
        ("key", text(record.key.as_deref())),
        ("value", text(record.value.as_deref())),
        ("headers", Json::list(record.headers.iter().map(header))),
    ])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hex_has_two_digits_a_byte() {
        assert_eq!(hex(&[0, 0x0f, 0xa0, 0xff]), "000fa0ff");
    }

    #[test]
    fn a_start_is_a_word_an_offset_or_a_time() {
        assert_eq!(start("beginning"), Ok(Start::Beginning));
        assert_eq!(start("end"), Ok(Start::End));
        assert_eq!(start("42"), Ok(Start::Offset(Offset(42))));
        assert_eq!(start("@1970-01-01T00:00:01Z"), Ok(Start::Time(Timestamp(1000))));
        for wrong in ["", "-1", "@", "@noon", "begin", "1.5"] {
            assert!(start(wrong).is_err(), "{wrong}");
        }
    }
}

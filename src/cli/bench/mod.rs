//! `odradek bench …`: how fast a broker is from here, in a few seconds and one command.
//!
//! Latency counts from the time a record *should* have been sent: when broker or client stall, the
//! records that had to wait are counted with their wait (Gil Tene's "coordinated omission").

mod consume;
mod produce;
mod report;

use argh::FromArgs;
use odradek::client::{ClientError, NewTopic};
use odradek::wire::ErrorCode;

use super::{CliError, connect};

/// measure a broker: produce, consume, latency
#[derive(FromArgs)]
#[argh(
    subcommand,
    name = "bench",
    example = "{command_name} produce --seconds 10\n  as many records as it takes",
    example = "{command_name} consume\n  reads what the bench before has written",
    example = "{command_name} latency --rate 1000 --json\n  one object for a script",
    note = "It writes to the topic `bench`, which stays: `odradek topic delete bench` ends it. A latency is measured from when a record was due, so that a broker that stalls cannot hide it."
)]
pub struct Bench {
    #[argh(subcommand)]
    question: Question,
}

#[derive(FromArgs)]
#[argh(subcommand)]
enum Question {
    Produce(produce::Produce),
    Consume(consume::Consume),
    Latency(produce::Latency),
}

impl Bench {
    /// Does what is asked.
    pub fn run(self) -> Result<(), CliError> {
        match self.question {
            Question::Produce(produce) => produce.run(),
            Question::Consume(consume) => consume.run(),
            Question::Latency(latency) => latency.run(),
        }
    }
}

/// Makes the topic, or answers how many partitions it has.
fn ensure_topic(server: &str, topic: &str, partitions: i32) -> Result<i32, CliError> {
    let failed = |why: ClientError| connect::failed(server, why);
    let admin = connect::admin(server)?;
    let new = NewTopic::new(topic).partitions(partitions);
    let created = admin.create_topics(&[new]).map_err(failed)?.into_iter().next();
    match created {
        Some(Ok(created)) => return Ok(created.partition_count),
        Some(Err(refusal)) if refusal.error != ErrorCode::TOPIC_ALREADY_EXISTS => {
            return Err(CliError::failed(refusal));
        }
        _ => {}
    }
    let described = admin.describe_topics(&[topic]).map_err(failed)?.into_iter().next();
    match described {
        Some(Ok(info)) => Ok(info.partitions.len() as i32),
        _ => Err(CliError::failed(format_args!("topic `{topic}` cannot be described"))),
    }
}

//! `odradek consume --group`: what it takes to be a member of a group from the command line.
//!
//! **Invariant:** what the group goes on behind is what reached stdout. Records that were polled and
//! not printed (`--max`, `--until-end`, a reader that went away) are sought back to before anything
//! is committed.

use std::process;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use odradek::client::{
    ClientError, Consumer, ConsumerConfig, ConsumerRecord, RebalanceListener, TopicPartition,
    WakeupHandle,
};
use signal_hook::consts::{SIGINT, SIGTERM};
use signal_hook::iterator::Signals;

use super::{CliError, say};

/// A crash makes the group read this much again.
const COMMIT_INTERVAL: Duration = Duration::from_secs(1);

/// The exit code of who is told twice to stop (128 + SIGINT).
const INTERRUPTED: i32 = 130;

/// The settings of a member.
pub fn configure(config: &mut ConsumerConfig, group: &str) {
    config.group_id = Some(group.to_owned());
    config.auto_commit_interval = COMMIT_INTERVAL;
}

/// Joins the group for one topic, and says on stderr which partitions it gets.
pub fn subscribe(consumer: &mut Consumer, group: &str, topic: &str) -> Result<(), ClientError> {
    let teller = Teller { group: group.to_owned() };
    consumer.subscribe_with(&[topic], teller)
}

struct Teller {
    group: String,
}

impl RebalanceListener for Teller {
    fn on_partitions_assigned(&mut self, consumer: &mut Consumer, _new: &[TopicPartition]) {
        let names: Vec<String> =
            consumer.assignment().iter().map(|tp| tp.partition.to_string()).collect();
        let partitions = if names.is_empty() { "none".to_owned() } else { names.join(" ") };
        say(format_args!("group {}: this consumer's partitions: {partitions}", self.group));
    }
}

/// Has SIGINT and SIGTERM end the present poll, so that the command commits and leaves its group
/// before it ends. The second one ends it at once.
pub fn stop_on_signals(handle: WakeupHandle) -> Result<Arc<AtomicBool>, CliError> {
    let mut signals = Signals::new([SIGINT, SIGTERM]).map_err(CliError::failed)?;
    let is_stopped = Arc::new(AtomicBool::new(false));
    let told = Arc::clone(&is_stopped);
    let spawned = thread::Builder::new().name("signals".to_owned()).spawn(move || {
        for _ in &mut signals {
            if told.swap(true, Ordering::Relaxed) {
                process::exit(INTERRUPTED);
            }
            handle.wakeup();
        }
    });
    spawned.map_err(CliError::failed)?;
    Ok(is_stopped)
}

/// Goes back to the first of these records in each partition that is still this consumer's.
pub fn go_back(consumer: &mut Consumer, records: &[ConsumerRecord]) {
    for record in records.iter().rev() {
        // What went to another member is that member's to read again.
        let _ = consumer.seek(&partition_of(record), record.offset);
    }
}

/// The partition that a record is of.
pub fn partition_of(record: &ConsumerRecord) -> TopicPartition {
    TopicPartition { topic: Arc::clone(&record.topic), partition: record.partition }
}

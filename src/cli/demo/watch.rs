//! What the brokers say of themselves, asked a few times a second, each by a thread of its own so
//! that one that does not answer holds up no other.

use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use odradek::client::{Admin, AdminConfig, ClientError, PartitionInfo};
use odradek::ids::{NodeId, Offset};
use odradek::wire::describe_log_dirs::DescribedLog;

/// The topic that the sensors feed.
pub const TOPIC: &str = "this-machine";

/// Time between two questions.
const PACE: Duration = Duration::from_millis(200);

/// How long an answer may take, and how long it is believed.
const PATIENCE: Duration = Duration::from_secs(1);
const FRESH: Duration = Duration::from_secs(2);

/// What one broker said.
#[derive(Clone, Debug)]
struct Answer {
    at: Instant,
    node_id: NodeId,
    partitions: Vec<PartitionInfo>,
    logs: Vec<DescribedLog>,
}

/// What is known of a partition.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PartitionView {
    /// Its leader, if one is known.
    pub leader: Option<NodeId>,
    /// Epoch of that leadership.
    pub leader_epoch: i32,
    /// The replicas in sync.
    pub isr: Vec<NodeId>,
    /// The end of what consumers see.
    pub high_watermark: Option<i64>,
}

/// The brokers' answers, the newest of each.
#[derive(Clone, Debug)]
pub struct Watch {
    answers: Arc<Mutex<Vec<Option<Answer>>>>,
}

/// An admin client that gives up soon.
pub fn admin(servers: &str) -> Result<Admin, ClientError> {
    let defaults = AdminConfig::new(servers);
    Admin::new(AdminConfig {
        request_timeout: PATIENCE,
        connection_setup_timeout: PATIENCE,
        ..defaults
    })
}

impl Watch {
    /// Begins to ask.
    pub fn start(addresses: &[String]) -> std::io::Result<Watch> {
        let watch = Watch { answers: Arc::new(Mutex::new(vec![None; addresses.len()])) };
        for (place, address) in addresses.iter().enumerate() {
            let (answers, address) = (Arc::clone(&watch.answers), address.clone());
            let node_id = NodeId(place as i32 + 1);
            // Not waited for: it ends with the process.
            thread::Builder::new().name(format!("watch-{node_id}")).spawn(move || {
                loop {
                    let answer = ask(&address, node_id).ok();
                    answers.lock().unwrap_or_else(PoisonError::into_inner)[place] = answer;
                    thread::sleep(PACE);
                }
            })?;
        }
        Ok(watch)
    }

    /// All partitions, as those who answered of late see them.
    pub fn partitions(&self, now: Instant) -> Vec<PartitionView> {
        let answers = self.answers.lock().unwrap_or_else(PoisonError::into_inner);
        let is_fresh = |answer: &&Answer| now.saturating_duration_since(answer.at) < FRESH;
        merge(&answers.iter().flatten().filter(is_fresh).collect::<Vec<_>>())
    }
}

/// Its log first: a client that has seen the metadata may ask another broker.
fn ask(address: &str, node_id: NodeId) -> Result<Answer, ClientError> {
    let admin = admin(address)?;
    let logs = admin.describe_log_dirs(&[TOPIC])?;
    let described = admin.describe_topics(&[TOPIC])?.pop();
    let partitions = match described {
        Some(Ok(topic)) => topic.partitions,
        Some(Err(code)) => return Err(ClientError::Broker(code)),
        None => Vec::new(),
    };
    Ok(Answer { at: Instant::now(), node_id, partitions, logs })
}

/// Of every partition what knows of the latest leadership; of those the leader's own word, then the
/// newest.
fn merge(answers: &[&Answer]) -> Vec<PartitionView> {
    let count = answers.iter().map(|answer| answer.partitions.len()).max().unwrap_or(0);
    let view = |place: usize| {
        let rank = |answer: &&&Answer| {
            answer.partitions.get(place).map(|one| {
                let is_leader = one.leader == Some(answer.node_id);
                (one.leader_epoch, is_leader, answer.at)
            })
        };
        let best = answers.iter().max_by_key(rank)?;
        let info = best.partitions.get(place)?;
        let ends = |answer: &&Answer| {
            let log = answer.logs.iter().find(|log| log.partition == info.partition);
            log.filter(|log| log.error.is_ok()).map(|log| log.high_watermark)
        };
        let leader = answers.iter().find(|answer| Some(answer.node_id) == info.leader);
        let high_watermark =
            leader.and_then(ends).or_else(|| answers.iter().filter_map(ends).max());
        Some(PartitionView {
            leader: info.leader,
            leader_epoch: info.leader_epoch.0,
            isr: info.isr.clone(),
            high_watermark: high_watermark.map(|Offset(end)| end),
        })
    };
    (0..count).filter_map(view).collect()
}

//! The control machine: commands in, records into `__cluster_metadata-0`, committed changes out to
//! every shard, then the answer.
//!
//! ```text
//! idle ─► preparing (directories of new partitions are made and synced, by somebody else)
//!      ─► committing (the record is appended, the flusher has it)
//!      ─► applying (every shard confirms) ─► answered, idle
//! ```
//!
//! One command at a time: metadata changes are rare, and a line of them is easy to reason about.
//!
//! **Invariant:** nothing is replayed before it is durable, and nothing is answered before every
//! shard has replayed it, so what a client was told exists does exist wherever it asks next.

use std::collections::VecDeque;
use std::ops::Range;

use bytes::{Bytes, BytesMut};

use crate::broker::back::Flushed;
use crate::broker::front::ControlAsk;
use crate::broker::mail::{RequestId, ShardId};
use crate::broker::making::{Making, Wanted};
use crate::broker::shard::Apply;
use crate::broker::site::{self, Said};
use crate::controller::change::{self, Change, ChangesError};
use crate::controller::image::ImageError;
use crate::controller::{
    BrokerKeys, Command, Controller, ControllerConfig, Outcome, PRODUCER_IDS_PER_BLOCK, Verdict,
};
use crate::ids::{NodeId, Offset, TopicId, TopicName, TopicPartition, Uuid};
use crate::journal::Entry;
use crate::journal::disk::Disk;
use crate::log::{Log, LogError, ReadError};
use crate::record::{Batch, BatchBuilder, Compression};
use crate::time::Now;
use crate::topic_config::TopicConfig;
use crate::wire::alter_partition_reassignments::AlterPartitionReassignmentsRequest;
use crate::wire::change_members::ChangeMembersResponse;
use crate::wire::configs::IncrementalAlterConfigsRequest;
use crate::wire::create_partitions::{CreatePartitionsRequest, CreatePartitionsResponse};
use crate::wire::create_topics::{CreateTopicsRequest, CreateTopicsResponse, CreatedTopic};
use crate::wire::delete_topics::{DeleteTopicsRequest, TopicOutcome};
use crate::wire::describe_members::{DescribeMembersResponse, DescribedNode, NodeState};
use crate::wire::describe_quorum::{DescribeQuorumResponse, DescribedMember};
use crate::wire::elect_leaders::ElectLeadersRequest;
use crate::wire::init_producer_id::{InitProducerIdRequest, InitProducerIdResponse};
use crate::wire::peer::hello::{BROKER, CONTROLLER};
use crate::wire::quorum::VoterId;
use crate::wire::quorum::members::MemberKind;
use crate::wire::unregister_broker::UnregisterBrokerRequest;
use crate::wire::update_features::UpdateFeaturesRequest;
use crate::wire::{ApiKey, ErrorCode, frame};

/// Name of the topic that holds the cluster's metadata.
pub const METADATA_TOPIC: &str = "__cluster_metadata";

/// The metadata partition.
pub const METADATA: TopicPartition =
    TopicPartition { topic_id: TopicId::METADATA, partition: crate::ids::Partition(0) };

/// The last epoch that a producer id is given; the one behind it is left for transactions.
const PRODUCER_EPOCH_MAX: i16 = i16::MAX - 1;

/// What the control machine wants done.
pub enum ControlOutput<D: Disk> {
    /// Make these logs on a thread that may wait for the disk, then say so by [`Control::prepared`].
    /// What is to be removed before is out of the way by then, and what comes after it is not.
    Prepare(Making<D>),
    /// Hand to the flusher.
    Persist(Entry<D::File>),
    /// Tell a shard; it confirms.
    Apply(ShardId, Apply<D>),
    /// What was set for the broker at run time has changed: put it into effect.
    Configure,
    /// Tell all shards that this node has caught up with its site.
    Inform,
    /// Answer a request of a shard's front.
    Answer(RequestId, Vec<u8>),
    /// Remove the directory of a deleted partition; its end is on its way to the journal.
    Remove(Box<Log<D>>),
    /// Do what waits for the disk, then say so by [`Site::worked`](super::site::Site::worked).
    Work(site::Work<D>),
    /// Send to a peer; it may get lost.
    Send(NodeId, Said),
    /// This node has left its site for good: let the process end, and not come back to it.
    Depart,
    /// Tell a shard what became of its leader's wish.
    Altered(ShardId, site::Altered),
}

/// Why the metadata cannot be used.
#[derive(Debug)]
pub enum MetadataError {
    /// Its log cannot be read or written.
    Log(LogError),
    /// A batch of it is damaged.
    Damaged(Offset),
    /// A record of it is not understood.
    Changes(Offset, ChangesError),
    /// The snapshot beside it is not understood.
    Image(ImageError),
}

impl std::fmt::Display for MetadataError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Log(why) => write!(f, "{METADATA_TOPIC}-0: {why}"),
            Self::Damaged(offset) => write!(
                f,
                "{METADATA_TOPIC}-0: the batch at offset {offset} is damaged; no topic is touched. \
                 Restore the directory from a copy, or move the log dir aside"
            ),
            Self::Changes(offset, why) => {
                write!(f, "{METADATA_TOPIC}-0 at offset {offset}: {why}")
            }
            Self::Image(why) => write!(f, "the snapshot of {METADATA_TOPIC}-0: {why}"),
        }
    }
}

impl std::error::Error for MetadataError {}

struct Work {
    ask: ControlAsk,
    outcome: Outcome,
}

enum State<D: Disk> {
    Idle,
    Preparing { work: Work },
    Committing { work: Work, logs: Vec<Log<D>>, end_offset: Offset },
    Applying { work: Work, version: u64, due: u16 },
}

/// The owner of the cluster's metadata on this node.
pub struct Control<D: Disk> {
    controller: Controller,
    topic_defaults: TopicConfig,
    log: Log<D>,
    shard_count: u16,
    state: State<D>,
    queue: VecDeque<ControlAsk>,
    version: u64,
    seed: u64,
    /// Producer ids that may be given out; those left over at a stop are never used.
    producer_ids: Range<i64>,
    is_failed: bool,
    outputs: VecDeque<ControlOutput<D>>,
}

/// What [`Control::start`] needs.
pub struct ControlStart<D: Disk> {
    /// The controller's configuration.
    pub controller: ControllerConfig,
    /// The log of [`METADATA`], recovered.
    pub log: Log<D>,
    /// How many shards there are.
    pub shard_count: u16,
    /// For topic ids.
    pub seed: u64,
}

/// The configuration of the metadata's own topic: kept for ever, in batches of any legal size.
pub fn metadata_topic_config() -> TopicConfig {
    TopicConfig {
        retention_ms: -1,
        retention_bytes: -1,
        segment_bytes: 16 << 20,
        segment_index_bytes: 64 << 10,
        max_message_bytes: 8 << 20,
        ..TopicConfig::default()
    }
}

impl<D: Disk> Control<D> {
    /// Replays the metadata log, then takes this boot into account. Answers the machine and the
    /// entries that must be durable before anything else happens; they are replayed already.
    pub fn start(
        now: Now,
        start: ControlStart<D>,
        cluster_id: Uuid,
    ) -> Result<(Control<D>, Vec<Entry<D::File>>), MetadataError> {
        let topic_defaults = start.controller.topic_defaults.clone();
        let mut controller = Controller::new(start.controller);
        for changes in read_all(&start.log)? {
            for change in &changes {
                controller.replay(change);
            }
        }
        let mut control = Control {
            controller,
            topic_defaults,
            log: start.log,
            shard_count: start.shard_count,
            state: State::Idle,
            queue: VecDeque::new(),
            version: 0,
            seed: start.seed,
            producer_ids: 0..0,
            is_failed: false,
            outputs: VecDeque::new(),
        };
        let outcome = control.controller.handle(Command::Boot { cluster_id }, &mut || cluster_id);
        let epoch = control.log.leader_epoch().next().expect("2^31 boots are not reached");
        let state = control.log.begin_epoch(epoch);
        let mut entries = vec![Entry::State { topic_partition: METADATA, state }];
        let (entry, end_offset) =
            control.append(now, &outcome.changes).map_err(MetadataError::Log)?;
        entries.push(entry);
        for change in &outcome.changes {
            control.controller.replay(change);
        }
        // The runtime commits these entries before the first turn.
        control.log.mark_durable(end_offset);
        Ok((control, entries))
    }

    /// Takes changes into account that no request asked for, before the first turn: what is moved
    /// in. The caller commits the entry.
    pub fn import(
        &mut self,
        now: Now,
        changes: &[Change],
    ) -> Result<Entry<D::File>, MetadataError> {
        let (entry, end_offset) = self.append(now, changes).map_err(MetadataError::Log)?;
        for change in changes {
            self.controller.replay(change);
        }
        self.log.mark_durable(end_offset);
        Ok(entry)
    }

    /// The cluster as it is.
    pub fn controller(&self) -> &Controller {
        &self.controller
    }

    /// The metadata log, for a clean stop.
    pub fn into_log(self) -> Log<D> {
        self.log
    }

    /// Next thing to do, if any.
    pub fn poll(&mut self) -> Option<ControlOutput<D>> {
        self.outputs.pop_front()
    }

    /// A front asks.
    pub fn ask(&mut self, now: Now, ask: ControlAsk) {
        self.queue.push_back(ask);
        self.advance(now);
    }

    /// The logs of the present command are made and durable, or could not be.
    pub fn prepared(&mut self, now: Now, making: Making<D>, outcome: Result<(), LogError>) {
        match (std::mem::replace(&mut self.state, State::Idle), outcome) {
            (State::Preparing { work }, Ok(())) => self.commit(now, work, making.logs),
            (State::Preparing { work }, Err(why)) => {
                log::error!("a partition could not be created: {why}");
                self.abandon(making.logs);
                self.fail(work);
            }
            (other, _) => self.state = other,
        }
        self.advance(now);
    }

    /// A commit of the flusher is on stable storage.
    pub fn flushed(&mut self, now: Now, flushed: &Flushed) {
        let Some(durable_offset) = flushed.durable_offset else { return };
        self.log.mark_durable(durable_offset);
        match std::mem::replace(&mut self.state, State::Idle) {
            State::Committing { work, logs, end_offset } if end_offset <= durable_offset => {
                self.apply(work, logs);
            }
            other => self.state = other,
        }
        self.advance(now);
    }

    /// A shard has replayed a change.
    pub fn applied(&mut self, now: Now, applied: u64) {
        if let State::Applying { version, due, .. } = &mut self.state {
            if *version == applied {
                *due -= 1;
            }
            if *due == 0 {
                let state = std::mem::replace(&mut self.state, State::Idle);
                let State::Applying { work, .. } = state else { unreachable!("matched above") };
                self.done(work);
            }
        }
        self.advance(now);
    }

    /// A shard let the log of a deleted partition go.
    pub fn retired(&mut self, log: Box<Log<D>>) {
        self.outputs.push_back(ControlOutput::Remove(log));
    }

    /// The log dir failed: no command can succeed any more.
    pub fn storage_failed(&mut self, now: Now) {
        self.is_failed = true;
        match std::mem::replace(&mut self.state, State::Idle) {
            State::Preparing { work } | State::Committing { work, .. } => self.fail(work),
            other => self.state = other,
        }
        self.advance(now);
    }

    /// Replaces what SIGHUP may replace.
    pub fn reconfigure(&mut self, config: ControllerConfig) {
        self.topic_defaults = config.topic_defaults.clone();
        self.controller.reconfigure(config);
    }

    /// Lets the broker be configured at run time, or replaces what it is started with.
    pub fn set_broker_keys(&mut self, keys: Box<dyn BrokerKeys>) {
        self.controller.set_broker_keys(keys);
    }

    fn advance(&mut self, now: Now) {
        while matches!(self.state, State::Idle) {
            let Some(ask) = self.queue.pop_front() else { return };
            if let Some(body) = self.describe_site(&ask) {
                self.outputs.push_back(ControlOutput::Answer(ask.request, body));
                continue;
            }
            if ask.api == ApiKey::DescribeQuorum {
                let body = self.describe_quorum();
                self.outputs.push_back(ControlOutput::Answer(ask.request, body));
                continue;
            }
            if let Some(body) = self.give_producer_id(&ask) {
                self.outputs.push_back(ControlOutput::Answer(ask.request, body));
                continue;
            }
            let Some(outcome) = self.handle(&ask) else {
                // The front checks frames only as far as it must; a body that does not decode
                // gets an empty answer, which no client takes for success.
                self.outputs.push_back(ControlOutput::Answer(ask.request, Vec::new()));
                continue;
            };
            let work = Work { ask, outcome };
            if work.outcome.changes.is_empty() {
                let body = answer(work.ask.api, &work.outcome.verdicts);
                self.outputs.push_back(ControlOutput::Answer(work.ask.request, body));
            } else if self.is_failed {
                self.fail(work);
            } else {
                self.prepare(now, work);
            }
        }
    }

    /// What is asked about the members of a site, of a node that is alone.
    fn describe_site(&self, ask: &ControlAsk) -> Option<Vec<u8>> {
        let node_id = self.controller.node_id();
        match ask.api {
            ApiKey::ChangeMembers => Some(frame::encode_body(&ChangeMembersResponse {
                error: ErrorCode::POLICY_VIOLATION,
                message: "this node belongs to no site: `odradek cluster init` makes one",
                is_done: false,
            })),
            ApiKey::DescribeMembers => {
                let node = DescribedNode {
                    node_id,
                    roles: BROKER | CONTROLLER,
                    kind: Some(MemberKind::Voter),
                    state: NodeState::Active,
                    host: "".into(),
                    port: 0,
                    rack: "".into(),
                    silent_ms: 0,
                    broker_epoch: self.controller.image().broker_epoch(node_id),
                    directory_id: Uuid::ZERO,
                };
                Some(frame::encode_body(&DescribeMembersResponse {
                    error: ErrorCode::NONE,
                    controller: node_id,
                    nodes: vec![node],
                }))
            }
            _ => None,
        }
    }

    /// A node that is alone is a quorum of one.
    fn describe_quorum(&self) -> Vec<u8> {
        let id = VoterId { node_id: self.controller.node_id(), incarnation: 0 };
        let durable_end_offset = self.log.durable_offset();
        frame::encode_body(&DescribeQuorumResponse {
            error: ErrorCode::NONE,
            leader: id.node_id,
            epoch: self.log.leader_epoch(),
            high_watermark: durable_end_offset,
            log_end_offset: self.log.end_offset(),
            members: vec![DescribedMember { id, kind: MemberKind::Voter, durable_end_offset }],
        })
    }

    /// Answers a command that took effect.
    fn done(&mut self, work: Work) {
        if work.ask.api == ApiKey::InitProducerId {
            let next_id = self.controller.image().next_producer_id();
            self.producer_ids = next_id - PRODUCER_IDS_PER_BLOCK..next_id;
            // It is answered from the new block.
            self.queue.push_front(work.ask);
            return;
        }
        let body = answer(work.ask.api, &work.outcome.verdicts);
        self.outputs.push_back(ControlOutput::Answer(work.ask.request, body));
    }

    /// Answers a request for a producer id, unless that takes another block of them.
    fn give_producer_id(&mut self, ask: &ControlAsk) -> Option<Vec<u8>> {
        if ask.api != ApiKey::InitProducerId {
            return None;
        }
        let next_id = self.controller.image().next_producer_id();
        give_producer_id(&ask.body, next_id, &mut self.producer_ids)
    }

    fn handle(&mut self, ask: &ControlAsk) -> Option<Outcome> {
        let asker = Asker { node_id: self.controller.node_id(), is_heard: &|_| false };
        outcome_of(&self.controller, ask.api, &ask.body, asker, &mut self.seed)
    }

    fn prepare(&mut self, now: Now, work: Work) {
        let wanted = self.wanted(&work.outcome.changes);
        if wanted.is_empty() {
            return self.commit(now, work, Vec::new());
        }
        self.state = State::Preparing { work };
        self.outputs.push_back(ControlOutput::Prepare(Making { wanted, logs: Vec::new() }));
    }

    /// Has the directories removed that were made for a command that failed.
    fn abandon(&mut self, logs: Vec<Log<D>>) {
        let removed = logs.into_iter().map(|log| ControlOutput::Remove(Box::new(log)));
        self.outputs.extend(removed);
    }

    /// The logs of new partitions that live here.
    fn wanted(&self, changes: &[Change]) -> VecDeque<Wanted> {
        // The new topics are seen as they will be, in an image that is thrown away.
        let mut image = self.controller.image().clone();
        for change in changes {
            image.replay(change);
        }
        let wanted = changes.iter().filter_map(|change| {
            let Change::Partition { topic_id, partition, replicas, leader_epoch, .. } = change
            else {
                return None;
            };
            let topic = image.topic(*topic_id).expect("it was replayed just now");
            replicas.contains(&self.controller.node_id()).then(|| Wanted {
                name: TopicName::new(&topic.name).expect("the controller checked it"),
                topic_partition: TopicPartition { topic_id: *topic_id, partition: *partition },
                config: topic.effective(&self.topic_defaults),
                begins: (replicas.len() == 1).then_some(*leader_epoch),
            })
        });
        wanted.collect()
    }

    fn commit(&mut self, now: Now, work: Work, logs: Vec<Log<D>>) {
        match self.append(now, &work.outcome.changes) {
            Ok((entry, end_offset)) => {
                self.outputs.push_back(ControlOutput::Persist(entry));
                self.state = State::Committing { work, logs, end_offset };
            }
            Err(why) => {
                log::error!("the metadata log cannot be written: {why}");
                self.is_failed = true;
                self.fail(work);
            }
        }
    }

    fn append(
        &mut self,
        now: Now,
        changes: &[Change],
    ) -> Result<(Entry<D::File>, Offset), LogError> {
        let value = change::encode(changes);
        let mut builder = BatchBuilder::new();
        builder.push(now.wall, None, Some(&value), &[]);
        let mut batch = BytesMut::from(&builder.finish(Compression::None)[..]);
        let appended = self.log.append(now, &mut batch)?;
        let end_offset = appended.end_offset;
        let bytes: Bytes = batch.freeze();
        Ok((appended.into_entry(METADATA, bytes), end_offset))
    }

    fn apply(&mut self, work: Work, logs: Vec<Log<D>>) {
        self.version += 1;
        for change in &work.outcome.changes {
            self.controller.replay(change);
        }
        let is_of_broker = |change: &Change| matches!(change, Change::BrokerConfig { .. });
        if work.outcome.changes.iter().any(is_of_broker) {
            // Before a shard confirms the change, it has what follows from it.
            self.outputs.push_back(ControlOutput::Configure);
        }
        for (shard, adopted) in share_out(logs, self.shard_count).into_iter().enumerate() {
            let changes = work.outcome.changes.clone();
            let apply = Apply { version: self.version, changes, adopted, is_current: true };
            self.outputs.push_back(ControlOutput::Apply(ShardId(shard as u16), apply));
        }
        self.state = State::Applying { work, version: self.version, due: self.shard_count };
    }

    fn fail(&mut self, mut work: Work) {
        for verdict in work.outcome.verdicts.iter_mut().filter(|verdict| verdict.error.is_ok()) {
            verdict.error = ErrorCode::KAFKA_STORAGE_ERROR;
            verdict.message = "the log dir cannot be written".into();
        }
        let body = answer(work.ask.api, &work.outcome.verdicts);
        self.outputs.push_back(ControlOutput::Answer(work.ask.request, body));
    }
}

/// Answers a request for a producer id, unless that takes another block of them. `next_id` is the
/// first that nobody was given yet.
pub(super) fn give_producer_id(
    body: &[u8],
    next_id: i64,
    producer_ids: &mut Range<i64>,
) -> Option<Vec<u8>> {
    let Ok(request) = frame::decode::<InitProducerIdRequest<'_>>(body) else {
        return Some(Vec::new());
    };
    let (producer_id, epoch) = (request.producer_id, request.producer_epoch);
    let refused = |error| Some(frame::encode_body(&InitProducerIdResponse::failed(error)));
    if request.transactional_id.is_some() {
        return refused(ErrorCode::TRANSACTIONAL_ID_AUTHORIZATION_FAILED);
    }
    if producer_id < -1 || epoch < -1 || (producer_id == -1) != (epoch == -1) {
        return refused(ErrorCode::INVALID_REQUEST);
    }
    let given = |producer_id, producer_epoch| {
        let error = ErrorCode::NONE;
        let response = InitProducerIdResponse { error, producer_id, producer_epoch };
        Some(frame::encode_body(&response))
    };
    // Only an id that was once given out has a next epoch; where there is none (KAFKA-18660), or
    // nobody knows the id, the producer begins anew under another.
    let is_ours = 0 <= producer_id && producer_id < next_id;
    if is_ours && epoch < PRODUCER_EPOCH_MAX {
        return given(producer_id, epoch + 1);
    }
    given(producer_ids.next()?, 0)
}

/// Who asks the controller, and who else is there.
#[derive(Clone, Copy)]
pub(super) struct Asker<'a> {
    /// The broker that a client asked.
    pub node_id: NodeId,
    /// Which brokers are there, for all that is known.
    pub is_heard: &'a dyn Fn(NodeId) -> bool,
}

/// What a request leads to; `None` when it does not decode. `seed` is for what gets an id.
pub(super) fn outcome_of(
    controller: &Controller,
    api: ApiKey,
    body: &[u8],
    asker: Asker<'_>,
    seed: &mut u64,
) -> Option<Outcome> {
    let mut fresh_id = || {
        let mut bytes = [0; 16];
        bytes[..8].copy_from_slice(&split_mix(seed).to_be_bytes());
        bytes[8..].copy_from_slice(&split_mix(seed).to_be_bytes());
        Uuid::from_random(bytes)
    };
    Some(match api {
        ApiKey::CreateTopics => {
            let request: CreateTopicsRequest<'_> = frame::decode(body).ok()?;
            controller.handle(Command::CreateTopics(&request), &mut fresh_id)
        }
        ApiKey::DeleteTopics => {
            let request: DeleteTopicsRequest<'_> = frame::decode(body).ok()?;
            controller.handle(Command::DeleteTopics(&request), &mut fresh_id)
        }
        ApiKey::CreatePartitions => {
            let request: CreatePartitionsRequest<'_> = frame::decode(body).ok()?;
            controller.handle(Command::CreatePartitions(&request), &mut fresh_id)
        }
        ApiKey::IncrementalAlterConfigs => {
            let request: IncrementalAlterConfigsRequest<'_> = frame::decode(body).ok()?;
            let command = Command::AlterConfigs { request: &request, asker: asker.node_id };
            controller.handle(command, &mut fresh_id)
        }
        ApiKey::ElectLeaders => {
            let request: ElectLeadersRequest<'_> = frame::decode(body).ok()?;
            controller.handle(Command::ElectLeaders(&request), &mut fresh_id)
        }
        ApiKey::AlterPartitionReassignments => {
            let request: AlterPartitionReassignmentsRequest<'_> = frame::decode(body).ok()?;
            controller.handle(Command::Reassign(&request), &mut fresh_id)
        }
        ApiKey::UnregisterBroker => {
            let request: UnregisterBrokerRequest = frame::decode(body).ok()?;
            // A node that runs a controller is there; of others its sessions know.
            let is_heard =
                (asker.is_heard)(request.node_id) || request.node_id == controller.node_id();
            let command = Command::UnregisterBroker { node_id: request.node_id, is_heard };
            controller.handle(command, &mut fresh_id)
        }
        ApiKey::UpdateFeatures => {
            let request: UpdateFeaturesRequest = frame::decode(body).ok()?;
            controller.handle(Command::UpdateFeatures(request), &mut fresh_id)
        }
        // A group asked for its coordinator, and there was no place for its state yet.
        ApiKey::FindCoordinator => controller.handle(Command::CreateOffsetsTopic, &mut fresh_id),
        ApiKey::InitProducerId => controller.handle(Command::AllocateProducerIds, &mut fresh_id),
        _ => return None,
    })
}

/// Logs by the shard that owns each.
pub(super) fn share_out<D: Disk>(logs: Vec<Log<D>>, shard_count: u16) -> Vec<Vec<Log<D>>> {
    let mut shares: Vec<Vec<Log<D>>> = Vec::new();
    shares.resize_with(usize::from(shard_count), Vec::new);
    for log in logs {
        let shard = ShardId::owner(log.topic_partition(), shard_count);
        shares[usize::from(shard.0)].push(log);
    }
    shares
}

/// The body of a response, by the verdicts.
pub(super) fn answer(api: ApiKey, verdicts: &[Verdict]) -> Vec<u8> {
    if api == ApiKey::CreateTopics {
        let topics = verdicts.iter().map(created).collect();
        frame::encode_body(&CreateTopicsResponse { topics })
    } else if api == ApiKey::InitProducerId {
        let error = verdicts.first().map_or(ErrorCode::UNKNOWN_SERVER_ERROR, |one| one.error);
        frame::encode_body(&InitProducerIdResponse::failed(error))
    } else {
        // All other APIs answer with the same list.
        let topics = verdicts.iter().map(outcome).collect();
        frame::encode_body(&CreatePartitionsResponse { topics })
    }
}

fn created(verdict: &Verdict) -> CreatedTopic<'_> {
    CreatedTopic {
        error: verdict.error,
        message: &verdict.message,
        topic_id: verdict.topic_id,
        partition_count: verdict.partition_count,
        replication_factor: verdict.replication_factor,
    }
}

fn outcome(verdict: &Verdict) -> TopicOutcome<'_> {
    TopicOutcome { error: verdict.error, message: &verdict.message }
}

/// All changes in a metadata log, list by list.
pub(super) fn read_all<D: Disk>(log: &Log<D>) -> Result<Vec<Vec<Change>>, MetadataError> {
    let mut lists = Vec::new();
    let mut offset = log.start_offset();
    while offset < log.end_offset() {
        let bytes = read_batch(log, offset)?;
        let (batch, _) = Batch::split_first(&bytes).map_err(|_| MetadataError::Damaged(offset))?;
        let next = batch.header().next_offset();
        for record in batch.records() {
            let record = record.map_err(|_| MetadataError::Damaged(offset))?;
            let value = record.value.ok_or(MetadataError::Damaged(offset))?;
            let changes =
                change::decode(value).map_err(|why| MetadataError::Changes(offset, why))?;
            lists.push(changes);
        }
        offset = next;
    }
    Ok(lists)
}

pub(super) fn read_batch<D: Disk>(log: &Log<D>, offset: Offset) -> Result<Vec<u8>, MetadataError> {
    use crate::journal::disk::DiskFile;
    loop {
        match log.read(offset, 0, log.end_offset(), true) {
            Ok(slice) if 0 < slice.bytes => {
                let mut bytes = vec![0; slice.bytes as usize];
                let read = slice.file.read_exact_at(&mut bytes, slice.position);
                read.map_err(|why| MetadataError::Log(why.into()))?;
                let is_sound =
                    Batch::split_first(&bytes).is_ok_and(|(batch, _)| batch.crc_is_valid());
                return if is_sound { Ok(bytes) } else { Err(MetadataError::Damaged(offset)) };
            }
            Err(ReadError::Cold { file, position, bytes, .. }) => {
                let mut cold = vec![0; bytes as usize];
                let warmed = file.read_at(&mut cold, position);
                warmed.map_err(|why| MetadataError::Log(why.into()))?;
            }
            Ok(_) | Err(_) => return Err(MetadataError::Damaged(offset)),
        }
    }
}

/// The next number of a `SplitMix64` sequence: ids need spread, not secrecy.
pub(super) fn split_mix(seed: &mut u64) -> u64 {
    *seed = seed.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let mut z = *seed;
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

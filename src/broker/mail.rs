//! What the two halves of a shard, and shards among each other, say.
//!
//! The front of a connection's shard asks the back of each partition's shard; an ask is one
//! message per shard and request, and gets exactly one reply. Its own back is asked in the same
//! words, without a mailbox.
//!
//! **Invariant:** an ask leaves only with a credit, which stands for the slot its reply will use,
//! so a reply is never refused. A [`Notice`] has no reply; there is at most one under way per
//! parked request and direction, so notices are bounded by parked requests. What may wait for
//! minutes (a fetch, a member that joins its group) is answered at once with "not yet": it must not
//! keep a credit.

use bytes::BytesMut;

use crate::broker::ConnectionId;
use crate::broker::metrics::ShardMetrics;
use crate::ids::{LeaderEpoch, NodeId, Offset, TopicPartition};
use crate::log::Slice;
use crate::time::Timestamp;
use crate::wire::delete_records::DeletedRecords;
use crate::wire::describe_log_dirs::DescribedLog;
use crate::wire::describe_producers::DescribedProducers;
use crate::wire::list_offsets::ListedOffset;
use crate::wire::offset_for_leader_epoch::EpochEnd;
use crate::wire::produce::ProducedPartition;
use crate::wire::replica::fetch::{FetchReplica, FetchedReplica};
use crate::wire::replica::progress::ProgressReplica;
use crate::wire::{ApiKey, ErrorCode};

/// A poll-loop thread.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct ShardId(pub u16);

impl ShardId {
    /// The shard that owns a partition, of `shard_count` shards.
    pub fn owner(topic_partition: TopicPartition, shard_count: u16) -> ShardId {
        let [a, b, c, d, ..] = topic_partition.topic_id.0.0;
        let spread = u32::from_be_bytes([a, b, c, d]);
        let place = spread.wrapping_add(topic_partition.partition.0 as u32);
        ShardId((place % u32::from(shard_count)) as u16)
    }
}

/// A request under way, unique for the life of the process.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct RequestId {
    /// The shard whose front owns it.
    pub shard: ShardId,
    /// Its number there.
    pub number: u64,
}

/// Place of an item in its request: where its result goes in the response.
pub type Place = u32;

/// A question from a front to a back.
#[derive(Debug)]
pub struct Ask {
    /// The request it is a part of.
    pub request: RequestId,
    /// The question.
    pub body: AskBody,
}

/// What is asked.
#[derive(Debug)]
pub enum AskBody {
    /// Append batches.
    Produce {
        /// As in the request.
        acks: i8,
        /// The batches.
        items: Vec<ProduceItem>,
    },
    /// Read.
    Fetch(FetchAsk),
    /// Look offsets up.
    Offsets(Vec<OffsetsItem>),
    /// Raise first offsets.
    Trim(Vec<TrimItem>),
    /// Look ends of leader epochs up.
    EpochEnds(Vec<EpochItem>),
    /// Describe partitions.
    Describe(Vec<DescribeItem>),
    /// Ask coordinators of groups.
    Group(GroupAsk),
    /// What the coordinators have answered since, for an ask that was told to wait.
    GroupAnswers,
    /// Describe producers.
    Producers(Vec<ProducersItem>),
    /// Count.
    Metrics,
}

/// Requests to coordinators of groups.
#[derive(Debug)]
pub struct GroupAsk {
    /// What kind they are.
    pub api: ApiKey,
    /// The client's name for itself.
    pub client_id: Box<str>,
    /// The address it came from.
    pub client_host: Box<str>,
    /// One for each coordinator, or for each group.
    pub items: Vec<GroupItem>,
}

/// A request to one coordinator.
#[derive(Debug)]
pub struct GroupItem {
    /// See [`Place`].
    pub place: Place,
    /// The partition of `__consumer_offsets` whose coordinator is meant.
    pub topic_partition: TopicPartition,
    /// The request's body: topics are names, and exist.
    pub body: Vec<u8>,
}

/// A batch to append.
#[derive(Debug)]
pub struct ProduceItem {
    /// See [`Place`].
    pub place: Place,
    /// Where it goes.
    pub topic_partition: TopicPartition,
    /// The batch; offset and epoch are stamped into it.
    pub batch: BytesMut,
    /// Whether an earlier batch of its producer was refused for now, and is to come first.
    pub is_behind_one: bool,
}

/// Partitions to read.
#[derive(Debug)]
pub struct FetchAsk {
    /// The partitions, the most wanted first.
    pub items: Vec<FetchItem>,
    /// At most this many bytes in all.
    pub max_bytes: u64,
    /// When fewer bytes than `.0` are there: watch, and give notice when `.1` more have come.
    pub watch: Option<FetchWatch>,
}

/// When a back should give notice.
#[derive(Clone, Copy, Debug)]
pub struct FetchWatch {
    /// Watch if fewer bytes than this are found.
    pub enough_bytes: u64,
    /// The back's share of what is missing is the whole divided by this many shards.
    pub shard_count: u64,
}

/// A partition to read.
#[derive(Clone, Copy, Debug)]
pub struct FetchItem {
    /// See [`Place`].
    pub place: Place,
    /// What to read.
    pub topic_partition: TopicPartition,
    /// From where.
    pub offset: Offset,
    /// Epoch the client knows.
    pub current_leader_epoch: LeaderEpoch,
    /// At most this many bytes.
    pub max_bytes: u32,
    /// Whether a replica that does not lead may answer (KIP-392).
    pub may_follow: bool,
}

/// A time to look up.
#[derive(Clone, Copy, Debug)]
pub struct OffsetsItem {
    /// See [`Place`].
    pub place: Place,
    /// Where.
    pub topic_partition: TopicPartition,
    /// Epoch the client knows.
    pub current_leader_epoch: LeaderEpoch,
    /// A time, or one of the constants of [`crate::wire::list_offsets`].
    pub timestamp: Timestamp,
}

/// A partition to trim.
#[derive(Clone, Copy, Debug)]
pub struct TrimItem {
    /// See [`Place`].
    pub place: Place,
    /// Which.
    pub topic_partition: TopicPartition,
    /// Its new first offset, −1 for the high watermark.
    pub offset: Offset,
}

/// A leader epoch whose end is sought.
#[derive(Clone, Copy, Debug)]
pub struct EpochItem {
    /// See [`Place`].
    pub place: Place,
    /// Where.
    pub topic_partition: TopicPartition,
    /// Epoch the client knows.
    pub current_leader_epoch: LeaderEpoch,
    /// The epoch.
    pub leader_epoch: LeaderEpoch,
}

/// A partition whose producers are to be described.
#[derive(Clone, Copy, Debug)]
pub struct ProducersItem {
    /// See [`Place`].
    pub place: Place,
    /// Which.
    pub topic_partition: TopicPartition,
}

/// A partition to describe.
#[derive(Clone, Copy, Debug)]
pub struct DescribeItem {
    /// See [`Place`].
    pub place: Place,
    /// Place of its topic in the request.
    pub topic_place: u32,
    /// Which.
    pub topic_partition: TopicPartition,
}

/// A back's answer to an [`Ask`].
#[derive(Debug)]
pub struct Reply<F> {
    /// The request it is a part of.
    pub request: RequestId,
    /// The answer.
    pub body: ReplyBody<F>,
}

/// What is answered, item by item.
#[derive(Debug)]
#[expect(missing_docs, reason = "each variant answers the ask of its name")]
pub enum ReplyBody<F> {
    Produced(Vec<(Place, ProducedPartition)>),
    Fetched {
        items: Vec<(Place, Fetched<F>)>,
        is_watching: bool,
    },
    Offsets(Vec<(Place, ListedOffset)>),
    Trimmed(Vec<(Place, DeletedRecords)>),
    EpochEnds(Vec<(Place, EpochEnd)>),
    Described(Vec<(Place, DescribedLog)>),
    /// Bodies of responses; or none yet, and a notice when they are there.
    Group {
        items: Vec<(Place, Vec<u8>)>,
        is_parked: bool,
    },
    Producers(Vec<(Place, DescribedProducers)>),
    Metrics(Vec<(&'static str, u64)>),
    ShardMetrics(Box<ShardMetrics>),
}

/// What was read from one partition.
#[derive(Clone, Debug)]
pub struct Fetched<F> {
    /// What went wrong, if anything.
    pub error: ErrorCode,
    /// End of what consumers see.
    pub high_watermark: Offset,
    /// First offset held.
    pub log_start_offset: Offset,
    /// Whole batches, where there are any.
    pub slice: Option<Slice<F>>,
}

impl<F> Fetched<F> {
    /// An answer without records.
    pub fn failed(error: ErrorCode) -> Fetched<F> {
        Fetched { error, high_watermark: Offset(-1), log_start_offset: Offset(-1), slice: None }
    }

    /// Bytes read.
    pub fn bytes(&self) -> u64 {
        self.slice.as_ref().map_or(0, |slice| slice.bytes)
    }
}

/// Word without an answer.
#[derive(Clone, Copy, Debug)]
pub enum Notice {
    /// From a back: a watched fetch would find enough more now, and the watch is over; or a parked
    /// group request has its answers.
    Progress(RequestId),
    /// From a front: a watch, or a parked group request, is no longer wanted.
    Unwatch(RequestId),
}

/// The way back to a follower on another node: a connection, and the shard that has it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Route {
    /// The shard.
    pub shard: ShardId,
    /// Its connection.
    pub connection: ConnectionId,
}

/// What a follower on another node asks of one shard's partitions. What waits at a leader keeps no
/// credit: a follower has at most two fetches of a partition under way, which bounds these.
#[derive(Debug)]
pub struct PeerAsk {
    /// By which way it asks.
    pub route: Route,
    /// Who.
    pub follower: NodeId,
    /// Its incarnation.
    pub broker_epoch: i64,
    /// What it wants.
    pub fetches: Vec<FetchReplica>,
    /// How far it is.
    pub progress: Vec<ProgressReplica>,
}

/// What shards say to each other for brokers elsewhere. None of it is answered.
#[derive(Debug)]
pub enum PeerMail<F> {
    /// To the shard that owns the partitions.
    Ask(PeerAsk),
    /// To the shard that has the connection.
    Answer(ConnectionId, FetchedReplica, Option<Slice<F>>),
    /// To all shards: a follower's connection is gone.
    Gone(NodeId, Route),
}

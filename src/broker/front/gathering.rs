//! What a request under way gathers from the shards that it asks.

use std::collections::{BTreeMap, BTreeSet};

use bytes::BytesMut;

use crate::broker::ConnectionId;
use crate::broker::groups::{GroupGathering, GroupRequest};
use crate::broker::mail::{
    AskBody, FetchAsk, FetchItem, FetchWatch, Fetched, Place, ReplyBody, ShardId,
};
use crate::broker::metrics::ShardMetrics;
use crate::time::Boot;
use crate::wire::delete_records::DeletedRecords;
use crate::wire::describe_log_dirs::DescribedLog;
use crate::wire::describe_producers::DescribedProducers;
use crate::wire::list_offsets::ListedOffset;
use crate::wire::offset_for_leader_epoch::EpochEnd;
use crate::wire::produce::ProducedPartition;

/// What a request under way gathers.
#[derive(Debug)]
pub(in super::super) enum Gathering<F> {
    Produce {
        acks: i8,
        results: Vec<Option<ProducedPartition>>,
        /// As the batches' headers say.
        record_counts: Vec<u32>,
    },
    Fetch(FetchGathering<F>),
    Offsets(Vec<Option<ListedOffset>>),
    Trim(Vec<Option<DeletedRecords>>),
    EpochEnds(Vec<Option<EpochEnd>>),
    Describe(Vec<Option<DescribedLog>>),
    Producers(Vec<Option<DescribedProducers>>),
    Metrics(Box<ShardMetrics>),
    Group(GroupGathering),
    /// The control thread has it; its answer is the body of the response.
    Control,
    /// The control thread creates topics; then the same request is handled once more.
    MetadataAfterCreate {
        body: BytesMut,
    },
    /// This node has not caught up with its site yet; then the same request is handled once more.
    MetadataLater {
        body: BytesMut,
    },
    /// The control thread makes the topic of groups; then the same request is handled once more.
    GroupAfterCreate(GroupRequest),
}

impl<F> Gathering<F> {
    /// Whether it waits for something that may never come, rather than for work that is under way.
    pub(super) fn may_wait(&self) -> bool {
        match self {
            Gathering::Fetch(_) => true,
            Gathering::Group(group) => group.may_wait(),
            _ => false,
        }
    }
}

#[derive(Debug)]
pub(in super::super) struct FetchGathering<F> {
    pub(in super::super) items: BTreeMap<ShardId, Vec<FetchItem>>,
    pub(in super::super) min_bytes: u64,
    pub(in super::super) max_bytes: u64,
    pub(in super::super) results: Vec<Option<Fetched<F>>>,
    pub(in super::super) watching: BTreeSet<ShardId>,
    /// Time is up: the next full round of replies is the answer.
    pub(in super::super) is_last_round: bool,
    /// A shard gave notice while replies were outstanding: ask once more when they are in.
    pub(in super::super) is_stale: bool,
}

/// A request under way.
#[derive(Debug)]
pub(in super::super) struct Pending<F> {
    pub(in super::super) connection: ConnectionId,
    pub(in super::super) correlation_id: u32,
    pub(in super::super) gathering: Gathering<F>,
    pub(in super::super) replies_due: usize,
    pub(in super::super) deadline: Boot,
    pub(in super::super) frame_bytes: u64,
    pub(in super::super) since: Boot,
}

impl<F> FetchGathering<F> {
    /// One ask per shard. The last round watches nothing.
    pub(in super::super) fn asks(&self) -> Vec<(ShardId, AskBody)> {
        let watch = (!self.is_last_round).then_some(FetchWatch {
            enough_bytes: self.min_bytes,
            shard_count: self.items.len() as u64,
        });
        let ask = |items: &Vec<FetchItem>| {
            AskBody::Fetch(FetchAsk { items: items.clone(), max_bytes: self.max_bytes, watch })
        };
        self.items.iter().map(|(shard, items)| (*shard, ask(items))).collect()
    }

    /// Offsets from where was asked to the ends of what was found: records, save for gaps.
    pub(in super::super) fn offset_count(&self) -> u64 {
        let found = |item: &FetchItem| {
            let slice = self.results[item.place as usize].as_ref()?.slice.as_ref()?;
            u64::try_from(slice.end_offset.0 - item.offset.0).ok()
        };
        self.items.values().flatten().filter_map(found).sum()
    }

    pub(super) fn is_enough(&self) -> bool {
        let found: u64 = self.results.iter().flatten().map(Fetched::bytes).sum();
        let failed = |fetched: &Fetched<F>| !fetched.error.is_ok();
        self.is_last_round || self.min_bytes <= found || self.results.iter().flatten().any(failed)
    }
}

pub(super) fn gather<F>(gathering: &mut Gathering<F>, from: ShardId, body: ReplyBody<F>) {
    match (gathering, body) {
        (Gathering::Produce { results, .. }, ReplyBody::Produced(items)) => place(results, items),
        (Gathering::Offsets(results), ReplyBody::Offsets(items)) => place(results, items),
        (Gathering::Trim(results), ReplyBody::Trimmed(items)) => place(results, items),
        (Gathering::EpochEnds(results), ReplyBody::EpochEnds(items)) => place(results, items),
        (Gathering::Describe(results), ReplyBody::Described(items)) => place(results, items),
        (Gathering::Producers(results), ReplyBody::Producers(items)) => place(results, items),
        (Gathering::Fetch(fetch), ReplyBody::Fetched { items, is_watching }) => {
            place(&mut fetch.results, items);
            if is_watching {
                fetch.watching.insert(from);
            }
        }
        (Gathering::Metrics(sums), ReplyBody::ShardMetrics(shard)) => sums.add(*shard),
        (Gathering::Group(group), ReplyBody::Group { items, is_parked }) => {
            place(&mut group.results, items);
            if is_parked {
                group.parked.insert(from);
            }
        }
        _ => unreachable!("a reply is of the kind of its ask"),
    }
}

fn place<T>(results: &mut [Option<T>], items: Vec<(Place, T)>) {
    for (place, item) in items {
        results[place as usize] = Some(item);
    }
}

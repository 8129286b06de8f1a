//! Starting a node of a site from what is on its disk.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use bytes::Bytes;

use crate::broker::control::{MetadataError, read_all, read_batch};
use crate::broker::site::active::Active;
use crate::broker::site::applying::{Applying, READS, read_changes};
use crate::broker::site::asking::Asking;
use crate::broker::site::kept::{Found, KeptState};
use crate::broker::site::storage::Storage;
use crate::broker::site::{Site, SiteConfig};
use crate::controller::image::Image;
use crate::controller::{Controller, ControllerConfig};
use crate::ids::{LeaderEpoch, NodeId, Offset, TopicPartition, Uuid};
use crate::journal::disk::Disk;
use crate::log::Log;
use crate::quorum::{Base, Leadership, Members, Quorum, Snapshot, Start, StartError, VoterId};
use crate::record::BatchHeader;
use crate::time::{Boot, Now};
use crate::wire::peer::hello::WITNESS;

/// What is on the disk of a node that is to take part in a quorum.
#[derive(Debug)]
pub enum Standing {
    /// Nothing: it was never part of a site.
    Blank,
    /// The log of a node that was alone.
    Alone,
    /// What a member of a quorum left.
    Member {
        /// Its promises.
        state: KeptState,
        /// What its log stands on.
        base: Base,
        /// Its log.
        batches: Vec<Bytes>,
    },
    /// Something of a member is missing or damaged: it must come back as another voter.
    Lost(&'static str),
}

/// What [`Site::start`] needs.
pub struct SiteStart<D: Disk> {
    /// What the node is told of itself.
    pub config: SiteConfig,
    /// The controller's configuration.
    pub controller: ControllerConfig,
    /// The log of the metadata, recovered.
    pub log: Log<D>,
    /// What was found in it and beside it.
    pub standing: Standing,
    /// How many shards there are.
    pub shard_count: u16,
    /// For topic ids, and election timeouts.
    pub seed: u64,
    /// Another life of the node, if it needs one.
    pub incarnation: u32,
    /// This process.
    pub process: Uuid,
    /// Its log dir.
    pub directory_id: Uuid,
    /// The cluster's identity, if this node founds it.
    pub cluster_id: Uuid,
}

/// What a start found on disk of partitions.
pub struct FoundCopies<D: Disk> {
    /// Logs that the metadata does not name yet.
    pub unclaimed: BTreeMap<TopicPartition, Log<D>>,
    /// Partitions whose copy is not what it was.
    pub unsound: BTreeSet<TopicPartition>,
    /// Whether the journal cannot say so of any
    /// ([`Opened::is_unproven`](crate::journal::Opened::is_unproven)).
    pub is_unproven: bool,
    /// Whether each process ended cleanly since the controller was told of one.
    pub was_clean: bool,
}

/// Why a node of a site does not start.
#[derive(Debug)]
pub enum SiteError {
    /// Its metadata cannot be read.
    Metadata(MetadataError),
    /// Its quorum log cannot be used.
    Quorum(StartError),
    /// It was alone, with so many topics, and is not the one that founds the site.
    HasOwnCluster(usize),
}

impl std::fmt::Display for SiteError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Metadata(why) => why.fmt(f),
            Self::Quorum(why) => write!(f, "the quorum's log: {why}"),
            Self::HasOwnCluster(topic_count) => write!(
                f,
                "this node was alone and has {topic_count} topics of its own; only the one that \
                 begins the site brings its topics along. Give it an empty log dir"
            ),
        }
    }
}

impl std::error::Error for SiteError {}

/// What a log and what is kept beside it amount to.
#[expect(clippy::needless_pass_by_value, reason = "what was found is used up here")]
pub fn examine<D: Disk>(
    node_id: NodeId,
    log: &Log<D>,
    state: Found<KeptState>,
    snapshot: Found<Snapshot>,
    is_journal_sound: bool,
) -> Standing {
    let state = match state {
        Found::Sound(state) => state,
        Found::Damaged => return Standing::Lost("its promises are damaged"),
        Found::Never if snapshot != Found::Never => {
            return Standing::Lost("its promises are missing");
        }
        Found::Never if Offset::ZERO < log.end_offset() => return Standing::Alone,
        Found::Never => return Standing::Blank,
    };
    if !is_journal_sound {
        return Standing::Lost("the journal is damaged");
    }
    if !log.holes().is_empty() {
        return Standing::Lost("its log has a hole");
    }
    let Ok(batches) = read_batches(log) else { return Standing::Lost("its log is damaged") };
    let (base, batches) = match snapshot {
        Found::Sound(snapshot) => (Base::Snapshot(snapshot), batches),
        Found::Damaged => return Standing::Lost("its snapshot is damaged"),
        Found::Never if state.is_founder && log.start_offset() == Offset::ZERO => {
            let Some((first, rest)) = batches.split_first() else {
                return Standing::Lost("its log is empty");
            };
            let header = BatchHeader::parse(first).expect("it was just read");
            let members = Members::voting([VoterId { node_id, incarnation: state.incarnation }]);
            (Base::Bootstrap { epoch: header.leader_epoch, members }, rest.to_vec())
        }
        // It was heard of, and never got a log.
        Found::Never if log.end_offset() == Offset::ZERO => (Base::Nothing, batches),
        Found::Never => return Standing::Lost("its snapshot is missing"),
    };
    Standing::Member { state, base, batches }
}

fn read_batches<D: Disk>(log: &Log<D>) -> Result<Vec<Bytes>, MetadataError> {
    let mut batches = Vec::new();
    let mut offset = log.start_offset();
    while offset < log.end_offset() {
        let bytes = read_batch(log, offset)?;
        let header = BatchHeader::parse(&bytes).map_err(|_| MetadataError::Damaged(offset))?;
        offset = header.next_offset();
        batches.push(Bytes::from(bytes));
    }
    Ok(batches)
}

fn offset_of(batch: &[u8]) -> Offset {
    BatchHeader::parse(batch).expect("it was just read").base_offset
}

/// What a node knows before its quorum starts.
struct Known {
    controller: Controller,
    state: KeptState,
    base: Base,
    batches: Vec<Bytes>,
    /// The end of the metadata that the controller has replayed.
    replayed_end: Offset,
    is_legacy: bool,
}

impl Known {
    fn of<D: Disk>(
        mut controller: Controller,
        log: &Log<D>,
        standing: Standing,
        incarnation: u32,
    ) -> Result<Known, MetadataError> {
        let blank = KeptState {
            incarnation,
            is_founder: false,
            epoch: LeaderEpoch(0),
            vote: None,
            high_watermark: Offset::ZERO,
        };
        let is_legacy = matches!(standing, Standing::Alone);
        let (state, base, batches) = match standing {
            Standing::Member { state, base, batches } => (state, base, batches),
            Standing::Alone | Standing::Blank | Standing::Lost(_) => {
                (blank, Base::Nothing, Vec::new())
            }
        };
        let replayed_end = match &base {
            Base::Nothing if is_legacy => {
                let lists = read_all(log)?;
                lists.iter().flatten().for_each(|change| controller.replay(change));
                log.end_offset()
            }
            Base::Nothing => Offset::ZERO,
            Base::Bootstrap { .. } => {
                let batch = read_batch(log, Offset::ZERO)?;
                let changes = read_changes(&batch).transpose();
                let changes = changes.map_err(|why| MetadataError::Changes(Offset::ZERO, why))?;
                controller.replay_batch(changes.unwrap_or_default(), Offset(1));
                Offset(1)
            }
            Base::Snapshot(snapshot) => {
                let image = Image::read(&snapshot.image);
                controller.restore(image.map_err(MetadataError::Image)?);
                Offset(snapshot.last_offset.0 + 1)
            }
        };
        for batch in &batches {
            let read = read_changes(batch).transpose();
            read.map_err(|why| MetadataError::Changes(offset_of(batch), why))?;
        }
        Ok(Known { controller, state, base, batches, replayed_end, is_legacy })
    }
}

impl<D: Disk> Site<D> {
    /// A node as it was left. What is committed for all it knows is replayed already; the log comes
    /// back where it cannot be used.
    pub fn start(now: Now, start: SiteStart<D>) -> Result<Site<D>, (SiteError, Box<Log<D>>)> {
        let SiteStart { config, controller, log, standing, seed, .. } = start;
        let node_id = controller.node_id;
        let topic_defaults = controller.topic_defaults.clone();
        if matches!(standing, Standing::Alone) && !config.may_found {
            let count = Known::of(Controller::new(controller), &log, standing, start.incarnation)
                .map_or(1, |known| known.controller.image().topic_count());
            return Err((SiteError::HasOwnCluster(count), Box::new(log)));
        }
        // Of a log that was given up nothing is told.
        let is_member = matches!(standing, Standing::Member { .. });
        let found_end = if is_member { log.end_offset() } else { Offset(-1) };
        let controller = Controller::new(controller);
        let known = match Known::of(controller, &log, standing, start.incarnation) {
            Ok(known) => known,
            Err(why) => return Err((SiteError::Metadata(why), Box::new(log))),
        };
        let Known { controller, state, base, batches, replayed_end, is_legacy } = known;
        let has_log = base != Base::Nothing || is_legacy;
        let id = VoterId { node_id, incarnation: state.incarnation };
        let is_witness = config.roles & WITNESS != 0;
        let (timeouts, hard_state) = (config.timeouts, state.hard_state());
        let reads = READS;
        let quorum = Start { id, is_witness, reads, timeouts, seed, hard_state, base, batches };
        let quorum = match Quorum::start(now, quorum) {
            Ok(quorum) => quorum,
            Err(why) => return Err((SiteError::Quorum(why), Box::new(log))),
        };
        let mut site = Site {
            config,
            controller,
            topic_defaults,
            shard_count: start.shard_count,
            id,
            process: start.process,
            directory_id: start.directory_id,
            cluster_id: start.cluster_id,
            quorum: Some(quorum),
            founding: None,
            has_log,
            is_legacy,
            storage: Storage::new(log, state),
            leadership: Leadership::default(),
            replayed_end,
            applying: Applying::new(replayed_end),
            active: Active::default(),
            asking: Asking::new(start.process),
            peers: BTreeMap::new(),
            sees_all: false,
            gone: BTreeSet::new(),
            unclaimed: BTreeMap::new(),
            unsound: BTreeSet::new(),
            is_unproven: false,
            was_clean: false,
            found_end,
            seed,
            look_at: Boot(0),
            wants_image: false,
            is_failed: false,
            refused: BTreeSet::new(),
            last_refusal: None,
            outputs: VecDeque::new(),
        };
        site.drain(now);
        site.note_voters();
        // There are no shards yet: they are given the image as it is.
        site.applying = Applying::new(site.replayed_end);
        Ok(site)
    }

    /// Takes what a start found on disk of partitions.
    pub fn note_found(&mut self, found: FoundCopies<D>) {
        self.unclaimed = found.unclaimed;
        self.unsound = found.unsound;
        self.is_unproven = found.is_unproven;
        self.was_clean = found.was_clean;
    }
}

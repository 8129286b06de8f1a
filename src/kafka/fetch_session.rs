//! Fetch sessions (KIP-227): a client names its partitions once, and afterwards only what changed.
//!
//! ```text
//! session epoch   the request                    the response
//! −1              all partitions, no session     all of them, session id 0
//!  0              all partitions, a new session  all of them, the session's id
//!  n              what changed since n − 1       partitions with records, errors or other offsets
//! ```
//!
//! A session belongs to its connection and ends with it: a client keeps one connection per broker,
//! and takes `FETCH_SESSION_ID_NOT_FOUND` as the word to begin anew. So the broker needs no cache
//! with evictions; what a session may hold is bounded, and larger ones are declined by id 0.
//!
//! Each fetch begins behind the partition that came first last time, so that a bound on the bytes
//! of a response starves none.

use std::collections::BTreeMap;
use std::ops::Bound;

use crate::ids::{LeaderEpoch, Offset, Partition, TopicId};
use crate::limits::KAFKA_SESSION_PARTITIONS_MAX;
use crate::wire::ErrorCode;
use crate::wire::fetch::FetchedPartition;
use crate::wire::kafka::fetch::{FetchPartition, FetchRequest};

/// Epochs with a meaning of their own.
const NO_SESSION: i32 = -1;
const NEW_SESSION: i32 = 0;

/// A topic as the session's requests name it: by name before version 13, by id from then on.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct TopicKey {
    pub(super) name: Box<str>,
    pub(super) id: TopicId,
}

/// What a client wants of a partition, and what it was told last.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Cached {
    pub(super) offset: Offset,
    pub(super) current_leader_epoch: LeaderEpoch,
    pub(super) max_bytes: i32,
    told: Option<(Offset, Offset)>,
}

impl Cached {
    pub(super) fn of(item: &FetchPartition) -> Cached {
        Cached {
            offset: item.fetch_offset,
            current_leader_epoch: item.current_leader_epoch,
            max_bytes: item.partition_max_bytes,
            told: None,
        }
    }
}

/// A client's session.
#[derive(Debug)]
pub(super) struct Session {
    id: i32,
    /// Epoch of the next request.
    epoch: i32,
    names_by_id: bool,
    partitions: BTreeMap<(TopicKey, Partition), Cached>,
    first: Option<(TopicKey, Partition)>,
}

/// How a request relates to the connection's session.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Mode {
    /// All partitions are named and answered; there is no session.
    Without,
    /// All are named and answered, and kept.
    New,
    /// Those kept are fetched, and answered where there is something to say.
    Incremental,
}

/// The sessions of one connection: at most one.
#[derive(Debug, Default)]
pub(super) struct Sessions {
    current: Option<Session>,
    last_id: i32,
}

impl Sessions {
    /// Takes a request into account, and answers how it is to be read.
    pub(super) fn take(
        &mut self,
        request: &FetchRequest<'_>,
        names_by_id: bool,
    ) -> Result<Mode, ErrorCode> {
        match request.session_epoch {
            NO_SESSION => {
                self.close(request.session_id);
                Ok(Mode::Without)
            }
            NEW_SESSION => {
                self.close(request.session_id);
                Ok(self.open(request, names_by_id))
            }
            epoch => {
                let session = self.current.as_mut().filter(|s| s.id == request.session_id);
                let session = session.ok_or(ErrorCode::FETCH_SESSION_ID_NOT_FOUND)?;
                session.go_on(request, epoch, names_by_id)?;
                Ok(Mode::Incremental)
            }
        }
    }

    fn close(&mut self, id: i32) {
        if self.current.as_ref().is_some_and(|session| session.id == id) {
            self.current = None;
        }
    }

    fn open(&mut self, request: &FetchRequest<'_>, names_by_id: bool) -> Mode {
        let mut session = Session {
            id: self.last_id.checked_add(1).unwrap_or(1),
            epoch: 1,
            names_by_id,
            partitions: BTreeMap::new(),
            first: None,
        };
        self.current = None;
        // A session without partitions, or with too many, is none.
        if session.add(request).is_err() || session.partitions.is_empty() {
            return Mode::Without;
        }
        self.last_id = session.id;
        self.current = Some(session);
        Mode::New
    }

    /// The session that a response belongs to.
    pub(super) fn of(&mut self, id: i32) -> Option<&mut Session> {
        self.current.as_mut().filter(|session| session.id == id)
    }

    /// The id to answer with; 0 for none.
    pub(super) fn id(&self, mode: Mode) -> i32 {
        match (mode, &self.current) {
            (Mode::New | Mode::Incremental, Some(session)) => session.id,
            _ => 0,
        }
    }
}

impl Session {
    fn add(&mut self, request: &FetchRequest<'_>) -> Result<(), ErrorCode> {
        for topic in &request.topics {
            let key = TopicKey { name: topic.topic.into(), id: topic.topic_id };
            for item in &topic.partitions {
                let place = (key.clone(), item.partition);
                // What is asked anew is answered anew.
                self.partitions.insert(place, Cached::of(item));
                if KAFKA_SESSION_PARTITIONS_MAX < self.partitions.len() {
                    return Err(ErrorCode::FETCH_SESSION_ID_NOT_FOUND);
                }
            }
        }
        Ok(())
    }

    fn go_on(
        &mut self,
        request: &FetchRequest<'_>,
        epoch: i32,
        names_by_id: bool,
    ) -> Result<(), ErrorCode> {
        if epoch != self.epoch {
            return Err(ErrorCode::INVALID_FETCH_SESSION_EPOCH);
        }
        if names_by_id != self.names_by_id {
            return Err(ErrorCode::FETCH_SESSION_TOPIC_ID_ERROR);
        }
        self.epoch = self.epoch.checked_add(1).unwrap_or(1);
        for topic in &request.forgotten_topics_data {
            let key = TopicKey { name: topic.topic.into(), id: topic.topic_id };
            for partition in &topic.partitions {
                self.partitions.remove(&(key.clone(), *partition));
            }
        }
        self.add(request)
    }

    /// The partitions to fetch, in the order in which they are wanted this time.
    pub(super) fn wanted(&mut self) -> Vec<(TopicKey, Partition, Cached)> {
        let one = |((topic, partition), cached): (&(TopicKey, Partition), &Cached)| {
            (topic.clone(), *partition, cached.clone())
        };
        let wanted: Vec<_> = match self.first.take() {
            None => self.partitions.iter().map(one).collect(),
            Some(first) => {
                let behind = self.partitions.range((Bound::Excluded(&first), Bound::Unbounded));
                behind.chain(self.partitions.range(..=&first)).map(one).collect()
            }
        };
        self.first = wanted.first().map(|(topic, partition, _)| (topic.clone(), *partition));
        wanted
    }

    /// Whether a partition's result is worth telling, which it then counts as told.
    pub(super) fn tell(
        &mut self,
        topic: &TopicKey,
        partition: Partition,
        fetched: &FetchedPartition,
    ) -> bool {
        let Some(cached) = self.partitions.get_mut(&(topic.clone(), partition)) else {
            return true;
        };
        let offsets = (fetched.high_watermark, fetched.log_start_offset);
        let is_news = cached.told != Some(offsets);
        // An error is told each time, and what follows it is news again.
        cached.told = fetched.error.is_ok().then_some(offsets);
        is_news || 0 < fetched.records_bytes || !fetched.error.is_ok()
    }
}

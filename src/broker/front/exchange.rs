//! What goes in at the front and what comes out: a door's requests and answers, and responses as
//! bytes.

use bytes::BytesMut;

use crate::broker::awaited::Nowhere;
use crate::ids::{LeaderEpoch, Offset, TopicPartition};
use crate::log::Slice;
use crate::wire::fetch::FetchedPartition;
use crate::wire::produce::ProducedPartition;
use crate::wire::{ApiKey, ErrorCode};

/// Bytes to send, and between them slices of segments as they are.
#[derive(Debug)]
pub struct Response<F> {
    /// First these,
    pub head: Vec<u8>,
    /// then each slice and the bytes behind it.
    pub tail: Vec<(Slice<F>, Vec<u8>)>,
}

impl<F> Response<F> {
    /// These bytes.
    pub fn of(head: Vec<u8>) -> Response<F> {
        Response { head, tail: Vec::new() }
    }

    /// And then these.
    pub fn push_bytes(&mut self, bytes: &[u8]) {
        let end = self.tail.last_mut().map_or(&mut self.head, |(_, behind)| behind);
        end.extend_from_slice(bytes);
    }

    /// And then this.
    pub fn push_slice(&mut self, slice: Slice<F>) {
        self.tail.push((slice, Vec::new()));
    }
}

/// A request from a door: another protocol's, put in our words.
#[derive(Debug)]
pub enum Request {
    /// Append batches. Answered by [`Answer::Produced`], unless `acks` is 0.
    Produce {
        /// See [`crate::wire::produce`].
        acks: i8,
        /// How long an answer to `acks` −1 may take.
        timeout_ms: u32,
        /// Where each batch goes, or why it goes nowhere.
        batches: Vec<(Result<TopicPartition, Nowhere>, BytesMut)>,
    },
    /// Read. Answered by [`Answer::Fetched`].
    Fetch {
        /// Answer after this many ms, whatever is there.
        max_wait_ms: u32,
        /// Answer as soon as this many bytes are there.
        min_bytes: u32,
        /// At most this many bytes in all.
        max_bytes: u32,
        /// Whether a replica that does not lead may answer (KIP-392).
        may_follow: bool,
        /// What to read, or why it cannot be.
        wanted: Vec<Result<FetchWanted, ErrorCode>>,
    },
    /// The body of one of the wire's other requests. Answered by [`Answer::Body`].
    Wire(ApiKey, BytesMut),
    /// The same of a request to a group's coordinator, and the client's name for itself.
    Group(ApiKey, BytesMut, Box<str>),
}

/// A place to read from.
#[derive(Clone, Copy, Debug)]
pub struct FetchWanted {
    /// Which partition.
    pub topic_partition: TopicPartition,
    /// First offset wanted.
    pub offset: Offset,
    /// Leader epoch the client knows.
    pub current_leader_epoch: LeaderEpoch,
    /// At most this many bytes.
    pub max_bytes: u32,
}

/// What a door is answered, in the order in which it asked.
#[derive(Debug)]
pub enum Answer<F> {
    /// One result per batch.
    Produced(Vec<ProducedPartition>),
    /// One result per place.
    Fetched {
        /// The results,
        partitions: Vec<FetchedPartition>,
        /// and the batches of those that have some.
        slices: Vec<Slice<F>>,
    },
    /// The body of the wire's response.
    Body(Vec<u8>),
}

/// An answer, ready to leave.
pub(in super::super) enum Ready<F> {
    Frame(Response<F>),
    Door(Answer<F>),
}

impl<F> Ready<F> {
    /// Bytes that it keeps in memory; a slice keeps none.
    pub(super) fn head_bytes(&self) -> usize {
        match self {
            Ready::Frame(response) => response.head.len(),
            Ready::Door(Answer::Body(body)) => body.len(),
            Ready::Door(Answer::Produced(results)) => size_of_val(&results[..]),
            Ready::Door(Answer::Fetched { partitions, .. }) => size_of_val(&partitions[..]),
        }
    }
}

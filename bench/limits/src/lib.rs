//! What the bare programs share: frames from a socket, and the answers that say nothing.

use std::io::{self, Read};

use odradek::ids::{NodeId, Offset, TopicId, Uuid};
use odradek::time::Timestamp;
use odradek::wire::ErrorCode;
use odradek::wire::create_topics::{CreateTopicsResponse, CreatedTopic};
use odradek::wire::hello::HelloResponse;
use odradek::wire::produce::{ProduceResponse, ProducedPartition};

/// A read takes at most this much, so that it is still in the cache when it is checked.
const READ_BYTES_MAX: usize = 256 << 10;

/// Frames from a socket, each behind its length, read in large pieces.
pub struct Frames {
    input: Vec<u8>,
    start: usize,
    end: usize,
}

impl Default for Frames {
    fn default() -> Frames {
        Frames { input: vec![0; 2 * READ_BYTES_MAX], start: 0, end: 0 }
    }
}

impl Frames {
    /// The next frame without its length, if it is all there.
    pub fn take(&mut self) -> Option<&mut [u8]> {
        let bytes = self.wanted();
        if self.end - self.start < bytes.max(4) {
            return None;
        }
        let frame = self.start + 4..self.start + bytes;
        self.start += bytes;
        Some(&mut self.input[frame])
    }

    /// Bytes the frame at the front needs in all, as far as that is known.
    fn wanted(&self) -> usize {
        let prefix = self.input[self.start..self.end].first_chunk();
        prefix.map_or(4, |prefix| 4 + u32::from_be_bytes(*prefix) as usize)
    }

    /// Reads once; answers how much there was, 0 at the end.
    pub fn fill(&mut self, mut from: impl Read) -> io::Result<usize> {
        let wanted = self.wanted();
        if self.input.len() < self.start + wanted || self.start == self.end {
            self.input.copy_within(self.start..self.end, 0);
            (self.start, self.end) = (0, self.end - self.start);
            let bytes = self.input.len().max(wanted);
            self.input.resize(bytes, 0);
        }
        let room = self.input.len().min(self.end + READ_BYTES_MAX);
        let read = from.read(&mut self.input[self.end..room])?;
        self.end += read;
        Ok(read)
    }
}

/// Each batch was taken.
pub fn produced(partition_count: usize) -> ProduceResponse {
    let answer = ProducedPartition {
        error: ErrorCode::NONE,
        base_offset: Offset(0),
        log_append_time: Timestamp::NONE,
        log_start_offset: Offset(0),
        bad_records: Vec::new(),
    };
    ProduceResponse { partitions: vec![answer; partition_count] }
}

/// The handshake of a program of this name.
pub fn hello(software: &str) -> HelloResponse<'_> {
    HelloResponse {
        error: ErrorCode::NONE,
        cluster_id: Uuid([0; 16]),
        node_id: NodeId(0),
        software,
        features: 0,
        frame_bytes_max: u32::MAX,
        apis: vec![],
    }
}

/// A topic was made.
pub fn created(replication_factor: i16) -> CreateTopicsResponse<'static> {
    let topic = CreatedTopic {
        error: ErrorCode::NONE,
        message: "",
        topic_id: TopicId(Uuid([0; 16])),
        partition_count: 1,
        replication_factor,
    };
    CreateTopicsResponse { topics: vec![topic] }
}

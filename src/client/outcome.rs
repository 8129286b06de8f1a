//! What becomes of a record that was sent: told exactly once, to a handle, to a callback, or to
//! nobody.
//!
//! All records of a batch share one [`Outcome`], so that a record costs no allocation of its own.

use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use crate::client::ClientError;
use crate::ids::{Offset, Partition};
use crate::time::Timestamp;

/// Where a record was written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RecordMetadata {
    /// Its topic.
    pub topic: Arc<str>,
    /// Its partition.
    pub partition: Partition,
    /// Its offset; −1 with `acks` 0, where nobody knows it.
    pub offset: Offset,
    /// Its timestamp as stored.
    pub timestamp: Timestamp,
}

/// Called once with the outcome of a record.
pub type Callback = Box<dyn FnOnce(Result<RecordMetadata, ClientError>) + Send>;

/// What the broker said of a batch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Ack {
    /// Offset of the first record, −1 if unknown.
    pub base_offset: Offset,
    /// The broker's time, if the topic takes that.
    pub log_append_time: Timestamp,
}

impl Ack {
    pub const UNKNOWN: Ack = Ack { base_offset: Offset(-1), log_append_time: Timestamp::NONE };

    pub fn metadata(&self, place: &Place, index: u32) -> RecordMetadata {
        let is_known = 0 <= self.base_offset.0;
        let offset = if is_known { self.base_offset.0 + i64::from(index) } else { -1 };
        let is_stamped = self.log_append_time != Timestamp::NONE;
        RecordMetadata {
            topic: Arc::clone(&place.topic),
            partition: place.partition,
            offset: Offset(offset),
            timestamp: if is_stamped { self.log_append_time } else { place.timestamp },
        }
    }
}

/// What a record knows of itself before it is acknowledged.
#[derive(Clone, Debug)]
pub(super) struct Place {
    pub topic: Arc<str>,
    pub partition: Partition,
    pub timestamp: Timestamp,
}

#[derive(Debug)]
enum State {
    Pending,
    Done(Result<Ack, ClientError>),
    /// The batch was cut: from this index on, records belong to that outcome.
    Split(Vec<(u32, Arc<Outcome>)>),
}

/// The fate of one batch.
#[derive(Debug)]
pub(super) struct Outcome {
    state: Mutex<State>,
    changed: Condvar,
}

impl Outcome {
    pub fn new() -> Arc<Outcome> {
        Arc::new(Outcome { state: Mutex::new(State::Pending), changed: Condvar::new() })
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        // A panic elsewhere cannot leave the state half changed: it is replaced as a whole.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub fn complete(&self, result: Result<Ack, ClientError>) {
        let mut state = self.lock();
        assert!(matches!(*state, State::Pending), "a batch has one outcome");
        *state = State::Done(result);
        self.changed.notify_all();
    }

    /// `parts` in ascending order, each with the index of its first record.
    pub fn split(&self, parts: Vec<(u32, Arc<Outcome>)>) {
        let mut state = self.lock();
        assert!(matches!(*state, State::Pending), "a batch has one outcome");
        *state = State::Split(parts);
        self.changed.notify_all();
    }
}

/// The promise of one record's outcome.
#[derive(Clone, Debug)]
pub struct SendHandle {
    pub(super) outcome: Arc<Outcome>,
    pub(super) index: u32,
    pub(super) place: Place,
}

impl SendHandle {
    /// Waits for the outcome; `delivery.timeout.ms` bounds it.
    pub fn wait(&self) -> Result<RecordMetadata, ClientError> {
        self.wait_until(None).expect("without a deadline there is an outcome")
    }

    /// Waits at most `timeout`; `None` when there is no outcome yet.
    pub fn wait_timeout(&self, timeout: Duration) -> Option<Result<RecordMetadata, ClientError>> {
        self.wait_until(Some(Instant::now() + timeout))
    }

    /// Whether [`SendHandle::wait`] would return at once.
    pub fn is_done(&self) -> bool {
        self.wait_timeout(Duration::ZERO).is_some()
    }

    fn wait_until(&self, deadline: Option<Instant>) -> Option<Result<RecordMetadata, ClientError>> {
        let mut outcome = Arc::clone(&self.outcome);
        let mut index = self.index;
        loop {
            let mut state = outcome.lock();
            while matches!(*state, State::Pending) {
                state = match deadline {
                    None => outcome.changed.wait(state).unwrap_or_else(PoisonError::into_inner),
                    Some(deadline) => {
                        let left = deadline.saturating_duration_since(Instant::now());
                        if left.is_zero() {
                            return None;
                        }
                        let waited = outcome.changed.wait_timeout(state, left);
                        waited.unwrap_or_else(PoisonError::into_inner).0
                    }
                };
            }
            let next = match &*state {
                State::Pending => None,
                State::Done(Ok(ack)) => return Some(Ok(ack.metadata(&self.place, index))),
                State::Done(Err(error)) => return Some(Err(error.clone())),
                State::Split(parts) => {
                    let part = parts.iter().rev().find(|(first, _)| *first <= index);
                    part.map(|(first, outcome)| (*first, Arc::clone(outcome)))
                }
            };
            drop(state);
            let (first, part) = next.expect("the first part begins at index 0");
            index -= first;
            outcome = part;
        }
    }
}

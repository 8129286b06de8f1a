//! Interceptors: what a user hooks into every record on its way out or in (semantics.md row 61;
//! Kafka's `interceptor.classes`).
//!
//! They form a chain: each gets what the one before it made. One that fails or panics is logged
//! and passed over, and the next gets what this one got; no send, poll or commit fails for it.

use std::collections::BTreeMap;
use std::error::Error;
use std::fmt;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

use crate::client::ClientError;
use crate::client::offsets::{OffsetAndMetadata, TopicPartition};
use crate::client::outcome::RecordMetadata;
use crate::client::position::ConsumerRecord;
use crate::client::producer_record::ProducerRecord;

/// Sees every record that a producer sends, as bytes: serializers have run.
///
/// ```
/// use std::borrow::Cow;
/// use std::error::Error;
/// use odradek::client::{ProducerInterceptor, ProducerRecord};
///
/// #[derive(Debug)]
/// struct Stamp(String);
///
/// impl ProducerInterceptor for Stamp {
///     fn on_send<'a>(
///         &self,
///         mut record: ProducerRecord<'a>,
///     ) -> Result<ProducerRecord<'a>, Box<dyn Error>> {
///         let site = self.0.clone().into_bytes();
///         record.headers.push((Cow::Borrowed("site"), Some(Cow::Owned(site))));
///         Ok(record)
///     }
/// }
///
/// let record = Stamp("roof".to_owned()).on_send(ProducerRecord::new("t", "v"))?;
/// assert_eq!(record.headers[0].1.as_deref(), Some(&b"roof"[..]));
/// # Ok::<(), Box<dyn Error>>(())
/// ```
pub trait ProducerInterceptor: fmt::Debug + Send + Sync {
    /// Called by `send`, before a partition is chosen. Better leave topic and partition alone.
    fn on_send<'a>(
        &self,
        record: ProducerRecord<'a>,
    ) -> Result<ProducerRecord<'a>, Box<dyn Error>> {
        Ok(record)
    }

    /// Called once for each record with what became of it, before its callback: on the sending
    /// thread, or by `send` where that fails.
    fn on_acknowledgement(
        &self,
        topic: &str,
        outcome: Result<&RecordMetadata, &ClientError>,
    ) -> Result<(), Box<dyn Error>> {
        let _ = (topic, outcome);
        Ok(())
    }
}

/// Sees every record that a consumer returns, and every offset it commits.
pub trait ConsumerInterceptor: fmt::Debug + Send + Sync {
    /// Called by `poll` with what it is about to return; it may change, add or leave out records.
    fn on_consume(
        &self,
        records: Vec<ConsumerRecord>,
    ) -> Result<Vec<ConsumerRecord>, Box<dyn Error>> {
        Ok(records)
    }

    /// Called after the coordinator has taken a commit.
    fn on_commit(
        &self,
        offsets: &BTreeMap<TopicPartition, OffsetAndMetadata>,
    ) -> Result<(), Box<dyn Error>> {
        let _ = offsets;
        Ok(())
    }
}

/// What an interceptor made, or nothing if it failed.
fn guard<T>(what: &str, call: impl FnOnce() -> Result<T, Box<dyn Error>>) -> Option<T> {
    match catch_unwind(AssertUnwindSafe(call)) {
        Ok(Ok(made)) => Some(made),
        Ok(Err(error)) => {
            log::warn!("an interceptor's {what} failed: {error}");
            None
        }
        Err(_) => {
            log::error!("an interceptor's {what} panicked");
            None
        }
    }
}

pub(super) fn on_send<'a>(
    chain: &[Arc<dyn ProducerInterceptor>],
    mut record: ProducerRecord<'a>,
) -> ProducerRecord<'a> {
    for interceptor in chain {
        let given = record.clone();
        record = guard("on_send", || interceptor.on_send(given)).unwrap_or(record);
    }
    record
}

pub(super) fn on_acknowledgement(
    chain: &[Arc<dyn ProducerInterceptor>],
    topic: &str,
    outcome: Result<&RecordMetadata, &ClientError>,
) {
    for interceptor in chain {
        guard("on_acknowledgement", || interceptor.on_acknowledgement(topic, outcome));
    }
}

pub(super) fn on_consume(
    chain: &[Arc<dyn ConsumerInterceptor>],
    mut records: Vec<ConsumerRecord>,
) -> Vec<ConsumerRecord> {
    for interceptor in chain {
        let given = records.clone();
        records = guard("on_consume", || interceptor.on_consume(given)).unwrap_or(records);
    }
    records
}

pub(super) fn on_commit(
    chain: &[Arc<dyn ConsumerInterceptor>],
    offsets: &BTreeMap<TopicPartition, OffsetAndMetadata>,
) {
    for interceptor in chain {
        guard("on_commit", || interceptor.on_commit(offsets));
    }
}

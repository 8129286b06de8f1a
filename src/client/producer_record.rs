//! A record on its way out.

use std::borrow::Cow;

use crate::time::Timestamp;

/// A record to send. It borrows what it can: `send` copies it into its batch at once.
///
/// ```
/// use odradek::client::ProducerRecord;
///
/// let record = ProducerRecord::new("host.vmstat", "procs 1").key("this machine").partition(0);
/// assert_eq!(record.key.as_deref(), Some(&b"this machine"[..]));
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ProducerRecord<'a> {
    /// Where it goes.
    pub topic: &'a str,
    /// Its partition; `None` leaves the choice to the partitioner.
    pub partition: Option<i32>,
    /// Its time; `None` for the present.
    pub timestamp: Option<Timestamp>,
    /// Its key: equal keys go to the same partition.
    pub key: Option<Cow<'a, [u8]>>,
    /// Its value; a record without one is a tombstone.
    pub value: Option<Cow<'a, [u8]>>,
    /// Its headers in order; a key may repeat.
    pub headers: Vec<(Cow<'a, str>, Option<Cow<'a, [u8]>>)>,
}

impl<'a> ProducerRecord<'a> {
    /// A record with a value and no key.
    pub fn new(topic: &'a str, value: &'a (impl AsRef<[u8]> + ?Sized)) -> ProducerRecord<'a> {
        let value = Some(Cow::Borrowed(value.as_ref()));
        ProducerRecord {
            topic,
            partition: None,
            timestamp: None,
            key: None,
            value,
            headers: Vec::new(),
        }
    }

    /// A record without a value: in a compacted topic it deletes its key.
    pub fn tombstone(topic: &'a str, key: &'a (impl AsRef<[u8]> + ?Sized)) -> ProducerRecord<'a> {
        let empty: &'a [u8] = &[];
        ProducerRecord { value: None, ..ProducerRecord::new(topic, empty).key(key) }
    }

    /// Gives it a key: equal keys go to the same partition.
    #[must_use]
    pub fn key(mut self, key: &'a (impl AsRef<[u8]> + ?Sized)) -> Self {
        self.key = Some(Cow::Borrowed(key.as_ref()));
        self
    }

    /// Sends it to this partition, whatever its key.
    #[must_use]
    pub fn partition(mut self, partition: i32) -> Self {
        self.partition = Some(partition);
        self
    }

    /// Gives it this time instead of the present.
    #[must_use]
    pub fn timestamp(mut self, timestamp: Timestamp) -> Self {
        self.timestamp = Some(timestamp);
        self
    }

    /// Adds a header; a key may repeat.
    #[must_use]
    pub fn header(mut self, key: &'a str, value: &'a (impl AsRef<[u8]> + ?Sized)) -> Self {
        self.headers.push((Cow::Borrowed(key), Some(Cow::Borrowed(value.as_ref()))));
        self
    }

    /// The headers, as a batch wants them.
    pub(super) fn header_slices(&self) -> Vec<(&str, Option<&[u8]>)> {
        self.headers.iter().map(|(key, value)| (&**key, value.as_deref())).collect()
    }
}

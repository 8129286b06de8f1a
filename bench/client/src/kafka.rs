//! As much of librdkafka as the verbs need, with its pointers kept in here.

use std::ffi::{CStr, CString, c_char, c_int, c_void};
use std::time::{Duration, Instant};
use std::{io, ptr};

use rdkafka_sys as sys;
use rdkafka_sys::rd_kafka_resp_err_t as Code;
use rdkafka_sys::types::RDKafkaType;

const ERROR_BYTES: usize = 512;
const STATISTICS_INTERVAL: Duration = Duration::from_millis(100);

/// A client's settings. librdkafka takes them over when the client is made.
pub struct Settings(*mut sys::rd_kafka_conf_t);

impl Settings {
    pub fn new(address: &str) -> io::Result<Settings> {
        // SAFETY: it takes nothing and never fails.
        let settings = Settings(unsafe { sys::rd_kafka_conf_new() });
        settings
            .with("bootstrap.servers", address)?
            .with("client.id", "bench")?
            // A broker that is just starting is asked again soon; otherwise this has no effect.
            .with("reconnect.backoff.ms", "2")?
            .with("reconnect.backoff.max.ms", "10")?
            .with("log_level", "2")
    }

    pub fn with(self, key: &str, value: &str) -> io::Result<Settings> {
        let (key, value) = (text(key)?, text(value)?);
        let mut words: [c_char; ERROR_BYTES] = [0; ERROR_BYTES];
        // SAFETY: all pointers live through the call; the words are as long as is said.
        let result = unsafe {
            let (key, value) = (key.as_ptr(), value.as_ptr());
            sys::rd_kafka_conf_set(self.0, key, value, words.as_mut_ptr(), ERROR_BYTES)
        };
        match result {
            sys::rd_kafka_conf_res_t::RD_KAFKA_CONF_OK => Ok(self),
            _ => Err(complaint(&words)),
        }
    }

    fn into_client(self, kind: RDKafkaType) -> io::Result<*mut sys::rd_kafka_t> {
        let mut words: [c_char; ERROR_BYTES] = [0; ERROR_BYTES];
        // SAFETY: the settings are live and given away; the words are as long as is said.
        let client = unsafe { sys::rd_kafka_new(kind, self.0, words.as_mut_ptr(), ERROR_BYTES) };
        if client.is_null() { Err(complaint(&words)) } else { Ok(client) }
    }
}

fn text(text: &str) -> io::Result<CString> {
    CString::new(text).map_err(io::Error::other)
}

fn complaint(words: &[c_char]) -> io::Error {
    // SAFETY: librdkafka ends what it writes with a zero.
    io::Error::other(unsafe { CStr::from_ptr(words.as_ptr()) }.to_string_lossy().into_owned())
}

fn failure(code: Code) -> io::Error {
    // SAFETY: a static text for every number.
    let words = unsafe { CStr::from_ptr(sys::rd_kafka_err2str(code)) };
    io::Error::other(words.to_string_lossy().into_owned())
}

fn last_error() -> Code {
    // SAFETY: reads a number of this thread.
    unsafe { sys::rd_kafka_last_error() }
}

fn open_topic(client: *mut sys::rd_kafka_t, name: &str) -> io::Result<*mut sys::rd_kafka_topic_t> {
    let name = text(name)?;
    // SAFETY: the client is live, the name lives through the call, no settings are given.
    let topic = unsafe { sys::rd_kafka_topic_new(client, name.as_ptr(), ptr::null_mut()) };
    if topic.is_null() { Err(failure(last_error())) } else { Ok(topic) }
}

/// What becomes of records, told from inside [`Producer::poll`].
pub trait Deliveries {
    /// A record is acknowledged; `tag` is what it was given with.
    fn delivered(&mut self, tag: usize);
    /// A record is given up.
    fn failed(&mut self, error: io::Error);
    /// The first failure, if there was one.
    fn check(&mut self) -> io::Result<()>;
    /// How many Produce requests were sent so far; told a few times a second.
    fn requests(&mut self, count: u64);
}

/// Writes to partition 0 of one topic. Records are not copied: their bytes are static.
pub struct Producer<D> {
    client: *mut sys::rd_kafka_t,
    topic: *mut sys::rd_kafka_topic_t,
    deliveries: *mut D,
}

// SAFETY: librdkafka's handles are made for use by several threads. `deliveries` is only touched
// by `poll` and `deliveries`, which one thread calls: see `Sender`.
unsafe impl<D: Send> Send for Producer<D> {}

/// The half of a producer that another thread may use: it never looks at the deliveries.
#[derive(Clone, Copy)]
pub struct Sender(*mut sys::rd_kafka_topic_t);

// SAFETY: `rd_kafka_produce` may be called by any thread.
unsafe impl Send for Sender {}

impl<D: Deliveries> Producer<D> {
    pub fn new(settings: Settings, topic: &str, deliveries: D) -> io::Result<Producer<D>> {
        let interval_ms = STATISTICS_INTERVAL.as_millis().to_string();
        let settings =
            settings.with("acks", "all")?.with("statistics.interval.ms", &interval_ms)?;
        let deliveries = Box::into_raw(Box::new(deliveries));
        // SAFETY: the settings are live; what the callbacks are given is never freed.
        unsafe {
            sys::rd_kafka_conf_set_opaque(settings.0, deliveries.cast());
            sys::rd_kafka_conf_set_dr_msg_cb(settings.0, Some(on_delivery::<D>));
            sys::rd_kafka_conf_set_stats_cb(settings.0, Some(on_statistics::<D>));
        }
        let client = settings.into_client(RDKafkaType::RD_KAFKA_PRODUCER)?;
        Ok(Producer { client, topic: open_topic(client, topic)?, deliveries })
    }

    pub fn sender(&self) -> Sender {
        Sender(self.topic)
    }

    /// Has one record acknowledged, tagged 0, so that all that follow find their topic.
    pub fn warm(
        &mut self,
        value: &'static [u8],
        is_done: impl Fn(&D) -> bool,
        patience: Duration,
    ) -> io::Result<()> {
        let began = Instant::now();
        self.sender().send(value, 0)?;
        while !is_done(self.deliveries()) {
            self.poll(10);
            self.deliveries().check()?;
            if patience < began.elapsed() {
                return Err(io::Error::other("no record is acknowledged"));
            }
        }
        Ok(())
    }

    /// Waits for news, and tells them to the deliveries.
    pub fn poll(&mut self, wait_ms: i32) {
        // SAFETY: the client is live until the process ends.
        unsafe { sys::rd_kafka_poll(self.client, wait_ms) };
    }

    /// Waits until the statistics tell of all requests that were sent.
    pub fn poll_statistics(&mut self) {
        let began = Instant::now();
        while began.elapsed() < 2 * STATISTICS_INTERVAL {
            self.poll(10);
        }
    }

    pub fn deliveries(&mut self) -> &mut D {
        // SAFETY: it is never freed, and the callbacks run only inside `poll`.
        unsafe { &mut *self.deliveries }
    }
}

impl Sender {
    /// Whether there was room for the record.
    pub fn send(self, value: &'static [u8], tag: usize) -> io::Result<bool> {
        // SAFETY: without a flag the value is neither copied nor freed nor written to; it is static.
        let status = unsafe {
            let bytes = value.as_ptr().cast_mut().cast::<c_void>();
            let tag = ptr::without_provenance_mut::<c_void>(tag);
            sys::rd_kafka_produce(self.0, 0, 0, bytes, value.len(), ptr::null(), 0, tag)
        };
        match (status, last_error()) {
            (0, _) => Ok(true),
            (_, Code::RD_KAFKA_RESP_ERR__QUEUE_FULL) => Ok(false),
            (_, code) => Err(failure(code)),
        }
    }
}

extern "C" fn on_delivery<D: Deliveries>(
    _client: *mut sys::rd_kafka_t,
    message: *const sys::rd_kafka_message_t,
    deliveries: *mut c_void,
) {
    // SAFETY: librdkafka calls this from `poll` with a live message and what it was given.
    let (message, deliveries) = unsafe { (&*message, &mut *deliveries.cast::<D>()) };
    match message.err {
        Code::RD_KAFKA_RESP_ERR_NO_ERROR => deliveries.delivered(message._private.addr()),
        code => deliveries.failed(failure(code)),
    }
}

extern "C" fn on_statistics<D: Deliveries>(
    _client: *mut sys::rd_kafka_t,
    json: *mut c_char,
    bytes: usize,
    deliveries: *mut c_void,
) -> c_int {
    // SAFETY: as above; the text is as long as is said.
    let (json, deliveries) = unsafe {
        (std::slice::from_raw_parts(json.cast::<u8>(), bytes), &mut *deliveries.cast::<D>())
    };
    deliveries.requests(produce_requests(&String::from_utf8_lossy(json)));
    0
}

/// The sum of all `"Produce": N`, of which each connection has one.
fn produce_requests(json: &str) -> u64 {
    let counts = json.split("\"Produce\":").skip(1).map(str::trim_start);
    let digits = counts.map(|rest| rest.split(|c: char| !c.is_ascii_digit()).next());
    digits.filter_map(|digits| digits?.parse::<u64>().ok()).sum()
}

/// Reads partition 0 of a topic from its beginning; made anew for each pass.
pub struct Consumer {
    client: *mut sys::rd_kafka_t,
    topic: *mut sys::rd_kafka_topic_t,
    queue: *mut sys::rd_kafka_queue_t,
}

impl Consumer {
    pub fn new(settings: Settings, topic: &str) -> io::Result<Consumer> {
        let settings = settings.with("enable.partition.eof", "true")?;
        let client = settings.into_client(RDKafkaType::RD_KAFKA_CONSUMER)?;
        let topic = open_topic(client, topic)?;
        // SAFETY: client, topic and queue are live.
        let (queue, status) = unsafe {
            let queue = sys::rd_kafka_queue_new(client);
            let beginning = i64::from(sys::RD_KAFKA_OFFSET_BEGINNING);
            (queue, sys::rd_kafka_consume_start_queue(topic, 0, beginning, queue))
        };
        if status == 0 { Ok(Consumer { client, topic, queue }) } else { Err(failure(last_error())) }
    }

    /// How many records came, the bytes of their values, and whether the end was met.
    pub fn read(&mut self) -> io::Result<(usize, usize, bool)> {
        const MESSAGES: usize = 1000;
        // So long it waits for that many, or at the end for more than there are.
        const WAIT_MS: c_int = 1;
        let mut messages = [ptr::null_mut::<sys::rd_kafka_message_t>(); MESSAGES];
        // SAFETY: the queue is live, the array as long as is said.
        let count = unsafe {
            sys::rd_kafka_consume_batch_queue(self.queue, WAIT_MS, messages.as_mut_ptr(), MESSAGES)
        };
        let count = usize::try_from(count).map_err(|_| failure(last_error()))?;
        let (mut bytes, mut is_end, mut result) = (0, false, Ok(()));
        for message in &messages[..count] {
            // SAFETY: each is live until it is destroyed here.
            let (code, len) = unsafe { ((**message).err, (**message).len) };
            match code {
                Code::RD_KAFKA_RESP_ERR_NO_ERROR => bytes += len,
                Code::RD_KAFKA_RESP_ERR__PARTITION_EOF => is_end = true,
                code => result = Err(failure(code)),
            }
            // SAFETY: as above, once.
            unsafe { sys::rd_kafka_message_destroy(*message) };
        }
        result.map(|()| (count - usize::from(is_end), bytes, is_end))
    }
}

impl Drop for Consumer {
    fn drop(&mut self) {
        // SAFETY: each is live, and destroyed once and in this order.
        unsafe {
            sys::rd_kafka_consume_stop(self.topic, 0);
            sys::rd_kafka_queue_destroy(self.queue);
            sys::rd_kafka_topic_destroy(self.topic);
            sys::rd_kafka_destroy(self.client);
        }
    }
}

/// Deletes a topic and waits until that is done.
pub fn delete_topic(address: &str, topic: &str) -> io::Result<()> {
    let client = Settings::new(address)?.into_client(RDKafkaType::RD_KAFKA_PRODUCER)?;
    let topic = text(topic)?;
    // SAFETY: all that is made here is live for as long as it is used; the process ends soon.
    unsafe {
        let queue = sys::rd_kafka_queue_new(client);
        let mut topics = [sys::rd_kafka_DeleteTopic_new(topic.as_ptr())];
        sys::rd_kafka_DeleteTopics(client, topics.as_mut_ptr(), 1, ptr::null(), queue);
        let event = sys::rd_kafka_queue_poll(queue, 10_000);
        if event.is_null() {
            return Err(io::Error::other("the topic is not deleted after 10 s"));
        }
        match sys::rd_kafka_event_error(event) {
            Code::RD_KAFKA_RESP_ERR_NO_ERROR => Ok(()),
            code => Err(failure(code)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn requests_are_summed_over_connections() {
        let json = r#"{"req": {"Produce": 12, "Fetch": 3}}, "b": {"req":{"Produce":30}}"#;
        assert_eq!(produce_requests(json), 42);
    }
}

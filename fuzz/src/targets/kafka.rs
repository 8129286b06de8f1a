//! Kafka's protocol: every message in every version, the headers, and what consumers put into
//! group requests.

#[macro_use]
#[path = "../../../tests/kafka_wire/messages.rs"]
mod messages;

use odradek::limits::{KAFKA_DECODED_BYTES_ALWAYS, KAFKA_DECODED_RATIO_MAX};
use odradek::wire::kafka::consumer_protocol::{
    ConsumerProtocolAssignment, ConsumerProtocolSubscription, VERSION_MAX,
};
use odradek::wire::kafka::{
    self, ApiKey, Frame, KafkaError, Message, Request, RequestHeader, decode_response_header,
};

use crate::note::note;
use crate::{Target, memory, take};

/// What Kafka's own classes wrote: name, version, bytes in hex, a line a message.
const VECTORS: &str = include_str!("../../../tests/kafka_wire/vectors.txt");

macro_rules! messages {
    ($($module:ident: $request:ident, $response:ident;)*) => {
        /// A target for each message, and the parts around them.
        pub fn all() -> Vec<Target> {
            let apis = [$(stringify!($module)),*].len();
            assert_eq!(apis, ApiKey::ALL.len(), "every API has its targets");
            vec![
                Target::new("kafka/frame", frames(), frame),
                Target::new("kafka/Subscription", subscriptions(), subscription),
                Target::new("kafka/Assignment", assignments(), assignment),
                $(
                    message(stringify!($request), |version, bytes| {
                        through::<kafka::$module::$request>(version, bytes)
                    }),
                    message(stringify!($response), |version, bytes| {
                        through::<kafka::$module::$response>(version, bytes)
                    }),
                )*
            ]
        }

        /// The versions of the message of this name.
        fn versions(name: &str) -> std::ops::RangeInclusive<i16> {
            match name {
                $(
                    stringify!($request) | stringify!($response) => {
                        <kafka::$module::$request as Message>::API.versions()
                    }
                )*
                _ => panic!("no message {name}"),
            }
        }
    };
}

every_message!(messages);

/// The bytes of the example lines of one message, with their versions.
fn vectors(name: &str) -> impl Iterator<Item = (i16, Vec<u8>)> {
    VECTORS.lines().filter_map(move |line| {
        let mut words = line.split(' ');
        let (found, version, hex) = (words.next()?, words.next()?, words.next()?);
        let byte = |at: usize| u8::from_str_radix(hex.get(at..at + 2)?, 16).ok();
        let bytes = (0..hex.len()).step_by(2).map(byte).collect::<Option<Vec<u8>>>()?;
        (found == name).then_some((version.parse().ok()?, bytes))
    })
}

/// A target whose first byte chooses the version.
fn message(name: &'static str, through: fn(i16, &[u8]) -> Result<Vec<u8>, KafkaError>) -> Target {
    let versions = versions(name);
    let seeds = vectors(name)
        .map(|(version, bytes)| [vec![(version - versions.start()) as u8], bytes].concat())
        .collect();
    Target::new(format!("kafka/{name}"), seeds, move |mut bytes| {
        let [choice] = take(&mut bytes);
        let count = versions.end() - versions.start() + 1;
        let version = versions.start() + i16::from(choice) % count;
        match through(version, bytes) {
            Err(error) => note(&(version, error)),
            Ok(encoded) => {
                note(&(version, "decoded"));
                let again = through(version, &encoded);
                assert_eq!(again.as_deref(), Ok(&*encoded), "version {version}: reads itself");
            }
        }
    })
}

/// Decodes within the memory that the codec promises, and encodes.
fn through<'a, M: Message<'a>>(version: i16, bytes: &'a [u8]) -> Result<Vec<u8>, KafkaError> {
    let (decoded, peak) = memory::peak(|| M::decode(version, bytes));
    let bound = KAFKA_DECODED_BYTES_ALWAYS + KAFKA_DECODED_RATIO_MAX * bytes.len();
    assert!(peak <= bound, "{peak} bytes of memory for {} of message", bytes.len());
    let message = decoded?;
    let mut frame = Frame::new();
    message.encode(version, &mut frame);
    assert!(frame.is_whole(), "what was decoded has no gaps");
    Ok(frame.into_parts().0)
}

fn frames() -> Vec<Vec<u8>> {
    let of_api = |api: &ApiKey| {
        let api = *api;
        vectors(Box::leak(format!("{}Request", api.name()).into_boxed_str())).map(
            move |(version, body)| {
                let mut frame = api.number().to_be_bytes().to_vec();
                frame.extend(version.to_be_bytes());
                frame.extend([0, 0, 1, 0, 0, 2, b'm', b'e']);
                frame.extend(api.is_flexible(version).then_some(0));
                [frame, body].concat()
            },
        )
    };
    ApiKey::ALL.iter().flat_map(of_api).collect()
}

/// What a connection does with a frame: header, then the request that it announces.
fn frame(bytes: &[u8]) {
    match RequestHeader::decode(bytes) {
        Err(error) => note(&error),
        Ok((header, body)) => {
            assert!(bytes.ends_with(body));
            match Request::decode(&header, body) {
                Err(error) => note(&error),
                Ok(_) => note(&(header.api, header.version)),
            }
        }
    }
    for api in [ApiKey::ApiVersions, ApiKey::Fetch] {
        note(&decode_response_header(api, 12, bytes).is_ok());
    }
}

fn subscriptions() -> Vec<Vec<u8>> {
    let owned = kafka::consumer_protocol::TopicPartition {
        topic: "topic",
        partitions: vec![odradek::ids::Partition(3)],
    };
    let subscription = ConsumerProtocolSubscription {
        topics: vec!["topic", "other"],
        user_data: Some(b"data"),
        owned_partitions: vec![owned],
        generation_id: 5,
        rack_id: Some("rack"),
    };
    (0..=VERSION_MAX).map(|version| subscription.encode(version)).collect()
}

fn assignments() -> Vec<Vec<u8>> {
    let partitions = vec![odradek::ids::Partition(0), odradek::ids::Partition(7)];
    let assigned = kafka::consumer_protocol::TopicPartition { topic: "topic", partitions };
    let assignment =
        ConsumerProtocolAssignment { assigned_partitions: vec![assigned], user_data: None };
    (0..=VERSION_MAX).map(|version| assignment.encode(version)).collect()
}

fn subscription(bytes: &[u8]) {
    match ConsumerProtocolSubscription::decode(bytes) {
        Err(error) => note(&error),
        Ok(subscription) => {
            let encoded = subscription.encode(VERSION_MAX);
            assert_eq!(ConsumerProtocolSubscription::decode(&encoded), Ok(subscription));
        }
    }
}

fn assignment(bytes: &[u8]) {
    match ConsumerProtocolAssignment::decode(bytes) {
        Err(error) => note(&error),
        Ok(assignment) => {
            let encoded = assignment.encode(VERSION_MAX);
            assert_eq!(ConsumerProtocolAssignment::decode(&encoded), Ok(assignment));
        }
    }
}

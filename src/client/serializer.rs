//! From values to bytes and back, in the forms of Kafka's own serializers, so that what one
//! language writes the others read (semantics.md row 62).
//!
//! | name | Rust | bytes |
//! |---|---|---|
//! | `String` | `str` | UTF-8 |
//! | `ByteArray` | `[u8]` | themselves |
//! | `Boolean` | `bool` | one, 0 or 1 |
//! | `Short`, `Integer`, `Long` | `i16`, `i32`, `i64` | big endian |
//! | `Float`, `Double` | `f32`, `f64` | IEEE 754, big endian |
//! | `Uuid` | [`Uuid`] | 36 characters, as `java.util.UUID` prints itself |

use std::borrow::Cow;
use std::fmt;

use crate::client::ClientError;
use crate::client::outcome::{RecordMetadata, SendHandle};
use crate::client::position::ConsumerRecord;
use crate::client::producer::Producer;
use crate::client::producer_record::ProducerRecord;
use crate::ids::Uuid;

/// Why a value has no bytes, or bytes are no value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SerializationError {
    reason: &'static str,
}

impl SerializationError {
    /// An error that says what was expected.
    pub const fn new(reason: &'static str) -> SerializationError {
        SerializationError { reason }
    }
}

impl fmt::Display for SerializationError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.reason)
    }
}

impl std::error::Error for SerializationError {}

/// Makes bytes of keys or values.
pub trait Serializer<T: ?Sized> {
    /// The bytes of a value that goes to `topic`.
    fn serialize<'a>(&self, topic: &str, value: &'a T)
    -> Result<Cow<'a, [u8]>, SerializationError>;
}

/// Makes keys or values of bytes.
pub trait Deserializer<T> {
    /// The value of bytes that come from `topic`.
    fn deserialize(&self, topic: &str, bytes: &[u8]) -> Result<T, SerializationError>;
}

/// Types that are their big-endian bytes.
macro_rules! numbers {
    ($($type:ty: $serializer:ident, $deserializer:ident, $reason:literal;)*) => { $(
        #[doc = concat!("Kafka's serializer of the same name, for `", stringify!($type), "`.")]
        #[derive(Clone, Copy, Debug, Default)]
        pub struct $serializer;

        impl Serializer<$type> for $serializer {
            fn serialize<'a>(
                &self,
                _topic: &str,
                value: &'a $type,
            ) -> Result<Cow<'a, [u8]>, SerializationError> {
                Ok(Cow::Owned(value.to_be_bytes().to_vec()))
            }
        }

        #[doc = concat!("Kafka's deserializer of the same name, for `", stringify!($type), "`.")]
        #[derive(Clone, Copy, Debug, Default)]
        pub struct $deserializer;

        impl Deserializer<$type> for $deserializer {
            fn deserialize(
                &self,
                _topic: &str,
                bytes: &[u8],
            ) -> Result<$type, SerializationError> {
                let bytes = bytes.try_into().map_err(|_| SerializationError::new($reason))?;
                Ok(<$type>::from_be_bytes(bytes))
            }
        }
    )* };
}

numbers! {
    i16: ShortSerializer, ShortDeserializer, "a short has 2 bytes";
    i32: IntegerSerializer, IntegerDeserializer, "an integer has 4 bytes";
    i64: LongSerializer, LongDeserializer, "a long has 8 bytes";
    f32: FloatSerializer, FloatDeserializer, "a float has 4 bytes";
    f64: DoubleSerializer, DoubleDeserializer, "a double has 8 bytes";
}

/// Kafka's serializers of the same names, for text, bytes, truth and ids.
macro_rules! plain {
    ($($serializer:ident, $deserializer:ident: $borrowed:ty, $owned:ty, $to:expr, $from:expr;)*) => { $(
        #[doc = concat!("Kafka's serializer of the same name, for `", stringify!($borrowed), "`.")]
        #[derive(Clone, Copy, Debug, Default)]
        pub struct $serializer;

        impl Serializer<$borrowed> for $serializer {
            fn serialize<'a>(
                &self,
                _topic: &str,
                value: &'a $borrowed,
            ) -> Result<Cow<'a, [u8]>, SerializationError> {
                let to: fn(&$borrowed) -> Cow<'_, [u8]> = $to;
                Ok(to(value))
            }
        }

        #[doc = concat!("Kafka's deserializer of the same name, for `", stringify!($owned), "`.")]
        #[derive(Clone, Copy, Debug, Default)]
        pub struct $deserializer;

        impl Deserializer<$owned> for $deserializer {
            fn deserialize(
                &self,
                _topic: &str,
                bytes: &[u8],
            ) -> Result<$owned, SerializationError> {
                let from: fn(&[u8]) -> Result<$owned, SerializationError> = $from;
                from(bytes)
            }
        }
    )* };
}

plain! {
    StringSerializer, StringDeserializer: str, String,
        |text| Cow::Borrowed(text.as_bytes()),
        |bytes| match std::str::from_utf8(bytes) {
            Ok(text) => Ok(text.to_owned()),
            Err(_) => Err(SerializationError::new("a string is UTF-8")),
        };
    ByteArraySerializer, ByteArrayDeserializer: [u8], Vec<u8>,
        |bytes| Cow::Borrowed(bytes),
        |bytes| Ok(bytes.to_vec());
    BooleanSerializer, BooleanDeserializer: bool, bool,
        |is| Cow::Owned(vec![u8::from(*is)]),
        |bytes| match bytes {
            [0] => Ok(false),
            [1] => Ok(true),
            _ => Err(SerializationError::new("a boolean is one byte, 0 or 1")),
        };
    UuidSerializer, UuidDeserializer: Uuid, Uuid,
        |id| Cow::Owned(uuid_text(*id).into_bytes()),
        |bytes| parse_uuid(bytes)
            .ok_or(SerializationError::new("a UUID is 36 characters: digits and dashes"));
}

/// Digits of the five groups of a UUID.
const UUID_GROUPS: [usize; 5] = [8, 4, 4, 4, 12];

fn uuid_text(id: Uuid) -> String {
    let digits = format!("{:032x}", u128::from_be_bytes(id.0));
    let mut text = String::with_capacity(36);
    let mut rest: &str = &digits;
    for group in UUID_GROUPS {
        let (taken, behind) = rest.split_at(group);
        if !text.is_empty() {
            text.push('-');
        }
        text.push_str(taken);
        rest = behind;
    }
    text
}

fn parse_uuid(bytes: &[u8]) -> Option<Uuid> {
    let text = std::str::from_utf8(bytes).ok()?;
    let groups: Vec<&str> = text.split('-').collect();
    let is_well = groups.iter().map(|group| group.len()).eq(UUID_GROUPS)
        && groups.iter().all(|group| group.bytes().all(|byte| byte.is_ascii_hexdigit()));
    let number = is_well.then(|| u128::from_str_radix(&groups.concat(), 16).ok())??;
    Some(Uuid(number.to_be_bytes()))
}

/// A producer of typed keys and values, as Kafka's `KafkaProducer<K, V>` with its `key.serializer`
/// and `value.serializer`.
///
/// ```no_run
/// use odradek::client::{
///     LongSerializer, Producer, ProducerConfig, StringSerializer, TypedProducer,
/// };
///
/// let producer = Producer::new(ProducerConfig::new("127.0.0.1:7092"))?;
/// let producer = TypedProducer::new(producer, StringSerializer, LongSerializer);
/// producer.send("plant.pulses", Some("pump-7"), Some(&21))?.wait()?;
/// // Anything else about the record is said before it goes.
/// let record = producer.record("plant.pulses", Some("pump-7"), Some(&22))?.partition(0);
/// producer.producer().send(&record)?;
/// # Ok::<(), odradek::client::ClientError>(())
/// ```
#[derive(Debug)]
pub struct TypedProducer<KS, VS> {
    producer: Producer,
    key_serializer: KS,
    value_serializer: VS,
}

impl<KS, VS> TypedProducer<KS, VS> {
    /// Gives a producer its types.
    pub fn new(
        producer: Producer,
        key_serializer: KS,
        value_serializer: VS,
    ) -> TypedProducer<KS, VS> {
        TypedProducer { producer, key_serializer, value_serializer }
    }

    /// A record of these; one without a value is a tombstone.
    pub fn record<'a, K: ?Sized, V: ?Sized>(
        &self,
        topic: &'a str,
        key: Option<&'a K>,
        value: Option<&'a V>,
    ) -> Result<ProducerRecord<'a>, ClientError>
    where
        KS: Serializer<K>,
        VS: Serializer<V>,
    {
        let key = key.map(|key| self.key_serializer.serialize(topic, key)).transpose()?;
        let value = value.map(|value| self.value_serializer.serialize(topic, value)).transpose()?;
        let empty: &[u8] = &[];
        Ok(ProducerRecord { key, value, ..ProducerRecord::new(topic, empty) })
    }

    /// Sends a record of these. Where a serializer fails nothing is sent.
    pub fn send<K: ?Sized, V: ?Sized>(
        &self,
        topic: &str,
        key: Option<&K>,
        value: Option<&V>,
    ) -> Result<SendHandle, ClientError>
    where
        KS: Serializer<K>,
        VS: Serializer<V>,
    {
        self.producer.send(&self.record(topic, key, value)?)
    }

    /// As [`TypedProducer::send`], with a callback for the outcome.
    pub fn send_with<K: ?Sized, V: ?Sized>(
        &self,
        topic: &str,
        key: Option<&K>,
        value: Option<&V>,
        callback: impl FnOnce(Result<RecordMetadata, ClientError>) + Send + 'static,
    ) -> Result<(), ClientError>
    where
        KS: Serializer<K>,
        VS: Serializer<V>,
    {
        self.producer.send_with(&self.record(topic, key, value)?, callback)
    }

    /// The producer of bytes, to flush, to close, or to send records with more about them.
    pub fn producer(&self) -> &Producer {
        &self.producer
    }
}

impl ConsumerRecord {
    /// The key as a value of this type, if there is one.
    ///
    /// ```no_run
    /// # use odradek::client::{Consumer, ConsumerConfig, LongDeserializer, StringDeserializer};
    /// # let mut consumer = Consumer::new(ConsumerConfig::default())?;
    /// # let timeout = std::time::Duration::from_secs(1);
    /// for record in consumer.poll(timeout)? {
    ///     let pump: Option<String> = record.deserialize_key(&StringDeserializer)?;
    ///     let pulses: Option<i64> = record.deserialize_value(&LongDeserializer)?;
    ///     println!("{pump:?}: {pulses:?}");
    /// }
    /// # Ok::<(), odradek::client::ClientError>(())
    /// ```
    pub fn deserialize_key<T>(
        &self,
        deserializer: &impl Deserializer<T>,
    ) -> Result<Option<T>, SerializationError> {
        let key = self.key.as_deref();
        key.map(|bytes| deserializer.deserialize(&self.topic, bytes)).transpose()
    }

    /// The value as one of this type, if there is one.
    pub fn deserialize_value<T>(
        &self,
        deserializer: &impl Deserializer<T>,
    ) -> Result<Option<T>, SerializationError> {
        let value = self.value.as_deref();
        value.map(|bytes| deserializer.deserialize(&self.topic, bytes)).transpose()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check<T: ?Sized, U: PartialEq + fmt::Debug>(
        serializer: &impl Serializer<T>,
        deserializer: &impl Deserializer<U>,
        value: &T,
        expected: &[u8],
        back: U,
    ) {
        assert_eq!(&*serializer.serialize("t", value).expect("it has bytes"), expected);
        assert_eq!(deserializer.deserialize("t", expected), Ok(back));
        let longer = [expected, b"-\xff"].concat();
        let other = deserializer.deserialize("t", &longer);
        assert!(other.is_err() || longer.len() < 8, "{other:?}");
    }

    #[test]
    fn values_have_kafkas_bytes() {
        check(&ShortSerializer, &ShortDeserializer, &-2i16, &[0xff, 0xfe], -2i16);
        check(&IntegerSerializer, &IntegerDeserializer, &258, &[0, 0, 1, 2], 258);
        check(&LongSerializer, &LongDeserializer, &1i64, &[0, 0, 0, 0, 0, 0, 0, 1], 1i64);
        check(&FloatSerializer, &FloatDeserializer, &1f32, &[0x3f, 0x80, 0, 0], 1f32);
        let half = [0x3f, 0xe0, 0, 0, 0, 0, 0, 0];
        check(&DoubleSerializer, &DoubleDeserializer, &0.5f64, &half, 0.5f64);
        check(&BooleanSerializer, &BooleanDeserializer, &true, &[1], true);
        check(&StringSerializer, &StringDeserializer, "grün", "grün".as_bytes(), "grün".to_owned());
        check(&ByteArraySerializer, &ByteArrayDeserializer, &[0xff][..], &[0xff], vec![0xff]);
    }

    /// As `java.util.UUID.toString` and `fromString` have it.
    #[test]
    fn ids_are_written_as_java_prints_them() {
        let text = b"123e4567-e89b-12d3-a456-426614174000";
        let id = Uuid(0x123e_4567_e89b_12d3_a456_4266_1417_4000_u128.to_be_bytes());
        check(&UuidSerializer, &UuidDeserializer, &id, text, id);
        for wrong in ["", "123e4567", "123e4567-e89b-12d3-a456-42661417400g", "-----"] {
            let answer: Result<Uuid, _> = UuidDeserializer.deserialize("t", wrong.as_bytes());
            assert!(answer.is_err(), "{wrong}");
        }
    }
}

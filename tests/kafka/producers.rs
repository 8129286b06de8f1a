//! Idempotent producers at Kafka's door: semantics.md 2.15 and §3, KIP-98, KIP-360, KIP-890.

use odradek::wire::kafka::describe_producers::{
    DescribeProducersRequest, DescribeProducersResponse, TopicRequest,
};
use odradek::wire::kafka::init_producer_id::{InitProducerIdRequest, InitProducerIdResponse};
use odradek::wire::kafka::offset_for_leader_epoch::{
    OffsetForLeaderEpochRequest, OffsetForLeaderEpochResponse, OffsetForLeaderPartition,
    OffsetForLeaderTopic,
};

use odradek::ids::LeaderEpoch;

use super::*;

fn init(client: &mut Client, version: i16, request: &InitProducerIdRequest<'_>) -> (i16, i64, i16) {
    let body = client.ask(version, request);
    let answer: InitProducerIdResponse = decode(version, &body);
    (answer.error_code.0, answer.producer_id, answer.producer_epoch)
}

fn new_id(client: &mut Client) -> i64 {
    let (error, id, epoch) = init(client, 4, &InitProducerIdRequest::default());
    assert_eq!((error, epoch), (0, 0));
    id
}

/// A batch of `count` records by a producer.
fn sequenced(id: i64, epoch: i16, sequence: i32, count: usize) -> Vec<u8> {
    let mut builder = BatchBuilder::new();
    for number in 0..count {
        let value = format!("{id} {epoch} {}", sequence as usize + number);
        builder.push(Timestamp(1_700_000_000_000), None, Some(value.as_bytes()), &[]);
    }
    builder.set_producer(id, epoch, sequence);
    builder.finish(Compression::None)
}

/// With other attributes, and the checksum that goes with them.
fn with_attributes(mut batch: Vec<u8>, attributes: i16) -> Vec<u8> {
    batch[21..23].copy_from_slice(&attributes.to_be_bytes());
    let crc = crc32c::crc32c(&batch[21..]);
    batch[17..21].copy_from_slice(&crc.to_be_bytes());
    batch
}

#[test]
fn each_producer_gets_an_id_of_its_own() {
    for shards in [1, 4] {
        let broker = start("kafka-ids", shards);
        let (mut one, mut other) = (Client::to(&broker), Client::to(&broker));
        let mut ids = Vec::new();
        for version in 0..=6 {
            for client in [&mut one, &mut other] {
                let (error, id, epoch) = init(client, version, &InitProducerIdRequest::default());
                assert_eq!((error, epoch), (0, 0), "version {version}");
                ids.push(id);
            }
        }
        // More than a block holds.
        ids.extend((0..1100).map(|_| new_id(&mut one)));
        let mut distinct = ids.clone();
        distinct.sort_unstable();
        distinct.dedup();
        assert_eq!(distinct.len(), ids.len());
    }
}

#[test]
fn ids_are_not_given_twice_by_the_next_start() {
    let mut broker = start("kafka-ids-again", 1);
    let before = new_id(&mut Client::to(&broker));
    broker.restart();
    let after = new_id(&mut Client::to(&broker));
    assert!(before < after, "{before}, then {after}");
}

#[test]
fn an_id_has_epochs_and_a_transaction_has_none() {
    let broker = start("kafka-epochs", 1);
    let mut client = Client::to(&broker);
    let id = new_id(&mut client);
    let of = |producer_id, producer_epoch| InitProducerIdRequest {
        producer_id,
        producer_epoch,
        ..InitProducerIdRequest::default()
    };
    assert_eq!(init(&mut client, 3, &of(id, 0)), (0, id, 1), "KIP-360");
    assert_eq!(init(&mut client, 3, &of(id, 0)), (0, id, 1), "asked again");
    let (error, other, epoch) = init(&mut client, 3, &of(id, i16::MAX - 1));
    assert_eq!((error, epoch), (0, 0), "no epoch is left (KAFKA-18660)");
    assert_ne!(other, id);
    let (error, other, epoch) = init(&mut client, 3, &of(i64::MAX, 5));
    assert_eq!((error, epoch), (0, 0), "nobody was given that");
    assert!(other < 1000, "{other}");
    let invalid = ErrorCode::INVALID_REQUEST.0;
    for (id, epoch) in [(id, -1), (-1, 0), (-2, -2)] {
        assert_eq!(init(&mut client, 3, &of(id, epoch)), (invalid, -1, -1), "{id} {epoch}");
    }
    let transactional =
        InitProducerIdRequest { transactional_id: Some("t"), ..InitProducerIdRequest::default() };
    let refused = ErrorCode::TRANSACTIONAL_ID_AUTHORIZATION_FAILED.0;
    assert_eq!(init(&mut client, 5, &transactional), (refused, -1, -1));
}

/// Rows 80 and 81, and the rules of 2.15.
#[test]
fn what_is_sent_again_is_stored_once() {
    for shards in [1, 4] {
        let broker = start("kafka-idempotent", shards);
        let mut client = Client::to(&broker);
        let topic = ("once", create(&mut client, "once", 2));
        let id = new_id(&mut client);
        let mut send = |bytes: &[u8]| produce(&mut client, 12, topic, &[(1, bytes)])[0];
        assert_eq!(send(&batch(&["first"])), (ErrorCode::NONE, Offset(0)));
        for _ in 0..100 {
            let stored = send(&sequenced(id, 0, 0, 3));
            assert_eq!(stored, (ErrorCode::NONE, Offset(1)), "where it was the first time");
        }
        let refused = |error| (error, Offset(-1));
        let gap = refused(ErrorCode::OUT_OF_ORDER_SEQUENCE_NUMBER);
        assert_eq!(send(&sequenced(id, 0, 4, 1)), gap);
        assert_eq!(send(&sequenced(id, 0, 0, 2)), gap, "not the same batch");
        for number in 0..5 {
            let stored = send(&sequenced(id, 0, 3 + number, 1));
            assert_eq!(stored, (ErrorCode::NONE, Offset(4 + i64::from(number))));
        }
        assert_eq!(send(&sequenced(id, 0, 0, 3)), gap, "the sixth from the end");
        assert_eq!(send(&sequenced(id, 0, 3, 1)), (ErrorCode::NONE, Offset(4)), "the fifth");
        assert_eq!(send(&sequenced(id, 1, 1, 1)), gap, "a new epoch begins at 0");
        assert_eq!(send(&sequenced(id, 1, 0, 1)), (ErrorCode::NONE, Offset(9)));
        let stale = refused(ErrorCode::INVALID_PRODUCER_EPOCH);
        assert_eq!(send(&sequenced(id, 0, 8, 1)), stale);
        let unknown = send(&sequenced(4711, 3, 17, 1));
        assert_eq!(unknown, (ErrorCode::NONE, Offset(10)), "a stranger begins anywhere (KIP-360)");
        // Another partition counts for itself.
        let stored = produce(&mut client, 12, topic, &[(0, &sequenced(id, 0, 0, 1))]);
        assert_eq!(stored, [(ErrorCode::NONE, Offset(0))]);
        let body = client.ask(11, &fetch_request(topic, &[(1, 0)]));
        let read = values(11, &body).remove(0).expect("readable");
        assert_eq!(read.len(), 11, "each record once");
    }
}

/// Seen in the simulation: the first batch came before its topic, the second behind it, and was stored;
/// the first was out of order for ever after.
#[test]
fn what_was_sent_behind_a_batch_that_came_too_early_waits_for_it() {
    for shards in [1, 4] {
        let broker = start("kafka-early", shards);
        let mut client = Client::to(&broker);
        let id = new_id(&mut client);
        let early = ("early", TopicId::default());
        let unknown = (ErrorCode::UNKNOWN_TOPIC_OR_PARTITION, Offset(-1));
        assert_eq!(produce(&mut client, 12, early, &[(0, &sequenced(id, 0, 0, 2))]), [unknown]);
        let early = ("early", create(&mut client, "early", 2));
        let mut send =
            |partition, bytes: &[u8]| produce(&mut client, 12, early, &[(partition, bytes)])[0];
        let refused = (ErrorCode::NOT_LEADER_OR_FOLLOWER, Offset(-1));
        assert_eq!(send(0, &sequenced(id, 0, 2, 1)), refused);
        assert_eq!(send(1, &sequenced(id, 0, 2, 1)), (ErrorCode::NONE, Offset(0)), "elsewhere");
        assert_eq!(send(0, &sequenced(id, 0, 0, 2)), (ErrorCode::NONE, Offset(0)));
        assert_eq!(send(0, &sequenced(id, 0, 2, 1)), (ErrorCode::NONE, Offset(2)));
    }
}

#[test]
fn a_start_knows_what_the_stop_knew() {
    let mut broker = start("kafka-producers-again", 2);
    let mut client = Client::to(&broker);
    let topic = ("again", create(&mut client, "again", 1));
    let id = new_id(&mut client);
    for number in 0..6 {
        produce(&mut client, 9, topic, &[(0, &sequenced(id, 0, number, 1))]);
    }
    broker.restart();
    let mut client = Client::to(&broker);
    for number in 1..6 {
        let stored = produce(&mut client, 9, topic, &[(0, &sequenced(id, 0, number, 1))]);
        assert_eq!(stored, [(ErrorCode::NONE, Offset(i64::from(number)))], "one of the last five");
    }
    let gap = (ErrorCode::OUT_OF_ORDER_SEQUENCE_NUMBER, Offset(-1));
    assert_eq!(produce(&mut client, 9, topic, &[(0, &sequenced(id, 0, 0, 1))]), [gap]);
    let stored = produce(&mut client, 9, topic, &[(0, &sequenced(id, 0, 6, 1))]);
    assert_eq!(stored, [(ErrorCode::NONE, Offset(6))], "it goes on where it was");
}

#[test]
fn transactions_and_markers_are_refused() {
    let broker = start("kafka-transactions", 1);
    let mut client = Client::to(&broker);
    let topic_id = create(&mut client, "plain", 1);
    let id = new_id(&mut client);
    let transactional = with_attributes(sequenced(id, 0, 0, 1), 0x10);
    let marker = with_attributes(sequenced(id, 0, 0, 1), 0x30);
    let mut send = |version: i16, transactional_id: Option<&'static str>, batch: &[u8]| {
        let records = Records::Bytes(batch.to_vec().leak());
        let item = PartitionProduceData { index: Partition(0), records };
        let partition_data = vec![item];
        let topic = TopicProduceData { name: "plain", topic_id, partition_data };
        let request = ProduceRequest {
            transactional_id,
            acks: -1,
            timeout_ms: 10_000,
            topic_data: vec![topic],
        };
        let body = client.ask(version, &request);
        let response: ProduceResponse<'_> = decode(version, &body);
        response.responses[0].partition_responses[0].error_code
    };
    let unauthorized = ErrorCode::TRANSACTIONAL_ID_AUTHORIZATION_FAILED;
    assert_eq!(send(9, None, &transactional), unauthorized);
    assert_eq!(send(9, Some("t"), &transactional), ErrorCode::INVALID_TXN_STATE);
    assert_eq!(send(12, Some("t"), &transactional), ErrorCode::TRANSACTION_ABORTABLE);
    let control = with_attributes(sequenced(id, 0, 0, 1), 0x20);
    assert_eq!(send(12, None, &control), ErrorCode::INVALID_RECORD);
    assert_ne!(send(12, Some("t"), &marker), ErrorCode::NONE);
    let nobody = with_attributes(batch(&["x"]), 0x10);
    assert_ne!(send(12, None, &nobody), ErrorCode::NONE, "a transaction has a producer");
    assert_eq!(send(12, Some("t"), &sequenced(id, 0, 0, 1)), ErrorCode::NONE, "a plain batch");
}

#[test]
fn a_partition_names_its_producers() {
    let broker = start("kafka-describe-producers", 2);
    let mut client = Client::to(&broker);
    let topic = ("active", create(&mut client, "active", 2));
    let ids = [new_id(&mut client), new_id(&mut client)];
    produce(&mut client, 9, topic, &[(0, &sequenced(ids[1], 0, 0, 7))]);
    produce(&mut client, 9, topic, &[(0, &sequenced(ids[0], 3, 0, 2))]);
    let partition_indexes = vec![Partition(0), Partition(1), Partition(9)];
    let topics = vec![TopicRequest { name: "active", partition_indexes }];
    let body = client.ask(0, &DescribeProducersRequest { topics });
    let response: DescribeProducersResponse<'_> = decode(0, &body);
    let partitions = &response.topics[0].partitions;
    let errors: Vec<_> = partitions.iter().map(|one| one.error_code).collect();
    let unknown = ErrorCode::UNKNOWN_TOPIC_OR_PARTITION;
    assert_eq!(errors, [ErrorCode::NONE, ErrorCode::NONE, unknown]);
    let told = partitions[0].active_producers.iter();
    let told: Vec<_> =
        told.map(|one| (one.producer_id, one.producer_epoch, one.last_sequence)).collect();
    assert_eq!(told, [(ids[0], 3, 1), (ids[1], 0, 6)]);
    let first = &partitions[0].active_producers[0];
    assert_eq!((first.last_timestamp, first.coordinator_epoch), (1_700_000_000_000, -1));
    assert!(partitions[1].active_producers.is_empty());
}

#[test]
fn leader_epochs_end_where_the_next_began() {
    let mut broker = start("kafka-epoch-ends", 1);
    let mut client = Client::to(&broker);
    let topic = ("epochs", create(&mut client, "epochs", 1));
    produce(&mut client, 9, topic, &[(0, &batch(&["a", "b", "c"]))]);
    broker.restart();
    let mut client = Client::to(&broker);
    produce(&mut client, 9, topic, &[(0, &batch(&["d"]))]);
    let mut end_of = |version: i16, current: i32, epoch: i32| {
        let partition = OffsetForLeaderPartition {
            partition: Partition(0),
            current_leader_epoch: LeaderEpoch(current),
            leader_epoch: LeaderEpoch(epoch),
        };
        let topic = OffsetForLeaderTopic { topic: "epochs", partitions: vec![partition] };
        let request = OffsetForLeaderEpochRequest { topics: vec![topic], ..<_>::default() };
        let body = client.ask(version, &request);
        let response: OffsetForLeaderEpochResponse<'_> = decode(version, &body);
        let end = &response.topics[0].partitions[0];
        (end.error_code, end.leader_epoch.0, end.end_offset.0)
    };
    for version in 2..=4 {
        assert_eq!(end_of(version, -1, 0), (ErrorCode::NONE, 0, 3), "version {version}");
        assert_eq!(end_of(version, 1, 1), (ErrorCode::NONE, 1, 4), "the end of the log");
        assert_eq!(end_of(version, -1, 7), (ErrorCode::NONE, -1, -1), "from the future");
        assert_eq!(end_of(version, 0, 0).0, ErrorCode::FENCED_LEADER_EPOCH);
        assert_eq!(end_of(version, 9, 0).0, ErrorCode::UNKNOWN_LEADER_EPOCH);
    }
}

//! The broker's configuration, set at run time by Kafka's clients (KIP-226): what takes effect at
//! once may be set, and is kept by the cluster's metadata.

use odradek::wire::ErrorCode;
use odradek::wire::kafka::alter_configs::{self, AlterConfigsRequest, AlterConfigsResponse};
use odradek::wire::kafka::create_topics::{
    CreatableTopic, CreateTopicsRequest, CreateTopicsResponse,
};
use odradek::wire::kafka::describe_configs::{
    DescribeConfigsRequest, DescribeConfigsResource, DescribeConfigsResponse,
};
use odradek::wire::kafka::incremental_alter_configs::{
    AlterConfigsResource, AlterableConfig, IncrementalAlterConfigsRequest,
    IncrementalAlterConfigsResponse,
};

use super::{Client, decode, start};

const BROKER: i8 = 4;
const SET: i8 = 0;
const DELETE: i8 = 1;
const APPEND: i8 = 2;
const SUBTRACT: i8 = 3;

/// Where a value comes from, by Kafka's numbers.
const OF_THIS_BROKER: i8 = 2;
const OF_ALL_BROKERS: i8 = 3;
const OF_THE_FILE: i8 = 4;
const BUILT_IN: i8 = 5;

/// Changes one key of a broker, or of all where it has no name.
fn alter(client: &mut Client, broker: &str, change: (&str, i8, &str)) -> (ErrorCode, String) {
    let (name, config_operation, value) = change;
    let config = AlterableConfig { name, config_operation, value: Some(value) };
    let resource = AlterConfigsResource {
        resource_type: BROKER,
        resource_name: broker,
        configs: vec![config],
    };
    let request = IncrementalAlterConfigsRequest { resources: vec![resource], ..<_>::default() };
    let body = client.ask(1, &request);
    let altered: IncrementalAlterConfigsResponse<'_> = decode(1, &body);
    let told = &altered.responses[0];
    (told.error_code, told.error_message.unwrap_or_default().to_owned())
}

/// What a broker's key is, and where that comes from; nothing if it is not among its keys.
fn told(client: &mut Client, broker: &str, key: &str) -> Option<(String, i8)> {
    let resource = DescribeConfigsResource {
        resource_type: BROKER,
        resource_name: broker,
        configuration_keys: Some(vec![key]),
    };
    let request = DescribeConfigsRequest { resources: vec![resource], ..<_>::default() };
    let body = client.ask(4, &request);
    let described: DescribeConfigsResponse<'_> = decode(4, &body);
    assert_eq!(described.results[0].error_code, ErrorCode::NONE);
    let config = described.results[0].configs.first()?;
    assert_eq!(config.read_only, matches!(key, "log.dirs" | "shards"), "{key}");
    Some((config.value.expect("told").to_owned(), config.config_source))
}

/// How many partitions a topic gets that does not say.
fn partitions_of_a_new_topic(client: &mut Client, name: &str) -> i32 {
    let topic = CreatableTopic {
        name,
        num_partitions: -1,
        replication_factor: -1,
        ..CreatableTopic::default()
    };
    let body = client.ask(7, &CreateTopicsRequest { topics: vec![topic], ..<_>::default() });
    let response: CreateTopicsResponse<'_> = decode(7, &body);
    assert_eq!(response.topics[0].error_code, ErrorCode::NONE);
    response.topics[0].num_partitions
}

fn pair(value: &str, source: i8) -> (String, i8) {
    (value.to_owned(), source)
}

#[test]
fn the_broker_is_configured_while_it_runs() {
    const KEY: &str = "num.partitions";
    let mut broker = start("kafka-broker-configs", 2);
    let mut client = Client::to(&broker);
    assert_eq!(told(&mut client, "1", KEY), Some(pair("1", BUILT_IN)));
    assert_eq!(told(&mut client, "", KEY), None, "nothing is set for all");
    assert_eq!(alter(&mut client, "", (KEY, SET, "2")).0, ErrorCode::NONE);
    assert_eq!(told(&mut client, "1", KEY), Some(pair("2", OF_ALL_BROKERS)));
    assert_eq!(told(&mut client, "", KEY), Some(pair("2", OF_ALL_BROKERS)));
    assert_eq!(partitions_of_a_new_topic(&mut client, "a"), 2);
    assert_eq!(alter(&mut client, "1", (KEY, SET, "3")).0, ErrorCode::NONE);
    assert_eq!(told(&mut client, "1", KEY), Some(pair("3", OF_THIS_BROKER)));
    assert_eq!(partitions_of_a_new_topic(&mut client, "b"), 3);
    drop(client);

    broker.restart();
    let mut client = Client::to(&broker);
    assert_eq!(told(&mut client, "1", KEY), Some(pair("3", OF_THIS_BROKER)), "it is kept");
    assert_eq!(partitions_of_a_new_topic(&mut client, "c"), 3);
    assert_eq!(alter(&mut client, "1", (KEY, DELETE, "")).0, ErrorCode::NONE);
    assert_eq!(partitions_of_a_new_topic(&mut client, "d"), 2);
    assert_eq!(alter(&mut client, "", (KEY, DELETE, "")).0, ErrorCode::NONE);
    assert_eq!(told(&mut client, "1", KEY), Some(pair("1", BUILT_IN)));
    assert_eq!(partitions_of_a_new_topic(&mut client, "e"), 1);
}

#[test]
fn words_are_added_to_the_brokers_lists() {
    const KEY: &str = "log.cleanup.policy";
    let broker = start("kafka-broker-lists", 1);
    let mut client = Client::to(&broker);
    assert_eq!(alter(&mut client, "1", (KEY, APPEND, "compact")).0, ErrorCode::NONE);
    assert_eq!(told(&mut client, "1", KEY), Some(pair("compact,delete", OF_THIS_BROKER)));
    assert_eq!(alter(&mut client, "1", (KEY, SUBTRACT, "compact")).0, ErrorCode::NONE);
    assert_eq!(told(&mut client, "1", KEY), Some(pair("delete", OF_THIS_BROKER)));
    let (error, message) = alter(&mut client, "1", ("num.partitions", APPEND, "3"));
    assert_eq!(error, ErrorCode::INVALID_CONFIG);
    assert!(message.contains("`num.partitions`"), "{message}");
}

#[test]
fn what_needs_a_restart_or_is_unknown_is_refused_by_name() {
    let broker = start("kafka-broker-refused", 1);
    let mut client = Client::to(&broker);
    let before = told(&mut client, "1", "log.dirs");
    assert_eq!(before.as_ref().map(|(_, source)| *source), Some(OF_THE_FILE));
    for (name, key, value, error) in [
        ("1", "log.dirs", "elsewhere", ErrorCode::INVALID_REQUEST),
        ("1", "shards", "3", ErrorCode::INVALID_REQUEST),
        ("1", "background.threads", "9", ErrorCode::INVALID_REQUEST),
        ("", "advertised.listeners", "kafka://a:1", ErrorCode::INVALID_REQUEST),
        ("1", "num.partitions", "0", ErrorCode::INVALID_CONFIG),
        ("1", "group.consumer.session.timeout.ms", "1000", ErrorCode::INVALID_CONFIG),
    ] {
        let (found, message) = alter(&mut client, name, (key, SET, value));
        assert_eq!(found, error, "{key}: {message}");
        assert!(message.contains(key), "{key}: {message}");
    }
    let (other, _) = alter(&mut client, "2", ("num.partitions", SET, "2"));
    assert_eq!(other, ErrorCode::INVALID_REQUEST, "there is no such broker");
    assert_eq!(told(&mut client, "1", "log.dirs"), before);
    assert_eq!(partitions_of_a_new_topic(&mut client, "t"), 1, "nothing is set");
}

/// `AlterConfigs` names all that is to be set.
#[test]
fn the_old_request_takes_back_what_it_does_not_name() {
    let broker = start("kafka-broker-replaced", 1);
    let mut client = Client::to(&broker);
    for key in ["num.partitions", "log.retention.hours"] {
        assert_eq!(alter(&mut client, "1", (key, SET, "5")).0, ErrorCode::NONE);
    }
    let config = alter_configs::AlterableConfig { name: "num.partitions", value: Some("6") };
    let resource = alter_configs::AlterConfigsResource {
        resource_type: BROKER,
        resource_name: "1",
        configs: vec![config],
    };
    let body = client.ask(2, &AlterConfigsRequest { resources: vec![resource], ..<_>::default() });
    let replaced: AlterConfigsResponse<'_> = decode(2, &body);
    assert_eq!(replaced.responses[0].error_code, ErrorCode::NONE);
    assert_eq!(told(&mut client, "1", "num.partitions"), Some(pair("6", OF_THIS_BROKER)));
    assert_eq!(told(&mut client, "1", "log.retention.hours"), Some(pair("168", BUILT_IN)));
}

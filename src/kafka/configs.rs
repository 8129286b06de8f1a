//! Configuration: `DescribeConfigs`, `IncrementalAlterConfigs`, `AlterConfigs`.

use super::{AnswerError, Call, message_of};
use crate::broker::Topics;
use crate::wire::configs::{
    AlterResource, ConfigChange, ConfigResource, ConfigSource,
    DescribeConfigsRequest as WireDescribe, DescribeConfigsResponse as WireDescribed,
    DescribedConfig, IncrementalAlterConfigsRequest as WireAlter,
    IncrementalAlterConfigsResponse as WireAltered,
};
use crate::wire::delete_topics::TopicOutcome;
use crate::wire::kafka::alter_configs::{self, AlterConfigsRequest, AlterConfigsResponse};
use crate::wire::kafka::describe_configs::{
    DescribeConfigsRequest, DescribeConfigsResource, DescribeConfigsResourceResult,
    DescribeConfigsResponse, DescribeConfigsResult, DescribeConfigsSynonym,
};
use crate::wire::kafka::incremental_alter_configs::{
    AlterConfigsResource, AlterConfigsResourceResponse, IncrementalAlterConfigsRequest,
    IncrementalAlterConfigsResponse,
};
use crate::wire::kafka::{KafkaError, Message};
use crate::wire::{ErrorCode, frame};

/// Numbers of the kinds of resource that have configuration here.
const TOPIC: i8 = 2;
const BROKER: i8 = 4;
const GROUP: i8 = 32;

/// Operations of `IncrementalAlterConfigs`.
const SET: i8 = 0;
const DELETE: i8 = 1;
const APPEND: i8 = 2;
const SUBTRACT: i8 = 3;

fn resource<'a>(
    topics: Topics<'_>,
    kind: i8,
    name: &'a str,
) -> Result<ConfigResource<'a>, ErrorCode> {
    match kind {
        TOPIC => Ok(ConfigResource::Topic(name)),
        GROUP => Ok(ConfigResource::Group(name)),
        // No name stands for all brokers.
        BROKER if name.is_empty() => Ok(ConfigResource::Brokers),
        BROKER if name == topics.node_id().to_string() => Ok(ConfigResource::Broker),
        _ => Err(ErrorCode::INVALID_REQUEST),
    }
}

pub(super) fn ask_describe(
    topics: Topics<'_>,
    version: i16,
    body: &[u8],
) -> Result<Vec<u8>, KafkaError> {
    let request = DescribeConfigsRequest::decode(version, body)?;
    let resources = request.resources.iter();
    let legal = resources.filter_map(|r| resource(topics, r.resource_type, r.resource_name).ok());
    Ok(frame::encode_body(&WireDescribe { resources: legal.collect() }))
}

pub(super) fn described(call: Call<'_>) -> Result<Vec<u8>, AnswerError> {
    let request: DescribeConfigsRequest<'_> = call.request()?;
    let answer: WireDescribed<'_> = call.answer()?;
    let mut described = answer.resources.iter();
    let results = request.resources.iter().map(|asked| {
        let known = resource(call.topics, asked.resource_type, asked.resource_name);
        let (error, configs) = if let Err(error) = known {
            (error, Vec::new())
        } else {
            let found = described.next().expect("one result per resource");
            let wanted = found.configs.iter().filter(|config| is_wanted(asked, config));
            let with_synonyms = request.include_synonyms;
            let is_fixed = |config: &DescribedConfig<'_>| {
                asked.resource_type == BROKER && !call.topics.is_alterable(config.key)
            };
            let entries = wanted.map(|config| entry(config, is_fixed(config), with_synonyms));
            (found.error, entries.collect())
        };
        DescribeConfigsResult {
            error_code: error,
            error_message: message_of(error, ""),
            resource_type: asked.resource_type,
            resource_name: asked.resource_name,
            configs,
        }
    });
    Ok(call.encode(&DescribeConfigsResponse { results: results.collect(), ..<_>::default() }))
}

fn is_wanted(asked: &DescribeConfigsResource<'_>, config: &DescribedConfig<'_>) -> bool {
    asked.configuration_keys.as_ref().is_none_or(|keys| keys.contains(&config.key))
}

fn entry<'a>(
    config: &DescribedConfig<'a>,
    read_only: bool,
    with_synonyms: bool,
) -> DescribeConfigsResourceResult<'a> {
    let source = match config.source {
        ConfigSource::Topic => 1,
        ConfigSource::File | ConfigSource::Environment | ConfigSource::CommandLine => 4,
        ConfigSource::Default => 5,
        ConfigSource::Group => 8,
        ConfigSource::Broker => 2,
        ConfigSource::Brokers => 3,
    };
    let synonym = DescribeConfigsSynonym { name: config.key, value: Some(config.value), source };
    DescribeConfigsResourceResult {
        name: config.key,
        value: Some(config.value),
        read_only,
        config_source: source,
        synonyms: if with_synonyms { vec![synonym] } else { Vec::new() },
        config_type: type_of(config.value),
        ..DescribeConfigsResourceResult::default()
    }
}

/// Kafka's number for the type of a value: 1 boolean, 5 long, 6 double, 2 string.
fn type_of(value: &str) -> i8 {
    match value {
        "true" | "false" => 1,
        number if number.parse::<i64>().is_ok() => 5,
        share if share.parse::<f64>().is_ok() => 6,
        _ => 2,
    }
}

/// The changes to one resource.
fn changes<'a>(
    topics: Topics<'_>,
    asked: &AlterConfigsResource<'a>,
) -> Result<AlterResource<'a>, ErrorCode> {
    let resource = resource(topics, asked.resource_type, asked.resource_name)?;
    let change =
        |config: &crate::wire::kafka::incremental_alter_configs::AlterableConfig<'a>| match (
            config.config_operation,
            config.value,
        ) {
            (SET, Some(value)) => Ok(ConfigChange::Set { key: config.name, value }),
            (DELETE, _) => Ok(ConfigChange::Delete { key: config.name }),
            (APPEND, Some(value)) => Ok(ConfigChange::Append { key: config.name, value }),
            (SUBTRACT, Some(value)) => Ok(ConfigChange::Subtract { key: config.name, value }),
            _ => Err(ErrorCode::INVALID_REQUEST),
        };
    let changes = asked.configs.iter().map(change).collect::<Result<_, _>>()?;
    Ok(AlterResource { resource, changes })
}

pub(super) fn ask_alter(
    topics: Topics<'_>,
    version: i16,
    body: &[u8],
) -> Result<Vec<u8>, KafkaError> {
    let request = IncrementalAlterConfigsRequest::decode(version, body)?;
    let resources = request.resources.iter().filter_map(|asked| changes(topics, asked).ok());
    Ok(frame::encode_body(&WireAlter {
        validate_only: request.validate_only,
        resources: resources.collect(),
    }))
}

pub(super) fn altered(call: Call<'_>) -> Result<Vec<u8>, AnswerError> {
    let request: IncrementalAlterConfigsRequest<'_> = call.request()?;
    let answer: WireAltered<'_> = call.answer()?;
    let mut outcomes = answer.resources.iter();
    let responses = request.resources.iter().map(|asked| {
        let judged = changes(call.topics, asked).map(|_| ());
        let (error_code, error_message) = outcome(judged, &mut outcomes);
        AlterConfigsResourceResponse {
            error_code,
            error_message,
            resource_type: asked.resource_type,
            resource_name: asked.resource_name,
        }
    });
    Ok(call.encode(&IncrementalAlterConfigsResponse {
        responses: responses.collect(),
        ..<_>::default()
    }))
}

/// What became of a resource: the door's own judgement, or else the broker's next one.
fn outcome<'a>(
    judged: Result<(), ErrorCode>,
    outcomes: &mut std::slice::Iter<'a, TopicOutcome<'a>>,
) -> (ErrorCode, Option<&'a str>) {
    if let Err(error) = judged {
        return (error, message_of(error, ""));
    }
    let outcome = outcomes.next().expect("one result per resource that was asked for");
    (outcome.error, message_of(outcome.error, outcome.message))
}

/// `AlterConfigs` names all that is to be set: every other key goes back to its default.
fn replacement<'a>(
    topics: Topics<'a>,
    asked: &alter_configs::AlterConfigsResource<'a>,
) -> Result<AlterResource<'a>, ErrorCode> {
    let resource = resource(topics, asked.resource_type, asked.resource_name)?;
    let mut changes = Vec::with_capacity(asked.configs.len());
    for config in &asked.configs {
        let value = config.value.ok_or(ErrorCode::INVALID_REQUEST)?;
        changes.push(ConfigChange::Set { key: config.name, value });
    }
    let is_named = |key: &str| asked.configs.iter().any(|config| config.name == key);
    let set: Vec<&str> = match resource {
        ConfigResource::Topic(name) => topics.configured(name).collect(),
        ConfigResource::Group(group_id) => topics.configured_of_group(group_id).collect(),
        ConfigResource::Broker => topics.configured_of_broker(false).collect(),
        ConfigResource::Brokers => topics.configured_of_broker(true).collect(),
    };
    let unset = set.into_iter().filter(|key| !is_named(key));
    changes.extend(unset.map(|key| ConfigChange::Delete { key }));
    Ok(AlterResource { resource, changes })
}

pub(super) fn ask_replace(
    topics: Topics<'_>,
    version: i16,
    body: &[u8],
) -> Result<Vec<u8>, KafkaError> {
    let request = AlterConfigsRequest::decode(version, body)?;
    let resources = request.resources.iter().filter_map(|asked| replacement(topics, asked).ok());
    Ok(frame::encode_body(&WireAlter {
        validate_only: request.validate_only,
        resources: resources.collect(),
    }))
}

pub(super) fn replaced(call: Call<'_>) -> Result<Vec<u8>, AnswerError> {
    let request: AlterConfigsRequest<'_> = call.request()?;
    let answer: WireAltered<'_> = call.answer()?;
    let mut outcomes = answer.resources.iter();
    let responses = request.resources.iter().map(|asked| {
        let judged = replacement(call.topics, asked).map(|_| ());
        let (error_code, error_message) = outcome(judged, &mut outcomes);
        alter_configs::AlterConfigsResourceResponse {
            error_code,
            error_message,
            resource_type: asked.resource_type,
            resource_name: asked.resource_name,
        }
    });
    Ok(call.encode(&AlterConfigsResponse { responses: responses.collect(), ..<_>::default() }))
}

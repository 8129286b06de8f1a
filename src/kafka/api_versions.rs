//! What the door serves, and `ApiVersions`, which says so.

use crate::broker::front::Response;
use crate::broker::{Feature, Topics};
use crate::wire::ErrorCode;
use crate::wire::kafka::api_versions::{
    ApiVersion, ApiVersionsRequest, ApiVersionsResponse, FinalizedFeatureKey, SupportedFeatureKey,
};
use crate::wire::kafka::{ApiKey, KafkaError, Message};

/// The APIs that are served, in ascending order, each in all versions the codec describes.
const SERVED: [ApiKey; 37] = [
    ApiKey::Produce,
    ApiKey::Fetch,
    ApiKey::ListOffsets,
    ApiKey::Metadata,
    ApiKey::OffsetCommit,
    ApiKey::OffsetFetch,
    ApiKey::FindCoordinator,
    ApiKey::JoinGroup,
    ApiKey::Heartbeat,
    ApiKey::LeaveGroup,
    ApiKey::SyncGroup,
    ApiKey::DescribeGroups,
    ApiKey::ListGroups,
    ApiKey::ApiVersions,
    ApiKey::CreateTopics,
    ApiKey::DeleteTopics,
    ApiKey::DeleteRecords,
    ApiKey::InitProducerId,
    ApiKey::OffsetForLeaderEpoch,
    ApiKey::DescribeConfigs,
    ApiKey::AlterConfigs,
    ApiKey::DescribeLogDirs,
    ApiKey::CreatePartitions,
    ApiKey::DeleteGroups,
    ApiKey::ElectLeaders,
    ApiKey::IncrementalAlterConfigs,
    ApiKey::AlterPartitionReassignments,
    ApiKey::ListPartitionReassignments,
    ApiKey::OffsetDelete,
    ApiKey::DescribeQuorum,
    ApiKey::UpdateFeatures,
    ApiKey::DescribeCluster,
    ApiKey::DescribeProducers,
    ApiKey::UnregisterBroker,
    ApiKey::ConsumerGroupHeartbeat,
    ApiKey::ConsumerGroupDescribe,
    ApiKey::DescribeTopicPartitions,
];

/// Refuses what is not served.
pub(super) fn check(api: ApiKey, version: i16) -> Result<(), KafkaError> {
    if !SERVED.contains(&api) {
        return Err(KafkaError::UnknownApi(api.number()));
    }
    api.check(version)
}

/// Answers `ApiVersions`, whatever its version: a client learns from it what to speak.
pub(super) fn respond<F>(
    topics: Topics<'_>,
    version: i16,
    correlation_id: i32,
    body: &[u8],
) -> Result<Response<F>, KafkaError> {
    if ApiKey::ApiVersions.check(version).is_err() {
        let response = ApiVersionsResponse {
            error_code: ErrorCode::UNSUPPORTED_VERSION,
            api_keys: vec![range(ApiKey::ApiVersions)],
            ..ApiVersionsResponse::default()
        };
        return Ok(Response::of(super::encode(0, correlation_id, &response)));
    }
    let request = ApiVersionsRequest::decode(version, body)?;
    let is_legal = version < 3
        || is_word(request.client_software_name) && is_word(request.client_software_version);
    let Feature { name, level_min, level_max, level } = topics.feature();
    let number = |level: u16| i16::try_from(level).unwrap_or(i16::MAX);
    let supported = SupportedFeatureKey {
        name,
        min_version: number(level_min),
        max_version: number(level_max),
    };
    let finalized = FinalizedFeatureKey {
        name,
        max_version_level: number(level),
        min_version_level: number(level_min),
    };
    let response = ApiVersionsResponse {
        error_code: if is_legal { ErrorCode::NONE } else { ErrorCode::INVALID_REQUEST },
        api_keys: SERVED.into_iter().map(range).collect(),
        supported_features: vec![supported],
        // The level only rises, so that it says itself which of two answers is the newer one.
        finalized_features_epoch: i64::from(level),
        finalized_features: vec![finalized],
        ..ApiVersionsResponse::default()
    };
    Ok(Response::of(super::encode(version, correlation_id, &response)))
}

fn range(api: ApiKey) -> ApiVersion {
    let versions = api.advertised();
    ApiVersion {
        api_key: api.number(),
        min_version: *versions.start(),
        max_version: *versions.end(),
    }
}

/// A client's name and version: letters, digits, dots and dashes, the first and last one a letter
/// or digit (KIP-511).
fn is_word(text: &str) -> bool {
    let is_plain = |byte: u8| byte.is_ascii_alphanumeric();
    let bytes = text.as_bytes();
    bytes.first().copied().is_some_and(is_plain)
        && bytes.last().copied().is_some_and(is_plain)
        && bytes.iter().all(|byte| is_plain(*byte) || matches!(byte, b'.' | b'-'))
}

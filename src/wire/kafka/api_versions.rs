//! `ApiVersions` (18): what the broker speaks. Its answer must be readable before that is known.

use alloc::vec::Vec;

use crate::wire::ErrorCode;

structs! {
    ApiVersionsRequest<'a> {
        [3..] client_software_name: &'a str,
        [3..] client_software_version: &'a str,
    }

    ApiVersionsResponse<'a> {
        [0..]       error_code: ErrorCode,
        [0..]       api_keys: Vec<ApiVersion>,
        [1..]       throttle_time_ms: i32,
        tag 0 [3..] supported_features: Vec<SupportedFeatureKey<'a>>,
        /// -1 while none is known.
        tag 1 [3..] finalized_features_epoch: i64 = -1,
        tag 2 [3..] finalized_features: Vec<FinalizedFeatureKey<'a>>,
        tag 3 [3..] zk_migration_ready: bool,
    }

    ApiVersion {
        [0..] api_key: i16,
        [0..] min_version: i16,
        [0..] max_version: i16,
    }

    SupportedFeatureKey<'a> {
        [3..] name: &'a str,
        [3..] min_version: i16,
        [3..] max_version: i16,
    }

    FinalizedFeatureKey<'a> {
        [3..] name: &'a str,
        [3..] max_version_level: i16,
        [3..] min_version_level: i16,
    }
}

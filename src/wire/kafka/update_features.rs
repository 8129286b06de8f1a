//! `UpdateFeatures` (57): feature levels are raised (KIP-584, 778).

use alloc::vec::Vec;

use crate::wire::ErrorCode;

structs! {
    UpdateFeaturesRequest<'a> {
        [0..] timeout_ms: i32 = 60_000,
        [0..] feature_updates: Vec<FeatureUpdateKey<'a>>,
        [1..] validate_only: bool,
    }

    FeatureUpdateKey<'a> {
        [0..]   feature: &'a str,
        [0..]   max_version_level: i16,
        [0..=0] allow_downgrade: bool,
        /// 1 upgrade, 2 safe downgrade, 3 unsafe downgrade.
        [1..]   upgrade_type: i8 = 1,
    }

    UpdateFeaturesResponse<'a> {
        [0..]   throttle_time_ms: i32,
        [0..]   error_code: ErrorCode,
        [0..]   error_message: Option<&'a str>,
        [0..=1] results: Vec<UpdatableFeatureResult<'a>>,
    }

    UpdatableFeatureResult<'a> {
        [0..=1] feature: &'a str,
        [0..=1] error_code: ErrorCode,
        [0..=1] error_message: Option<&'a str>,
    }
}

//! `AlterConfigs` (33): replaces all configuration of a resource.

use alloc::vec::Vec;

use crate::wire::ErrorCode;

structs! {
    AlterConfigsRequest<'a> {
        [0..] resources: Vec<AlterConfigsResource<'a>>,
        [0..] validate_only: bool,
    }

    AlterConfigsResource<'a> {
        [0..] resource_type: i8,
        [0..] resource_name: &'a str,
        [0..] configs: Vec<AlterableConfig<'a>>,
    }

    AlterableConfig<'a> {
        [0..] name: &'a str,
        [0..] value: Option<&'a str>,
    }

    AlterConfigsResponse<'a> {
        [0..] throttle_time_ms: i32,
        [0..] responses: Vec<AlterConfigsResourceResponse<'a>>,
    }

    AlterConfigsResourceResponse<'a> {
        [0..] error_code: ErrorCode,
        [0..] error_message: Option<&'a str>,
        [0..] resource_type: i8,
        [0..] resource_name: &'a str,
    }
}

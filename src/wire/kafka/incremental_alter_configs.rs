//! `IncrementalAlterConfigs` (44): changes single keys.

use alloc::vec::Vec;

use crate::wire::ErrorCode;

structs! {
    IncrementalAlterConfigsRequest<'a> {
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
        /// 0 set, 1 delete, 2 append, 3 subtract.
        [0..] config_operation: i8,
        [0..] value: Option<&'a str>,
    }

    IncrementalAlterConfigsResponse<'a> {
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

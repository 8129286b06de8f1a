//! `DescribeConfigs` (32).

use alloc::vec::Vec;

use crate::wire::ErrorCode;

structs! {
    DescribeConfigsRequest<'a> {
        [0..] resources: Vec<DescribeConfigsResource<'a>>,
        [1..] include_synonyms: bool,
        [3..] include_documentation: bool,
    }

    DescribeConfigsResource<'a> {
        /// 2 topic, 4 broker, 8 broker logger, 32 group.
        [0..] resource_type: i8,
        [0..] resource_name: &'a str,
        /// `None` for all of them.
        [0..] configuration_keys: Option<Vec<&'a str>>,
    }

    DescribeConfigsResponse<'a> {
        [0..] throttle_time_ms: i32,
        [0..] results: Vec<DescribeConfigsResult<'a>>,
    }

    DescribeConfigsResult<'a> {
        [0..] error_code: ErrorCode,
        [0..] error_message: Option<&'a str>,
        [0..] resource_type: i8,
        [0..] resource_name: &'a str,
        [0..] configs: Vec<DescribeConfigsResourceResult<'a>>,
    }

    DescribeConfigsResourceResult<'a> {
        [0..] name: &'a str,
        [0..] value: Option<&'a str>,
        [0..] read_only: bool,
        /// 1 topic, 4 static broker, 5 default; others do not occur here.
        [1..] config_source: i8 = -1,
        [0..] is_sensitive: bool,
        [1..] synonyms: Vec<DescribeConfigsSynonym<'a>>,
        [3..] config_type: i8,
        [3..] documentation: Option<&'a str>,
    }

    DescribeConfigsSynonym<'a> {
        [1..] name: &'a str,
        [1..] value: Option<&'a str>,
        [1..] source: i8,
    }
}

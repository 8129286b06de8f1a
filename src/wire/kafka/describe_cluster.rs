//! `DescribeCluster` (60).

use alloc::vec::Vec;

use crate::ids::NodeId;
use crate::wire::ErrorCode;

structs! {
    DescribeClusterRequest {
        [0..] include_cluster_authorized_operations: bool,
        /// 1 brokers, 2 controllers.
        [1..] endpoint_type: i8 = 1,
        [2..] include_fenced_brokers: bool,
    }

    DescribeClusterResponse<'a> {
        [0..] throttle_time_ms: i32,
        [0..] error_code: ErrorCode,
        [0..] error_message: Option<&'a str>,
        [1..] endpoint_type: i8 = 1,
        [0..] cluster_id: &'a str,
        [0..] controller_id: NodeId = NodeId(-1),
        [0..] brokers: Vec<DescribeClusterBroker<'a>>,
        [0..] cluster_authorized_operations: i32 = i32::MIN,
    }

    DescribeClusterBroker<'a> {
        [0..] broker_id: NodeId,
        [0..] host: &'a str,
        [0..] port: i32,
        [0..] rack: Option<&'a str>,
        [2..] is_fenced: bool,
    }
}

//! Error codes: Kafka's stable numbers (semantics.md §3, Kafka's `Errors.java`).
//!
//! A newtype with constants rather than an enum: a newer peer's code passes through unharmed.

use core::fmt;
use serde::{Deserialize, Serialize};

/// What a request met, in Kafka's numbers; 0 is success.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize,
)]
#[serde(transparent)]
pub struct ErrorCode(pub i16);

macro_rules! error_codes {
    ($($name:ident = $code:literal, $retriable:literal, $text:literal;)*) => {
        impl ErrorCode {
            $(#[doc = $text] pub const $name: ErrorCode = ErrorCode($code);)*

            /// Every code this version knows.
            pub const ALL: &'static [ErrorCode] = &[$(ErrorCode::$name),*];

            /// The name in Kafka's documentation.
            pub const fn name(self) -> &'static str {
                match self.0 { $($code => stringify!($name),)* _ => "UNKNOWN_ERROR_CODE" }
            }

            /// One sentence for a person.
            pub const fn text(self) -> &'static str {
                match self.0 { $($code => $text,)* _ => "An error this version does not know." }
            }

            /// Whether a client may send the same request again and hope for better.
            pub const fn is_retriable(self) -> bool {
                match self.0 { $($code => $retriable,)* _ => false }
            }
        }
    };
}

error_codes! {
    UNKNOWN_SERVER_ERROR = -1, false, "The broker met an unexpected error.";
    NONE = 0, false, "Success.";
    OFFSET_OUT_OF_RANGE = 1, false, "The offset is outside the range the partition holds.";
    CORRUPT_MESSAGE = 2, true, "The record batch fails its checksum or has an impossible size.";
    UNKNOWN_TOPIC_OR_PARTITION = 3, true, "There is no such topic or partition here.";
    LEADER_NOT_AVAILABLE = 5, true, "The partition has no leader at present.";
    NOT_LEADER_OR_FOLLOWER = 6, true, "This broker does not lead the partition.";
    REQUEST_TIMED_OUT = 7, true, "The request was not completed in time; it may still take effect.";
    MESSAGE_TOO_LARGE = 10, false, "The record batch is larger than `max.message.bytes`.";
    OFFSET_METADATA_TOO_LARGE = 12, false, "Longer than `offset.metadata.max.bytes`.";
    COORDINATOR_LOAD_IN_PROGRESS = 14, true, "The coordinator is reading its log.";
    COORDINATOR_NOT_AVAILABLE = 15, true, "There is no coordinator at present.";
    NOT_COORDINATOR = 16, true, "This broker does not coordinate the group.";
    INVALID_TOPIC_EXCEPTION = 17, false, "The topic name is not legal, or the topic is internal.";
    RECORD_LIST_TOO_LARGE = 18, false, "The record batch is larger than `segment.bytes`.";
    NOT_ENOUGH_REPLICAS = 19, true, "Fewer replicas are in sync than `min.insync.replicas`.";
    NOT_ENOUGH_REPLICAS_AFTER_APPEND = 20, true, "Written, but to fewer replicas than required.";
    INVALID_REQUIRED_ACKS = 21, false, "`acks` must be -1, 0 or 1.";
    ILLEGAL_GENERATION = 22, false, "The group is in another generation.";
    INCONSISTENT_GROUP_PROTOCOL = 23, false, "The member shares no protocol with its group.";
    INVALID_GROUP_ID = 24, false, "The group id is not legal.";
    UNKNOWN_MEMBER_ID = 25, false, "The group has no such member.";
    INVALID_SESSION_TIMEOUT = 26, false, "The session timeout is outside what the broker allows.";
    REBALANCE_IN_PROGRESS = 27, false, "The group is rebalancing: join again.";
    INVALID_COMMIT_OFFSET_SIZE = 28, false, "The offsets to commit are too many or too large.";
    GROUP_AUTHORIZATION_FAILED = 30, false, "The group may not be used by this client.";
    CLUSTER_AUTHORIZATION_FAILED = 31, false, "The cluster may not be used by this peer.";
    INVALID_TIMESTAMP = 32, false, "A record's timestamp is outside the window the topic allows.";
    UNSUPPORTED_VERSION = 35, false, "The broker does not serve this version of the API.";
    TOPIC_ALREADY_EXISTS = 36, false, "A topic of this name exists.";
    INVALID_PARTITIONS = 37, false, "The partition count is not legal.";
    INVALID_REPLICATION_FACTOR = 38, false, "The replication factor cannot be reached.";
    INVALID_REPLICA_ASSIGNMENT = 39, false, "The replica assignment is not legal.";
    INVALID_CONFIG = 40, false, "A configuration key or value is not legal.";
    NOT_CONTROLLER = 41, true, "This broker is not the active controller.";
    INVALID_REQUEST = 42, false, "The request contradicts itself or breaks the protocol.";
    POLICY_VIOLATION = 44, false, "The request is legal, but not allowed here.";
    OUT_OF_ORDER_SEQUENCE_NUMBER = 45, false, "The batch does not follow the producer's last one.";
    DUPLICATE_SEQUENCE_NUMBER = 46, false, "The batch was written before.";
    INVALID_PRODUCER_EPOCH = 47, false, "The producer has begun a newer epoch.";
    INVALID_TXN_STATE = 48, false, "The producer has no transaction open here.";
    INVALID_PRODUCER_ID_MAPPING = 49, false, "The transactional id has another producer id.";
    TRANSACTIONAL_ID_AUTHORIZATION_FAILED = 53, false, "The transactional id may not be used here.";
    OPERATION_NOT_ATTEMPTED = 55, false, "Another part of the request failed, so this was not tried.";
    KAFKA_STORAGE_ERROR = 56, true, "The log dir cannot be written at present.";
    LOG_DIR_NOT_FOUND = 57, false, "There is no such log dir.";
    UNKNOWN_PRODUCER_ID = 59, false, "The producer id is not known here.";
    NON_EMPTY_GROUP = 68, false, "The group has members.";
    GROUP_ID_NOT_FOUND = 69, false, "There is no such group.";
    FETCH_SESSION_ID_NOT_FOUND = 70, true, "There is no fetch session of this id here.";
    INVALID_FETCH_SESSION_EPOCH = 71, true, "The fetch session is at another epoch.";
    LISTENER_NOT_FOUND = 72, true, "The leader has no listener of this kind.";
    TOPIC_DELETION_DISABLED = 73, false, "Topics may not be deleted here.";
    FENCED_LEADER_EPOCH = 74, true, "The leader epoch in the request is out of date.";
    UNKNOWN_LEADER_EPOCH = 75, true, "The leader epoch in the request is not known here yet.";
    UNSUPPORTED_COMPRESSION_TYPE = 76, false, "The codec is not supported for this request.";
    STALE_BROKER_EPOCH = 77, false, "The broker has a newer incarnation.";
    OFFSET_NOT_AVAILABLE = 78, true, "The offset is not known yet after a change of leader.";
    MEMBER_ID_REQUIRED = 79, false, "Join again with the member id of this answer.";
    PREFERRED_LEADER_NOT_AVAILABLE = 80, true, "The preferred replica cannot lead at present.";
    GROUP_MAX_SIZE_REACHED = 81, false, "The group is full.";
    FENCED_INSTANCE_ID = 82, false, "Another member has taken over the group instance id.";
    ELIGIBLE_LEADERS_NOT_AVAILABLE = 83, true, "No replica is there that could lead.";
    ELECTION_NOT_NEEDED = 84, true, "The partition has the leader that is wished for.";
    NO_REASSIGNMENT_IN_PROGRESS = 85, false, "The partition does not move.";
    GROUP_SUBSCRIBED_TO_TOPIC = 86, false, "The group is subscribed to the topic.";
    INVALID_RECORD = 87, false, "The record batch breaks the rules for records.";
    UNSTABLE_OFFSET_COMMIT = 88, true, "A running transaction may change the offset.";
    THROTTLING_QUOTA_EXCEEDED = 89, true, "The broker is over its limit; try again later.";
    PRODUCER_FENCED = 90, false, "A newer producer has the transactional id.";
    INVALID_UPDATE_VERSION = 95, false, "The version does not go with the one that is there.";
    FEATURE_UPDATE_FAILED = 96, false, "The feature level cannot be changed so.";
    UNKNOWN_TOPIC_ID = 100, true, "There is no topic of this id here.";
    DUPLICATE_BROKER_REGISTRATION = 101, false, "Another process with this broker id is alive.";
    BROKER_ID_NOT_REGISTERED = 102, false, "No broker of this id belongs to the cluster.";
    INCONSISTENT_TOPIC_ID = 103, true, "The topic of this name has another id.";
    INCONSISTENT_CLUSTER_ID = 104, false, "The peer belongs to another cluster.";
    FETCH_SESSION_TOPIC_ID_ERROR = 106, true, "The fetch session names topics in another way.";
    INELIGIBLE_REPLICA = 107, false, "A replica may not be in sync: fenced, stopping or replaced.";
    NEW_LEADER_ELECTED = 108, false, "The change was made, and it moved the leadership.";
    FENCED_MEMBER_EPOCH = 110, false, "The member epoch is out of date: join again.";
    UNRELEASED_INSTANCE_ID = 111, false, "Another member still has the group instance id.";
    UNSUPPORTED_ASSIGNOR = 112, false, "The broker has no such assignor.";
    STALE_MEMBER_EPOCH = 113, false, "The member epoch is out of date: send a heartbeat first.";
    MISMATCHED_ENDPOINT_TYPE = 114, false, "The endpoint is of another kind than the request wants.";
    TRANSACTION_ABORTABLE = 120, false, "The transaction cannot go on and must be aborted.";
    INVALID_REGULAR_EXPRESSION = 128, false, "The regular expression is not legal.";
}

impl ErrorCode {
    /// Whether this is success.
    pub const fn is_ok(self) -> bool {
        self.0 == 0
    }
}

impl fmt::Display for ErrorCode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} ({})", self.name(), self.0)
    }
}

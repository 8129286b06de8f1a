//! Every bound in the system, named. Full is an answer, not an allocation (style.md §2).
//!
//! Relations among bounds are checked at compile time at the end of the file.

/// Characters of a topic name (Kafka's limit: a directory `name-99999` must fit 255 bytes).
pub const TOPIC_NAME_CHARS_MAX: usize = 249;

/// Partitions of one topic.
pub const TOPIC_PARTITIONS_MAX: i32 = 10_000;

/// Partitions of one broker, all topics together.
pub const BROKER_PARTITIONS_MAX: usize = 100_000;

/// Topics of one cluster.
pub const TOPICS_MAX: usize = 20_000;

/// Bytes of a frame's length prefix.
pub const FRAME_PREFIX_BYTES: usize = 4;

/// Smallest legal `memory.limit`.
pub const MEMORY_LIMIT_BYTES_MIN: u64 = 8 << 20;

/// A frame is at most this share of `memory.limit`.
pub const FRAME_SHARE_OF_MEMORY: u64 = 8;

/// A frame that a client accepts from a broker.
pub const CLIENT_FRAME_BYTES_MAX: usize = 100 << 20;

/// Buffers of large frames that are kept for the next ones may take this share of `memory.limit`.
pub const BUFFERS_SHARE_OF_MEMORY: u64 = 16;

/// Frame accepted before the peer said hello.
pub const FRAME_BYTES_BEFORE_HELLO_MAX: usize = 1024;

/// What is known of a larger frame is its length, and who it comes from is anybody: nothing is
/// reserved for it before so many bytes of it are there.
pub const FRAME_BYTES_ON_TRUST: usize = 16 << 10;

/// Frames of requests other than a produce. The largest that are real name ten thousand topics, or
/// carry the assignments of a large group.
pub const REQUEST_BYTES_MAX: usize = 2 << 20;

/// Of what frames may hold, this share is for those of at most [`FRAME_BYTES_ON_TRUST`]: whoever
/// holds the rest with large ones holds up producers, but no consumer and no heartbeat.
pub const SMALL_FRAMES_SHARE: u64 = 4;

/// Bytes of records that are copied into one connection's responses, because sending them so is
/// cheaper; what goes beyond leaves from its file, and takes no memory.
pub const COPIED_RECORDS_BYTES_MAX: u64 = 1 << 20;

/// Requests of one connection that are read and not yet answered.
pub const PIPELINE_REQUESTS_MAX: usize = 256;

/// Bytes of responses that wait for one connection before its requests are no longer read.
pub const WRITE_QUEUE_BYTES_MAX: usize = 1 << 20;

/// As [`WRITE_QUEUE_BYTES_MAX`], while the answers of all connections together hold their share of
/// the memory.
pub const WRITE_QUEUE_BYTES_CROWDED: usize = 4 << 10;

/// Entries of the topic list in one request.
pub const REQUEST_TOPICS_MAX: usize = 10_000;

/// Topics that one request may create. Their configurations are two bytes each at the least and
/// sixteen times that when decoded, so that the bound is lower than that of plain lists.
pub const REQUEST_NEW_TOPICS_MAX: usize = 1000;

/// Resources whose configuration one request may read or change; bounded for the same reason.
pub const REQUEST_CONFIG_RESOURCES_MAX: usize = 256;

/// Entries of the partition lists in one request.
pub const REQUEST_PARTITIONS_MAX: usize = 10_000;

/// Groups that one request may name.
pub const REQUEST_GROUPS_MAX: usize = 1000;

/// Bytes of a group id, a member id or a group instance id; longer ones are refused.
pub const GROUP_TEXT_BYTES_MAX: usize = 1024;

/// Bytes of a client id that a member id or a description repeats; the rest is cut off.
pub const GROUP_CLIENT_ID_BYTES_MAX: usize = 255;

/// Groups that one coordinator keeps.
pub const GROUPS_MAX: usize = 10_000;

/// Groups in one list: those of many coordinators.
pub const GROUPS_LISTED_MAX: usize = 100_000;

/// Members of one group, whatever `group.max.size` says.
pub const GROUP_MEMBERS_MAX: usize = 10_000;

/// Member ids of one coordinator that were given out and have not joined yet; the oldest gives way.
pub const GROUP_PENDING_MEMBERS_MAX: usize = 10_000;

/// Protocols that one member of a group may know.
pub const JOIN_PROTOCOLS_MAX: usize = 64;

/// Bytes that the members of one group may say to their protocols, and be assigned.
pub const GROUP_METADATA_BYTES_MAX: usize = 1 << 20;

/// Bytes that the members and offsets of one coordinator may take, roughly.
pub const GROUP_STATE_BYTES_MAX: usize = 16 << 20;

/// Partitions that one group may have offsets of.
pub const GROUP_OFFSETS_MAX: usize = 100_000;

/// Bytes of a regular expression that a member of a group reads topics by.
pub const GROUP_EXPRESSION_BYTES_MAX: usize = 1024;

/// Bytes that such an expression may take when it is compiled.
pub const GROUP_EXPRESSION_COMPILED_BYTES_MAX: usize = 64 << 10;

/// How deep such an expression may nest.
pub const GROUP_EXPRESSION_NESTING_MAX: u32 = 24;

/// Different expressions of the members of one group.
pub const GROUP_EXPRESSIONS_MAX: usize = 64;

/// States or kinds that a list of groups may be narrowed to.
pub const GROUP_FILTERS_MAX: usize = 16;

/// Configuration entries in one request or response, per resource.
pub const CONFIG_ENTRIES_MAX: usize = 256;

/// Groups that may have a configuration of their own.
pub const CONFIGURED_GROUPS_MAX: usize = 1000;

/// Holes, and damaged segments, that the description of one partition names.
pub const DESCRIBED_DAMAGE_MAX: usize = 1024;

/// Characters of a client id or a configuration key or value, and of a message in a response.
pub const TEXT_CHARS_MAX: usize = 4096;

/// Partitions that a fetch session of Kafka's protocol may hold; a client with more names them all
/// each time.
pub const KAFKA_SESSION_PARTITIONS_MAX: usize = 4096;

/// Tagged fields of one structure in a message of Kafka's protocol; Kafka itself has up to four.
pub const KAFKA_TAGGED_FIELDS_MAX: u32 = 256;

/// A message of Kafka's protocol may take this much memory when it is decoded, however small it is.
pub const KAFKA_DECODED_BYTES_ALWAYS: usize = 8 << 10;

/// Beyond that it may take so many times its own size. The most that is real is a list of
/// partitions to create, each on one named broker; lists of empty strings ask for more.
pub const KAFKA_DECODED_RATIO_MAX: usize = 10;

/// And never more than this, because a produce is large by its records and not by what is decoded.
pub const KAFKA_DECODED_BYTES_MAX: usize = 8 << 20;

/// What the smallest of vectors is taken to cost there.
pub const KAFKA_DECODED_VECTOR_BYTES: usize = 32;

/// Metrics in one response.
pub const METRICS_MAX: usize = 4096;

/// Idempotent producers that a partition remembers; beyond that the one that wrote least recently is
/// forgotten.
pub const PARTITION_PRODUCERS_MAX: usize = 4096;

/// What remembering one of them in one partition costs.
pub const PRODUCER_STATE_BYTES: u64 = 400;

/// What all partitions remember of producers is at most this share of `memory.limit`; beyond that
/// the partition that remembers most of them forgets some.
pub const PRODUCERS_SHARE_OF_MEMORY: u64 = 32;

/// Records of one batch; a batch of more is refused before any is looked at.
pub const BATCH_RECORDS_MAX: i32 = 1 << 20;

/// Records of a refused batch that its producer is told of by their places.
pub const BAD_RECORDS_MAX: usize = 1000;

/// Headers of one record.
pub const RECORD_HEADERS_MAX: i32 = 10_000;

/// A batch may be decompressed to at most this many bytes.
pub const DECOMPRESSED_BYTES_MAX: usize = 64 << 20;

/// Whatever its ratio, a batch may be decompressed to this much: a record of zeros is no bomb.
pub const DECOMPRESSED_BYTES_ALWAYS: usize = 4 << 20;

/// Beyond that a batch may grow at most this many times; text reaches 20, a bomb far more.
pub const DECOMPRESSION_RATIO_MAX: usize = 2048;

/// A batch is first taken to grow this many times when decompressed, then that many times more.
pub const DECOMPRESSION_GUESS_RATIO: u64 = 8;

/// The least memory that is reserved to decompress a batch.
pub const DECOMPRESSION_WINDOW_MIN: u64 = 64 << 10;

/// Decompression may take at most this share of `memory.limit`, all shards together.
pub const WINDOWS_SHARE_OF_MEMORY: u64 = 4;

/// Alignment and unit of the commit journal.
pub const JOURNAL_BLOCK_BYTES: u64 = 4096;

/// Smallest and largest ring of the commit journal.
pub const JOURNAL_BYTES_MIN: u64 = 16 << 20;
/// See [`JOURNAL_BYTES_MIN`].
pub const JOURNAL_BYTES_MAX: u64 = 256 << 20;

/// A partition with this many bytes in a commit bypasses the ring: its segment is synced instead.
pub const JOURNAL_BYPASS_BYTES: usize = 64 << 10;

/// A batch of at most this many bytes may be held in memory once the journal has it, and written to
/// its segment together with others.
pub const HELD_BATCH_BYTES_MAX: usize = 4 << 10;

/// So many bytes of one partition.
pub const HELD_SEGMENT_BYTES_MAX: usize = 16 << 10;

/// So many bytes of all shards together before each writes some, whatever else there is to do.
pub const HELD_BYTES_MAX: usize = 4 << 20;

/// So many of all shards that are not committed yet: they cannot bypass the ring.
pub const HELD_UNCOMMITTED_BYTES_MAX: usize = 2 << 20;

/// Bytes of one commit: a quarter of the smallest ring, so that halves can be freed in turn.
pub const JOURNAL_COMMIT_BYTES_MAX: usize = 4 << 20;

/// Entries of one commit.
pub const JOURNAL_COMMIT_ENTRIES_MAX: usize = 16_384;

/// Keys that compaction compares. A record with a longer one is kept as if no other had its key.
pub const CLEANER_KEY_BYTES_MAX: usize = 32 << 10;

/// The fewest bytes that compaction's map of keys works with: room for some keys, however long.
pub const CLEANER_MAP_BYTES_MIN: usize = 8 * CLEANER_KEY_BYTES_MAX;

/// Segments that compaction writes into one, so that the shard's turn that swaps them stays short.
pub const CLEANER_GROUP_SEGMENTS_MAX: usize = 64;

/// The map of keys may take this share of `memory.limit`, where nothing else is said.
pub const CLEANER_SHARE_OF_MEMORY: u64 = 16;

/// Voters of the metadata quorum, witnesses included: beyond five more of them help nobody.
pub const QUORUM_VOTERS_MAX: usize = 7;

/// Frames that wait to be sent to a peer; more are dropped.
pub const LINK_FRAMES_MAX: usize = 256;

/// Largest frame of a peer: a largest batch of metadata, or a client's largest request.
pub const LINK_FRAME_BYTES_MAX: usize = REQUEST_BYTES_MAX + 4096;

/// Requests that may wait for the active controller.
pub const CONTROLLER_JOBS_MAX: usize = 1024;

/// Listeners that a broker tells its peers of.
pub const ENDPOINTS_MAX: usize = 8;

/// Brokers of a site.
pub const SITE_BROKERS_MAX: usize = 64;

/// Lives of nodes that left a site which are remembered, so that none of them is taken in again.
pub const SITE_DEPARTED_MAX: usize = 256;

/// Nodes of a site that are listed: brokers, and those that only vote or follow.
pub const SITE_NODES_MAX: usize = 2 * SITE_BROKERS_MAX;

/// What a board that is let in is given at most: a secret, and addresses.
pub const PAIR_GRANT_BYTES_MAX: usize = 16 << 10;

/// Members of the metadata quorum, observers included.
pub const QUORUM_MEMBERS_MAX: usize = 64;

/// Bytes of one batch of the metadata log: what one command may change at once.
pub const QUORUM_BATCH_BYTES_MAX: usize = 768 << 10;

/// Batches of one message between voters.
pub const QUORUM_MESSAGE_BATCHES_MAX: usize = 256;

/// Bytes of batches that one message between voters carries, save that a single batch may be larger.
pub const QUORUM_MESSAGE_BYTES: usize = 256 << 10;

/// Messages with batches that a follower may have before it confirmed one.
pub const QUORUM_MESSAGES_IN_FLIGHT_MAX: usize = 64;

/// Bytes of proposals that may wait for their commit; more are refused.
pub const QUORUM_UNCOMMITTED_BYTES_MAX: u64 = 4 << 20;

/// Bytes of batches behind the newest snapshot at which the next one is asked for.
pub const QUORUM_LOG_BYTES: usize = 1 << 20;

/// Steps of the quorum that may wait for room on a full disk; beyond these no batches are heard.
pub const QUORUM_STEPS_WAITING_MAX: usize = 1024;

/// Bytes of an image that a follower takes.
pub const QUORUM_IMAGE_BYTES_MAX: usize = 32 << 20;

/// Bytes of an image that one message carries.
pub const QUORUM_PIECE_BYTES_MAX: usize = 128 << 10;
/// Replicas of one partition: a site is a few devices.
pub const REPLICAS_MAX: usize = 32;

/// Fetches of one partition that a follower has under way: one is answered while the next is on its
/// way, so that bytes never wait for a question.
pub const REPLICA_FETCHES_MAX: usize = 2;

/// Answers to a follower go in one frame up to so many bytes of batches, or one answer.
pub const REPLICA_ANSWER_BYTES: u64 = 256 << 10;

/// Bytes that a follower in sync asks for at once for one partition: what was produced in the meantime.
pub const REPLICA_FETCH_BYTES: u32 = 1 << 20;

/// The same of one that catches up, at first and where answers take long.
pub const REPLICA_PORTION_BYTES_MIN: u32 = 32 << 10;

/// The same where answers come at once.
pub const REPLICA_PORTION_BYTES_MAX: u32 = 512 << 10;

/// Bytes of one partition that a follower has copied and not synced before it asks for more, on a
/// disk that keeps up. What is under way then comes on top.
pub const REPLICA_UNSYNCED_BYTES_MAX: u64 = 4 << 20;

/// The same at first, and where a slow disk has many partitions to write.
pub const REPLICA_UNSYNCED_BYTES_MIN: u64 = 32 << 10;

/// How long what a follower copied may take to be durable, in milliseconds, before it asks for less; or
/// twice as long as the quickest, if that is more.
pub const REPLICA_UNSYNCED_MS: u64 = 100;

/// Poll-loop threads.
pub const SHARDS_MAX: usize = 16;

/// Messages in a mailbox between two shards.
pub const MAILBOX_MESSAGES_MAX: usize = 256;

/// Requests to the coordinators of one shard that wait there for an answer.
pub const GROUP_ASKS_MAX: usize = 16_384;

/// What all groups know and remember may take at most this share of `memory.limit`.
pub const GROUPS_SHARE_OF_MEMORY: u64 = 16;

/// Bytes of a coordinator's log that are replayed in one turn of its shard.
pub const GROUP_LOAD_BYTES: u64 = 256 << 10;

/// Threads and queues are sized for this many flush requests in flight from one shard.
pub const FLUSH_REQUESTS_MAX: usize = 1024;

const _: () = {
    // Being crowded never allows more.
    assert!(WRITE_QUEUE_BYTES_CROWDED <= WRITE_QUEUE_BYTES_MAX);
    // Halves of the smallest ring must each hold a largest commit, or a commit never fits.
    assert!(JOURNAL_COMMIT_BYTES_MAX as u64 * 2 <= JOURNAL_BYTES_MIN / 2);
    // A share that does not bypass must fit a commit beside its header.
    assert!(REPLICA_UNSYNCED_BYTES_MIN <= REPLICA_UNSYNCED_BYTES_MAX);
    assert!(JOURNAL_BYPASS_BYTES < JOURNAL_COMMIT_BYTES_MAX);
    // What is held does not bypass, and its entries take as much again at most: it fits a commit.
    assert!(2 * HELD_UNCOMMITTED_BYTES_MAX <= JOURNAL_COMMIT_BYTES_MAX);
    // A broker with the smallest memory still reads a frame of 1 MiB: what a client with default
    // settings (`max.request.size`) sends at most.
    assert!(1 << 20 <= MEMORY_LIMIT_BYTES_MIN / FRAME_SHARE_OF_MEMORY);
    // A hello is read before anything is known of the peer, so its frame must always be affordable.
    assert!(FRAME_BYTES_BEFORE_HELLO_MAX as u64 <= MEMORY_LIMIT_BYTES_MIN / FRAME_SHARE_OF_MEMORY);
    // A group's members and what they say to one protocol fit a request.
    assert!(GROUP_METADATA_BYTES_MAX < REQUEST_BYTES_MAX);
    // Small frames have room beside the largest one in the smallest memory.
    assert!(2 * FRAME_SHARE_OF_MEMORY * FRAME_BYTES_ON_TRUST as u64 <= MEMORY_LIMIT_BYTES_MIN);
    // A directory is named `topic-partition`, and a file name has at most 255 bytes.
    assert!(TOPIC_NAME_CHARS_MAX + "-99999".len() <= 255);
    // Partition numbers therefore have at most five digits.
    assert!(TOPIC_PARTITIONS_MAX <= 100_000);
    // One request may ask for every partition of a topic.
    assert!(TOPIC_PARTITIONS_MAX as usize <= REQUEST_PARTITIONS_MAX);
    // The lists with a lower bound of their own are lists of topics all the same.
    assert!(REQUEST_CONFIG_RESOURCES_MAX <= REQUEST_TOPICS_MAX);
    assert!(REQUEST_NEW_TOPICS_MAX <= REQUEST_TOPICS_MAX);
    // The smallest map fits its share of the smallest memory.
    assert!(CLEANER_MAP_BYTES_MIN as u64 <= MEMORY_LIMIT_BYTES_MIN / CLEANER_SHARE_OF_MEMORY);
    // And that is what is left when decompression has its own.
    assert!(WINDOWS_SHARE_OF_MEMORY < CLEANER_SHARE_OF_MEMORY);
    // A group's offsets of a largest topic can all be committed.
    assert!(TOPIC_PARTITIONS_MAX as usize <= GROUP_OFFSETS_MAX);
    // A coordinator's groups can all be listed.
    assert!(GROUPS_MAX <= GROUPS_LISTED_MAX);
    // A largest batch of metadata fits a frame of the smallest memory, envelope included.
    assert!(QUORUM_BATCH_BYTES_MAX as u64 + 4096 <= MEMORY_LIMIT_BYTES_MIN / FRAME_SHARE_OF_MEMORY);
    // So does a message of many, and a piece of an image.
    assert!(QUORUM_MESSAGE_BYTES <= QUORUM_BATCH_BYTES_MAX);
    assert!(QUORUM_PIECE_BYTES_MAX <= QUORUM_BATCH_BYTES_MAX);
    // The consensus crate wants room for a whole message among the uncommitted.
    assert!(QUORUM_MESSAGE_BYTES as u64 <= QUORUM_UNCOMMITTED_BYTES_MAX);
    // Every voter is a member.
    assert!(QUORUM_VOTERS_MAX <= QUORUM_MEMBERS_MAX);
    // A topic cannot be larger than the broker that holds it.
    assert!(TOPIC_PARTITIONS_MAX as usize <= BROKER_PARTITIONS_MAX);
};

/// Replicas of one partition, those that come and those that leave counted too.
pub const PARTITION_REPLICAS_MAX: usize = 64;

//! Request handlers: decode, resolve names, hand to the backs or the control thread.
//!
//! **Invariant:** a frame that does not decode closes its connection and changes nothing; an
//! error that concerns one partition is an error code for that partition only.

pub(super) mod cluster;
mod inquiries;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::Ordering;

use bytes::{Buf, BytesMut};

use crate::broker::awaited::{Nowhere, Wanted};
use crate::broker::front::{
    ControlAsk, FetchGathering, FetchWanted, Front, Gathering, Pending, Request, owner_of,
};
use crate::broker::groups::GroupRequest;
use crate::broker::handlers::cluster::LiveBroker;
use crate::broker::mail::{
    AskBody, DescribeItem, FetchItem, Fetched, OffsetsItem, ProduceItem, ShardId, TrimItem,
};
use crate::broker::metrics::ShardMetrics;
use crate::broker::{CloseReason, ConnectionId, Topics};
use crate::controller::image::{GroupConfigs, TopicImage};
use crate::group_config::GroupConfig;
use crate::ids::{NodeId, Partition, TopicId, TopicName, TopicPartition};
use crate::record::BatchHeader;
use crate::time::{Boot, Now};
use crate::topic_config::TopicConfig;
use crate::wire::configs::{
    ConfigResource, ConfigSource, DescribeConfigsRequest, DescribeConfigsResponse, DescribedConfig,
    DescribedResource,
};
use crate::wire::create_topics::{CreateTopic, CreateTopicsRequest};
use crate::wire::delete_records::{DeleteRecordsRequest, DeletedRecords};
use crate::wire::describe_log_dirs::{DescribeLogDirsRequest, DescribedLog};
use crate::wire::describe_metrics::DescribeMetricsRequest;
use crate::wire::fetch::FetchRequest;
use crate::wire::hello::{HelloRequest, HelloResponse, MAGIC};
use crate::wire::list_offsets::{ListOffsetsRequest, ListedOffset};
use crate::wire::metadata::{MetadataPartition, MetadataRequest, MetadataResponse, MetadataTopic};
use crate::wire::peer::PeerApiKey;
use crate::wire::produce::{ProducePartition, ProduceRequest, ProducedPartition};
use crate::wire::{ApiKey, ErrorCode, FrameError, RequestHeader, TopicRef, frame};

/// How long a question for metadata waits for this node to catch up with its site; then it is answered
/// with what is known, and that it is not all.
const INFORMED_WAIT_MS: u64 = 5_000;

/// What a handler needs to know of its request.
#[derive(Clone, Copy)]
pub(super) struct Call {
    pub(super) connection: ConnectionId,
    pub(super) correlation_id: u32,
    pub(super) frame_bytes: u64,
    pub(super) now: Now,
}

impl Call {
    pub(super) fn pending<F>(self, gathering: Gathering<F>, deadline: Boot) -> Pending<F> {
        Pending {
            connection: self.connection,
            correlation_id: self.correlation_id,
            gathering,
            replies_due: 0,
            deadline,
            frame_bytes: self.frame_bytes,
            since: self.now.boot,
        }
    }
}

impl<F: Clone> Front<F> {
    /// Handles one frame, without its prefix. Its `frame_bytes` are released in due course.
    pub fn handle(&mut self, now: Now, connection: ConnectionId, mut bytes: BytesMut) {
        let frame_bytes = bytes.len() as u64;
        self.metrics.request_count += 1;
        let Ok((header, body)) = frame::take::<RequestHeader>(&bytes) else {
            return self.refuse(connection, frame_bytes, CloseReason::Malformed);
        };
        let header_bytes = bytes.len() - body.len();
        bytes.advance(header_bytes);
        let call = Call { connection, correlation_id: header.correlation_id, frame_bytes, now };
        let Some(api) = ApiKey::from_number(header.api_key) else {
            let knocks = header.api_key == PeerApiKey::Hello as u8 && self.said_hello(connection);
            if knocks && self.config.has_peers {
                return self.hand_over(call, &bytes);
            }
            return self.refuse(connection, frame_bytes, CloseReason::UnknownApi(header.api_key));
        };
        if api == ApiKey::Hello {
            return self.hello(call, header.api_version, &bytes);
        }
        if !self.said_hello(connection) {
            return self.refuse(connection, frame_bytes, CloseReason::NoHello);
        }
        let range = api.versions();
        if header.api_version < range.version_min || range.version_max < header.api_version {
            let reason = CloseReason::UnknownVersion(header.api_key, header.api_version);
            return self.refuse(connection, frame_bytes, reason);
        }
        if self.dispatch(call, api, bytes).is_err() {
            self.refuse(connection, frame_bytes, CloseReason::Malformed);
        }
    }

    /// Handles a door's request. Its `frame_bytes` are released in due course.
    pub fn request(
        &mut self,
        now: Now,
        connection: ConnectionId,
        request: Request,
        frame_bytes: u64,
    ) {
        self.metrics.request_count += 1;
        let call = Call { connection, correlation_id: 0, frame_bytes, now };
        match request {
            Request::Produce { acks, timeout_ms, batches } => {
                self.append(call, acks, timeout_ms, batches);
            }
            Request::Fetch { max_wait_ms, min_bytes, max_bytes, may_follow, wanted } => {
                self.read(call, max_wait_ms, (min_bytes, max_bytes), may_follow, wanted);
            }
            Request::Group(api, body, client_id) => {
                let (_, client_host) = self.caller(connection);
                let request = GroupRequest { api, body, client_id, client_host };
                if self.group(call, request).is_err() {
                    self.refuse(connection, frame_bytes, CloseReason::Malformed);
                }
            }
            Request::Wire(api, body) => {
                // A door bounds what it says by its frame, which may be more than the wire allows.
                if self.dispatch(call, api, body).is_err() {
                    self.refuse(connection, frame_bytes, CloseReason::Malformed);
                }
            }
        }
    }

    fn dispatch(&mut self, call: Call, api: ApiKey, body: BytesMut) -> Result<(), FrameError> {
        match api {
            ApiKey::Produce => self.produce(call, body),
            ApiKey::Fetch => self.fetch(call, &body),
            ApiKey::ListOffsets => self.list_offsets(call, &body),
            ApiKey::DeleteRecords => self.delete_records(call, &body),
            ApiKey::DescribeLogDirs => self.describe_log_dirs(call, &body),
            ApiKey::DescribeMetrics => self.describe_metrics(call, &body),
            ApiKey::OffsetForLeaderEpoch => self.epoch_ends(call, &body),
            ApiKey::DescribeProducers => self.describe_producers(call, &body),
            ApiKey::DescribeConfigs => self.describe_configs(call, &body),
            ApiKey::DescribeCluster => self.describe_cluster(call, &body),
            ApiKey::DescribeTopicPartitions => self.describe_partitions(call, &body),
            ApiKey::Metadata => {
                frame::decode::<MetadataRequest<'_>>(&body)?;
                let number = self.reserve_slot(call.connection);
                let (now, connection) = (call.now, call.connection);
                if !self.is_informed {
                    let until = now.boot.plus_ms(INFORMED_WAIT_MS);
                    self.start(
                        number,
                        call.pending(Gathering::MetadataLater { body }, until),
                        vec![],
                    );
                    return Ok(());
                }
                self.metadata(now, connection, number, call.correlation_id, &body, true);
                self.release(call.frame_bytes);
                Ok(())
            }
            ApiKey::CreateTopics
            | ApiKey::DeleteTopics
            | ApiKey::CreatePartitions
            | ApiKey::IncrementalAlterConfigs
            | ApiKey::ElectLeaders
            | ApiKey::AlterPartitionReassignments
            | ApiKey::UnregisterBroker
            | ApiKey::UpdateFeatures
            | ApiKey::InitProducerId
            | ApiKey::DescribeQuorum
            | ApiKey::DescribeMembers
            | ApiKey::ChangeMembers => {
                self.control(call, api, body);
                Ok(())
            }
            ApiKey::FindCoordinator
            | ApiKey::JoinGroup
            | ApiKey::SyncGroup
            | ApiKey::Heartbeat
            | ApiKey::LeaveGroup
            | ApiKey::OffsetCommit
            | ApiKey::OffsetFetch
            | ApiKey::OffsetDelete
            | ApiKey::DescribeGroups
            | ApiKey::ListGroups
            | ApiKey::DeleteGroups
            | ApiKey::ConsumerGroupHeartbeat
            | ApiKey::ConsumerGroupDescribe => {
                let (client_id, client_host) = self.caller(call.connection);
                self.group(call, GroupRequest { api, body, client_id, client_host })
            }
            ApiKey::ManageSite => {
                self.manage_site(call, body);
                Ok(())
            }
            ApiKey::Hello => Err(FrameError::Malformed),
        }
    }

    /// A node of the site knocks; what it says further is not for a shard.
    fn hand_over(&mut self, call: Call, hello: &[u8]) {
        self.release(call.frame_bytes);
        self.give_away(call.connection, call.correlation_id, hello.to_vec());
    }

    fn refuse(&mut self, connection: ConnectionId, frame_bytes: u64, reason: CloseReason) {
        self.metrics.refused_count += 1;
        self.release(frame_bytes);
        self.close(connection, reason);
    }

    fn hello(&mut self, call: Call, api_version: u8, body: &[u8]) {
        let request = frame::decode::<HelloRequest<'_>>(body);
        let request = request.ok().filter(|request| request.magic == MAGIC && request.is_bounded());
        let Some(request) = request.filter(|_| !self.said_hello(call.connection)) else {
            return self.refuse(call.connection, call.frame_bytes, CloseReason::NoHello);
        };
        let is_served = api_version <= ApiKey::Hello.versions().version_max;
        let error = if is_served { ErrorCode::NONE } else { ErrorCode::UNSUPPORTED_VERSION };
        let response = HelloResponse {
            error,
            cluster_id: self.image.cluster_id().unwrap_or_default(),
            node_id: self.config.node_id,
            software: concat!("odradek ", env!("CARGO_PKG_VERSION")),
            features: 0,
            frame_bytes_max: self.config.frame_bytes_max,
            apis: ApiKey::ALL.map(ApiKey::versions).to_vec(),
        };
        let number = self.reserve_slot(call.connection);
        if is_served {
            self.welcome(call.connection, request.client_id);
        }
        self.respond(call.connection, number, call.correlation_id, &response);
        self.release(call.frame_bytes);
    }

    pub(super) fn control(&mut self, call: Call, api: ApiKey, body: BytesMut) {
        let number = self.reserve_slot(call.connection);
        let ask = ControlAsk { request: self.request_id(number), api, body };
        self.start_control(number, call.pending(Gathering::Control, Boot::NEVER), ask);
    }

    // Produce.

    fn produce(&mut self, call: Call, mut body: BytesMut) -> Result<(), FrameError> {
        let (request, raw) = frame::take::<ProduceRequest<'_>>(&body)?;
        let raw_bytes = raw.len();
        let total: u64 = request.partitions.iter().map(|p| u64::from(p.records_bytes)).sum();
        if total != raw_bytes as u64 {
            return Err(FrameError::Records);
        }
        let (acks, timeout_ms) = (request.acks, request.timeout_ms);
        let target = |item: &ProducePartition<'_>| {
            (self.topics().place_batch(item.topic, item.partition), item.records_bytes)
        };
        let targets: Vec<_> = request.partitions.iter().map(target).collect();
        body.advance(body.len() - raw_bytes);
        let batch = |(target, bytes): (_, u32)| (target, body.split_to(bytes as usize));
        let batches = targets.into_iter().map(batch).collect();
        self.append(call, acks, timeout_ms, batches);
        Ok(())
    }

    fn append(
        &mut self,
        call: Call,
        acks: i8,
        timeout_ms: u32,
        batches: Vec<(Result<TopicPartition, Nowhere>, BytesMut)>,
    ) {
        let deadline = call.now.boot.plus_ms(u64::from(timeout_ms));
        let mut seen = BTreeSet::new();
        let mut results = Vec::with_capacity(batches.len());
        let mut record_counts = Vec::with_capacity(batches.len());
        let mut items: BTreeMap<ShardId, Vec<ProduceItem>> = BTreeMap::new();
        for (place, (target, batch)) in batches.into_iter().enumerate() {
            // A header that lies is refused with its batch, and then not counted.
            let header = BatchHeader::parse(&batch);
            let counted = header.as_ref().map_or(0, |header| header.record_count.max(0) as u32);
            record_counts.push(counted);
            let numbered = header.ok().filter(|header| 0 <= header.producer_id);
            let target =
                target.map_err(|nowhere| self.refuse_batch(call.now, nowhere, numbered.as_ref()));
            match target.and_then(|target| self.check_target(acks, target, &mut seen)) {
                Ok(topic_partition) => {
                    let shard = owner_of(&self.config, topic_partition);
                    let is_behind_one = numbered
                        .is_some_and(|one| self.is_behind_one(call.now, topic_partition, &one));
                    let place = place as u32;
                    let item = ProduceItem { place, topic_partition, batch, is_behind_one };
                    items.entry(shard).or_default().push(item);
                    results.push(None);
                }
                Err(error) => results.push(Some(ProducedPartition::failed(error))),
            }
        }
        let number = match acks {
            0 => self.reserve_number(),
            _ => self.reserve_slot(call.connection),
        };
        let pending = call.pending(Gathering::Produce { acks, results, record_counts }, deadline);
        let asks = items.into_iter().map(|(to, items)| (to, AskBody::Produce { acks, items }));
        self.start_or_complete(call.now, number, pending, asks.collect());
    }

    /// Remembers a batch with a sequence that goes nowhere yet; answers why.
    fn refuse_batch(
        &mut self,
        now: Now,
        nowhere: Nowhere,
        numbered: Option<&BatchHeader>,
    ) -> ErrorCode {
        let Nowhere { error, wanted } = nowhere;
        if let (Some(wanted), Some(header), true) = (wanted, numbered, error.is_retriable()) {
            self.awaited.refuse(now.boot, wanted, header);
        }
        error
    }

    fn is_behind_one(
        &self,
        now: Now,
        topic_partition: TopicPartition,
        header: &BatchHeader,
    ) -> bool {
        let TopicPartition { topic_id, partition } = topic_partition;
        let name = self.image.topic(topic_id).map_or("", |topic| &topic.name);
        let is_it = |wanted: &Wanted| wanted.means(topic_id, name, partition);
        self.awaited.is_behind_one(now.boot, is_it, header)
    }

    fn check_target(
        &self,
        acks: i8,
        topic_partition: TopicPartition,
        seen: &mut BTreeSet<TopicPartition>,
    ) -> Result<TopicPartition, ErrorCode> {
        if !(-1..=1).contains(&acks) {
            return Err(ErrorCode::INVALID_REQUIRED_ACKS);
        }
        if self.image.topic(topic_partition.topic_id).is_some_and(TopicImage::is_internal) {
            return Err(ErrorCode::INVALID_TOPIC_EXCEPTION);
        }
        if !seen.insert(topic_partition) {
            return Err(ErrorCode::INVALID_REQUEST);
        }
        Ok(topic_partition)
    }

    /// The topics there are.
    pub fn topics(&self) -> Topics<'_> {
        Topics { image: &self.image, config: &self.config, is_informed: self.is_informed }
    }

    pub(super) fn resolve(
        &self,
        topic: TopicRef<'_>,
        partition: Partition,
    ) -> Result<TopicPartition, ErrorCode> {
        self.topics().resolve(topic, partition)
    }

    pub(super) fn resolve_here(
        &self,
        topic: TopicRef<'_>,
        partition: Partition,
    ) -> Result<TopicPartition, ErrorCode> {
        self.topics().resolve_here(topic, partition)
    }

    pub(super) fn start_or_complete(
        &mut self,
        now: Now,
        number: u64,
        pending: Pending<F>,
        asks: Vec<(ShardId, AskBody)>,
    ) {
        let is_complete = asks.is_empty();
        self.start(number, pending, asks);
        if is_complete {
            self.complete(now, number);
        }
    }

    // Fetch.

    fn fetch(&mut self, call: Call, body: &[u8]) -> Result<(), FrameError> {
        let request = frame::decode::<FetchRequest<'_>>(body)?;
        let wanted = request.partitions.iter().map(|wanted| {
            let topic_partition = self.resolve_here(wanted.topic, wanted.partition)?;
            Ok(FetchWanted {
                topic_partition,
                offset: wanted.offset,
                current_leader_epoch: wanted.current_leader_epoch,
                max_bytes: wanted.max_bytes,
            })
        });
        let wanted = wanted.collect();
        let bytes = (request.min_bytes, request.max_bytes);
        self.read(call, request.max_wait_ms, bytes, false, wanted);
        Ok(())
    }

    fn read(
        &mut self,
        call: Call,
        max_wait_ms: u32,
        (min_bytes, max_bytes): (u32, u32),
        may_follow: bool,
        wanted: Vec<Result<FetchWanted, ErrorCode>>,
    ) {
        let mut results = Vec::with_capacity(wanted.len());
        let mut items: BTreeMap<ShardId, Vec<FetchItem>> = BTreeMap::new();
        let mut seen = BTreeSet::new();
        for (place, wanted) in wanted.into_iter().enumerate() {
            match wanted {
                Ok(wanted) if seen.insert(wanted.topic_partition) => {
                    let FetchWanted { topic_partition, offset, current_leader_epoch, max_bytes } =
                        wanted;
                    let shard = owner_of(&self.config, topic_partition);
                    items.entry(shard).or_default().push(FetchItem {
                        place: place as u32,
                        topic_partition,
                        offset,
                        current_leader_epoch,
                        max_bytes,
                        may_follow,
                    });
                    results.push(None);
                }
                Ok(_) => results.push(Some(Fetched::failed(ErrorCode::INVALID_REQUEST))),
                Err(error) => results.push(Some(Fetched::failed(error))),
            }
        }
        let has_error = results.iter().any(Option::is_some);
        let max_bytes = max_bytes.min(self.config.fetch_bytes_max);
        let fetch = FetchGathering {
            items,
            min_bytes: u64::from(min_bytes.min(max_bytes)),
            max_bytes: u64::from(max_bytes),
            results,
            watching: BTreeSet::new(),
            is_last_round: max_wait_ms == 0 || has_error,
            is_stale: false,
        };
        let asks = fetch.asks();
        let deadline = match fetch.is_last_round {
            true => Boot::NEVER,
            false => call.now.boot.plus_ms(u64::from(max_wait_ms)),
        };
        let number = self.reserve_slot(call.connection);
        let pending = call.pending(Gathering::Fetch(fetch), deadline);
        self.start_or_complete(call.now, number, pending, asks);
    }

    // Offsets, trimming, descriptions.

    fn list_offsets(&mut self, call: Call, body: &[u8]) -> Result<(), FrameError> {
        let request = frame::decode::<ListOffsetsRequest<'_>>(body)?;
        let mut results = Vec::with_capacity(request.partitions.len());
        let mut items: BTreeMap<ShardId, Vec<OffsetsItem>> = BTreeMap::new();
        let mut seen = BTreeSet::new();
        for (place, wanted) in request.partitions.iter().enumerate() {
            match self.resolve_here(wanted.topic, wanted.partition) {
                Ok(topic_partition) if seen.insert(topic_partition) => {
                    let shard = owner_of(&self.config, topic_partition);
                    items.entry(shard).or_default().push(OffsetsItem {
                        place: place as u32,
                        topic_partition,
                        current_leader_epoch: wanted.current_leader_epoch,
                        timestamp: wanted.timestamp,
                    });
                    results.push(None);
                }
                Ok(_) => results.push(Some(ListedOffset::failed(ErrorCode::INVALID_REQUEST))),
                Err(error) => results.push(Some(ListedOffset::failed(error))),
            }
        }
        let number = self.reserve_slot(call.connection);
        let pending = call.pending(Gathering::Offsets(results), Boot::NEVER);
        let asks = items.into_iter().map(|(to, items)| (to, AskBody::Offsets(items))).collect();
        self.start_or_complete(call.now, number, pending, asks);
        Ok(())
    }

    fn delete_records(&mut self, call: Call, body: &[u8]) -> Result<(), FrameError> {
        let request = frame::decode::<DeleteRecordsRequest<'_>>(body)?;
        let mut results = Vec::with_capacity(request.partitions.len());
        let mut items: BTreeMap<ShardId, Vec<TrimItem>> = BTreeMap::new();
        let mut seen = BTreeSet::new();
        for (place, wanted) in request.partitions.iter().enumerate() {
            match self.resolve_here(wanted.topic, wanted.partition) {
                Ok(topic_partition) if seen.insert(topic_partition) => {
                    let shard = owner_of(&self.config, topic_partition);
                    items.entry(shard).or_default().push(TrimItem {
                        place: place as u32,
                        topic_partition,
                        offset: wanted.offset,
                    });
                    results.push(None);
                }
                Ok(_) => results.push(Some(DeletedRecords::failed(ErrorCode::INVALID_REQUEST))),
                Err(error) => results.push(Some(DeletedRecords::failed(error))),
            }
        }
        let number = self.reserve_slot(call.connection);
        let pending = call.pending(Gathering::Trim(results), Boot::NEVER);
        let asks = items.into_iter().map(|(to, items)| (to, AskBody::Trim(items))).collect();
        self.start_or_complete(call.now, number, pending, asks);
        Ok(())
    }

    fn describe_log_dirs(&mut self, call: Call, body: &[u8]) -> Result<(), FrameError> {
        let request = frame::decode::<DescribeLogDirsRequest<'_>>(body)?;
        let mut results = Vec::new();
        let mut items: BTreeMap<ShardId, Vec<DescribeItem>> = BTreeMap::new();
        for (topic_place, topic) in request.topics.iter().enumerate() {
            let topic_place = topic_place as u32;
            let Some((topic_id, image)) = self.image.find(*topic) else {
                results.push(Some(DescribedLog::failed(
                    unknown(*topic, false),
                    topic_place,
                    Partition(-1),
                )));
                continue;
            };
            let own = self.config.node_id;
            for (number, partition) in image.partitions.iter().enumerate() {
                if !partition.replicas.contains(&own) {
                    continue;
                }
                let number = number as i32;
                let topic_partition = TopicPartition { topic_id, partition: Partition(number) };
                let shard = owner_of(&self.config, topic_partition);
                let place = results.len() as u32;
                let item = DescribeItem { place, topic_place, topic_partition };
                items.entry(shard).or_default().push(item);
                results.push(None);
            }
        }
        let number = self.reserve_slot(call.connection);
        let pending = call.pending(Gathering::Describe(results), Boot::NEVER);
        let asks = items.into_iter().map(|(to, items)| (to, AskBody::Describe(items))).collect();
        self.start_or_complete(call.now, number, pending, asks);
        Ok(())
    }

    fn describe_metrics(&mut self, call: Call, body: &[u8]) -> Result<(), FrameError> {
        frame::decode::<DescribeMetricsRequest>(body)?;
        let process = self.config.process;
        let mut sums = Box::new(ShardMetrics::default());
        let began = Boot(process.began_at.load(Ordering::Relaxed));
        sums.counts.extend(process.list());
        sums.counts.extend([
            ("uptime_us_now", call.now.boot.us_since(began)),
            ("topic_count_now", self.image.topic_count() as u64),
            ("partition_count_now", self.image.partition_count() as u64),
        ]);
        let number = self.reserve_slot(call.connection);
        let pending = call.pending(Gathering::Metrics(sums), Boot::NEVER);
        let asks = (0..self.config.shard_count).map(|shard| (ShardId(shard), AskBody::Metrics));
        self.start(number, pending, asks.collect());
        Ok(())
    }

    // Answered from the image.

    /// Answers a Metadata request whose body is known to decode; or has topics created first.
    pub(super) fn metadata(
        &mut self,
        now: Now,
        connection: ConnectionId,
        number: u64,
        correlation_id: u32,
        body: &BytesMut,
        may_create: bool,
    ) {
        let request: MetadataRequest<'_> = frame::decode(body).expect("it decoded before");
        let call = Call { connection, correlation_id, frame_bytes: 0, now };
        let may_create = may_create
            && self.is_informed
            && request.allow_auto_topic_creation
            && self.config.live.auto_create_topics_enable;
        if may_create {
            let missing = self.missing_topics(&request);
            if !missing.is_empty() {
                self.create_first(call, number, body.clone(), &missing);
                return;
            }
        }
        let brokers = self.live_brokers(connection);
        let topics = match &request.topics {
            None => self.image.topics().map(|(id, image)| metadata_topic(id, image)).collect(),
            Some(topics) => topics.iter().map(|topic| self.find_metadata(*topic)).collect(),
        };
        let response = MetadataResponse {
            cluster_id: self.image.cluster_id().unwrap_or_default(),
            controller_id: self.config.node_id,
            brokers: brokers.iter().map(LiveBroker::as_metadata).collect(),
            topics,
        };
        let ready = self.ready(connection, correlation_id, &response);
        self.fill_slot(connection, number, ready);
    }

    fn missing_topics<'a>(&self, request: &MetadataRequest<'a>) -> Vec<&'a str> {
        let names = request.topics.iter().flatten().filter_map(|topic| match topic {
            TopicRef::Name(name) => Some(*name),
            TopicRef::Id(_) => None,
        });
        names
            .filter(|name| self.image.find(TopicRef::Name(name)).is_none())
            .filter(|name| TopicName::new(name).is_ok_and(|name| !name.is_internal()))
            .collect()
    }

    fn create_first(&mut self, call: Call, number: u64, body: BytesMut, missing: &[&str]) {
        let topics = missing.iter().map(|name| CreateTopic {
            name,
            partition_count: -1,
            replication_factor: -1,
            configs: Vec::new(),
        });
        let create =
            CreateTopicsRequest { timeout_ms: 0, validate_only: false, topics: topics.collect() };
        let encoded = frame::encode_body(&create);
        let ask = ControlAsk {
            request: self.request_id(number),
            api: ApiKey::CreateTopics,
            body: BytesMut::from(&encoded[..]),
        };
        let pending = call.pending(Gathering::MetadataAfterCreate { body }, Boot::NEVER);
        self.start_control(number, pending, ask);
    }

    fn find_metadata<'a>(&'a self, topic: TopicRef<'a>) -> MetadataTopic<'a> {
        if let Some((topic_id, image)) = self.image.find(topic) {
            return metadata_topic(topic_id, image);
        }
        let (name, topic_id) = match topic {
            TopicRef::Name(name) => (name, TopicId::default()),
            TopicRef::Id(id) => ("", id),
        };
        // Whoever has not caught up with its site does not say that there is no such topic: clients
        // give up records for that.
        let error = match self.is_informed {
            true => unknown_topic(topic),
            false => ErrorCode::LEADER_NOT_AVAILABLE,
        };
        MetadataTopic { error, name, topic_id, is_internal: false, partitions: Vec::new() }
    }

    fn describe_configs(&mut self, call: Call, body: &[u8]) -> Result<(), FrameError> {
        let request = frame::decode::<DescribeConfigsRequest<'_>>(body)?;
        let texts: Vec<_> = request.resources.iter().map(|r| self.config_texts(*r)).collect();
        let resources = texts.iter().map(|(error, texts)| DescribedResource {
            error: *error,
            configs: texts
                .iter()
                .map(|(key, value, source)| DescribedConfig { key, value, source: *source })
                .collect(),
        });
        let response = DescribeConfigsResponse { resources: resources.collect() };
        let number = self.reserve_slot(call.connection);
        self.respond(call.connection, number, call.correlation_id, &response);
        self.release(call.frame_bytes);
        Ok(())
    }

    fn config_texts(&self, resource: ConfigResource<'_>) -> (ErrorCode, Vec<ConfigText>) {
        let name = match resource {
            ConfigResource::Broker => return (ErrorCode::NONE, self.config.live.shown.clone()),
            ConfigResource::Topic(name) => name,
            ConfigResource::Group(group_id) => return self.group_config_texts(group_id),
            ConfigResource::Brokers => {
                let configs = self.image.broker_configs(None);
                let text = |(key, value): (&str, &str)| {
                    (key.to_owned(), value.to_owned(), ConfigSource::Brokers)
                };
                return (ErrorCode::NONE, configs.map(text).collect());
            }
        };
        let Some((_, image)) = self.image.find(TopicRef::Name(name)) else {
            return (unknown_topic(TopicRef::Name(name)), Vec::new());
        };
        let effective = image.effective(&self.config.live.topic_defaults);
        let mut texts: Vec<ConfigText> = TopicConfig::KEYS
            .iter()
            .filter_map(|key| {
                let of_broker = self.config.live.topic_sources.get(key).copied();
                let source = match image.configs.contains_key(*key) {
                    true => ConfigSource::Topic,
                    false => of_broker.unwrap_or(ConfigSource::Default),
                };
                effective.text(key).map(|value| ((*key).to_owned(), value, source))
            })
            .collect();
        texts.sort_by(|a, b| a.0.cmp(&b.0));
        (ErrorCode::NONE, texts)
    }

    fn group_config_texts(&self, group_id: &str) -> (ErrorCode, Vec<ConfigText>) {
        if group_id.is_empty() {
            return (ErrorCode::INVALID_REQUEST, Vec::new());
        }
        let configs = self.image.group_configs(group_id);
        let own = configs.map(GroupConfigs::overrides).unwrap_or_default();
        let effective = own.over(self.config.live.groups.consumer_defaults);
        let texts = GroupConfig::KEYS.iter().filter_map(|key| {
            let is_own = configs.is_some_and(|configs| configs.keys().any(|known| known == *key));
            let source = if is_own { ConfigSource::Group } else { self.source_of_group_key(key) };
            Some(((*key).to_owned(), effective.text(key)?, source))
        });
        (ErrorCode::NONE, texts.collect())
    }

    /// Where what holds for all groups comes from.
    fn source_of_group_key(&self, key: &str) -> ConfigSource {
        let broker_key = GroupConfig::broker_key(key);
        let mut shown = self.config.live.shown.iter();
        let found = shown.find(|(known, ..)| Some(known.as_str()) == broker_key);
        found.map_or(ConfigSource::Default, |(_, _, source)| *source)
    }
}

fn metadata_topic(topic_id: TopicId, image: &TopicImage) -> MetadataTopic<'_> {
    let partition = |(number, partition): (usize, &crate::controller::image::PartitionImage)| {
        MetadataPartition {
            error: match partition.leader {
                Some(_) => ErrorCode::NONE,
                None => ErrorCode::LEADER_NOT_AVAILABLE,
            },
            partition: Partition(number as i32),
            leader: partition.leader.unwrap_or(NodeId::NONE),
            leader_epoch: partition.leader_epoch,
            replicas: partition.replicas.to_vec(),
            isr: partition.isr.to_vec(),
        }
    };
    MetadataTopic {
        error: ErrorCode::NONE,
        name: &image.name,
        topic_id,
        is_internal: image.is_internal(),
        partitions: image.partitions.iter().enumerate().map(partition).collect(),
    }
}

/// A key, its value and where that comes from.
pub type ConfigText = (String, String, ConfigSource);

pub(super) fn unknown(topic: TopicRef<'_>, topic_exists: bool) -> ErrorCode {
    if topic_exists { ErrorCode::UNKNOWN_TOPIC_OR_PARTITION } else { unknown_topic(topic) }
}

pub(super) fn unknown_topic(topic: TopicRef<'_>) -> ErrorCode {
    match topic {
        TopicRef::Id(_) => ErrorCode::UNKNOWN_TOPIC_ID,
        TopicRef::Name(name) if TopicName::new(name).is_err() => ErrorCode::INVALID_TOPIC_EXCEPTION,
        TopicRef::Name(_) => ErrorCode::UNKNOWN_TOPIC_OR_PARTITION,
    }
}

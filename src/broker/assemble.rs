//! From gathered results to a response frame.

use crate::broker::front::{Answer, FetchGathering, Gathering, Response};
use crate::broker::mail::Fetched;
use crate::ids::Offset;
use crate::log::Slice;
use crate::wire::delete_records::DeleteRecordsResponse;
use crate::wire::describe_log_dirs::DescribeLogDirsResponse;
use crate::wire::describe_metrics::{DescribeMetricsResponse, Metric, MetricKind};
use crate::wire::describe_producers::DescribeProducersResponse;
use crate::wire::fetch::{FetchResponse, FetchedPartition};
use crate::wire::list_offsets::ListOffsetsResponse;
use crate::wire::offset_for_leader_epoch::OffsetForLeaderEpochResponse;
use crate::wire::produce::ProduceResponse;
use crate::wire::{ResponseHeader, frame};

/// Builds the response of a request whose replies are all in.
pub(super) fn response<F: Clone>(header: ResponseHeader, gathering: Gathering<F>) -> Response<F> {
    let mut head = Vec::new();
    match gathering {
        Gathering::Produce { results, .. } => {
            let body = ProduceResponse { partitions: all(results) };
            frame::encode(&header, &body, 0, &mut head);
        }
        Gathering::Fetch(fetch) => {
            let (partitions, slices) = fetched(fetch);
            let bytes: u64 = slices.iter().map(|slice| slice.bytes).sum();
            frame::encode(&header, &FetchResponse { partitions }, bytes as usize, &mut head);
            let tail = slices.into_iter().map(|slice| (slice, Vec::new())).collect();
            return Response { head, tail };
        }
        gathering => {
            let body = body(gathering);
            frame::encode(&header, &(), body.len(), &mut head);
            head.extend_from_slice(&body);
        }
    }
    Response::of(head)
}

/// The same for a door.
pub(super) fn answer<F: Clone>(gathering: Gathering<F>) -> Answer<F> {
    match gathering {
        Gathering::Produce { results, .. } => Answer::Produced(all(results)),
        Gathering::Fetch(fetch) => {
            let (partitions, slices) = fetched(fetch);
            Answer::Fetched { partitions, slices }
        }
        gathering => Answer::Body(body(gathering)),
    }
}

/// The body of a response that carries no batches and is no produce's.
fn body<F>(gathering: Gathering<F>) -> Vec<u8> {
    match gathering {
        Gathering::Offsets(results) => {
            frame::encode_body(&ListOffsetsResponse { partitions: all(results) })
        }
        Gathering::Trim(results) => {
            frame::encode_body(&DeleteRecordsResponse { partitions: all(results) })
        }
        Gathering::Describe(results) => {
            frame::encode_body(&DescribeLogDirsResponse { partitions: all(results) })
        }
        Gathering::EpochEnds(results) => {
            frame::encode_body(&OffsetForLeaderEpochResponse { partitions: all(results) })
        }
        Gathering::Producers(results) => {
            frame::encode_body(&DescribeProducersResponse { partitions: all(results) })
        }
        Gathering::Metrics(sums) => {
            let metric = |(name, value): (&'static str, u64)| Metric {
                name,
                kind: if name.ends_with("_now") { MetricKind::Gauge } else { MetricKind::Counter },
                value,
            };
            let metrics = sums.sums().into_iter().map(metric).collect();
            frame::encode_body(&DescribeMetricsResponse { metrics })
        }
        Gathering::Group(group) => group.into_body(),
        Gathering::Produce { .. } | Gathering::Fetch(_) => unreachable!("they have their own"),
        Gathering::Control
        | Gathering::MetadataAfterCreate { .. }
        | Gathering::MetadataLater { .. }
        | Gathering::GroupAfterCreate(_) => {
            unreachable!("the control thread's answers are not gathered")
        }
    }
}

fn all<T>(results: Vec<Option<T>>) -> Vec<T> {
    results.into_iter().map(|result| result.expect("every ask was answered")).collect()
}

/// Shards do not know of each other's bytes, so together they may have found more than the client
/// wants: what is over is left for its next fetch. The first batches are sent in any case.
fn fetched<F: Clone>(fetch: FetchGathering<F>) -> (Vec<FetchedPartition>, Vec<Slice<F>>) {
    let mut slices: Vec<Slice<F>> = Vec::new();
    let mut partitions = Vec::with_capacity(fetch.results.len());
    let mut total_bytes = 0;
    for fetched in all(fetch.results) {
        let Fetched { error, high_watermark, log_start_offset, slice } = fetched;
        let fits =
            |slice: &Slice<F>| total_bytes == 0 || total_bytes + slice.bytes <= fetch.max_bytes;
        let slice = slice.filter(fits);
        let records_bytes = slice.as_ref().map_or(0, |slice| slice.bytes);
        total_bytes += records_bytes;
        slices.extend(slice);
        debug_assert!(error.is_ok() || high_watermark == Offset(-1), "no offsets with an error");
        partitions.push(FetchedPartition {
            error,
            high_watermark,
            log_start_offset,
            records_bytes: u32::try_from(records_bytes).expect("a segment is below 4 GiB"),
        });
    }
    (partitions, slices)
}

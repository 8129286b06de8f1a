//! `DescribeMetrics` (200): the broker's counters, gauges and histograms.
//!
//! ```text
//! request                                   response
//! (nothing)                                 list of
//!                                             str         name
//!                                             varint      0 counter, 1 gauge
//!                                             varint u64  value
//! ```

use alloc::vec::Vec;
use serde::{Deserialize, Serialize};

use crate::limits::METRICS_MAX;
use crate::wire::frame;

/// Asks for all metrics; it has no fields.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct DescribeMetricsRequest {}

/// What kind of number a metric is. The order of the variants is the wire format.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum MetricKind {
    /// It only rises, from 0 at the start of the process.
    Counter,
    /// It rises and falls.
    Gauge,
}

/// One number.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Metric<'a> {
    /// Its name; the unit comes last (`produce_bytes`, `flush_us_p99`).
    #[serde(borrow)]
    pub name: &'a str,
    /// Counter or gauge.
    pub kind: MetricKind,
    /// Its value.
    pub value: u64,
}

/// The metrics in alphabetical order.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct DescribeMetricsResponse<'a> {
    /// See [`Metric`].
    #[serde(borrow, deserialize_with = "frame::list::<METRICS_MAX, _, _>")]
    pub metrics: Vec<Metric<'a>>,
}

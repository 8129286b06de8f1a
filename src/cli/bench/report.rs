//! What a measurement found, as words or as one JSON object.

use std::fmt;
use std::io::{IsTerminal as _, Write as _};
use std::time::{Duration, Instant};

use odradek::metrics::Histogram;
use rustix::time::{ClockId, clock_gettime};

use crate::cli::json::Json;
use crate::cli::{CliError, out};

/// How often a terminal hears how far it is.
const PROGRESS: Duration = Duration::from_millis(500);

/// Runs while something is measured.
pub struct Stopwatch {
    started: Instant,
    cpu_started: Duration,
    is_terminal: bool,
    told: Instant,
}

impl Stopwatch {
    /// Begins now.
    pub fn start() -> Stopwatch {
        let now = Instant::now();
        let is_terminal = std::io::stderr().is_terminal();
        Stopwatch { started: now, cpu_started: cpu_time(), is_terminal, told: now }
    }

    /// When it began.
    pub fn started(&self) -> Instant {
        self.started
    }

    /// Says how far it is, now and then, where somebody looks on.
    pub fn progress(&mut self, now: Instant, record_count: u64) {
        if self.is_terminal && PROGRESS <= now.duration_since(self.told) {
            self.told = now;
            let elapsed = now.duration_since(self.started).as_secs_f64();
            let mut stderr = std::io::stderr();
            let _ = write!(stderr, "\r{record_count} records, {elapsed:.1} s ");
            let _ = stderr.flush();
        }
    }

    /// Ends now: elapsed time, and how much of one processor this process used.
    pub fn stop(&self) -> (Duration, f64) {
        if self.is_terminal {
            let _ = write!(std::io::stderr(), "\r{:40}\r", "");
        }
        let elapsed = self.started.elapsed();
        let cpu = cpu_time().saturating_sub(self.cpu_started);
        (elapsed, cpu.as_secs_f64() / elapsed.as_secs_f64().max(1e-9))
    }
}

fn cpu_time() -> Duration {
    let spent = clock_gettime(ClockId::ProcessCPUTime);
    Duration::new(spent.tv_sec.unsigned_abs(), spent.tv_nsec as u32)
}

/// What was found.
pub struct Report<'a> {
    /// `produce`, `consume` or `latency`.
    pub question: &'static str,
    /// What was done, in words.
    pub words: String,
    pub topic: &'a str,
    pub partition_count: i32,
    pub record_count: u64,
    /// Keys and values, without what the protocol adds.
    pub bytes: u64,
    pub failed_count: u64,
    pub elapsed: Duration,
    /// Of one processor.
    pub client_busy: f64,
    /// What the histogram measures: `latency`, or `poll`.
    pub measured: &'static str,
    /// In microseconds.
    pub histogram: &'a Histogram,
}

impl Report<'_> {
    /// Prints it.
    pub fn print(&self, as_json: bool) -> Result<(), CliError> {
        let mut out = out::stdout();
        if as_json {
            out.line(format_args!("{}", self.json()))?;
        } else {
            out.line(format_args!("{self}"))?;
        }
        out.flush()
    }

    fn per_second(&self, count: u64) -> f64 {
        count as f64 / self.elapsed.as_secs_f64().max(1e-9)
    }

    fn json(&self) -> Json {
        let quantile = |of, all| Json::from(self.histogram.quantile(of, all));
        Json::object([
            ("bench", Json::from(self.question)),
            ("topic", Json::from(self.topic)),
            ("partitions", Json::from(self.partition_count)),
            ("records", Json::from(self.record_count)),
            ("failed", Json::from(self.failed_count)),
            ("bytes", Json::from(self.bytes)),
            ("elapsed_us", Json::from(self.elapsed.as_micros() as u64)),
            ("records_per_s", Json::from(self.per_second(self.record_count) as u64)),
            ("bytes_per_s", Json::from(self.per_second(self.bytes) as u64)),
            ("measured", Json::from(self.measured)),
            ("p50_us", quantile(1, 2)),
            ("p99_us", quantile(99, 100)),
            ("p999_us", quantile(999, 1000)),
            ("max_us", Json::from(self.histogram.max())),
            ("client_busy_percent", Json::from((self.client_busy * 100.0).round() as u64)),
        ])
    }
}

impl fmt::Display for Report<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (records, topic) = (self.record_count, self.topic);
        let partitions = self.partition_count;
        let word = if partitions == 1 { "partition" } else { "partitions" };
        writeln!(f, "{records} records, {}, topic {topic} of {partitions} {word}", self.words)?;
        if 0 < self.failed_count {
            writeln!(f, "failed       {}", self.failed_count)?;
        }
        let mib = self.per_second(self.bytes) / f64::from(1 << 20);
        let per_second = self.per_second(records);
        let seconds = self.elapsed.as_secs_f64();
        writeln!(f, "throughput   {per_second:.0} records/s   {mib:.1} MiB/s   in {seconds:.2} s")?;
        let ms = |us: u64| us as f64 / 1000.0;
        let quantile = |of, all| ms(self.histogram.quantile(of, all));
        writeln!(
            f,
            "{:<12} p50 {:.2} ms   p99 {:.2} ms   p999 {:.2} ms   max {:.2} ms",
            self.measured,
            quantile(1, 2),
            quantile(99, 100),
            quantile(999, 1000),
            ms(self.histogram.max())
        )?;
        write!(f, "client busy  {:.2} of one processor", self.client_busy)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_report_is_four_lines_or_one_object() {
        let mut histogram = Histogram::new();
        histogram.record_many(1000, 999);
        histogram.record(50_000);
        let report = Report {
            question: "produce",
            words: "100 B each, acks all".to_owned(),
            topic: "bench",
            partition_count: 1,
            record_count: 1000,
            bytes: 100_000,
            failed_count: 0,
            elapsed: Duration::from_millis(500),
            client_busy: 0.5,
            measured: "latency",
            histogram: &histogram,
        };
        assert_eq!(
            report.to_string(),
            "1000 records, 100 B each, acks all, topic bench of 1 partition\n\
             throughput   2000 records/s   0.2 MiB/s   in 0.50 s\n\
             latency      p50 1.01 ms   p99 1.01 ms   p999 1.01 ms   max 50.00 ms\n\
             client busy  0.50 of one processor"
        );
        assert_eq!(
            report.json().to_string(),
            "{\"bench\":\"produce\",\"topic\":\"bench\",\"partitions\":1,\"records\":1000,\
             \"failed\":0,\"bytes\":100000,\"elapsed_us\":500000,\"records_per_s\":2000,\
             \"bytes_per_s\":200000,\"measured\":\"latency\",\"p50_us\":1007,\"p99_us\":1007,\
             \"p999_us\":1007,\"max_us\":50000,\"client_busy_percent\":50}"
        );
    }
}

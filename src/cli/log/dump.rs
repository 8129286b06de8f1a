//! `odradek log dump`: what a segment holds, batch by batch, with each batch's verdict.

use std::fmt::Write as _;
use std::fs::File;
use std::io::{self, IsTerminal, Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};

use argh::FromArgs;
use odradek::ids::Offset;
use odradek::journal::disk::DiskFile;
use odradek::limits::DECOMPRESSED_BYTES_MAX;
use odradek::log::{self, Dumped};
use odradek::record::{Batch, BatchHeader, Record, Records, TimestampType, decompress};
use odradek::runtime::disk::FileDisk;

use crate::cli::json::Json;
use crate::cli::out::{self, Out};
use crate::cli::{CliError, progress, rfc3339, say};

/// print the batches and records of a .log file, with a verdict on each checksum
#[derive(FromArgs)]
#[argh(
    subcommand,
    name = "dump",
    note = "Exit code 1 when something in the file is not as it should be.",
    example = "{command_name} data/host.vmstat-0/00000000000000000000.log"
)]
pub(super) struct Dump {
    /// the .log file of a segment, in a partition's directory
    #[argh(positional)]
    file: PathBuf,

    /// only the batches, not their records
    #[argh(switch)]
    batches: bool,

    /// one JSON object a line, whose `type` is batch, record or garbage
    #[argh(switch)]
    json: bool,
}

/// What was counted on the way.
#[derive(Default)]
struct Totals {
    batches: u64,
    records: u64,
    bad: u64,
}

impl Dump {
    pub(super) fn run(self) -> Result<(), CliError> {
        let failed = |why| CliError::Failed(format!("{}: {why}", self.file.display()));
        let mut dump = log::Dump::open(&FileDisk::new(), &self.file).map_err(failed)?;
        let total = std::fs::metadata(&self.file).map_or(0, |found| found.len());
        let done = AtomicU64::new(0);
        let mut work = || self.dump_all(&mut dump, &done);
        let totals = if io::stdout().is_terminal() {
            // The lines themselves show how far it is, and would be mixed up with the progress.
            work()
        } else {
            progress::show("dumping", total, || done.load(Ordering::Relaxed), work)
        }?;
        say(format_args!(
            "{} batches, {} records, {} bad",
            totals.batches, totals.records, totals.bad
        ));
        if totals.bad == 0 {
            return Ok(());
        }
        Err(CliError::Failed(format!("{} is not as it should be", self.file.display())))
    }

    fn dump_all<F: DiskFile>(
        &self,
        dump: &mut log::Dump<F>,
        done: &AtomicU64,
    ) -> Result<Totals, CliError> {
        let failed = |why| CliError::Failed(format!("{}: {why}", self.file.display()));
        let mut out = out::stdout();
        let mut totals = Totals::default();
        while let Some(met) = dump.next() {
            match met.map_err(failed)? {
                Dumped::Batch { position, header, crc_is_valid } => {
                    done.store(position, Ordering::Relaxed);
                    totals.batches += 1;
                    totals.bad += u64::from(!crc_is_valid);
                    out.line(format_args!("{}", self.batch_line(position, &header, crc_is_valid)))?;
                    if !self.batches && crc_is_valid {
                        self.records(dump, position, &header, &mut out, &mut totals)?;
                    }
                }
                Dumped::Garbage { position, bytes } if is_zero(&self.file, position) => {
                    say(format_args!("{bytes} bytes from position {position} are not used yet"));
                }
                Dumped::Garbage { position, bytes } => {
                    totals.bad += 1;
                    out.line(format_args!("{}", self.garbage_line(position, bytes)))?;
                }
            }
        }
        out.flush()?;
        Ok(totals)
    }

    /// Prints a batch's records; a batch that does not hold what it says is a bad one.
    fn records<F: DiskFile>(
        &self,
        dump: &log::Dump<F>,
        position: u64,
        header: &BatchHeader,
        out: &mut Out,
        totals: &mut Totals,
    ) -> Result<(), CliError> {
        let failed = |why| CliError::Failed(format!("{}: {why}", self.file.display()));
        let bytes = dump.bytes(position, header).map_err(failed)?;
        let section = bytes.as_deref().and_then(|bytes| {
            let batch = Batch::split_first(bytes).ok()?.0;
            decompress(&batch, DECOMPRESSED_BYTES_MAX).ok().map(std::borrow::Cow::into_owned)
        });
        let Some(section) = section else {
            totals.bad += 1;
            say(format_args!("the batch at position {position} does not decompress"));
            return Ok(());
        };
        for record in Records::new(header, &section) {
            let Ok(record) = record else {
                totals.bad += 1;
                say(format_args!("a record of the batch at position {position} does not decode"));
                return Ok(());
            };
            totals.records += 1;
            out.line(format_args!("{}", self.record_line(&record)))?;
        }
        Ok(())
    }

    fn batch_line(&self, position: u64, header: &BatchHeader, crc_is_valid: bool) -> String {
        let codec = header.attributes.compression().map_or("unknown", |codec| codec.name());
        let stamp = match header.attributes.timestamp_type() {
            TimestampType::CreateTime => "CreateTime",
            TimestampType::LogAppendTime => "LogAppendTime",
        };
        if self.json {
            let object = Json::object([
                ("type", Json::from("batch")),
                ("position", Json::from(position)),
                ("bytes", Json::from(header.size_bytes())),
                ("base_offset", Json::from(header.base_offset.0)),
                ("last_offset", Json::from(header.last_offset().0)),
                ("record_count", Json::from(header.record_count)),
                ("leader_epoch", Json::from(header.leader_epoch.0)),
                ("timestamp_type", Json::from(stamp)),
                ("max_timestamp", Json::from(header.max_timestamp.0)),
                ("compression", Json::from(codec)),
                ("producer_id", Json::from(header.producer_id)),
                ("is_control", Json::from(header.attributes.is_control())),
                ("crc_is_valid", Json::from(crc_is_valid)),
            ]);
            return object.to_string();
        }
        format!(
            "batch {}..{}  records {}  position {position}  bytes {}  epoch {}  {stamp} {}  \
             compression {codec}  crc {:08x} {}",
            header.base_offset,
            header.last_offset(),
            header.record_count,
            header.size_bytes(),
            header.leader_epoch,
            rfc3339::print(header.max_timestamp),
            header.crc,
            if crc_is_valid { "ok" } else { "BAD" }
        )
    }

    fn record_line(&self, record: &Record<'_>) -> String {
        let Offset(offset) = record.offset;
        if self.json {
            let headers = record.headers().map(|header| {
                Json::object([("key", bytes(Some(header.key))), ("value", bytes(header.value))])
            });
            let object = Json::object([
                ("type", Json::from("record")),
                ("offset", Json::from(offset)),
                ("timestamp", Json::from(record.timestamp.0)),
                ("key", bytes(record.key)),
                ("value", bytes(record.value)),
                ("headers", Json::list(headers)),
            ]);
            return object.to_string();
        }
        // Writing to a string cannot fail.
        let mut line = format!("  {offset}  {}", rfc3339::print(record.timestamp));
        if record.key.is_some() {
            let _ = write!(line, "  key {}", bytes(record.key));
        }
        let _ = write!(line, "  value {}", bytes(record.value));
        for header in record.headers() {
            let _ = write!(line, "  {}: {}", bytes(Some(header.key)), bytes(header.value));
        }
        line
    }

    fn garbage_line(&self, position: u64, bytes: u64) -> String {
        if self.json {
            let object = Json::object([
                ("type", Json::from("garbage")),
                ("position", Json::from(position)),
                ("bytes", Json::from(bytes)),
            ]);
            return object.to_string();
        }
        format!("garbage  position {position}  bytes {bytes}: no batch begins here")
    }
}

/// Text as JSON writes it, which no terminal takes amiss; other bytes in hexadecimal.
fn bytes(bytes: Option<&[u8]>) -> Json {
    let Some(bytes) = bytes else { return Json::Null };
    if let Ok(text) = std::str::from_utf8(bytes) {
        return Json::from(text);
    }
    let digits: Vec<String> = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
    Json::from(format!("hex:{}", digits.concat()))
}

/// Whether only zeros follow: room that a running broker has set aside.
fn is_zero(path: &Path, position: u64) -> bool {
    let rest = File::open(path).and_then(|mut file| {
        file.seek(SeekFrom::Start(position))?;
        let mut buf = [0; 16 << 10];
        loop {
            match file.read(&mut buf)? {
                0 => return Ok(true),
                count if buf[..count].iter().any(|byte| *byte != 0) => return Ok(false),
                _ => {}
            }
        }
    });
    rest.unwrap_or(false)
}

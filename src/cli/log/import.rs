//! `odradek log import`: an Apache Kafka's topics become ours.

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};

use argh::FromArgs;
use odradek::config::Config;
use odradek::ids::Offset;
use odradek::log::Take;
use odradek::runtime::import::{ImportPlan, ImportedTopic, import};

use crate::cli::status::size;
use crate::cli::{CliError, config, out, progress, say};

/// take over the topics of an Apache Kafka that was stopped cleanly
#[derive(FromArgs)]
#[argh(
    subcommand,
    name = "import",
    note = "Kafka's directories are only read, unless --move is given; name all of its log.dirs. \
            Topic ids, offsets, configurations and committed offsets stay what they were, and every \
            batch's checksum is verified. Stopped half-way it may be run again. Exit code 1 when \
            nothing could be taken over; stderr says why.",
    example = "{command_name} /var/lib/kafka/data --dry-run",
    example = "{command_name} /mnt/a/kafka /mnt/b/kafka --into /var/lib/odradek"
)]
pub struct Import {
    /// the directories of Kafka's log.dirs
    #[argh(positional)]
    dirs: Vec<PathBuf>,

    /// the log dir to take them over into; without it that of the configuration
    #[argh(option, arg_name = "logdir")]
    into: Option<PathBuf>,

    /// move files instead of copying them, on the same file system; Kafka's directories lose them
    #[argh(switch, long = "move")]
    is_move: bool,

    /// say what would be taken over, and change nothing
    #[argh(switch)]
    dry_run: bool,

    /// configuration file (TOML) of the broker that is to serve them; without one the defaults
    #[argh(option, arg_name = "file")]
    config: Option<PathBuf>,

    /// a configuration key to override, as key=value; may be repeated
    #[argh(option, arg_name = "key=value")]
    set: Vec<String>,
}

impl Import {
    /// Plans, and takes over what was planned.
    pub fn run(self) -> Result<(), CliError> {
        if self.dirs.is_empty() {
            return Err(CliError::Usage("name the directories of Kafka's log.dirs".to_owned()));
        }
        let config = config::read(self.config.as_deref(), &self.set)?;
        let into = match (&self.into, &config.log_dirs[..]) {
            (Some(into), _) => into.clone(),
            (None, [only]) => only.clone(),
            (None, _) => {
                return Err(CliError::Usage("--into names one of log.dirs".to_owned()));
            }
        };
        let plan = ImportPlan::of(&self.dirs, &into).map_err(CliError::failed)?;
        say_what_stays(&plan);
        if self.dry_run {
            return show_plan(&plan, &into);
        }
        let done = AtomicU64::new(0);
        let how = if self.is_move { Take::Move } else { Take::Copy };
        let work = || {
            let mut progress = |bytes| {
                done.fetch_add(bytes, Ordering::Relaxed);
            };
            import(&config, &plan, &into, how, &mut progress)
        };
        let shown = || done.load(Ordering::Relaxed);
        let imported = progress::show("importing", plan.size_bytes(), shown, work);
        let imported = imported.map_err(CliError::failed)?;
        show_imported(&config, &imported, &into)
    }
}

/// Words about what is not taken over, or not as it was.
fn say_what_stays(plan: &ImportPlan) {
    for (path, why) in &plan.left {
        say(format_args!("{}: left: {why}", path.display()));
    }
    if !plan.has_metadata {
        say(format_args!(
            "no metadata of Kafka's was found (it used ZooKeeper, or keeps it elsewhere): the topics \
             get the broker's default configuration; `odradek topic alter` changes it"
        ));
    }
    for topic in &plan.topics {
        for (key, value) in &topic.dropped {
            say(format_args!("{}: {key} = {value} is not known here and is dropped", topic.name));
        }
        if topic.topic_id.is_none() {
            say(format_args!("{}: has no topic id (before Kafka 2.8) and gets one", topic.name));
        }
    }
}

fn header() -> Vec<String> {
    ["PARTITION", "LOG START", "END", "SIZE", "SEGMENTS"].map(str::to_owned).to_vec()
}

fn show_plan(plan: &ImportPlan, into: &Path) -> Result<(), CliError> {
    let mut rows = vec![header()];
    for partition in plan.topics.iter().flat_map(|topic| &topic.partitions) {
        rows.push(vec![
            format!("{}-{}", partition.name, partition.partition),
            partition.start.to_string(),
            partition.noted_end.map_or_else(|| "?".to_owned(), |end: Offset| end.to_string()),
            size(partition.size_bytes()),
            partition.segments.len().to_string(),
        ]);
    }
    let mut out = out::stdout();
    out.table(&rows)?;
    out.flush()?;
    for topic in plan.topics.iter().filter(|topic| topic.is_there) {
        say(format_args!("{}: is there already, whole or in part", topic.name));
    }
    say(format_args!(
        "would take over {} topics, {} partitions, {} into {}; nothing was changed",
        plan.topics.len(),
        rows.len() - 1,
        size(plan.size_bytes()),
        into.display()
    ));
    Ok(())
}

fn show_imported(config: &Config, imported: &[ImportedTopic], into: &Path) -> Result<(), CliError> {
    let mut rows = vec![header()];
    let mut transactional_count = 0;
    for topic in imported {
        if topic.partitions.is_empty() {
            say(format_args!("{}: was taken over before", topic.name));
        }
        for (number, (start, taken)) in topic.partitions.iter().enumerate() {
            transactional_count += taken.transactional_count;
            rows.push(vec![
                format!("{}-{number}", topic.name),
                start.to_string(),
                taken.end.to_string(),
                size(taken.size_bytes),
                taken.segment_count.to_string(),
            ]);
        }
    }
    let mut out = out::stdout();
    out.table(&rows)?;
    out.flush()?;
    if 0 < transactional_count {
        say(format_args!(
            "{transactional_count} batches belong to transactions; consumers see those of aborted \
             ones too, for transactions are not served yet"
        ));
    }
    let is_served = config.log_dirs.iter().any(|dir| dir == into);
    let hint = if is_served { "" } else { "; a broker serves them with log.dirs naming it" };
    say(format_args!("took over {} partitions into {}{hint}", rows.len() - 1, into.display()));
    Ok(())
}

//! The start of a node that belongs to a site of several.
//!
//! It differs from that of a node that is alone in what is known: the metadata may have gone on
//! without this node, so that logs may lie on the disk that it has not heard of yet, and epochs begin
//! when the controller says so.
//!
//! **Invariant:** a node whose quorum log cannot be trusted comes back as another voter, with an empty
//! one; the logs of its partitions are untouched by that.

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::path::PathBuf;

use crate::broker::control::{ControlStart, METADATA, MetadataError};
use crate::broker::site::{
    Found, FoundCopies, Site, SiteConfig, SiteError, SiteStart, Standing, examine, forget,
    read_snapshot, read_state, spoil,
};
use crate::config::{Config, Protocol, Role};
use crate::controller::change::Endpoint;
use crate::controller::image::Image;
use crate::ids::{Partition, TopicPartition, Uuid};
use crate::journal::Entry;
use crate::log::{Log, Truncation, adopt_cluster};
use crate::quorum::Timeouts;
use crate::runtime::StartError;
use crate::runtime::boot::{Begun, OpenDir, random};
use crate::runtime::clock;
use crate::runtime::disk::FileDisk;
use crate::runtime::settings::RunTime;
use crate::runtime::site::file::SiteFile;
use crate::runtime::site::links::Target;
use crate::runtime::site::manage::host_towards;
use crate::runtime::threads::{Governor, Membership};
use crate::time::Now;
use crate::wire::peer::hello::{BROKER, CONTROLLER, UNNAMED, WITNESS};

/// The shortest secret that is taken for one.
const SECRET_BYTES_MIN: usize = 16;

/// The longest.
const SECRET_BYTES_MAX: usize = 4096;

/// A node that is alone has no use for what a member of a quorum left: without the others it does not
/// know what the site has decided.
pub(super) fn refuse_member(opened: &OpenDir) -> Result<(), StartError> {
    let dir = opened.dir.path();
    match read_state(&FileDisk::new(), dir) {
        Ok(Found::Never) => Ok(()),
        Ok(_) => Err(StartError::WasMember(dir.to_owned())),
        Err(why) => Err(StartError::LogDirIo(dir.to_owned(), why)),
    }
}

pub(super) fn start(
    config: &Config,
    opened: &mut OpenDir,
    start: ControlStart<FileDisk>,
    addresses: &[(Protocol, SocketAddr)],
    run_time: &RunTime,
    site_file: Option<SiteFile>,
) -> Result<Begun, StartError> {
    let secret = read_secret(config, site_file.as_ref())?;
    let begins = Begins::of(config, opened, site_file)?;
    let ControlStart { controller, log, shard_count, seed } = start;
    let node_id = config.broker_id;
    let (mut log, mut standing) = inspect(opened, config, log)?;
    let process = Uuid::from_random(random());
    let mut site = loop {
        if let Standing::Lost(why) = &standing {
            log::error!(
                "{why}: what this node knew of the quorum cannot be trusted. It comes back as \
                 another voter, once the others have taken it in"
            );
            reset(opened, &mut log)?;
            standing = Standing::Blank;
        }
        let start = SiteStart {
            config: site_config(config, addresses, &begins),
            controller: controller.clone(),
            log,
            standing,
            shard_count,
            seed,
            incarnation: u32::from_be_bytes(random()),
            process,
            directory_id: opened.dir.identity().directory_id,
            cluster_id: opened.dir.identity().cluster_id,
        };
        match Site::start(clock::now(), start) {
            Ok(site) => break site,
            Err((SiteError::Quorum(why), kept)) => {
                log::error!("the quorum's log: {why}");
                (log, standing) = (*kept, Standing::Lost("the quorum does not go by it"));
            }
            // Nothing but the record that there is a cluster: that gives way to the site's.
            Err((SiteError::HasOwnCluster(0), kept)) => {
                log = *kept;
                reset(opened, &mut log)?;
                standing = Standing::Blank;
            }
            Err((why, _)) => return Err(StartError::Site(why)),
        }
    };
    let image = site.controller().image().clone();
    let (in_effect, reload) = run_time.in_effect(&image);
    site.reconfigure(reload.controller.clone());
    site.set_broker_keys(run_time.keys());
    if in_effect.log_level != config.log_level {
        log::set_max_level(in_effect.log_level);
    }
    let settled = settle(opened, &in_effect, clock::now(), &image)?;
    site.note_given(settled.logs.iter().map(Log::topic_partition));
    site.note_found(settled.copies);
    log::info!("node {node_id} belongs to a site of several");
    let membership = Membership { secret, targets: begins.targets(config) };
    let governor = Governor::Member(Box::new(site), membership);
    Ok(Begun { governor, image, logs: settled.logs, reload })
}

/// How a node comes to its site.
struct Begins {
    /// Whether the site begins here, if nobody has a log of it.
    may_found: bool,
    /// Whether nobody says who does: no list, and no code.
    is_unnamed: bool,
    /// Where others of it are, beside those that are to vote.
    peers: Vec<String>,
}

impl Begins {
    fn of(
        config: &Config,
        opened: &OpenDir,
        site_file: Option<SiteFile>,
    ) -> Result<Begins, StartError> {
        let first = config.controller_quorum_voters.iter().map(|voter| voter.node_id).min();
        let founds = site_file.as_ref().is_some_and(|file| file.founds);
        let may_found = first.map_or(founds, |first| first == config.broker_id);
        let is_unnamed = first.is_none() && site_file.is_none();
        let mut peers = config.peers.clone();
        if let Some(file) = site_file {
            if !founds {
                let dir = opened.dir.path();
                adopt_cluster(&FileDisk::new(), dir, file.cluster_id)
                    .map_err(|why| StartError::LogDirIo(dir.to_owned(), why))?;
            }
            peers.extend(file.peers);
        }
        peers.sort_unstable();
        peers.dedup();
        Ok(Begins { may_found, is_unnamed, peers })
    }

    /// Where other nodes are looked for.
    fn targets(&self, config: &Config) -> Vec<Target> {
        let mut targets: Vec<Target> = config
            .controller_quorum_voters
            .iter()
            .map(|voter| Target { node_id: Some(voter.node_id), address: voter.address.clone() })
            .collect();
        for address in &self.peers {
            if !targets.iter().any(|target| target.address == *address) {
                targets.push(Target { node_id: None, address: address.clone() });
            }
        }
        targets
    }
}

fn read_secret(config: &Config, site_file: Option<&SiteFile>) -> Result<Vec<u8>, StartError> {
    if let (None, Some(file)) = (&config.cluster_secret_file, site_file) {
        return Ok(file.secret.clone());
    }
    let path = config.cluster_secret_file.clone().ok_or(StartError::NoSecret)?;
    let text = std::fs::read(&path).map_err(|why| StartError::Secret(path.clone(), why))?;
    let secret = text.trim_ascii();
    if secret.len() < SECRET_BYTES_MIN || SECRET_BYTES_MAX < secret.len() {
        return Err(StartError::SecretLength(path, secret.len()));
    }
    Ok(secret.to_vec())
}

/// A node's roles, added up.
pub(super) fn roles_of(config: &Config) -> u8 {
    let role = |role: &Role| match role {
        Role::Broker => BROKER,
        Role::Controller => CONTROLLER,
        Role::Witness => WITNESS,
    };
    config.process_roles.iter().map(role).sum()
}

fn site_config(
    config: &Config,
    addresses: &[(Protocol, SocketAddr)],
    begins: &Begins,
) -> SiteConfig {
    let mut peers = begins.peers.clone();
    peers.extend(config.controller_quorum_voters.iter().map(|voter| voter.address.clone()));
    let endpoint = |(protocol, bound): &(Protocol, SocketAddr)| {
        let advertised = config.advertised_listeners.iter().find(|one| one.protocol == *protocol);
        let (host, port) = match advertised {
            Some(listener) => (listener.host.clone(), listener.port),
            None => (host_towards(*bound, &peers).to_string(), bound.port()),
        };
        Endpoint { protocol: protocol.name().into(), host: host.into(), port }
    };
    SiteConfig {
        roles: roles_of(config) | if begins.is_unnamed { UNNAMED } else { 0 },
        voters: config.controller_quorum_voters.iter().map(|voter| voter.node_id).collect(),
        voters_max: config.quorum_voters_max,
        may_found: begins.may_found,
        endpoints: addresses.iter().map(endpoint).collect(),
        rack: config.broker_rack.clone(),
        timeouts: Timeouts {
            silence_ms_max: config.broker_session_timeout_ms,
            ..Timeouts::default()
        },
        session_timeout_ms: config.broker_session_timeout_ms,
        heartbeat_interval_ms: config.broker_heartbeat_interval_ms,
        leader_imbalance_check_ms: config
            .auto_leader_rebalance_enable
            .then_some(config.leader_imbalance_check_interval_seconds * 1000),
    }
}

fn inspect(
    opened: &OpenDir,
    config: &Config,
    log: Log<FileDisk>,
) -> Result<(Log<FileDisk>, Standing), StartError> {
    let (disk, dir) = (FileDisk::new(), opened.dir.path());
    let failed = |why| StartError::LogDirIo(dir.to_owned(), why);
    let state = read_state(&disk, dir).map_err(failed)?;
    let snapshot = read_snapshot(&disk, dir).map_err(failed)?;
    let is_journal_sound = opened.damage.is_none();
    let standing = examine(config.broker_id, &log, state, snapshot, is_journal_sound);
    Ok((log, standing))
}

/// Empties the quorum's log, and forgets what was promised with it. Where the power goes meanwhile,
/// the next start does it again.
fn reset(opened: &mut OpenDir, log: &mut Log<FileDisk>) -> Result<(), StartError> {
    let dir: PathBuf = opened.dir.path().to_owned();
    let failed = |why| StartError::LogDirIo(dir.clone(), why);
    let log_failed = |why| StartError::Metadata(MetadataError::Log(why));
    spoil(&FileDisk::new(), &dir).map_err(failed)?;
    let truncation = Truncation::restart(crate::ids::Offset::ZERO);
    let entry = Entry::State { topic_partition: METADATA, state: truncation.state() };
    opened.commit(std::slice::from_ref(&entry))?;
    let cut = log.begin_truncation(clock::now(), truncation).map_err(log_failed)?;
    let done = cut.run().map_err(failed)?;
    log.finish_truncation(done);
    forget(&FileDisk::new(), &dir).map_err(failed)
}

struct Settled {
    logs: Vec<Log<FileDisk>>,
    copies: FoundCopies<FileDisk>,
}

/// Matches what is on disk with what the metadata says, as far as this node knows it.
fn settle(
    opened: &mut OpenDir,
    config: &Config,
    now: Now,
    image: &Image,
) -> Result<Settled, StartError> {
    let mut unsound = BTreeSet::new();
    // Those too that the metadata, as far as this node has it, does not name yet.
    let lost = opened.logs.iter().filter(|log| log.damaged_from().is_some());
    unsound.extend(lost.map(Log::topic_partition));
    let logs = std::mem::take(&mut opened.logs);
    let mut found: BTreeMap<TopicPartition, Log<FileDisk>> =
        logs.into_iter().map(|log| (log.topic_partition(), log)).collect();
    let mut settled = Vec::new();
    for (topic_id, topic) in image.topics() {
        let effective = topic.effective(&config.topic_defaults);
        for (number, partition) in topic.partitions.iter().enumerate() {
            let topic_partition = TopicPartition { topic_id, partition: Partition(number as i32) };
            if !partition.replicas.contains(&config.broker_id) {
                continue;
            }
            let mut log = if let Some(log) = found.remove(&topic_partition) {
                log
            } else {
                unsound.insert(topic_partition);
                opened.replace(&topic.name, topic_partition, &effective, now)?
            };
            log.set_config(effective.clone());
            settled.push(log);
        }
    }
    // What a stop left of a partition that was being made is kept too: the site may have decided on
    // it, and this node hears of that later.
    let copies = FoundCopies {
        unclaimed: found,
        unsound,
        is_unproven: opened.is_unproven,
        was_clean: !opened.recovery.is_unclean,
    };
    Ok(Settled { logs: settled, copies })
}

//! Keys that Kafka has and this broker has not: why, and what to do instead.
//!
//! Somebody who moves in brings a `server.properties` that grew for years. "Unknown key" would
//! leave them with thirty look-ups; a word on each leaves them with the two that matter. The names
//! are those of Apache Kafka 3 and 4's broker configuration.

use super::error::Warned;
use super::key::Key;

const NO_SUCH_CONTROLLER: &str = "not needed here: every broker may be a controller, on its wire:// \
                                  listener and at its defaults";
const NO_THREADS: &str = "not needed here: `shards` threads do all of it, and find their number";
const NO_PEERS: &str = "not needed here: how a site's brokers copy from each other needs no tuning";
const OF_OPERATORS: &str = "not needed here: a leader that lacks records comes by command only, \
                            `odradek topic elect-leader --unclean`";
const NO_BOUND: &str = "not needed here: `memory.limit` bounds what is in flight";
const NO_TLS: &str = "NOT IN EFFECT: TLS, SASL and access rules are not served yet, so keep the \
                      listeners on a network you trust";
const NO_TRANSACTIONS: &str = "transactions are not served yet";
const NO_METRICS: &str = "`odradek status` shows what the broker counts";
const NO_TIERS: &str = "there is no tiered storage";
const OLD_FORMAT: &str = "gone with Kafka 4: record batches of format 2 are all there is";
const SYNCED: &str = "not needed here: acks=all waits for stable storage, and a recovery reads the \
                      journal only";
const NO_GROUP_KEY: &str = "consumer groups go without this one here";

/// What is said of a key: its whole name, or, with a dot at the end, how it begins.
const KEYS: &[(&str, &str)] = &[
    (
        "zookeeper.connect",
        "there is no ZooKeeper: the broker keeps its metadata itself; `odradek log import` takes \
         over the topics of Kafka's log directory",
    ),
    ("zookeeper.", "there is no ZooKeeper"),
    ("controller.quorum.bootstrap.servers", NO_SUCH_CONTROLLER),
    ("controller.listener.names", "read: the listeners that it names are left out"),
    ("controller.", NO_SUCH_CONTROLLER),
    ("initial.broker.registration.timeout.ms", NO_SUCH_CONTROLLER),
    ("metadata.", NO_SUCH_CONTROLLER),
    ("migration.enabled", NO_SUCH_CONTROLLER),
    ("early.start.listeners", NO_SUCH_CONTROLLER),
    ("listener.security.protocol.map", "read: names that it maps to PLAINTEXT are our kafka://"),
    ("inter.broker.listener.name", NO_PEERS),
    ("inter.broker.protocol.version", "gone with Kafka 4: features replace it"),
    ("listener.name.", NO_TLS),
    ("host.name", "gone with Kafka 3: `listeners` replaces it"),
    ("port", "gone with Kafka 3: `listeners` replaces it"),
    ("advertised.host.name", "gone with Kafka 3: `advertised.listeners` replaces it"),
    ("advertised.port", "gone with Kafka 3: `advertised.listeners` replaces it"),
    ("num.network.threads", NO_THREADS),
    ("num.io.threads", NO_THREADS),
    ("num.recovery.threads.per.data.dir", NO_THREADS),
    ("num.replica.alter.log.dirs.threads", NO_THREADS),
    ("num.replica.fetchers", NO_PEERS),
    ("background.threads", NO_THREADS),
    ("socket.request.max.bytes", "not needed here: a frame is at most an eighth of `memory.limit`"),
    ("queued.max.requests", NO_BOUND),
    ("queued.max.request.bytes", NO_BOUND),
    ("fetch.max.bytes", NO_BOUND),
    ("max.incremental.fetch.session.cache.slots", NO_BOUND),
    ("max.connection.creation.rate", "not needed here: `max.connections` bounds them"),
    ("max.connections.per.ip.overrides", "`max.connections.per.ip` holds for every address"),
    ("connection.failed.authentication.delay.ms", NO_TLS),
    ("connections.max.reauth.ms", NO_TLS),
    ("request.timeout.ms", NO_PEERS),
    ("broker.id.generation.enable", "not needed here: `broker.id` is 1 unless it is set"),
    ("reserved.broker.max.id", "not needed here: every id may be set"),
    ("replica.", NO_PEERS),
    ("follower.", NO_PEERS),
    ("leader.", NO_PEERS),
    ("unclean.leader.election.enable", OF_OPERATORS),
    ("controlled.shutdown.", NO_PEERS),
    ("eligible.leader.replicas.enable", NO_PEERS),
    ("log.flush.interval.messages", SYNCED),
    ("log.flush.scheduler.interval.ms", SYNCED),
    ("log.flush.offset.checkpoint.interval.ms", SYNCED),
    ("log.flush.start.offset.checkpoint.interval.ms", SYNCED),
    ("log.recovery.", SYNCED),
    ("log.dir.failure.timeout.ms", SYNCED),
    ("log.preallocate", "not needed here: the journal is laid out ahead, segments are not"),
    ("log.roll.jitter.", "not needed here: one journal takes the syncs of all partitions"),
    ("log.message.format.version", OLD_FORMAT),
    ("log.message.downconversion.enable", OLD_FORMAT),
    (
        "log.message.timestamp.difference.max.ms",
        "gone with Kafka 4: log.message.timestamp.before.max.ms and .after.max.ms replace it",
    ),
    ("log.cleaner.", "compaction goes without this one here"),
    ("log.cleanup.interval.mins", "gone: `log.retention.check.interval.ms` replaces it"),
    ("log.deletion.", "gone: `log.segment.delete.delay.ms` replaces it"),
    ("remote.", NO_TIERS),
    ("log.local.retention.", NO_TIERS),
    ("log.remote.", NO_TIERS),
    ("offsets.", NO_GROUP_KEY),
    ("group.", NO_GROUP_KEY),
    ("share.", "share groups are not served"),
    ("transaction.state.log.", NO_TRANSACTIONS),
    ("transaction.", NO_TRANSACTIONS),
    ("transactional.", NO_TRANSACTIONS),
    ("producer.purgatory.", NO_BOUND),
    ("fetch.purgatory.", NO_BOUND),
    ("delete.records.purgatory.", NO_BOUND),
    ("producer.id.expiration.check.interval.ms", "not needed here: expiry is looked at as it goes"),
    ("quota.", "quotas are not served yet"),
    ("client.quota.", "quotas are not served yet"),
    ("alter.", "there are no rules of this kind"),
    ("create.topic.policy.class.name", "there are no classes to load"),
    ("metric.reporters", NO_METRICS),
    ("metrics.", NO_METRICS),
    ("auto.include.jmx.reporter", NO_METRICS),
    ("kafka.metrics.", NO_METRICS),
    ("telemetry.", NO_METRICS),
    ("ssl.", NO_TLS),
    ("sasl.", NO_TLS),
    ("security.", NO_TLS),
    ("password.", NO_TLS),
    ("principal.builder.class", NO_TLS),
    ("delegation.token.", NO_TLS),
    ("authorizer.class.name", NO_TLS),
    ("super.users", NO_TLS),
    ("allow.everyone.if.no.acl.found", NO_TLS),
    ("config.providers", "values stand in the file itself, or in ODRADEK_… variables"),
    ("unstable.", "everything that is served is on"),
    ("confluent.", "a key of another product"),
];

/// What is said of a key that this broker does not have.
pub(super) fn about(key: &str) -> Warned {
    let is_meant = |name: &str| name == key || (name.ends_with('.') && key.starts_with(name));
    match KEYS.iter().find(|(name, _)| is_meant(name)) {
        Some((_, words)) => Warned::NotHere(words),
        None => Warned::Unknown { nearest: Key::nearest(key) },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table_holds_no_key_of_ours_and_no_line_that_another_hides() {
        for (place, (name, _)) in KEYS.iter().enumerate() {
            assert!(Key::find(name).is_none(), "{name} is served");
            let is_hidden = |earlier: &str| {
                earlier == *name || (earlier.ends_with('.') && name.starts_with(earlier))
            };
            let hidden = KEYS[..place].iter().find(|(earlier, _)| is_hidden(earlier));
            assert_eq!(hidden.map(|(earlier, _)| earlier), None, "{name}");
        }
    }
}

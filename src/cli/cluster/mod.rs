//! `odradek cluster …`: the nodes of a site, who of them agree on its metadata, and how nodes come and
//! go.

mod members;
mod pairing;

use argh::FromArgs;
use odradek::client::{ClusterInfo, QuorumInfo};
use odradek::wire::quorum::members::MemberKind;

use super::json::Json;
use super::{CliError, connect, out};

/// form a site of several nodes, show it, and change who belongs to it
#[derive(FromArgs)]
#[argh(subcommand, name = "cluster")]
pub struct Cluster {
    #[argh(subcommand)]
    action: Action,
}

#[derive(FromArgs)]
#[argh(subcommand)]
enum Action {
    Init(pairing::Init),
    Invite(pairing::Invite),
    Join(pairing::Join),
    Leave(members::Leave),
    Members(members::Members),
    MoveVoter(members::MoveVoter),
    Remove(members::Remove),
    Status(Status),
}

impl Cluster {
    /// Does what is asked.
    pub fn run(self) -> Result<(), CliError> {
        match self.action {
            Action::Init(init) => init.run(),
            Action::Invite(invite) => invite.run(),
            Action::Join(join) => join.run(),
            Action::Leave(leave) => leave.run(),
            Action::Members(members) => members.run(),
            Action::MoveVoter(moving) => moving.run(),
            Action::Remove(remove) => remove.run(),
            Action::Status(status) => status.run(),
        }
    }
}

/// show who leads the metadata quorum, how far its members are, and which brokers take part
#[derive(FromArgs)]
#[argh(
    subcommand,
    name = "status",
    example = "{command_name}\n  the site as the broker at --server sees it",
    note = "Only the leader knows how far the others are."
)]
struct Status {
    /// one JSON object: cluster_id, leader, epoch, high_watermark, members, brokers, trouble
    #[argh(switch)]
    json: bool,

    /// the broker, as HOST:PORT (default: ODRADEK_SERVER, or 127.0.0.1:7092)
    #[argh(option, arg_name = "host:port", default = "connect::default_server()")]
    server: String,
}

impl Status {
    fn run(self) -> Result<(), CliError> {
        let admin = connect::admin(&self.server)?;
        let failed = |why| connect::failed(&self.server, why);
        let cluster = admin.describe_cluster().map_err(failed)?;
        let quorum = admin.describe_quorum().map_err(failed)?;
        let mut out = out::stdout();
        if self.json {
            out.line(format_args!("{}", as_json(&cluster, &quorum)))?;
            return out.flush();
        }
        out.line(format_args!("cluster {}", cluster.cluster_id))?;
        let leader = quorum.leader.map_or("nobody".to_owned(), |leader| format!("node {leader}"));
        out.line(format_args!(
            "quorum  led by {leader} in epoch {}, high watermark {}",
            quorum.epoch, quorum.high_watermark
        ))?;
        out.table(&members(&quorum))?;
        for broker in &cluster.brokers {
            out.line(format_args!("broker {}  wire {}", broker.node_id, broker.address))?;
        }
        if let Some(words) = trouble(&quorum) {
            out.line(format_args!("{words}"))?;
        }
        out.flush()
    }
}

fn kind(kind: MemberKind) -> &'static str {
    match kind {
        MemberKind::Voter => "voter",
        MemberKind::Witness => "witness",
        MemberKind::Observer => "observer",
    }
}

fn members(quorum: &QuorumInfo) -> Vec<Vec<String>> {
    let row = |member: &odradek::client::QuorumMember| {
        let leads = quorum.leader == Some(member.node_id);
        let end = member.durable_end_offset.map_or("-".to_owned(), |end| end.to_string());
        vec![
            format!("node {}", member.node_id),
            kind(member.kind).to_owned(),
            if leads { "leader" } else { "follower" }.to_owned(),
            format!("durable end {end}"),
        ]
    };
    quorum.members.iter().map(row).collect()
}

/// What the operator should know of the quorum.
fn trouble(quorum: &QuorumInfo) -> Option<&'static str> {
    let voters = quorum.voters();
    match voters.count() {
        _ if quorum.leader.is_none() => {
            Some("nobody leads: topics cannot be changed, and leaders are not replaced")
        }
        2 => Some(
            "two vote: when one is lost the other cannot lead alone; a third vote, a witness at \
             least, makes the site survive it",
        ),
        _ => None,
    }
}

fn as_json(cluster: &ClusterInfo, quorum: &QuorumInfo) -> Json {
    let members = quorum.members.iter().map(|member| {
        Json::object([
            ("node_id", Json::from(member.node_id.0)),
            ("incarnation", Json::from(member.incarnation)),
            ("kind", Json::from(kind(member.kind))),
            (
                "durable_end_offset",
                member.durable_end_offset.map_or(Json::Null, |end| Json::Integer(end.0.into())),
            ),
        ])
    });
    let brokers = cluster.brokers.iter().map(|broker| {
        Json::object([
            ("node_id", Json::from(broker.node_id.0)),
            ("address", Json::from(broker.address.clone())),
        ])
    });
    Json::object([
        ("cluster_id", Json::from(cluster.cluster_id.to_string())),
        ("leader", quorum.leader.map_or(Json::Null, |leader| Json::from(leader.0))),
        ("epoch", Json::from(quorum.epoch.0)),
        ("high_watermark", Json::Integer(quorum.high_watermark.0.into())),
        ("members", Json::list(members)),
        ("brokers", Json::list(brokers)),
        ("trouble", trouble(quorum).map_or(Json::Null, Json::from)),
    ])
}

//! `odradek cluster members`, `leave`, `remove` and `move-voter`.

use std::thread;
use std::time::{Duration, Instant};

use argh::FromArgs;
use odradek::client::Admin;
use odradek::ids::{NodeId, Uuid};
use odradek::wire::ErrorCode;
use odradek::wire::change_members::SiteChange;
use odradek::wire::describe_members::{DescribedNode, NodeState};
use odradek::wire::peer::hello::{BROKER, CONTROLLER, WITNESS};

use super::super::json::Json;
use super::super::{CliError, connect, out, say};
use super::kind;

/// How long a change of members may take to get on.
const PATIENCE: Duration = Duration::from_secs(120);

/// How soon its next step is asked for.
const STEP: Duration = Duration::from_millis(200);

/// list the nodes of a site: what they do, where they are, when they were heard of
#[derive(FromArgs)]
#[argh(
    subcommand,
    name = "members",
    example = "{command_name} --json\n  for a script: also directory ids",
    note = "The active controller answers, whichever node is asked."
)]
pub struct Members {
    /// one JSON array of objects: node_id, roles, quorum, address, rack, state, silent_ms,
    /// broker_epoch, directory_id
    #[argh(switch)]
    json: bool,

    /// the broker, as HOST:PORT (default: ODRADEK_SERVER, or 127.0.0.1:7092)
    #[argh(option, arg_name = "host:port", default = "connect::default_server()")]
    server: String,
}

impl Members {
    /// Lists them.
    pub fn run(self) -> Result<(), CliError> {
        let admin = connect::admin(&self.server)?;
        let failed = |why| connect::failed(&self.server, why);
        let nodes = admin.describe_members().map_err(failed)?;
        let mut out = out::stdout();
        if self.json {
            out.line(format_args!("{}", Json::list(nodes.iter().map(as_json))))?;
            return out.flush();
        }
        let titles = ["node", "roles", "quorum", "state", "address", "rack", "last seen", "epoch"];
        let mut rows = vec![titles.map(str::to_owned).to_vec()];
        rows.extend(nodes.iter().map(row));
        for (row, last) in rows.iter_mut().zip([None].into_iter().chain(nodes.iter().map(Some))) {
            row.push(last.map_or("directory id".to_owned(), directory));
        }
        out.table(&rows)?;
        out.flush()
    }
}

fn roles(node: &DescribedNode) -> Vec<&'static str> {
    let names = [(BROKER, "broker"), (CONTROLLER, "controller"), (WITNESS, "witness")];
    names.iter().filter(|(role, _)| node.roles & role != 0).map(|(_, name)| *name).collect()
}

const fn state(state: NodeState) -> &'static str {
    match state {
        NodeState::Unregistered => "-",
        NodeState::Fenced => "fenced",
        NodeState::Active => "active",
        NodeState::ShuttingDown => "shutting down",
    }
}

fn address(node: &DescribedNode) -> Option<String> {
    let host = match node.host.contains(':') {
        true => format!("[{}]", node.host),
        false => node.host.to_string(),
    };
    (!node.host.is_empty()).then(|| format!("{host}:{}", node.port))
}

fn directory(node: &DescribedNode) -> String {
    let is_known = node.directory_id != Uuid::ZERO;
    if is_known { node.directory_id.to_string() } else { "-".to_owned() }
}

fn row(node: &DescribedNode) -> Vec<String> {
    let dash = || "-".to_owned();
    let roles = roles(node);
    let seen = match node.silent_ms {
        ..=-1 => dash(),
        0..=999 => "now".to_owned(),
        ms => format!("{} s ago", ms / 1000),
    };
    let epoch = if node.broker_epoch < 0 { dash() } else { node.broker_epoch.to_string() };
    vec![
        node.node_id.to_string(),
        if roles.is_empty() { dash() } else { roles.join(",") },
        node.kind.map_or("-", kind).to_owned(),
        state(node.state).to_owned(),
        address(node).unwrap_or_else(dash),
        if node.rack.is_empty() { dash() } else { node.rack.to_string() },
        seen,
        epoch,
    ]
}

fn as_json(node: &DescribedNode) -> Json {
    let known = |value: i64| if value < 0 { Json::Null } else { Json::Integer(value.into()) };
    let text = |text: Option<String>| text.map_or(Json::Null, Json::from);
    let id = Some(node.directory_id).filter(|id| *id != Uuid::ZERO);
    Json::object([
        ("node_id", Json::from(node.node_id.0)),
        ("roles", Json::list(roles(node).into_iter().map(Json::from))),
        ("quorum", node.kind.map_or(Json::Null, |one| Json::from(kind(one)))),
        ("address", text(address(node))),
        ("rack", text(Some(node.rack.to_string()).filter(|rack| !rack.is_empty()))),
        (
            "state",
            Json::from(match node.state {
                NodeState::Unregistered => "unregistered",
                other => state(other),
            }),
        ),
        ("silent_ms", known(node.silent_ms)),
        ("broker_epoch", known(node.broker_epoch)),
        ("directory_id", text(id.map(|id| id.to_string()))),
    ])
}

/// take a node out of its site for good: its replicas move to others, which take over what it leads, it
/// votes no more, and its process ends
#[derive(FromArgs)]
#[argh(
    subcommand,
    name = "leave",
    example = "{command_name} --server board-3.local:7092\n  node board-3 leaves",
    note = "Partitions that every other broker has a replica of have one fewer then. Refused while the node holds the only copy of something, or while those who are left to vote would be no majority."
)]
pub struct Leave {
    /// the broker that is to leave, as HOST:PORT (default: ODRADEK_SERVER, or 127.0.0.1:7092)
    #[argh(option, arg_name = "host:port", default = "connect::default_server()")]
    server: String,
}

impl Leave {
    /// Has it leave.
    pub fn run(self) -> Result<(), CliError> {
        change(&self.server, SiteChange::Leave { node_id: NodeId::NONE })?;
        say(format_args!("the node has left its site; its process ends, and its data stays"));
        Ok(())
    }
}

/// take a dead node out of the site
#[derive(FromArgs)]
#[argh(
    subcommand,
    name = "remove",
    example = "{command_name} 3\n  node 3 will not come back",
    note = "Refused while the node is alive, while it holds the only copy of something, or while those who are left to vote would be no majority."
)]
pub struct Remove {
    /// the node's id
    #[argh(positional, arg_name = "node")]
    node: i32,

    /// give up what only it has, where another replica has some of it: records are lost
    #[argh(switch)]
    force: bool,

    /// a broker that is alive, as HOST:PORT (default: ODRADEK_SERVER, or 127.0.0.1:7092)
    #[argh(option, arg_name = "host:port", default = "connect::default_server()")]
    server: String,
}

impl Remove {
    /// Has it forgotten.
    pub fn run(self) -> Result<(), CliError> {
        let node_id = NodeId(self.node);
        change(&self.server, SiteChange::Remove { node_id, is_forced: self.force })?;
        say(format_args!("node {node_id} no longer belongs to the site"));
        Ok(())
    }
}

/// let another node vote on the metadata in the place of one
#[derive(FromArgs)]
#[argh(
    subcommand,
    name = "move-voter",
    example = "{command_name} 1 4\n  node 4 votes, node 1 follows",
    note = "A node that controller.quorum.voters names keeps its vote: that list decides."
)]
pub struct MoveVoter {
    /// the node that votes
    #[argh(positional, arg_name = "from")]
    from: i32,

    /// the node that is to
    #[argh(positional, arg_name = "to")]
    to: i32,

    /// the broker, as HOST:PORT (default: ODRADEK_SERVER, or 127.0.0.1:7092)
    #[argh(option, arg_name = "host:port", default = "connect::default_server()")]
    server: String,
}

impl MoveVoter {
    /// Has the vote moved.
    pub fn run(self) -> Result<(), CliError> {
        let (from, to) = (NodeId(self.from), NodeId(self.to));
        change(&self.server, SiteChange::MoveVoter { from, to })?;
        say(format_args!("node {to} votes in the place of node {from}"));
        Ok(())
    }
}

/// Asks for a change until it is done, and says what happens on the way.
fn change(server: &str, change: SiteChange) -> Result<(), CliError> {
    let admin: Admin = connect::admin(server)?;
    let mut deadline = Instant::now() + PATIENCE;
    let mut said = String::new();
    loop {
        let step = admin.change_members(change).map_err(|why| connect::failed(server, why))?;
        let message = match step {
            Ok(step) if step.is_done => return Ok(()),
            Ok(step) => step.message,
            // Another node takes over: whoever is asked next knows which.
            Err(refusal) if refusal.error == ErrorCode::NOT_CONTROLLER => refusal.message,
            Err(refusal) => return Err(connect::failed(server, refusal)),
        };
        if message != said && !message.is_empty() {
            say(format_args!("{message}"));
            said = message;
            deadline = Instant::now() + PATIENCE;
        }
        if deadline <= Instant::now() {
            return Err(connect::failed(
                server,
                "the change does not get on; it goes on by itself where it can, and goes on from there when it is \
                 asked for again",
            ));
        }
        thread::sleep(STEP);
    }
}

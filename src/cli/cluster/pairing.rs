//! `odradek cluster init`, `invite` and `join`: how boards become a site.

use std::thread;
use std::time::{Duration, Instant};

use argh::FromArgs;
use odradek::client::{Admin, SiteAnswer};
use odradek::ids::Uuid;
use odradek::wire::manage_site::SiteRequest;

use super::super::{CliError, connect, out, say};

/// How long a broker may take to start again as one of a site.
const PATIENCE: Duration = Duration::from_secs(30);

/// How soon it is asked again.
const STEP: Duration = Duration::from_millis(100);

/// make this board the first of a site, and print the code by which the next one joins
#[derive(FromArgs)]
#[argh(
    subcommand,
    name = "init",
    example = "{command_name}\n  its broker runs; what it holds becomes the site's",
    note = "The broker must run on this machine, and listen where the other boards reach it (listeners). The code is for one board and ten minutes; `odradek cluster invite` prints another."
)]
pub struct Init {
    /// the broker on this machine, as HOST:PORT (default: ODRADEK_SERVER, or 127.0.0.1:7092)
    #[argh(option, arg_name = "host:port", default = "connect::default_server()")]
    server: String,
}

impl Init {
    /// Founds the site.
    pub fn run(self) -> Result<(), CliError> {
        let answer = ask(&self.server, SiteRequest::Init)?;
        let admin = connect::admin(&self.server)?;
        // Until the site has begun it lets nobody in.
        wait(|| {
            let members = admin.describe_members().unwrap_or_default();
            members.iter().any(|node| node.directory_id != Uuid::ZERO)
        });
        print(&answer)
    }
}

/// print a code by which another board joins the site of this one
#[derive(FromArgs)]
#[argh(
    subcommand,
    name = "invite",
    example = "{command_name}\n  one board, within ten minutes",
    note = "The code before it is of no use any more."
)]
pub struct Invite {
    /// the broker on this machine, as HOST:PORT (default: ODRADEK_SERVER, or 127.0.0.1:7092)
    #[argh(option, arg_name = "host:port", default = "connect::default_server()")]
    server: String,
}

impl Invite {
    /// Makes the code.
    pub fn run(self) -> Result<(), CliError> {
        print(&ask(&self.server, SiteRequest::Invite)?)
    }
}

/// let this board join the site whose code this is
#[derive(FromArgs)]
#[argh(
    subcommand,
    name = "join",
    example = "{command_name} 7K3Q-0XZ9-M2WD-R5TB --address board-1.local:7092\n  the site of board-1",
    note = "The broker must run on this machine, with a `broker.id` that no board of the site has, and without topics."
)]
pub struct Join {
    /// the code that `cluster init` or `cluster invite` printed
    #[argh(positional, arg_name = "code")]
    code: String,

    /// the board that printed it, as HOST:PORT of its wire listener (default: look for it by mDNS)
    #[argh(option, arg_name = "host:port", default = "String::new()")]
    address: String,

    /// the broker on this machine, as HOST:PORT (default: ODRADEK_SERVER, or 127.0.0.1:7092)
    #[argh(option, arg_name = "host:port", default = "connect::default_server()")]
    server: String,
}

impl Join {
    /// Joins.
    pub fn run(self) -> Result<(), CliError> {
        let request = SiteRequest::Join { code: &self.code, address: &self.address };
        let answer = ask(&self.server, request)?;
        let admin = connect::admin(&self.server)?;
        let is_in = wait(|| {
            let cluster = admin.describe_cluster();
            cluster.is_ok_and(|cluster| cluster.cluster_id == answer.cluster_id)
        });
        if !is_in {
            return Err(connect::failed(
                &self.server,
                "it was let in, and has not found the site yet: its log says why",
            ));
        }
        let mut out = out::stdout();
        out.line(format_args!("joined cluster {} by {}", answer.cluster_id, answer.address))?;
        out.flush()
    }
}

fn ask(server: &str, request: SiteRequest<'_>) -> Result<SiteAnswer, CliError> {
    let admin: Admin = connect::admin(server)?;
    let answer = admin.manage_site(request).map_err(|why| connect::failed(server, why))?;
    answer.map_err(|refusal| connect::failed(server, refusal.message))
}

fn wait(is_so: impl Fn() -> bool) -> bool {
    let deadline = Instant::now() + PATIENCE;
    while !is_so() {
        if deadline <= Instant::now() {
            return false;
        }
        thread::sleep(STEP);
    }
    true
}

fn print(answer: &SiteAnswer) -> Result<(), CliError> {
    let mut out = out::stdout();
    out.line(format_args!("{}", answer.code))?;
    out.flush()?;
    let address = &answer.address;
    say(format_args!("on the next board, within ten minutes, where its broker runs:"));
    say(format_args!("  odradek cluster join {} --address {address}", answer.code));
    if address.starts_with("127.") || address.starts_with("[::1]") {
        say(format_args!(
            "this broker listens on {address}, which no other machine reaches: set listeners to \
             wire://0.0.0.0:7092 or to an address of this board"
        ));
    }
    Ok(())
}

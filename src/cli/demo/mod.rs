//! `odradek demo`: a whole site on this machine, fed, watched and broken, in one command.
//!
//! ```text
//! sensors ──► Producer ──► three brokers and a witness ──► Consumer
//!    │            └─ acknowledged ─┐  ▲ kill, pause, restart   │
//!    └────── sent ──► ledger ◄─────┘  └── keys, or the script  └─ read ─► ledger
//! ```
//!
//! # Why
//!
//! The brokers are processes of this same binary, so that `kill -9` means what it says, and clients
//! are the library's own. Nothing is faked: what the screen calls lost would be lost.

mod feed;
mod keys;
mod ledger;
mod panel;
mod play;
mod screen;
mod sensor;
mod site;
mod watch;

use std::time::Duration;

use argh::FromArgs;

use super::{CliError, broker};

/// show a site of three brokers and a witness on this machine, and break it
#[derive(FromArgs)]
#[argh(
    subcommand,
    name = "demo",
    example = "{command_name}\n  on a terminal: k1 kills board 1, c1 pauses it, r1 brings it back, q ends",
    example = "{command_name} --seconds 20 --kill-leader\n  without keys: one line of totals, exit code 1 if anything was lost",
    note = "Everything lives in a temporary folder and on free ports of 127.0.0.1, and is removed at \
            the end. This machine's load, tasks and temperature are written with acks=all to three \
            partitions, each on three boards; a reader compares all it reads with all that was \
            acknowledged."
)]
pub struct Demo {
    /// end after so many seconds (default: when q or Ctrl-C is pressed)
    #[argh(option, arg_name = "n")]
    seconds: Option<u64>,

    /// kill the leader of a partition in mid-run and bring it back later; needs --seconds
    #[argh(switch)]
    kill_leader: bool,

    /// run one of the site's boards with this setting; may be repeated
    #[argh(option, hidden_help)]
    board: Vec<String>,

    /// the process that a board ends with
    #[argh(option, hidden_help)]
    parent: Option<u32>,
}

/// The shortest run in which a leader can be missed and replaced.
const KILL_SECONDS_MIN: u64 = 5;

/// A day.
const SECONDS_MAX: u64 = 86_400;

impl Demo {
    /// Runs the demo, or one of its boards.
    pub fn run(self) -> Result<(), CliError> {
        if !self.board.is_empty() {
            return run_board(self.board, self.parent);
        }
        let seconds_min = if self.kill_leader { KILL_SECONDS_MIN } else { 1 };
        match self.seconds {
            None if self.kill_leader => Err(CliError::usage("--kill-leader needs --seconds")),
            Some(seconds) if seconds < seconds_min || SECONDS_MAX < seconds => {
                let words = format!("--seconds: from {seconds_min} to {SECONDS_MAX}");
                Err(CliError::usage(words))
            }
            seconds => play::run(seconds.map(Duration::from_secs), self.kill_leader),
        }
    }
}

fn run_board(set: Vec<String>, parent: Option<u32>) -> Result<(), CliError> {
    let parent = parent.ok_or_else(|| CliError::usage("--board is for the demo itself"))?;
    if site::die_with(parent).map_err(CliError::failed)? {
        broker::Broker { config: None, set }.run()
    } else {
        Ok(())
    }
}

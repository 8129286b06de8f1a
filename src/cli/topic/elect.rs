//! `odradek topic elect-leader`: leaders by command.

use argh::FromArgs;
use odradek::client::{ElectionKind, TopicPartition};
use odradek::wire::ErrorCode;

use super::{connect, describe_one, say};
use crate::cli::CliError;

/// give partitions back to their preferred leaders, or a leader to those that have none
#[derive(FromArgs)]
#[argh(
    subcommand,
    name = "elect-leader",
    example = "{command_name} plant.line1\n  the first replica of each partition leads it again, if it is in sync",
    example = "{command_name} plant.line1 --partition 0 --unclean\n  anyone alive leads it; what only the others had is lost",
    note = "--unclean does something only where nobody leads, and nobody can who has all that was acknowledged. Wait for those if you can."
)]
pub(super) struct ElectLeader {
    /// the topic
    #[argh(positional)]
    name: String,

    /// only this partition (default: all)
    #[argh(option, arg_name = "number")]
    partition: Option<i32>,

    /// the preferred leader, which is the first replica (default)
    #[argh(switch)]
    preferred: bool,

    /// anyone alive, though acknowledged records are lost
    #[argh(switch)]
    unclean: bool,

    /// the broker, as HOST:PORT (default: ODRADEK_SERVER, or 127.0.0.1:7092)
    #[argh(option, arg_name = "host:port", default = "connect::default_server()")]
    server: String,
}

impl ElectLeader {
    pub(super) fn run(self) -> Result<(), CliError> {
        if self.preferred && self.unclean {
            return Err(CliError::usage("--preferred and --unclean exclude each other"));
        }
        let kind = if self.unclean { ElectionKind::Unclean } else { ElectionKind::Preferred };
        let admin = connect::admin(&self.server)?;
        let partitions: Vec<TopicPartition> = if let Some(partition) = self.partition {
            vec![TopicPartition::new(&self.name, partition)]
        } else {
            let info = describe_one(&admin, &self.server, &self.name)?;
            let numbers = info.partitions.iter().map(|one| one.partition.0);
            numbers.map(|partition| TopicPartition::new(&self.name, partition)).collect()
        };
        let outcomes = admin
            .elect_leaders(kind, &partitions)
            .map_err(|why| connect::failed(&self.server, why))?;
        let mut refusals = Vec::new();
        for (one, outcome) in partitions.iter().zip(outcomes) {
            match outcome {
                Ok(()) => say(format_args!("{one} has another leader")),
                Err(why) if why.error == ErrorCode::ELECTION_NOT_NEEDED => {
                    say(format_args!("{one}: {}", why.message));
                }
                Err(why) => refusals.push(format!("{one}: {why}")),
            }
        }
        if refusals.is_empty() { Ok(()) } else { Err(CliError::Failed(refusals.join("\n"))) }
    }
}

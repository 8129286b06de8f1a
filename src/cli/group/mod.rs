//! `odradek group …`: what `kafka-consumer-groups` does.

mod describe;
mod reset;

use argh::FromArgs;
use odradek::client::{Admin, GroupInfo};
use odradek::wire::ErrorCode;
use odradek::wire::list_groups::GroupState;

use super::json::Json;
use super::{CliError, connect, out, say};

/// list, describe and delete consumer groups, and change where they read on
#[derive(FromArgs)]
#[argh(subcommand, name = "group")]
pub struct Group {
    #[argh(subcommand)]
    action: Action,
}

#[derive(FromArgs)]
#[argh(subcommand)]
enum Action {
    List(List),
    Describe(describe::Describe),
    ResetOffsets(reset::ResetOffsets),
    Delete(Delete),
}

impl Group {
    /// Does what is asked.
    pub fn run(self) -> Result<(), CliError> {
        match self.action {
            Action::List(list) => list.run(),
            Action::Describe(describe) => describe.run(),
            Action::ResetOffsets(reset) => reset.run(),
            Action::Delete(delete) => delete.run(),
        }
    }
}

/// list consumer groups, one id a line
#[derive(FromArgs)]
#[argh(
    subcommand,
    name = "list",
    example = "{command_name} --state stable\n  groups whose members have their partitions"
)]
struct List {
    /// only groups in this state: empty, preparingRebalance, completingRebalance, stable,
    /// assigning, reconciling (default: all)
    #[argh(option, arg_name = "state", from_str_fn(state))]
    state: Option<GroupState>,

    /// one JSON array of objects: group, state, kind, protocol_type
    #[argh(switch)]
    json: bool,

    /// the broker, as HOST:PORT (default: ODRADEK_SERVER, or 127.0.0.1:7092)
    #[argh(option, arg_name = "host:port", default = "connect::default_server()")]
    server: String,
}

fn state(text: &str) -> Result<GroupState, String> {
    GroupState::parse(text).ok_or_else(|| {
        let names = GroupState::ALL.map(GroupState::name).join(", ");
        format!("`{text}` is none of {names}")
    })
}

impl List {
    fn run(self) -> Result<(), CliError> {
        let admin = connect::admin(&self.server)?;
        let mut groups = admin.list_groups().map_err(|why| connect::failed(&self.server, why))?;
        groups.retain(|group| self.state.is_none_or(|state| state == group.state));
        let mut out = out::stdout();
        if self.json {
            let list = Json::list(groups.iter().map(|group| {
                Json::object([
                    ("group", Json::from(group.group_id.as_str())),
                    ("state", Json::from(group.state.name())),
                    ("kind", Json::from(group.kind.name())),
                    ("protocol_type", Json::from(group.protocol_type.as_str())),
                ])
            }));
            out.line(format_args!("{list}"))?;
            return out.flush();
        }
        for group in &groups {
            out.line(format_args!("{}", printable(&group.group_id)))?;
        }
        out.flush()
    }
}

/// delete consumer groups, and with them how far they have read
#[derive(FromArgs)]
#[argh(
    subcommand,
    name = "delete",
    example = "{command_name} readers",
    note = "A group with members is not deleted: stop them first."
)]
struct Delete {
    /// their ids
    #[argh(positional, arg_name = "group")]
    groups: Vec<String>,

    /// succeed when a group does not exist
    #[argh(switch)]
    if_exists: bool,

    /// the broker, as HOST:PORT (default: ODRADEK_SERVER, or 127.0.0.1:7092)
    #[argh(option, arg_name = "host:port", default = "connect::default_server()")]
    server: String,
}

impl Delete {
    fn run(self) -> Result<(), CliError> {
        if self.groups.is_empty() {
            return Err(CliError::usage("expected the id of a group"));
        }
        let admin = connect::admin(&self.server)?;
        let groups: Vec<&str> = self.groups.iter().map(String::as_str).collect();
        let outcomes =
            admin.delete_groups(&groups).map_err(|why| connect::failed(&self.server, why))?;
        let mut refusals = Vec::new();
        for (group, outcome) in groups.iter().zip(outcomes) {
            match outcome {
                Ok(()) => say(format_args!("deleted group {}", printable(group))),
                Err(ErrorCode::GROUP_ID_NOT_FOUND) if self.if_exists => {
                    say(format_args!("there is no group {}", printable(group)));
                }
                Err(code) => refusals.push(refusal(group, code)),
            }
        }
        if refusals.is_empty() { Ok(()) } else { Err(CliError::Failed(refusals.join("\n"))) }
    }
}

/// One group, or none where there is no such group.
fn find(admin: &Admin, server: &str, group: &str) -> Result<Option<GroupInfo>, CliError> {
    let mut found = admin.describe_groups(&[group]).map_err(|why| connect::failed(server, why))?;
    match found.pop().unwrap_or(Err(ErrorCode::GROUP_ID_NOT_FOUND)) {
        Ok(info) => Ok(Some(info)),
        Err(ErrorCode::GROUP_ID_NOT_FOUND) => Ok(None),
        Err(code) => Err(CliError::Failed(refusal(group, code))),
    }
}

fn refusal(group: &str, code: ErrorCode) -> String {
    format!("group {}: {} ({})", printable(group), code.text(), code.name())
}

/// A group's id may hold anything; a line stays a line.
fn printable(text: &str) -> String {
    text.chars()
        .flat_map(|c| if c.is_control() { c.escape_default().collect() } else { vec![c] })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_id_of_control_characters_stays_on_its_line() {
        assert_eq!(printable("readers é"), "readers é");
        assert_eq!(printable("a\nb\x1b[31m"), "a\\nb\\u{1b}[31m");
    }

    #[test]
    fn states_have_kafkas_names_in_any_case() {
        assert_eq!(state("Stable"), Ok(GroupState::Stable));
        assert_eq!(state("preparingrebalance"), Ok(GroupState::PreparingRebalance));
        assert!(state("idle").is_err());
    }
}

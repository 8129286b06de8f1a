//! `odradek group describe`: how far a group has read, how much is left, and who reads.

use std::collections::{BTreeMap, BTreeSet};

use argh::FromArgs;
use odradek::client::{Admin, CommittedOffset, GroupInfo, GroupMember, OffsetSpec, TopicPartition};
use odradek::ids::Offset;

use super::{find, printable};
use crate::cli::json::Json;
use crate::cli::out::Out;
use crate::cli::{CliError, connect, out};

/// show groups: how far they have read, how much is left, and their members
#[derive(FromArgs)]
#[argh(
    subcommand,
    name = "describe",
    example = "{command_name} readers",
    note = "COMMITTED is the offset that the group reads next, END the one behind the last record, \
            LAG the difference. Without a member nobody reads the partition at present."
)]
pub(super) struct Describe {
    /// their ids (default: all)
    #[argh(positional, arg_name = "group")]
    groups: Vec<String>,

    /// one JSON array, an object a group: its kind, state, partitions and members
    #[argh(switch)]
    json: bool,

    /// the broker, as HOST:PORT (default: ODRADEK_SERVER, or 127.0.0.1:7092)
    #[argh(option, arg_name = "host:port", default = "connect::default_server()")]
    server: String,
}

/// All that is known of a group.
struct Described {
    info: GroupInfo,
    partitions: BTreeMap<TopicPartition, Progress>,
}

/// How far a partition is read.
#[derive(Default)]
struct Progress {
    committed: Option<CommittedOffset>,
    end: Option<Offset>,
    /// Place of the member that reads it.
    member: Option<usize>,
}

impl Progress {
    fn lag(&self) -> Option<i64> {
        Some((self.end?.0 - self.committed.as_ref()?.offset.0).max(0))
    }
}

impl Describe {
    pub(super) fn run(self) -> Result<(), CliError> {
        let admin = connect::admin(&self.server)?;
        let mut groups = self.groups.clone();
        if groups.is_empty() {
            let listed = admin.list_groups().map_err(|why| connect::failed(&self.server, why))?;
            groups = listed.into_iter().map(|group| group.group_id).collect();
        }
        let mut described = Vec::new();
        for group in &groups {
            described.push(self.ask(&admin, group)?);
        }
        let mut out = out::stdout();
        if self.json {
            let list = Json::list(described.iter().map(Described::as_json));
            out.line(format_args!("{list}"))?;
            return out.flush();
        }
        for (place, group) in described.iter().enumerate() {
            if 0 < place {
                out.line(format_args!(""))?;
            }
            group.print(&mut out)?;
        }
        out.flush()
    }

    fn ask(&self, admin: &Admin, group: &str) -> Result<Described, CliError> {
        let failed = |why| connect::failed(&self.server, why);
        let info = find(admin, &self.server, group)?
            .ok_or_else(|| CliError::Failed(format!("there is no group {}", printable(group))))?;
        let committed = admin.list_group_offsets(group, None).map_err(failed)?;
        let mut partitions: BTreeMap<TopicPartition, Progress> = BTreeMap::new();
        for (partition, committed) in committed {
            partitions.entry(partition).or_default().committed = Some(committed);
        }
        for (place, member) in info.members.iter().enumerate() {
            for partition in &member.partitions {
                partitions.entry(partition.clone()).or_default().member = Some(place);
            }
        }
        let questions: Vec<(TopicPartition, OffsetSpec)> =
            partitions.keys().map(|one| (one.clone(), OffsetSpec::Latest)).collect();
        let ends = admin.list_offsets(&questions).map_err(failed)?;
        for ((partition, _), end) in questions.iter().zip(ends) {
            // A topic that is gone has no end.
            let end = end.ok().flatten().map(|found| found.offset);
            partitions.entry(partition.clone()).or_default().end = end;
        }
        Ok(Described { info, partitions })
    }
}

impl Described {
    /// Members that read nothing.
    fn idle(&self) -> impl Iterator<Item = &GroupMember> {
        let busy: BTreeSet<usize> = self.partitions.values().filter_map(|p| p.member).collect();
        let members = self.info.members.iter().enumerate();
        members.filter(move |(place, _)| !busy.contains(place)).map(|(_, member)| member)
    }

    fn print(&self, out: &mut Out) -> Result<(), CliError> {
        let info = &self.info;
        let assignor = match info.protocol_name.as_str() {
            "" => "none",
            name => name,
        };
        out.line(format_args!(
            "group {}  state {}  assignor {assignor}  members {}",
            printable(&info.group_id),
            info.state,
            info.members.len()
        ))?;
        let header = ["TOPIC", "PARTITION", "COMMITTED", "END", "LAG", "MEMBER", "HOST", "CLIENT"];
        let mut rows = vec![header.map(str::to_owned).to_vec()];
        let or_dash = |number: Option<i64>| number.map_or("-".to_owned(), |n| n.to_string());
        for (partition, progress) in &self.partitions {
            let mut row = vec![
                partition.topic.to_string(),
                partition.partition.to_string(),
                or_dash(progress.committed.as_ref().map(|committed| committed.offset.0)),
                or_dash(progress.end.map(|end| end.0)),
                or_dash(progress.lag()),
            ];
            row.extend(member_cells(progress.member.map(|place| &info.members[place])));
            rows.push(row);
        }
        for member in self.idle() {
            let mut row = vec!["-".to_owned(); 5];
            row.extend(member_cells(Some(member)));
            rows.push(row);
        }
        out.table(&rows)
    }

    fn as_json(&self) -> Json {
        let member_of = |progress: &Progress| {
            let member = progress.member.map(|place| &self.info.members[place]);
            member.map(|member| member.member_id.as_str())
        };
        let partitions = self.partitions.iter().map(|(partition, progress)| {
            let committed = progress.committed.as_ref();
            Json::object([
                ("topic", Json::from(&*partition.topic)),
                ("partition", Json::from(partition.partition.0)),
                ("committed_offset", committed.map(|committed| committed.offset.0).into()),
                ("metadata", committed.map(|committed| committed.metadata.as_str()).into()),
                ("end_offset", progress.end.map(|end| end.0).into()),
                ("lag", progress.lag().into()),
                ("member", member_of(progress).into()),
            ])
        });
        let members = self.info.members.iter().map(|member| {
            Json::object([
                ("member", Json::from(member.member_id.as_str())),
                ("instance", member.group_instance_id.as_deref().into()),
                ("client", Json::from(member.client_id.as_str())),
                ("host", Json::from(member.client_host.as_str())),
                ("partition_count", Json::from(member.partitions.len())),
            ])
        });
        Json::object([
            ("group", Json::from(self.info.group_id.as_str())),
            ("kind", Json::from(self.info.kind.name())),
            ("state", Json::from(self.info.state.name())),
            ("protocol_type", Json::from(self.info.protocol_type.as_str())),
            ("assignor", Json::from(self.info.protocol_name.as_str())),
            ("partitions", Json::list(partitions)),
            ("members", Json::list(members)),
        ])
    }
}

fn member_cells(member: Option<&GroupMember>) -> [String; 3] {
    match member {
        Some(member) => {
            [printable(&member.member_id), member.client_host.clone(), printable(&member.client_id)]
        }
        None => ["-", "-", "-"].map(str::to_owned),
    }
}

//! A member of a classic group, as long as its session lasts.

use crate::time::Boot;
use crate::wire::ErrorCode;
use crate::wire::join_group::{JoinGroupRequest, JoinGroupResponse, JoinProtocol};
use crate::wire::sync_group::SyncGroupResponse;

use super::super::Caller;
use super::super::context::Context;
use super::super::ids;
use super::stored::StoredMember;

/// What a member takes beside its texts, roughly.
pub(super) const MEMBER_BYTES: usize = 512;

/// What a member says when it joins.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in super::super) struct Said {
    pub rebalance_timeout_ms: i32,
    pub session_timeout_ms: i32,
    /// Names and metadata, the most wanted first.
    pub protocols: Vec<(Box<str>, Box<[u8]>)>,
}

impl Said {
    pub fn of(request: &JoinGroupRequest<'_>) -> Said {
        let protocol =
            |protocol: &JoinProtocol<'_>| (protocol.name.into(), protocol.metadata.into());
        let rebalance_timeout_ms = match request.rebalance_timeout_ms {
            ..0 => request.session_timeout_ms,
            given => given,
        };
        Said {
            rebalance_timeout_ms,
            session_timeout_ms: request.session_timeout_ms,
            protocols: request.protocols.iter().map(protocol).collect(),
        }
    }

    /// Whether the protocols are exactly those of a request.
    pub fn has_same_protocols(&self, request: &JoinGroupRequest<'_>) -> bool {
        let ours = self.protocols.iter().map(|(name, metadata)| (&**name, &**metadata));
        ours.eq(request.protocols.iter().map(|protocol| (protocol.name, protocol.metadata)))
    }

    pub fn knows(&self, protocol: &str) -> bool {
        self.protocols.iter().any(|(name, _)| **name == *protocol)
    }

    /// What it says to a protocol.
    pub fn metadata(&self, protocol: Option<&str>) -> &[u8] {
        let found = self.protocols.iter().find(|(name, _)| Some(&**name) == protocol);
        found.map_or(&[], |(_, metadata)| metadata)
    }

    pub fn bytes(&self) -> usize {
        self.protocols.iter().map(|(name, metadata)| name.len() + metadata.len() + 32).sum()
    }
}

/// See the module.
#[derive(Debug)]
pub(super) struct Member {
    /// Rises with each member that joins the group: the first is its leader.
    pub order: u64,
    pub instance_id: Option<Box<str>>,
    pub client_id: Box<str>,
    pub client_host: Box<str>,
    pub said: Said,
    pub assignment: Box<[u8]>,
    /// It has not been told a generation yet, so it cannot send heartbeats.
    pub is_new: bool,
    /// Its join that waits for the others.
    pub joining: Option<u64>,
    /// Its sync that waits for the assignment.
    pub syncing: Option<u64>,
    /// It has joined this generation and not asked for its assignment.
    pub is_sync_due: bool,
    pub session_deadline: Boot,
}

impl Member {
    pub fn new(caller: Caller<'_>, instance_id: Option<&str>, said: Said) -> Member {
        Member {
            order: 0,
            instance_id: instance_id.map(Into::into),
            client_id: ids::shown(caller.client_id),
            client_host: ids::shown(caller.client_host),
            said,
            assignment: Box::default(),
            is_new: true,
            joining: None,
            syncing: None,
            is_sync_due: false,
            session_deadline: Boot::NEVER,
        }
    }

    /// A member as its group's record has it; its session starts now.
    pub fn restored(stored: &StoredMember, protocol: Option<&str>, now: Boot) -> Member {
        let said = Said {
            rebalance_timeout_ms: stored.rebalance_timeout_ms,
            session_timeout_ms: stored.session_timeout_ms,
            protocols: vec![(protocol.unwrap_or_default().into(), stored.subscription.clone())],
        };
        let caller = Caller { client_id: &stored.client_id, client_host: &stored.client_host };
        let mut member = Member::new(caller, stored.instance_id.as_deref(), said);
        member.assignment.clone_from(&stored.assignment);
        member.is_new = false;
        member.renew(now);
        member
    }

    /// What keeping it takes, with its id and the copies in what is stored.
    pub fn cost(&self, member_id: &str) -> usize {
        MEMBER_BYTES + 4 * member_id.len() + 2 * self.said.bytes()
    }

    /// It was heard of.
    pub fn renew(&mut self, now: Boot) {
        self.session_deadline = now.plus_ms(millis(self.said.session_timeout_ms));
    }

    /// When it is taken for dead: never while it waits for us, unless it is new and may not be there
    /// any more.
    pub fn deadline(&self) -> Boot {
        let is_waiting = self.joining.is_some() || self.syncing.is_some();
        if is_waiting && !self.is_new { Boot::NEVER } else { self.session_deadline }
    }

    /// Ends whatever it waits for.
    pub fn refuse(&mut self, context: &mut Context, error: ErrorCode) {
        self.refuse_join(context, error);
        self.refuse_sync(context, error);
    }

    pub fn refuse_join(&mut self, context: &mut Context, error: ErrorCode) {
        if let Some(token) = self.joining.take() {
            context.answer(token, &JoinGroupResponse::failed(error, ""));
        }
    }

    pub fn refuse_sync(&mut self, context: &mut Context, error: ErrorCode) {
        if let Some(token) = self.syncing.take() {
            context.answer(token, &SyncGroupResponse::failed(error));
        }
    }
}

/// A timeout that a client gave: negative ones are none.
pub(in super::super) fn millis(timeout_ms: i32) -> u64 {
    u64::try_from(timeout_ms).unwrap_or(0)
}

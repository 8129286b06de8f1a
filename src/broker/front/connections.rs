//! The connections of a shard, and the order of their answers.

use std::collections::VecDeque;

use super::{Answer, Front, FrontOutput, Ready, Response};
use crate::broker::{CloseReason, ConnectionId};
use crate::limits::{PIPELINE_REQUESTS_MAX, WRITE_QUEUE_BYTES_MAX};
use crate::wire::{ResponseHeader, frame};

/// Place of an answer in the order of a connection.
struct Slot<F> {
    number: u64,
    ready: Option<Ready<F>>,
}

pub(super) struct Connection<F> {
    said_hello: bool,
    /// A door stands before it and translates.
    has_door: bool,
    local_host: Box<str>,
    local_port: u16,
    /// Where it comes from.
    peer_host: Box<str>,
    /// As its hello said; a door says it with each request.
    client_id: Box<str>,
    slots: VecDeque<Slot<F>>,
    /// Bytes of the answers in `slots`.
    waiting_bytes: usize,
    is_closing: bool,
}

impl<F: Clone> Front<F> {
    /// A connection came, to the address given, perhaps through a door.
    pub fn opened(
        &mut self,
        connection: ConnectionId,
        (local_host, local_port): (Box<str>, u16),
        peer_host: Box<str>,
        has_door: bool,
    ) {
        let fresh = Connection {
            // A door keeps its own rules for strangers.
            said_hello: has_door,
            has_door,
            local_host,
            local_port,
            peer_host,
            client_id: "".into(),
            slots: VecDeque::new(),
            waiting_bytes: 0,
            is_closing: false,
        };
        self.connections.insert(connection, fresh);
        self.metrics.connection_count += 1;
    }

    /// A connection went. What it asked goes on, but nobody hears the answer.
    pub fn closed(&mut self, connection: ConnectionId) {
        let Some(gone) = self.connections.remove(&connection) else { return };
        self.waiting_bytes -= gone.waiting_bytes as u64;
        for slot in gone.slots {
            // A fetch would keep its watches until its deadline, a member that joins its place
            // until the others have come; the rest completes by itself.
            if self.pending.get(&slot.number).is_some_and(|p| p.gathering.may_wait()) {
                self.abandon(slot.number);
            }
        }
    }

    /// Whether the connection said hello: frames before that are tiny.
    pub fn said_hello(&self, connection: ConnectionId) -> bool {
        self.connections.get(&connection).is_some_and(|c| c.said_hello)
    }

    /// What Metadata names as this broker's address: the advertised one, or where the connection
    /// came in, which is the one address that this client is known to reach.
    pub(in super::super) fn own_address(&self, connection: ConnectionId) -> (&str, u16) {
        let live = &self.config.live;
        let advertised = match self.has_door(connection) {
            true => &live.advertised_kafka,
            false => &live.advertised,
        };
        if let Some((host, port)) = advertised {
            return (host, *port);
        }
        self.connections.get(&connection).map_or(("", 0), |c| (&*c.local_host, c.local_port))
    }

    pub(in super::super) fn welcome(&mut self, connection: ConnectionId, client_id: &str) {
        if let Some(greeted) = self.connections.get_mut(&connection) {
            greeted.said_hello = true;
            greeted.client_id = client_id.into();
        }
    }

    /// Who a connection is for the groups it is in: its client id and its address.
    pub(in super::super) fn caller(&self, connection: ConnectionId) -> (Box<str>, Box<str>) {
        let caller = |c: &Connection<F>| (c.client_id.clone(), c.peer_host.clone());
        self.connections.get(&connection).map(caller).unwrap_or_default()
    }

    /// Whether another frame of this connection may be handled now. If not, its bytes wait in the
    /// socket.
    pub fn accepts(&self, connection: ConnectionId) -> bool {
        let room = |c: &Connection<F>| {
            let has_place = c.slots.len() < PIPELINE_REQUESTS_MAX;
            has_place && c.waiting_bytes < WRITE_QUEUE_BYTES_MAX && !c.is_closing
        };
        self.starved.is_empty()
            && self.credits.iter().all(|credit| 0 < *credit)
            && self.connections.get(&connection).is_some_and(room)
    }

    /// Whether answers of this connection are outstanding (it is not idle).
    pub fn is_busy(&self, connection: ConnectionId) -> bool {
        self.connections.get(&connection).is_some_and(|c| !c.slots.is_empty())
    }

    pub(in super::super) fn close(&mut self, connection: ConnectionId, reason: CloseReason) {
        if let Some(closing) = self.connections.get_mut(&connection) {
            closing.is_closing = true;
            self.outputs.push_back(FrontOutput::Close { connection, reason });
        }
    }

    /// Reserves the place of an answer, in the order of the connection.
    pub(in super::super) fn reserve_slot(&mut self, connection: ConnectionId) -> u64 {
        let number = self.next_number;
        self.next_number += 1;
        if let Some(owner) = self.connections.get_mut(&connection) {
            owner.slots.push_back(Slot { number, ready: None });
        }
        number
    }

    /// Answers now.
    pub(in super::super) fn respond<B: serde::Serialize>(
        &mut self,
        connection: ConnectionId,
        number: u64,
        correlation_id: u32,
        body: &B,
    ) {
        let ready = self.ready(connection, correlation_id, body);
        self.fill_slot(connection, number, ready);
    }

    /// A response that its request's handler built.
    pub(in super::super) fn ready<B: serde::Serialize>(
        &self,
        connection: ConnectionId,
        correlation_id: u32,
        body: &B,
    ) -> Ready<F> {
        if self.has_door(connection) {
            return Ready::Door(Answer::Body(frame::encode_body(body)));
        }
        let mut head = Vec::new();
        let header = ResponseHeader { correlation_id, throttle_time_ms: 0 };
        frame::encode(&header, body, 0, &mut head);
        Ready::Frame(Response::of(head))
    }

    /// The same, of a body that is encoded already.
    pub(in super::super) fn ready_body(
        &self,
        connection: ConnectionId,
        correlation_id: u32,
        body: Vec<u8>,
    ) -> Ready<F> {
        if self.has_door(connection) {
            return Ready::Door(Answer::Body(body));
        }
        let mut head = Vec::new();
        let header = ResponseHeader { correlation_id, throttle_time_ms: 0 };
        frame::encode(&header, &(), body.len(), &mut head);
        head.extend_from_slice(&body);
        Ready::Frame(Response::of(head))
    }

    pub(in super::super) fn has_door(&self, connection: ConnectionId) -> bool {
        self.connections.get(&connection).is_some_and(|c| c.has_door)
    }

    pub(in super::super) fn fill_slot(
        &mut self,
        connection: ConnectionId,
        number: u64,
        ready: Ready<F>,
    ) {
        let Some(owner) = self.connections.get_mut(&connection) else { return };
        let Some(slot) = owner.slots.iter_mut().find(|slot| slot.number == number) else {
            return;
        };
        let waiting_bytes = ready.head_bytes();
        owner.waiting_bytes += waiting_bytes;
        self.waiting_bytes += waiting_bytes as u64;
        slot.ready = Some(ready);
        while let Some(Slot { ready: Some(_), .. }) = owner.slots.front() {
            let slot = owner.slots.pop_front().expect("there is a front");
            let ready = slot.ready.expect("it is ready");
            let waiting_bytes = ready.head_bytes();
            owner.waiting_bytes -= waiting_bytes;
            self.waiting_bytes -= waiting_bytes as u64;
            self.outputs.push_back(match ready {
                Ready::Frame(response) => FrontOutput::Respond { connection, response },
                Ready::Door(answer) => FrontOutput::Answer { connection, answer },
            });
        }
    }
}

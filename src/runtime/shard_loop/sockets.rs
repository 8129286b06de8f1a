//! The connections of a shard: how they come, are read and written in a turn, and go.

use std::net::{SocketAddr, TcpStream};
use std::os::fd::AsFd;
use std::sync::atomic::Ordering;

use polling::{Event as Ready, PollMode};

use crate::broker::shard::Event;
use crate::broker::{CloseReason, ConnectionId};
use crate::config::Protocol;
use crate::journal::disk::{Disk, DiskFile};
use crate::kafka::{self, Door};
use crate::limits::FRAME_BYTES_BEFORE_HELLO_MAX;
use crate::runtime::clock;
use crate::runtime::connection::{Connection, FrameSizes, Sent, Taken};
use crate::runtime::control_loop::ControlEvent;
use crate::runtime::shard_loop::{Loaded, Turns, slot_of};
use crate::time::{Boot, Now};
use crate::wire;

/// Frames of one connection handled in a turn, so that others get theirs.
const FRAMES_PER_TURN: usize = 64;

/// Frames of all connections handled in a turn, save that each has one: a turn that takes long
/// keeps those waiting that ask for little.
const FRAMES_PER_TURN_TOGETHER: usize = 512;

/// What goes to other nodes before this node's own disk is woken.
const AHEAD_BYTES_MAX: u64 = 16 << 10;

/// How often connections are looked at for timeouts.
const SWEEP_MS: u64 = 500;

impl<D> Turns<D>
where
    D: Disk + Send + 'static,
    D::File: DiskFile + AsFd + Send + 'static,
{
    pub(super) fn connection(&mut self, id: ConnectionId) -> Option<&mut Connection<D::File>> {
        let connection = self.connections.get_mut(slot_of(id))?.as_mut()?;
        (connection.id == id).then_some(connection)
    }

    fn new_slot(&mut self) -> (ConnectionId, usize) {
        let slot = self.free.pop().unwrap_or_else(|| {
            self.connections.push(None);
            self.connections.len() - 1
        });
        self.generation = self.generation.wrapping_add(1);
        (ConnectionId(u64::from(self.generation) << 32 | slot as u64), slot)
    }

    pub(super) fn open(
        &mut self,
        now: Now,
        protocol: Protocol,
        stream: TcpStream,
        peer: SocketAddr,
    ) {
        let (id, slot) = self.new_slot();
        match self.register(id, slot, (stream, peer), now) {
            Ok((local_host, local_port)) => {
                // As Kafka writes addresses of clients.
                let peer_host = format!("/{}", peer.ip().to_canonical()).into();
                self.active.insert(slot);
                if protocol == Protocol::Kafka {
                    self.doors.insert(slot, Door::default());
                }
                let opened = Event::Opened {
                    connection: id,
                    local_host,
                    local_port,
                    peer_host,
                    has_door: protocol != Protocol::Wire,
                };
                self.step(now, opened);
            }
            Err(why) => {
                self.complaints.warn(now.boot, format_args!("a connection was lost: {why}"));
                self.free.push(slot);
                self.count_closed(peer);
            }
        }
    }

    /// A connection with another broker of the site: it is none of the clients'.
    pub(super) fn take_in(&mut self, now: Now, stream: TcpStream) -> Option<ConnectionId> {
        let peer = stream.peer_addr().ok()?;
        let (id, slot) = self.new_slot();
        if let Err(why) = self.register(id, slot, (stream, peer), now) {
            self.complaints.warn(now.boot, format_args!("a link was lost: {why}"));
            self.free.push(slot);
            return None;
        }
        let link = self.connections[slot].as_mut().expect("registered just now");
        link.is_link = true;
        self.active.insert(slot);
        Some(id)
    }

    fn register(
        &mut self,
        id: ConnectionId,
        slot: usize,
        (stream, peer): (TcpStream, SocketAddr),
        now: Now,
    ) -> std::io::Result<(Box<str>, u16)> {
        let local = stream.local_addr()?;
        let connection = Connection::new(id, stream, peer, now.boot)?;
        #[expect(unsafe_code, reason = "the poller holds the descriptor without owning it")]
        // SAFETY: the socket is deleted from the poller before it is dropped, in `close`.
        unsafe {
            let interest = Ready::all(slot);
            self.parts.poller.add_with_mode(connection.stream(), interest, PollMode::Edge)?;
        }
        self.connections[slot] = Some(connection);
        // An IPv4 client of a listener on `::` knows nothing of IPv6.
        Ok((local.ip().to_canonical().to_string().into(), local.port()))
    }

    pub(super) fn begin_close(&mut self, id: ConnectionId, reason: CloseReason) {
        let now = clock::boot();
        let Some(connection) = self.connection(id) else { return };
        connection.is_closing = true;
        let peer = connection.peer;
        self.active.insert(slot_of(id));
        self.complaints.warn(now, format_args!("{peer} is disconnected: {reason}"));
    }

    /// A node of the site knocks: the control thread goes on with its connection. Nothing is lost:
    /// such a node says nothing more before it is answered.
    pub(super) fn hand_over_connection(
        &mut self,
        id: ConnectionId,
        correlation_id: u32,
        hello: Vec<u8>,
    ) {
        let Some(connection) = self.connection(id) else { return };
        if let Ok(stream) = connection.stream().try_clone() {
            let knocked = ControlEvent::Knocked(stream, correlation_id, hello);
            drop(self.parts.control.send(knocked));
        }
        self.close(slot_of(id));
    }

    pub(super) fn close(&mut self, slot: usize) {
        let Some(mut connection) = self.connections[slot].take() else { return };
        self.doors.remove(&slot);
        connection.discard(self.parts.ledger);
        // A socket that cannot be deleted was never added.
        let _ = self.parts.poller.delete(connection.stream());
        self.parts.ledger.release_frame(connection.reserved_bytes());
        self.free.push(slot);
        self.active.remove(&slot);
        self.blocked.remove(&slot);
        if !connection.is_link {
            self.count_closed(connection.peer);
        }
        self.step(clock::now(), Event::Closed(connection.id));
    }

    fn count_closed(&self, peer: SocketAddr) {
        self.parts.peers.leave(peer.ip());
        self.parts.inbox.connections.fetch_sub(1, Ordering::Relaxed);
        self.parts.metrics.connections_now.fetch_sub(1, Ordering::Relaxed);
    }

    pub(super) fn read_all(&mut self, now: Now) {
        let slots: Vec<usize> = std::mem::take(&mut self.active).into_iter().collect();
        self.has_more = false;
        let share = (FRAMES_PER_TURN_TOGETHER / slots.len().max(1)).clamp(1, FRAMES_PER_TURN);
        for slot in slots {
            if self.connections[slot].is_some() {
                self.read_one(now, slot, share);
            }
        }
    }

    /// Handles the frames of one connection, and marks it for what it needs next.
    fn read_one(&mut self, now: Now, slot: usize, frames_max: usize) {
        self.active.insert(slot);
        for _ in 0..frames_max {
            let Some(connection) = self.connections[slot].as_mut() else { return };
            if connection.is_closing || self.stop_by.is_some() {
                return;
            }
            if connection.is_congested(self.parts.ledger) {
                if connection.is_crowded_out(self.parts.ledger) {
                    self.blocked.insert(slot);
                }
                return;
            }
            let id = connection.id;
            let is_door_full = self.doors.get(&slot).is_some_and(Door::is_full);
            if is_door_full
                || !self.parts.shard.accepts(id)
                || self.parts.flush_queue.is_congested()
            {
                self.blocked.insert(slot);
                return;
            }
            let bytes_max = match self.parts.shard.said_hello(id) {
                true => self.parts.limits.frame_bytes_max,
                false => FRAME_BYTES_BEFORE_HELLO_MAX,
            };
            let has_door = self.doors.contains_key(&slot);
            let is_link = connection.is_link;
            let is_produce: fn(&[u8]) -> bool = match has_door {
                true => kafka::is_produce,
                // On a link come batches, whatever their frame begins with.
                false if is_link => |_| true,
                false => wire::is_produce,
            };
            let sizes = FrameSizes { bytes_max, is_produce };
            let ledger = self.parts.ledger;
            match connection.take(ledger, sizes, &mut self.scratch, now.boot) {
                Taken::Frame(bytes) => self.take_frame(now, id, bytes),
                Taken::Drained => return,
                Taken::NoMemory => {
                    self.blocked.insert(slot);
                    return;
                }
                Taken::BadLength(bytes, bytes_max) => {
                    self.complain_of_length(now.boot, slot, bytes, bytes_max);
                    self.close(slot);
                    return;
                }
                Taken::Ended => {
                    self.close(slot);
                    return;
                }
            }
        }
        // More may be there: the next turn goes on.
        self.has_more = true;
    }

    fn complain_of_length(&mut self, now: Boot, slot: usize, bytes: u32, frame_max: usize) {
        let peer = self.connections[slot].as_ref().expect("it was read from").peer;
        let hint = match &bytes.to_be_bytes() {
            b"GET " | b"POST" | b"HEAD" | b"PUT " => ": this is HTTP, the port is not",
            [0x16, 0x03, ..] => ": this is TLS, the port is not",
            _ => "",
        };
        self.complaints.warn(
            now,
            format_args!("{peer}: a frame of {bytes} bytes, at most {frame_max} are read{hint}"),
        );
    }

    /// Sends what is little and for other nodes, before this node's own disk is woken: they have
    /// disks of their own to ask, and answer then.
    pub(super) fn write_ahead(&mut self, now: Boot) {
        let is_ahead = |slot: &usize| {
            let connection = self.connections[*slot].as_ref();
            connection.is_some_and(|c| c.is_link && c.queued_bytes() <= AHEAD_BYTES_MAX)
        };
        let slots: Vec<usize> = self.active.iter().copied().filter(is_ahead).collect();
        for slot in slots {
            self.write_one(now, slot);
        }
    }

    pub(super) fn write_all(&mut self, now: Boot) {
        let slots: Vec<usize> = std::mem::take(&mut self.active).into_iter().collect();
        for slot in slots {
            self.write_one(now, slot);
            self.settle(slot);
        }
    }

    fn write_one(&mut self, now: Boot, slot: usize) {
        let Some(connection) = self.connections[slot].as_mut() else { return };
        if !connection.is_writable || connection.is_loading || !connection.has_output() {
            return;
        }
        let sent = connection.send(now);
        connection.account(self.parts.ledger);
        match sent {
            Sent::All | Sent::Full => {}
            Sent::Cold(slice) => {
                connection.is_loading = true;
                let done = Loaded::Send(connection.id);
                self.load(slice.file, slice.position, slice.bytes, done);
            }
            Sent::Broken => self.close(slot),
        }
    }

    /// Decides whether a connection has more to do at once, is over, or waits for an event.
    fn settle(&mut self, slot: usize) {
        let is_stopping = self.stop_by.is_some();
        let Some(connection) = self.connections[slot].as_ref() else { return };
        if connection.is_closing {
            if !connection.has_output() {
                self.close(slot);
            }
            return;
        }
        let may_read = !connection.is_congested(self.parts.ledger) && !is_stopping;
        if connection.wants_turn && may_read && !self.blocked.contains(&slot) {
            self.active.insert(slot);
        }
    }

    pub(super) fn sweep(&mut self, now: Boot) {
        self.sweep_at = now.plus_ms(SWEEP_MS);
        let limits = self.parts.limits;
        for slot in 0..self.connections.len() {
            let Some(connection) = self.connections[slot].as_ref() else { continue };
            let id = connection.id;
            let dripping = connection
                .frame_began_at
                .is_some_and(|began| limits.frame_timeout_ms <= now.ms_since(began));
            let idle_ms = now.ms_since(connection.active_at);
            let greets_late =
                !self.parts.shard.said_hello(id) && limits.frame_timeout_ms <= idle_ms;
            let is_idle = limits.idle_max_ms <= idle_ms && !self.parts.shard.is_busy(id);
            // A peer that does not read its answers holds memory; it is idle too.
            let is_stuck = connection.has_output() && limits.idle_max_ms <= idle_ms;
            if dripping || greets_late || is_idle || is_stuck {
                self.close(slot);
            }
        }
    }
}

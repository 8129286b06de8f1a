//! Links to the other nodes of a site: authenticated sockets, frames both ways.
//!
//! Each has two threads that may wait, one that reads and one that writes, so that a slow or dead peer
//! holds up nobody else. Where to dial is known from `controller.quorum.voters` and `peers`, and from
//! the brokers that the metadata names. Of two nodes the one with the higher id dials; whoever the
//! other may not know of, because it is on neither list, dials too. Where both did, the link that the
//! higher id dialled stays; else a new link of a node takes the place of its old one.
//!
//! **Invariant:** a node id is one process. Another that says it is the same, while the link of the
//! first stands, is refused, so that a copied card disturbs nobody.
//!
//! **Invariant:** what cannot be sent is dropped, and never waits without bound: the quorum says again
//! what matters. Frames of a peer are bounded before they are read.

use std::collections::{BTreeMap, BTreeSet};
use std::io::{BufReader, Read, Write};
use std::net::{Shutdown, TcpStream};
use std::sync::Arc;
use std::sync::mpsc::{Receiver, Sender, SyncSender, TrySendError, sync_channel};
use std::thread;

use bytes::Bytes;

use crate::ids::{NodeId, Uuid};
use crate::journal::disk::Disk;
use crate::limits::{FRAME_PREFIX_BYTES, LINK_FRAME_BYTES_MAX, LINK_FRAMES_MAX};
use crate::runtime::clock;
use crate::runtime::control_loop::ControlEvent;
use crate::runtime::site::handshake::{self, Credentials, DEAD_AFTER, HandshakeError};
use crate::time::Boot;
use crate::wire::frame;
use crate::wire::peer::hello::{BROKER, PeerIdentity, Purpose};
use crate::wire::quorum::VoterId;

/// How soon a node is dialled again, at first and at most.
const REDIAL_MS: u64 = 100;
const REDIAL_MS_MAX: u64 = 1_000;

/// Handshakes of strangers under way at a time.
const HANDSHAKES_MAX: usize = 8;

/// A node to be dialled.
#[derive(Clone, Debug)]
pub struct Target {
    /// Which, if that is known.
    pub node_id: Option<NodeId>,
    /// Where, as `HOST:PORT`.
    pub address: String,
}

/// Who knocked, and has proved who it is.
pub enum Met {
    /// A member of the quorum, linked by now.
    Member(PeerIdentity),
    /// A broker that follows partitions here.
    Follower(NodeId, TcpStream),
    /// A board that was let in by its code; it comes back as a member.
    Board(NodeId),
}

struct Dialled {
    target: Target,
    /// When it is dialled again.
    next_at: Boot,
    backoff_ms: u64,
    is_dialling: bool,
    /// What was said last of why it does not answer.
    complaint: String,
    /// Whether that address is this node's own.
    is_self: bool,
    /// Whether the metadata named it.
    is_learned: bool,
}

impl Dialled {
    fn of(target: Target) -> Dialled {
        Dialled {
            target,
            next_at: Boot(0),
            backoff_ms: REDIAL_MS,
            is_dialling: false,
            complaint: String::new(),
            is_self: false,
            is_learned: false,
        }
    }
}

struct Link {
    serial: u64,
    process: Uuid,
    /// Whether the link was dialled by the node with the higher id.
    is_preferred: bool,
    queue: SyncSender<Vec<u8>>,
    stream: TcpStream,
}

/// The links of a node, owned by its control thread.
pub struct Links<D: Disk> {
    credentials: Arc<Credentials>,
    targets: Vec<Dialled>,
    /// Where others are, as far as that is known.
    addresses: BTreeMap<NodeId, String>,
    by_node: BTreeMap<NodeId, Link>,
    events: Sender<ControlEvent<D>>,
    next_serial: u64,
    handshake_count: usize,
    /// Peers of which something was said that nobody can change.
    refused: BTreeSet<String>,
}

impl<D> Links<D>
where
    D: Disk + Send + 'static,
    D::File: Send + 'static,
{
    /// No links yet. `targets` are those that are to vote, this node perhaps among them.
    pub fn new(
        credentials: Arc<Credentials>,
        targets: Vec<Target>,
        events: Sender<ControlEvent<D>>,
    ) -> Links<D> {
        let own = Some(credentials.identity().voter.node_id);
        let others = targets.iter().filter(|target| target.node_id != own);
        let named = others.filter_map(|target| Some((target.node_id?, target.address.clone())));
        let addresses = named.collect();
        let votes = targets.iter().any(|target| target.node_id == own);
        let is_dialled = |target: &Target| {
            target.node_id != own && (!votes || target.node_id.is_none() || target.node_id < own)
        };
        let targets = targets.into_iter().filter(is_dialled).map(Dialled::of);
        Links {
            credentials,
            targets: targets.collect(),
            addresses,
            by_node: BTreeMap::new(),
            events,
            next_serial: 0,
            handshake_count: 0,
            refused: BTreeSet::new(),
        }
    }

    /// What this node says of itself to peers from now on.
    pub fn set_identity(&self, identity: PeerIdentity) {
        self.credentials.set_identity(identity);
    }

    /// Who is no peer any more.
    pub fn set_departed(&self, departed: &[VoterId]) {
        self.credentials.set_departed(departed);
    }

    /// Takes note of where nodes are reached, as the metadata has it.
    pub fn learn(&mut self, known: Vec<(NodeId, String)>) {
        let identity = self.credentials.identity();
        let own = identity.voter.node_id;
        // Nobody learns from the metadata where a node is that is no broker.
        let dials_all = !identity.is(BROKER);
        let is_known =
            |target: &Target| known.iter().any(|(_, address)| *address == target.address);
        self.targets.retain(|one| !one.is_learned || is_known(&one.target));
        for (node_id, address) in known {
            if node_id == own {
                continue;
            }
            self.addresses.insert(node_id, address.clone());
            if own < node_id && !dials_all {
                continue;
            }
            let known = self.targets.iter_mut().find(|one| one.target.address == address);
            if let Some(known) = known {
                known.target.node_id = Some(node_id);
            } else {
                let target = Target { node_id: Some(node_id), address };
                self.targets.push(Dialled { is_learned: true, ..Dialled::of(target) });
            }
        }
    }

    /// Whether every address that this node was told of leads to one that is linked, or to itself.
    pub fn sees_all(&self) -> bool {
        let is_linked = |one: &Dialled| {
            one.is_self || one.target.node_id.is_some_and(|id| self.by_node.contains_key(&id))
        };
        !self.by_node.is_empty() && self.targets.iter().all(is_linked)
    }

    /// Dials who is due.
    pub fn dial(&mut self, now: Boot) {
        for dialled in &mut self.targets {
            let node_id = dialled.target.node_id;
            let is_linked = node_id.is_some_and(|node_id| self.by_node.contains_key(&node_id));
            if is_linked || dialled.is_self || dialled.is_dialling || now < dialled.next_at {
                continue;
            }
            let (target, events) = (dialled.target.clone(), self.events.clone());
            let credentials = Arc::clone(&self.credentials);
            let spawned = thread::Builder::new().name("dial".into()).spawn(move || {
                let outcome = handshake::dial(&target.address, &credentials, Purpose::Quorum);
                let _ = events.send(ControlEvent::Dialled(target.address, outcome));
            });
            dialled.is_dialling = spawned.is_ok();
            dialled.next_at = now.plus_ms(dialled.backoff_ms);
        }
    }

    /// A node was dialled; answers who it is, if it is a peer now.
    pub fn dialled(
        &mut self,
        address: &str,
        outcome: Result<(TcpStream, PeerIdentity), HandshakeError>,
    ) -> Option<PeerIdentity> {
        let place = self.targets.iter().position(|one| one.target.address == address)?;
        let dialled = &mut self.targets[place];
        dialled.is_dialling = false;
        let complaint = match outcome {
            Ok((stream, identity)) => {
                let found = identity.voter.node_id;
                let wanted = *dialled.target.node_id.get_or_insert(found);
                if wanted == found {
                    (dialled.backoff_ms, dialled.complaint) = (REDIAL_MS, String::new());
                    return self.adopt(identity, stream, true);
                }
                format!("node {found} answers there, not node {wanted}")
            }
            Err(HandshakeError::Itself) => {
                dialled.is_self = true;
                return None;
            }
            Err(why) => why.to_string(),
        };
        dialled.next_at = clock::boot().plus_ms(dialled.backoff_ms);
        dialled.backoff_ms = (dialled.backoff_ms * 2).min(REDIAL_MS_MAX);
        if dialled.complaint != complaint {
            log::warn!("a node of the site at {address}: {complaint}");
            dialled.complaint = complaint;
        }
        None
    }

    /// A peer knocked: its handshake goes on, on a thread of its own.
    pub fn answer(&mut self, stream: TcpStream, correlation_id: u32, hello: Vec<u8>) {
        if HANDSHAKES_MAX <= self.handshake_count {
            return;
        }
        let (events, credentials) = (self.events.clone(), Arc::clone(&self.credentials));
        let spawned = thread::Builder::new().name("handshake".into()).spawn(move || {
            let outcome = handshake::answer(stream, correlation_id, &hello, &credentials);
            let _ = events.send(ControlEvent::Answered(outcome));
        });
        self.handshake_count += usize::from(spawned.is_ok());
    }

    /// A handshake is over; answers who it is, if it is a peer now.
    pub fn answered(
        &mut self,
        outcome: Result<(TcpStream, PeerIdentity, Purpose), HandshakeError>,
    ) -> Option<Met> {
        self.handshake_count -= 1;
        match outcome {
            Ok((stream, identity, Purpose::Quorum)) => {
                self.adopt(identity, stream, false).map(Met::Member)
            }
            Ok((stream, identity, Purpose::Replica)) => {
                Some(Met::Follower(identity.voter.node_id, stream))
            }
            Ok((_, identity, Purpose::Pair)) => Some(Met::Board(identity.voter.node_id)),
            Err(why) => {
                let why = why.to_string();
                if self.refused.len() < 64 && self.refused.insert(why.clone()) {
                    log::warn!("a node that knocked is no peer: {why}");
                }
                None
            }
        }
    }

    fn adopt(
        &mut self,
        identity: PeerIdentity,
        stream: TcpStream,
        is_dialled: bool,
    ) -> Option<PeerIdentity> {
        let node_id = identity.voter.node_id;
        let is_preferred = is_dialled == (node_id < self.credentials.identity().voter.node_id);
        if let Some(old) = self.by_node.get(&node_id) {
            if old.process != identity.process {
                log::warn!("{}", HandshakeError::Twin(node_id));
                return None;
            }
            if old.is_preferred && !is_preferred {
                return None;
            }
        }
        self.next_serial += 1;
        let serial = self.next_serial;
        let link = self.spawn(node_id, serial, stream).map(|(queue, stream)| {
            let process = identity.process;
            Link { serial, process, is_preferred, queue, stream }
        });
        match link {
            Ok(link) => {
                log::info!("node {node_id} is linked");
                self.credentials.note_link(node_id, Some(identity.process));
                if let Some(old) = self.by_node.insert(node_id, link) {
                    let _ = old.stream.shutdown(Shutdown::Both);
                }
                Some(identity)
            }
            Err(why) => {
                log::warn!("node {node_id} cannot be linked: {why}");
                None
            }
        }
    }

    fn spawn(
        &self,
        node_id: NodeId,
        serial: u64,
        stream: TcpStream,
    ) -> std::io::Result<(SyncSender<Vec<u8>>, TcpStream)> {
        stream.set_read_timeout(None)?;
        stream.set_write_timeout(Some(DEAD_AFTER))?;
        let (queue, frames) = sync_channel(LINK_FRAMES_MAX);
        let (to_read, to_write) = (stream.try_clone()?, stream.try_clone()?);
        let events = self.events.clone();
        thread::Builder::new().name(format!("hear-{node_id}")).spawn(move || {
            read(to_read, node_id, serial, &events);
            let _ = events.send(ControlEvent::Unlinked(node_id, serial));
        })?;
        thread::Builder::new()
            .name(format!("tell-{node_id}"))
            .spawn(move || write(&to_write, &frames))?;
        Ok((queue, stream))
    }

    /// Sends a frame, if there is a link and room in it.
    pub fn send(&mut self, to: NodeId, frame: Vec<u8>) {
        let Some(link) = self.by_node.get(&to) else { return };
        if let Err(TrySendError::Full(_)) = link.queue.try_send(frame) {
            log::debug!("node {to} does not read what it is sent");
        }
    }

    /// Whether a frame came by the link that is in use.
    pub fn is_current(&self, node_id: NodeId, serial: u64) -> bool {
        self.by_node.get(&node_id).is_some_and(|link| link.serial == serial)
    }

    /// A link broke; answers whether it was the one in use.
    pub fn unlinked(&mut self, node_id: NodeId, serial: u64) -> bool {
        let is_current = self.is_current(node_id, serial);
        if is_current {
            log::info!("node {node_id} is out of reach");
            self.by_node.remove(&node_id);
            self.credentials.note_link(node_id, None);
            let mut is_dialled = false;
            for dialled in &mut self.targets {
                if dialled.target.node_id == Some(node_id) {
                    // Now: its machine may say that nobody is there any more.
                    dialled.next_at = clock::boot();
                    is_dialled = true;
                }
            }
            if !is_dialled {
                self.probe(node_id);
            }
        }
        is_current
    }
}

impl<D> Links<D>
where
    D: Disk + Send + 'static,
    D::File: Send + 'static,
{
    /// Knocks where a node was that dials this one, to learn whether its process is gone.
    fn probe(&self, node_id: NodeId) {
        let Some(address) = self.addresses.get(&node_id).cloned() else { return };
        let events = self.events.clone();
        // Without a thread for it the node's silence will do.
        let _ = thread::Builder::new().name(format!("probe-{node_id}")).spawn(move || {
            if handshake::is_refused(&address) {
                let _ = events.send(ControlEvent::Vanished(node_id));
            }
        });
    }

    /// The node at an address that is dialled, if that is known.
    pub fn node_at(&self, address: &str) -> Option<NodeId> {
        self.targets.iter().find(|one| one.target.address == address)?.target.node_id
    }

    /// Whether a node that refuses connections is without a link, too.
    pub fn vanished(&self, node_id: NodeId) -> bool {
        !self.by_node.contains_key(&node_id)
    }
}

impl<D: Disk> Drop for Links<D> {
    fn drop(&mut self) {
        for link in self.by_node.values() {
            let _ = link.stream.shutdown(Shutdown::Both);
        }
    }
}

fn read<D: Disk>(
    stream: TcpStream,
    node_id: NodeId,
    serial: u64,
    events: &Sender<ControlEvent<D>>,
) {
    let mut stream = BufReader::with_capacity(64 << 10, stream);
    loop {
        let mut prefix = [0; FRAME_PREFIX_BYTES];
        if stream.read_exact(&mut prefix).is_err() {
            return;
        }
        let Some(bytes) = frame::frame_bytes(prefix, LINK_FRAME_BYTES_MAX) else {
            log::warn!("node {node_id} sends a frame that is too long");
            return;
        };
        let mut frame = vec![0; bytes];
        if stream.read_exact(&mut frame).is_err() {
            return;
        }
        if events.send(ControlEvent::Heard(node_id, serial, Bytes::from(frame))).is_err() {
            return;
        }
    }
}

fn write(mut stream: &TcpStream, frames: &Receiver<Vec<u8>>) {
    while let Ok(frame) = frames.recv() {
        if stream.write_all(&frame).is_err() {
            // The reader notices, and tells.
            let _ = stream.shutdown(Shutdown::Both);
            return;
        }
    }
}

//! The acceptor: one thread that takes connections and hands each to the least loaded shard.

use std::io;
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use polling::{Event as Ready, Events, PollMode, Poller};
use socket2::{Domain, Socket, Type};

use crate::broker::metrics::ProcessMetrics;
use crate::config::Protocol;
use crate::journal::disk::Disk;
use crate::runtime::clock;
use crate::runtime::peers::Peers;
use crate::runtime::reload::Dials;
use crate::runtime::shard_loop::{Inbox, Input};
use crate::runtime::throttle::LogThrottle;

/// How long to rest when the process has no file handle for another connection.
const EXHAUSTED: Duration = Duration::from_millis(100);

/// `socket.send.buffer.bytes` and `socket.receive.buffer.bytes`; `None` leaves one to the system.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct SocketBuffers {
    /// `SO_SNDBUF`.
    pub send_bytes: Option<u32>,
    /// `SO_RCVBUF`.
    pub receive_bytes: Option<u32>,
}

/// Opens a listener. The address may have port 0. Accepted sockets inherit the buffers, which must
/// be set before the handshake that tells the client how large a window it gets (tcp(7)).
pub fn listen(
    address: SocketAddr,
    backlog: i32,
    buffers: SocketBuffers,
) -> io::Result<TcpListener> {
    let socket =
        Socket::new(Domain::for_address(address), Type::STREAM, Some(socket2::Protocol::TCP))?;
    // After a restart the old connections' ports must not keep the listener away.
    socket.set_reuse_address(true)?;
    if let Some(bytes) = buffers.send_bytes {
        socket.set_send_buffer_size(bytes as usize)?;
    }
    if let Some(bytes) = buffers.receive_bytes {
        socket.set_recv_buffer_size(bytes as usize)?;
    }
    socket.bind(&address.into())?;
    socket.listen(backlog)?;
    socket.set_nonblocking(true)?;
    Ok(socket.into())
}

/// What the acceptor is made of.
pub struct Acceptor<D: Disk> {
    /// Where clients come in, and what they speak there.
    pub listeners: Vec<(Protocol, TcpListener)>,
    /// Its poller, which whoever stops it notifies.
    pub poller: Arc<Poller>,
    /// To each shard.
    pub shards: Vec<Inbox<D>>,
    /// `max.connections` and `max.connections.per.ip`.
    pub dials: Arc<Dials>,
    /// Connections by address.
    pub peers: Arc<Peers>,
    /// Counts.
    pub metrics: &'static ProcessMetrics,
    /// Set, then notified: end.
    pub stop: Arc<AtomicBool>,
}

impl<D> Acceptor<D>
where
    D: Disk + Send + 'static,
    D::File: Send + 'static,
{
    /// Starts the thread.
    pub fn spawn(self) -> io::Result<JoinHandle<()>> {
        #[expect(unsafe_code, reason = "the poller holds the descriptor without owning it")]
        // SAFETY: the listeners are deleted from the poller at the end of `run`, before they drop.
        unsafe {
            for (key, (_, listener)) in self.listeners.iter().enumerate() {
                self.poller.add_with_mode(listener, Ready::readable(key), PollMode::Level)?;
            }
        }
        thread::Builder::new().name("acceptor".into()).spawn(move || self.run())
    }

    fn run(self) {
        let mut events = Events::new();
        let mut complaints = LogThrottle::default();
        while !self.stop.load(Ordering::Acquire) {
            let connections_max = self.dials.connections_max.load(Ordering::Relaxed);
            self.metrics.connections_max_now.store(connections_max, Ordering::Relaxed);
            events.clear();
            if let Err(why) = self.poller.wait(&mut events, Some(Duration::from_secs(1))) {
                log::error!("the acceptor's poller failed: {why}");
                thread::sleep(EXHAUSTED);
            }
            for (protocol, listener) in &self.listeners {
                self.accept_all(*protocol, listener, &mut complaints);
            }
        }
        for (_, listener) in &self.listeners {
            // It was added above; failing to delete it changes nothing at the end of the thread.
            let _ = self.poller.delete(listener);
        }
    }

    fn accept_all(&self, protocol: Protocol, listener: &TcpListener, complaints: &mut LogThrottle) {
        loop {
            match listener.accept() {
                Ok((stream, peer)) => self.admit(protocol, stream, peer, complaints),
                Err(why) if why.kind() == io::ErrorKind::WouldBlock => return,
                Err(why) if why.kind() == io::ErrorKind::ConnectionAborted => {}
                Err(why) => {
                    complaints.warn(clock::boot(), format_args!("no connection taken: {why}"));
                    thread::sleep(EXHAUSTED);
                    return;
                }
            }
        }
    }

    fn admit(
        &self,
        protocol: Protocol,
        stream: TcpStream,
        peer: SocketAddr,
        complaints: &mut LogThrottle,
    ) {
        let open = self.metrics.connections_now.load(Ordering::Relaxed);
        let limit = self.dials.connections_max.load(Ordering::Relaxed);
        if limit <= open {
            self.metrics.connections_refused_count.fetch_add(1, Ordering::Relaxed);
            complaints.warn(
                clock::boot(),
                format_args!("{peer} is refused: `max.connections` = {limit} are open"),
            );
            return;
        }
        let per_ip_max = self.dials.connections_per_ip_max.load(Ordering::Relaxed);
        if !self.peers.enter(peer.ip(), per_ip_max) {
            self.metrics.connections_refused_count.fetch_add(1, Ordering::Relaxed);
            complaints.warn(
                clock::boot(),
                format_args!(
                    "{peer} is refused: `max.connections.per.ip` = {per_ip_max} are open from there"
                ),
            );
            return;
        }
        self.metrics.connections_now.fetch_add(1, Ordering::Relaxed);
        let load = |shard: &&Inbox<D>| shard.connections.load(Ordering::Relaxed);
        let shard = self.shards.iter().min_by_key(load).expect("there is a shard");
        shard.connections.fetch_add(1, Ordering::Relaxed);
        shard.give(Input::Connection(protocol, stream, peer));
    }
}

#[cfg(test)]
mod tests {
    use socket2::SockRef;

    use super::*;

    /// Buffers of a socket that a listener with these accepted.
    fn accepted(buffers: SocketBuffers) -> (usize, usize) {
        let any = SocketAddr::from(([127, 0, 0, 1], 0));
        let listener = listen(any, 1, buffers).expect("loopback listens");
        let address = listener.local_addr().expect("it is bound");
        let _client = TcpStream::connect(address).expect("it listens");
        listener.set_nonblocking(false).expect("a socket");
        let (stream, _) = listener.accept().expect("somebody connected");
        let socket = SockRef::from(&stream);
        let sizes = (socket.send_buffer_size(), socket.recv_buffer_size());
        (sizes.0.expect("a socket"), sizes.1.expect("a socket"))
    }

    #[test]
    fn accepted_sockets_have_the_buffers_that_were_asked_for() {
        // Linux doubles what is asked for, for its own books (socket(7)).
        let buffers = SocketBuffers { send_bytes: Some(20_000), receive_bytes: Some(30_000) };
        assert_eq!(accepted(buffers), (40_000, 60_000));
        let own = accepted(SocketBuffers::default());
        assert!(own != (40_000, 60_000) && 40_000 < own.0, "left to the system: {own:?}");
    }
}

//! Two nodes of a site meet: each proves that it knows the site's secret (`wire::peer::hello`).
//!
//! It runs on a thread of its own, for a moment: it may wait, at most [`STEP`] for each step. Between
//! two proofs nobody sends anything else, so no byte of a later frame is read here.
//!
//! **Invariant:** a socket that comes out of here belongs to who it says it does, as far as whoever
//! knows the secret tells the truth; until TLS arrives, what is said on it can be read and changed by
//! others on the way.

use std::collections::BTreeMap;
use std::fmt;
use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpStream, ToSocketAddrs};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use hmac::{Hmac, Mac};
use serde::Serialize;
use serde::de::DeserializeOwned;
use sha2::Sha256;
use socket2::{SockRef, TcpKeepalive};

use crate::ids::{NodeId, Uuid};
use crate::limits::{FRAME_BYTES_BEFORE_HELLO_MAX, FRAME_PREFIX_BYTES};
use crate::runtime::boot::random;
use crate::runtime::site::pairing::{self, Pairing};
use crate::wire::hello::{HelloRequest, HelloResponse, MAGIC};
use crate::wire::peer::PeerApiKey;
use crate::wire::peer::hello::{
    Met, PROOF_BYTES, PeerHello, PeerHelloResponse, PeerIdentity, PeerProof, PeerProofResponse,
    Purpose,
};
use crate::wire::peer::pair::PairRefusal;
use crate::wire::quorum::VoterId;
use crate::wire::{ApiKey, ErrorCode, RequestHeader, ResponseHeader, frame};

/// How long a step may take.
const STEP: Duration = Duration::from_secs(3);

/// How long a peer may leave bytes unconfirmed, or a probe unanswered.
pub const DEAD_AFTER: Duration = Duration::from_secs(5);

/// Largest answer to a Hello that is read.
const HELLO_BYTES_MAX: usize = 64 << 10;

/// What a node proves itself by.
pub struct Credentials {
    /// The site's secret.
    secret: Vec<u8>,
    /// What it says of itself; it changes when the node is taken in.
    identity: Mutex<PeerIdentity>,
    /// The process of each node that is linked.
    linked: Mutex<BTreeMap<NodeId, Uuid>>,
    /// Who left the site, or was removed: it is no peer with what it had then.
    departed: Mutex<Vec<VoterId>>,
    /// How other boards are let in.
    pairing: Arc<Pairing>,
}

impl Credentials {
    /// Of a node that knows a secret.
    pub fn new(secret: Vec<u8>, identity: PeerIdentity, pairing: Arc<Pairing>) -> Credentials {
        let (linked, departed) = (Mutex::default(), Mutex::default());
        Credentials { secret, identity: Mutex::new(identity), linked, departed, pairing }
    }

    /// The site's secret, for a board that is let in.
    pub(super) fn secret(&self) -> &[u8] {
        &self.secret
    }

    /// How other boards are let in.
    pub fn pairing(&self) -> &Pairing {
        &self.pairing
    }

    /// The process of a node is linked, or none is any more.
    pub fn note_link(&self, node_id: NodeId, process: Option<Uuid>) {
        let mut linked = self.linked.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        match process {
            Some(process) => linked.insert(node_id, process),
            None => linked.remove(&node_id),
        };
    }

    fn is_twin(&self, other: &PeerIdentity) -> bool {
        let linked = self.linked.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        linked.get(&other.voter.node_id).is_some_and(|process| *process != other.process)
    }

    /// Who left the site for good.
    pub fn set_departed(&self, departed: &[VoterId]) {
        let mut known = self.departed.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        known.clear();
        known.extend_from_slice(departed);
    }

    /// Whether two nodes may be peers, as far as this one knows.
    fn judge(&self, own: &PeerIdentity, other: &PeerIdentity) -> Result<(), HandshakeError> {
        judge(own, other)?;
        let departed = self.departed.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        if departed.contains(&other.voter) {
            return Err(HandshakeError::Departed(other.voter.node_id));
        }
        Ok(())
    }

    /// What the node says of itself at present.
    pub fn identity(&self) -> PeerIdentity {
        *self.identity.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
    }

    /// The node is another now.
    pub fn set_identity(&self, identity: PeerIdentity) {
        *self.identity.lock().unwrap_or_else(std::sync::PoisonError::into_inner) = identity;
    }

    fn mac(&self, who: &[u8], met: &Met) -> Hmac<Sha256> {
        let mut mac = <Hmac<Sha256> as Mac>::new_from_slice(&self.secret)
            .expect("HMAC takes keys of any length");
        mac.update(b"odradek peer 0 ");
        mac.update(who);
        mac.update(&frame::encode_body(met));
        mac
    }

    fn proof(&self, who: &[u8], met: &Met) -> [u8; PROOF_BYTES] {
        self.mac(who, met).finalize().into_bytes().into()
    }

    /// Compared without telling by its time how much of it is right.
    fn is_right(&self, who: &[u8], met: &Met, proof: &[u8; PROOF_BYTES]) -> bool {
        self.mac(who, met).verify_slice(proof).is_ok()
    }
}

const CONNECT: &[u8] = b"connect";
const ANSWER: &[u8] = b"answer";

/// Why two nodes do not become peers.
#[derive(Debug)]
pub enum HandshakeError {
    /// The name has no address, or nobody answers there.
    Io(io::Error),
    /// What came is no answer.
    Malformed,
    /// The other side refuses.
    Refused(ErrorCode),
    /// The other side does not know the secret.
    Secret,
    /// The other side belongs to another cluster.
    Cluster(Uuid),
    /// The other side has this node's id.
    OwnId,
    /// The other side is this node.
    Itself,
    /// Another process of the other side's id is linked.
    Twin(NodeId),
    /// The other side left the site, or was removed from it.
    Departed(NodeId),
    /// A board is not let in.
    Pairing(PairRefusal),
}

impl fmt::Display for HandshakeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Io(why) => why.fmt(f),
            Self::Malformed => f.write_str("it does not speak our protocol"),
            Self::Refused(ErrorCode::DUPLICATE_BROKER_REGISTRATION) => f.write_str(
                "it refuses: another board with this node's id is there. Give this one another \
                 `broker.id` and an empty log dir; if its card is a copy of the other's, empty it",
            ),
            Self::Refused(ErrorCode::BROKER_ID_NOT_REGISTERED) => f.write_str(
                "it refuses: this node was removed from the site, and what it has is of that time. \
                 Give it an empty log dir, and let it join again",
            ),
            Self::Refused(error) => write!(f, "it refuses: {error}"),
            Self::Secret => {
                f.write_str("it has another secret: give both the same `cluster.secret.file`")
            }
            Self::Cluster(other) => write!(
                f,
                "it belongs to cluster {other}: give it an empty log dir to let it join this one"
            ),
            Self::OwnId => f.write_str("it has this node's id: give one another `broker.id`"),
            Self::Itself => f.write_str("it is this node"),
            Self::Twin(node_id) => write!(
                f,
                "two boards say that they are node {node_id}: the second is refused. Give it \
                 another `broker.id` and an empty log dir; if its card is a copy, empty it"
            ),
            Self::Departed(node_id) => write!(
                f,
                "node {node_id} was removed from the site, and comes with what it had then: it is \
                 refused. Give it an empty log dir, and let it join again"
            ),
            Self::Pairing(refusal) => refusal.fmt(f),
        }
    }
}

impl From<io::Error> for HandshakeError {
    fn from(why: io::Error) -> HandshakeError {
        HandshakeError::Io(why)
    }
}

impl HandshakeError {
    /// Whether the machine is there and says that nobody listens.
    pub fn is_refused(&self) -> bool {
        matches!(self, Self::Io(why) if why.kind() == io::ErrorKind::ConnectionRefused)
    }
}

/// Whether nobody listens at an address, wherever its name leads.
pub fn is_refused(address: &str) -> bool {
    let Ok(found) = address.to_socket_addrs() else { return false };
    let mut refusals = found.map(|address| match TcpStream::connect_timeout(&address, STEP) {
        Ok(_) => false,
        Err(why) => why.kind() == io::ErrorKind::ConnectionRefused,
    });
    // Of no address at all nothing is known.
    refusals.next().is_some_and(|first| first && refusals.all(|one| one))
}

/// Connects to a node and proves itself; answers who that is.
pub fn dial(
    address: &str,
    credentials: &Credentials,
    purpose: Purpose,
) -> Result<(TcpStream, PeerIdentity), HandshakeError> {
    introduce(connect(address)?, credentials, purpose)
}

/// Connects to the first of a name's addresses that answers.
pub(super) fn connect(address: &str) -> io::Result<TcpStream> {
    let found: Vec<SocketAddr> = address.to_socket_addrs()?.collect();
    let mut failed = io::ErrorKind::AddrNotAvailable.into();
    for address in found {
        match TcpStream::connect_timeout(&address, STEP) {
            Ok(stream) => {
                prepare(&stream)?;
                return Ok(stream);
            }
            Err(why) => failed = why,
        }
    }
    Err(failed)
}

/// Says Hello as a client does.
pub(super) fn greet(stream: &mut TcpStream, own: PeerIdentity) -> Result<(), HandshakeError> {
    let client_id = format!("node {}", own.voter.node_id);
    let hello = HelloRequest { magic: MAGIC, client_id: &client_id, features: 0 };
    ask(stream, ApiKey::Hello as u8, &hello)?;
    let answer = receive(stream, HELLO_BYTES_MAX)?;
    let (_, body): (ResponseHeader, _) = frame::take(&answer).map_err(malformed)?;
    let (_, _): (HelloResponse<'_>, _) = frame::take(body).map_err(malformed)?;
    Ok(())
}

fn introduce(
    mut stream: TcpStream,
    credentials: &Credentials,
    purpose: Purpose,
) -> Result<(TcpStream, PeerIdentity), HandshakeError> {
    let connects = credentials.identity();
    greet(&mut stream, connects)?;
    let connects_nonce = random();
    let hello = PeerHello { purpose, identity: connects, nonce: connects_nonce };
    ask(&mut stream, PeerApiKey::Hello as u8, &hello)?;
    let answer: PeerHelloResponse = response(&mut stream, FRAME_BYTES_BEFORE_HELLO_MAX)?;
    if !answer.error.is_ok() {
        return Err(HandshakeError::Refused(answer.error));
    }
    let (answers, answers_nonce) = (answer.identity, answer.nonce);
    let met = Met { purpose, connects, connects_nonce, answers, answers_nonce };
    if !credentials.is_right(ANSWER, &met, &answer.proof) {
        return Err(HandshakeError::Secret);
    }
    credentials.judge(&connects, &answers)?;
    let proof = PeerProof { proof: credentials.proof(CONNECT, &met) };
    ask(&mut stream, PeerApiKey::Proof as u8, &proof)?;
    let answer: PeerProofResponse = response(&mut stream, FRAME_BYTES_BEFORE_HELLO_MAX)?;
    if !answer.error.is_ok() {
        return Err(HandshakeError::Refused(answer.error));
    }
    Ok((stream, answers))
}

/// Goes on with a connection whose `PeerHello` was read; answers who that is, and what it wants.
pub fn answer(
    mut stream: TcpStream,
    correlation_id: u32,
    hello: &[u8],
    credentials: &Credentials,
) -> Result<(TcpStream, PeerIdentity, Purpose), HandshakeError> {
    prepare(&stream)?;
    let hello: PeerHello = frame::decode(hello).map_err(malformed)?;
    if hello.purpose == Purpose::Pair {
        let pairing = credentials.pairing();
        let board = pairing::answer(&mut stream, correlation_id, &hello, credentials, pairing)?;
        return Ok((stream, board, Purpose::Pair));
    }
    let PeerHello { purpose, identity: connects, nonce: connects_nonce } = hello;
    let answers = credentials.identity();
    let answers_nonce = random();
    let met = Met { purpose, connects, connects_nonce, answers, answers_nonce };
    let judged = credentials.judge(&answers, &connects).and_then(|()| {
        match credentials.is_twin(&connects) {
            true => Err(HandshakeError::Twin(connects.voter.node_id)),
            false => Ok(()),
        }
    });
    let error = match &judged {
        Ok(()) => ErrorCode::NONE,
        Err(HandshakeError::Cluster(_)) => ErrorCode::INCONSISTENT_CLUSTER_ID,
        Err(HandshakeError::Departed(_)) => ErrorCode::BROKER_ID_NOT_REGISTERED,
        Err(_) => ErrorCode::DUPLICATE_BROKER_REGISTRATION,
    };
    let proof = if error.is_ok() { credentials.proof(ANSWER, &met) } else { [0; PROOF_BYTES] };
    let response = PeerHelloResponse { error, identity: answers, nonce: answers_nonce, proof };
    respond(&mut stream, correlation_id, &response)?;
    judged?;
    let (correlation_id, proof): (u32, PeerProof) = receive_ask(&mut stream, PeerApiKey::Proof)?;
    let is_right = credentials.is_right(CONNECT, &met, &proof.proof);
    let error = if is_right { ErrorCode::NONE } else { ErrorCode::CLUSTER_AUTHORIZATION_FAILED };
    respond(&mut stream, correlation_id, &PeerProofResponse { error })?;
    if is_right { Ok((stream, connects, purpose)) } else { Err(HandshakeError::Secret) }
}

/// Whether two nodes may belong to one site.
fn judge(own: &PeerIdentity, other: &PeerIdentity) -> Result<(), HandshakeError> {
    if own.voter.node_id == other.voter.node_id {
        if own.process == other.process {
            return Err(HandshakeError::Itself);
        }
        return Err(HandshakeError::OwnId);
    }
    let is_apart = own.cluster_id != other.cluster_id
        && own.cluster_id != Uuid::ZERO
        && other.cluster_id != Uuid::ZERO;
    if is_apart { Err(HandshakeError::Cluster(other.cluster_id)) } else { Ok(()) }
}

fn prepare(stream: &TcpStream) -> io::Result<()> {
    stream.set_nonblocking(false)?;
    stream.set_nodelay(true)?;
    stream.set_read_timeout(Some(STEP))?;
    stream.set_write_timeout(Some(STEP))?;
    // For as long as they are peers: a board that lost its power or its cable says nothing, and of
    // two ends that wait for one another neither would ever know. What is on its way to it is sent
    // again at growing intervals, up to two minutes, so that it would be reached that late.
    let socket = SockRef::from(stream);
    let probes = TcpKeepalive::new()
        .with_time(Duration::from_secs(2))
        .with_interval(Duration::from_secs(1))
        .with_retries(3);
    socket.set_tcp_keepalive(&probes)?;
    socket.set_tcp_user_timeout(Some(DEAD_AFTER))
}

fn malformed(_: crate::wire::FrameError) -> HandshakeError {
    HandshakeError::Malformed
}

pub(super) fn ask<B: Serialize>(stream: &mut TcpStream, api_key: u8, body: &B) -> io::Result<()> {
    let header = RequestHeader { api_key, api_version: 0, correlation_id: 0 };
    let mut out = Vec::new();
    frame::encode(&header, body, 0, &mut out);
    stream.write_all(&out)
}

/// Reads one request of this kind; answers its number and body.
pub(super) fn receive_ask<B: DeserializeOwned>(
    stream: &mut TcpStream,
    api_key: PeerApiKey,
) -> Result<(u32, B), HandshakeError> {
    let request = receive(stream, FRAME_BYTES_BEFORE_HELLO_MAX)?;
    let (header, body): (RequestHeader, _) = frame::take(&request).map_err(malformed)?;
    if header.api_key != api_key as u8 {
        return Err(HandshakeError::Malformed);
    }
    Ok((header.correlation_id, frame::decode(body).map_err(malformed)?))
}

pub(super) fn respond<B: Serialize>(
    stream: &mut TcpStream,
    correlation_id: u32,
    body: &B,
) -> io::Result<()> {
    let header = ResponseHeader { correlation_id, throttle_time_ms: 0 };
    let mut out = Vec::new();
    frame::encode(&header, body, 0, &mut out);
    stream.write_all(&out)
}

pub(super) fn response<B: DeserializeOwned>(
    stream: &mut TcpStream,
    bytes_max: usize,
) -> Result<B, HandshakeError> {
    let bytes = receive(stream, bytes_max)?;
    let (_, body): (ResponseHeader, _) = frame::take(&bytes).map_err(malformed)?;
    frame::decode(body).map_err(malformed)
}

fn receive(stream: &mut TcpStream, bytes_max: usize) -> Result<Vec<u8>, HandshakeError> {
    let mut prefix = [0; FRAME_PREFIX_BYTES];
    stream.read_exact(&mut prefix)?;
    let bytes = frame::frame_bytes(prefix, bytes_max).ok_or(HandshakeError::Malformed)?;
    let mut frame = vec![0; bytes];
    stream.read_exact(&mut frame)?;
    Ok(frame)
}

#[cfg(test)]
mod tests {
    use std::net::TcpListener;
    use std::thread;

    use super::*;
    use crate::wire::hello::ApiRange;
    use crate::wire::peer::hello::{BROKER, CONTROLLER};
    use crate::wire::quorum::VoterId;

    fn identity(node: i32, cluster: u8) -> PeerIdentity {
        PeerIdentity {
            cluster_id: Uuid([cluster; 16]),
            voter: VoterId { node_id: NodeId(node), incarnation: 7 },
            has_log: cluster != 0,
            process: Uuid([node as u8; 16]),
            roles: BROKER | CONTROLLER,
        }
    }

    /// Two nodes meet; what each says of it, as words.
    fn meet(connects: (&str, PeerIdentity), answers: (&str, PeerIdentity)) -> (String, String) {
        meet_with(|_| {}, connects, answers)
    }

    /// The same, where the one that answers knows something before.
    fn meet_with(
        knows: impl Fn(&Credentials),
        connects: (&str, PeerIdentity),
        answers: (&str, PeerIdentity),
    ) -> (String, String) {
        let listener = TcpListener::bind("127.0.0.1:0").expect("loopback");
        let address = listener.local_addr().expect("bound").to_string();
        let server = Credentials::new(answers.0.into(), answers.1, Arc::default());
        knows(&server);
        let thread = thread::spawn(move || {
            let (mut stream, _) = listener.accept().expect("somebody connects");
            // What a shard does before it hands the connection over.
            let hello = receive(&mut stream, 1024).expect("a hello");
            let (header, _): (RequestHeader, _) = frame::take(&hello).expect("a header");
            let response = HelloResponse {
                error: ErrorCode::NONE,
                cluster_id: Uuid::ZERO,
                node_id: NodeId(2),
                software: "odradek",
                features: 0,
                frame_bytes_max: 1,
                apis: vec![ApiRange { api_key: 18, version_min: 0, version_max: 0 }],
            };
            respond(&mut stream, header.correlation_id, &response).expect("sent");
            let request = receive(&mut stream, 1024).expect("a peer hello");
            let (header, body): (RequestHeader, _) = frame::take(&request).expect("a header");
            assert_eq!(header.api_key, PeerApiKey::Hello as u8);
            match answer(stream, header.correlation_id, body, &server) {
                Ok((_, who, purpose)) => format!("{} for {purpose:?}", who.voter.node_id),
                Err(why) => why.to_string(),
            }
        });
        let client = Credentials::new(connects.0.into(), connects.1, Arc::default());
        let dialled = match dial(&address, &client, Purpose::Replica) {
            Ok((_, who)) => who.voter.node_id.to_string(),
            Err(why) => why.to_string(),
        };
        (dialled, thread.join().expect("it does not panic"))
    }

    #[test]
    fn nodes_that_know_the_secret_become_peers() {
        let met = meet(("s", identity(1, 4)), ("s", identity(2, 4)));
        assert_eq!(met, ("2".into(), "1 for Replica".into()));
        let met = meet(("s", identity(1, 0)), ("s", identity(2, 4)));
        assert_eq!(met.0, "2", "who has no cluster yet may join any");
    }

    #[test]
    fn a_second_board_of_one_id_is_refused_while_the_first_is_there() {
        let (first, other) = (("s", identity(1, 4)), ("s", identity(2, 4)));
        // As a card that was copied: all is the same, save the process.
        let copied = PeerIdentity { process: Uuid([9; 16]), ..identity(1, 4) };
        let is_linked = |server: &Credentials| server.note_link(NodeId(1), Some(first.1.process));
        let (dialled, answered) = meet_with(is_linked, ("s", copied), other);
        assert!(dialled.contains("another board with this node's id"), "{dialled}");
        assert!(answered.contains("two boards say that they are node 1"), "{answered}");
        assert_eq!(meet_with(is_linked, first, other).0, "2", "a link again");
    }

    #[test]
    fn a_node_that_was_removed_is_told_what_to_do() {
        let (removed, other) = (identity(1, 4), ("s", identity(2, 4)));
        let knows = |server: &Credentials| server.set_departed(&[removed.voter]);
        let (dialled, answered) = meet_with(knows, ("s", removed), other);
        assert!(dialled.contains("removed from the site"), "{dialled}");
        assert!(answered.contains("node 1 was removed from the site"), "{answered}");
        let voter = VoterId { incarnation: 8, ..removed.voter };
        let anew = PeerIdentity { voter, ..removed };
        assert_eq!(meet_with(knows, ("s", anew), other).0, "2", "another life may join");
    }

    #[test]
    fn strangers_and_twins_are_turned_away_by_name() {
        let (dialled, _) = meet(("other", identity(1, 4)), ("s", identity(2, 4)));
        assert!(dialled.contains("another secret"), "{dialled}");
        let (dialled, answered) = meet(("s", identity(1, 4)), ("s", identity(2, 5)));
        assert!(dialled.contains("refuses"), "{dialled}");
        assert!(answered.contains("belongs to cluster"), "{answered}");
        let twin = PeerIdentity { process: Uuid([9; 16]), ..identity(2, 4) };
        let (_, answered) = meet(("s", twin), ("s", identity(2, 4)));
        assert!(answered.contains("this node's id"), "{answered}");
        let (_, answered) = meet(("s", identity(2, 4)), ("s", identity(2, 4)));
        assert_eq!(answered, "it is this node");
    }
}

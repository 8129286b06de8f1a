//! How a node becomes one of a site while it runs: what `odradek cluster init`, `invite` and `join` ask
//! of its broker. The broker does the work, for it knows its log dir and its listeners; the command sees
//! the code and never the secret.
//!
//! What waits, for a peer or for the disk, runs on a thread of its own, one at a time. After `init` and
//! `join` the broker is started again within its process.

use std::net::{IpAddr, SocketAddr, ToSocketAddrs, UdpSocket};
use std::path::{Path, PathBuf};

use crate::ids::{NodeId, Uuid};
use crate::journal::disk::Disk;
use crate::log::adopt_cluster;
use crate::runtime::boot::random;
use crate::runtime::clock;
use crate::runtime::signals::Signal;
use crate::runtime::site::code::Code;
use crate::runtime::site::discover;
use crate::runtime::site::file::SiteFile;
use crate::runtime::site::pairing::{self, Pairing};
use crate::wire::manage_site::ManageSiteResponse;
use crate::wire::peer::hello::PeerIdentity;
use crate::wire::quorum::VoterId;
use crate::wire::{ErrorCode, frame};

/// Bytes of a secret that is made here.
const SECRET_BYTES: usize = 32;

/// An address that no network has (RFC 5737): the way to it says which of our own others may see.
const NOWHERE: &str = "192.0.2.1:9";

/// What a node is before it belongs to a site.
#[derive(Clone, Debug)]
pub struct Own {
    /// Its id.
    pub node_id: NodeId,
    /// Its log dir.
    pub dir: PathBuf,
    /// The cluster that its log dir names.
    pub cluster_id: Uuid,
    /// Its roles.
    pub roles: u8,
    /// What its wire listener is bound to.
    pub bound: IpAddr,
    /// Where others reach its wire listener, as `HOST:PORT`.
    pub address: String,
    /// Whether the site begins here, and has not yet.
    pub founds: bool,
}

/// An answer, and what is to happen behind it.
pub struct Managed {
    /// The body of a `ManageSite` response.
    pub body: Vec<u8>,
    /// What the process is asked to do then.
    pub then: Option<Signal>,
}

impl Managed {
    /// Nothing has changed, and that is why.
    pub fn refused(error: ErrorCode, text: &str) -> Managed {
        let response = ManageSiteResponse { error, text, address: "", cluster_id: Uuid::ZERO };
        Managed { body: frame::encode_body(&response), then: None }
    }

    fn done(text: &str, address: &str, cluster_id: Uuid, then: Option<Signal>) -> Managed {
        let response = ManageSiteResponse { error: ErrorCode::NONE, text, address, cluster_id };
        Managed { body: frame::encode_body(&response), then }
    }
}

/// Makes another code.
pub fn invite(own: &Own, cluster_id: Uuid, pairing: &Pairing) -> Managed {
    let code = pairing.invite(clock::boot());
    Managed::done(&code.to_string(), &own.address, cluster_id, None)
}

/// Makes the secret of a new site, whose first node this is, and a code.
pub fn found(own: &Own, pairing: &Pairing) -> Managed {
    let secret: [u8; SECRET_BYTES] = random();
    let file = SiteFile {
        cluster_id: own.cluster_id,
        founds: true,
        secret: secret.to_vec(),
        peers: Vec::new(),
    };
    if let Err(why) = file.write(&own.dir) {
        return Managed::refused(ErrorCode::KAFKA_STORAGE_ERROR, &why.to_string());
    }
    let code = pairing.invite(clock::boot());
    Managed::done(&code.to_string(), &own.address, own.cluster_id, Some(Signal::Restart))
}

/// Has a site let this node in: that at an address, or any that is found.
pub fn join(own: &Own, code: Code, address: Option<String>) -> Managed {
    let addresses = address.map_or_else(|| discover::look(own.bound), |address| vec![address]);
    let identity = PeerIdentity {
        cluster_id: Uuid::ZERO,
        voter: VoterId { node_id: own.node_id, incarnation: 0 },
        has_log: false,
        roles: own.roles,
        process: Uuid::from_random(random()),
    };
    let mut refusals = Vec::new();
    for address in &addresses {
        let grant = match pairing::join(address, identity, code) {
            Ok(grant) => grant,
            Err(why) => {
                refusals.push(format!("{address}: {why}"));
                continue;
            }
        };
        let mut peers = vec![address.clone()];
        peers.extend(grant.peers.into_iter().filter(|peer| peer != address));
        let cluster_id = grant.cluster_id;
        let file = SiteFile { cluster_id, founds: false, secret: grant.secret, peers };
        return match file.write(&own.dir) {
            Ok(()) => Managed::done("", address, cluster_id, Some(Signal::Restart)),
            Err(why) => Managed::refused(ErrorCode::KAFKA_STORAGE_ERROR, &why.to_string()),
        };
    }
    if refusals.is_empty() {
        refusals.push("no site was found: name a board of it by --address HOST:PORT".to_owned());
    }
    Managed::refused(ErrorCode::CLUSTER_AUTHORIZATION_FAILED, &refusals.join("; "))
}

/// The site has begun, or this node has heard of it: its log dir says so from now on.
pub fn settle<D: Disk>(disk: &D, dir: &Path, cluster_id: Uuid) -> std::io::Result<()> {
    adopt_cluster(disk, dir, cluster_id)?;
    match SiteFile::read(dir)? {
        Some(known) if known.founds || known.cluster_id != cluster_id => {
            SiteFile { cluster_id, founds: false, ..known }.write(dir)
        }
        _ => Ok(()),
    }
}

/// Where others reach a listener that is bound to every interface: the address by which this machine
/// would go to them.
pub fn host_towards(bound: SocketAddr, peers: &[String]) -> IpAddr {
    let ip = bound.ip().to_canonical();
    if !ip.is_unspecified() {
        return ip;
    }
    let way = |target: &str| {
        let to = target.to_socket_addrs().ok()?.find(|to| bound.is_ipv6() || to.is_ipv4())?;
        let any: IpAddr = match to {
            SocketAddr::V4(_) => std::net::Ipv4Addr::UNSPECIFIED.into(),
            SocketAddr::V6(_) => std::net::Ipv6Addr::UNSPECIFIED.into(),
        };
        // Connecting a datagram socket sends nothing.
        let socket = UdpSocket::bind((any, 0)).ok()?;
        socket.connect(to).ok()?;
        Some(socket.local_addr().ok()?.ip().to_canonical())
    };
    let targets = peers.iter().map(String::as_str).chain([NOWHERE]);
    targets.filter_map(way).find(|ip| !ip.is_unspecified()).unwrap_or(ip)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_listener_on_every_interface_has_an_address_that_others_can_use() {
        let bound = |text: &str| text.parse::<SocketAddr>().expect("an address");
        let peers = ["127.0.0.1:7092".to_owned()];
        let host = |text: &str| host_towards(bound(text), &peers).to_string();
        assert_eq!(host("10.0.0.7:1"), "10.0.0.7", "as it was bound");
        assert_eq!(host("0.0.0.0:1"), "127.0.0.1", "as the peer sees it");
    }
}

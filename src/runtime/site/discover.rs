//! Finding a site on the LAN by mDNS (RFC 6762, 6763), as `_odradek._tcp.local`.
//!
//! A board is to be found while it has an invitation open, and looks around when it is to join: nothing
//! is said or listened to at other times. Only the interface of the wire listener is used, all but
//! loopback where it listens on all.
//!
//! **Invariant:** what is found this way is an address to try, and nothing more: who is there is proved
//! by the code.

use std::net::{IpAddr, SocketAddr};
use std::time::{Duration, Instant};

use mdns_sd::{IfKind, ScopedIp, ServiceDaemon, ServiceEvent, ServiceInfo};

use crate::ids::NodeId;

const SERVICE: &str = "_odradek._tcp.local.";

/// How long it is looked for others, at most.
const LOOK: Duration = Duration::from_secs(5);

/// How long others are waited for, once one was found.
const LINGER: Duration = Duration::from_millis(500);

/// Boards that are tried at most.
const FOUND_MAX: usize = 32;

/// While it lives this board can be found.
pub struct Advert {
    daemon: ServiceDaemon,
}

impl Drop for Advert {
    fn drop(&mut self) {
        // The daemon's thread says goodbye and ends.
        let _ = self.daemon.shutdown();
    }
}

/// Lets this board be found at the address that others reach it at.
pub fn advertise(bound: IpAddr, address: &str, node_id: NodeId) -> Option<Advert> {
    let advert = try_advertise(bound, address, node_id);
    if let Err(why) = &advert {
        log::warn!("this board cannot be found by mDNS, only by --address {address}: {why}");
    }
    advert.ok()
}

fn try_advertise(bound: IpAddr, address: &str, node_id: NodeId) -> mdns_sd::Result<Advert> {
    let Ok(reached) = address.parse::<SocketAddr>() else {
        return Err(mdns_sd::Error::Msg("advertised.listeners names a host".to_owned()));
    };
    let advert = Advert { daemon: daemon(bound)? };
    // Boards of several sites may have one id: the port and the address tell them apart.
    let dashes = |text: String| text.replace(['.', ':'], "-");
    let name = format!("odradek-{node_id}-{}", dashes(reached.to_string()));
    let host = format!("{name}.local.");
    let service = ServiceInfo::new(SERVICE, &name, &host, reached.ip(), reached.port(), None)?;
    advert.daemon.register(service)?;
    Ok(advert)
}

/// The boards that can be found, as `HOST:PORT`.
pub fn look(bound: IpAddr) -> Vec<String> {
    match try_look(bound) {
        Ok(found) => found,
        Err(why) => {
            log::warn!("no site can be looked for by mDNS: {why}");
            Vec::new()
        }
    }
}

fn try_look(bound: IpAddr) -> mdns_sd::Result<Vec<String>> {
    let daemon = daemon(bound)?;
    let events = daemon.browse(SERVICE)?;
    let mut until = Instant::now() + LOOK;
    let mut found = Vec::new();
    while found.len() < FOUND_MAX {
        let left = until.saturating_duration_since(Instant::now());
        let Ok(event) = events.recv_timeout(left) else { break };
        let ServiceEvent::ServiceResolved(service) = event else { continue };
        let addresses = service.addresses.iter().map(ScopedIp::to_ip_addr);
        // A link-local address of version 6 says nothing without its interface.
        let usable = addresses.filter(|ip| match ip {
            IpAddr::V4(_) => true,
            IpAddr::V6(ip) => !ip.is_unicast_link_local(),
        });
        found.extend(usable.map(|ip| SocketAddr::new(ip, service.port).to_string()));
        until = until.min(Instant::now() + LINGER);
    }
    let _ = daemon.shutdown();
    found.sort_unstable();
    found.dedup();
    Ok(found)
}

/// Speaks on the interface of the wire listener only.
fn daemon(bound: IpAddr) -> mdns_sd::Result<ServiceDaemon> {
    let daemon = ServiceDaemon::new()?;
    if bound.is_unspecified() {
        daemon.disable_interface(vec![IfKind::LoopbackV4, IfKind::LoopbackV6])?;
    } else {
        daemon.disable_interface(IfKind::All)?;
        daemon.enable_interface(IfKind::Addr(bound))?;
    }
    Ok(daemon)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_that_is_a_name_cannot_be_announced() {
        let any = IpAddr::from([127, 0, 0, 1]);
        let why = try_advertise(any, "edge-1.local:7092", NodeId(1)).err();
        assert!(why.is_some_and(|why| why.to_string().contains("names a host")));
    }
}

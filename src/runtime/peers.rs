//! How many connections each address has, so that one cannot take them all.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::{Mutex, MutexGuard, PoisonError};

/// Open connections by address.
#[derive(Debug, Default)]
pub struct Peers {
    open: Mutex<BTreeMap<IpAddr, u64>>,
}

impl Peers {
    fn open(&self) -> MutexGuard<'_, BTreeMap<IpAddr, u64>> {
        // Counting cannot panic half-way.
        self.open.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes a connection into account, unless its address has as many as it may.
    pub fn enter(&self, address: IpAddr, per_address_max: u64) -> bool {
        let mut open = self.open();
        let count = open.get(&address).copied().unwrap_or(0);
        let is_admitted = count < per_address_max;
        if is_admitted {
            open.insert(address, count + 1);
        }
        is_admitted
    }

    /// A connection that entered is gone.
    pub fn leave(&self, address: IpAddr) {
        let mut open = self.open();
        let count = open.get_mut(&address).expect("who leaves has entered");
        *count -= 1;
        if *count == 0 {
            open.remove(&address);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_has_its_share_and_no_more() {
        let (here, there) = (IpAddr::from([127, 0, 0, 1]), IpAddr::from([127, 0, 0, 2]));
        let peers = Peers::default();
        assert!(peers.enter(here, 2) && peers.enter(here, 2) && !peers.enter(here, 2));
        assert!(peers.enter(there, 2));
        peers.leave(here);
        assert!(peers.enter(here, 2) && !peers.enter(here, 1));
        for address in [here, here, there] {
            peers.leave(address);
        }
        assert!(peers.open().is_empty(), "an address that is gone costs nothing");
    }
}

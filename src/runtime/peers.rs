//! How many connections each address has, so that one cannot take them all.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::{Mutex, MutexGuard, PoisonError};

/// Open connections by address.
#[derive(Debug)]
pub struct Peers {
    per_address_max: usize,
    open: Mutex<BTreeMap<IpAddr, usize>>,
}

impl Peers {
    /// Nobody yet; at most `per_address_max` from each address.
    pub fn new(per_address_max: usize) -> Peers {
        Peers { per_address_max, open: Mutex::default() }
    }

    fn open(&self) -> MutexGuard<'_, BTreeMap<IpAddr, usize>> {
        // Counting cannot panic half-way.
        self.open.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes a connection into account, unless its address has too many.
    pub fn enter(&self, address: IpAddr) -> bool {
        let mut open = self.open();
        let count = open.entry(address).or_insert(0);
        let is_admitted = *count < self.per_address_max;
        *count += usize::from(is_admitted);
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
        let peers = Peers::new(2);
        assert!(peers.enter(here) && peers.enter(here) && !peers.enter(here));
        assert!(peers.enter(there));
        peers.leave(here);
        assert!(peers.enter(here));
        for address in [here, here, there] {
            peers.leave(address);
        }
        assert!(peers.open().is_empty(), "an address that is gone costs nothing");
    }
}

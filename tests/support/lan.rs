//! A network of a site's own: each board in a network namespace, and between them a bridge, which
//! lies in one of its own too. No packet leaves the machine, or meets another test's.
//!
//! None of the namespaces has a name: they are held by file handles, and go with this process and
//! the brokers in them, whatever ends it. Nothing is left to be cleaned. It needs root.
//!
//! A cut goes one way. Every board knows the hardware addresses of all others and never asks for
//! them, and the cut board is given one for its peer that nobody has: its frames cross the bridge,
//! and all boards drop them, without a word and without anything that the kernel would have to load.
//! What the peer sends still arrives. References: ip-neighbour(8), setns(2).

use std::fs::File;
use std::io::Write as _;
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::process::{Command, Stdio};
use std::{process, thread};

use rustix::thread::{LinkNameSpaceType, UnshareFlags, move_into_link_name_space};

use crate::peers;

/// The place of the bridge, where clients are; boards have the numbers from 1.
pub const DESK: usize = 0;

/// A bridge and boards around it.
#[derive(Debug)]
pub struct Lan {
    namespaces: Vec<OwnedFd>,
}

impl Lan {
    /// One with so many boards; `None`, said aloud, where that cannot be done.
    pub fn new(boards: usize) -> Option<Lan> {
        if !rustix::process::geteuid().is_root() {
            peers::missing("root (for network namespaces)", "run the test as root");
            return None;
        }
        if !peers::has_program("ip", "-V") {
            peers::missing("ip", "apt-get install iproute2");
            return None;
        }
        let made: std::io::Result<Vec<OwnedFd>> = (0..=boards).map(|_| namespace()).collect();
        let namespaces = match made {
            Ok(namespaces) => namespaces,
            Err(error) => {
                peers::missing("a network namespace", &format!("allow unshare --net ({error})"));
                return None;
            }
        };
        let lan = Lan { namespaces };
        match lan.plug_in() {
            Ok(()) => Some(lan),
            Err(words) => {
                peers::missing("a bridge of one's own", &format!("allow ip link add ({words})"));
                None
            }
        }
    }

    /// Where a board listens.
    pub fn address(place: usize) -> String {
        // TEST-NET-2: nobody's, should a packet get out all the same.
        format!("198.51.100.{}", if place == DESK { 254 } else { place })
    }

    /// Does something in the network of one place; processes that it starts stay there.
    pub fn within<T: Send>(&self, place: usize, work: impl FnOnce() -> T + Send) -> T {
        Lan::inside(self.namespaces[place].as_fd(), work)
    }

    /// The network of one place, for [`Lan::inside`].
    pub fn handle(&self, place: usize) -> OwnedFd {
        self.namespaces[place].try_clone().expect("there is room for a handle")
    }

    /// As [`Lan::within`], by the network's handle.
    pub fn inside<T: Send>(network: impl AsFd, work: impl FnOnce() -> T + Send) -> T {
        let network = network.as_fd();
        let inside = || {
            move_into_link_name_space(network, Some(LinkNameSpaceType::Network))
                .expect("root may enter a namespace of its own");
            work()
        };
        // A thread of its own: it is the thread that is in a namespace.
        thread::scope(|scope| scope.spawn(inside).join())
            .unwrap_or_else(|panic| std::panic::resume_unwind(panic))
    }

    /// From now on nothing that one place sends reaches the other. The other way goes on.
    pub fn cut(&self, from: usize, to: usize) {
        self.ip(from, &[neighbour(to, &nobody(to))]).expect("a cut");
    }

    /// Mends a cut.
    pub fn mend(&self, from: usize, to: usize) {
        self.ip(from, &[neighbour(to, &hardware(to))]).expect("a cut is mended");
    }

    fn plug_in(&self) -> Result<(), String> {
        let mut hub = vec!["link set lo up".to_owned(), "link add hub type bridge".to_owned()];
        hub.extend(own(DESK));
        for (place, board) in self.namespaces.iter().enumerate().skip(1) {
            let inside = format!("/proc/{}/fd/{}", process::id(), board.as_raw_fd());
            hub.push(format!("link add b{place} type veth peer name hub netns {inside}"));
            hub.push(format!("link set b{place} master hub up"));
        }
        self.ip(DESK, &hub)?;
        for place in 0..self.namespaces.len() {
            let mut words = vec!["link set lo up".to_owned()];
            if place != DESK {
                words.extend(own(place));
            }
            let others = (0..self.namespaces.len()).filter(|other| *other != place);
            words.extend(others.map(|other| neighbour(other, &hardware(other))));
            self.ip(place, &words)?;
        }
        Ok(())
    }

    fn ip(&self, place: usize, lines: &[String]) -> Result<(), String> {
        self.within(place, || {
            let mut command = Command::new("ip");
            command.args(["-batch", "-"]).stdin(Stdio::piped());
            command.stdout(Stdio::piped()).stderr(Stdio::piped());
            let mut child = command.spawn().map_err(|error| error.to_string())?;
            let mut input = child.stdin.take().expect("piped");
            input
                .write_all((lines.join("\n") + "\n").as_bytes())
                .map_err(|error| error.to_string())?;
            drop(input);
            let output = child.wait_with_output().map_err(|error| error.to_string())?;
            let said = String::from_utf8_lossy(&output.stderr).trim().to_owned();
            if output.status.success() { Ok(()) } else { Err(said) }
        })
    }
}

/// A new namespace, which lasts as long as its handle and the processes in it.
fn namespace() -> std::io::Result<OwnedFd> {
    let made = thread::spawn(|| {
        #[expect(deprecated, reason = "its other flags are unsafe; NEWNET shares nothing in Rust")]
        rustix::thread::unshare(UnshareFlags::NEWNET)?;
        Ok(File::open("/proc/thread-self/ns/net")?.into())
    });
    made.join().expect("it does not panic")
}

/// What gives a place its addresses.
fn own(place: usize) -> [String; 3] {
    [
        format!("link set hub address {}", hardware(place)),
        format!("address add {}/24 dev hub", Lan::address(place)),
        "link set hub up".to_owned(),
    ]
}

/// Where a place's frames for another go.
fn neighbour(other: usize, hardware: &str) -> String {
    let address = Lan::address(other);
    format!("neigh replace {address} lladdr {hardware} nud permanent dev hub")
}

/// A place's hardware address; locally administered, as the second bit says.
fn hardware(place: usize) -> String {
    format!("02:00:00:00:00:{place:02x}")
}

/// An address that no place has.
fn nobody(place: usize) -> String {
    format!("02:00:00:00:ff:{place:02x}")
}

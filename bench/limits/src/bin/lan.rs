//! A LAN with weather: Ethernet frames between network namespaces, delayed, lost or cut off.
//!
//! `lan PREFIX COUNT` makes COUNT tap devices PREFIX1, PREFIX2, .. and carries frames between them as
//! a switch does; the caller puts each into a namespace. It prints `lan ready`, obeys lines on stdin,
//! says `done` to each, and ends with stdin:
//! - `weather JITTER_MS LOSS_PERCENT`  each frame is delayed by up to so much, evenly, and some are lost
//! - `cut N` and `heal N`              no frame to or from the N-th, and again all
//!
//! Why not `tc netem`, which does the same: many small kernels are built without it, and this needs
//! only `/dev/net/tun`. TCP above is the kernel's own either way.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BinaryHeap};
use std::fs::File;
use std::io::{self, BufRead, Read, Write};
use std::os::fd::AsRawFd;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};
use std::{env, thread};

/// Ethernet's largest frame is far below.
const FRAME_BYTES_MAX: usize = 16 << 10;

/// Frames that wait for one device; a switch has no more memory either.
const WAITING_MAX: usize = 4096;

/// A frame, when it is due and which it was.
type Waiting = BinaryHeap<Reverse<(Instant, u64, Vec<u8>)>>;

struct Port {
    device: File,
    waiting: Mutex<Waiting>,
    arrived: Condvar,
}

struct Lan {
    ports: Vec<Port>,
    state: Mutex<State>,
}

struct State {
    jitter: Duration,
    loss_percent: f64,
    cut: Vec<bool>,
    /// Which address was seen behind which port.
    seen: BTreeMap<[u8; 6], usize>,
    random: u64,
    next_number: u64,
}

fn main() -> io::Result<()> {
    let args: Vec<String> = env::args().skip(1).collect();
    let [prefix, count] = &args[..] else {
        return Err(io::Error::other("usage: lan PREFIX COUNT"));
    };
    let count: usize = count.parse().map_err(io::Error::other)?;
    let mut ports = Vec::new();
    for number in 1..=count {
        let device = open_tap(&format!("{prefix}{number}"))?;
        ports.push(Port { device, waiting: Mutex::default(), arrived: Condvar::new() });
    }
    let state = State {
        jitter: Duration::ZERO,
        loss_percent: 0.0,
        cut: vec![false; count],
        seen: BTreeMap::new(),
        random: 0x9e37_79b9_7f4a_7c15,
        next_number: 0,
    };
    let lan = Arc::new(Lan { ports, state: Mutex::new(state) });
    for port in 0..count {
        let carrying = Arc::clone(&lan);
        thread::spawn(move || carrying.receive(port));
        let carrying = Arc::clone(&lan);
        thread::spawn(move || carrying.deliver(port));
    }
    println!("lan ready");
    for line in io::stdin().lock().lines() {
        lan.obey(&line?)?;
        println!("done");
    }
    Ok(())
}

/// A tap device: frames as they are, without a header of the driver's.
fn open_tap(name: &str) -> io::Result<File> {
    let device = File::options().read(true).write(true).open("/dev/net/tun")?;
    // SAFETY: all zeroes is a request without a name and without flags.
    let mut request: libc::ifreq = unsafe { std::mem::zeroed() };
    if request.ifr_name.len() <= name.len() {
        return Err(io::Error::other("the prefix is too long for a device"));
    }
    for (to, from) in request.ifr_name.iter_mut().zip(name.bytes()) {
        *to = from as libc::c_char;
    }
    request.ifr_ifru.ifru_flags = (libc::IFF_TAP | libc::IFF_NO_PI) as libc::c_short;
    // SAFETY: the descriptor is open and the request outlives the call.
    let status = unsafe { libc::ioctl(device.as_raw_fd(), libc::TUNSETIFF, &raw mut request) };
    if status < 0 { Err(io::Error::last_os_error()) } else { Ok(device) }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Lan {
    fn receive(&self, from: usize) {
        let mut buffer = vec![0; FRAME_BYTES_MAX];
        loop {
            match (&self.ports[from].device).read(&mut buffer) {
                Ok(bytes) if 14 <= bytes => self.carry(from, &buffer[..bytes]),
                Ok(_) => {}
                // Down for now, or on its way into a namespace.
                Err(_) => thread::sleep(Duration::from_millis(10)),
            }
        }
    }

    /// Sends a frame to where its address was seen, or to all.
    fn carry(&self, from: usize, frame: &[u8]) {
        let now = Instant::now();
        let address = |at: usize| -> [u8; 6] { frame[at..at + 6].try_into().expect("six bytes") };
        let mut state = lock(&self.state);
        state.seen.insert(address(6), from);
        let known = state.seen.get(&address(0)).copied();
        for to in 0..self.ports.len() {
            if to == from || known.is_some_and(|known| known != to) {
                continue;
            }
            if state.cut[from] || state.cut[to] || state.next_share() * 100.0 < state.loss_percent {
                continue;
            }
            let due = now + state.jitter.mul_f64(state.next_share());
            state.next_number += 1;
            let number = state.next_number;
            let port = &self.ports[to];
            let mut waiting = lock(&port.waiting);
            if waiting.len() < WAITING_MAX {
                waiting.push(Reverse((due, number, frame.to_vec())));
                port.arrived.notify_one();
            }
        }
    }

    fn deliver(&self, to: usize) {
        let port = &self.ports[to];
        loop {
            let mut waiting = lock(&port.waiting);
            let frame = loop {
                let now = Instant::now();
                match waiting.peek() {
                    None => {
                        waiting =
                            port.arrived.wait(waiting).unwrap_or_else(PoisonError::into_inner);
                    }
                    Some(Reverse((due, ..))) if now < *due => {
                        let wait = *due - now;
                        let waited = port.arrived.wait_timeout(waiting, wait);
                        waiting = waited.unwrap_or_else(PoisonError::into_inner).0;
                    }
                    Some(_) => break waiting.pop().expect("just looked at").0.2,
                }
            };
            drop(waiting);
            // A device that is down loses it, as a cable does.
            let _ = (&port.device).write_all(&frame);
        }
    }

    fn obey(&self, line: &str) -> io::Result<()> {
        let words: Vec<&str> = line.split_whitespace().collect();
        let mut state = lock(&self.state);
        let no_such = || io::Error::other(format!("no command `{line}`"));
        match words[..] {
            ["weather", jitter, loss] => {
                state.jitter = Duration::from_millis(jitter.parse().map_err(io::Error::other)?);
                state.loss_percent = loss.parse().map_err(io::Error::other)?;
            }
            [verb @ ("cut" | "heal"), port] => {
                let port: usize = port.parse().map_err(io::Error::other)?;
                *state.cut.get_mut(port.wrapping_sub(1)).ok_or_else(no_such)? = verb == "cut";
            }
            _ => return Err(no_such()),
        }
        Ok(())
    }
}

impl State {
    /// From 0 to 1; the same weather in every run.
    fn next_share(&mut self) -> f64 {
        self.random ^= self.random << 13;
        self.random ^= self.random >> 7;
        self.random ^= self.random << 17;
        (self.random >> 11) as f64 / (1_u64 << 53) as f64
    }
}

//! Whether a counter of the broker moved all the while something else was measured.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use crate::connection::Connection;

/// Time between two looks.
const INTERVAL: Duration = Duration::from_millis(100);

/// A thread that looks, on a connection of its own.
pub struct MetricWatch {
    stop: Arc<AtomicBool>,
    thread: JoinHandle<io::Result<Moved>>,
}

/// How a counter moved.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Moved {
    /// From the first look to the last.
    pub by: u64,
    looks: u64,
    standing: u64,
}

impl MetricWatch {
    pub fn start(address: SocketAddr, metric: String) -> io::Result<MetricWatch> {
        let mut connection = Connection::open(address)?;
        let mut look = move || -> io::Result<u64> {
            let metrics = connection.metrics()?;
            let found = metrics.into_iter().find(|(name, _)| *name == metric);
            found.map(|(_, value)| value).ok_or_else(|| io::Error::other("no such metric"))
        };
        let mut last = look()?;
        let stop = Arc::new(AtomicBool::new(false));
        let seen = Arc::clone(&stop);
        let thread = thread::spawn(move || {
            let mut moved = Moved::default();
            while !seen.load(Ordering::Relaxed) {
                thread::sleep(INTERVAL);
                let value = look()?;
                moved.add(value - last);
                last = value;
            }
            Ok(moved)
        });
        Ok(MetricWatch { stop, thread })
    }

    pub fn stop(self) -> io::Result<Moved> {
        self.stop.store(true, Ordering::Relaxed);
        self.thread.join().expect("no panic there")
    }
}

impl Moved {
    fn add(&mut self, by: u64) {
        self.by += by;
        self.looks += 1;
        self.standing += u64::from(by == 0);
    }

    /// The share of looks that found it further than the look before, in percent.
    pub fn percent(self) -> f64 {
        100.0 * (self.looks - self.standing) as f64 / self.looks.max(1) as f64
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_counter_that_stood_still_is_told_from_one_that_moved() {
        let mut moved = Moved::default();
        for by in [5, 0, 7, 1] {
            moved.add(by);
        }
        assert_eq!(moved.by, 13);
        assert!((moved.percent() - 75.0).abs() < 1e-9);
        assert!(Moved::default().percent().abs() < 1e-9);
    }
}

//! What processes use: CPU time, anonymous memory, bytes written.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, JoinHandle};
use std::time::Duration;
use std::{fs, io};

/// CPU seconds of this process so far, user and system.
pub fn own_cpu_seconds() -> f64 {
    clock_seconds(libc::CLOCK_PROCESS_CPUTIME_ID)
}

/// CPU seconds of another process so far; to the nanosecond, where `/proc/PID/stat` has ticks of
/// 10 ms. The clock's number is made as `clock_getcpuclockid(3)` makes it.
pub fn cpu_seconds(pid: i32) -> f64 {
    clock_seconds((!pid << 3) | 2)
}

fn clock_seconds(clock: libc::clockid_t) -> f64 {
    let mut time = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: `time` outlives the call, which writes nothing else.
    let status = unsafe { libc::clock_gettime(clock, &raw mut time) };
    assert!(status == 0, "the process to watch is gone");
    time.tv_sec as f64 + time.tv_nsec as f64 / 1e9
}

/// Sleeps end when they should, not 50 µs later.
pub fn sharpen_sleep() {
    // SAFETY: changes a number of this thread and takes no pointers.
    unsafe { libc::prctl(libc::PR_SET_TIMERSLACK, 1_u64) };
}

/// As many open files as the system lets us have.
pub fn raise_file_limit() {
    let mut limit = libc::rlimit { rlim_cur: 0, rlim_max: 0 };
    // SAFETY: `limit` outlives both calls. Where they fail, connecting fails with its own error.
    unsafe {
        libc::getrlimit(libc::RLIMIT_NOFILE, &raw mut limit);
        limit.rlim_cur = limit.rlim_max;
        libc::setrlimit(libc::RLIMIT_NOFILE, &raw const limit);
    }
}

/// Anonymous memory of a process in KiB.
pub fn rss_anon_kib(pid: i32) -> io::Result<u64> {
    number_after(&fs::read_to_string(format!("/proc/{pid}/status"))?, "RssAnon:")
}

/// Bytes a process has caused to be written to storage.
pub fn written_bytes(pid: i32) -> io::Result<u64> {
    number_after(&fs::read_to_string(format!("/proc/{pid}/io"))?, "write_bytes:")
}

fn number_after(text: &str, label: &str) -> io::Result<u64> {
    let rest = text.lines().find_map(|line| line.strip_prefix(label));
    let number = rest.and_then(|rest| rest.split_whitespace().next()?.parse().ok());
    number.ok_or_else(|| io::Error::other(format!("no {label} in /proc")))
}

/// Watches a process's anonymous memory and keeps the peak.
pub struct MemoryWatch {
    stop: Arc<AtomicBool>,
    thread: JoinHandle<u64>,
}

impl MemoryWatch {
    pub fn start(pid: i32) -> MemoryWatch {
        let stop = Arc::new(AtomicBool::new(false));
        let seen = Arc::clone(&stop);
        let thread = thread::spawn(move || {
            let mut peak = 0;
            while !seen.load(Ordering::Relaxed) {
                peak = peak.max(rss_anon_kib(pid).unwrap_or(0));
                thread::sleep(Duration::from_millis(5));
            }
            peak
        });
        MemoryWatch { stop, thread }
    }

    /// The peak in KiB.
    pub fn stop(self) -> u64 {
        self.stop.store(true, Ordering::Relaxed);
        self.thread.join().unwrap_or(0)
    }
}

//! What the broker, or the brokers of a site, and this process used between two moments.

use std::time::Instant;
use std::{fs, io};

use crate::process;

/// A moment, and how much was used until then.
pub struct Watch {
    pids: Vec<i32>,
    began: Instant,
    own: f64,
    broker: f64,
    broker_user: f64,
}

impl Watch {
    pub fn start(pids: Vec<i32>) -> io::Result<Watch> {
        Ok(Watch {
            own: process::own_cpu_seconds(),
            broker: cpu_seconds(&pids),
            broker_user: user_seconds(&pids)?,
            began: Instant::now(),
            pids,
        })
    }

    pub fn seconds(&self) -> f64 {
        self.began.elapsed().as_secs_f64()
    }

    /// What was used since the start for so many bytes in so long. "Busy" is in percent of one
    /// processor.
    pub fn line(&self, bytes: f64, seconds: f64) -> io::Result<String> {
        let busy = |from: f64, to: f64| 100.0 * (to - from) / seconds;
        let client_busy = busy(self.own, process::own_cpu_seconds());
        if self.pids.is_empty() {
            return Ok(format!("client_busy={client_busy:.0}"));
        }
        let (cpu, user) = (cpu_seconds(&self.pids), user_seconds(&self.pids)?);
        Ok(format!(
            "client_busy={client_busy:.0} broker_busy={:.1} user_s_gb={:.4} cpu_s_gb={:.4} rss_mib={:.1}",
            busy(self.broker, cpu),
            (user - self.broker_user) * 1e9 / bytes,
            (cpu - self.broker) * 1e9 / bytes,
            resident_kib(&self.pids)? as f64 / 1024.0,
        ))
    }
}

fn cpu_seconds(pids: &[i32]) -> f64 {
    pids.iter().map(|pid| process::cpu_seconds(*pid)).sum()
}

fn user_seconds(pids: &[i32]) -> io::Result<f64> {
    pids.iter().map(|pid| user_seconds_of(*pid)).sum()
}

fn resident_kib(pids: &[i32]) -> io::Result<u64> {
    pids.iter().map(|pid| resident_kib_of(*pid)).sum()
}

/// CPU seconds a process spent outside the kernel, in steps of the clock tick.
fn user_seconds_of(pid: i32) -> io::Result<f64> {
    let text = fs::read_to_string(format!("/proc/{pid}/stat"))?;
    // The name, in parentheses, may have blanks; the 14th word of all is the 12th after it.
    let word = text.rsplit_once(") ").and_then(|(_, rest)| rest.split(' ').nth(11));
    let ticks = word.and_then(|word| word.parse::<f64>().ok());
    let ticks = ticks.ok_or_else(|| io::Error::other("no CPU time in /proc/PID/stat"))?;
    // SAFETY: reads a constant.
    Ok(ticks / unsafe { libc::sysconf(libc::_SC_CLK_TCK) } as f64)
}

/// All memory of a process that is there: its own, and files it has mapped.
fn resident_kib_of(pid: i32) -> io::Result<u64> {
    let text = fs::read_to_string(format!("/proc/{pid}/status"))?;
    let line = text.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    let number = line.and_then(|rest| rest.split_whitespace().next()?.parse().ok());
    number.ok_or_else(|| io::Error::other("no VmRSS in /proc/PID/status"))
}

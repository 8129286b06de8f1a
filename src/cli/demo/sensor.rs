//! This machine as a sensor: its load, its running tasks and its temperature, or where it has no
//! thermometer its free memory.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Instant;

/// Where Linux keeps its thermometers.
const THERMAL: &str = "/sys/class/thermal";

/// Where a reading comes from.
#[derive(Debug)]
enum Source {
    /// This word of `/proc/loadavg`.
    Load(usize),
    /// Thousandths of a degree.
    Thermometer(PathBuf),
    /// `/proc/meminfo`.
    Memory,
    /// Seconds since the start, where there is nothing to measure.
    Clock(Instant),
}

/// A thing that is measured.
#[derive(Debug)]
pub struct Sensor {
    /// The key of its records.
    pub key: &'static str,
    source: Source,
}

/// Three sensors of this machine.
pub fn sensors() -> Vec<Sensor> {
    let temperature = match thermometer(Path::new(THERMAL)) {
        Some(path) => Sensor { key: "temperature", source: Source::Thermometer(path) },
        None => Sensor { key: "memory", source: Source::Memory },
    };
    let load = Sensor { key: "load", source: Source::Load(0) };
    let tasks = Sensor { key: "tasks", source: Source::Load(3) };
    let clocked = |sensor: Sensor| match sensor.source.read() {
        Some(_) => sensor,
        None => Sensor { source: Source::Clock(Instant::now()), ..sensor },
    };
    [load, tasks, temperature].map(clocked).into()
}

/// The first thermometer that can be read.
fn thermometer(dir: &Path) -> Option<PathBuf> {
    let zones = fs::read_dir(dir).ok()?.filter_map(Result::ok);
    let mut files: Vec<PathBuf> = zones.map(|zone| zone.path().join("temp")).collect();
    files.sort();
    files.into_iter().find(|file| degrees(file).is_some())
}

fn degrees(file: &Path) -> Option<String> {
    let thousandths: i64 = fs::read_to_string(file).ok()?.trim().parse().ok()?;
    Some(format!("{:.1} C", thousandths as f64 / 1000.0))
}

impl Sensor {
    /// What it shows now.
    pub fn read(&self) -> String {
        self.source.read().unwrap_or_else(|| "nothing".to_owned())
    }
}

impl Source {
    fn read(&self) -> Option<String> {
        match self {
            Source::Load(place) => {
                let text = fs::read_to_string("/proc/loadavg").ok()?;
                text.split_whitespace().nth(*place).map(str::to_owned)
            }
            Source::Thermometer(file) => degrees(file),
            Source::Memory => {
                let text = fs::read_to_string("/proc/meminfo").ok()?;
                let line = text.lines().find_map(|line| line.strip_prefix("MemAvailable:"))?;
                Some(line.trim().to_owned())
            }
            Source::Clock(start) => Some(format!("{:.3} s", start.elapsed().as_secs_f64())),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_machine_has_three_sensors() {
        let sensors = sensors();
        assert_eq!(sensors.len(), 3);
        for sensor in &sensors {
            let reading = sensor.read();
            assert!(!reading.is_empty() && reading != "nothing", "{sensor:?}");
        }
    }

    #[test]
    fn the_first_thermometer_that_works_is_taken() {
        let dir = std::env::temp_dir().join(format!("odradek-thermal-{}", std::process::id()));
        for (zone, content) in [("thermal_zone0", "broken\n"), ("thermal_zone1", "48312\n")] {
            fs::create_dir_all(dir.join(zone)).expect("the temporary directory is writable");
            fs::write(dir.join(zone).join("temp"), content).expect("still writable");
        }
        let file = thermometer(&dir).expect("one of them works");
        assert!(file.ends_with("thermal_zone1/temp"), "{}", file.display());
        assert_eq!(degrees(&file).as_deref(), Some("48.3 C"));
        fs::remove_dir_all(&dir).expect("it is there");
        assert_eq!(thermometer(&dir), None);
    }
}

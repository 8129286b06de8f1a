//! A broker in this process, on a directory of its own that goes with it.

use odradek::config::{Config, Protocol, Sources};
use odradek::runtime::Broker;

/// See the module's documentation.
pub struct Running {
    broker: Option<Broker>,
    dir: std::path::PathBuf,
    overrides: Vec<String>,
}

impl Running {
    /// Starts one; `more` holds `key=value` settings.
    pub fn start(name: &str, shards: usize, more: &[&str]) -> Running {
        let id = std::process::id();
        let dir = std::env::temp_dir().join(format!("odradek-client-{name}-{shards}-{id}"));
        let mut overrides = vec![
            format!("log.dirs=[\"{}\"]", dir.display()),
            "listeners=[\"wire://127.0.0.1:0\"]".to_owned(),
            format!("shards={shards}"),
            "journal.bytes=16777216".to_owned(),
        ];
        overrides.extend(more.iter().map(|more| (*more).to_owned()));
        let mut running = Running { broker: None, dir, overrides };
        running.boot();
        running
    }

    fn boot(&mut self) {
        let sources = Sources { overrides: self.overrides.clone(), ..Sources::default() };
        let config = Config::load(&sources).expect("the test's configuration is legal");
        self.broker = Some(Broker::start(&config).expect("the broker starts"));
    }

    /// `HOST:PORT` of its wire listener.
    pub fn address(&self) -> String {
        self.address_of(Protocol::Wire)
    }

    /// `HOST:PORT` of its first listener for a protocol.
    pub fn address_of(&self, protocol: Protocol) -> String {
        let broker = self.broker.as_ref().expect("it runs");
        broker.address(protocol).expect("it listens").to_string()
    }

    /// Stops it and starts it again, on the same ports.
    pub fn restart(&mut self) {
        let broker = self.broker.take().expect("it runs");
        let doors = [("wire", Protocol::Wire), ("kafka", Protocol::Kafka)];
        let listeners = doors.iter().filter_map(|(name, protocol)| {
            broker.address(*protocol).map(|address| format!("\"{name}://{address}\""))
        });
        let listeners: Vec<String> = listeners.collect();
        broker.stop();
        self.overrides.push(format!("listeners=[{}]", listeners.join(",")));
        self.boot();
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        if let Some(broker) = self.broker.take() {
            broker.stop();
        }
        let _ = std::fs::remove_dir_all(&self.dir);
    }
}

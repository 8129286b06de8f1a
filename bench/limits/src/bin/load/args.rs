//! `VERB ADDRESS [--key value]... [-- COMMAND...]`, no more than this program needs.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::{env, io};

/// What the command line says.
pub struct Args {
    pub verb: String,
    address: Option<String>,
    options: BTreeMap<String, String>,
    pub command: Vec<String>,
}

impl Args {
    pub fn parse() -> io::Result<Args> {
        let mut words = env::args().skip(1);
        let verb = words.next().ok_or_else(|| io::Error::other("which verb?"))?;
        let mut args = Args { verb, address: None, options: BTreeMap::new(), command: Vec::new() };
        while let Some(word) = words.next() {
            match word.strip_prefix("--") {
                Some("") => args.command = words.by_ref().collect(),
                Some(flag @ ("bare" | "create" | "idempotent" | "refusals" | "rss")) => {
                    args.options.insert(flag.to_owned(), String::new());
                }
                Some(key) => {
                    let value = words.next();
                    let value =
                        value.ok_or_else(|| io::Error::other(format!("--{key} needs a value")))?;
                    args.options.insert(key.to_owned(), value);
                }
                None => args.address = Some(word),
            }
        }
        Ok(args)
    }

    pub fn address(&self) -> io::Result<SocketAddr> {
        let address = self.address.as_deref().and_then(|address| address.parse().ok());
        address.ok_or_else(|| io::Error::other("an address IP:PORT is needed"))
    }

    /// Several, separated by commas.
    pub fn addresses(&self) -> io::Result<Vec<SocketAddr>> {
        let words = self.address.as_deref().unwrap_or("").split(',');
        let addresses: Result<Vec<SocketAddr>, _> = words.map(str::parse).collect();
        addresses.map_err(io::Error::other)
    }

    pub fn has(&self, key: &str) -> bool {
        self.options.contains_key(key)
    }

    pub fn text(&self, key: &str, default: &str) -> String {
        self.options.get(key).map_or(default, String::as_str).to_owned()
    }

    /// # Panics
    /// When the value is not a number: the caller is a script of ours.
    pub fn number(&self, key: &str, default: u64) -> u64 {
        let parse = |text: &String| text.parse().unwrap_or_else(|_| panic!("--{key} {text}"));
        self.options.get(key).map_or(default, parse)
    }

    /// As [`Args::number`], in seconds with a fraction.
    pub fn seconds(&self, key: &str, default: f64) -> f64 {
        let parse = |text: &String| text.parse().unwrap_or_else(|_| panic!("--{key} {text}"));
        self.options.get(key).map_or(default, parse)
    }

    /// The processes to watch, separated by commas.
    ///
    /// # Panics
    /// When one is not a number: the caller is a script of ours.
    #[allow(
        dead_code,
        reason = "the client of Kafka's protocol, which shares this file, has sites"
    )]
    pub fn pids(&self) -> Vec<i32> {
        let words = self.text("pid", "");
        let words = words.split(',').filter(|word| !word.is_empty());
        words.map(|word| word.parse().unwrap_or_else(|_| panic!("--pid {word}"))).collect()
    }

    /// The process to watch, if one is named.
    pub fn pid(&self) -> Option<i32> {
        self.has("pid").then(|| self.number("pid", 0) as i32)
    }
}

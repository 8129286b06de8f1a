//! Where clients connect: `wire://HOST:PORT`, `kafka://HOST:PORT`.

use core::fmt;
use std::net::Ipv6Addr;

/// What is spoken at an address.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Protocol {
    /// Our own.
    Wire,
    /// Kafka's.
    Kafka,
}

impl Protocol {
    /// All of them.
    pub const ALL: [Protocol; 2] = [Protocol::Wire, Protocol::Kafka];

    /// As it stands before `://`.
    pub const fn name(self) -> &'static str {
        match self {
            Protocol::Wire => "wire",
            Protocol::Kafka => "kafka",
        }
    }
}

impl fmt::Display for Protocol {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// An address to listen on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Listener {
    /// What is spoken there.
    pub protocol: Protocol,
    /// A name or an address; an IPv6 address without its brackets.
    pub host: String,
    /// The port; 0 takes a free one.
    pub port: u16,
}

impl Listener {
    /// Reads `wire://HOST:PORT`, `kafka://1.2.3.4:PORT` or `wire://[::1]:PORT`.
    pub fn parse(text: &str) -> Option<Listener> {
        let (scheme, address) = text.split_once("://")?;
        let protocol = Protocol::ALL.into_iter().find(|protocol| protocol.name() == scheme)?;
        let (host, port) = address.rsplit_once(':')?;
        if port.is_empty() || !port.bytes().all(|byte| byte.is_ascii_digit()) {
            return None;
        }
        let port = port.parse().ok()?;
        let host = match host.strip_prefix('[').and_then(|host| host.strip_suffix(']')) {
            Some(address) => address.parse::<Ipv6Addr>().ok()?.to_string(),
            None if is_name(host) => host.to_owned(),
            None => return None,
        };
        Some(Listener { protocol, host, port })
    }

    /// `HOST:PORT` as the standard library resolves it.
    pub fn address(&self) -> String {
        if self.host.contains(':') {
            format!("[{}]:{}", self.host, self.port)
        } else {
            format!("{}:{}", self.host, self.port)
        }
    }
}

impl fmt::Display for Listener {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}://{}", self.protocol, self.address())
    }
}

fn is_name(host: &str) -> bool {
    let legal = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'-' | b'_');
    !host.is_empty() && host.len() <= 255 && host.bytes().all(legal)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_read_and_print_alike() {
        for text in ["wire://127.0.0.1:7092", "kafka://[::1]:0", "wire://edge-1.local:65535"] {
            assert_eq!(Listener::parse(text).expect(text).to_string(), text);
        }
        for text in [
            "127.0.0.1:7092",
            "http://127.0.0.1:9092",
            "wire://127.0.0.1",
            "wire://:7092",
            "wire://127.0.0.1:70000",
            "wire://127.0.0.1:+1",
            "wire://::1:7092",
            "wire://[nonsense]:7092",
            "wire://a b:7092",
        ] {
            assert_eq!(Listener::parse(text), None, "{text}");
        }
    }
}

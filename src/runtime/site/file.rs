//! `site`, in the log dir: what makes a board one of a site that was formed by pairing. Only its owner
//! may read it.
//!
//! ```text
//! odradek-site 1 <CRC-32C of the rest, 8 hex digits>
//! cluster <cluster id>
//! founds <yes or no>
//! secret <hex digits>
//! peer <HOST:PORT>                                    any number of these
//! ```
//!
//! It has a spare. A node that has left has `site.left` in its place, and does not start.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use crate::ids::Uuid;
use crate::limits::{PAIR_GRANT_BYTES_MAX, SITE_NODES_MAX};
use crate::record::crc::crc32c;

const NAME: &str = "site";
const SPARE: &str = "site.spare";
const LEFT: &str = "site.left";
const HEAD: &str = "odradek-site 1 ";

/// The longest that is read.
const BYTES_MAX: u64 = 4 * PAIR_GRANT_BYTES_MAX as u64;

/// What a board knows of its site.
#[derive(Clone, PartialEq, Eq)]
pub struct SiteFile {
    /// Its cluster.
    pub cluster_id: Uuid,
    /// Whether the site begins here, and has not yet.
    pub founds: bool,
    /// What all its nodes know.
    pub secret: Vec<u8>,
    /// Where others of it were.
    pub peers: Vec<String>,
}

impl SiteFile {
    /// Reads a log dir's, if it has one.
    pub fn read(dir: &Path) -> io::Result<Option<SiteFile>> {
        let mut is_there = false;
        for name in [NAME, SPARE] {
            let file = match File::open(dir.join(name)) {
                Ok(file) => file,
                Err(why) if why.kind() == io::ErrorKind::NotFound => continue,
                Err(why) => return Err(why),
            };
            is_there = true;
            let mut text = String::new();
            if file.take(BYTES_MAX).read_to_string(&mut text).is_ok() {
                if let Some(found) = SiteFile::parse(&text) {
                    return Ok(Some(found));
                }
            }
        }
        let damaged = "`site` is damaged: join the site again, by `odradek cluster join`, from an \
                       empty log dir";
        if is_there { Err(io::Error::new(io::ErrorKind::InvalidData, damaged)) } else { Ok(None) }
    }

    /// Writes it, durably; nobody else may read it, at no moment.
    pub fn write(&self, dir: &Path) -> io::Result<()> {
        let text = self.text();
        for name in [NAME, SPARE] {
            let new = dir.join("site.new");
            match fs::remove_file(&new) {
                Err(why) if why.kind() != io::ErrorKind::NotFound => return Err(why),
                _ => {}
            }
            let mut file =
                OpenOptions::new().create_new(true).write(true).mode(0o600).open(&new)?;
            file.write_all(text.as_bytes())?;
            file.sync_all()?;
            fs::rename(&new, dir.join(name))?;
            File::open(dir)?.sync_all()?;
        }
        Ok(())
    }

    fn text(&self) -> String {
        let digit = |nibble: u8| char::from(b"0123456789abcdef"[usize::from(nibble)]);
        let hex: String =
            self.secret.iter().flat_map(|byte| [digit(byte >> 4), digit(byte & 15)]).collect();
        let founds = if self.founds { "yes" } else { "no" };
        let mut body = format!("cluster {}\nfounds {founds}\nsecret {hex}\n", self.cluster_id);
        for peer in &self.peers {
            body.push_str("peer ");
            body.push_str(peer);
            body.push('\n');
        }
        format!("{HEAD}{:08x}\n{body}", crc32c(body.as_bytes()))
    }

    fn parse(text: &str) -> Option<SiteFile> {
        let (head, body) = text.split_once('\n')?;
        let crc = u32::from_str_radix(head.strip_prefix(HEAD)?, 16).ok()?;
        if crc != crc32c(body.as_bytes()) {
            return None;
        }
        let mut lines = body.lines();
        let mut next = |word: &str| lines.next()?.strip_prefix(word)?.strip_prefix(' ');
        let cluster_id = Uuid::parse(next("cluster")?)?;
        let founds = next("founds")? == "yes";
        let secret = unhex(next("secret")?)?;
        let peers: Vec<String> =
            lines.filter_map(|line| line.strip_prefix("peer ")).map(str::to_owned).collect();
        let is_bounded = peers.len() <= SITE_NODES_MAX;
        is_bounded.then_some(SiteFile { cluster_id, founds, secret, peers })
    }
}

/// A node has left its site: it is not to start from this log dir any more.
pub fn leave(dir: &Path) -> io::Result<()> {
    let mut file = File::create(dir.join(LEFT))?;
    file.write_all(b"This node has left its site.\n")?;
    file.sync_all()?;
    for name in [NAME, SPARE] {
        match fs::remove_file(dir.join(name)) {
            Err(why) if why.kind() != io::ErrorKind::NotFound => return Err(why),
            _ => {}
        }
    }
    File::open(dir)?.sync_all()
}

/// The file that says that a node has left, if there is one.
pub fn left(dir: &Path) -> Option<PathBuf> {
    let path = dir.join(LEFT);
    path.exists().then_some(path)
}

fn unhex(text: &str) -> Option<Vec<u8>> {
    if text.len() % 2 != 0 || !text.is_ascii() {
        return None;
    }
    let pair = |place: usize| u8::from_str_radix(text.get(place..place + 2)?, 16).ok();
    (0..text.len()).step_by(2).map(pair).collect()
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    #[test]
    fn what_is_written_is_read_and_is_its_owners_alone() {
        let dir = std::env::temp_dir().join(format!("odradek-site-{}", std::process::id()));
        fs::create_dir_all(&dir).expect("the temporary directory is writable");
        assert!(SiteFile::read(&dir).expect("readable").is_none());
        let file = SiteFile {
            cluster_id: Uuid([7; 16]),
            founds: true,
            secret: (0..32).collect(),
            peers: vec!["edge-1.local:7092".into(), "[::1]:1".into()],
        };
        file.write(&dir).expect("written");
        for name in [NAME, SPARE] {
            let mode = fs::metadata(dir.join(name)).expect("there").permissions().mode();
            assert_eq!(mode & 0o777, 0o600);
        }
        fs::write(dir.join(NAME), "odradek-site 1 00000000\n").expect("damaged");
        assert!(SiteFile::read(&dir).expect("the spare") == Some(file));
        fs::write(dir.join(SPARE), "").expect("damaged too");
        assert!(SiteFile::read(&dir).is_err(), "a site is not forgotten");
        leave(&dir).expect("left");
        assert!(left(&dir).is_some() && SiteFile::read(&dir).expect("gone").is_none());
        fs::remove_dir_all(&dir).expect("it is there");
    }
}

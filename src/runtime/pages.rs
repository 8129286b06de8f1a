//! The pages of the program's and its libraries' files that are mapped, and letting go of them.
//!
//! A page of code counts as the process's memory as long as it is mapped, and the kernel maps
//! sixteen around each that is touched: what a start runs through once stays. A witness, which does
//! little afterwards, lets go of all such pages now and then. None is evicted: what is needed again
//! is mapped again by a minor fault, out of the page cache.
//!
//! **Invariant:** only mappings are let go of that nobody has written: a page with relocations
//! (`.data.rel.ro`, read-only as soon as they are in it) is the process's own, and in no file.
//!
//! Why not `dl_iterate_phdr`, which tells the same: it is foreign code with a callback, and one file
//! of text that is read once, before there is a second thread, needs neither.

use std::ffi::c_void;
use std::fs;
use std::ops::Range;

use rustix::mm::{Advice, madvise};

/// Mappings of files that hold nothing but what is in the files.
#[derive(Debug)]
pub struct FilePages {
    mappings: Vec<Range<usize>>,
}

impl FilePages {
    /// Those of the program and of the libraries it is linked with. To be called before there is a
    /// second thread, so that nobody maps or writes anything meanwhile; what is loaded later is not
    /// among them.
    pub fn mapped() -> FilePages {
        // Where the system does not tell, nothing is let go of.
        let smaps = fs::read_to_string("/proc/self/smaps").unwrap_or_default();
        FilePages { mappings: unwritten(&smaps) }
    }

    /// Unmaps the pages.
    pub fn let_go(&self) {
        for mapping in &self.mappings {
            #[expect(unsafe_code, reason = "nothing safe advises about memory")]
            // SAFETY: the mapping is private, read-only and of a file, and had no page of the
            // process's own when there was nobody but us to write one; what is linked at the start
            // is never unloaded. So each page is read from the file again as it was.
            let advised = unsafe {
                madvise(mapping.start as *mut c_void, mapping.len(), Advice::LinuxDontNeed)
            };
            // Locked pages stay; so does the memory they take, and nothing else comes of it.
            let _ = advised;
        }
    }
}

/// The mappings of `/proc/PID/smaps` that are private, read-only and of files, and of which no page
/// was written.
fn unwritten(smaps: &str) -> Vec<Range<usize>> {
    let mut unwritten = Vec::new();
    let (mut mapping, mut has_none) = (None, false);
    for line in smaps.lines() {
        let mut words = line.split_ascii_whitespace();
        match words.next() {
            Some("Anonymous:") => has_none = words.next() == Some("0"),
            // What was written and swapped out is in no file either. This comes after the other.
            Some("Swap:") if has_none && words.next() == Some("0") => {
                unwritten.extend(mapping.take());
            }
            Some("Swap:") => mapping = None,
            Some(field) if field.ends_with(':') => {}
            Some(addresses) => (mapping, has_none) = (read_only(addresses, words), false),
            None => {}
        }
    }
    unwritten
}

/// The addresses of a mapping, given the rest of its first line, if it is private, read-only and of
/// a file.
fn read_only<'a>(
    addresses: &str,
    mut words: impl Iterator<Item = &'a str>,
) -> Option<Range<usize>> {
    let (start, end) = addresses.split_once('-')?;
    let permissions = words.next()?;
    let path = words.nth(3)?;
    if !permissions.starts_with("r-") || !permissions.ends_with('p') || !path.starts_with('/') {
        return None;
    }
    let address = |text| usize::from_str_radix(text, 16).ok();
    Some(address(start)?..address(end)?)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn mapping(first: &str, anonymous_kib: u32) -> String {
        swapped(first, anonymous_kib, 0)
    }

    fn swapped(first: &str, anonymous_kib: u32, swapped_kib: u32) -> String {
        format!(
            "{first}\nSize: 8 kB\nRss: 4 kB\nPrivate_Dirty: 0 kB\nAnonymous: {anonymous_kib} kB\n\
             Swap: {swapped_kib} kB\nVmFlags: rd mr mw me\n"
        )
    }

    #[test]
    fn only_what_nobody_wrote_is_let_go() {
        let smaps = [
            mapping("1000-3000 r--p 00000000 fe:00 7    /usr/bin/odradek", 0),
            mapping("3000-6000 r-xp 00002000 fe:00 7    /usr/bin/odradek", 0),
            // Relocations were written before it became read-only.
            mapping("6000-7000 r--p 00005000 fe:00 7    /usr/bin/odradek", 4),
            swapped("6000-7000 r--p 00005000 fe:00 7    /usr/bin/odradek", 0, 4),
            mapping("7000-8000 rw-p 00006000 fe:00 7    /usr/bin/odradek", 0),
            mapping("8000-9000 r--s 00000000 fe:00 8    /var/lib/index", 0),
            mapping("9000-a000 ---p 00000000 00:00 0", 0),
            mapping("a000-b000 r-xp 00000000 00:00 0    [vdso]", 0),
            mapping("7f00dead0000-7f00dead1000 r-xp 00000000 fe:00 9    /lib/a b (deleted)", 0),
        ];
        let found = unwritten(&smaps.concat());
        assert_eq!(found, [0x1000..0x3000, 0x3000..0x6000, 0x7f00_dead_0000..0x7f00_dead_1000]);
    }

    #[test]
    fn without_a_word_about_own_pages_nothing_is_let_go() {
        assert!(
            unwritten("1000-3000 r--p 00000000 fe:00 7 /usr/bin/odradek\nSize: 8 kB\n").is_empty()
        );
    }
}

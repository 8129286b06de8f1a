//! What `strace -f -o` wrote: calls with the place in the file where each began and ended.
//!
//! One line a call, or two when another thread's came between: `… <unfinished ...>` and
//! `<... name resumed>…`. The order of lines is the order in which the kernel reported them, so a
//! call that ended on an earlier line than another began had returned before.

use std::collections::BTreeMap;

/// A system call.
#[derive(Debug, PartialEq, Eq)]
pub struct Call {
    /// Its name.
    pub name: String,
    /// Its arguments and result, as written.
    pub text: String,
    /// Line on which it began.
    pub begin: usize,
    /// Line on which it ended.
    pub end: usize,
}

impl Call {
    /// Whether it succeeded, and was made: strace marks the calls that it only pretended.
    pub fn is_done(&self) -> bool {
        let result = self.text.rsplit(" = ").next().unwrap_or("-1");
        !result.starts_with(['-', '?']) && !self.text.contains("(INJECTED)")
    }

    /// The first argument up to its comma: the file, with what strace knows of it.
    pub fn file(&self) -> &str {
        self.text.split([',', ')']).next().unwrap_or("")
    }
}

/// Reads a trace.
pub fn parse(text: &str) -> Vec<Call> {
    let mut calls = Vec::new();
    let mut unfinished: BTreeMap<&str, Call> = BTreeMap::new();
    for (number, line) in text.lines().enumerate() {
        let Some((thread, rest)) = line.split_once(' ') else { continue };
        let rest = rest.trim_start();
        if let Some(resumed) = rest.strip_prefix("<... ") {
            let Some(mut call) = unfinished.remove(thread) else { continue };
            let (_, tail) = resumed.split_once(" resumed>").unwrap_or(("", resumed));
            call.text.push_str(tail);
            call.end = number;
            calls.push(call);
            continue;
        }
        let Some((name, arguments)) = rest.split_once('(') else { continue };
        let (name, begin, end) = (name.to_owned(), number, number);
        match arguments.strip_suffix("<unfinished ...>") {
            Some(text) => {
                unfinished.insert(thread, Call { name, text: text.to_owned(), begin, end });
            }
            None => calls.push(Call { name, text: arguments.to_owned(), begin, end }),
        }
    }
    calls.sort_by_key(|call| call.begin);
    calls
}

#[test]
fn calls_are_joined_and_ordered() {
    let text = "7 fdatasync(5</d/journal> <unfinished ...>\n\
        8 sendto(9<TCP:[1]>, \"x\", 1, 0, NULL, 0) = 1\n\
        7 <... fdatasync resumed>) = 0\n\
        7 fdatasync(5</d/journal>) = 0 (INJECTED)\n\
        7 +++ killed by SIGKILL +++\n";
    let calls = parse(text);
    let places: Vec<_> = calls.iter().map(|c| (c.name.as_str(), c.begin, c.end)).collect();
    assert_eq!(places, [("fdatasync", 0, 2), ("sendto", 1, 1), ("fdatasync", 3, 3)]);
    assert_eq!(calls.iter().map(Call::is_done).collect::<Vec<_>>(), [true, true, false]);
    assert_eq!(calls[1].file(), "9<TCP:[1]>");
}

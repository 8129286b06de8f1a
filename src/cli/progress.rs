//! Progress of long work, for a person at a terminal.
//!
//! One line on stderr, rewritten in place and gone at the end; nothing where stderr is no terminal,
//! and nothing for work that is over at once.

use std::io::{self, IsTerminal, Write};
use std::sync::Mutex;
use std::sync::mpsc::{self, RecvTimeoutError};
use std::thread;
use std::time::Duration;

use super::status::size;

/// Work that takes no longer needs no words.
const SILENCE: Duration = Duration::from_millis(500);

/// How often the line is rewritten.
const PACE: Duration = Duration::from_millis(200);

/// The beginning of the line, and what clears the rest of it.
const LINE: &str = "\r";
const CLEAR: &str = "\x1b[K";

/// Does `work`, and shows on stderr how many of at most `total` bytes are `done` with.
pub fn show<T>(
    what: &str,
    total: u64,
    done: impl Fn() -> u64 + Sync,
    work: impl FnOnce() -> T,
) -> T {
    if io::stderr().is_terminal() {
        show_on(&Mutex::new(io::stderr()), SILENCE, &|| line(what, done(), total), work)
    } else {
        work()
    }
}

fn show_on<T>(
    screen: &Mutex<impl Write + Send>,
    silence: Duration,
    line: &(impl Fn() -> String + Sync),
    work: impl FnOnce() -> T,
) -> T {
    let (working, end) = mpsc::channel::<()>();
    let print = |words: &str| {
        let mut screen = screen.lock().expect("nobody panics with the screen");
        // A terminal that went away needs no progress.
        let _ = write!(screen, "{LINE}{words}{CLEAR}").and_then(|()| screen.flush());
    };
    thread::scope(|scope| {
        scope.spawn(move || {
            let mut pause = silence;
            while end.recv_timeout(pause) == Err(RecvTimeoutError::Timeout) {
                print(&line());
                pause = PACE;
            }
            if pause != silence {
                print("");
            }
        });
        let result = work();
        drop(working);
        result
    })
}

fn line(what: &str, done: u64, total: u64) -> String {
    // What is read twice, or beside what was counted, does not make it more than all.
    let done = done.min(total);
    let percent = u128::from(done) * 100 / u128::from(total.max(1));
    format!("{what}: {} of at most {}, {percent} %", size(done), size(total))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_says_how_far_it_is() {
        assert_eq!(line("read", 1 << 20, 4 << 20), "read: 1.0 MiB of at most 4.0 MiB, 25 %");
        assert_eq!(line("read", 9 << 20, 4 << 20), "read: 4.0 MiB of at most 4.0 MiB, 100 %");
        assert_eq!(line("read", 0, 0), "read: 0 B of at most 0 B, 0 %");
    }

    #[test]
    fn long_work_is_shown_until_it_ends_and_leaves_nothing() {
        let screen = Mutex::new(Vec::new());
        let written = || String::from_utf8(screen.lock().expect("whole").clone()).expect("text");
        let pause = Duration::from_millis(1);
        let answer = show_on(&screen, pause, &|| "half".to_owned(), || {
            while !written().contains("half") {
                thread::yield_now();
            }
            42
        });
        assert_eq!(answer, 42);
        assert!(written().starts_with("\rhalf\x1b[K"), "{:?}", written());
        assert!(written().ends_with("\r\x1b[K"), "{:?}", written());
    }

    #[test]
    fn short_work_is_not_shown() {
        let screen = Mutex::new(Vec::new());
        show_on(&screen, Duration::from_secs(3600), &|| "never".to_owned(), || ());
        assert!(screen.into_inner().expect("whole").is_empty());
    }
}

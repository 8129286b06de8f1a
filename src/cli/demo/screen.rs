//! The terminal: raw keys, the other screen, and both given back however the demo ends.
//!
//! Plain ANSI: home, clear to the end of a line, show and hide the cursor, the alternate screen.

use std::io::{self, IsTerminal as _, Read as _, Write as _};
use std::sync::Mutex;
use std::sync::mpsc::{Receiver, channel};
use std::thread;

use rustix::termios::{OptionalActions, Termios, tcgetattr, tcgetwinsize, tcsetattr};

const ENTER: &[u8] = b"\x1b[?1049h\x1b[?25l\x1b[2J";
const LEAVE: &[u8] = b"\x1b[?25h\x1b[?1049l";

/// What the terminal was before, until it is that again.
static BEFORE: Mutex<Option<Before>> = Mutex::new(None);

struct Before {
    /// Of stdin, where keys are read.
    modes: Option<Termios>,
}

/// See the module.
#[derive(Debug)]
pub struct Screen {
    stdout: io::Stdout,
    keys: Option<Receiver<u8>>,
}

impl Screen {
    /// Takes the terminal, if stdout is one; keys only where stdin is one too.
    pub fn open() -> io::Result<Option<Screen>> {
        if !io::stdout().is_terminal() {
            return Ok(None);
        }
        let stdin = io::stdin();
        let modes = if stdin.is_terminal() { Some(tcgetattr(&stdin)?) } else { None };
        *BEFORE.lock().expect("nobody panics with it") = Some(Before { modes: modes.clone() });
        let keys = match modes {
            Some(mut modes) => {
                modes.make_raw();
                tcsetattr(&stdin, OptionalActions::Now, &modes)?;
                Some(listen()?)
            }
            None => None,
        };
        let mut stdout = io::stdout().lock();
        stdout.write_all(ENTER)?;
        stdout.flush()?;
        drop(stdout);
        Ok(Some(Screen { stdout: io::stdout(), keys }))
    }

    /// Whether keys can be pressed.
    pub fn has_keys(&self) -> bool {
        self.keys.is_some()
    }

    /// The next key that was pressed, if there is one.
    pub fn take_key(&self) -> Option<u8> {
        self.keys.as_ref()?.try_recv().ok()
    }

    /// Shows these lines and nothing else, as far as there is room.
    pub fn show(&self, lines: &[String]) -> io::Result<()> {
        let (columns, rows) = size();
        let mut text = String::from("\x1b[H");
        for (place, line) in lines.iter().take(rows).enumerate() {
            if 0 < place {
                text.push_str("\r\n");
            }
            text.extend(line.chars().take(columns));
            text.push_str("\x1b[K");
        }
        text.push_str("\x1b[J");
        let mut stdout = self.stdout.lock();
        stdout.write_all(text.as_bytes())?;
        stdout.flush()
    }
}

impl Drop for Screen {
    fn drop(&mut self) {
        restore();
    }
}

/// Gives the terminal back. Once is enough, more does no harm.
pub fn restore() {
    let Ok(mut before) = BEFORE.try_lock() else { return };
    let Some(before) = before.take() else { return };
    if let Some(modes) = before.modes {
        let _ = tcsetattr(io::stdin(), OptionalActions::Now, &modes);
    }
    let mut stdout = io::stdout().lock();
    let _ = stdout.write_all(LEAVE).and_then(|()| stdout.flush());
}

/// Columns and rows; what every terminal has, where it does not say.
fn size() -> (usize, usize) {
    match tcgetwinsize(io::stdout()) {
        Ok(size) if 0 < size.ws_col && 0 < size.ws_row => (size.ws_col.into(), size.ws_row.into()),
        _ => (80, 24),
    }
}

/// Reads keys on a thread of its own, which ends with the process.
fn listen() -> io::Result<Receiver<u8>> {
    let (sender, keys) = channel();
    thread::Builder::new().name("keys".to_owned()).spawn(move || {
        let mut key = [0];
        while matches!(io::stdin().read(&mut key), Ok(1)) && sender.send(key[0]).is_ok() {}
    })?;
    Ok(keys)
}

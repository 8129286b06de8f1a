//! SIGTERM and SIGINT end the process cleanly, SIGHUP reloads what can be reloaded.

use std::io;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread;

use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};
use signal_hook::iterator::Signals;

/// What somebody asks of the process.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Signal {
    /// End cleanly.
    Stop,
    /// Read the configuration again.
    Reload,
    /// End cleanly, and start again in the same process.
    Restart,
}

/// Starts to listen. A second request to stop ends the process at once.
pub fn listen() -> io::Result<Receiver<Signal>> {
    let (sender, receiver) = channel();
    listen_with(sender)?;
    Ok(receiver)
}

/// The same, for a channel that others send to as well.
pub fn listen_with(sender: Sender<Signal>) -> io::Result<()> {
    let mut signals = Signals::new([SIGTERM, SIGINT, SIGHUP])?;
    thread::Builder::new().name("signals".into()).spawn(move || {
        let mut is_stopping = false;
        for number in signals.forever() {
            let signal = if number == SIGHUP { Signal::Reload } else { Signal::Stop };
            if signal == Signal::Stop && is_stopping {
                std::process::exit(1);
            }
            is_stopping |= signal == Signal::Stop;
            if sender.send(signal).is_err() {
                return;
            }
        }
    })?;
    Ok(())
}

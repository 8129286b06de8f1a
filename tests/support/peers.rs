//! What a test does when something it compares with is not on this machine.
//!
//! On a desk it says what is missing and how to get it, and passes; where
//! `ODRADEK_CI_REQUIRE_PEERS=1` is set, as in CI, it fails: a proof that was skipped is none.

use std::env;
use std::process::{Command, Stdio};

/// Says that a test cannot run here; fails where peers are required.
pub fn missing(what: &str, how: &str) {
    let words = format!("not run: {what} is missing here; to get it: {how}");
    let is_required = env::var("ODRADEK_CI_REQUIRE_PEERS").is_ok_and(|value| value == "1");
    assert!(!is_required, "{words}");
    eprintln!("{words}");
}

/// Whether a program is there: `program --version` (or another harmless argument) can be started.
pub fn has_program(program: &str, harmless: &str) -> bool {
    let mut command = Command::new(program);
    command.arg(harmless).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    command.status().is_ok()
}

//! The `odradek` binary: argv to exit code.

fn main() {}

//! The `odradek` binary: argv to exit code.

mod cli;

fn main() -> std::process::ExitCode {
    cli::main()
}

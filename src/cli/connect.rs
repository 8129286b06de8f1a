//! How every client command reaches a broker: `--server`, else `ODRADEK_SERVER`, else loopback.

use odradek::client::{Admin, AdminConfig};

use super::CliError;

/// The server that is meant when the command line names none.
pub fn default_server() -> String {
    std::env::var("ODRADEK_SERVER")
        .ok()
        .filter(|server| !server.is_empty())
        .unwrap_or_else(|| "127.0.0.1:7092".to_owned())
}

/// An admin client of `server`.
pub fn admin(server: &str) -> Result<Admin, CliError> {
    Admin::new(AdminConfig::new(server)).map_err(CliError::usage)
}

/// What failed, said together with the server that it failed at.
pub fn failed(server: &str, why: impl std::fmt::Display) -> CliError {
    CliError::Failed(format!("{server}: {why}"))
}

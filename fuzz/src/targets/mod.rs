//! The targets, a file a floor.

mod compression;
mod config;
mod controller;
mod group;
mod journal;
mod kafka;
mod log;
mod moving_in;
mod quorum;
mod record;
mod wire;

use crate::Target;

/// Every target there is.
pub fn all() -> Vec<Target> {
    let mut targets = Vec::new();
    targets.extend(wire::all());
    targets.extend(kafka::all());
    targets.extend(record::all());
    targets.extend(compression::all());
    targets.extend(journal::all());
    targets.extend(log::all());
    targets.extend(controller::all());
    targets.extend(config::all());
    targets.extend(group::all());
    targets.extend(moving_in::all());
    targets.extend(quorum::all());
    targets
}

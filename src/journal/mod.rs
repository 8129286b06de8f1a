//! The commit journal of a log dir.

pub mod disk;

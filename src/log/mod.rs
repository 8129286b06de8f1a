//! One partition's log, and the log dir that holds them.

mod standins;
mod types;

use standins::{journal, record, topic_config};

pub use types::{Appended, FlushTarget, FoundOffset, Hole, LogError, ReadError, Slice};

//! Faults put in on purpose, chosen at run time: a simulation that finds none of them proves nothing.
//! Only the test feature `mutants` can switch one on; without it the question is answered at compile
//! time, and nothing of this is in the binary.
//!
//! `tests/sim/mutants.rs` says where each is found. The replica's own are in `replica/mutant.rs`, and
//! those of the quorum can be built into a single one, too (`quorum/mutant.rs`).

/// What is done wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mutant {
    /// A leader counts what it has written for what it has synced.
    AcksUnsynced,
    /// The high watermark moves while fewer than `min.insync.replicas` are in sync.
    CommitsBelowMin,
    /// A leader is chosen from all replicas.
    ElectsOutsideIsr,
    /// A request with an older leader epoch is taken.
    TakesStaleEpoch,
    /// What an earlier incarnation of a broker asks is taken.
    TakesStaleBroker,
    /// A follower says that its log end is durable.
    SaysLogEnd,
    /// A broker whose copy is damaged stays in sync.
    KeepsDamagedInSync,
    /// What recovery finds bad is always taken for torn.
    DropsBelowMark,
    /// A hole in a log is of no consequence.
    ServesPastHole,
    /// A half of the journal is freed before its segments are synced.
    FreesUnsynced,
    /// A broker that starts leads on in the same epoch.
    KeepsEpochAtBoot,
    /// A coordinator answers before its write is committed.
    AnswersUncommitted,
    /// Members of any generation are believed.
    IgnoresGeneration,
    /// A batch that was sent once more is appended once more.
    AppendsDuplicates,
    /// A produce that was answered goes on waiting.
    CompletesTwice,
    /// Votes and acks of the quorum leave before what they promise is durable.
    VotesUnsynced,
    /// A vote of the quorum that was given is forgotten when the next one is asked for.
    VotesTwice,
    /// The quorum's leader commits what a majority has, whoever appended it.
    CommitsOldEpoch,
}

#[cfg(feature = "mutants")]
mod chosen {
    use core::cell::Cell;

    use super::Mutant;

    std::thread_local! {
        static CHOSEN: Cell<Option<Mutant>> = const { Cell::new(None) };
    }

    /// Has this thread do something wrong from now on, or nothing any more.
    pub fn choose(mutant: Option<Mutant>) {
        CHOSEN.with(|chosen| chosen.set(mutant));
    }

    /// Whether this is what is done wrong.
    pub fn is_on(mutant: Mutant) -> bool {
        CHOSEN.with(|chosen| chosen.get() == Some(mutant))
    }
}

#[cfg(feature = "mutants")]
pub use chosen::{choose, is_on};

/// Whether this is what is done wrong.
#[cfg(not(feature = "mutants"))]
pub const fn is_on(_mutant: Mutant) -> bool {
    false
}

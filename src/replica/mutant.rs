//! Faults put in on purpose, chosen at run time: a simulation that finds none of them proves
//! nothing. Only the test feature `mutants` has them.

/// What is done wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mutant {
    /// The high watermark is the smallest log end, as if what a follower has written were safe.
    CountsLogEnds,
    /// A follower of a new leader cuts its log at its high watermark, as Kafka did before KIP-101.
    TruncatesToHighWatermark,
    /// A replica that is to leave the ISR no longer counts before the controller has confirmed it.
    ShrinksUnconfirmed,
}

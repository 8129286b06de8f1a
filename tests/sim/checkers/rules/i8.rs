//! I8: what is committed is on stable storage of every in-sync replica, and nobody takes anything for
//! safe that a power cut would take away.

use crate::sim::checkers::{Place, Verdict};

/// A leader commits a batch that ends here; a member of the ISR has so much on stable storage. One
/// that is known to be damaged is not looked at: it is on its way out.
pub fn is_stable(verdict: &mut Verdict, member: Place, end: i64, durable: i64) {
    verdict.hold(end <= durable, "I8", || {
        format!("{member:?} is in sync and has {durable} safe, committed is {end}")
    });
}

/// A node starts, and takes so much for safe.
pub fn takes_for_safe(verdict: &mut Verdict, place: Place, durable: i64, safe: i64) {
    verdict
        .hold(durable <= safe, "I8", || format!("{place:?} takes {durable} for safe, {safe} is"));
}

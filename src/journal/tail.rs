//! Where the live part of the ring begins, when a superblock that may have said so is lost.
//!
//! The two superblocks lie side by side: on a card they share an erase block, and one fault takes
//! both. The commits say enough by themselves. Those of the newest commit's half that lie before
//! it were written in this lap; those of the other half were, as far as their sequence numbers
//! rise. What lies behind the newest in its half was freed before the head came there.
//!
//! **Invariant:** the tail that is found is never later than the true one. It may be earlier, by
//! at most a half that was freed already: replaying that changes nothing.

use std::collections::BTreeMap;

use crate::journal::JournalError;
use crate::journal::RING_BYTES_MIN;
use crate::journal::RING_START;
use crate::journal::disk::DiskFile;
use crate::journal::ring::Ring;
use crate::journal::superblock::Superblock;
use crate::limits::JOURNAL_BLOCK_BYTES;

/// The place and sequence number with which replay begins; `None` when nothing is live. Commits
/// (place, sequence number) come by place; those before `known` are not live.
pub(super) fn find(commits: &[(u64, u64)], half_bytes: u64, known: u64) -> Option<(u64, u64)> {
    let live = || commits.iter().copied().filter(|(_, sequence)| known <= *sequence);
    let newest = live().max_by_key(|(_, sequence)| *sequence)?;
    let newest_half = newest.0 / half_bytes;
    let this_lap = live().find(|(place, _)| place / half_bytes == newest_half)?;
    let mut first = this_lap;
    let mut before = None;
    for commit in live().filter(|(place, _)| place / half_bytes != newest_half) {
        let rises = before.is_none_or(|before| before < commit.1);
        if !rises || this_lap.1 <= commit.1 {
            break;
        }
        if before.is_none() {
            first = commit;
        }
        before = Some(commit.1);
    }
    // A half begins with a commit. Where the first one found is not it, that one is damaged:
    // replay begins with what is missing, and says so.
    let start = first.0 - first.0 % half_bytes;
    let missing = u64::from(start < first.0 && known < first.1);
    Some((start, first.1 - missing))
}

/// A superblock for a ring that has none: its salt is the one that most of its commits bear.
pub(super) fn salvage<F: DiskFile>(file: &F) -> Result<Option<Superblock>, JournalError> {
    let unit = 2 * JOURNAL_BLOCK_BYTES;
    let ring_bytes = file.len()?.saturating_sub(RING_START) / unit * unit;
    if ring_bytes < RING_BYTES_MIN {
        return Ok(None);
    }
    let mut salts: BTreeMap<u64, u64> = BTreeMap::new();
    for (_, _, salt) in (Ring { file, bytes: ring_bytes, salt: None }).all()? {
        *salts.entry(salt).or_default() += 1;
    }
    let salt = salts.into_iter().max_by_key(|(_, count)| *count);
    Ok(salt.map(|(salt, _)| Superblock {
        generation: 0,
        ring_bytes,
        salt,
        tail_position: 0,
        tail_sequence: 0,
        is_clean: false,
        unwritten_bytes: 0,
    }))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Halves of 8 blocks, numbered by block.
    fn check(commits: &[(u64, u64)], known: u64, expected: Option<(u64, u64)>) {
        assert_eq!(find(commits, 8, known), expected, "{commits:?} from {known}");
    }

    #[test]
    fn the_tail_is_the_oldest_commit_that_this_lap_holds() {
        check(&[], 0, None);
        check(&[(0, 1), (2, 2), (5, 3)], 0, Some((0, 1)));
        check(&[(0, 1), (2, 2), (8, 3), (9, 4)], 0, Some((0, 1)));
        // The second lap is in the first half; behind it lies what the first lap left there.
        check(&[(0, 150), (2, 151), (4, 60), (6, 61), (8, 100), (12, 101)], 0, Some((8, 100)));
        // The second half is shorter than it was in an earlier lap.
        check(&[(0, 90), (4, 91), (8, 92), (12, 20)], 0, Some((0, 90)));
        check(&[(0, 150), (8, 100), (11, 101), (14, 43)], 0, Some((8, 100)));
    }

    #[test]
    fn what_the_other_superblock_frees_is_not_live() {
        check(&[(0, 1), (2, 2), (8, 3), (9, 4)], 3, Some((8, 3)));
        check(&[(0, 1), (2, 2)], 3, None);
    }

    #[test]
    fn a_damaged_first_commit_is_missed() {
        check(&[(2, 11), (5, 12)], 0, Some((0, 10)));
        check(&[(2, 11), (8, 12)], 10, Some((0, 10)));
    }
}

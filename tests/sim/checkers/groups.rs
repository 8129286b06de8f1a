//! G1 to G3 and G6: who owns what, and what was committed.

use std::collections::BTreeMap;

use super::Verdict;
use super::history::Lane;
use super::rules::{g1, g2, g6};

/// See the module.
#[derive(Default)]
pub struct Groups {
    /// What each group was told is committed: generation and offset.
    committed: BTreeMap<(u8, Lane), (i32, i64)>,
    /// Who was given a partition in a generation.
    owners: BTreeMap<(u8, i32, Lane), u32>,
    pub commits: u64,
}

impl Groups {
    /// A member was given a partition.
    pub fn assigned(
        &mut self,
        group: u8,
        generation: i32,
        lane: Lane,
        member: u32,
        verdict: &mut Verdict,
    ) {
        let owner = *self.owners.entry((group, generation, lane)).or_insert(member);
        g1::one_owner(verdict, (lane, generation), (member, owner));
    }

    /// A commit was answered that was sent when `newest` was the newest generation of which one
    /// was.
    pub fn committed(
        &mut self,
        group: u8,
        (generation, newest): (i32, i32),
        lane: Lane,
        offset: i64,
        verdict: &mut Verdict,
    ) {
        self.commits += 1;
        g2::is_newest(verdict, (lane, offset), (generation, newest));
        let known = self.committed.entry((group, lane)).or_insert((generation, offset));
        *known = (known.0.max(generation), known.1.max(offset));
    }

    /// The newest generation of which a commit was answered.
    pub fn newest(&self, group: u8, lane: Lane) -> i32 {
        self.committed.get(&(group, lane)).map_or(-1, |known| known.0)
    }

    /// A member was told what is committed; it asked when `least` was.
    pub fn fetched(lane: Lane, least: i64, offset: i64, verdict: &mut Verdict) {
        g6::not_behind(verdict, lane, least, offset);
    }

    /// What a group was last told is committed.
    pub fn committed_offset(&self, group: u8, lane: Lane) -> i64 {
        self.committed.get(&(group, lane)).map_or(-1, |known| known.1)
    }
}

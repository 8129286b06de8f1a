//! I1 to I7: what clients were told against what they read.
//!
//! - Every acknowledged record is read where it was said to be (I1), and an offset has one value for
//!   ever (I2).
//! - What an idempotent producer sent is nowhere twice (I3), and in its order (I6).
//! - What was refused for good is never read (I4).
//! - A reader misses nothing and never goes back (I5), and reads nothing that was not yet sent (I7).

use std::collections::{BTreeMap, BTreeSet};

use super::Verdict;
use super::rules::{i1, i2, i3, i4, i6, i7};

/// A partition as clients name it: topic and number.
pub type Lane = (u8, i32);

/// A record's value: who sent it, and its number there.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Value {
    pub producer: u32,
    pub number: u32,
}

/// See the module.
#[derive(Default)]
pub struct History {
    /// What was acknowledged, where.
    pub acked: BTreeMap<(Lane, i64), Value>,
    /// What was read, where.
    pub read: BTreeMap<(Lane, i64), Value>,
    /// Where values of idempotent producers were read.
    places: BTreeMap<(Lane, Value), i64>,
    /// The last number of each idempotent producer that was read, by offset order.
    order: BTreeMap<(Lane, u32), (i64, u32)>,
    /// What was refused for good.
    pub refused: BTreeSet<Value>,
    idempotent: BTreeSet<u32>,
    /// How many records each producer has sent.
    sent: BTreeMap<u32, u32>,
}

impl History {
    /// A producer numbers its batches.
    pub fn is_idempotent(&mut self, producer: u32) {
        self.idempotent.insert(producer);
    }

    /// A producer has sent so many records.
    pub fn sent(&mut self, producer: u32, count: u32) {
        self.sent.insert(producer, count);
    }

    /// A record was acknowledged, with acks −1.
    pub fn acked(&mut self, lane: Lane, offset: i64, value: Value, verdict: &mut Verdict) {
        let before = *self.acked.entry((lane, offset)).or_insert(value);
        i2::one_value(verdict, (lane, offset), value, Some(before));
        i2::one_value(verdict, (lane, offset), value, self.read.get(&(lane, offset)).copied());
    }

    /// A record was read.
    pub fn read(&mut self, lane: Lane, offset: i64, value: Value, verdict: &mut Verdict) {
        let place = (lane, offset);
        if let Some(before) = self.read.insert(place, value) {
            return i2::one_value(verdict, place, value, Some(before));
        }
        i1::read(verdict, place, value, self.acked.get(&place).copied());
        let sent = self.sent.get(&value.producer).copied().unwrap_or(0);
        i7::was_sent(verdict, place, value, sent);
        i4::not_refused(verdict, place, value, self.refused.contains(&value));
        if !self.idempotent.contains(&value.producer) {
            return;
        }
        let first = *self.places.entry((lane, value)).or_insert(offset);
        i3::nowhere_twice(verdict, lane, value, first, offset);
        let last = self.order.entry((lane, value.producer)).or_insert((offset, value.number));
        if last.0 < offset {
            i6::in_order(verdict, place, value, *last);
            *last = (offset, value.number);
        }
    }

    /// Everything was read that there is, up to these ends: nothing acknowledged is missing (I1).
    pub fn check_the_end(&self, ends: &BTreeMap<Lane, i64>, verdict: &mut Verdict) {
        i1::all_read(verdict, &self.acked, &self.read, ends);
    }
}

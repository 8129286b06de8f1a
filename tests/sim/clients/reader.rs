//! A client that reads a partition from its beginning, and misses nothing.

use odradek::ids::{LeaderEpoch, Offset, Partition};
use odradek::record::Batch;
use odradek::wire::fetch::{FetchPartition, FetchRequest, FetchResponse};
use odradek::wire::{ApiKey, TopicRef, frame};

use super::link::Asked;
use super::{Leaders, Link, TOPICS};
use crate::sim::checkers::history::{Lane, Value};
use crate::sim::checkers::rules::{i5, r11};
use crate::sim::event::Event;
use crate::sim::world::World;

/// See the module.
pub struct Reader {
    id: u32,
    pub lane: Lane,
    pub offset: i64,
    /// What it asked for last, and whether a copy was rotten then: the answer may come after that one
    /// has healed.
    asked: i64,
    was_rotten: bool,
    is_out: bool,
    rest_until: u64,
    /// The end of what can be read, as it was last told.
    pub end: i64,
    /// The epoch it asked with, if it was an older one than its leader knew by then.
    stale: Option<LeaderEpoch>,
}

impl Reader {
    pub fn new(id: u32, lane: Lane) -> Reader {
        Reader {
            id,
            lane,
            offset: 0,
            asked: 0,
            was_rotten: false,
            is_out: false,
            rest_until: 0,
            end: -1,
            stale: None,
        }
    }

    /// Asks for more.
    pub fn go_on(&mut self, world: &mut World, link: &mut Link, leaders: &mut Leaders) {
        if self.is_out || world.us < self.rest_until || !link.refresh(world) {
            return;
        }
        let Some(&(leader, epoch)) = leaders.0.get(&self.lane) else { return link.doubt() };
        let knows = world.random.below(2) == 0;
        let known = world.epoch_at(leader, self.lane);
        self.stale = Some(epoch).filter(|epoch| knows && *epoch < known);
        let body = FetchRequest {
            max_wait_ms: 400,
            min_bytes: 1,
            max_bytes: 100_000,
            partitions: vec![FetchPartition {
                topic: TopicRef::Name(TOPICS[self.lane.0 as usize].0),
                partition: Partition(self.lane.1),
                offset: Offset(self.offset),
                current_leader_epoch: if knows { epoch } else { LeaderEpoch::NONE },
                max_bytes: 20_000,
            }],
        };
        self.is_out = true;
        self.asked = self.offset;
        self.was_rotten = world.is_rotten(self.lane);
        link.ask(world, leader, ApiKey::Fetch, (&body, &[]), Some(Asked::Role(0)));
    }

    /// Reads from the first record on, once more.
    pub fn begin_again(&mut self) {
        self.offset = 0;
    }

    /// No answer will come.
    pub fn unanswered(&mut self, _token: u64) {
        self.is_out = false;
    }

    /// An answer came; whether the leaders are to be asked for.
    pub fn answered(&mut self, world: &mut World, _token: u64, body: &[u8]) -> bool {
        self.is_out = false;
        let (response, mut raw): (FetchResponse, _) = frame::take(body).expect("an answer");
        let answer = &response.partitions[0];
        let (error, lane, asked) = (answer.error, self.lane, self.offset);
        if self.asked != asked {
            // It has begun again meanwhile.
            return false;
        }
        let rest = world.plan.pace_us;
        self.rest_until = world.us + 2000 + world.random.below(rest * 2);
        world.at(self.rest_until, Event::Client(self.id, 5));
        if !error.is_ok() {
            i5::refused(&mut world.checkers.verdict, lane, asked, error);
            return true;
        }
        let stale = self.stale.take();
        r11::answered(&mut world.checkers.verdict, lane, stale);
        self.end = self.end.max(answer.high_watermark.0);
        while !raw.is_empty() {
            let batch = Batch::split_first(raw).ok().filter(|(batch, _)| batch.crc_is_valid());
            let Some((batch, rest)) = batch else {
                // Whoever serves it has not found out yet.
                let words = || format!("a reader of {lane:?} at {} gets a bad batch", self.offset);
                world.checkers.hold(self.was_rotten || world.is_rotten(lane), "S4", words);
                self.rest_until = world.us + 300_000;
                return true;
            };
            self.read(world, &batch);
            raw = rest;
        }
        false
    }

    fn read(&mut self, world: &mut World, batch: &Batch<'_>) {
        let lane = self.lane;
        let header = batch.header();
        let asked = self.offset;
        let span = (header.base_offset.0, header.next_offset().0);
        i5::follows(&mut world.checkers.verdict, lane, asked, span);
        for (place, record) in batch.records().enumerate() {
            let offset = header.base_offset.0 + place as i64;
            let value = record.ok().and_then(|record| value_of(record.value?));
            let Some(value) = value else {
                world.checkers.blame("S4", "a record is not what anybody sent");
                return;
            };
            world.counts.read += 1;
            world.checkers.read(lane, offset, value);
        }
        self.offset = header.next_offset().0;
    }
}

fn value_of(bytes: &[u8]) -> Option<Value> {
    let number =
        |range: std::ops::Range<usize>| bytes.get(range)?.try_into().ok().map(u32::from_be_bytes);
    Some(Value { producer: number(0..4)?, number: number(4..8)? })
}

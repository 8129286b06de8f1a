//! A client that creates the topics.

use odradek::wire::create_topics::{
    ConfigEntry, CreateTopic, CreateTopicsRequest, CreateTopicsResponse,
};
use odradek::wire::{ApiKey, ErrorCode, frame};

use super::link::Asked;
use super::{Link, TOPICS};
use crate::sim::event::Event;
use crate::sim::world::World;

/// See the module.
pub struct Admin {
    id: u32,
    is_out: bool,
    rest_until: u64,
    pub is_done: bool,
}

impl Admin {
    pub fn new(id: u32) -> Admin {
        Admin { id, is_out: false, rest_until: 0, is_done: false }
    }

    /// Asks for the topics, until they are there.
    pub fn go_on(&mut self, world: &mut World, link: &mut Link) {
        if self.is_done || self.is_out || world.us < self.rest_until {
            return;
        }
        self.is_out = true;
        let weak = world.plan.weak;
        let configs = |place: usize| {
            let weak = weak.filter(|weak| weak.topic == place);
            weak.map_or(Vec::new(), |weak| {
                let entries = [("acks.durable", "false"), ("flush.ms", weak.flush_ms)];
                entries.map(|(key, value)| ConfigEntry { key, value }).to_vec()
            })
        };
        let topic = |(place, (name, partition_count)): (usize, &(&'static str, i32))| CreateTopic {
            name,
            partition_count: *partition_count,
            replication_factor: 3,
            configs: configs(place),
        };
        let topics = TOPICS.iter().enumerate().map(topic).collect();
        let body = CreateTopicsRequest { timeout_ms: 2000, validate_only: false, topics };
        let node = world.any_node();
        link.ask(world, node, ApiKey::CreateTopics, (&body, &[]), Some(Asked::Role(0)));
    }

    /// No answer will come.
    pub fn unanswered(&mut self, world: &mut World) {
        self.is_out = false;
        self.rest_until = world.us + 300_000;
        world.at(self.rest_until, Event::Client(self.id, 0));
    }

    /// An answer came.
    pub fn answered(&mut self, world: &mut World, body: &[u8]) -> bool {
        let response: CreateTopicsResponse<'_> = frame::decode(body).expect("an answer");
        let is_there = |error: ErrorCode| error.is_ok() || error == ErrorCode::TOPIC_ALREADY_EXISTS;
        self.is_done = response.topics.iter().all(|topic| is_there(topic.error));
        if !self.is_done {
            let answers: Vec<_> = response.topics.iter().map(|t| (t.error, t.message)).collect();
            world.trace.note(|| format!("topics are not created: {answers:?}"));
        }
        self.unanswered(world);
        false
    }
}

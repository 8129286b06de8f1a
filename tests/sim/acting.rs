//! What a node's machines want done: mail between its threads, frames, work for the disk.

use std::path::Path;

use bytes::Bytes;
use odradek::broker::control::ControlOutput;
use odradek::broker::front::Response;
use odradek::broker::mail::ShardId;
use odradek::broker::shard::{Event as ShardEvent, Output};
use odradek::broker::site::{Altered, Work, Worked, prove};
use odradek::broker::{CloseReason, ConnectionId};
use odradek::ids::{NodeId, TopicPartition};
use odradek::journal::disk::{Disk, DiskFile};
use odradek::journal::{Entry, SmallState};
use odradek::replica::Role;

use super::event::{DialFor, End, Event, Life, ToControl};
use super::node::{DIR, ScrubWork};
use super::world::World;
use crate::sim_disk::SimFile;

/// A response as bytes, or nothing when the disk has lost some of it.
fn bytes_of(response: Response<SimFile>) -> Option<Bytes> {
    let mut bytes = response.head;
    for (slice, behind) in response.tail {
        let start = bytes.len();
        bytes.resize(start + slice.bytes as usize, 0);
        slice.file.read_exact_at(&mut bytes[start..], slice.position).ok()?;
        bytes.extend(behind);
    }
    Some(bytes.into())
}

impl World {
    /// Hands an entry to the flusher.
    fn persist(&mut self, life: Life, entry: Entry<SimFile>) {
        if let Entry::State { topic_partition, state } = &entry {
            if !matches!(state, SmallState::HighWatermark(_)) {
                self.trace.note(|| format!("node {}: {topic_partition} {state:?}", life.node));
            }
        }
        let follows = self.followed(life, entry.topic_partition());
        let Some(running) = &mut self.boards.get_mut(&life.node).expect("a board").running else {
            return;
        };
        self.checkers.persist(running, &entry, follows);
        running.flusher.queue.push(entry);
    }

    /// Whom a node's replica of a partition follows, and in which epoch.
    fn followed(&self, life: Life, topic_partition: TopicPartition) -> Option<(i32, i32)> {
        let running = self.running(life.node)?;
        let owner = ShardId::owner(topic_partition, self.plan.shard_count(life.node));
        let mut partitions = running.shards[usize::from(owner.0)].partitions();
        let found = partitions.find(|(log, _)| log.topic_partition() == topic_partition);
        let replica = found?.1.filter(|replica| matches!(replica.role(), Role::Follower(_)))?;
        let state = replica.state();
        Some((state.leader?.0, state.leader_epoch.0))
    }

    /// Does what a shard wants done.
    pub fn act_shard(&mut self, life: Life, number: u16) {
        let at = usize::from(number);
        let from = ShardId(number);
        loop {
            let Some(running) = self.life(life) else { return };
            let Some(output) = running.shards[at].poll() else { return };
            match output {
                Output::Persist(entry) => self.persist(life, entry),
                Output::Respond(connection, response) => self.respond(life, connection, response),
                Output::Close(connection, reason) => {
                    if !matches!(reason, CloseReason::UnackedError(_)) {
                        self.trace.note(|| format!("node {} closes: {reason}", life.node));
                    }
                    self.hang_up(life, number, connection);
                }
                Output::Ask(to, ask) => self.mail_shard(life, at + 1, to, ShardEvent::Ask(ask)),
                Output::Reply(to, reply) => {
                    self.mail_shard(life, at + 1, to, ShardEvent::Reply(from, reply));
                }
                Output::Notice(to, notice) => {
                    self.mail_shard(life, at + 1, to, ShardEvent::Notice(from, notice));
                }
                Output::Peer(to, mail) => {
                    self.mail_shard(life, at + 1, to, ShardEvent::Peer(mail));
                }
                Output::Load(load) => {
                    let mut bytes = vec![0; load.bytes as usize];
                    let is_lost = load.file.read_at(&mut bytes, load.position).is_err();
                    let event = ShardEvent::Loaded { token: load.token, is_lost };
                    let at = self.soon(100, 20_000);
                    self.at(at, Event::Shard(life, number, Box::new(event)));
                }
                Output::Control(ask) => self.mail_control(life, at + 1, ToControl::Ask(ask)),
                Output::Applied(version) => {
                    self.mail_control(life, at + 1, ToControl::Applied(version));
                }
                Output::Retired(log) => {
                    self.mail_control(life, at + 1, ToControl::Retired(log));
                }
                Output::Alter(proposal) => {
                    self.mail_control(life, at + 1, ToControl::Alter(from, proposal));
                }
                Output::Dial(node, address) => {
                    self.dial_replica(life, number, node, address.is_some());
                }
                Output::Note(note) => self.give_scrubber(life, ScrubWork::Note(note)),
                Output::NoteProducers(topic_partition, note) => {
                    let work = ScrubWork::NoteProducers(number, topic_partition, note);
                    self.give_scrubber(life, work);
                }
                Output::Cut(topic_partition, cut) => {
                    self.give_scrubber(life, ScrubWork::Cut(number, topic_partition, cut));
                }
                Output::Scrub(job) => {
                    self.give_scrubber(life, ScrubWork::Verify(number, Box::new(job)));
                }
                Output::Release(_) => {}
                Output::Answer(..) | Output::Clean(_) | Output::HandOver(..) => {
                    unreachable!("no doors, no cleaner, and peers meet without a handshake")
                }
            }
        }
    }

    /// Does what a control machine wants done.
    pub fn act_control(&mut self, life: Life) {
        loop {
            let Some(running) = self.life(life) else { return };
            let Some(output) = running.site.poll() else { break };
            match output {
                ControlOutput::Prepare(mut making) => {
                    let (at, now) = (self.sync_done_at(life.node), self.now(life.node));
                    let made = making.run(&self.boards[&life.node].disk, Path::new(DIR), now);
                    self.at(at, Event::Control(life, ToControl::Prepared(making, made)));
                }
                ControlOutput::Persist(entry) => self.persist(life, entry),
                ControlOutput::Apply(shard, apply) => {
                    self.checkers.applied(life.node, &apply, &mut self.trace);
                    self.mail_shard(life, 0, shard, ShardEvent::Apply(apply));
                }
                ControlOutput::Answer(request, body) => {
                    let event = ShardEvent::Controlled(request, body);
                    self.mail_shard(life, 0, request.shard, event);
                }
                ControlOutput::Altered(shard, altered) => {
                    let Altered { topic_partition, partition_epoch, outcome } = altered;
                    if let Err(error) = &outcome {
                        let words = || format!("node {}: {topic_partition}: {error}", life.node);
                        self.trace.note(words);
                    }
                    let event = ShardEvent::Altered { topic_partition, partition_epoch, outcome };
                    self.mail_shard(life, 0, shard, event);
                }
                ControlOutput::Inform => {
                    for shard in 0..self.plan.shard_count(life.node) {
                        self.mail_shard(life, 0, ShardId(shard), ShardEvent::Informed);
                    }
                }
                ControlOutput::Configure => {}
                ControlOutput::Depart => return self.depart(life.node),
                ControlOutput::Remove(log) => {
                    self.checkers.copies.forget(life.node, log.topic_partition());
                    if let Ok(path) = log.retire() {
                        let _ = self.boards[&life.node].disk.remove_dir_all(&path);
                    }
                }
                ControlOutput::Work(work) => {
                    running.works.push_back(work);
                    if running.works.len() == 1 {
                        let at = self.sync_done_at(life.node);
                        self.at(at, Event::Work(life));
                    }
                }
                ControlOutput::Send(to, said) => {
                    let running = self.boards[&life.node].running.as_ref().expect("it says so");
                    self.checkers.said(running, &said);
                    if let Some(&(number, side)) = running_links(self, life, to) {
                        self.send(number, side, said.encode().into());
                    }
                }
            }
        }
        self.begin_flush(life);
    }

    fn mail_control(&mut self, life: Life, from: usize, input: ToControl) {
        self.mail(life, from, 0, Event::Control(life, input));
    }

    fn respond(&mut self, life: Life, connection: ConnectionId, response: Response<SimFile>) {
        let (number, side) = (connection.0 / 2, (connection.0 % 2) as usize);
        let ends = self.net.conns.get(&number).map(|conn| conn.ends);
        match bytes_of(response) {
            Some(bytes) => {
                if let Some([End::Shard(..), End::Shard(..)]) = ends {
                    self.checkers.answers(number, &bytes);
                }
                self.send(number, side, bytes);
            }
            None => self.break_conn(number),
        }
        let _ = life;
    }

    fn hang_up(&mut self, life: Life, shard: u16, connection: ConnectionId) {
        let (number, side) = (connection.0 / 2, (connection.0 % 2) as usize);
        self.close_conn(number, side);
        let event = ShardEvent::Closed(connection);
        self.at(self.us, Event::Shard(life, shard, Box::new(event)));
    }

    fn give_scrubber(&mut self, life: Life, work: ScrubWork) {
        let Some(running) = self.life(life) else { return };
        running.scrubs.push_back(work);
        if running.scrubs.len() == 1 {
            let at = self.sync_done_at(life.node);
            self.at(at, Event::Scrub(life));
        }
    }

    /// The worker of the control thread has done the first of its works.
    pub fn work(&mut self, life: Life) {
        let disk = self.boards[&life.node].disk.clone();
        let Some(running) = self.life(life) else { return };
        let Some(work) = running.works.pop_front() else { return };
        let has_more = !running.works.is_empty();
        let worked = match work {
            Work::Keep(keeps) => {
                let running = self.boards[&life.node].running.as_ref().expect("it was there");
                self.checkers.kept(running, &keeps);
                let path = Path::new(DIR);
                Worked::Kept(keeps.iter().try_for_each(|keep| keep.run(&disk, path)))
            }
            Work::Cut(cut) => Worked::Cut(cut.run()),
            Work::Prove => Worked::Proven(prove(&disk, Path::new(DIR))),
            Work::Load(file, position, bytes) => {
                let mut buffer = vec![0; bytes as usize];
                Worked::Loaded(file.read_at(&mut buffer, position).map(|_| ()))
            }
        };
        self.at(self.us + 1, Event::Control(life, ToControl::Worked(worked)));
        if has_more {
            let at = self.sync_done_at(life.node);
            self.at(at, Event::Work(life));
        }
    }

    /// The scrubber has done the first of its works.
    pub fn scrub(&mut self, life: Life) {
        let Some(running) = self.life(life) else { return };
        let Some(work) = running.scrubs.pop_front() else { return };
        let has_more = !running.scrubs.is_empty();
        let told = match work {
            ScrubWork::Note(note) => {
                let _ = note.save();
                None
            }
            ScrubWork::NoteProducers(shard, topic_partition, note) => {
                let saved = note.save().ok();
                Some((shard, ShardEvent::ProducersNoted(topic_partition, saved)))
            }
            ScrubWork::Cut(shard, topic_partition, cut) => {
                let done = cut.run();
                self.counts.truncations += u64::from(done.is_ok());
                Some((shard, ShardEvent::CutDone(topic_partition, done)))
            }
            ScrubWork::Verify(shard, mut job) => {
                let found = job.scrub.step(1 << 20).ok();
                Some((shard, ShardEvent::Scrubbed(*job, found)))
            }
        };
        if let Some((shard, event)) = told {
            self.at(self.us + 1, Event::Shard(life, shard, Box::new(event)));
        }
        if has_more {
            let at = self.sync_done_at(life.node);
            self.at(at, Event::Scrub(life));
        }
    }

    fn dial_replica(&mut self, life: Life, shard: u16, node: NodeId, is_known: bool) {
        let us = if is_known { self.dial_us(life.node, node.0) } else { 100 };
        self.at(self.us + us, Event::Dialed(DialFor::Replica(life, shard), node.0));
    }
}

fn running_links(world: &World, life: Life, to: NodeId) -> Option<&(u64, usize)> {
    world.running(life.node)?.links.get(&to.0)
}

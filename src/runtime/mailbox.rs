//! The threads' mailboxes: N × N bounded `heapless::spsc` queues between shards, one from each
//! shard to the flusher, and an inbox per thread for what is rare.
//!
//! A queue has one writer and one reader, so neither ever waits for the other
//! (`heapless::mpmc` may report full while a peer is preempted). What finds its queue full stays
//! with the sender, in order; credits (broker/mail.rs) bound how much that can be.
//!
//! The queues live as long as the process: they are leaked on purpose, so that their halves need
//! no lifetime.

use std::collections::VecDeque;
use std::sync::Arc;

use heapless::spsc::{Consumer, Producer, Queue};
use polling::Poller;

use crate::broker::mail::{Ask, Notice, PeerMail, Reply};
use crate::limits::MAILBOX_MESSAGES_MAX;

/// What one shard says to another.
#[derive(Debug)]
pub enum Mail<F> {
    /// To its back.
    Ask(Ask),
    /// To its front.
    Reply(Reply<F>),
    /// To either.
    Notice(Notice),
    /// From or for a broker elsewhere.
    Peer(PeerMail<F>),
}

/// The writing end of a queue, with what did not fit yet.
pub struct Outbox<T: 'static, const N: usize> {
    producer: Producer<'static, T, N>,
    overflow: VecDeque<T>,
}

impl<T, const N: usize> Outbox<T, N> {
    /// Sends now or, when the queue is full, with the next [`Outbox::pump`].
    pub fn send(&mut self, message: T) {
        self.overflow.push_back(message);
        self.pump();
    }

    /// Moves on what did not fit before.
    pub fn pump(&mut self) {
        while self.producer.ready() {
            let Some(message) = self.overflow.pop_front() else { return };
            let refused = self.producer.enqueue(message);
            assert!(refused.is_ok(), "the queue was ready and has one writer");
        }
    }

    /// Whether messages wait here for room.
    pub fn is_congested(&self) -> bool {
        !self.overflow.is_empty()
    }
}

/// A queue's two ends.
pub fn queue<T, const N: usize>() -> (Outbox<T, N>, Consumer<'static, T, N>) {
    // In place: `Box::new` would touch all of its memory, which most of the time nothing passes through.
    let queue: &'static mut Queue<T, N> = Box::leak(Box::default());
    let (producer, consumer) = queue.split();
    (Outbox { producer, overflow: VecDeque::new() }, consumer)
}

/// A shard's ends of the queues to and from the other shards; `None` at its own place.
pub struct ShardMail<F: 'static> {
    /// To each shard.
    pub outboxes: Vec<Option<Outbox<Mail<F>, MAILBOX_MESSAGES_MAX>>>,
    /// From each shard.
    pub inboxes: Vec<Option<Consumer<'static, Mail<F>, MAILBOX_MESSAGES_MAX>>>,
    /// Wakes each shard.
    pub wakers: Vec<Arc<Poller>>,
}

/// All queues between `wakers.len()` shards.
pub fn between_shards<F>(wakers: &[Arc<Poller>]) -> Vec<ShardMail<F>> {
    let count = wakers.len();
    let mut mails: Vec<ShardMail<F>> = (0..count)
        .map(|_| ShardMail {
            outboxes: (0..count).map(|_| None).collect(),
            inboxes: (0..count).map(|_| None).collect(),
            wakers: wakers.to_vec(),
        })
        .collect();
    for from in 0..count {
        for to in (0..count).filter(|to| *to != from) {
            let (outbox, inbox) = queue();
            mails[from].outboxes[to] = Some(outbox);
            mails[to].inboxes[from] = Some(inbox);
        }
    }
    mails
}

impl<F> ShardMail<F> {
    /// Sends to another shard and wakes it.
    pub fn send(&mut self, to: usize, mail: Mail<F>) {
        let outbox = self.outboxes[to].as_mut().expect("a shard does not write to itself");
        outbox.send(mail);
        // A poller that cannot be woken wakes by its timeout; nothing is lost.
        let _ = self.wakers[to].notify();
    }

    /// Moves on what did not fit before. Answers whether some still does not.
    pub fn pump(&mut self) -> bool {
        let mut is_congested = false;
        for (to, outbox) in self.outboxes.iter_mut().enumerate() {
            let Some(outbox) = outbox else { continue };
            if outbox.is_congested() {
                outbox.pump();
                let _ = self.wakers[to].notify();
                is_congested |= outbox.is_congested();
            }
        }
        is_congested
    }

    /// The next message, with the shard it is from.
    pub fn receive(&mut self) -> Option<(usize, Mail<F>)> {
        let mut inboxes = self.inboxes.iter_mut().enumerate();
        inboxes.find_map(|(from, inbox)| Some((from, inbox.as_mut()?.dequeue()?)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_does_not_fit_waits_in_order() {
        let (mut outbox, mut inbox) = queue::<u32, 4>();
        for message in 0..10 {
            outbox.send(message);
        }
        assert!(outbox.is_congested());
        let mut received = Vec::new();
        while let Some(message) = inbox.dequeue() {
            received.push(message);
            outbox.pump();
        }
        assert_eq!(received, (0..10).collect::<Vec<_>>());
        assert!(!outbox.is_congested());
    }
}

//! How a request under way comes to its end: by replies, by its deadline, or because nobody waits
//! for it any longer.

use super::gathering::gather;
use super::{Front, FrontOutput, Gathering, Ready};
use crate::broker::mail::{Ask, AskBody, Notice, Reply, ReplyBody, RequestId, ShardId};
use crate::broker::{CloseReason, assemble};
use crate::time::Now;
use crate::wire::produce::ProducedPartition;
use crate::wire::{ErrorCode, ResponseHeader};

impl<F: Clone> Front<F> {
    /// A back of shard `from` answered.
    pub fn replied(&mut self, now: Now, from: ShardId, reply: Reply<F>) {
        self.return_credit(from);
        let number = reply.request.number;
        let Some(pending) = self.pending.get_mut(&number) else {
            if matches!(
                reply.body,
                ReplyBody::Fetched { is_watching: true, .. }
                    | ReplyBody::Group { is_parked: true, .. }
            ) {
                let notice = Notice::Unwatch(reply.request);
                self.outputs.push_back(FrontOutput::Notice { to: from, notice });
            }
            return;
        };
        pending.replies_due -= 1;
        gather(&mut pending.gathering, from, reply.body);
        if pending.replies_due == 0 {
            self.round_complete(now, number);
        }
    }

    fn round_complete(&mut self, now: Now, number: u64) {
        let pending = self.pending.get(&number).expect("its replies are in");
        match &pending.gathering {
            Gathering::Fetch(fetch) if !fetch.is_enough() => {
                if fetch.is_stale {
                    self.ask_fetch_again(number);
                }
            }
            Gathering::Group(group) if group.is_parked() => {}
            _ => self.complete(now, number),
        }
    }

    fn ask_fetch_again(&mut self, number: u64) {
        let pending = self.pending.get_mut(&number).expect("it is asked for again");
        let Gathering::Fetch(fetch) = &mut pending.gathering else { return };
        fetch.is_stale = false;
        fetch.watching.clear();
        let asks = fetch.asks();
        for (to, body) in asks {
            self.send_ask(to, Ask { request: self.request_id(number), body });
        }
    }

    /// A back gave notice.
    pub fn progressed(&mut self, from: ShardId, request: RequestId) {
        let number = request.number;
        let Some(pending) = self.pending.get_mut(&number) else { return };
        if let Gathering::Group(group) = &mut pending.gathering {
            group.parked.remove(&from);
            self.send_ask(from, Ask { request, body: AskBody::GroupAnswers });
            return;
        }
        let Gathering::Fetch(fetch) = &mut pending.gathering else { return };
        fetch.watching.remove(&from);
        if 0 < pending.replies_due {
            fetch.is_stale = true;
        } else {
            self.ask_fetch_again(number);
        }
    }

    pub(super) fn expire(&mut self, now: Now, number: u64) {
        let Some(pending) = self.pending.get_mut(&number) else { return };
        match &mut pending.gathering {
            Gathering::Fetch(fetch) => {
                fetch.is_last_round = true;
                // Replies that are under way carry what is there; else it is read once more.
                if pending.replies_due == 0 {
                    self.ask_fetch_again(number);
                }
            }
            Gathering::Produce { results, .. } => {
                for missing in results.iter_mut().filter(|result| result.is_none()) {
                    *missing = Some(ProducedPartition::failed(ErrorCode::REQUEST_TIMED_OUT));
                }
                self.metrics.produce_timeout_count += 1;
                self.complete(now, number);
            }
            _ => self.complete(now, number),
        }
    }

    pub(super) fn abandon(&mut self, number: u64) {
        let Some(pending) = self.pending.remove(&number) else { return };
        self.deadlines.remove(&(pending.deadline, number));
        self.release(pending.frame_bytes);
        self.unwatch(number, &pending.gathering);
    }

    fn unwatch(&mut self, number: u64, gathering: &Gathering<F>) {
        let watching = match gathering {
            Gathering::Fetch(fetch) => &fetch.watching,
            Gathering::Group(group) => &group.parked,
            _ => return,
        };
        let request = self.request_id(number);
        for to in watching {
            let notice = Notice::Unwatch(request);
            self.outputs.push_back(FrontOutput::Notice { to: *to, notice });
        }
    }

    pub(in super::super) fn complete(&mut self, now: Now, number: u64) {
        let pending = self.pending.remove(&number).expect("completed once");
        self.deadlines.remove(&(pending.deadline, number));
        self.release(pending.frame_bytes);
        self.unwatch(number, &pending.gathering);
        self.metrics.observe(now, pending.since, &pending.gathering);
        let connection = pending.connection;
        match pending.gathering {
            Gathering::Produce { acks: 0, results, .. } => {
                let failed = results.iter().flatten().find(|result| !result.error.is_ok());
                if let Some(failed) = failed {
                    self.close(connection, CloseReason::UnackedError(failed.error));
                }
            }
            Gathering::MetadataAfterCreate { body } => {
                self.metadata(now, connection, number, pending.correlation_id, &body, false);
            }
            Gathering::MetadataLater { body } => {
                self.metadata(now, connection, number, pending.correlation_id, &body, true);
            }
            Gathering::GroupAfterCreate(request) => {
                self.group_after_create(now, connection, number, pending.correlation_id, request);
            }
            gathering => {
                let ready = if self.has_door(connection) {
                    Ready::Door(assemble::answer(gathering))
                } else {
                    let correlation_id = pending.correlation_id;
                    let header = ResponseHeader { correlation_id, throttle_time_ms: 0 };
                    Ready::Frame(assemble::response(header, gathering))
                };
                self.fill_slot(connection, number, ready);
            }
        }
    }

    /// The control thread answered: `body` is the body of the response.
    pub fn controlled(&mut self, now: Now, request: RequestId, body: Vec<u8>) {
        let Some(pending) = self.pending.get(&request.number) else { return };
        if matches!(
            pending.gathering,
            Gathering::MetadataAfterCreate { .. } | Gathering::GroupAfterCreate(_)
        ) {
            self.complete(now, request.number);
            return;
        }
        let pending = self.pending.remove(&request.number).expect("found above");
        self.release(pending.frame_bytes);
        let ready = self.ready_body(pending.connection, pending.correlation_id, body);
        self.fill_slot(pending.connection, request.number, ready);
    }
}

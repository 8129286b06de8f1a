//! The member's machine, step by step: inputs, and what it asks for.

use super::*;

const MS: Duration = Duration::from_millis(1);

struct Step {
    machine: Membership,
    now: Instant,
}

impl Step {
    fn new(is_static: bool) -> Step {
        let now = Instant::now();
        let rules = Rules {
            session_timeout: 45_000 * MS,
            heartbeat_interval: 3_000 * MS,
            max_poll_interval: 300_000 * MS,
            retry_backoff: 100 * MS,
            retry_backoff_max: 1_000 * MS,
            is_static,
        };
        Step { machine: Membership::new(now, rules), now }
    }

    /// Subscribed, connected, and polled once.
    fn begun(is_static: bool) -> Step {
        let mut step = Step::new(is_static);
        step.machine.subscribe();
        step.machine.connected(step.now);
        step.machine.polled(step.now);
        step
    }

    /// A stable follower in generation 5.
    fn stable(is_static: bool) -> Step {
        let mut step = Step::begun(is_static);
        step.prepare(false);
        let epoch = step.join();
        step.joined(epoch, ErrorCode::NONE, "m", "somebody");
        let (epoch, assignments) = step.sync();
        assert_eq!(assignments, []);
        step.machine.synced(step.now, epoch, Ok(vec![7]));
        step.check(&[Output::Assigned { assignment: vec![7] }]);
        step
    }

    fn outputs(&mut self) -> Vec<Output> {
        self.machine.tick(self.now);
        std::iter::from_fn(|| self.machine.poll()).collect()
    }

    fn check(&mut self, expected: &[Output]) {
        assert_eq!(self.outputs(), expected);
    }

    fn pass(&mut self, time: Duration) {
        self.now += time;
    }

    /// Expects to be asked to give up partitions, and does.
    fn prepare(&mut self, is_lost: bool) {
        let outputs = self.outputs();
        let [Output::Prepare { number, is_lost: was_lost }] = outputs[..] else {
            panic!("{outputs:?}")
        };
        assert_eq!(was_lost, is_lost);
        self.machine.prepared(self.now, number);
    }

    fn join(&mut self) -> u64 {
        let outputs = self.outputs();
        let [Output::Join { epoch }] = outputs[..] else { panic!("{outputs:?}") };
        epoch
    }

    fn joined(&mut self, epoch: u64, error: ErrorCode, member_id: &str, leader: &str) {
        let answer = Joined {
            error,
            generation: if error.is_ok() { 5 } else { -1 },
            protocol: "range".to_owned(),
            leader: leader.to_owned(),
            skip_assignment: false,
            member_id: member_id.to_owned(),
            members: Vec::new(),
        };
        self.machine.joined(self.now, epoch, answer);
    }

    fn sync(&mut self) -> (u64, Vec<(String, Vec<u8>)>) {
        let outputs = self.outputs();
        let [Output::Sync { epoch, protocol, assignments }] = &outputs[..] else {
            panic!("{outputs:?}")
        };
        assert_eq!(protocol, "range");
        (*epoch, assignments.clone())
    }

    fn heartbeat(&mut self) -> u64 {
        let outputs = self.outputs();
        let [Output::Heartbeat { epoch }] = outputs[..] else { panic!("{outputs:?}") };
        epoch
    }
}

/// Nothing happens before the user polls; then prepare, join, join with the id, sync.
#[test]
fn a_member_joins_with_the_id_it_was_given() {
    let mut step = Step::new(false);
    step.machine.subscribe();
    step.machine.connected(step.now);
    step.check(&[]);
    assert!(step.machine.wants_poll() && !step.machine.wants_coordinator());
    step.machine.polled(step.now);
    step.prepare(false);
    let epoch = step.join();
    step.joined(epoch, ErrorCode::MEMBER_ID_REQUIRED, "m-1", "");
    assert_eq!(step.machine.identity().member_id, "m-1");
    let epoch = step.join();
    step.joined(epoch, ErrorCode::NONE, "m-1", "m-1");
    let members = Vec::new();
    step.check(&[Output::Assign { protocol: "range".to_owned(), members }]);
    let assignments = vec![("m-1".to_owned(), vec![1])];
    step.machine.assigned(step.now, assignments.clone());
    let (epoch, sent) = step.sync();
    assert_eq!(sent, assignments);
    assert!(!step.machine.can_commit(), "not before the assignment is known");
    step.machine.synced(step.now, epoch, Ok(vec![1]));
    step.check(&[Output::Assigned { assignment: vec![1] }]);
    assert!(step.machine.can_commit());
    assert_eq!(step.machine.identity().generation, 5);
}

#[test]
fn heartbeats_follow_their_interval_one_at_a_time() {
    let mut step = Step::stable(false);
    step.pass(2_999 * MS);
    step.check(&[]);
    step.pass(MS);
    assert_eq!(step.machine.next_deadline(), Some(step.now));
    let epoch = step.heartbeat();
    step.pass(3_000 * MS);
    step.check(&[]);
    step.machine.heartbeat_answered(step.now, epoch, ErrorCode::NONE);
    step.heartbeat();
}

/// A rebalance: the user gives up what it must first, while heartbeats go on (KIP-62).
#[test]
fn a_rebalance_waits_for_the_user() {
    let mut step = Step::stable(false);
    step.pass(3_000 * MS);
    let epoch = step.heartbeat();
    step.machine.heartbeat_answered(step.now, epoch, ErrorCode::REBALANCE_IN_PROGRESS);
    let outputs = step.outputs();
    let [Output::Prepare { number, is_lost: false }] = outputs[..] else { panic!("{outputs:?}") };
    assert!(step.machine.can_commit(), "what was read is committed in the old generation");
    step.pass(3_000 * MS);
    let epoch = step.heartbeat();
    step.machine.heartbeat_answered(step.now, epoch, ErrorCode::REBALANCE_IN_PROGRESS);
    step.check(&[]);
    step.machine.prepared(step.now, number + 1);
    step.check(&[]);
    step.machine.prepared(step.now, number);
    let epoch = step.join();
    assert!(!step.machine.can_commit());
    step.pass(60_000 * MS);
    step.check(&[]);
    step.joined(epoch, ErrorCode::NONE, "m", "other");
    let (epoch, _) = step.sync();
    step.machine.synced(step.now, epoch, Err(ErrorCode::REBALANCE_IN_PROGRESS));
    step.check(&[]);
    step.pass(100 * MS);
    step.join();
}

/// Whoever lost its place says so before it joins again, with no id if the group knows it no more.
#[test]
fn a_fenced_member_has_lost_its_partitions() {
    for code in [ErrorCode::UNKNOWN_MEMBER_ID, ErrorCode::ILLEGAL_GENERATION] {
        let mut step = Step::stable(false);
        step.pass(3_000 * MS);
        let epoch = step.heartbeat();
        step.machine.heartbeat_answered(step.now, epoch, code);
        let is_known = code == ErrorCode::ILLEGAL_GENERATION;
        let member_id = if is_known { "m" } else { "" }.to_owned();
        assert_eq!(step.machine.identity(), &Identity { member_id, generation: -1 });
        step.prepare(true);
        step.join();
        let mut step = Step::stable(false);
        step.machine.commit_refused(step.now, 4, code);
        step.check(&[]);
        step.machine.commit_refused(step.now, 5, code);
        step.prepare(true);
    }
    let mut step = Step::stable(true);
    step.machine.commit_refused(step.now, 5, ErrorCode::FENCED_INSTANCE_ID);
    step.check(&[Output::Failed(ClientError::Broker(ErrorCode::FENCED_INSTANCE_ID))]);
    step.machine.polled(step.now);
    step.check(&[]);
}

/// Fenced while the user gives up partitions: it is told that they are lost, and its answer to
/// the earlier question does not count.
#[test]
fn fenced_while_preparing() {
    let mut step = Step::stable(false);
    step.machine.rejoin();
    let outputs = step.outputs();
    let [Output::Prepare { number, is_lost: false }] = outputs[..] else { panic!("{outputs:?}") };
    step.machine.commit_refused(step.now, 5, ErrorCode::UNKNOWN_MEMBER_ID);
    step.machine.prepared(step.now, number);
    step.prepare(true);
    step.join();
}

/// `max.poll.interval.ms`: it leaves, and what it had is lost when it comes back.
#[test]
fn who_does_not_poll_leaves() {
    let mut step = Step::stable(false);
    let end = step.now + 300_000 * MS;
    while step.now < end {
        step.pass(3_000 * MS);
        if step.now < end {
            let epoch = step.heartbeat();
            step.machine.heartbeat_answered(step.now, epoch, ErrorCode::NONE);
        }
    }
    let reason = "the consumer did not poll for max.poll.interval.ms";
    step.check(&[Output::Leave { member_id: "m".to_owned(), reason }]);
    assert_eq!(step.machine.next_deadline(), None);
    step.pass(1_000 * MS);
    step.machine.polled(step.now);
    step.prepare(true);
    step.join();
}

/// A static member does not leave: its partitions wait for it (KIP-345).
#[test]
fn static_members_do_not_leave() {
    let mut step = Step::stable(true);
    step.machine.leave("closing");
    step.check(&[]);
    let mut step = Step::stable(false);
    step.machine.leave("closing");
    step.check(&[Output::Leave { member_id: "m".to_owned(), reason: "closing" }]);
    step.machine.polled(step.now);
    step.check(&[]);
}

#[test]
fn what_is_unanswered_when_the_connection_breaks_is_asked_again() {
    let mut step = Step::begun(false);
    step.prepare(false);
    let lost = step.join();
    step.machine.disconnected();
    step.check(&[]);
    step.machine.connected(step.now);
    let epoch = step.join();
    step.joined(epoch, ErrorCode::NONE, "m", "other");
    step.sync();
    step.machine.disconnected();
    step.machine.connected(step.now);
    let again = step.join();
    // Answers to requests of before change nothing.
    step.joined(lost, ErrorCode::UNKNOWN_MEMBER_ID, "", "");
    step.machine.synced(step.now, epoch, Ok(vec![9]));
    step.check(&[]);
    step.joined(again, ErrorCode::NONE, "m", "other");
    step.sync();
}

#[test]
fn a_silent_coordinator_is_left() {
    let mut step = Step::stable(false);
    step.pass(3_000 * MS);
    step.heartbeat();
    step.pass(42_000 * MS);
    step.check(&[Output::Rediscover]);
    step.machine.disconnected();
    step.machine.connected(step.now);
    step.heartbeat();
}

/// Retriable refusals of a join wait longer each time; others are the user's to hear, and the
/// next poll tries again.
#[test]
fn refused_joins() {
    let mut step = Step::begun(false);
    step.prepare(false);
    for pause in [100, 200, 400, 800, 1_000, 1_000] {
        let epoch = step.join();
        step.joined(epoch, ErrorCode::COORDINATOR_LOAD_IN_PROGRESS, "", "");
        assert_eq!(step.machine.next_deadline(), Some(step.now + pause * MS));
        step.pass(pause * MS);
    }
    let epoch = step.join();
    step.joined(epoch, ErrorCode::NOT_COORDINATOR, "", "");
    step.check(&[Output::Rediscover]);
    step.pass(1_000 * MS);
    let epoch = step.join();
    step.joined(epoch, ErrorCode::INCONSISTENT_GROUP_PROTOCOL, "", "");
    let error = ClientError::Broker(ErrorCode::INCONSISTENT_GROUP_PROTOCOL);
    step.check(&[Output::Failed(error)]);
    step.check(&[]);
    step.machine.polled(step.now);
    step.prepare(true);
    step.join();
}

/// Another subscription while a join is on its way, or an assignment: one more round.
#[test]
fn what_changes_during_a_join_makes_another() {
    let mut step = Step::begun(false);
    step.machine.subscribe();
    step.prepare(false);
    step.machine.subscribe();
    let epoch = step.join();
    step.machine.subscribe();
    step.joined(epoch, ErrorCode::NONE, "m", "other");
    let (epoch, _) = step.sync();
    step.machine.synced(step.now, epoch, Ok(vec![7]));
    let outputs = step.outputs();
    let [Output::Assigned { .. }, Output::Prepare { is_lost: false, .. }] = outputs[..] else {
        panic!("{outputs:?}")
    };
}

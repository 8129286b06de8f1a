//! What happens in the demo: the site comes together, is fed, is broken by keys or by the script,
//! and is held to what it acknowledged.

use std::collections::VecDeque;
use std::sync::mpsc::Receiver;
use std::thread;
use std::time::{Duration, Instant};

use odradek::client::{ClientError, NewTopic, Refusal};
use odradek::runtime::signals::{self, Signal};
use odradek::wire::ErrorCode;

use super::feed::Feed;
use super::keys::{Keys, Wish};
use super::ledger::{Ledger, Totals};
use super::panel::{Panel, Rates};
use super::screen::{self, Screen};
use super::sensor;
use super::site::{self, BOARDS, BROKERS, Site, State};
use super::watch::{self, PartitionView, TOPIC, Watch};
use crate::cli::{CliError, print, say};

/// Partitions of the topic: one for each sensor, and for each broker.
const PARTITIONS: usize = 3;

/// How long the site may take to come together, on a busy machine.
const FORMING: Duration = Duration::from_secs(60);

/// How long the end may be put off for a failover that is under way, and for what is not
/// acknowledged or read by then.
const GRACE: Duration = Duration::from_secs(30);

/// Time between two looks, and between two pictures.
const TICK: Duration = Duration::from_millis(20);
const PICTURE: Duration = Duration::from_millis(200);

/// What is remembered of what happened.
const NEWS_MAX: usize = 20;

/// When the script kills a leader and when it brings it back, as parts of the run.
const KILL_AT: f64 = 0.4;
const RESTART_AT: f64 = 0.7;

/// See the module. Drops in this order: the screen is given back before anything is said.
struct Play {
    screen: Option<Screen>,
    site: Site,
    signals: Receiver<Signal>,
    start: Instant,
    news: VecDeque<String>,
    rates: Rates,
    keys: Keys,
    next_picture: Instant,
    leaders_killed: u64,
    /// Failovers that were told of.
    failovers_told: usize,
}

/// A run by the clock.
#[derive(Clone, Copy, Debug)]
struct Script {
    /// How long it takes; `None` until somebody ends it.
    length: Option<Duration>,
    kills_leader: bool,
    /// The board that it killed.
    victim: Option<usize>,
    has_restarted: bool,
}

/// Runs the demo.
pub fn run(length: Option<Duration>, kills_leader: bool) -> Result<(), CliError> {
    let hook = std::panic::take_hook();
    std::panic::set_hook(Box::new(move |panic| {
        screen::restore();
        site::sweep();
        hook(panic);
    }));
    let signals = signals::listen().map_err(CliError::failed)?;
    let site = Site::start().map_err(|why| CliError::failed(format_args!("the site: {why}")))?;
    let now = Instant::now();
    let mut play = Play {
        screen: None,
        site,
        signals,
        start: now,
        news: VecDeque::new(),
        rates: Rates::default(),
        keys: Keys::default(),
        next_picture: now,
        leaders_killed: 0,
        failovers_told: 0,
    };
    play.note(&format!("{BROKERS} brokers and a witness start"));
    if !play.form()? {
        return Ok(());
    }
    play.perform(Script { length, kills_leader, victim: None, has_restarted: false })
}

impl Play {
    /// Says what happens: on the screen, or to stderr.
    fn note(&mut self, words: &str) {
        let words = format!("{:7.1} s  {words}", self.start.elapsed().as_secs_f64());
        if self.screen.is_none() {
            say(format_args!("{words}"));
        }
        self.news.push_back(words);
        if NEWS_MAX < self.news.len() {
            self.news.pop_front();
        }
    }

    /// Waits until the site is whole and has the topic; answers whether it is to go on.
    fn form(&mut self) -> Result<bool, CliError> {
        let deadline = Instant::now() + FORMING;
        let servers = self.site.bootstrap_servers();
        let mut is_made = false;
        let mut why = String::new();
        while Instant::now() < deadline {
            if self.signals.try_recv().is_ok() {
                return Ok(false);
            }
            if let Some(place) = self.site.take_fallen() {
                let words = self.site.last_words(place);
                let node = place + 1;
                return Err(CliError::failed(format_args!("node {node} ended: {words}")));
            }
            let step = if is_made { is_in_sync(&servers) } else { make_topic(&servers) };
            match step {
                Ok(true) if is_made => {
                    self.note(&format!(
                        "topic {TOPIC} is there, {PARTITIONS} x {BROKERS} replicas"
                    ));
                    return Ok(true);
                }
                Ok(is_done) => is_made |= is_done,
                Err(error) => why = error,
            }
            thread::sleep(Duration::from_millis(100));
        }
        let words: Vec<String> = (0..BOARDS)
            .map(|place| format!("{}: {}", place + 1, self.site.last_words(place)))
            .collect();
        let words = words.join("\n");
        Err(CliError::failed(format_args!("the site does not come together: {why}\n{words}")))
    }

    fn perform(mut self, mut script: Script) -> Result<(), CliError> {
        let failed = |why: ClientError| CliError::failed(why);
        let addresses = self.site.boards()[..BROKERS].iter().map(|board| board.address.clone());
        let addresses: Vec<String> = addresses.collect();
        let watch = Watch::start(&addresses).map_err(CliError::failed)?;
        let servers = self.site.bootstrap_servers();
        let feed = Feed::start(&servers, sensor::sensors(), PARTITIONS).map_err(failed)?;
        self.screen = Screen::open().map_err(CliError::failed)?;
        self.start = Instant::now();
        let mut is_over = false;
        while !is_over {
            is_over = self.tick(&watch, &feed, &mut script)?;
            thread::sleep(TICK);
        }
        let length = self.start.elapsed();
        feed.rest();
        self.settle(&watch, &feed)?;
        let verdict = {
            let ledger = feed.ledger();
            Verdict {
                totals: ledger.totals(),
                missing: ledger.unread_count(),
                failovers: ledger.failovers().to_vec(),
                is_failing_over: ledger.is_failing_over(),
                leaders_killed: self.leaders_killed,
                length,
            }
        };
        self.screen = None;
        feed.stop();
        drop(self);
        print(format_args!("{}", verdict.line()))?;
        verdict.judge(script.kills_leader)
    }

    /// One look at everything; answers whether it is time to end.
    fn tick(&mut self, watch: &Watch, feed: &Feed, script: &mut Script) -> Result<bool, CliError> {
        let now = Instant::now();
        let partitions = watch.partitions(now);
        if self.signals.try_recv().is_ok() {
            return Ok(true);
        }
        if let Some(place) = self.site.take_fallen() {
            let words = self.site.last_words(place);
            self.note(&format!("node {} ended by itself: {words}", place + 1));
        }
        while let Some(key) = self.screen.as_ref().and_then(Screen::take_key) {
            match self.keys.press(key) {
                Some(Wish::Quit) => return Ok(true),
                Some(wish) => self.grant(wish, &partitions, feed)?,
                None => {}
            }
        }
        let is_over = self.follow(script, &partitions, feed)?;
        let failovers = feed.ledger().failovers().to_vec();
        for failover in failovers.iter().skip(self.failovers_told) {
            self.note(&format!("acknowledgements go on, after {} ms", failover.as_millis()));
        }
        self.failovers_told = failovers.len();
        self.draw(now, &partitions, feed)?;
        Ok(is_over)
    }

    /// Does what the script says; answers whether the run is over.
    fn follow(
        &mut self,
        script: &mut Script,
        partitions: &[PartitionView],
        feed: &Feed,
    ) -> Result<bool, CliError> {
        let Some(length) = script.length else { return Ok(false) };
        let elapsed = self.start.elapsed();
        if script.kills_leader && script.victim.is_none() && length.mul_f64(KILL_AT) <= elapsed {
            let leader = partitions.iter().find_map(|one| one.leader);
            if let Some(leader) = leader {
                let place = (leader.0 - 1) as usize;
                script.victim = Some(place);
                self.grant(Wish::Kill(place), partitions, feed)?;
            }
        }
        if let Some(place) = script.victim {
            if !script.has_restarted && length.mul_f64(RESTART_AT) <= elapsed {
                script.has_restarted = true;
                self.grant(Wish::Restart(place), partitions, feed)?;
            }
        }
        let waits =
            script.kills_leader && (script.victim.is_none() || feed.ledger().is_failing_over());
        Ok(length <= elapsed && (!waits || length + GRACE <= elapsed))
    }

    /// Does to a board what somebody wishes.
    fn grant(
        &mut self,
        wish: Wish,
        partitions: &[PartitionView],
        feed: &Feed,
    ) -> Result<(), CliError> {
        let failed = |why: std::io::Error| CliError::failed(why);
        match wish {
            Wish::Kill(place) => {
                let led = led_by(partitions, place);
                if self.site.kill(place).map_err(failed)? {
                    self.note(&format!("node {} is killed; it led {}", place + 1, named(&led)));
                    self.leaders_killed += u64::from(!led.is_empty());
                    feed.ledger().begin_outage(Instant::now(), &led);
                }
            }
            Wish::Pause(place) => match self.site.boards()[place].state() {
                State::Runs => {
                    let led = led_by(partitions, place);
                    self.site.pause(place, true).map_err(failed)?;
                    self.note(&format!("node {} is paused; it led {}", place + 1, named(&led)));
                    feed.ledger().begin_outage(Instant::now(), &led);
                }
                State::Paused => {
                    self.site.pause(place, false).map_err(failed)?;
                    self.note(&format!("node {} goes on", place + 1));
                }
                State::Down => self.note(&format!("node {} is down", place + 1)),
            },
            Wish::Restart(place) => match self.site.boards()[place].state() {
                State::Down => {
                    self.site.restart(place).map_err(failed)?;
                    self.note(&format!("node {} is started again", place + 1));
                }
                State::Paused => return self.grant(Wish::Pause(place), partitions, feed),
                State::Runs => self.note(&format!("node {} runs", place + 1)),
            },
            Wish::Quit => {}
        }
        Ok(())
    }

    /// Gives what is under way time to be acknowledged and read, by boards that all run: what only one
    /// that is down has would be taken for lost.
    fn settle(&mut self, watch: &Watch, feed: &Feed) -> Result<(), CliError> {
        for place in 0..BOARDS {
            match self.site.boards()[place].state() {
                State::Runs => {}
                State::Paused => self.site.pause(place, false).map_err(CliError::failed)?,
                State::Down => self.site.restart(place).map_err(CliError::failed)?,
            }
        }
        let deadline = Instant::now() + GRACE;
        let is_open =
            |ledger: &Ledger| 0 < ledger.unacknowledged_count() || 0 < ledger.unread_count();
        while is_open(&feed.ledger()) && Instant::now() < deadline {
            if self.signals.try_recv().is_ok() || self.is_quit() {
                break;
            }
            let now = Instant::now();
            self.draw(now, &watch.partitions(now), feed)?;
            thread::sleep(TICK);
        }
        Ok(())
    }

    /// Whether somebody pressed `q`; other keys come too late.
    fn is_quit(&mut self) -> bool {
        let mut keys = std::iter::from_fn(|| self.screen.as_ref().and_then(Screen::take_key));
        keys.any(|key| self.keys.press(key) == Some(Wish::Quit))
    }

    fn draw(
        &mut self,
        now: Instant,
        partitions: &[PartitionView],
        feed: &Feed,
    ) -> Result<(), CliError> {
        let Some(screen) = self.screen.as_ref().filter(|_| self.next_picture <= now) else {
            return Ok(());
        };
        self.next_picture = now + PICTURE;
        let trouble = feed.trouble();
        let ledger = feed.ledger();
        let rates = self.rates.update(now, ledger.acknowledged_by_partition().collect());
        let panel = Panel {
            elapsed: self.start.elapsed(),
            boards: self.site.boards(),
            partitions,
            rates: &rates,
            ledger: &ledger,
            trouble: trouble.as_deref(),
            news: &self.news,
            has_keys: screen.has_keys(),
        };
        let lines = panel.lines();
        drop(ledger);
        screen.show(&lines).map_err(CliError::failed)
    }
}

/// The partitions that a board leads.
fn led_by(partitions: &[PartitionView], place: usize) -> Vec<usize> {
    let node = place as i32 + 1;
    let led = partitions.iter().enumerate();
    let led = led.filter(|(_, one)| one.leader.is_some_and(|leader| leader.0 == node));
    led.map(|(partition, _)| partition).collect()
}

fn named(partitions: &[usize]) -> String {
    match partitions {
        [] => "nothing".to_owned(),
        [one] => format!("partition {one}"),
        more => {
            let more: Vec<String> = more.iter().map(usize::to_string).collect();
            format!("partitions {}", more.join(", "))
        }
    }
}

/// Makes the topic once all brokers are there; answers whether it is made.
fn make_topic(servers: &str) -> Result<bool, String> {
    let words = |why: ClientError| why.to_string();
    let admin = watch::admin(servers).map_err(words)?;
    if admin.describe_cluster().map_err(words)?.brokers.len() < BROKERS {
        return Err("not all brokers are there".to_owned());
    }
    // While two vote both are needed: a board that were killed now would be waited for.
    if admin.describe_quorum().map_err(words)?.voters().count() < BROKERS {
        return Err("not all brokers vote".to_owned());
    }
    let topic = NewTopic::new(TOPIC)
        .partitions(PARTITIONS as i32)
        .replication_factor(BROKERS as i16)
        .config("min.insync.replicas", "2");
    match admin.create_topics(&[topic]).map_err(words)?.pop() {
        Some(Ok(_) | Err(Refusal { error: ErrorCode::TOPIC_ALREADY_EXISTS, .. })) => Ok(true),
        Some(Err(refusal)) => Err(refusal.to_string()),
        None => Ok(false),
    }
}

/// Whether every replica of the topic is in sync.
fn is_in_sync(servers: &str) -> Result<bool, String> {
    let admin = watch::admin(servers).map_err(|why| why.to_string())?;
    let described = admin.describe_topics(&[TOPIC]).map_err(|why| why.to_string())?.pop();
    match described {
        Some(Ok(topic)) => {
            let is_whole = topic.partitions.len() == PARTITIONS
                && topic
                    .partitions
                    .iter()
                    .all(|one| one.isr.len() == BROKERS && one.leader.is_some());
            if is_whole {
                Ok(true)
            } else {
                Err(format!("not all in sync: {:?}", topic.partitions))
            }
        }
        Some(Err(code)) => Err(code.text().to_owned()),
        None => Ok(false),
    }
}

/// What came of it.
#[derive(Debug)]
struct Verdict {
    totals: Totals,
    missing: u64,
    failovers: Vec<Duration>,
    is_failing_over: bool,
    leaders_killed: u64,
    length: Duration,
}

impl Verdict {
    fn line(&self) -> String {
        let Totals { acknowledged, read, twice, disordered, wrong, refused } = self.totals;
        let mut words = vec![
            format!("{acknowledged} acknowledged"),
            format!("{read} read"),
            format!("{} lost", self.missing),
        ];
        let killed = self.leaders_killed;
        let leaders = if killed == 1 { "leader" } else { "leaders" };
        words.push(format!("{killed} {leaders} killed"));
        if let Some(longest) = self.failovers.iter().max() {
            words.push(format!("failover in {} ms", longest.as_millis()));
        } else if self.is_failing_over {
            words.push("no failover".to_owned());
        }
        let rare = [
            (twice, "read twice"),
            (disordered, "out of order"),
            (wrong, "wrong"),
            (refused, "given up"),
        ];
        let rare = rare.iter().filter(|(count, _)| 0 < *count);
        words.extend(rare.map(|(count, what)| format!("{count} {what}")));
        words.push(format!("{:.1} s", self.length.as_secs_f64()));
        format!("demo: {}", words.join(", "))
    }

    fn judge(&self, kills_leader: bool) -> Result<(), CliError> {
        let complaints = [
            (0 < self.missing, "acknowledged records were lost"),
            (0 < self.totals.wrong, "records were read that nobody sent so"),
            (0 < self.totals.disordered, "records were read out of order"),
            (self.totals.read == 0, "nothing was read"),
            (kills_leader && self.leaders_killed == 0, "no leader was killed"),
            (
                kills_leader && (self.failovers.is_empty() || self.is_failing_over),
                "no other leader took over",
            ),
        ];
        match complaints.iter().find(|(is_so, _)| *is_so) {
            Some((_, words)) => Err(CliError::failed(words)),
            None => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn verdict(totals: Totals, missing: u64) -> Verdict {
        Verdict {
            totals,
            missing,
            failovers: Vec::new(),
            is_failing_over: false,
            leaders_killed: 0,
            length: Duration::from_secs(20),
        }
    }

    #[test]
    fn whatever_is_lost_or_wrong_fails_the_demo() {
        let good = Totals { acknowledged: 9, read: 9, ..Totals::default() };
        verdict(good, 0).judge(false).expect("all that was acknowledged was read");
        let twice = Totals { twice: 3, refused: 1, ..good };
        verdict(twice, 0).judge(false).expect("a retry may be read twice");
        let failed = |verdict: &Verdict, kills_leader, words: &str| {
            let why = verdict.judge(kills_leader).expect_err(words);
            assert!(matches!(&why, CliError::Failed(why) if why.contains(words)), "{why:?}");
        };
        failed(&verdict(Totals { read: 8, ..good }, 1), false, "lost");
        failed(&verdict(Totals { wrong: 1, ..good }, 0), false, "nobody sent");
        failed(&verdict(Totals { disordered: 1, ..good }, 0), false, "out of order");
        failed(&verdict(Totals::default(), 0), false, "nothing was read");
        failed(&verdict(good, 0), true, "no leader was killed");
        let killed = Verdict { leaders_killed: 1, ..verdict(good, 0) };
        failed(&killed, true, "no other leader");
        let over = Verdict { failovers: vec![Duration::from_millis(600)], ..killed };
        over.judge(true).expect("another took over");
        assert!(over.line().starts_with("demo: 9 acknowledged, 9 read, 0 lost, 1 leader killed, "));
    }
}

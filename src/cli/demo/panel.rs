//! What is on the screen: 24 lines of 80 columns hold all of it.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use super::ledger::Ledger;
use super::site::{BROKERS, Board, State};
use super::watch::PartitionView;

/// Lines of what happened that are shown.
const NEWS: usize = 5;

/// What is shown at one moment.
pub struct Panel<'a> {
    /// Since the start.
    pub elapsed: Duration,
    /// The nodes, the witness last.
    pub boards: &'a [Board],
    /// As the brokers see them.
    pub partitions: &'a [PartitionView],
    /// Records acknowledged per second, by partition.
    pub rates: &'a [f64],
    /// What was written and read.
    pub ledger: &'a Ledger,
    /// Why the producer tries again.
    pub trouble: Option<&'a str>,
    /// What happened, the newest last.
    pub news: &'a VecDeque<String>,
    /// Whether somebody can press keys.
    pub has_keys: bool,
}

impl Panel<'_> {
    /// Its lines.
    pub fn lines(&self) -> Vec<String> {
        let mut lines = vec![
            format!(
                "Odradek demo: three brokers and a witness on this machine {:>20.1} s",
                self.elapsed.as_secs_f64()
            ),
            String::new(),
        ];
        self.boards(&mut lines);
        lines.push(String::new());
        self.partitions(&mut lines);
        lines.push(String::new());
        self.counts(&mut lines);
        lines.push(String::new());
        lines.extend(self.news.iter().rev().take(NEWS).rev().cloned());
        lines.resize(lines.len() + NEWS.saturating_sub(self.news.len()), String::new());
        lines.push(String::new());
        lines.push(if self.has_keys {
            "k1 kills board 1   c1 pauses it or lets it go on   r1 brings it back   q ends".into()
        } else {
            "Ctrl-C ends".into()
        });
        lines
    }

    fn boards(&self, lines: &mut Vec<String>) {
        lines.push("board    process   state    leads      address".into());
        for (place, board) in self.boards.iter().enumerate() {
            let node = place as i32 + 1;
            let name = if place < BROKERS { node.to_string() } else { format!("{node} votes") };
            let process = board.process_id().map_or("-".to_owned(), |id| id.to_string());
            let state = match board.state() {
                State::Runs => "runs",
                State::Paused => "PAUSED",
                State::Down => "DOWN",
            };
            let led = self.partitions.iter().enumerate();
            let led = led.filter(|(_, one)| one.leader.is_some_and(|leader| leader.0 == node));
            let led: Vec<String> = led.map(|(partition, _)| partition.to_string()).collect();
            let led = if led.is_empty() { "-".to_owned() } else { led.join(" ") };
            let address = &board.address;
            lines.push(format!("{name:<9}{process:<10}{state:<9}{led:<11}{address}"));
        }
    }

    fn partitions(&self, lines: &mut Vec<String>) {
        lines.push("partition   leader   epoch   in sync   high watermark   records/s".into());
        for (place, rate) in self.rates.iter().enumerate() {
            let Some(one) = self.partitions.get(place) else {
                lines.push(format!("{place:<12}?"));
                continue;
            };
            let leader = one.leader.map_or("NONE".to_owned(), |leader| leader.to_string());
            let mut isr: Vec<i32> = one.isr.iter().map(|node| node.0).collect();
            isr.sort_unstable();
            let isr: Vec<String> = isr.iter().map(i32::to_string).collect();
            let isr = isr.join(" ");
            let end = one.high_watermark.map_or("?".to_owned(), |end| end.to_string());
            let epoch = one.leader_epoch;
            lines.push(format!("{place:<12}{leader:<9}{epoch:<8}{isr:<10}{end:>14}   {rate:>9.0}"));
        }
    }

    fn counts(&self, lines: &mut Vec<String>) {
        let totals = self.ledger.totals();
        lines.push(format!(
            "acknowledged {:<10} read {:<10} LOST {:<6} read twice {}",
            totals.acknowledged,
            totals.read,
            self.ledger.lost_count(),
            totals.twice
        ));
        let failover = match self.ledger.failovers() {
            _ if self.ledger.is_failing_over() => "no leader yet".to_owned(),
            [] => "none".to_owned(),
            [.., last] => format!("{} ms", last.as_millis()),
        };
        let waiting = self.ledger.unacknowledged_count();
        lines.push(format!("waiting for an ack {waiting:<10} last failover {failover}"));
        lines.push(self.trouble.map_or_else(String::new, |words| format!("producer: {words}")));
    }
}

/// Records per second, over the last second or so.
#[derive(Debug, Default)]
pub struct Rates {
    samples: VecDeque<(Instant, Vec<u64>)>,
}

impl Rates {
    /// Takes the counts of now, and answers how fast they grow.
    pub fn update(&mut self, now: Instant, counts: Vec<u64>) -> Vec<f64> {
        const SPAN: Duration = Duration::from_millis(1500);
        let is_old = |at: Instant| SPAN < now.saturating_duration_since(at);
        while self.samples.front().is_some_and(|(at, _)| is_old(*at)) {
            self.samples.pop_front();
        }
        let rates = match self.samples.front() {
            Some((at, before)) => {
                let seconds = now.saturating_duration_since(*at).as_secs_f64().max(0.001);
                let grown = counts.iter().zip(before).map(|(now, before)| now - before);
                grown.map(|grown| grown as f64 / seconds).collect()
            }
            None => vec![0.0; counts.len()],
        };
        self.samples.push_back((now, counts));
        rates
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use odradek::ids::NodeId;

    #[test]
    fn all_of_it_fits_into_24_lines_of_80_columns() {
        let ledger = Ledger::new(3, 3);
        let view = PartitionView {
            leader: Some(NodeId(2)),
            leader_epoch: 12_345,
            isr: vec![NodeId(3), NodeId(1), NodeId(2)],
            high_watermark: Some(1_234_567_890),
        };
        let news: VecDeque<String> = (0..20).map(|n| format!("line {n}")).collect();
        let boards: Vec<Board> = (0..4).map(|_| Board::at("127.0.0.1:65535")).collect();
        let panel = Panel {
            elapsed: Duration::from_secs(86_400),
            boards: &boards,
            partitions: &[view.clone(), view.clone(), view],
            rates: &[1.0, 20_000.0, 0.4],
            ledger: &ledger,
            trouble: Some("the connection broke: connection reset"),
            news: &news,
            has_keys: true,
        };
        let lines = panel.lines();
        assert!(lines.len() <= 24, "{lines:#?}");
        assert!(lines.iter().all(|line| line.chars().count() <= 80), "{lines:#?}");
        assert!(lines.iter().any(|line| line == "line 19"), "{lines:#?}");
        assert!(
            lines.contains(
                &"1           2        12345   1 2 3         1234567890       20000".into()
            ),
            "{lines:#?}"
        );
    }

    #[test]
    fn a_rate_is_of_the_last_second() {
        let start = Instant::now();
        let mut rates = Rates::default();
        assert_eq!(rates.update(start, vec![5]), [0.0]);
        assert_eq!(rates.update(start + Duration::from_secs(1), vec![105]), [100.0]);
        assert_eq!(rates.update(start + Duration::from_secs(2), vec![105]), [0.0]);
    }
}

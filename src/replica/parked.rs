//! Produces that wait for the high watermark, and deletions that wait for all replicas
//! (semantics.md 2.2 step 10, 2.22). Their clients' deadlines are the front's business.

use std::collections::VecDeque;

use super::{Output, Produced};
use crate::ids::Offset;
use crate::journal::disk::Disk;
use crate::wire::ErrorCode;

/// What waits at a leader.
#[derive(Debug, Default)]
pub(super) struct Parked {
    /// In offset order.
    produces: VecDeque<(u64, Produced)>,
    deletions: Vec<(u64, Offset)>,
}

impl Parked {
    /// A batch that was sent once more waits for the offset it got the first time.
    pub fn produce(&mut self, token: u64, produced: Produced) {
        let place = self.produces.partition_point(|(_, p)| p.end_offset <= produced.end_offset);
        self.produces.insert(place, (token, produced));
    }

    pub fn deletion(&mut self, token: u64, offset: Offset) {
        self.deletions.push((token, offset));
    }

    /// Answers what the high watermark has passed. With fewer replicas in sync than there must be
    /// the records are there, but not as safe as was asked for.
    pub fn complete_produces<D: Disk>(
        &mut self,
        high_watermark: Offset,
        has_enough: bool,
        outputs: &mut VecDeque<Output<D>>,
    ) {
        let is_done = |(_, produced): &&(u64, Produced)| produced.end_offset <= high_watermark;
        let ready = self.produces.iter().take_while(is_done).count();
        for (token, produced) in self.produces.drain(..ready) {
            let outcome = match has_enough {
                true => Ok(produced),
                false => Err(ErrorCode::NOT_ENOUGH_REPLICAS_AFTER_APPEND),
            };
            outputs.push_back(Output::Produced { token, outcome });
        }
    }

    /// Answers deletions that every live replica has made.
    pub fn complete_deletions<D: Disk>(
        &mut self,
        low_watermark: Offset,
        outputs: &mut VecDeque<Output<D>>,
    ) {
        self.deletions.retain(|&(token, offset)| {
            let is_waiting = low_watermark < offset;
            if !is_waiting {
                outputs.push_back(Output::Deleted { token, outcome: Ok(low_watermark) });
            }
            is_waiting
        });
    }

    /// Answers everything with an error. The records may still be committed: the outcome is
    /// unknown.
    pub fn fail<D: Disk>(&mut self, error: ErrorCode, outputs: &mut VecDeque<Output<D>>) {
        for (token, _) in self.produces.drain(..) {
            outputs.push_back(Output::Produced { token, outcome: Err(error) });
        }
        for (token, _) in self.deletions.drain(..) {
            outputs.push_back(Output::Deleted { token, outcome: Err(error) });
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::log::testing::MemoryDisk;
    use crate::time::Timestamp;

    /// semantics.md 2.2, step 10.
    #[test]
    fn what_too_few_have_is_answered_as_written_but_not_safe() {
        let produced = |end: i64| Produced {
            base_offset: Offset(end - 1),
            end_offset: Offset(end),
            log_append_time: Timestamp::NONE,
            log_start: Offset::ZERO,
            is_repeated: false,
        };
        let mut parked = Parked::default();
        for (token, end) in [(1, 1), (2, 2), (3, 3)] {
            parked.produce(token, produced(end));
        }
        let mut outputs: VecDeque<Output<MemoryDisk>> = VecDeque::new();
        parked.complete_produces(Offset(1), true, &mut outputs);
        parked.complete_produces(Offset(2), false, &mut outputs);
        let answers: Vec<_> = outputs
            .into_iter()
            .map(|output| match output {
                Output::Produced { token, outcome } => (token, outcome.map(|one| one.end_offset)),
                _ => unreachable!("it only answers"),
            })
            .collect();
        let refused = Err(ErrorCode::NOT_ENOUGH_REPLICAS_AFTER_APPEND);
        assert_eq!(answers, [(1, Ok(Offset(1))), (2, refused)]);
    }
}

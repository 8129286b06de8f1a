//! Log lines by the second, not by the event: a flood of bad clients must not fill a card.

use std::fmt;

use crate::time::Boot;

/// Lines let through per window.
const LINES_MAX: u32 = 5;

/// Length of a window.
const WINDOW_MS: u64 = 10_000;

/// Lets a few lines through, then counts what it kept back.
#[derive(Debug, Default)]
pub struct LogThrottle {
    window_began: Boot,
    lines: u32,
    kept_back: u64,
}

impl LogThrottle {
    /// Logs a warning, or counts it.
    pub fn warn(&mut self, now: Boot, line: fmt::Arguments<'_>) {
        if self.admits(now) {
            log::warn!("{line}");
        }
    }

    fn admits(&mut self, now: Boot) -> bool {
        if WINDOW_MS <= now.ms_since(self.window_began) {
            if 0 < self.kept_back {
                log::warn!("{} more lines of this kind were kept back", self.kept_back);
            }
            *self = LogThrottle { window_began: now, lines: 0, kept_back: 0 };
        }
        self.lines += 1;
        let is_admitted = self.lines <= LINES_MAX;
        self.kept_back += u64::from(!is_admitted);
        is_admitted
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_flood_is_cut_to_a_few_lines_a_window() {
        let mut throttle = LogThrottle::default();
        let admitted = |throttle: &mut LogThrottle, at| {
            (0..1000).filter(|_| throttle.admits(Boot(at))).count()
        };
        assert_eq!(admitted(&mut throttle, 20_000_000), 5);
        assert_eq!(throttle.kept_back, 995);
        assert_eq!(admitted(&mut throttle, 29_000_000), 0);
        assert_eq!(admitted(&mut throttle, 30_000_000), 5);
    }
}

//! Keys: a letter for what to do, then the number of a board.

use super::site::BOARDS;

/// What somebody wants.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Wish {
    /// Kill this board's process.
    Kill(usize),
    /// Pause this board, or let it go on.
    Pause(usize),
    /// Bring this board back.
    Restart(usize),
    /// End.
    Quit,
}

/// The letter that waits for its number.
#[derive(Debug, Default)]
pub struct Keys {
    letter: Option<u8>,
}

const CONTROL_C: u8 = 3;

impl Keys {
    /// Takes a key.
    pub fn press(&mut self, key: u8) -> Option<Wish> {
        let letter = self.letter.take();
        match key {
            b'q' | b'Q' | CONTROL_C => Some(Wish::Quit),
            b'k' | b'c' | b'r' => {
                self.letter = Some(key);
                None
            }
            b'1'..=b'9' => {
                let board = usize::from(key - b'1');
                if BOARDS <= board {
                    return None;
                }
                match letter? {
                    b'k' => Some(Wish::Kill(board)),
                    b'c' => Some(Wish::Pause(board)),
                    _ => Some(Wish::Restart(board)),
                }
            }
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(typed: &str, expected: &[Wish]) {
        let mut keys = Keys::default();
        let wishes: Vec<Wish> = typed.bytes().filter_map(|key| keys.press(key)).collect();
        assert_eq!(wishes, expected, "{typed:?}");
    }

    #[test]
    fn a_letter_and_a_number_are_a_wish() {
        check("k1c2r4", &[Wish::Kill(0), Wish::Pause(1), Wish::Restart(3)]);
        check("q", &[Wish::Quit]);
        check("\x03", &[Wish::Quit]);
        check("kq", &[Wish::Quit]);
    }

    #[test]
    fn anything_else_is_none() {
        check("1k5k9kk", &[]);
        check("kx1", &[]);
        check("k\x1b[A1", &[]);
        check("ckr2", &[Wish::Restart(1)]);
    }
}

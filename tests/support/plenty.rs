//! Memory without end, for a core that asks whether there is some.

use odradek::broker::Memory;

#[derive(Debug)]
pub struct Plenty;

impl Memory for Plenty {
    fn windows_bytes_max(&self) -> u64 {
        u64::MAX
    }

    fn try_hold_window(&self, _bytes: u64) -> bool {
        true
    }

    fn release_window(&self, _bytes: u64) {}
}

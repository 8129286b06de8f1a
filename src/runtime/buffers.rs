//! Buffers of large frames, kept for the frames that follow.
//!
//! An allocator gives a large piece of memory back to the system and takes a fresh one for the next
//! frame, so that every page of every frame is faulted in and zeroed before the socket's bytes are
//! copied over it. Here the flusher gives back what it has written, and the shards read into that.
//!
//! **Invariant:** what is kept is counted (see [`Ledger`](super::ledger::Ledger)) and is bounded; it
//! gives way to a frame that needs the room, and goes when nothing is written for a while.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, TryLockError};

use bytes::Bytes;

/// Smaller buffers cost less to allocate than to look for; larger ones are rounded up to a multiple
/// of it, so that one fits a frame that is a little larger than the last.
const UNIT_BYTES: usize = 64 << 10;

/// The buffers that nobody uses now.
#[derive(Debug)]
pub struct Buffers {
    kept: Mutex<Vec<Vec<u8>>>,
    kept_bytes: &'static AtomicU64,
    kept_bytes_max: u64,
}

impl Buffers {
    /// None yet, and at most so many bytes at any time; they are counted there.
    pub fn new(kept_bytes_max: u64, kept_bytes: &'static AtomicU64) -> Buffers {
        Buffers { kept: Mutex::default(), kept_bytes, kept_bytes_max }
    }

    /// What they take.
    pub fn kept_bytes(&self) -> u64 {
        self.kept_bytes.load(Ordering::Relaxed)
    }

    /// An empty buffer with room for so much: one that was used before, if one fits.
    pub fn take(&self, bytes: usize) -> Vec<u8> {
        if bytes < UNIT_BYTES {
            return Vec::with_capacity(bytes);
        }
        // A frame's memory is not much more than was reserved for it.
        let most = bytes + bytes / 4 + UNIT_BYTES;
        let fits = |buffer: &Vec<u8>| (bytes..most).contains(&buffer.capacity());
        let kept = self.change(|kept| {
            // The last one is the likeliest to be in the processor's cache.
            let place = kept.iter().rposition(fits)?;
            let buffer = kept.swap_remove(place);
            self.kept_bytes.fetch_sub(buffer.capacity() as u64, Ordering::Relaxed);
            Some(buffer)
        });
        let fresh = || Vec::with_capacity(bytes.next_multiple_of(UNIT_BYTES));
        kept.flatten().unwrap_or_else(fresh)
    }

    /// Keeps the buffer that these bytes lie in, if nobody else uses it and there is room.
    pub fn give(&self, bytes: Bytes) {
        let Ok(mut bytes) = bytes.try_into_mut() else { return };
        bytes.clear();
        // Nothing is copied: the whole buffer comes back, with what was cut off at its front.
        let buffer = Vec::from(bytes);
        let more_bytes = buffer.capacity() as u64;
        if more_bytes < UNIT_BYTES as u64 {
            return;
        }
        self.change(|kept| {
            if self.kept_bytes() + more_bytes <= self.kept_bytes_max {
                kept.push(buffer);
                self.kept_bytes.fetch_add(more_bytes, Ordering::Relaxed);
            }
        });
    }

    /// Frees them all.
    pub fn clear(&self) {
        let freed = self.change(|kept| {
            self.kept_bytes.store(0, Ordering::Relaxed);
            std::mem::take(kept)
        });
        drop(freed);
    }

    /// Changes what is kept, unless another thread does just now: nobody waits here.
    fn change<T>(&self, change: impl FnOnce(&mut Vec<Vec<u8>>) -> T) -> Option<T> {
        match self.kept.try_lock() {
            Ok(mut kept) => Some(change(&mut kept)),
            Err(TryLockError::WouldBlock) => None,
            Err(TryLockError::Poisoned(_)) => unreachable!("a panic ends the process"),
        }
    }
}

#[cfg(test)]
mod tests {
    use bytes::BytesMut;

    use super::*;

    /// A frame as the door cuts it up: the batch in its middle, alone in its buffer at last.
    fn batch_of(mut buffer: Vec<u8>, bytes: usize) -> Bytes {
        buffer.resize(bytes, 7);
        let mut frame = BytesMut::from(Bytes::from(buffer));
        drop(frame.split_to(100));
        frame.split_to(bytes - 200).freeze()
    }

    #[test]
    fn a_frame_is_read_into_the_buffer_of_one_before_it() {
        let buffers = Buffers::new(4 << 20, Box::leak(Box::default()));
        let first = buffers.take(1_000_000);
        let place = first.as_ptr();
        buffers.give(batch_of(first, 1_000_000));
        assert_eq!(buffers.kept_bytes(), 1_048_576);
        let second = buffers.take(1_000_300);
        assert_eq!((second.as_ptr(), second.len()), (place, 0));
        assert!(1_000_300 <= second.capacity());
        assert_eq!(buffers.kept_bytes(), 0);
    }

    #[test]
    fn what_is_kept_is_bounded_and_fits() {
        let buffers = Buffers::new(1 << 20, Box::leak(Box::default()));
        let [first, second] = [buffers.take(600_000), buffers.take(600_000)];
        buffers.give(batch_of(first, 600_000));
        buffers.give(batch_of(second, 600_000));
        let kept = buffers.kept_bytes();
        assert!((600_000..(1 << 20)).contains(&kept), "{kept}");
        buffers.take(100_000);
        assert_eq!(buffers.kept_bytes(), kept, "too large for so small a frame");
        buffers.clear();
        assert_eq!(buffers.kept_bytes(), 0);
    }

    #[test]
    fn a_buffer_that_somebody_still_reads_is_not_kept() {
        let buffers = Buffers::new(1 << 20, Box::leak(Box::default()));
        let batch = batch_of(buffers.take(200_000), 200_000);
        let reader = batch.clone();
        buffers.give(batch);
        assert_eq!(buffers.kept_bytes(), 0);
        assert!(reader.iter().all(|byte| *byte == 7));
    }
}

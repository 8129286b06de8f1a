//! The last offset of each key, in bounded memory: what a compaction round knows.
//!
//! The map is exact. Kafka's holds a 16-byte hash of each key and takes two keys with one hash for
//! the same, so that one record is lost without a word; a producer who wants that can find such
//! keys. Here the keys themselves lie one after another in an arena, with a table of their places
//! beside it: at the 20 bytes of a usual key that is no more than hash and offset would take.
//!
//! ```text
//! slots   u32 each, a power of two of them: place of an entry in the arena plus 1, 0 for none
//! entry   u32 key bytes | i64 last offset | key
//! ```
//!
//! **Invariant:** memory stays within the bytes given to [`KeyMap::new`], the moment of growth
//! included; what does not fit is answered, not allocated. What is full is a partial round: the
//! next one goes on where the map ended.

use std::hash::{DefaultHasher, Hasher};

use crate::ids::Offset;
use crate::limits::{CLEANER_KEY_BYTES_MAX, CLEANER_MAP_BYTES_MIN};

const ENTRY_HEAD_BYTES: usize = 12;

/// The arena grows by chunks, so that nothing is copied. The longest key fits one.
const CHUNK_BYTES: usize = 2 * CLEANER_KEY_BYTES_MAX;

/// Slots of a new map.
const SLOTS_MIN: usize = 1024;

const SLOT_BYTES: usize = size_of::<u32>();

/// Last offsets by key.
pub struct KeyMap {
    /// Random, so that nobody chooses keys whose slots are the same.
    seed: u64,
    bytes_max: usize,
    slots: Vec<u32>,
    chunks: Vec<Vec<u8>>,
    key_count: usize,
}

/// No room is left for a key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MapFull;

impl KeyMap {
    /// An empty map that will take at most `bytes_max`, which is raised to what it needs at least.
    pub fn new(bytes_max: usize) -> KeyMap {
        // Places are 32 bits wide.
        let bytes_max = bytes_max.clamp(CLEANER_MAP_BYTES_MIN, u32::MAX as usize - CHUNK_BYTES);
        KeyMap { seed: 0, bytes_max, slots: vec![0; SLOTS_MIN], chunks: Vec::new(), key_count: 0 }
    }

    /// Has an empty map place its keys by another number, best a random one.
    pub fn set_seed(&mut self, seed: u64) {
        assert!(self.key_count == 0, "keys lie where the seed puts them");
        self.seed = seed;
    }

    /// Keys in it.
    pub fn key_count(&self) -> usize {
        self.key_count
    }

    /// Bytes that it takes.
    pub fn held_bytes(&self) -> usize {
        self.slots.len() * SLOT_BYTES + self.chunks.len() * CHUNK_BYTES
    }

    /// Forgets everything and gives the memory back.
    pub fn clear(&mut self) {
        *self = KeyMap { seed: self.seed, ..KeyMap::new(self.bytes_max) };
    }

    /// Takes note of a key's record. Offsets rise from call to call.
    pub fn put(&mut self, key: &[u8], offset: Offset) -> Result<(), MapFull> {
        assert!(key.len() <= CLEANER_KEY_BYTES_MAX, "longer keys are not looked up");
        if let Some(place) = self.slots[self.slot_of(key)].checked_sub(1) {
            let (chunk, at) = split(place);
            self.chunks[chunk][at + 4..at + ENTRY_HEAD_BYTES]
                .copy_from_slice(&offset.0.to_be_bytes());
            return Ok(());
        }
        if self.slots.len() * 3 <= (self.key_count + 1) * 4 {
            self.grow()?;
        }
        let bytes = ENTRY_HEAD_BYTES + key.len();
        let fits_last = |chunk: &Vec<u8>| chunk.len() + bytes <= CHUNK_BYTES;
        if !self.chunks.last().is_some_and(fits_last) {
            if self.bytes_max < self.held_bytes() + CHUNK_BYTES {
                return Err(MapFull);
            }
            self.chunks.push(Vec::with_capacity(CHUNK_BYTES));
        }
        let number = self.chunks.len() - 1;
        let chunk = &mut self.chunks[number];
        let place = number * CHUNK_BYTES + chunk.len();
        chunk.extend_from_slice(&(key.len() as u32).to_be_bytes());
        chunk.extend_from_slice(&offset.0.to_be_bytes());
        chunk.extend_from_slice(key);
        let slot = self.slot_of(key);
        self.slots[slot] = place as u32 + 1;
        self.key_count += 1;
        Ok(())
    }

    /// The offset of a key's last record.
    pub fn last(&self, key: &[u8]) -> Option<Offset> {
        let place = self.slots[self.slot_of(key)].checked_sub(1)?;
        Some(self.entry(place).1)
    }

    /// The slot of a key: its own, or the empty one where it belongs.
    fn slot_of(&self, key: &[u8]) -> usize {
        let mask = self.slots.len() - 1;
        let mut slot = self.hash(key) as usize & mask;
        while let Some(place) = self.slots[slot].checked_sub(1) {
            if self.entry(place).0 == key {
                break;
            }
            slot = (slot + 1) & mask;
        }
        slot
    }

    fn entry(&self, place: u32) -> (&[u8], Offset) {
        let (chunk, at) = split(place);
        let entry = &self.chunks[chunk][at..];
        let key_bytes = u32::from_be_bytes(entry[..4].try_into().expect("4 bytes")) as usize;
        let offset = i64::from_be_bytes(entry[4..ENTRY_HEAD_BYTES].try_into().expect("8 bytes"));
        (&entry[ENTRY_HEAD_BYTES..ENTRY_HEAD_BYTES + key_bytes], Offset(offset))
    }

    fn hash(&self, key: &[u8]) -> u64 {
        let mut hasher = DefaultHasher::new();
        hasher.write_u64(self.seed);
        hasher.write(key);
        hasher.finish()
    }

    /// Doubles the table. Old and new exist side by side for a moment.
    fn grow(&mut self) -> Result<(), MapFull> {
        let count = self.slots.len() * 2;
        if self.bytes_max < self.held_bytes() + count * SLOT_BYTES {
            return Err(MapFull);
        }
        let old = std::mem::replace(&mut self.slots, vec![0; count]);
        for place in old.into_iter().filter_map(|slot| slot.checked_sub(1)) {
            let mut slot = self.hash(self.entry(place).0) as usize & (count - 1);
            while self.slots[slot] != 0 {
                slot = (slot + 1) & (count - 1);
            }
            self.slots[slot] = place + 1;
        }
        Ok(())
    }
}

fn split(place: u32) -> (usize, usize) {
    (place as usize / CHUNK_BYTES, place as usize % CHUNK_BYTES)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_knows_every_key_until_it_is_full_and_never_takes_more_than_it_may() {
        let bytes_max = 4 << 20;
        let mut map = KeyMap::new(bytes_max);
        let key = |number: usize| format!("sensor-{number:08}-{}", "x".repeat(number % 40));
        let mut count = 0;
        while map.put(key(count).as_bytes(), Offset(count as i64)) == Ok(()) {
            count += 1;
            assert!(map.held_bytes() <= bytes_max);
        }
        assert!(60_000 < count, "{count} keys in 4 MiB");
        assert_eq!(map.key_count(), count);
        // A known key is updated even when there is no room for others.
        assert_eq!(map.put(key(5).as_bytes(), Offset(1 << 40)), Ok(()));
        for number in 0..count {
            let wanted = if number == 5 { 1 << 40 } else { number as i64 };
            assert_eq!(map.last(key(number).as_bytes()), Some(Offset(wanted)));
        }
        assert_eq!(map.last(key(count).as_bytes()), None);
        map.clear();
        assert_eq!((map.key_count(), map.last(key(5).as_bytes())), (0, None));
    }

    #[test]
    fn the_smallest_map_holds_the_longest_key_and_the_empty_one() {
        let mut map = KeyMap::new(0);
        map.set_seed(5);
        let long = vec![1; CLEANER_KEY_BYTES_MAX];
        assert_eq!(map.put(&long, Offset(3)), Ok(()));
        assert_eq!(map.put(b"", Offset(4)), Ok(()));
        assert_eq!((map.last(&long), map.last(b"")), (Some(Offset(3)), Some(Offset(4))));
    }
}

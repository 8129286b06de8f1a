//! Zigzag varints, as Kafka's `ByteUtils` and postcard write them.
//!
//! A reader takes its bytes off the front of a slice. An `i32` has at most 5 bytes and an `i64`
//! at most 10; bits beyond the width are refused, as postcard refuses them.
//!
//! Every record that a producer sends comes through here half a dozen times. The crate is optimised
//! for size, which would make calls of these few instructions; hence `inline(always)` on the way
//! of varints of one byte and two, and a call for the others.

use alloc::vec::Vec;

/// Takes an `i32` off the front of `bytes`, or `None` when it is cut short or too wide.
#[expect(clippy::inline_always, reason = "see the head of the file")]
#[inline(always)]
pub(crate) fn take_i32(bytes: &mut &[u8]) -> Option<i32> {
    let value = u32::try_from(take(bytes, 5)?).ok()?;
    Some((value >> 1) as i32 ^ -((value & 1) as i32))
}

/// Takes an `i64` off the front of `bytes`, or `None` when it is cut short or too wide.
#[expect(clippy::inline_always, reason = "see the head of the file")]
#[inline(always)]
pub(crate) fn take_i64(bytes: &mut &[u8]) -> Option<i64> {
    let value = take(bytes, 10)?;
    Some((value >> 1) as i64 ^ -((value & 1) as i64))
}

#[expect(clippy::inline_always, reason = "see the head of the file")]
#[inline(always)]
fn take(bytes: &mut &[u8], bytes_max: u32) -> Option<u64> {
    let (&first, rest) = bytes.split_first()?;
    // Nearly every varint of a record has one byte or two.
    if first < 0x80 {
        *bytes = rest;
        return Some(u64::from(first));
    }
    let (&second, after) = rest.split_first()?;
    if second < 0x80 {
        *bytes = after;
        return Some(u64::from(first & 0x7f) | u64::from(second) << 7);
    }
    *bytes = rest;
    take_rest(u64::from(first & 0x7f), bytes, bytes_max)
}

#[cold]
fn take_rest(mut value: u64, bytes: &mut &[u8], bytes_max: u32) -> Option<u64> {
    for place in 1..bytes_max {
        let (&byte, rest) = bytes.split_first()?;
        *bytes = rest;
        // The tenth byte has room for one bit.
        if place == 9 && 1 < byte {
            return None;
        }
        value |= u64::from(byte & 0x7f) << (7 * place);
        if byte < 0x80 {
            return Some(value);
        }
    }
    None
}

/// Appends `value` to `out`; an `i32` of that value has the same bytes.
#[inline]
pub(crate) fn put_i64(out: &mut Vec<u8>, value: i64) {
    let mut rest = ((value << 1) ^ (value >> 63)) as u64;
    while 0x7f < rest {
        out.push((rest & 0x7f) as u8 | 0x80);
        rest >>= 7;
    }
    out.push(rest as u8);
}

/// How many bytes [`put_i64`] writes for `value`.
#[inline]
pub(crate) fn size_i64(value: i64) -> usize {
    let zigzag = ((value << 1) ^ (value >> 63)) as u64;
    // A zero still takes one byte.
    (70 - (zigzag | 1).leading_zeros() as usize) / 7
}

#[cfg(test)]
#[allow(clippy::indexing_slicing, reason = "tests know their sizes")]
mod tests {
    use super::*;

    const VALUES: [i64; 16] = [
        0,
        -1,
        1,
        63,
        64,
        -64,
        -65,
        8191,
        8192,
        i32::MAX as i64,
        i32::MIN as i64,
        1 << 40,
        -(1 << 41),
        i64::MAX,
        i64::MIN,
        1_700_000_000_000,
    ];

    #[test]
    fn the_bytes_are_postcards() {
        for value in VALUES {
            let mut ours = Vec::new();
            put_i64(&mut ours, value);
            assert_eq!(ours, postcard::to_allocvec(&value).expect("fits"), "{value}");
            assert_eq!(ours.len(), size_i64(value), "{value}");
            let mut rest = ours.as_slice();
            assert_eq!(take_i64(&mut rest), Some(value));
            assert!(rest.is_empty());

            let Ok(narrow) = i32::try_from(value) else { continue };
            assert_eq!(ours, postcard::to_allocvec(&narrow).expect("fits"), "{value}");
            assert_eq!(take_i32(&mut ours.as_slice()), Some(narrow));
        }
    }

    #[test]
    fn short_and_wide_varints_are_refused() {
        for bad in [&[][..], &[0x80], &[0xff, 0xff], &[0xff; 5], &[0xff, 0xff, 0xff, 0xff, 0x10]] {
            assert_eq!(take_i32(&mut &*bad), None, "{bad:?}");
        }
        let mut wide = [0xff; 10];
        assert_eq!(take_i64(&mut &wide[..]), None, "never ends");
        wide[9] = 2;
        assert_eq!(take_i64(&mut &wide[..]), None, "65 bits");
        wide[9] = 1;
        assert_eq!(take_i64(&mut &wide[..]), Some(i64::MIN));
    }
}

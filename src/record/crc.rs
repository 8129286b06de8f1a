//! CRC-32C (Castagnoli): Kafka's checksum, and that of everything we persist.
//!
//! With `std` the processor's own instruction computes it; devices use a small table.

/// The checksum of `bytes`.
#[cfg(feature = "std")]
pub fn crc32c(bytes: &[u8]) -> u32 {
    ::crc32c::crc32c(bytes)
}

/// The checksum of `bytes`.
#[cfg(not(feature = "std"))]
pub fn crc32c(bytes: &[u8]) -> u32 {
    TABLE.checksum(bytes)
}

#[cfg(any(test, not(feature = "std")))]
const TABLE: crc::Crc<u32> = crc::Crc::<u32>::new(&crc::CRC_32_ISCSI);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_implementations_agree_with_rfc_3720() {
        assert_eq!(crc32c(b"123456789"), 0xe306_9283);
        assert_eq!(crc32c(&[0; 32]), 0x8a91_36aa);
        for bytes in 0..300usize {
            let data: alloc::vec::Vec<u8> = (0..bytes).map(|b| (b * 7) as u8).collect();
            assert_eq!(crc32c(&data), TABLE.checksum(&data));
        }
    }
}

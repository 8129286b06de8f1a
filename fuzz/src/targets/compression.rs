//! The decompressors: hostile bytes in the place of a batch's records.

use odradek::record::batch::Attributes;
use odradek::record::{Batch, BatchHeader, Compression, HEADER_BYTES, decompress, recompress};

use super::record;
use crate::note::note;
use crate::{Target, memory};

/// More comes out of no execution.
const LIMIT: usize = 1 << 20;

/// What a decoder may hold beside what it puts out: windows and tables, and the old half of a
/// vector that grows.
const BESIDE_BYTES: usize = 3 << 20;

/// A target for each codec.
pub fn all() -> Vec<Target> {
    let codecs = Compression::ALL.into_iter().filter(|codec| *codec != Compression::None);
    codecs
        .map(|codec| {
            let name = format!("compression/{}", codec.name());
            Target::new(name, seeds(codec), move |bytes| decode(codec, bytes))
        })
        .collect()
}

fn seeds(codec: Compression) -> Vec<Vec<u8>> {
    let text: Vec<u8> = (0..6000_u32).flat_map(|n| (n % 97).to_string().into_bytes()).collect();
    let mut noise = Vec::new();
    let mut random = crate::mutate::Random::new(5, "noise");
    noise.resize_with(700, || random.next() as u8);
    let mut seeds = Vec::new();
    for section in [&b""[..], b"a", &[0; 3000], &text[..4000], &noise] {
        let batch = batch(Compression::None, section);
        let batch = recompress(&batch, codec).expect("ours").expect("another codec");
        seeds.push(batch[HEADER_BYTES..].to_vec());
    }
    if codec == Compression::Zstd {
        // By the reference library, at its strongest.
        seeds.push(include_bytes!("../../../tests/record/telemetry-19.zst").to_vec());
    }
    seeds
}

/// A batch with this section, whatever it holds.
fn batch(codec: Compression, section: &[u8]) -> Vec<u8> {
    let plain = odradek::record::BatchBuilder::new().finish(Compression::None);
    let header = BatchHeader::parse(&plain).expect("ours");
    let header = BatchHeader { attributes: Attributes::of(codec), ..header };
    let mut bytes = [&header.to_bytes(), section].concat();
    record::mend(&mut bytes);
    bytes
}

fn decode(codec: Compression, bytes: &[u8]) {
    let sent = batch(codec, bytes);
    let (parsed, _) = Batch::split_first(&sent).expect("mended");
    let (decoded, peak) = memory::peak(|| decompress(&parsed, LIMIT).map(Vec::from));
    assert!(peak <= 2 * LIMIT + BESIDE_BYTES, "{peak} bytes of memory");
    let section = match decoded {
        Err(error) => return note(&error),
        Ok(section) => section,
    };
    assert!(section.len() <= LIMIT);
    note(&("decoded", section.len().checked_ilog2()));
    // A smaller limit is kept to the byte.
    if let Some(less) = section.len().checked_sub(1) {
        assert!(decompress(&parsed, less).is_err(), "the limit is {less}");
    }
    assert_eq!(decompress(&parsed, section.len()).as_deref(), Ok(&*section));
    if section.len() <= 32 << 10 {
        let plain = batch(Compression::None, &section);
        let again = recompress(&plain, codec).expect("ours").expect("another codec");
        let (again, _) = Batch::split_first(&again).expect("ours");
        assert_eq!(decompress(&again, LIMIT).as_deref(), Ok(&*section), "there and back");
    }
}

//! Work for the cleaner: partitions full of records whose keys come again and again.

use std::io;

use odradek::record::{BatchBuilder, Compression};

use crate::args::Args;
use crate::connection::{Connection, now, produce_request, value_of};

/// Size of a batch.
const BATCH_BYTES: usize = 64 << 10;

/// Fills each of `--partitions` with `--bytes` of records. There are half as many keys as records,
/// so most batches keep a few of theirs and are written anew.
pub fn run(args: &Args) -> io::Result<()> {
    let partition_count = args.number("partitions", 1) as i32;
    let topic = args.text("topic", "dirty");
    let batches = batches(args.number("bytes", 4 << 20) as usize, 1024);
    let mut connection = Connection::open(args.address()?)?;
    for partition in 0..partition_count {
        for batch in &batches {
            connection.send(&mut produce_request(&topic, partition..partition + 1, batch))?;
            connection.receive_good()?;
        }
    }
    let bytes = batches.iter().map(Vec::len).sum::<usize>() * partition_count as usize;
    println!("bytes={bytes}");
    Ok(())
}

fn batches(bytes: usize, value_bytes: usize) -> Vec<Vec<u8>> {
    let per_batch = BATCH_BYTES / value_bytes - 1;
    let batch_count = bytes.div_ceil(BATCH_BYTES);
    let key_count = (batch_count * per_batch).div_ceil(2) as u64;
    let mut state = 1_u64;
    let batch = |_| {
        let mut builder = BatchBuilder::new();
        for _ in 0..per_batch {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            let key = format!("key-{:08}", (state >> 33) % key_count);
            let value = value_of((state >> 33) as usize, value_bytes - key.len());
            builder.push(now(), Some(key.as_bytes()), Some(&value), &[]);
        }
        builder.finish(Compression::None)
    };
    (0..batch_count).map(batch).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use odradek::record::{Batch, Records};
    use std::collections::BTreeSet;

    #[test]
    fn about_half_of_the_records_outlive_a_compaction() {
        let (mut keys, mut record_count) = (BTreeSet::new(), 0);
        for batch in batches(1 << 20, 1024) {
            assert!(batch.len() <= BATCH_BYTES);
            let (read, _) = Batch::split_first(&batch).expect("a batch");
            for record in Records::new(read.header(), read.records_section()) {
                keys.insert(record.expect("a record").key.expect("a key").to_vec());
                record_count += 1;
            }
        }
        assert!((record_count / 3..record_count / 2).contains(&keys.len()), "{}", keys.len());
    }
}

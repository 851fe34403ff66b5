use bytes::Bytes;
use millstream_model::{Block, Payload};

/// Leaves the first `rows` records in `block` and gives the others, without copying any.
///
/// Where a receiver goes on behind the block stays with the last of its records, wherever they are.
pub fn split_off(block: &mut Block, rows: usize) -> Block {
    let rows = rows.min(block.rows);
    let payload = match &mut block.payload {
        Payload::Lines(bytes) => Payload::Lines(bytes.split_off(end_of_lines(bytes, rows))),
        Payload::Rows(batch) => {
            let kept = rows.min(batch.num_rows());
            let rest = batch.slice(kept, batch.num_rows() - kept);
            *batch = batch.slice(0, kept);
            Payload::Rows(rest)
        }
        Payload::Rejected(rejected) => Payload::Rejected(rejected.clone()),
    };
    let rest = Block {
        payload,
        rows: block.rows - rows,
        position: block.position.after(rows as u64),
        resume: if rows < block.rows { block.resume.take() } else { block.resume.clone() },
    };
    block.rows = rows;
    rest
}

/// Where line number `lines` begins, counted from 0: the end, if there are not as many.
fn end_of_lines(bytes: &Bytes, lines: usize) -> usize {
    let Some(last) = lines.checked_sub(1) else { return 0 };
    let mut feeds = bytes.iter().enumerate().filter(|(_, byte)| **byte == b'\n');
    feeds.nth(last).map_or(bytes.len(), |(at, _)| at + 1)
}

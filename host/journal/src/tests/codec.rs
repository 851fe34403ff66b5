use std::sync::Arc;

use arrow::array::{ArrayRef, Float64Array, Int64Array, StringArray, StringViewArray};
use arrow::record_batch::RecordBatch;
use bytes::Bytes;
use millstream_model::{Block, Lane, Payload, Position, Rejected};
use millstream_platform::{Randomness, Seeded};

use crate::entry::{self, Entry, Start};
use crate::frame::{self, Frames, HEADER_BYTES, Kind};
use crate::{Record, split_off};

fn text(seeded: &Seeded, length_max: u64) -> String {
    (0..seeded.below(length_max))
        .map(|_| ["a", "é", "\u{1F30A}", " ", "\\"][seeded.below(5) as usize])
        .collect()
}

pub(super) fn some_rows(seeded: &Seeded, rows: usize) -> RecordBatch {
    let texts: Vec<Option<String>> =
        (0..rows).map(|_| seeded.chance(3, 4).then(|| text(seeded, 30))).collect();
    let numbers: Int64Array =
        (0..rows).map(|_| seeded.chance(3, 4).then(|| seeded.next_u64() as i64)).collect();
    let fractions: Float64Array = (0..rows).map(|at| Some(at as f64 / 3.0)).collect();
    RecordBatch::try_from_iter([
        ("text", Arc::new(StringArray::from(texts.clone())) as ArrayRef),
        ("view", Arc::new(StringViewArray::from(texts)) as ArrayRef),
        ("number", Arc::new(numbers) as ArrayRef),
        ("fraction", Arc::new(fractions) as ArrayRef),
    ])
    .unwrap()
}

fn some_block(seeded: &Seeded) -> Block {
    let rows = 1 + seeded.below(20) as usize;
    let (payload, rows) = match seeded.below(3) {
        0 => {
            let lines: String = (0..rows).map(|_| format!("{}\n", text(seeded, 40))).collect();
            // The last may lack its end, unless it is empty.
            let lines = if seeded.chance(1, 2) { lines + "end\n" } else { lines + "end" };
            (Payload::Lines(lines.into()), rows + 1)
        }
        1 => {
            let batch = some_rows(seeded, rows + 5);
            let from = seeded.below(5) as usize;
            (Payload::Rows(batch.slice(from, rows)), rows)
        }
        _ => {
            let record =
                Bytes::from((0..seeded.below(50)).map(|_| seeded.next_u64() as u8).collect::<Vec<_>>());
            (Payload::Rejected(Rejected { error: text(seeded, 20), record }), 1)
        }
    };
    let position = Position { origin: text(seeded, 20).into(), record: seeded.below(1 << 60) };
    let resume = seeded.chance(1, 2).then(|| Bytes::from(text(seeded, 20)));
    Block { payload, rows, position, resume }
}

fn check_same(one: &Block, other: &Block) {
    match (&one.payload, &other.payload) {
        (Payload::Lines(one), Payload::Lines(other)) => assert_eq!(one, other),
        (Payload::Rows(one), Payload::Rows(other)) => assert_eq!(one, other),
        (Payload::Rejected(one), Payload::Rejected(other)) => assert_eq!(one, other),
        _ => panic!("{one:?} is not {other:?}"),
    }
    assert_eq!((one.rows, &one.position, &one.resume), (other.rows, &other.position, &other.resume));
}

/// The file with one frame.
fn file_of(number: u64, body: &frame::Body) -> Bytes {
    let mut buffers = vec![frame::header(Kind::Wal, number)];
    body.frame(number, HEADER_BYTES as u64, 0, &mut buffers);
    buffers.concat().into()
}

#[test]
fn a_block_is_read_as_it_was_written() {
    for seed in Seeded::seeds(0..500) {
        println!("MILLSTREAM_SEED={seed}");
        let seeded = Seeded::new(seed);
        let block = some_block(&seeded);
        let lane = Lane { source: text(&seeded, 20), receiver: seeded.next_u64() as u32 };
        let first = seeded.below(1 << 60);
        let [(_, body)] = &entry::encode_block(&lane, first, &block)[..] else { panic!("one entry") };
        let file = file_of(seed, body);
        let frame = Frames::new(seed, file).next().unwrap().unwrap();
        let entry = Entry::decode(&frame.body).unwrap();
        assert_eq!((&entry.lane, entry.first), (&lane, first));
        check_same(&entry.block().unwrap(), &block);
    }
}

#[test]
fn the_payload_is_not_copied_when_it_is_written() {
    let lines = Bytes::from("a line\nanother line\n");
    let block = Block::lines(lines.clone(), 2, Position { origin: "peer".into(), record: 0 });
    let (_, body) = entry::encode_block(&super::lane("a"), 0, &block).remove(0);
    let mut buffers = Vec::new();
    body.frame(1, 24, 24, &mut buffers);
    assert!(buffers.iter().any(|buffer| buffer.as_ptr() == lines.as_ptr()));
}

#[test]
fn a_block_split_anywhere_is_the_same_records() {
    for seed in Seeded::seeds(0..300) {
        println!("MILLSTREAM_SEED={seed}");
        let seeded = Seeded::new(seed);
        let block = some_block(&seeded);
        let at = seeded.below(block.rows as u64 + 1) as usize;
        let mut front = block.clone();
        let rest = split_off(&mut front, at);
        assert_eq!((front.rows, rest.rows), (at, block.rows - at));
        assert_eq!(rest.position.record, block.position.record + at as u64);
        assert_eq!(rest.resume, block.resume);
        if let (Payload::Lines(all), Payload::Lines(front), Payload::Lines(rest)) =
            (&block.payload, &front.payload, &rest.payload)
        {
            assert_eq!([front.as_ref(), rest].concat(), all.as_ref());
            assert_eq!(
                front.iter().filter(|byte| **byte == b'\n').count().min(at),
                front.iter().filter(|byte| **byte == b'\n').count()
            );
        }
    }
}

#[test]
fn any_bytes_are_parsed_or_refused() {
    for seed in Seeded::seeds(0..3_000) {
        println!("MILLSTREAM_SEED={seed}");
        let seeded = Seeded::new(seed);
        let block = some_block(&seeded);
        let (_, body) = entry::encode_block(&super::lane("source"), 5, &block).remove(0);
        let file = file_of(1, &body);
        let body = Frames::new(1, file.clone()).next().unwrap().unwrap().body;
        let spoiled = spoil(&seeded, &body);
        // Behind the checksums, as if they were right.
        if let Ok(entry) = Entry::decode(&spoiled) {
            drop(entry.block());
        }
        drop(entry::decode_start(&spoiled));
        drop(serde_json::from_slice::<Record>(&spoiled));
        // And in front of them.
        let spoiled = spoil(&seeded, &file);
        drop(frame::check_header(Kind::Wal, 1, &spoiled));
        assert!(Frames::new(1, spoiled.clone()).take(100).count() < 100);
        frame::is_proven(1, &spoiled, 0);
    }
}

fn spoil(seeded: &Seeded, bytes: &Bytes) -> Bytes {
    let mut bytes = bytes.to_vec();
    for _ in 0..1 + seeded.below(4) {
        let at = seeded.below(bytes.len() as u64) as usize;
        match seeded.below(4) {
            0 => bytes[at] ^= 1 << seeded.below(8),
            1 => bytes[at] = 0xFF,
            2 => bytes.insert(at, seeded.next_u64() as u8),
            _ => bytes.truncate(at.max(1)),
        }
    }
    bytes.into()
}

#[test]
fn the_start_of_a_segment_is_read_as_it_was_written() {
    let starts = vec![
        Start { lane: super::lane("a"), next: 7, resume: Some(vec![0, 255]) },
        Start { lane: super::lane("b"), next: u64::MAX, resume: None },
    ];
    let file = file_of(3, &entry::encode_start(&starts));
    let frame = Frames::new(3, file).next().unwrap().unwrap();
    assert_eq!(entry::decode_start(&frame.body).unwrap(), starts);
}

#[test]
fn a_frame_is_valid_only_in_its_own_place() {
    let body = frame::Body::from(Bytes::from("body"));
    let mut buffers = Vec::new();
    body.frame(1, 100, 100, &mut buffers);
    let bytes = Bytes::from(buffers.concat());
    assert!(frame::parse(1, 100, &bytes).is_ok());
    assert!(frame::parse(2, 100, &bytes).is_err());
    assert!(frame::parse(1, 101, &bytes).is_err());
}

use millstream_model::{Payload, Rejected};

use super::*;

/// A record as it came out: its number, and its bytes or why it was rejected.
type Seen = (u64, Result<Vec<u8>, String>);

fn unpack(block: Block, seen: &mut Vec<Seen>) {
    match block.payload {
        Payload::Rejected(Rejected { error, .. }) => seen.push((block.position.record, Err(error))),
        Payload::Lines(bytes) => {
            assert!(bytes.len() <= BLOCK_BYTES_MAX && block.rows <= BLOCK_ROWS_MAX);
            let records: Vec<_> = bytes.split_inclusive(|byte| *byte == b'\n').collect();
            assert_eq!(records.len(), block.rows);
            let numbers = block.position.record..;
            seen.extend(numbers.zip(records).map(|(number, record)| (number, Ok(record.to_vec()))));
        }
        Payload::Rows(_) => panic!("the cutter gives lines"),
    }
}

/// Cuts `input`, given in reads of the lengths that `read` gives.
fn cut_in_reads(input: &[u8], rows_max: usize, read: impl FnMut() -> usize) -> Vec<Seen> {
    let mut cutter = Cutter::new("peer", rows_max);
    let seen = cut_all(&mut cutter, input, read);
    assert_eq!(cutter.records(), seen.len() as u64);
    seen
}

fn cut_all(cutter: &mut Cutter, input: &[u8], mut read: impl FnMut() -> usize) -> Vec<Seen> {
    let (mut seen, mut rest) = (Vec::new(), input);
    while !rest.is_empty() {
        let (now, later) = rest.split_at(read().clamp(1, rest.len()));
        cutter.room(now.len()).extend_from_slice(now);
        while let Some(cut) = cutter.cut() {
            unpack(cut, &mut seen);
        }
        rest = later;
    }
    cutter.finish().into_iter().for_each(|cut| unpack(cut, &mut seen));
    seen
}

/// A sequence of numbers that look random and are the same every time (xorshift).
fn numbers(mut seed: u64) -> impl FnMut() -> usize {
    move || {
        seed ^= seed << 13;
        seed ^= seed >> 7;
        seed ^= seed << 17;
        (seed >> 33) as usize
    }
}

#[test]
fn any_reads_give_the_same_records() {
    for seed in 1..200 {
        let mut number = numbers(seed);
        let letters = *b"ab\n\nc\r\n";
        let input: Vec<u8> = (0..number() % 300).map(|_| letters[number() % letters.len()]).collect();
        let expected: Vec<Seen> =
            (0..).zip(input.split_inclusive(|b| *b == b'\n').map(|r| Ok(r.to_vec()))).collect();
        for (longest, rows_max) in [(1, 3), (7, 1), (64, 32_768), (1000, 5)] {
            let seen = cut_in_reads(&input, rows_max, || number() % longest + 1);
            assert_eq!(seen, expected, "seed {seed}, reads up to {longest}");
        }
    }
}

#[test]
fn a_block_keeps_its_limits() {
    let many = b"\n".repeat(3 * BLOCK_ROWS_MAX / 2);
    assert_eq!(cut_in_reads(&many, BLOCK_ROWS_MAX, || many.len()).len(), many.len());
    let long = [b"x".repeat(BLOCK_BYTES_MAX / 3), b"\n".to_vec()].concat().repeat(10);
    assert_eq!(cut_in_reads(&long, BLOCK_ROWS_MAX, || long.len()).len(), 10);
}

#[test]
fn a_record_that_is_too_long_is_skipped_and_told() {
    let record = |bytes: usize| [b"x".repeat(bytes - 1), b"\n".to_vec()].concat();
    let (fits, too_long) = (record(RECORD_BYTES_MAX), record(RECORD_BYTES_MAX + 1));
    for reads in [1 << 12, 1 << 16, 1 << 20, usize::MAX] {
        let input = [b"first\n", &too_long[..], b"third\n", &fits, &too_long[1..], b"last"].concat();
        let seen = cut_in_reads(&input, BLOCK_ROWS_MAX, || reads);
        let whole: Vec<_> = seen.iter().map(|(_, record)| record.is_ok()).collect();
        assert_eq!(whole, [true, false, true, true, true, true], "reads of {reads}");
        assert_eq!(seen[5], (5, Ok(b"last".to_vec())));
    }
}

#[test]
fn a_record_too_long_for_its_end_is_told_at_the_end() {
    let input = b"x".repeat(RECORD_BYTES_MAX * 2);
    let seen = cut_in_reads(&input, BLOCK_ROWS_MAX, || 1 << 16);
    assert!(matches!(&seen[..], [(0, Err(error))] if error.contains("longer than")));
}

#[test]
fn what_broke_off_is_rejected() {
    let mut cutter = Cutter::new("peer", BLOCK_ROWS_MAX);
    cutter.room(16).extend_from_slice(b"whole\npart");
    assert!(matches!(cutter.cut(), Some(block) if block.rows == 1));
    assert!(cutter.cut().is_none());
    let last = cutter.abandon("connection reset").expect("a part is left");
    let Payload::Rejected(rejected) = last.payload else { panic!("it is not whole") };
    assert_eq!((last.position.record, &rejected.record[..]), (1, &b"part"[..]));
    assert!(cutter.abandon("connection reset").is_none());
}

#[test]
fn a_range_is_the_same_records_as_in_the_whole() {
    let too_long = [b"x".repeat(RECORD_BYTES_MAX + 1), b"\n".to_vec()].concat();
    for seed in 1..100 {
        let mut number = numbers(seed);
        let letters = *b"ab\n\nc\r\n";
        let mut input: Vec<u8> = (0..number() % 300).map(|_| letters[number() % letters.len()]).collect();
        if seed % 10 == 0 {
            let middle = input.len() / 2;
            input.splice(middle..middle, too_long.iter().copied());
        }
        let whole = cut_in_reads(&input, BLOCK_ROWS_MAX, || usize::MAX);
        for (longest, rows_max) in [(7, 1), (1000, 5), (1 << 20, 32_768)] {
            let start = number() % (whole.len() + 1);
            let end = start + number() % (whole.len() - start + 1);
            let mut cutter = Cutter::new("peer", rows_max).only(start as u64..end as u64);
            let seen = cut_all(&mut cutter, &input, || number() % longest + 1);
            assert_eq!(seen, whole[start..end], "seed {seed}, records {start}..{end}, reads up to {longest}");
        }
        let mut cutter = Cutter::new("peer", 3).only(whole.len() as u64 + 1..u64::MAX);
        assert!(cut_all(&mut cutter, &input, || 11).is_empty());
        assert_eq!(cutter.records(), whole.len() as u64, "seed {seed}: records passed over are counted");
    }
}

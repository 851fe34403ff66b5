use std::ops::ControlFlow;

use millstream_model::BatchTime;
use millstream_platform::{Randomness, Seeded};

use super::file::CHUNK_BYTES;
use super::{Cold, ColdFile, Records};
use crate::keyed::shard::{Known, hash};

/// Keys, states and times, from the oldest on.
type Expected = Vec<(Vec<u8>, Vec<u8>, i64)>;

fn content(cold: &Cold) -> Expected {
    let mut all = Vec::new();
    let visited = cold.visit(|known| {
        all.push((known.key.to_vec(), known.state.to_vec(), known.time.as_ms()));
        ControlFlow::Continue(())
    });
    assert!(visited.unwrap().is_continue());
    all
}

fn append(cold: &mut Cold, entries: &Expected) {
    let mut records = Records::default();
    for (key, state, time) in entries {
        records.push(hash(key), &Known { key, state, time: BatchTime::from_ms(*time) });
    }
    cold.append(&records).unwrap();
}

fn state(seeded: &Seeded) -> Vec<u8> {
    // Some are longer than a chunk, and many longer than what is read at a time.
    let length_max = match seeded.below(40) {
        0 => 2 * CHUNK_BYTES,
        1..10 => 5_000,
        _ => 300,
    };
    let length = seeded.below(length_max) as usize;
    vec![seeded.next_u64() as u8; length]
}

#[test]
fn keys_are_found_and_kept_in_order_until_they_leave() {
    for seed in Seeded::seeds(0..20) {
        println!("MILLSTREAM_SEED={seed}");
        let seeded = Seeded::new(seed);
        let file = ColdFile::in_memory();
        let (mut cold, mut expected, mut number) = (Cold::new(&file), Expected::new(), 0);
        let mut copy: Option<(Cold, Expected)> = None;
        for time in 0..60 {
            let more = (0..seeded.below(30)).map(|_| {
                number += 1;
                (format!("key {number}").into_bytes(), state(&seeded), time)
            });
            let more: Expected = more.collect();
            append(&mut cold, &more);
            expected.extend(more);
            // Sometimes the oldest leave, and sometimes any.
            let (leaving, of) = (seeded.below(40), 1 + seeded.below(expected.len() as u64 + 1));
            for _ in 0..leaving.min(expected.len() as u64) {
                let at = seeded.below(of.min(expected.len() as u64)) as usize;
                let (key, state, _) = expected.remove(at);
                let mut bytes = Vec::new();
                let (place, known) = cold.find(&key, &mut bytes).unwrap().expect("it is there");
                assert_eq!((known.key, known.state), (key.as_slice(), state.as_slice()));
                cold.remove(place, (key.len() + state.len()) as u64);
                assert!(cold.find(&key, &mut bytes).unwrap().is_none());
            }
            assert_eq!(content(&cold), expected);
            let bytes: usize = expected.iter().map(|(key, state, _)| key.len() + state.len()).sum();
            assert_eq!((cold.len(), cold.content_bytes()), (expected.len(), bytes as u64));
            cold.tidy().unwrap();
            assert_eq!(content(&cold), expected);
            // A copy is as it was, whatever came after it.
            if let Some((copy, expected)) = &copy {
                assert_eq!(&content(copy), expected);
            }
            if seeded.chance(1, 8) {
                copy = Some((cold.copy(), expected.clone()));
            }
        }
        assert!(cold.find(b"key 0", &mut Vec::new()).unwrap().is_none());
    }
}

#[test]
fn a_file_in_which_the_newest_leave_does_not_grow_for_ever() {
    let file = ColdFile::in_memory();
    let mut cold = Cold::new(&file);
    append(&mut cold, &vec![(b"one that stays".to_vec(), vec![7; 1_000], 0)]);
    for time in 1..2_000_i64 {
        let key = time.to_be_bytes().to_vec();
        append(&mut cold, &vec![(key.clone(), vec![8; 10_000], time)]);
        let (place, _) = cold.find(&key, &mut Vec::new()).unwrap().expect("it is there");
        cold.remove(place, 10_008);
        cold.tidy().unwrap();
    }
    assert_eq!(content(&cold).len(), 1);
    assert!(file.bytes() < 3 << 20, "{} bytes for one key", file.bytes());
}

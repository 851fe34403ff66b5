use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use crate::{Backoff, Randomness, Seeded, SystemRandomness};

#[test]
fn seeded_numbers_are_those_of_splitmix64() {
    let seeded = Seeded::new(1_234_567);
    let numbers: Vec<u64> = (0..3).map(|_| seeded.next_u64()).collect();
    assert_eq!(numbers, [6_457_827_717_110_365_317, 3_203_168_211_198_807_973, 9_817_491_932_198_370_423]);
}

#[test]
fn numbers_below_a_bound_reach_all_of_it_and_nothing_more() {
    let seeded = Seeded::new(7);
    let seen: BTreeSet<u64> = (0..1_000).map(|_| seeded.below(10)).collect();
    assert_eq!(seen, (0..10).collect());
    assert_eq!((seeded.below(0), seeded.below(1)), (0, 0));
}

#[test]
fn chances_come_true_as_often_as_they_say() {
    for (times, of, expected) in [
        (0, 5, 0..=0),
        (1, 4, 2_200..=2_800),
        (5, 5, 10_000..=10_000),
        (9, 5, 10_000..=10_000),
        (1, 0, 0..=0),
    ] {
        let seeded = Seeded::new(3);
        let hits = (0..10_000).filter(|_| seeded.chance(times, of)).count();
        assert!(expected.contains(&hits), "{times} of {of}: {hits}");
    }
}

#[test]
fn numbers_of_the_system_differ() {
    let seen: BTreeSet<u64> = (0..100).map(|_| SystemRandomness.next_u64()).collect();
    assert_eq!(seen.len(), 100);
}

/// Always the same number.
struct Constant(u64);

impl Randomness for Constant {
    fn next_u64(&self) -> u64 {
        self.0
    }
}

#[test]
fn waits_double_from_the_first_to_the_longest_and_begin_again_after_a_reset() {
    for (number, share) in [(0, 0.5), (u64::MAX, 1.0)] {
        let (first, longest) = (Duration::from_millis(100), Duration::from_millis(500));
        let mut backoff = Backoff::new(first, longest, Arc::new(Constant(number)));
        for whole_ms in [100.0, 200.0, 400.0, 500.0, 500.0] {
            assert_eq!(backoff.next().as_secs_f64() * 1_000.0, whole_ms * share);
        }
        backoff.reset();
        assert_eq!(backoff.next(), first.mul_f64(share));
    }
}

#[test]
fn two_clients_do_not_wait_alike() {
    let waits = [1, 2].map(|seed| {
        let second = Duration::from_secs(1);
        let mut backoff = Backoff::new(second, second * 60, Arc::new(Seeded::new(seed)));
        (0..10).map(|_| backoff.next()).collect::<Vec<_>>()
    });
    assert_ne!(waits[0], waits[1]);
}

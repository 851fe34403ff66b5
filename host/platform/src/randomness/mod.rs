//! Random numbers.
//!
//! They spread load and drive simulations; none of them is a secret.

mod backoff;
#[cfg(test)]
mod tests;

use std::hash::{BuildHasher, RandomState};
use std::ops::Range;
use std::sync::atomic::{AtomicU64, Ordering};

pub use backoff::Backoff;

/// Where random numbers come from.
pub trait Randomness: Send + Sync {
    /// The next number; all are equally likely.
    fn next_u64(&self) -> u64;
}

/// Numbers that nobody foresees.
#[derive(Clone, Copy, Debug, Default)]
pub struct SystemRandomness;

impl Randomness for SystemRandomness {
    /// Hashes nothing with the keys of a new hasher, which the standard library takes from the operating system
    /// once per thread and changes for each hasher.
    fn next_u64(&self) -> u64 {
        RandomState::new().hash_one(())
    }
}

/// The same numbers for the same seed: SplitMix64 (Steele, Lea and Flood, "Fast splittable pseudorandom number
/// generators", OOPSLA 2014).
#[derive(Debug)]
pub struct Seeded(AtomicU64);

impl Seeded {
    /// A sequence of numbers. Seeds that lie next to each other have unrelated ones.
    pub const fn new(seed: u64) -> Self {
        Self(AtomicU64::new(seed))
    }

    /// The seeds of a random test: the one that the environment variable `MILLSTREAM_SEED` gives, to be replayed, or `otherwise`.
    ///
    /// # Panics
    /// Where the variable is no number, or the largest there is.
    pub fn seeds(otherwise: Range<u64>) -> Range<u64> {
        match std::env::var("MILLSTREAM_SEED") {
            Ok(seed) => {
                let seed: u64 = seed.parse().expect("MILLSTREAM_SEED is a number");
                seed..seed.checked_add(1).expect("MILLSTREAM_SEED is less than the largest number")
            }
            Err(_) => otherwise,
        }
    }

    /// Makes something else of bytes, as a damage of a file may: from somewhere on they are gone, or others, or there are more of them.
    pub fn spoil(&self, bytes: &mut Vec<u8>) {
        let at = self.below(bytes.len() as u64) as usize;
        match self.below(4) {
            0 => bytes.truncate(at),
            1 => bytes[at..].iter_mut().for_each(|byte| *byte = self.next_u64() as u8),
            2 => bytes[at..].fill(0xFF),
            _ => bytes.extend((0..at).map(|_| self.next_u64() as u8)),
        }
    }

    /// A number from 0 to `n` - 1; 0 where `n` is 0.
    ///
    /// Some are likelier than others by less than one in 2^64 / `n`.
    pub fn below(&self, n: u64) -> u64 {
        let product = u128::from(self.next_u64()) * u128::from(n);
        (product >> 64) as u64
    }

    /// True `times` times out of `of`; never where `of` is 0.
    pub fn chance(&self, times: u64, of: u64) -> bool {
        self.below(of) < times.min(of)
    }
}

impl Randomness for Seeded {
    fn next_u64(&self) -> u64 {
        const GAMMA: u64 = 0x9e37_79b9_7f4a_7c15;
        let state = self.0.fetch_add(GAMMA, Ordering::Relaxed).wrapping_add(GAMMA);
        let mixed = (state ^ (state >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }
}

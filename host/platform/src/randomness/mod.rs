//! Random numbers.
//!
//! They spread load and drive simulations; none of them is a secret.

mod backoff;
#[cfg(test)]
mod tests;

use std::hash::{BuildHasher, RandomState};
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

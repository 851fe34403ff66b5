//! Crashes: a pipeline is killed again and again, at moments by chance, at every named point and by faults of the system,
//! and each time goes on as if nothing had been.
//!
//! `MILLSTREAM_CRASH_ROUNDS` says how often it is killed by chance; a test prints its seed, and `MILLSTREAM_SEED`
//! plays it again. The folder of a test that fails is kept.

mod faults;
pub(crate) mod feed;
mod outputs;
mod outside;
mod points;
mod random;
pub(crate) mod trial;

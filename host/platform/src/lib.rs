//! Clock, disk and randomness: the real ones, and ones that tests control.
//!
//! No other crate of the host reads the time of day. The journal and the engine touch the disk through [`Disk`]
//! alone, so that a simulation runs them unchanged.
//!
//! | trait | the real one | ones that tests control |
//! |---|---|---|
//! | [`Clock`] | [`SystemClock`] | [`ManualClock`]: stands still until it is turned |
//! | [`Disk`] | [`SystemDisk`] | [`MemoryDisk`]: loses on a power cut what was not synced; [`FaultyDisk`]: fails |
//! | [`Randomness`] | [`SystemRandomness`] | [`Seeded`]: the same numbers for the same seed |
//!
//! The disks stack: a simulation gives each life of its process a new [`FaultyDisk`] around the one [`MemoryDisk`],
//! stops it after so many operations, cuts the power, and recovers on what is left. [`crash_point`] does the
//! like to a whole process.
//!
//! What tests control is deterministic: the same calls in the same order with the same seeds have the same
//! results, on every machine.

mod clock;
mod cpu;
mod crash_point;
mod disk;
mod randomness;
mod spare;
mod task;

pub use clock::{Clock, ManualClock, SystemClock};
pub use cpu::{cpu_by_thread, process_cpu, thread_cpu};
pub use crash_point::{CRASH_POINTS, MIGRATION_POINTS, TAKEOVER_POINTS, UPGRADE_POINTS, crash_point};
pub use disk::{
    Append, Disk, Fault, FaultyDisk, MemoryDisk, MemoryScratch, Operation, Scratch, Stopped, SystemDisk,
    make_folder,
};
pub use randomness::{Backoff, Randomness, Seeded, SystemRandomness};
pub use spare::Spare;
pub use task::Task;

//! What calls take: counted where they are made, kept until somebody takes it.
//!
//! A call is written down when it ends in whatever way, also when it is given up in the middle of it. Time is that of the
//! processor, taken around each poll of the call: what a call waits for, and what other calls compute meanwhile on the
//! same thread, is not its own.

use std::collections::BTreeMap;
use std::future::poll_fn;
use std::pin::pin;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};

use millstream_model::{BatchTime, Usage, Usages, add_usages};
use millstream_platform::thread_cpu;

use crate::volume::Volume;

/// Batches of which anything is kept. Where nobody takes it, what there is of more goes to the oldest of them.
const BATCHES_MAX: usize = 64;

/// What the calls of a plugin took that nobody has taken yet, by batch and function.
#[derive(Debug, Default)]
pub(crate) struct Meter(Mutex<BTreeMap<BatchTime, Usages>>);

/// A call that is being made. Dropped, it is written down.
pub(crate) struct Entry<'m> {
    meter: &'m Meter,
    function: &'m str,
    batch: BatchTime,
    usage: Usage,
    cpu_ns: AtomicU64,
    memory: OnceLock<Largest>,
}

/// The largest memory that an instance had, in bytes. Clones share it.
#[derive(Clone, Debug, Default)]
pub(crate) struct Largest(Arc<AtomicUsize>);

impl Largest {
    pub(crate) fn see(&self, bytes: usize) {
        self.0.fetch_max(bytes, Ordering::Relaxed);
    }
}

impl Meter {
    /// Begins a call of a function with what it is given.
    pub(crate) fn enter<'m>(&'m self, function: &'m str, batch: BatchTime, given: Volume) -> Entry<'m> {
        let Volume { rows, bytes } = given;
        // Until it has answered, a call is one that failed.
        let usage = Usage { calls: 1, failed_calls: 1, rows_in: rows, bytes_in: bytes, ..Usage::default() };
        Entry { meter: self, function, batch, usage, cpu_ns: AtomicU64::new(0), memory: OnceLock::new() }
    }

    /// What the calls of that batch and earlier ones took.
    pub(crate) fn take(&self, batch: BatchTime) -> Usages {
        let mut kept = self.kept();
        let later = kept.split_off(&BatchTime::from_ms(batch.as_ms().saturating_add(1)));
        let taken = std::mem::replace(&mut *kept, later);
        drop(kept);
        let mut sums = Usages::new();
        taken.values().for_each(|usages| add_usages(&mut sums, usages));
        sums
    }

    fn write_down(&self, batch: BatchTime, function: &str, usage: Usage) {
        let mut kept = self.kept();
        let oldest = kept.first_key_value().map(|(time, _)| *time);
        let batch = match oldest {
            Some(oldest) if kept.len() >= BATCHES_MAX && !kept.contains_key(&batch) => oldest,
            _ => batch,
        };
        let usages = kept.entry(batch).or_default();
        match usages.get_mut(function) {
            Some(sum) => *sum += usage,
            None => drop(usages.insert(function.to_owned(), usage)),
        }
    }

    fn kept(&self) -> MutexGuard<'_, BTreeMap<BatchTime, Usages>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Entry<'_> {
    /// Counts the time that `work` computes.
    pub(crate) async fn time<T>(&self, work: impl Future<Output = T>) -> T {
        let mut work = pin!(work);
        poll_fn(|context| {
            let begun = thread_cpu();
            let polled = work.as_mut().poll(context);
            let spent = thread_cpu().saturating_sub(begun).as_nanos();
            self.cpu_ns.fetch_add(u64::try_from(spent).unwrap_or(u64::MAX), Ordering::Relaxed);
            polled
        })
        .await
    }

    /// The call runs in one instance, whose memory that is.
    pub(crate) fn runs_in(&self, memory: &Largest) {
        self.memory.get_or_init(|| memory.clone());
    }

    /// The call has answered with so much, and is believed.
    pub(crate) fn answered(&mut self, given: Volume) {
        let Volume { rows, bytes } = given;
        (self.usage.failed_calls, self.usage.rows_out, self.usage.bytes_out) = (0, rows, bytes);
    }
}

impl Drop for Entry<'_> {
    fn drop(&mut self) {
        self.usage.cpu_ns = self.cpu_ns.load(Ordering::Relaxed);
        let memory = self.memory.get().map_or(0, |Largest(memory)| memory.load(Ordering::Relaxed));
        self.usage.memory_bytes_max = memory as u64;
        self.meter.write_down(self.batch, self.function, self.usage);
    }
}

//! What bounds the memory that blocks take.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use tokio::sync::Notify;

use super::settings::{InletSettings, Storage};

/// Bytes that blocks keep in memory, from when they are sent until their batch is done.
#[derive(Debug, Default)]
pub(super) struct Budget {
    used: AtomicUsize,
    pub(super) room: Notify,
}

/// A part of a budget; given back when it is dropped.
#[derive(Debug)]
pub(crate) struct Lease {
    budget: Arc<Budget>,
    bytes: usize,
}

impl Budget {
    pub(super) fn used(&self) -> usize {
        self.used.load(Ordering::Acquire)
    }

    pub(super) fn lease(self: &Arc<Self>, bytes: usize) -> Lease {
        self.used.fetch_add(bytes, Ordering::AcqRel);
        Lease { budget: Arc::clone(self), bytes }
    }
}

impl Drop for Lease {
    fn drop(&mut self) {
        self.budget.used.fetch_sub(self.bytes, Ordering::AcqRel);
        self.budget.room.notify_waiters();
    }
}

/// Whether a block stays in memory when `used` of `settings` is in use.
pub(super) fn stays_in_memory(settings: &InletSettings, used: usize) -> bool {
    match settings.storage {
        Storage::Memory => true,
        Storage::MemoryAndDisk => used < settings.bytes_max,
        Storage::Disk => false,
    }
}

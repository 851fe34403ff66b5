//! The way in: a bounded queue of blocks between a source and the batches.
//!
//! The queue never holds more bytes than its limit plus one block, whatever the source sends: a source that is ahead
//! waits in [`Inlet::send`], and with it whoever feeds the source. Nothing is dropped.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use millstream_model::{Block, DeadLetter, Payload};
use thiserror::Error;
use tokio::sync::{Notify, watch};

/// How much a queue holds, and what its source is to do.
#[derive(Clone, Copy, Debug)]
pub struct InletLimits {
    /// At this many bytes the source waits.
    pub bytes_max: usize,
    /// At this many rows a batch is full.
    pub batch_rows_max: usize,
    /// Whether the source delivers what is there now and then ends.
    pub once: bool,
}

/// The source's end of its queue. Clones send to the same queue; when the last is dropped, the source has ended.
pub struct Inlet {
    queue: Arc<Queue>,
    closed: watch::Receiver<bool>,
}

/// The engine's end of the queue.
pub struct Outlet {
    queue: Arc<Queue>,
    close: watch::Sender<bool>,
}

/// The pipeline is stopping. The block that was being sent is taken, so that nothing received is lost; no more are.
#[derive(Debug, Error)]
#[error("the pipeline is stopping")]
pub struct Closed;

struct Queue {
    source: String,
    limits: InletLimits,
    held: Mutex<Held>,
    space: Notify,
    change: Notify,
}

#[derive(Default)]
struct Held {
    blocks: VecDeque<Block>,
    rows: usize,
    bytes: usize,
    letters: Vec<DeadLetter>,
    letters_uncounted: u64,
    inlets: usize,
}

impl Inlet {
    /// The two ends of a queue for the source named `source`.
    pub fn new(source: &str, limits: InletLimits) -> (Self, Outlet) {
        let queue = Arc::new(Queue {
            source: source.to_owned(),
            limits,
            held: Mutex::new(Held { inlets: 1, ..Held::default() }),
            space: Notify::new(),
            change: Notify::new(),
        });
        let (close, closed) = watch::channel(false);
        (Self { queue: Arc::clone(&queue), closed }, Outlet { queue, close })
    }

    /// Hands over a block of whole records; waits while the queue is at its limit of bytes.
    pub async fn send(&self, block: Block) -> Result<(), Closed> {
        let mut closed = self.closed.clone();
        loop {
            let space = self.queue.space.notified();
            let is_closed = *closed.borrow_and_update();
            if is_closed || self.queue.has_space() {
                self.queue.push(block);
                return if is_closed { Err(Closed) } else { Ok(()) };
            }
            tokio::select! {
                () = space => {}
                // An outlet that is gone has closed first.
                _changed = closed.changed() => {}
            }
        }
    }

    /// Completes when the pipeline stops receiving. Sources select on it wherever they wait.
    pub async fn closed(&self) {
        // An outlet that is gone has closed its inlets as well.
        let mut closed = self.closed.clone();
        let _closed = closed.wait_for(|closed| *closed).await;
    }

    /// Whether the source is to deliver what is there now and then return.
    pub fn once(&self) -> bool {
        self.queue.limits.once
    }

    /// Puts a record aside that the source itself cannot cut or read.
    pub fn reject(&self, letter: DeadLetter) {
        self.queue.reject(letter);
    }

    /// Tells operators of a fault that the source survives, as one line.
    pub fn report(&self, fault: &str) {
        tracing::warn!(source = self.queue.source, "{fault}");
    }
}

impl Clone for Inlet {
    fn clone(&self) -> Self {
        self.queue.held().inlets += 1;
        Self { queue: Arc::clone(&self.queue), closed: self.closed.clone() }
    }
}

impl Drop for Inlet {
    fn drop(&mut self) {
        self.queue.held().inlets -= 1;
        self.queue.change.notify_waiters();
    }
}

impl Outlet {
    /// Whole blocks from the front, and a part of one where it would be too many: at most a batch's rows.
    pub fn take(&self) -> Vec<Block> {
        let mut room = self.queue.limits.batch_rows_max;
        let mut taken = Vec::new();
        let mut held = self.queue.held();
        while room > 0 {
            let Some(mut block) = held.blocks.pop_front() else { break };
            held.bytes -= block.size_bytes();
            held.rows -= block.rows;
            if block.rows > room {
                let rest = split_off(&mut block, room);
                held.bytes += rest.size_bytes();
                held.rows += rest.rows;
                held.blocks.push_front(rest);
            }
            room = room.saturating_sub(block.rows);
            taken.push(block);
        }
        drop(held);
        self.queue.space.notify_waiters();
        taken
    }

    /// The records that the source put aside since this was asked last, and how many more there were than are kept.
    pub fn take_letters(&self) -> (Vec<DeadLetter>, u64) {
        let mut held = self.queue.held();
        (std::mem::take(&mut held.letters), std::mem::take(&mut held.letters_uncounted))
    }

    /// Lets the source send nothing more; what was sent stays.
    pub fn close(&self) {
        self.close.send_replace(true);
    }

    /// Whether the source has ended and everything it sent was taken.
    pub fn is_exhausted(&self) -> bool {
        let held = self.queue.held();
        held.inlets == 0 && held.blocks.is_empty()
    }

    /// Completes when a batch is full: of rows, of bytes, or because no more will come.
    pub async fn full(&self) {
        loop {
            let change = self.queue.change.notified();
            if self.queue.is_full() {
                return;
            }
            change.await;
        }
    }
}

impl Drop for Outlet {
    fn drop(&mut self) {
        self.close();
    }
}

/// Records that are kept of those put aside between two batches; more are only counted.
const LETTERS_MAX: usize = 10_000;

impl Queue {
    fn held(&self) -> MutexGuard<'_, Held> {
        self.held.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn has_space(&self) -> bool {
        self.held().bytes < self.limits.bytes_max
    }

    fn is_full(&self) -> bool {
        let held = self.held();
        held.inlets == 0 || held.rows >= self.limits.batch_rows_max || held.bytes >= self.limits.bytes_max
    }

    fn push(&self, block: Block) {
        if block.rows == 0 {
            return;
        }
        let mut held = self.held();
        held.rows += block.rows;
        held.bytes += block.size_bytes();
        held.blocks.push_back(block);
        drop(held);
        self.change.notify_waiters();
    }

    fn reject(&self, letter: DeadLetter) {
        let mut held = self.held();
        match held.letters.len() < LETTERS_MAX {
            true => held.letters.push(letter),
            false => held.letters_uncounted += 1,
        }
    }
}

/// Leaves the first `rows` records in `block` and gives the others.
fn split_off(block: &mut Block, rows: usize) -> Block {
    let payload = match &mut block.payload {
        Payload::Lines(bytes) => {
            let end = memchr::memchr_iter(b'\n', bytes).nth(rows - 1).map_or(bytes.len(), |at| at + 1);
            Payload::Lines(bytes.split_off(end))
        }
        Payload::Rows(batch) => {
            let rest = batch.slice(rows, batch.num_rows() - rows);
            *batch = batch.slice(0, rows);
            Payload::Rows(rest)
        }
    };
    let rest = Block { payload, rows: block.rows - rows, position: block.position.after(rows as u64) };
    block.rows = rows;
    rest
}

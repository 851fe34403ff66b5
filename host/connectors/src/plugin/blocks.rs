//! What a receiver brought, gathered into blocks, and what sends them while more is gathered.
//!
//! A block ends with a delivery and has its position, so that it is safe with it or not at all: after a crash the receiver
//! goes on behind the last block that was safe. While the process lives it goes on behind the last that was sent,
//! whatever happens to the receiver; blocks that were sent are in memory, in order.

use std::sync::Arc;
use std::time::Duration;

use arrow::compute::concat_batches;
use arrow::datatypes::SchemaRef;
use arrow::record_batch::RecordBatch;
use bytes::Bytes;
use millstream_engine::{Closed, Inlet, Receipt};
use millstream_model::{Block, Delivery, Payload, Position};
use tokio::sync::mpsc;
use tokio::time::Instant;

use super::compact::compact;

/// Bytes, rows and deliveries that are sent without looking for more.
const BYTES_MAX: usize = 512 << 10;
const ROWS_MAX: usize = 65_536;
const DELIVERIES_MAX: usize = 1_024;

/// What was delivered and not sent yet.
#[derive(Default)]
pub(super) struct Gathered {
    rows: Vec<RecordBatch>,
    count: usize,
    bytes: usize,
    position: Option<Bytes>,
    /// When it is sent, at the latest.
    pub(super) due: Option<Instant>,
}

impl Gathered {
    pub(super) fn add(&mut self, delivery: Delivery, block_interval: Duration) {
        let Delivery { rows, position, .. } = delivery;
        self.due.get_or_insert_with(|| Instant::now() + block_interval);
        self.count += rows.num_rows();
        self.bytes += rows.get_array_memory_size();
        self.rows.push(rows);
        self.position = position.or(self.position.take());
    }

    pub(super) fn is_empty(&self) -> bool {
        self.rows.is_empty()
    }

    /// Whether it is a block's worth, where blocks have `rows_max` rows.
    pub(super) fn is_full(&self, rows_max: usize) -> bool {
        let rows_max = rows_max.min(ROWS_MAX);
        self.bytes >= BYTES_MAX || self.count >= rows_max || self.rows.len() >= DELIVERIES_MAX
    }

    /// Whether it has waited for more as long as it may.
    pub(super) fn is_due(&self) -> bool {
        self.due.is_some_and(|due| due <= Instant::now())
    }
}

/// Where what was gathered goes out: one at a time is on its way.
pub(super) struct Outgoing {
    gathered: mpsc::Sender<Gathered>,
    sent: mpsc::Receiver<Sent>,
    is_busy: bool,
}

/// What became of what was gathered.
pub(super) struct Sent {
    /// The position behind it, and what tells when it is safe.
    pub(super) position: Option<(Bytes, Receipt)>,
    /// It is taken also where the pipeline stops.
    pub(super) result: Result<(), Closed>,
}

/// Makes blocks of what is gathered, and waits until they are taken.
pub(super) struct Sender<'a> {
    origin: &'a Arc<str>,
    schema: SchemaRef,
    inlet: &'a Inlet,
    gathered: mpsc::Receiver<Gathered>,
    sent: mpsc::Sender<Sent>,
}

/// The way from a receiver's life to its inlet, for as long as `Sender::run` runs beside it.
pub(super) fn way<'a>(origin: &'a Arc<str>, schema: SchemaRef, inlet: &'a Inlet) -> (Outgoing, Sender<'a>) {
    let (to_sender, gathered) = mpsc::channel(1);
    let (from_sender, sent) = mpsc::channel(1);
    let outgoing = Outgoing { gathered: to_sender, sent, is_busy: false };
    (outgoing, Sender { origin, schema, inlet, gathered, sent: from_sender })
}

impl Outgoing {
    /// Whether there is something on its way.
    pub(super) fn is_busy(&self) -> bool {
        self.is_busy
    }

    /// Sends what was gathered; nothing else may be on its way.
    pub(super) fn send(&mut self, gathered: Gathered) {
        let is_taken = self.gathered.try_send(gathered).is_ok();
        assert!(
            is_taken && !self.is_busy,
            "the sender has nothing else, and runs for as long as this is there"
        );
        self.is_busy = true;
    }

    /// What becomes of what is on its way, when it is known. Never comes where nothing is. Dropped, it has taken nothing.
    pub(super) async fn sent(&mut self) -> Sent {
        match self.sent.recv().await {
            Some(sent) => {
                self.is_busy = false;
                sent
            }
            None => std::future::pending().await,
        }
    }
}

impl Sender<'_> {
    /// Sends until nobody gathers any more.
    pub(super) async fn run(mut self) {
        while let Some(gathered) = self.gathered.recv().await {
            let sent = self.send(gathered).await;
            // A life that is cut off does not ask.
            if self.sent.send(sent).await.is_err() {
                return;
            }
        }
    }

    async fn send(&self, gathered: Gathered) -> Sent {
        let Gathered { rows, position, .. } = gathered;
        let whole = concat_batches(&self.schema, &rows).expect("deliveries have the described columns");
        // Rows with a position are safe together or not at all.
        let piece_rows = if position.is_some() { usize::MAX } else { self.inlet.block_rows_max() };
        let mut result = Ok(());
        for start in (0..whole.num_rows()).step_by(piece_rows) {
            let piece = whole.slice(start, piece_rows.min(whole.num_rows() - start));
            let piece = if piece.num_rows() < whole.num_rows() { compact(&piece) } else { piece };
            result = result.and(self.inlet.send(self.block(piece, position.clone())).await.map(drop));
        }
        let receipt = self.inlet.receipt();
        Sent { position: position.map(|position| (position, receipt)), result }
    }

    fn block(&self, rows: RecordBatch, resume: Option<Bytes>) -> Block {
        let position = Position { origin: Arc::clone(self.origin), record: self.inlet.records() };
        Block { rows: rows.num_rows(), payload: Payload::Rows(rows), position, resume }
    }
}

//! A receiver of a plugin as a source.
//!
//! It is polled with deadlines. What it brings is gathered into blocks as a socket's bytes are: sent on when it is a block's
//! worth, when the block interval has passed since the first of it came, or when no more comes. A block ends with a
//! delivery and has its position, so that it is safe with it or not at all: after a crash the receiver goes on behind the
//! last block that was safe. While the process lives it goes on behind the last that was sent, whatever happens to
//! the receiver; blocks that were sent are in memory, in order.
//!
//! Only what a block has on disk is acknowledged, between two polls. A receiver that does not come back in time when the
//! pipeline stops is cut off; what it has not delivered it delivers to the next life.

use std::collections::VecDeque;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use arrow::compute::concat_batches;
use arrow::datatypes::SchemaRef;
use arrow::record_batch::RecordBatch;
use async_trait::async_trait;
use bytes::Bytes;
use millstream_engine::{Closed, Inlet, Receipt, Source, SourceError};
use millstream_model::{Block, Delivery, FunctionError, Payload, Position, Receiver, Receiving};
use tokio::time::{Instant, sleep, timeout};

use super::compact::compact;
use super::is_rejected;

/// How long a poll waits at most for rows, so that a stop and acknowledgements need not wait longer.
const POLL_TIME_MAX: Duration = Duration::from_millis(200);
/// The same while there is something to acknowledge.
const ACKNOWLEDGE_TIME: Duration = Duration::from_millis(20);
/// How long a receiver rests that came back without rows before its time.
const EMPTY_PAUSE: Duration = Duration::from_millis(5);
/// What is left to a call when the pipeline stops.
const LAST_CALL_TIME_MAX: Duration = Duration::from_secs(2);
/// What it may take until the last rows are safe, and the receiver has stopped. With the call before it, it is less than
/// the engine leaves to a source.
const PART_TIME_MAX: Duration = Duration::from_secs(6);
/// Bytes, rows and deliveries that are sent without looking for more.
const GATHER_BYTES: usize = 512 << 10;
const GATHER_ROWS: usize = 65_536;
const GATHER_DELIVERIES: usize = 1_024;

/// The source of a receiver.
pub(crate) struct PluginSource {
    /// `plugin.function`: the origin of its rows.
    name: Arc<str>,
    receiver: Arc<dyn Receiver>,
}

/// A receiver that runs.
struct Life<'a> {
    origin: &'a Arc<str>,
    schema: SchemaRef,
    receiving: Box<dyn Receiving>,
    inlet: &'a Inlet,
    gathered: Gathered,
    /// Positions of blocks that were sent and are not known to be safe, in order.
    unsafe_positions: VecDeque<(Bytes, Receipt)>,
}

/// What was delivered and not sent yet.
#[derive(Default)]
struct Gathered {
    rows: Vec<RecordBatch>,
    count: usize,
    bytes: usize,
    position: Option<Bytes>,
    /// When it is sent, at the latest.
    due: Option<Instant>,
}

/// How a life ended.
enum End {
    /// There are no more rows, ever.
    Finished,
    /// The pipeline stops.
    Closed,
    /// The pipeline stops, and the receiver did not come back from a call.
    CutOff,
    Failed(FunctionError),
}

impl PluginSource {
    pub(crate) fn new(name: &str, receiver: Arc<dyn Receiver>) -> Self {
        Self { name: name.into(), receiver }
    }
}

#[async_trait]
impl Source for PluginSource {
    async fn run(&self, inlet: Inlet) -> Result<(), SourceError> {
        let position = inlet.resume();
        let started = tokio::select! {
            () = inlet.closed() => return Ok(()),
            started = self.receiver.start(position.clone()) => started,
        };
        let receiving = started.map_err(|error| match is_rejected(&error) {
            true => SourceError::Refused(format!("starting {error}")),
            false => SourceError::Failed(format!("starting {error}")),
        })?;
        let life = Life {
            origin: &self.name,
            schema: Arc::new(self.receiver.description().output.to_arrow()),
            receiving,
            inlet: &inlet,
            gathered: Gathered::default(),
            // What an earlier life brought is acknowledged in this one.
            unsafe_positions: position.map(|position| (position, inlet.receipt())).into_iter().collect(),
        };
        life.run().await
    }
}

impl Life<'_> {
    async fn run(mut self) -> Result<(), SourceError> {
        let end = loop {
            if let Some(end) = self.step().await {
                break end;
            }
        };
        // What was delivered was taken from outside: it stays, whatever has ended.
        let sent = self.send_all().await;
        match end {
            End::Finished | End::Closed => self.part().await,
            End::CutOff => {
                tracing::debug!(source = &**self.origin, "cut off in a call, for the pipeline stops")
            }
            End::Failed(error) if sent.is_ok() => return Err(SourceError::Failed(error.to_string())),
            End::Failed(error) => self.inlet.report(&error.to_string()),
        }
        Ok(())
    }

    /// Acknowledges what is safe, polls once, and sends on what is due.
    async fn step(&mut self) -> Option<End> {
        if let Some(position) = self.newly_safe().await {
            match unless_closed(self.inlet, self.receiving.acknowledge(position)).await {
                None => return Some(End::CutOff),
                Some(Err(error)) => return Some(End::Failed(error)),
                Some(Ok(())) => {}
            }
        }
        let patience = self.patience();
        let ended = match unless_closed(self.inlet, self.receiving.poll(patience)).await {
            None => return Some(End::CutOff),
            Some(Err(error)) => return Some(End::Failed(error)),
            Some(Ok(delivery)) => self.gather(delivery, patience).await,
        };
        if ended {
            return Some(End::Finished);
        }
        if self.gathered.is_due() && self.send_all().await.is_err() {
            return Some(End::Closed);
        }
        is_ready(self.inlet.closed()).await.is_some().then_some(End::Closed)
    }

    /// How long a poll may wait for rows.
    fn patience(&self) -> Duration {
        let most = if self.unsafe_positions.is_empty() { POLL_TIME_MAX } else { ACKNOWLEDGE_TIME };
        let due = self.gathered.due.map(|due| due.saturating_duration_since(Instant::now()));
        due.map_or(most, |due| due.min(most))
    }

    /// Takes in a delivery; says whether it is the last. A receiver that does not wait for rows is not asked again at once.
    async fn gather(&mut self, delivery: Delivery, patience: Duration) -> bool {
        let ended = delivery.ended;
        if delivery.rows.num_rows() > 0 {
            self.gathered.add(delivery, self.inlet.block_interval());
        } else if !ended && !patience.is_zero() {
            tokio::select! {
                () = self.inlet.closed() => {}
                () = sleep(EMPTY_PAUSE.min(patience)) => {}
            }
        }
        ended
    }

    /// The last position whose rows have become safe since the last call.
    async fn newly_safe(&mut self) -> Option<Bytes> {
        let mut last = None;
        while let Some((_, receipt)) = self.unsafe_positions.front() {
            // Where the log has failed it is not known what is safe, and the pipeline ends.
            let Some(Ok(())) = is_ready(receipt.durable()).await else { break };
            last = self.unsafe_positions.pop_front().map(|(position, _)| position);
        }
        last
    }

    /// Sends on all that was gathered; it is taken also where the pipeline stops.
    async fn send_all(&mut self) -> Result<(), Closed> {
        let Gathered { rows, position, .. } = std::mem::take(&mut self.gathered);
        if rows.is_empty() {
            return Ok(());
        }
        let whole = concat_batches(&self.schema, &rows).expect("deliveries have the described columns");
        // Rows with a position are safe together or not at all.
        let piece_rows = if position.is_some() { usize::MAX } else { self.inlet.block_rows_max() };
        let mut sent = Ok(());
        for start in (0..whole.num_rows()).step_by(piece_rows) {
            let piece = whole.slice(start, piece_rows.min(whole.num_rows() - start));
            let piece = if piece.num_rows() < whole.num_rows() { compact(&piece) } else { piece };
            sent = sent.and(self.inlet.send(self.block(piece, position.clone())).await.map(drop));
        }
        let receipt = self.inlet.receipt();
        self.unsafe_positions.extend(position.map(|position| (position, receipt)));
        sent
    }

    fn block(&self, rows: RecordBatch, resume: Option<Bytes>) -> Block {
        let position = Position { origin: Arc::clone(self.origin), record: self.inlet.records() };
        Block { rows: rows.num_rows(), payload: Payload::Rows(rows), position, resume }
    }

    /// Tells the receiver what is safe when all of it is, and stops it, within bounded time.
    async fn part(&mut self) {
        let last = self.unsafe_positions.pop_back();
        let parting = async {
            if let Some((position, receipt)) = last
                && receipt.durable().await.is_ok()
            {
                self.receiving.acknowledge(position).await?;
            }
            self.receiving.stop().await
        };
        match timeout(PART_TIME_MAX, parting).await {
            Ok(Ok(())) => {}
            Ok(Err(error)) => self.inlet.report(&format!("stopping {error}")),
            Err(_) => self.inlet.report(&format!("{} did not stop within {PART_TIME_MAX:?}", self.origin)),
        }
    }
}

impl Gathered {
    fn add(&mut self, delivery: Delivery, block_interval: Duration) {
        let Delivery { rows, position, .. } = delivery;
        self.due.get_or_insert_with(|| Instant::now() + block_interval);
        self.count += rows.num_rows();
        self.bytes += rows.get_array_memory_size();
        self.rows.push(rows);
        self.position = position.or(self.position.take());
    }

    /// Whether it does not wait for more.
    fn is_due(&self) -> bool {
        let is_full =
            self.bytes >= GATHER_BYTES || self.count >= GATHER_ROWS || self.rows.len() >= GATHER_DELIVERIES;
        is_full || self.due.is_some_and(|due| due <= Instant::now())
    }
}

/// What a call comes to; nothing, if the pipeline stops meanwhile and the call does not end soon.
async fn unless_closed<T>(inlet: &Inlet, call: impl Future<Output = T>) -> Option<T> {
    let mut call = pin!(call);
    tokio::select! {
        biased;
        done = &mut call => return Some(done),
        () = inlet.closed() => {}
    }
    timeout(LAST_CALL_TIME_MAX, call).await.ok()
}

/// What a future has come to, if it has.
async fn is_ready<T>(future: impl Future<Output = T>) -> Option<T> {
    tokio::select! {
        biased;
        done = future => Some(done),
        () = std::future::ready(()) => None,
    }
}

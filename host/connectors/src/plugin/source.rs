//! A receiver of a plugin as a source.
//!
//! It is polled with deadlines. What it brings is gathered into blocks as a socket's bytes are: sent on when it is a block's
//! worth, when the block interval has passed since the first of it came, or when no more comes. While a block waits for
//! room or for the source's rate the next is gathered; when that is full as well, the receiver is not polled, but
//! still told what has become safe.
//!
//! Only what a block has on disk is acknowledged, between two polls. A receiver that does not come back in time when the
//! pipeline stops is cut off; what it has not delivered it delivers to the next life.

use std::collections::VecDeque;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use millstream_engine::{CLOSE_TIME_MAX, Closed, Inlet, Receipt, Source, SourceError};
use millstream_model::{Delivery, FunctionError, Receiver, Receiving};
use tokio::time::{Instant, sleep, timeout};

use super::blocks::{Gathered, Outgoing, Sent, way};
use super::is_rejected;

/// How long a poll waits at most for rows, so that a stop and acknowledgements need not wait longer.
const POLL_TIME_MAX: Duration = Duration::from_millis(200);
/// The same while there is something to acknowledge.
const ACKNOWLEDGE_TIME: Duration = Duration::from_millis(20);
/// How long a receiver rests that came back without rows before its time.
const EMPTY_PAUSE: Duration = Duration::from_millis(5);
/// What is left to a call when the pipeline stops.
const LAST_CALL_TIME_MAX: Duration = Duration::from_secs(2);
/// What it may take until the last rows are safe, and the receiver has stopped.
const PART_TIME_MAX: Duration = Duration::from_secs(6);
/// A receiver has both when the pipeline stops. Only one that is not cut off says why.
const _: () =
    assert!(LAST_CALL_TIME_MAX.as_millis() + PART_TIME_MAX.as_millis() < CLOSE_TIME_MAX.as_millis());

/// The source of a receiver.
pub(crate) struct PluginSource {
    /// `plugin.function`: the origin of its rows.
    name: Arc<str>,
    receiver: Arc<dyn Receiver>,
}

/// A receiver that runs.
struct Life<'a> {
    origin: &'a Arc<str>,
    receiving: Box<dyn Receiving>,
    inlet: &'a Inlet,
    gathered: Gathered,
    outgoing: Outgoing,
    /// Whether all was taken before the pipeline stopped.
    sent: Result<(), Closed>,
    /// Positions of blocks that were sent and are not known to be safe, in order.
    unsafe_positions: VecDeque<(Bytes, Receipt)>,
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
        let schema = Arc::new(self.receiver.description().output.to_arrow());
        let (outgoing, sender) = way(&self.name, schema, &inlet);
        let life = Life {
            origin: &self.name,
            receiving,
            inlet: &inlet,
            gathered: Gathered::default(),
            outgoing,
            sent: Ok(()),
            // What an earlier life brought is acknowledged in this one.
            unsafe_positions: position.map(|position| (position, inlet.receipt())).into_iter().collect(),
        };
        let (ended, ()) = tokio::join!(life.run(), sender.run());
        ended
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
        self.flush().await;
        match end {
            End::Finished | End::Closed => self.part().await,
            End::CutOff => {
                tracing::debug!(source = &**self.origin, "cut off in a call, for the pipeline stops")
            }
            End::Failed(error) if self.sent.is_ok() => return Err(SourceError::Failed(error.to_string())),
            End::Failed(error) => self.inlet.report(&error.to_string()),
        }
        Ok(())
    }

    /// Acknowledges what is safe, polls once, and sends on what is due. Makes no further call once the pipeline stops.
    async fn step(&mut self) -> Option<End> {
        if let Some(sent) = is_ready(self.outgoing.sent()).await {
            self.note(sent);
        }
        if let Some(end) = self.acknowledge().await {
            return Some(end);
        }
        if self.is_closed().await {
            return Some(End::Closed);
        }
        let patience = self.patience();
        let ended = match unless_closed(self.inlet, self.receiving.poll(patience)).await {
            None => return Some(End::CutOff),
            Some(Err(error)) => return Some(End::Failed(error)),
            Some(Ok(delivery)) => self.gather(delivery, patience).await,
        };
        let is_full = self.gathered.is_full(self.inlet.block_rows_max());
        let is_due = !self.outgoing.is_busy() && self.gathered.is_due();
        if (ended || is_full || is_due)
            && let Some(end) = self.send_on().await
        {
            return Some(end);
        }
        if ended {
            return Some(self.until_sent().await.unwrap_or(End::Finished));
        }
        self.is_closed().await.then_some(End::Closed)
    }

    /// Whether the pipeline stops, or its log has failed.
    async fn is_closed(&mut self) -> bool {
        self.sent.is_err() || is_ready(self.inlet.closed()).await.is_some()
    }

    /// Says what has become safe since the last time.
    async fn acknowledge(&mut self) -> Option<End> {
        let position = self.newly_safe().await?;
        match unless_closed(self.inlet, self.receiving.acknowledge(position)).await {
            None => Some(End::CutOff),
            Some(Err(error)) => Some(End::Failed(error)),
            Some(Ok(())) => None,
        }
    }

    /// How long a poll may wait for rows.
    fn patience(&self) -> Duration {
        if self.outgoing.is_busy() {
            return ACKNOWLEDGE_TIME;
        }
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
        while is_ready(safe(self.unsafe_positions.front())).await.is_some() {
            last = self.unsafe_positions.pop_front().map(|(position, _)| position);
        }
        last
    }

    /// Sends on what was gathered, once nothing else is on its way.
    async fn send_on(&mut self) -> Option<End> {
        let end = self.until_sent().await;
        if end.is_none() && !self.gathered.is_empty() {
            self.outgoing.send(std::mem::take(&mut self.gathered));
        }
        end
    }

    /// Waits until nothing is on its way. Meanwhile it says what has become safe, however long it takes.
    async fn until_sent(&mut self) -> Option<End> {
        while self.outgoing.is_busy() {
            let sent = tokio::select! {
                biased;
                () = self.inlet.closed() => return Some(End::Closed),
                sent = self.outgoing.sent() => Some(sent),
                () = safe(self.unsafe_positions.front()) => None,
            };
            match sent {
                Some(sent) => self.note(sent),
                None => {
                    if let Some(end) = self.acknowledge().await {
                        return Some(end);
                    }
                }
            }
        }
        None
    }

    /// Sends all that was gathered; it is taken also where the pipeline stops.
    async fn flush(&mut self) {
        while self.outgoing.is_busy() || !self.gathered.is_empty() {
            if !self.outgoing.is_busy() {
                self.outgoing.send(std::mem::take(&mut self.gathered));
            }
            let sent = self.outgoing.sent().await;
            self.note(sent);
        }
    }

    fn note(&mut self, sent: Sent) {
        let Sent { position, result } = sent;
        self.unsafe_positions.extend(position);
        self.sent = self.sent.and(result);
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

/// Comes when what is before that position is safe.
async fn safe(position: Option<&(Bytes, Receipt)>) {
    match position {
        Some((_, receipt)) if receipt.durable().await.is_ok() => {}
        // Where the log has failed it is not known what is safe, and the pipeline ends.
        _ => std::future::pending().await,
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

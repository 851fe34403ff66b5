//! The way in: sources whose records a test gives.

use std::sync::Arc;

use arrow::datatypes::SchemaRef;
use arrow::record_batch::RecordBatch;
use async_trait::async_trait;
use millstream_engine::{Closed, Decoder, Inlet, Source, SourceError};
use millstream_model::{Block, DeadLetter, Payload};
use tokio::sync::{Mutex, mpsc, oneshot};

/// The test's end of a source.
pub(super) struct Feed(mpsc::UnboundedSender<Fed>);

struct Fed {
    blocks: Vec<Block>,
    safe: oneshot::Sender<()>,
}

/// Sends what the test feeds it.
pub(super) struct GivenSource(Mutex<mpsc::UnboundedReceiver<Fed>>);

/// Reads what the test gives: rows as they are, records as the pipeline's source reads them.
pub(super) struct GivenDecoder {
    pub(super) schema: SchemaRef,
    pub(super) records: Arc<dyn Decoder>,
}

/// A source and the end that feeds it.
pub(super) fn given() -> (Feed, GivenSource) {
    let (feed, fed) = mpsc::unbounded_channel();
    (Feed(feed), GivenSource(Mutex::new(fed)))
}

impl Feed {
    /// Gives the source blocks, and waits until the next batch will take them; for as long as the pipeline runs.
    pub(super) async fn give(&self, blocks: Vec<Block>) {
        let (safe, told) = oneshot::channel();
        if self.0.send(Fed { blocks, safe }).is_ok() {
            // Where the pipeline has ended, its end tells why.
            told.await.ok();
        }
    }
}

impl GivenSource {
    async fn send(inlet: &Inlet, fed: Fed) -> Result<(), Closed> {
        for block in fed.blocks {
            inlet.send(block).await?.durable().await?;
        }
        // Who waited for it may have gone.
        fed.safe.send(()).ok();
        Ok(())
    }
}

#[async_trait]
impl Source for GivenSource {
    async fn run(&self, inlet: Inlet) -> Result<(), SourceError> {
        let mut fed = self.0.lock().await;
        loop {
            let next = tokio::select! {
                next = fed.recv() => next,
                () = inlet.closed() => None,
            };
            let Some(next) = next else { return Ok(()) };
            if Self::send(&inlet, next).await.is_err() {
                return Ok(());
            }
        }
    }
}

impl Decoder for GivenDecoder {
    fn schema(&self) -> SchemaRef {
        Arc::clone(&self.schema)
    }

    fn decode(&self, block: &Block, reject: &mut dyn FnMut(DeadLetter)) -> RecordBatch {
        match &block.payload {
            Payload::Rows(rows) => rows.clone(),
            Payload::Lines(_) | Payload::Rejected(_) => self.records.decode(block, reject),
        }
    }

    fn records(&self, block: &Block) -> Vec<u64> {
        match &block.payload {
            Payload::Rows(rows) => (0..rows.num_rows() as u64).collect(),
            Payload::Lines(_) | Payload::Rejected(_) => self.records.records(block),
        }
    }
}

//! One batch: its rows, cut; its run; its commit.

use std::sync::Arc;

use millstream_model::{BatchTime, Block};
use millstream_query::{Chunks, Output, Program, QueryError};

use crate::chunks::BlockChunks;
use crate::engine::SinkBinding;
use crate::output::Staged;
use crate::{DeadLetters, Decoder, EngineError};

/// Everything that a batch computes from. It stays until the commit, so that a batch can be run again.
pub(crate) struct Batch {
    pub(crate) time: BatchTime,
    pub(crate) inputs: Vec<BatchInput>,
}

/// What one source gave to a batch.
pub(crate) struct BatchInput {
    pub(crate) source: String,
    pub(crate) blocks: Arc<Vec<Block>>,
    pub(crate) decoder: Arc<dyn Decoder>,
}

/// What runs batches, and what they leave behind.
pub(crate) struct Processor {
    pub(crate) program: Program,
    pub(crate) sinks: Vec<SinkBinding>,
    pub(crate) dead_letters: DeadLetters,
}

impl Batch {
    pub(crate) fn rows(&self) -> usize {
        self.inputs.iter().flat_map(|input| input.blocks.iter()).map(|block| block.rows).sum()
    }
}

impl Processor {
    /// Runs the batch to its commit. One that fails by what a fresh plugin instance or a second try may mend
    /// is run once more.
    pub(crate) async fn process(&mut self, batch: &Batch) -> Result<(), EngineError> {
        match self.attempt(batch).await {
            Err(EngineError::Batch { source: QueryError::Function(error), .. }) => {
                tracing::warn!(batch = %batch.time, "{error}; running the batch once more");
                self.attempt(batch).await
            }
            result => result,
        }
    }

    async fn attempt(&mut self, batch: &Batch) -> Result<(), EngineError> {
        let time = batch.time;
        let staged = Arc::new(Staged::begin(&mut self.sinks, time).await?);
        let inputs = chunks(batch);
        let given = inputs.iter().map(|(name, chunks)| (name.clone(), Arc::clone(chunks) as Arc<dyn Chunks>));
        let output = Arc::clone(&staged) as Arc<dyn Output>;
        let ran = self.program.run(time, given.collect(), output).await;
        ran.map_err(|source| EngineError::Batch { time, source })?;
        for (_, chunks) in &inputs {
            let (letters, uncounted) = chunks.take_rejected();
            self.dead_letters.write(&letters, uncounted)?;
        }
        staged.commit(time).await
    }
}

fn chunks(batch: &Batch) -> Vec<(String, Arc<BlockChunks>)> {
    let chunks = |input: &BatchInput| {
        let chunks = BlockChunks::new(Arc::clone(&input.blocks), Arc::clone(&input.decoder));
        (input.source.clone(), Arc::new(chunks))
    };
    batch.inputs.iter().map(chunks).collect()
}

//! The way from a source's cuts to its inlet: blocks at the source's rate, rejected records to the dead letters.

use std::sync::Arc;

use millstream_engine::{Closed, Inlet};
use millstream_model::pipeline::SourceSpec;
use millstream_model::{Block, DeadLetter};

use crate::cut::{BLOCK_ROWS_MAX, Cut, Cutter};
use crate::rate::Rate;

/// What a source is called and how fast it may be.
#[derive(Clone)]
pub(crate) struct Origin {
    source: Arc<str>,
    rate: Option<Arc<Rate>>,
}

/// A source's inlet. Clones share the source's rate.
#[derive(Clone)]
pub(crate) struct Intake {
    origin: Origin,
    inlet: Inlet,
}

impl Origin {
    pub(crate) fn new(spec: &SourceSpec) -> Self {
        let rate = spec.max_rate.map(|rate| Arc::new(Rate::new(rate)));
        Self { source: spec.name.value.as_str().into(), rate }
    }

    pub(crate) fn intake(&self, inlet: Inlet) -> Intake {
        Intake { origin: self.clone(), inlet }
    }
}

impl Intake {
    pub(crate) fn inlet(&self) -> &Inlet {
        &self.inlet
    }

    /// The source's name.
    pub(crate) fn source(&self) -> &str {
        &self.origin.source
    }

    /// The most rows of a block.
    pub(crate) fn block_rows_max(&self) -> usize {
        self.origin.rate.as_ref().map_or(BLOCK_ROWS_MAX, |rate| rate.block_rows_max())
    }

    /// A cutter for what `origin` gives.
    pub(crate) fn cutter(&self, origin: &str) -> Cutter {
        Cutter::new(origin, self.block_rows_max())
    }

    /// Sends what was cut on its way.
    pub(crate) async fn take(&self, cut: Cut) -> Result<(), Closed> {
        match cut {
            Cut::Block(block) => self.send(block).await,
            Cut::Rejected(rejected) => {
                let letter =
                    DeadLetter::new(self.source(), rejected.position, rejected.error, &rejected.record);
                self.inlet.reject(letter);
                Ok(())
            }
        }
    }

    async fn send(&self, block: Block) -> Result<(), Closed> {
        if let Some(rate) = &self.origin.rate {
            // A closed inlet takes what was received before it closed, and there is no more to slow down.
            tokio::select! {
                () = self.inlet.closed() => {}
                () = rate.wait(block.rows) => {}
            }
        }
        self.inlet.send(block).await
    }
}

//! A pipeline as the engine runs it: checked, compiled and wired to its connectors.

use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use millstream_journal::Limits;
use millstream_model::{BatchTime, Block, Lane, Metered, OriginRange, Usages, Version, add_usages};
use millstream_platform::Disk;
use millstream_query::{Program, Warming};
use millstream_state::{Limits as StateLimits, States};

use crate::receive::{InletSettings, PidError, PidEstimator, PidSettings};
use crate::{DeadLetters, Decoder, EngineError, Sink, Source, SourceError, Tables, Upgrades};

/// A pipeline, ready to run.
pub struct Application {
    /// Its name.
    pub name: String,
    /// From one batch to the next.
    pub batch_interval: Duration,
    /// What it computes, between which connectors.
    pub code: Code,
    /// Where its journal is; none: nothing survives the process.
    pub checkpoint: Option<Checkpoint>,
    /// How much states may take, in memory and in the checkpoint folder.
    pub state_limits: StateLimits,
    /// How batches are run.
    pub policy: Policy,
    /// Where rejected records go.
    pub dead_letters: DeadLetters,
    /// Who may ask for other code while it runs.
    pub upgrades: Upgrades,
}

/// What one version of a pipeline computes, and between which connectors.
pub struct Code {
    /// Which version that is.
    pub version: Version,
    /// What the batches compute.
    pub programs: Programs,
    /// What their streams keep from batch to batch. Where they keep anything, one batch runs at a time.
    pub states: Arc<States>,
    /// Where rows come from.
    pub sources: Vec<SourceBinding>,
    /// What rows are joined with.
    pub tables: Tables,
    /// Where rows go.
    pub sinks: Vec<SinkBinding>,
    /// Who accounts for the calls of functions.
    pub metered: Vec<Arc<dyn Metered>>,
}

/// The same program as often as batches may run at once.
pub struct Programs {
    warming: Warming,
    idle: Arc<Mutex<Vec<Program>>>,
    all: usize,
}

/// A source under its name in the pipeline.
#[derive(Clone)]
pub struct SourceBinding {
    /// The input's name in the program.
    pub name: String,
    /// Brings records in.
    pub source: Arc<dyn Source>,
    /// Reads them.
    pub decoder: Arc<dyn Decoder>,
    /// How many receivers of it run at once.
    pub parallelism: u32,
    /// How much they may bring in, all together.
    pub settings: InletSettings,
    /// Tells it from others of its name in other versions: where it is the same, its receivers go on through an upgrade.
    pub identity: String,
    /// Tells what its blocks hold: where it is the same, another version reads what was received for this one.
    pub format: String,
}

/// A sink under its name in the pipeline.
#[derive(Clone)]
pub struct SinkBinding {
    /// Its name.
    pub name: String,
    /// The relation whose rows it takes.
    pub from: String,
    /// Takes rows out.
    pub sink: Arc<dyn Sink>,
    /// Tells it from others of its name in other versions: where it is the same, this one is kept through an upgrade.
    pub identity: String,
}

/// The folder from which a pipeline goes on after it has ended in whatever way.
pub struct Checkpoint {
    /// The disk that it is on.
    pub disk: Arc<dyn Disk>,
    /// The folder.
    pub folder: PathBuf,
    /// How much of it is kept.
    pub limits: Limits,
    /// Finds the code of batches that an earlier version of the pipeline began.
    pub versions: Arc<dyn Versions>,
}

/// The versions of a pipeline's code that its checkpoint folder keeps.
#[async_trait]
pub trait Versions: Send + Sync {
    /// The code of `version`, wired to its connectors; one program is enough.
    ///
    /// # Errors
    /// What is missing or does not load, and what the operator can do.
    async fn load(&self, version: &Version) -> Result<Code, String>;
}

/// How batches are run.
#[derive(Clone, Copy, Debug)]
pub struct Policy {
    /// How often a batch that fails is tried in all.
    pub attempts: u32,
    /// What happens when it has failed that often.
    pub on_failure: OnFailure,
    /// Whether a batch waits for a function that cannot do its work. Otherwise it fails.
    pub quarantine: bool,
    /// What happens to the ticks that passed while no batch could be cut.
    pub catch_up: CatchUp,
    /// How receivers are slowed down when batches are behind.
    pub backpressure: Backpressure,
}

/// What happens when a batch has failed for good.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum OnFailure {
    /// The pipeline stops; the batch is the first to run when it is started again.
    #[default]
    Stop,
    /// The batch gives no rows, and the pipeline goes on.
    Continue,
}

/// What happens to the ticks that passed while no batch could be cut.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum CatchUp {
    /// One batch, of the last tick's time, has all records.
    #[default]
    OneBatch,
    /// Each has a batch; the first has the records.
    EveryBatch,
}

/// How receivers are slowed down when batches are behind. That memory is bounded slows them down in any case.
#[derive(Clone, Copy, Debug, Default)]
pub struct Backpressure(pub Option<PidSettings>);

impl SourceBinding {
    /// The lanes of its receivers.
    pub(crate) fn lanes(&self) -> impl Iterator<Item = Lane> + use<> {
        let source = self.name.clone();
        (0..self.parallelism.max(1)).map(move |receiver| Lane { source: source.clone(), receiver })
    }
}

impl Programs {
    /// Programs that were compiled from the same text.
    pub fn new(programs: Vec<Program>) -> Self {
        // They are of the same operators.
        let warming = programs.first().map(Program::warming).unwrap_or_default();
        Self { warming, all: programs.len(), idle: Arc::new(Mutex::new(programs)) }
    }

    /// `count` of those in `idle`, which others go on with afterwards.
    #[cfg(test)]
    pub(crate) fn borrowed(idle: &Arc<Mutex<Vec<Program>>>, count: usize) -> Self {
        Self { warming: Warming::default(), idle: Arc::clone(idle), all: count }
    }

    /// What of them is made ready for their first batch.
    pub(crate) fn warming(&self) -> Warming {
        self.warming.clone()
    }

    /// How many batches may run at once.
    pub(crate) fn count(&self) -> usize {
        self.all
    }

    /// One that runs nothing.
    pub(crate) fn take(&self) -> Option<Program> {
        self.idle.lock().unwrap_or_else(PoisonError::into_inner).pop()
    }

    /// Gives one back.
    pub(crate) fn put(&self, program: Program) {
        self.idle.lock().unwrap_or_else(PoisonError::into_inner).push(program);
    }
}

impl Code {
    /// Whether it reads the blocks of a source of its own or another version.
    pub(crate) fn reads(&self, source: &SourceBinding) -> bool {
        self.sources.iter().any(|own| own.name == source.name && own.format == source.format)
    }

    /// Whether it reads all that is received for another version.
    pub(crate) fn reads_all(&self, other: &Self) -> bool {
        other.sources.iter().all(|source| self.reads(source))
    }

    /// What the calls for a batch took, and what is left of those for earlier ones.
    pub(crate) fn take_usage(&self, batch: BatchTime) -> Usages {
        let mut sums = Usages::new();
        self.metered.iter().for_each(|metered| add_usages(&mut sums, &metered.take_usage(batch)));
        sums
    }

    /// Reads records of a direct source again.
    pub(crate) async fn read_again(
        &self,
        lane: &Lane,
        range: &OriginRange,
    ) -> Result<Vec<Block>, EngineError> {
        let fault = |source| EngineError::Source { name: lane.to_string(), source };
        let binding = self.sources.iter().find(|binding| binding.name == lane.source);
        match binding.and_then(|binding| binding.source.direct()) {
            Some(direct) => direct.read(range).await.map_err(fault),
            None => {
                let reason = format!("a batch took records of {}, which it cannot read again", range.origin);
                Err(fault(SourceError::Refused(reason)))
            }
        }
    }
}

impl Backpressure {
    /// An estimator for one receiver.
    ///
    /// # Errors
    /// Its settings are none that it can work with.
    pub(crate) fn estimator(&self, batch_interval: Duration) -> Result<Option<PidEstimator>, PidError> {
        self.0.map(|settings| PidEstimator::new(settings, batch_interval)).transpose()
    }
}

impl Default for Policy {
    fn default() -> Self {
        Self {
            attempts: 2,
            on_failure: OnFailure::Stop,
            quarantine: true,
            catch_up: CatchUp::OneBatch,
            backpressure: Backpressure(None),
        }
    }
}

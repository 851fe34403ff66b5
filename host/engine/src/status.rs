//! What a running pipeline shows of itself.

use std::collections::{BTreeMap, VecDeque};
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use millstream_journal::Ledger;
use millstream_model::{BatchTime, Usages, add_usages};
use serde::{Deserialize, Serialize};
use tokio::sync::watch;

use crate::Cpu;

/// Batches that are shown.
const RECENT_MAX: usize = 20;

/// A running pipeline, at one moment.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct Status {
    /// The pipeline's name.
    pub pipeline: String,
    /// What it is doing.
    pub phase: Phase,
    /// Batches committed, ever.
    pub batches: u64,
    /// Records in them.
    pub records: u64,
    /// Records put aside, ever.
    pub dead_letters: u64,
    /// Batches that were cut and are not committed.
    pub queued_batches: usize,
    /// The last batches, the newest last.
    pub recent: Vec<BatchStatus>,
    /// The receivers of all sources.
    pub receivers: Vec<ReceiverStatus>,
    /// Counters of plugins.
    pub accumulators: BTreeMap<String, i64>,
    /// What the calls of functions took since the process began, of all batches that are done.
    #[serde(default)]
    pub functions: Usages,
    /// What the process computes; none where it is not looked at.
    #[serde(default)]
    pub cpu: Option<Cpu>,
    /// Bytes of the write-ahead log; none without a checkpoint folder.
    pub log_bytes: Option<u64>,
    /// What keeps the pipeline from going on, while it waits for that to pass; or why its tables are older than they should be.
    pub trouble: Option<String>,
    /// The last batch that failed, and why.
    pub failure: Option<String>,
    /// Functions that cannot do their work, and the batches that wait for them.
    #[serde(default)]
    pub quarantine: Vec<QuarantineStatus>,
    /// How far the upgrade is that was asked for.
    #[serde(default)]
    pub upgrade: Option<UpgradeStage>,
    /// How the version that runs is tried out, while it is.
    #[serde(default)]
    pub probation: Option<ProbationStatus>,
    /// That the last upgrade was taken back.
    #[serde(default)]
    pub taken_back: Option<TakenBack>,
}

/// How far an upgrade is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "stage", rename_all = "kebab-case", rename_all_fields = "kebab-case")]
pub enum UpgradeStage {
    /// What it reads is opened, or a batch waited for behind which it can begin.
    Opening,
    /// Its states are made of those that there are.
    MakingStates,
    /// It runs beside the stream, and what it gives is compared.
    Comparing {
        /// Batches so far.
        batches: u64,
        /// Batches in all.
        of: u64,
    },
    /// It runs beside the stream until it has done the same batches.
    CatchingUp,
    /// Receivers make way.
    Switching,
}

impl fmt::Display for UpgradeStage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Opening => f.write_str("is made ready"),
            Self::MakingStates => f.write_str("its states are made, beside the stream"),
            Self::Comparing { batches, of } => {
                write!(f, "compared beside the stream, {batches} of {of} batches")
            }
            Self::CatchingUp => f.write_str("catches up, beside the stream"),
            Self::Switching => f.write_str("takes over"),
        }
    }
}

/// A version that is tried out.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct ProbationStatus {
    /// Batches of it with records that are to be committed until it has passed.
    pub batches_left: u32,
    /// How often it has failed so far.
    pub failures: u64,
    /// How often it may fail.
    pub failures_max: u64,
}

/// An upgrade that was taken back, since the version failed on probation.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct TakenBack {
    /// What failed first.
    pub reason: String,
    /// The last batch that had been cut until the version before was back.
    pub after: Option<BatchTime>,
    /// Batches that had begun with the version that failed, and were given to the one before.
    pub reassigned: usize,
}

/// A function that is left alone for a while, since it cannot do its work.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct QuarantineStatus {
    /// The plugin's name.
    pub plugin: String,
    /// The function: `plugin.function`.
    pub function: String,
    /// What it does instead.
    pub reason: String,
    /// The batch that it holds up.
    pub batch: BatchTime,
    /// Since when, in milliseconds since 1970.
    pub since_ms: i64,
    /// When the batch is tried again, in milliseconds since 1970.
    pub until_ms: i64,
    /// How often it was tried so far.
    pub tries: u32,
}

/// What a pipeline is doing.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Phase {
    /// It finishes what an earlier process left.
    #[default]
    Recovering,
    /// It receives and computes.
    Running,
    /// It computes what was received, and then ends.
    Stopping,
}

/// A batch that is done.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct BatchStatus {
    /// The batch.
    pub time: BatchTime,
    /// Records in.
    pub records: u64,
    /// From the batch's time to when it began to run.
    pub scheduling_delay_ms: f64,
    /// What it took to run and to commit from then on.
    pub processing_ms: f64,
    /// What it waited meanwhile: for a function in quarantine, for a sink that did not take it, for room on the disk, and
    /// for the batches before it.
    #[serde(default)]
    pub held_up_ms: f64,
    /// All of these.
    pub total_delay_ms: f64,
    /// Why it gave nothing, if it failed and the pipeline went on.
    pub failure: Option<String>,
    /// What its calls of functions took, those of all attempts.
    #[serde(default, skip_serializing_if = "Usages::is_empty")]
    pub functions: Usages,
}

/// A receiver.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct ReceiverStatus {
    /// Its source's name, and its number where the source has several.
    pub receiver: String,
    /// What it is doing.
    pub state: ReceiverState,
    /// Records it has sent since the process began.
    pub records: u64,
    /// Blocks likewise.
    pub blocks: u64,
    /// Records that wait for a batch.
    pub queued_records: u64,
    /// Their bytes.
    pub queued_bytes: u64,
    /// Bytes of these that are on disk alone.
    pub spilled_bytes: u64,
    /// Bytes of its records in memory, those of unfinished batches among them.
    pub memory_bytes: u64,
    /// Whether it waits for room: the batches are behind.
    pub waiting: bool,
    /// Rows a second that it is held to.
    pub rate: Option<f64>,
    /// How often it was started again.
    pub restarts: u64,
    /// What went wrong last.
    pub error: Option<String>,
}

/// What a receiver is doing.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum ReceiverState {
    /// It receives.
    #[default]
    Active,
    /// It failed and waits to be started again.
    Waiting,
    /// It has no more.
    Ended,
}

/// Where a running pipeline writes its status and others read it. Clones share it.
#[derive(Clone, Debug, Default)]
pub struct Board(Arc<Shared>);

#[derive(Debug, Default)]
struct Shared {
    shown: Mutex<Shown>,
    /// [`Status::phase`] and [`Status::batches`], to be waited for.
    reached: watch::Sender<(Phase, u64)>,
}

#[derive(Debug, Default)]
struct Shown {
    status: Status,
    /// Tables that are older than they should be, and why.
    table_trouble: Option<String>,
    /// The sink that the batches wait for, and why.
    sink_trouble: Option<String>,
    recent: VecDeque<BatchStatus>,
}

impl Status {
    /// Goes on counting where an earlier process ended.
    pub fn carry_on(&mut self, ledger: &Ledger) {
        (self.batches, self.records, self.dead_letters) =
            (ledger.batches, ledger.records, ledger.dead_letters);
        self.accumulators.clone_from(&ledger.accumulators);
        self.queued_batches = ledger.pending.len();
        self.failure = ledger.failure.as_ref().map(|failure| failure.error.clone());
    }
}

impl Board {
    /// The board of the pipeline named `pipeline`.
    pub fn new(pipeline: &str) -> Self {
        let board = Self::default();
        board.shown().status.pipeline = pipeline.to_owned();
        board
    }

    /// What it shows now.
    pub fn read(&self) -> Status {
        let shown = self.shown();
        let mut status = shown.status.clone();
        status.recent = shown.recent.iter().cloned().collect();
        let others = || shown.sink_trouble.clone().or_else(|| shown.table_trouble.clone());
        status.trouble = status.trouble.or_else(others);
        status
    }

    /// Says what is wrong with tables, until they are read again.
    pub(crate) fn table_trouble(&self, trouble: Option<String>) {
        self.shown().table_trouble = trouble;
    }

    /// Says why a sink does not take a batch, until it has; whatever becomes of other batches meanwhile.
    pub(crate) fn sink_trouble(&self, trouble: Option<String>) {
        self.shown().sink_trouble = trouble;
    }

    /// Waits until the pipeline has finished what an earlier process left: from then on its batches go by the clock.
    pub async fn running(&self) {
        self.wait_for(|(phase, _)| *phase != Phase::Recovering).await;
    }

    /// Waits until it shows so many batches, ever.
    pub async fn reached(&self, batches: u64) {
        self.wait_for(|(_, shown)| *shown >= batches).await;
    }

    async fn wait_for(&self, reached: impl FnMut(&(Phase, u64)) -> bool) {
        let shown = self.0.reached.subscribe().wait_for(reached).await.is_ok();
        debug_assert!(shown, "the board is here, and so is who tells of it");
    }

    pub(crate) fn update(&self, change: impl FnOnce(&mut Status)) {
        let mut shown = self.shown();
        change(&mut shown.status);
        self.0.reached.send_replace((shown.status.phase, shown.status.batches));
    }

    pub(crate) fn batch_done(&self, batch: BatchStatus, dead_letters: u64) {
        let mut shown = self.shown();
        shown.status.batches += 1;
        shown.status.records += batch.records;
        shown.status.dead_letters += dead_letters;
        add_usages(&mut shown.status.functions, &batch.functions);
        if shown.recent.len() == RECENT_MAX {
            shown.recent.pop_front();
        }
        shown.recent.push_back(batch);
        self.0.reached.send_replace((shown.status.phase, shown.status.batches));
    }

    fn shown(&self) -> MutexGuard<'_, Shown> {
        self.0.shown.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

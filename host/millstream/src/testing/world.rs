//! The world of one test: a clock that the test turns, a disk in memory, and the lives of the pipeline's process in it.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result};
use async_trait::async_trait;
use millstream_connectors::decoder;
use millstream_engine::{
    Application, Board, Checkpoint, Code, DeadLetters, Engine, EngineError, InletSettings, Mode, Policy,
    Programs, SinkBinding, SourceBinding, StopHandle, Summary, Tables, Upgrades, Versions,
};
use millstream_journal::{Archive, Limits};
use millstream_model::pipeline::{Pipeline, SourceSpec, TestSpec};
use millstream_model::{BatchTime, Block, Version};
use millstream_pipeline::Checked;
use millstream_platform::{Disk, ManualClock, MemoryDisk, Seeded};
use millstream_query::Program;
use millstream_state::Store;
use tokio::task::JoinHandle;

use super::collected::{Collected, Collecting};
use super::given::{Feed, GivenDecoder, given};
use super::table::given as given_table;
use crate::load::Subject;
use crate::wire::{policy, settings, state_limits, tables, version};

const CHECKPOINT: &str = "checkpoint";
const DEAD_LETTERS: &str = "dead-letters.jsonl";

/// What outlives the pipeline's process.
pub(super) struct World<'t> {
    subject: &'t Subject,
    test: &'t TestSpec,
    interval: Duration,
    clock: ManualClock,
    disk: MemoryDisk,
    pub(super) collected: Collected,
    /// How many have been run.
    batches: u64,
}

/// A process of the pipeline.
pub(super) struct Life {
    feeds: BTreeMap<String, Feed>,
    board: Board,
    /// None once it has ended by itself.
    running: Option<JoinHandle<Result<Summary, EngineError>>>,
    /// Dropped, it says nothing.
    _stop: StopHandle,
}

impl<'t> World<'t> {
    pub(super) fn new(subject: &'t Subject, test: &'t TestSpec, interval: Duration) -> Self {
        let (clock, disk, collected) =
            (ManualClock::new(test.start_ms), MemoryDisk::new(), Collected::default());
        Self { subject, test, interval, clock, disk, collected, batches: 0 }
    }

    /// Starts the pipeline where its checkpoint was left.
    pub(super) async fn start(&self) -> Result<Life> {
        let checked = self.subject.check().await?;
        let (code, feeds) = self.code(&checked).await?;
        let pipeline = &checked.pipeline;
        let disk: Arc<dyn Disk> = Arc::new(self.disk.clone());
        let application = Application {
            name: pipeline.name.clone(),
            batch_interval: pipeline.batch_interval,
            code,
            checkpoint: pipeline.checkpoint.is_some().then(|| Checkpoint {
                disk: Arc::clone(&disk),
                folder: PathBuf::from(CHECKPOINT),
                limits: Limits { history_bytes: pipeline.history_bytes, ..Limits::default() },
                versions: Arc::new(OneVersion),
            }),
            state_limits: state_limits(pipeline),
            upgrades: Upgrades::none(),
            // A test's clock stands while a batch runs: there is no waiting for a function in it.
            policy: Policy { quarantine: false, ..policy(pipeline) },
            dead_letters: DeadLetters::file(disk, PathBuf::from(DEAD_LETTERS)),
        };
        let (stop, told) = StopHandle::new();
        let board = Board::new(&pipeline.name);
        let engine = Engine::single(Arc::new(self.clock.clone()), Arc::new(Seeded::new(1)));
        let of_run = board.clone();
        let running =
            tokio::spawn(async move { engine.run(application, Mode::Continuous, told, of_run).await });
        Ok(Life { feeds, board, running: Some(running), _stop: stop })
    }

    async fn code(&self, checked: &Checked) -> Result<(Code, BTreeMap<String, Feed>)> {
        let wanted = wanted(self.test, &checked.pipeline);
        let program = Program::compile(&checked.relations, &wanted, 1).await;
        let program = program.context("compiling the pipeline")?;
        let read: BTreeSet<String> = program.inputs().map(str::to_owned).collect();
        let (mut sources, mut feeds) = (Vec::new(), BTreeMap::new());
        for spec in checked.pipeline.sources.iter().filter(|spec| read.contains(&spec.name.value)) {
            let (feed, binding) = bind(checked, spec)?;
            feeds.insert(binding.name.clone(), feed);
            sources.push(binding);
        }
        let sink = |stream: &&str| SinkBinding {
            name: (*stream).to_owned(),
            from: (*stream).to_owned(),
            sink: Arc::new(Collecting { stream: (*stream).to_owned(), collected: self.collected.clone() }),
            identity: (*stream).to_owned(),
        };
        let inputs: Vec<String> = read.into_iter().collect();
        let bindings = tables(&checked.pipeline, &inputs).into_iter();
        let bindings = bindings.map(|binding| given_table(binding, checked, self.test, &self.clock));
        let code = Code {
            tables: Tables::new(bindings.collect::<Result<_>>()?, checked.pipeline.table_memory_bytes),
            version: version(self.subject.text(), checked),
            programs: Programs::new(vec![program]),
            states: Arc::clone(&checked.states),
            sources,
            sinks: wanted.iter().map(sink).collect(),
            metered: Vec::new(),
        };
        Ok((code, feeds))
    }

    /// Runs a batch on what its sources are given, and says why it failed if it did.
    pub(super) async fn run_batch(
        &mut self,
        life: &mut Life,
        given: Vec<(&str, Vec<Block>)>,
    ) -> Result<Option<String>> {
        for (source, blocks) in given {
            if let Some(feed) = life.feeds.get(source) {
                feed.give(blocks).await;
            }
        }
        self.batches += 1;
        let running = life.running.as_mut().context("the pipeline has ended, and runs no batch")?;
        let batch = async {
            // The first tick is the one after the pipeline has looked at the clock.
            life.board.running().await;
            self.clock.advance(self.interval);
            life.board.reached(self.batches).await;
        };
        let ended = tokio::select! {
            () = batch => None,
            ended = running => Some(ended),
        };
        if let Some(ended) = ended {
            life.running = None;
            return Ok(Some(why(ended)?));
        }
        Ok(life.board.read().recent.pop().and_then(|batch| batch.failure))
    }

    /// The time of a batch, counted from 1.
    pub(super) fn time(&self, batch: usize) -> BatchTime {
        let start = BatchTime::at_or_before(self.test.start_ms, self.interval);
        (0..batch).fold(start, |time, _| time.next(self.interval))
    }

    /// Ends a process as a crash does.
    pub(super) async fn kill(&self, life: Life) {
        if let Some(running) = life.running {
            running.abort();
            // It was told to end, and has.
            running.await.ok();
        }
        self.disk.kill();
    }

    /// The rejected records, an object each.
    pub(super) async fn dead_letters(&self) -> Result<Vec<serde_json::Value>> {
        let bytes = match self.disk.read(Path::new(DEAD_LETTERS)).await {
            Ok(bytes) => bytes,
            Err(fault) if fault.kind() == std::io::ErrorKind::NotFound => return Ok(Vec::new()),
            Err(fault) => return Err(fault).context("reading the dead letters"),
        };
        let text = std::str::from_utf8(&bytes).context("reading the dead letters")?;
        text.lines().map(|line| serde_json::from_str(line).context("reading the dead letters")).collect()
    }

    /// The states as the last commit left them.
    pub(super) async fn states(&self) -> Result<Store> {
        let disk: Arc<dyn Disk> = Arc::new(self.disk.clone());
        let archive = Archive::open(Arc::clone(&disk), Path::new(CHECKPOINT)).await?;
        Ok(Store::read(&disk, Path::new(CHECKPOINT), archive.ledger().state_end).await?)
    }
}

fn bind(checked: &Checked, spec: &SourceSpec) -> Result<(Feed, SourceBinding)> {
    let name = spec.name.value.clone();
    let schema = checked.relations.schema(&name).with_context(|| format!("\"{name}\" is not defined"))?;
    let (feed, source) = given();
    let binding = SourceBinding {
        identity: name.clone(),
        format: String::new(),
        name,
        source: Arc::new(source),
        decoder: Arc::new(GivenDecoder { schema, records: decoder(spec) }),
        parallelism: 1,
        settings: inlet(settings(&checked.pipeline, spec)),
    };
    Ok((feed, binding))
}

/// What a test gives is taken at once, before the batch runs that is to have it.
fn inlet(settings: InletSettings) -> InletSettings {
    InletSettings { rate_max: None, bytes_max: usize::MAX, batch_rows_max: usize::MAX, ..settings }
}

/// The streams that a test computes: those that it speaks of. For what may happen anywhere, those of all sinks too.
fn wanted<'t>(test: &'t TestSpec, pipeline: &'t Pipeline) -> Vec<&'t str> {
    let streams = test.expect.iter().map(|(stream, _)| stream);
    let states = test.states.iter().map(|(stream, _)| stream);
    let letters = test.dead_letters.iter().filter_map(|letter| letter.stream.as_ref());
    let mut wanted: BTreeSet<&str> =
        streams.chain(states).chain(letters).map(|stream| stream.value.as_str()).collect();
    if test.failure.is_some() || !test.dead_letters.is_empty() {
        wanted.extend(pipeline.sinks.iter().map(|sink| sink.from.value.as_str()));
    }
    wanted.into_iter().collect()
}

/// Why a pipeline ended that was not told to.
fn why(ended: Result<Result<Summary, EngineError>, tokio::task::JoinError>) -> Result<String> {
    match ended.context("the pipeline's process broke")? {
        Ok(_) => Ok("the pipeline ended by itself".to_owned()),
        Err(error) => Ok(crate::told(&error.into())),
    }
}

/// A test knows no version but the one that it tests.
struct OneVersion;

#[async_trait]
impl Versions for OneVersion {
    async fn load(&self, version: &Version) -> Result<Code, String> {
        Err(format!("{} is not the version that is tested", version.pipeline))
    }
}

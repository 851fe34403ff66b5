//! A laboratory: what pipelines of the tests are made of. A lab outlives the lives of its pipeline.

use std::iter;
use std::path::Path;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use arrow::array::{RecordBatch, StringViewArray};
use arrow::datatypes::{DataType as ArrowType, Field, Schema, SchemaRef};
use async_trait::async_trait;
use millstream_journal::{Archive, Limits};
use millstream_model::pipeline::OnError;
use millstream_model::{Block, DeadLetter, Function, Metered, Migration, Payload, Position, Version};
use millstream_platform::{Disk, ManualClock, MemoryDisk, Seeded};
use millstream_query::Caller;
use millstream_state::{KeyedSpec, States};
use tokio::sync::{mpsc, watch};
use tokio::task::JoinHandle;

pub(super) use super::counting::{Counting, filter, program, relations};
use super::counting::{Tallying, called};
use super::events::Hears;
use super::sink::{Keeping, Kept};
use crate::{
    Application, Board, Checkpoint, Code, DeadLetters, Decoder, Engine, EngineError, Inlet, InletSettings,
    Mode, Policy, Programs, Sink, SinkBinding, Source, SourceBinding, SourceError, StopHandle, Summary,
    TableBinding, Tables, Upgrader, Versions,
};

pub(super) const FOLDER: &str = "checkpoint";
pub(super) const LETTERS: &str = "letters/rejected.jsonl";

pub(super) fn schema() -> SchemaRef {
    Arc::new(Schema::new(vec![Field::new("value", ArrowType::Utf8View, false)]))
}

pub(super) fn block_at(origin: &str, record: u64, text: &str) -> Block {
    let position = Position { origin: origin.into(), record };
    Block::lines(text.to_owned().into(), text.lines().count(), position)
}

pub(super) fn block(text: &str) -> Block {
    block_at("test", 0, text)
}

pub(super) fn rows(rows: &[&str]) -> Vec<String> {
    rows.iter().map(|&row| row.to_owned()).collect()
}

/// Lets others go on until something has come about.
pub(super) async fn until(mut condition: impl FnMut() -> bool) {
    while !condition() {
        tokio::task::yield_now().await;
    }
}

/// Sends the blocks that the test feeds it, and counts them once it runs.
struct Fed {
    blocks: tokio::sync::Mutex<mpsc::UnboundedReceiver<Block>>,
    sent: watch::Sender<Option<usize>>,
}

#[async_trait]
impl Source for Fed {
    async fn run(&self, inlet: Inlet) -> Result<(), SourceError> {
        self.sent.send_modify(|sent| *sent = Some(sent.unwrap_or(0)));
        loop {
            let block = tokio::select! {
                block = async { self.blocks.lock().await.recv().await } => block,
                () = inlet.closed() => return Ok(()),
            };
            let Some(block) = block else { return Ok(()) };
            let Ok(_receipt) = inlet.send(block).await else { return Ok(()) };
            self.sent.send_modify(|sent| *sent = sent.map(|sent| sent + 1));
        }
    }
}

/// Lines as they are; one that says "bad" is rejected.
pub(super) struct Lines;

impl Decoder for Lines {
    fn schema(&self) -> SchemaRef {
        schema()
    }

    fn decode(&self, block: &Block, reject: &mut dyn FnMut(DeadLetter)) -> RecordBatch {
        let Payload::Lines(bytes) = &block.payload else { panic!("the tests send lines") };
        let text = std::str::from_utf8(bytes).unwrap();
        let mut lines = Vec::new();
        for (record, line) in text.lines().enumerate() {
            let position = || block.position.after(record as u64);
            match line.starts_with("bad") {
                true => reject(DeadLetter::new("in", position(), "is bad", line.as_bytes())),
                false => lines.push(line),
            }
        }
        RecordBatch::try_new(schema(), vec![Arc::new(StringViewArray::from_iter_values(lines))]).unwrap()
    }
}

/// A version of the code that is not kept.
pub(super) struct NoVersions;

#[async_trait]
impl Versions for NoVersions {
    async fn load(&self, version: &Version) -> Result<Code, String> {
        Err(format!("{} is not kept", version.pipeline))
    }
}

/// A pipeline from a fed source to a keeping sink, with batches of a second.
pub(super) struct Lab {
    pub(super) clock: ManualClock,
    pub(super) memory: MemoryDisk,
    /// What the pipeline sees of the disk.
    pub(super) disk: Arc<dyn Disk>,
    pub(super) kept: Kept,
    pub(super) counting: Arc<Counting>,
    pub(super) caller: Arc<Caller>,
    pub(super) settings: InletSettings,
    pub(super) policy: Policy,
    pub(super) programs: usize,
    pub(super) parallelism: u32,
    /// The source's.
    pub(super) identity: String,
    pub(super) format: String,
    pub(super) checkpoint: bool,
    pub(super) version: Version,
    pub(super) versions: Mutex<Option<Arc<dyn Versions>>>,
    pub(super) letters_bytes_max: u64,
    /// In place of the fed source.
    pub(super) source: Option<(&'static str, Arc<dyn Source>)>,
    pub(super) sink: Arc<dyn Sink>,
    /// Their rows join the source's.
    pub(super) tables: Vec<TableBinding>,
    pub(super) table_bytes_max: u64,
    /// The table of states that its stream keeps, if it keeps any.
    pub(super) keeps: Option<(&'static str, KeyedSpec)>,
    /// How its next code takes over what other versions have left in that table.
    pub(super) migrations: Vec<Arc<dyn Migration>>,
    /// The streams whose states its next code may drop.
    pub(super) drops: Vec<String>,
    pub(super) metered: Vec<Arc<dyn Metered>>,
    /// Hears what happens to the next life.
    pub(super) listener: Hears,
}

impl Lab {
    /// The time is 10,500 ms, and there is no checkpoint folder.
    pub(super) fn new() -> Self {
        let memory = MemoryDisk::new();
        let kept = Kept::default();
        Self {
            clock: ManualClock::new(10_500),
            disk: Arc::new(memory.clone()),
            memory,
            sink: Arc::new(Keeping(kept.clone())),
            kept,
            counting: Counting::new(),
            caller: Arc::default(),
            settings: InletSettings::default(),
            policy: Policy::default(),
            programs: 1,
            parallelism: 1,
            identity: "source".into(),
            format: "lines".into(),
            checkpoint: false,
            version: version("this"),
            versions: Mutex::default(),
            letters_bytes_max: 1 << 20,
            source: None,
            tables: Vec::new(),
            table_bytes_max: 1_000,
            keeps: None,
            migrations: Vec::new(),
            drops: Vec::new(),
            metered: Vec::new(),
            listener: Hears::default(),
        }
    }

    /// With a checkpoint folder.
    pub(super) fn durable() -> Self {
        Self { checkpoint: true, ..Self::new() }
    }

    /// What its stream does with rows that its function fails on.
    pub(super) fn on_error(self, on_error: OnError) -> Self {
        let (stream, function, digest) = ("out".to_owned(), "test.counting".to_owned(), "d1".to_owned());
        let caller = Caller { stream, function, digest, on_error, ..Caller::default() };
        Self { caller: Arc::new(caller), ..self }
    }

    /// What this lab's pipeline computes.
    pub(super) async fn code(&self, source: Arc<dyn Source>) -> Code {
        let name = self.source.as_ref().map_or("in", |(name, _)| name).to_owned();
        let states = Arc::new(States::default());
        states.allow_drops(self.drops.iter().cloned());
        let migrating =
            |(name, spec): &(&str, KeyedSpec)| states.migrating(name, spec.clone(), self.migrations.clone());
        let table = self.keeps.as_ref().map(migrating);
        let function: Arc<dyn Function> = match table {
            None => Arc::clone(&self.counting) as _,
            Some(table) => Arc::new(Tallying {
                counting: Arc::clone(&self.counting),
                states: Arc::clone(&states),
                table,
            }),
        };
        let mut programs = Vec::new();
        for _ in 0..self.programs {
            let tables = self.tables.iter().map(|table| table.name.as_str());
            let inputs: Vec<&str> = iter::once(name.as_str()).chain(tables).collect();
            programs.push(called(&self.caller, Arc::clone(&function), &inputs).await);
        }
        let (settings, parallelism) = (self.settings.clone(), self.parallelism);
        let (decoder, identity, format) = (Arc::new(Lines), self.identity.clone(), self.format.clone());
        let (from, sink) = ("out".to_owned(), Arc::clone(&self.sink));
        Code {
            version: self.version.clone(),
            programs: Programs::new(programs),
            states,
            tables: Tables::new(self.tables.clone(), self.table_bytes_max),
            sources: vec![SourceBinding { name, source, decoder, parallelism, settings, identity, format }],
            sinks: vec![SinkBinding { name: "kept".into(), from, sink, identity: "kept".into() }],
            metered: self.metered.clone(),
        }
    }

    /// Starts the pipeline.
    pub(super) async fn start(&self, mode: Mode) -> Life {
        let (feed, blocks) = mpsc::unbounded_channel();
        let (counter, sent) = watch::channel(None);
        let fed = Arc::new(Fed { blocks: tokio::sync::Mutex::new(blocks), sent: counter });
        let source = self.source.as_ref().map_or(fed as Arc<dyn Source>, |(_, source)| Arc::clone(source));
        let versions = self.versions.lock().unwrap().clone();
        let checkpoint = self.checkpoint.then(|| Checkpoint {
            disk: Arc::clone(&self.disk),
            folder: FOLDER.into(),
            limits: Limits::default(),
            versions: versions.unwrap_or_else(|| Arc::new(NoVersions)),
        });
        let (upgrader, upgrades) = Upgrader::new();
        let letters = DeadLetters::file(Arc::clone(&self.disk), LETTERS.into());
        let application = Application {
            name: "lab".into(),
            batch_interval: Duration::from_secs(1),
            code: self.code(Arc::clone(&source)).await,
            checkpoint,
            state_limits: Default::default(),
            policy: self.policy,
            dead_letters: letters.replaced_at(self.letters_bytes_max),
            upgrades,
        };
        let (stop, told) = StopHandle::new();
        let board = Board::new("lab");
        let (clock, randomness) = (Arc::new(self.clock.clone()), Arc::new(Seeded::new(1)));
        let shown = board.clone();
        let listener = self.listener.lock().unwrap().take();
        let running = tokio::spawn(async move {
            let mut engine = Engine::new(2, clock, randomness).unwrap();
            if let Some(hears) = listener {
                engine = engine.with_listener(move |event| hears.send(event).unwrap()).unwrap();
            }
            engine.run(application, mode, told, shown).await
        });
        Life { feed: Some(feed), sent, stop, board, running, upgrader, source }
    }

    /// Starts it, and waits until it receives.
    pub(super) async fn running(&self) -> Life {
        let mut life = self.start(Mode::Continuous).await;
        life.sent.wait_for(Option::is_some).await.unwrap();
        life
    }

    /// Ends a life as a crash of the process does.
    pub(super) async fn kill(&self, life: Life) {
        life.running.abort();
        life.running.await.unwrap_err();
        self.memory.kill();
    }

    /// What is in the checkpoint folder.
    pub(super) async fn archive(&self) -> Archive {
        Archive::open(Arc::new(self.memory.clone()), Path::new(FOLDER)).await.unwrap()
    }

    /// The dead letters in a file, as JSON.
    pub(super) async fn letters(&self, path: &str) -> Vec<serde_json::Value> {
        let text = self.memory.read(Path::new(path)).await.unwrap_or_default();
        let text = String::from_utf8(text.to_vec()).unwrap();
        text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
    }
}

pub(super) fn version(name: &str) -> Version {
    Version { pipeline: name.to_owned(), ..Version::default() }
}

/// A running pipeline.
pub(super) struct Life {
    pub(super) feed: Option<mpsc::UnboundedSender<Block>>,
    pub(super) sent: watch::Receiver<Option<usize>>,
    pub(super) stop: StopHandle,
    pub(super) board: Board,
    pub(super) running: JoinHandle<Result<Summary, EngineError>>,
    pub(super) upgrader: Upgrader,
    pub(super) source: Arc<dyn Source>,
}

impl Life {
    pub(super) fn feed(&self, text: &str) {
        self.feed.as_ref().unwrap().send(block(text)).unwrap();
    }

    /// Waits until the source has sent that many blocks.
    pub(super) async fn sent(&mut self, blocks: usize) {
        self.sent.wait_for(|sent| *sent >= Some(blocks)).await.unwrap();
    }

    /// The source has no more.
    pub(super) async fn end(mut self) -> Result<Summary, EngineError> {
        self.feed = None;
        self.running.await.unwrap()
    }

    /// It is told to stop.
    pub(super) async fn stop(self) -> Result<Summary, EngineError> {
        self.stop.gracefully();
        self.running.await.unwrap()
    }
}

use std::sync::{Arc, Mutex};
use std::time::Duration;

use arrow::array::{AsArray, RecordBatch, StringViewArray};
use arrow::datatypes::{DataType as ArrowType, Field, Schema, SchemaRef};
use async_trait::async_trait;
use bytes::Bytes;
use millstream_model::{BatchTime, Block, DeadLetter, Payload, Position};
use millstream_platform::ManualClock;
use millstream_query::{Program, Relations};
use tokio::sync::{mpsc, watch};

use crate::{
    Application, DeadLetters, Decoder, Engine, EngineError, Inlet, InletLimits, Mode, Sink, SinkBatch,
    SinkBinding, SinkError, Source, SourceBinding, SourceError, Stop, StopHandle, Summary,
};

fn schema() -> SchemaRef {
    Arc::new(Schema::new(vec![Field::new("value", ArrowType::Utf8View, false)]))
}

fn block(text: &str) -> Block {
    Block {
        payload: Payload::Lines(Bytes::from(text.to_owned())),
        rows: text.lines().count(),
        position: Position { origin: "test".into(), record: 0 },
    }
}

/// Sends the blocks that the test feeds it, and counts them once it runs.
struct Fed {
    blocks: mpsc::UnboundedReceiver<Block>,
    sent: watch::Sender<Option<usize>>,
}

#[async_trait]
impl Source for Fed {
    async fn run(mut self: Box<Self>, inlet: Inlet) -> Result<(), SourceError> {
        self.sent.send_replace(Some(0));
        loop {
            let block = tokio::select! {
                block = self.blocks.recv() => block,
                () = inlet.closed() => return Ok(()),
            };
            let Some(block) = block else { return Ok(()) };
            if inlet.send(block).await.is_err() {
                return Ok(());
            }
            self.sent.send_modify(|sent| *sent = sent.map(|sent| sent + 1));
        }
    }
}

struct Failing;

#[async_trait]
impl Source for Failing {
    async fn run(self: Box<Self>, _inlet: Inlet) -> Result<(), SourceError> {
        Err(SourceError("connecting to nowhere: refused".to_owned()))
    }
}

/// Lines as they are; one that says "bad" is rejected.
struct Lines;

impl Decoder for Lines {
    fn schema(&self) -> SchemaRef {
        schema()
    }

    fn decode(&self, block: &Block, reject: &mut dyn FnMut(DeadLetter)) -> RecordBatch {
        let Payload::Lines(bytes) = &block.payload else { panic!("the tests send lines") };
        let text = std::str::from_utf8(bytes).unwrap();
        let mut lines = Vec::new();
        for (record, line) in text.lines().enumerate() {
            match line {
                "bad" => reject(DeadLetter::new("in", block.position.after(record as u64), "is bad", b"bad")),
                _ => lines.push(line),
            }
        }
        RecordBatch::try_new(schema(), vec![Arc::new(StringViewArray::from_iter_values(lines))]).unwrap()
    }
}

/// What a sink has committed: batch times and their rows. Tests wait for it to grow.
#[derive(Clone)]
struct Committed(watch::Sender<Vec<(i64, Vec<String>)>>);

impl Committed {
    fn new() -> Self {
        Self(watch::Sender::new(Vec::new()))
    }

    fn all(&self) -> Vec<(i64, Vec<String>)> {
        self.0.borrow().clone()
    }

    async fn wait_for(&self, batches: usize) {
        self.0.subscribe().wait_for(|all| all.len() >= batches).await.unwrap();
    }
}

/// A sink that refuses its first `failures` batches when they are written.
struct Keeping {
    committed: Committed,
    failures: usize,
}

struct KeepingBatch {
    committed: Committed,
    time: BatchTime,
    rows: Vec<String>,
    fails: bool,
}

#[async_trait]
impl Sink for Keeping {
    async fn begin(&mut self, time: BatchTime) -> Result<Box<dyn SinkBatch>, SinkError> {
        let fails = self.failures > 0;
        self.failures = self.failures.saturating_sub(1);
        Ok(Box::new(KeepingBatch { committed: self.committed.clone(), time, rows: Vec::new(), fails }))
    }
}

#[async_trait]
impl SinkBatch for KeepingBatch {
    async fn write(&mut self, _partition: usize, rows: RecordBatch) -> Result<(), SinkError> {
        if self.fails {
            return Err(SinkError("writing nowhere: no space left".to_owned()));
        }
        self.rows.extend(rows.column(0).as_string_view().iter().flatten().map(str::to_owned));
        Ok(())
    }

    async fn commit(self: Box<Self>) -> Result<(), SinkError> {
        let Self { committed, time, rows, .. } = *self;
        committed.0.send_modify(|all| all.push((time.as_ms(), rows)));
        Ok(())
    }
}

/// A pipeline from a fed source to a keeping sink, with batches of a second.
struct Lab {
    feed: mpsc::UnboundedSender<Block>,
    sent: watch::Receiver<Option<usize>>,
    committed: Committed,
    clock: ManualClock,
    stop: StopHandle,
    application: Application,
    told: Stop,
}

async fn lab(max_batch_rows: usize) -> Lab {
    let mut relations = Relations::new().unwrap();
    relations.add_input("in", schema()).unwrap();
    let (feed, blocks) = mpsc::unbounded_channel();
    let (counter, sent) = watch::channel(None);
    let fed = Fed { blocks, sent: counter };
    let committed = Committed::new();
    let (stop, told) = StopHandle::new();
    let application = Application {
        batch_interval: Duration::from_secs(1),
        max_batch_rows,
        receive_memory_bytes: 1 << 20,
        program: Program::compile(&relations, &["in"], 2).await.unwrap(),
        sources: vec![SourceBinding { name: "in".into(), source: Box::new(fed), decoder: Arc::new(Lines) }],
        sinks: vec![SinkBinding {
            name: "kept".into(),
            from: "in".into(),
            sink: Box::new(Keeping { committed: committed.clone(), failures: 0 }),
        }],
        dead_letters: DeadLetters::new(None),
    };
    Lab { feed, sent, committed, clock: ManualClock::new(10_500), stop, application, told }
}

impl Lab {
    fn start(self, mode: Mode) -> (Handles, tokio::task::JoinHandle<Result<Summary, EngineError>>) {
        let Self { feed, sent, committed, clock, stop, application, told } = self;
        let engine = Engine::new(2, Arc::new(clock.clone())).unwrap();
        let running = tokio::spawn(async move { engine.run(application, mode, told).await });
        (Handles { feed: Some(feed), sent, committed, clock, stop }, running)
    }
}

struct Handles {
    feed: Option<mpsc::UnboundedSender<Block>>,
    sent: watch::Receiver<Option<usize>>,
    committed: Committed,
    clock: ManualClock,
    stop: StopHandle,
}

impl Handles {
    fn feed(&self, text: &str) {
        self.feed.as_ref().unwrap().send(block(text)).unwrap();
    }
}

fn rows(rows: &[&str]) -> Vec<String> {
    rows.iter().map(|&row| row.to_owned()).collect()
}

#[tokio::test]
async fn batches_are_cut_at_the_ticks_and_missed_ticks_have_none() {
    let (mut lab, running) = lab(100).await.start(Mode::Continuous);
    lab.sent.wait_for(Option::is_some).await.unwrap();
    lab.clock.set(11_000);
    lab.committed.wait_for(1).await;
    lab.clock.set(12_001);
    lab.committed.wait_for(2).await;
    lab.clock.set(17_999);
    lab.committed.wait_for(3).await;
    lab.stop.gracefully();
    let summary = running.await.unwrap().unwrap();
    let times: Vec<i64> = lab.committed.all().into_iter().map(|(time, _)| time).collect();
    assert_eq!(times, [11_000, 12_000, 17_000]);
    assert_eq!(summary, Summary { batches: 3, rows: 0, dead_letters: 0 });
}

#[tokio::test]
async fn once_ends_with_the_sources_and_no_batch_is_larger_than_allowed() {
    let (mut lab, running) = lab(3).await.start(Mode::Once);
    lab.feed("a\nb\n");
    lab.feed("c\nd\ne\nf\n");
    lab.feed("g");
    lab.feed = None;
    let summary = running.await.unwrap().unwrap();
    let expected =
        [(10_000, rows(&["a", "b", "c"])), (11_000, rows(&["d", "e", "f"])), (12_000, rows(&["g"]))];
    assert_eq!(lab.committed.all(), expected);
    assert_eq!(summary, Summary { batches: 3, rows: 7, dead_letters: 0 });
}

#[tokio::test]
async fn once_without_rows_is_one_empty_batch() {
    let (mut lab, running) = lab(3).await.start(Mode::Once);
    lab.feed = None;
    assert_eq!(running.await.unwrap().unwrap().batches, 1);
    assert_eq!(lab.committed.all(), [(10_000, vec![])]);
}

#[tokio::test]
async fn a_graceful_stop_processes_everything_that_was_received() {
    let (mut lab, running) = lab(2).await.start(Mode::Continuous);
    for line in ["a\n", "b\n", "c\n", "d\n", "e\n"] {
        lab.feed(line);
    }
    lab.sent.wait_for(|sent| *sent == Some(5)).await.unwrap();
    lab.stop.gracefully();
    running.await.unwrap().unwrap();
    let received: Vec<String> = lab.committed.all().into_iter().flat_map(|(_, rows)| rows).collect();
    assert_eq!(received, rows(&["a", "b", "c", "d", "e"]));
}

#[tokio::test]
async fn stopped_at_once_it_says_that_records_are_left() {
    let (lab, running) = lab(2).await.start(Mode::Continuous);
    lab.stop.now();
    let result = running.await.unwrap();
    assert!(matches!(result, Ok(_) | Err(EngineError::StoppedNow)), "{result:?}");
}

#[tokio::test]
async fn a_source_that_cannot_go_on_stops_the_pipeline_by_name() {
    let mut lab = lab(2).await;
    lab.application.sources[0].source = Box::new(Failing);
    let (_lab, running) = lab.start(Mode::Once);
    let error = running.await.unwrap().unwrap_err();
    assert!(error.to_string().starts_with("source \"in\": connecting to nowhere"), "{error}");
}

#[tokio::test]
async fn a_sink_that_fails_stops_the_pipeline_by_name() {
    let mut lab = lab(2).await;
    let committed = lab.committed.clone();
    lab.application.sinks[0].sink = Box::new(Keeping { committed, failures: 1 });
    let (mut lab, running) = lab.start(Mode::Once);
    lab.feed("a\n");
    lab.feed = None;
    let error = running.await.unwrap().unwrap_err().to_string();
    assert!(error.contains("batch 10000") && error.contains("sink \"kept\""), "{error}");
    assert_eq!(lab.committed.all(), []);
}

#[tokio::test]
async fn rejected_records_go_to_their_file_with_their_position() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("letters/rejected.jsonl");
    let mut lab = lab(100).await;
    lab.application.dead_letters = DeadLetters::new(Some(path.clone()));
    let (mut lab, running) = lab.start(Mode::Once);
    lab.feed("a\nbad\nb\n");
    lab.feed = None;
    assert_eq!(running.await.unwrap().unwrap().dead_letters, 1);
    assert_eq!(lab.committed.all(), [(10_000, rows(&["a", "b"]))]);
    let text = std::fs::read_to_string(path).unwrap();
    let letter: serde_json::Value = serde_json::from_str(text.trim()).unwrap();
    let expected = serde_json::json!({
        "source": "in", "origin": "test", "record": 2, "error": "is bad", "bytes": "bad"
    });
    assert_eq!(letter, expected);
}

#[tokio::test]
async fn a_source_ahead_of_the_batches_waits_and_nothing_is_dropped() {
    let limits = InletLimits { bytes_max: 10, batch_rows_max: 100, once: false };
    let (inlet, outlet) = Inlet::new("in", limits);
    let sent = Arc::new(Mutex::new(0));
    let sender = tokio::spawn({
        let sent = Arc::clone(&sent);
        async move {
            while inlet.send(block("1234\n")).await.is_ok() {
                *sent.lock().unwrap() += 1;
            }
        }
    });
    outlet.full().await;
    let mut taken = 0;
    for _ in 0..50 {
        tokio::task::yield_now().await;
        let blocks = outlet.take();
        assert!(blocks.iter().map(Block::size_bytes).sum::<usize>() <= 15, "at most the limit and one block");
        taken += blocks.len();
    }
    outlet.close();
    sender.await.unwrap();
    taken += outlet.take().len();
    // The block that was being sent when the queue was closed is taken as well.
    assert_eq!(taken, *sent.lock().unwrap() + 1);
    assert!(outlet.is_exhausted());
}

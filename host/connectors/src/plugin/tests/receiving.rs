use std::path::Path;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use millstream_engine::{Inlet, InletSettings, SourceError};
use millstream_journal::{Journal, Limits};
use millstream_model::pipeline::Format;
use millstream_model::{
    Delivery, FunctionDescription, FunctionError, FunctionKind, Payload, Receiver, Receiving, Schema,
};
use millstream_platform::{ManualClock, MemoryDisk};
use tokio::sync::{Semaphore, mpsc};
use tokio::time::timeout;

use super::{description, schema, texts};
use crate::plugin::PluginSource;
use crate::testing::{Running, lane, settings};

/// Long enough that no test sees its end.
const NEVER: Duration = Duration::from_secs(100_000);

/// What a poll does.
enum Step {
    /// Rows, and the position behind them.
    Rows(&'static [&'static str], Option<&'static str>),
    /// The last rows there are.
    Last(&'static [&'static str], Option<&'static str>),
    Fail,
    /// Never comes back.
    Hang,
}

/// What the host said to the receiver.
type Heard = Arc<Witness>;

struct Witness {
    /// All but polls, in order.
    said: Mutex<Vec<String>>,
    polls: AtomicUsize,
    /// How often it comes back from being acknowledged to.
    patience: Semaphore,
}

impl Default for Witness {
    fn default() -> Self {
        let patience = Semaphore::new(Semaphore::MAX_PERMITS);
        Self { said: Mutex::default(), polls: AtomicUsize::new(0), patience }
    }
}

impl std::fmt::Debug for Witness {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.said.fmt(f)
    }
}

impl Witness {
    fn hear(&self, what: String) {
        self.said.lock().unwrap().push(what);
    }

    fn polls(&self) -> usize {
        self.polls.load(Ordering::Relaxed)
    }
}

/// Does what it is told, step by step, over all its lives.
#[derive(Debug)]
struct Fake {
    description: FunctionDescription,
    steps: Arc<tokio::sync::Mutex<mpsc::UnboundedReceiver<Step>>>,
    heard: Heard,
    refuses: Option<FunctionError>,
}

struct FakeLife {
    steps: Arc<tokio::sync::Mutex<mpsc::UnboundedReceiver<Step>>>,
    heard: Heard,
}

fn broken() -> FunctionError {
    FunctionError::Broken { function: "p.fake".to_owned(), reason: "trapped".to_owned() }
}

/// A receiver, what tells it what to do, and what it hears.
fn fake(refuses: Option<FunctionError>) -> (PluginSource, mpsc::UnboundedSender<Step>, Heard) {
    let (script, steps) = mpsc::unbounded_channel();
    let heard = Heard::default();
    let description = description(FunctionKind::Receiver, Schema::default(), schema());
    let steps = Arc::new(tokio::sync::Mutex::new(steps));
    let fake = Fake { description, steps, heard: Arc::clone(&heard), refuses };
    (PluginSource::new("p.fake", Arc::new(fake)), script, heard)
}

fn text(bytes: &[u8]) -> &str {
    std::str::from_utf8(bytes).unwrap()
}

#[async_trait]
impl Receiver for Fake {
    fn description(&self) -> &FunctionDescription {
        &self.description
    }

    async fn start(&self, position: Option<Bytes>) -> Result<Box<dyn Receiving>, FunctionError> {
        let place = position.as_deref().map_or("the beginning", text);
        self.heard.hear(format!("start at {place}"));
        match &self.refuses {
            Some(error) => Err(error.clone()),
            None => Ok(Box::new(FakeLife { steps: self.steps.clone(), heard: self.heard.clone() })),
        }
    }
}

#[async_trait]
impl Receiving for FakeLife {
    async fn poll(&mut self, deadline: Duration) -> Result<Delivery, FunctionError> {
        self.heard.polls.fetch_add(1, Ordering::Relaxed);
        let next = async { self.steps.lock().await.recv().await };
        let none = Step::Rows(&[], None);
        let step = timeout(deadline, next).await.ok().flatten().unwrap_or(none);
        let (values, position, ended) = match step {
            Step::Rows(values, position) => (values, position, false),
            Step::Last(values, position) => (values, position, true),
            Step::Fail => return Err(broken()),
            Step::Hang => std::future::pending().await,
        };
        let position = position.map(|position| Bytes::from_static(position.as_bytes()));
        Ok(Delivery { rows: texts(values.iter().copied()), position, ended })
    }

    async fn acknowledge(&mut self, position: Bytes) -> Result<(), FunctionError> {
        self.heard.hear(format!("acknowledged {}", text(&position)));
        self.heard.patience.acquire().await.unwrap().forget();
        Ok(())
    }

    async fn stop(&mut self) -> Result<(), FunctionError> {
        self.heard.hear("stopped".to_owned());
        Ok(())
    }
}

fn run(source: PluginSource, settings: InletSettings) -> Running {
    Running::start_with(source, &Format::Rows(schema()), Inlet::new(lane(), settings))
}

fn script(steps: mpsc::UnboundedSender<Step>, script: impl IntoIterator<Item = Step>) {
    script.into_iter().for_each(|step| steps.send(step).ok().unwrap());
}

fn heard(heard: &Heard) -> Vec<String> {
    heard.said.lock().unwrap().clone()
}

#[tokio::test]
async fn small_deliveries_become_a_block_with_the_last_position() {
    let (source, steps, heard_by) = fake(None);
    script(
        steps,
        [
            Step::Rows(&["a"], Some("1")),
            Step::Rows(&[], Some("not looked at")),
            Step::Rows(&["b", "c"], Some("3")),
            Step::Last(&["d"], Some("4")),
        ],
    );
    let settings = InletSettings { block_interval: NEVER, ..settings(true) };
    let mut running = run(source, settings);
    let block = running.block().await.unwrap();
    assert_eq!((block.rows, block.resume.as_deref()), (4, Some(&b"4"[..])));
    assert_eq!((&*block.position.origin, block.position.record), ("p.fake", 0));
    assert!(running.block().await.is_none(), "the receiver has ended, and so has the source");
    running.end().await.unwrap();
    assert_eq!(heard(&heard_by), ["start at the beginning", "acknowledged 4", "stopped"]);
}

#[tokio::test]
async fn rows_do_not_wait_beyond_the_block_interval() {
    let (source, steps, heard_by) = fake(None);
    steps.send(Step::Rows(&["a"], Some("1"))).ok().unwrap();
    let settings = InletSettings { block_interval: Duration::from_millis(1), ..settings(false) };
    let mut running = run(source, settings);
    assert_eq!(running.rows(1).await, ["a"]);
    running.until(|_| heard(&heard_by).contains(&"acknowledged 1".to_owned())).await;
    steps.send(Step::Rows(&["b"], Some("2"))).ok().unwrap();
    let block = running.block().await.unwrap();
    assert_eq!(block.position.record, 1, "records are numbered on");
    running.stop().await;
    assert_eq!(heard(&heard_by).last().unwrap(), "stopped");
}

#[tokio::test]
async fn a_receiver_that_fails_goes_on_behind_what_it_has_delivered() {
    let (source, steps, heard_by) = fake(None);
    script(
        steps,
        [
            Step::Rows(&["a"], Some("1")),
            Step::Fail,
            Step::Fail,
            Step::Rows(&["b"], Some("2")),
            Step::Last(&[], None),
        ],
    );
    let settings = InletSettings { block_interval: NEVER, ..settings(false) };
    let mut running = run(source, settings);
    assert_eq!(running.all_rows().await, ["a", "b"]);
    running.until(|running| running.faults().len() == 2).await;
    let told = heard(&heard_by);
    let starts: Vec<_> = told.iter().filter(|line| line.starts_with("start")).collect();
    assert_eq!(starts, ["start at the beginning", "start at 1", "start at 1"]);
    // What one life has brought is acknowledged in the next.
    assert!(told.contains(&"acknowledged 1".to_owned()), "{told:?}");
    assert!(running.faults()[0].contains("p.fake: trapped"), "{:?}", running.faults());
}

#[tokio::test]
async fn once_a_failure_is_an_error_and_what_came_before_it_is_taken() {
    let (source, steps, _) = fake(None);
    script(steps, [Step::Rows(&["a"], None), Step::Fail]);
    let mut running = run(source, InletSettings { block_interval: NEVER, ..settings(true) });
    assert_eq!(running.all_rows().await, ["a"]);
    assert!(matches!(running.end().await, Err(SourceError::Failed(_))));
}

#[tokio::test]
async fn a_receiver_that_can_never_start_is_refused_and_another_is_tried_again() {
    let (function, reason) = ("p.fake".to_owned(), "no such place".to_owned());
    let rejected = FunctionError::Rejected { function: function.clone(), reason: reason.clone() };
    let (source, _steps, _) = fake(Some(rejected));
    match run(source, settings(false)).end().await {
        Err(SourceError::Refused(told)) => assert!(told.contains("no such place"), "{told}"),
        other => panic!("{other:?}"),
    }
    let (source, _steps, heard_by) = fake(Some(FunctionError::Unavailable { function, reason }));
    let running = run(source, settings(false));
    running.until(|_| heard(&heard_by).len() >= 3).await;
    running.stop().await;
}

#[tokio::test]
async fn a_stop_takes_what_was_gathered_and_stops_the_receiver() {
    let (source, steps, heard_by) = fake(None);
    steps.send(Step::Rows(&["a", "b"], Some("2"))).ok().unwrap();
    let settings = InletSettings { block_interval: NEVER, ..settings(false) };
    let running = run(source, settings);
    running.until(|_| !heard(&heard_by).is_empty()).await;
    // The poll that is under way brings them.
    assert_eq!(running.stop().await, ["a", "b"]);
    assert_eq!(heard(&heard_by), ["start at the beginning", "acknowledged 2", "stopped"]);
}

#[tokio::test]
async fn a_receiver_that_does_not_come_back_is_cut_off_by_a_stop() {
    let (source, steps, heard_by) = fake(None);
    script(steps, [Step::Rows(&["a"], Some("1")), Step::Hang]);
    let mut running = run(source, settings(false));
    assert_eq!(running.rows(1).await, ["a"]);
    assert!(running.stop().await.is_empty());
    assert!(!heard(&heard_by).contains(&"stopped".to_owned()), "it is in a call");
}

#[tokio::test]
async fn rows_with_a_position_stay_together_and_others_come_evenly() {
    let values: &[&str] = &["a", "b", "c", "d", "e", "f"];
    // A block of two rows at most.
    let settings = InletSettings { rate_max: Some(40), bytes_max: 1 << 20, ..settings(true) };
    for (position, blocks) in [(None, 3), (Some("6"), 1)] {
        let (source, steps, _) = fake(None);
        script(steps, [Step::Last(values, position)]);
        let mut running = run(source, settings.clone());
        let mut sizes = Vec::new();
        while let Some(block) = running.block().await {
            assert!(matches!(block.payload, Payload::Rows(_)));
            sizes.push(block.rows);
        }
        assert_eq!((sizes.len(), sizes.iter().sum::<usize>()), (blocks, 6), "{position:?}");
    }
}

#[tokio::test]
async fn deliveries_with_positions_come_as_evenly_as_they_were_given() {
    let (source, steps, _) = fake(None);
    script(
        steps,
        [
            Step::Rows(&["a"], Some("1")),
            Step::Rows(&["b"], Some("2")),
            Step::Rows(&["c", "d", "e"], Some("5")),
            Step::Rows(&["f", "g"], Some("7")),
            Step::Last(&["h"], Some("8")),
        ],
    );
    // A block of two rows, or of one delivery, though there is all the time to gather more.
    let settings =
        InletSettings { rate_max: Some(40), bytes_max: 1 << 20, block_interval: NEVER, ..settings(true) };
    let mut running = run(source, settings);
    let mut blocks = Vec::new();
    while let Some(block) = running.block().await {
        blocks.push((block.rows, block.resume.as_deref().map(text).unwrap().to_owned()));
    }
    let expected = [(2, "2"), (3, "5"), (2, "7"), (1, "8")];
    assert_eq!(blocks, expected.map(|(rows, resume)| (rows, resume.to_owned())));
}

#[tokio::test]
async fn a_receiver_hears_what_is_safe_while_its_next_block_waits_for_room() {
    // With a rate, a row is a block's worth, so that the receiver waits when it has given three.
    for rate_max in [None, Some(20)] {
        let (source, steps, heard_by) = fake(None);
        let rows: [&[&str]; 3] = [&["a"], &["b"], &["c"]];
        script(
            steps.clone(),
            rows.into_iter().zip(["1", "2", "3"]).map(|(row, at)| Step::Rows(row, Some(at))),
        );
        let (disk, clock) = (Arc::new(MemoryDisk::new()), Arc::new(ManualClock::new(0)));
        let journal = Journal::open(disk, clock, Path::new("checkpoint"), Limits::default()).await.unwrap();
        let settings = InletSettings { rate_max, ..settings(false) };
        let ends = Inlet::logged(lane(), settings, journal.wal.clone());
        let running = Running::start_with(source, &Format::Rows(schema()), ends);
        running.until(|_| heard_by.polls() >= 3).await;
        // Until somebody writes the log nothing is safe, and until a batch takes the first block there is no room.
        assert_eq!(heard(&heard_by), ["start at the beginning"]);
        let writing = tokio::spawn(journal.writer.run());
        running.until(|_| heard(&heard_by).len() > 1).await;
        assert_eq!(heard(&heard_by), ["start at the beginning", "acknowledged 1"], "at {rate_max:?}");
        running.until(|_| heard_by.polls() >= 4 || rate_max.is_some()).await;
        assert_eq!(running.stop().await, ["a", "b", "c"]);
        assert_eq!(heard(&heard_by)[2..], ["acknowledged 3", "stopped"]);
        writing.abort();
    }
}

#[tokio::test]
async fn a_receiver_that_comes_back_after_a_stop_is_asked_for_nothing_more() {
    let (source, steps, heard_by) = fake(None);
    heard_by.patience.forget_permits(Semaphore::MAX_PERMITS);
    script(steps.clone(), [Step::Rows(&["a"], Some("1"))]);
    let mut running = run(source, settings(false));
    assert_eq!(running.rows(1).await, ["a"]);
    running.until(|_| heard(&heard_by).len() == 2).await;
    let polls = heard_by.polls();
    // It is told to stop while it is in a call, and comes back from that.
    running.close();
    heard_by.patience.add_permits(2);
    assert!(running.stop().await.is_empty());
    assert_eq!(heard(&heard_by), ["start at the beginning", "acknowledged 1", "stopped"]);
    assert_eq!(heard_by.polls(), polls);
}

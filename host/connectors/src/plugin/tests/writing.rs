use std::path::Path;
use std::sync::{Arc, Mutex};

use arrow::array::{ArrayRef, Int32Array, RecordBatch, StringArray};
use arrow::datatypes::{DataType as ArrowType, Field as ArrowField, Schema as ArrowSchema};
use async_trait::async_trait;
use millstream_engine::{Sink as _, SinkError};
use millstream_journal::Outbox as Files;
use millstream_model::{
    BatchTime, DataType, Field, FunctionDescription, FunctionError, FunctionKind, Schema, Sink, SinkPart,
};
use millstream_platform::{Append, Disk, MemoryDisk};

use super::{description, schema, texts};
use crate::plugin::{Outbox, PluginSink};
use crate::testing::rows;

const FOLDER: &str = "checkpoint";
const FIRST: BatchTime = BatchTime::from_ms(1_000);

/// A part as it was written: time, number, how many there are, rows.
type Written = (i64, u32, u32, Vec<String>);

/// Keeps what it is given, and fails as it is told.
#[derive(Debug)]
struct Fake {
    description: FunctionDescription,
    written: Arc<Mutex<Vec<Written>>>,
    /// What the next calls answer, the last of them first.
    failures: Mutex<Vec<FunctionError>>,
    refused: Refused,
}

/// A part that is not taken the next time.
type Refused = Arc<Mutex<Option<u32>>>;

#[async_trait]
impl Sink for Fake {
    fn description(&self) -> &FunctionDescription {
        &self.description
    }

    async fn write(&self, part: SinkPart, given: RecordBatch) -> Result<(), FunctionError> {
        if let Some(failure) = self.failures.lock().unwrap().pop() {
            return Err(failure);
        }
        if self.refused.lock().unwrap().take_if(|refused| *refused == part.part).is_some() {
            return Err(unavailable());
        }
        assert!((1..=SinkPart::ROWS_MAX).contains(&given.num_rows()));
        let SinkPart { batch_time, part, parts } = part;
        self.written.lock().unwrap().push((batch_time.as_ms(), part, parts, rows(&given)));
        Ok(())
    }
}

/// What outlives a process.
struct World {
    disk: MemoryDisk,
    written: Arc<Mutex<Vec<Written>>>,
    refused: Refused,
}

impl World {
    fn new() -> Self {
        Self { disk: MemoryDisk::new(), written: Arc::default(), refused: Refused::default() }
    }

    /// Has a part not taken the next time.
    fn refuse(&self, part: u32) {
        *self.refused.lock().unwrap() = Some(part);
    }

    /// A sink whose first calls fail so, over files.
    fn sink(&self, failures: Vec<FunctionError>) -> PluginSink {
        let disk: Arc<dyn Disk> = Arc::new(self.disk.clone());
        self.sink_of(
            schema(),
            &["value"],
            failures,
            Outbox::Files(Files::new(disk, Path::new(FOLDER), "out")),
        )
    }

    fn sink_of(
        &self,
        input: Schema,
        columns: &[&str],
        failures: Vec<FunctionError>,
        outbox: Outbox,
    ) -> PluginSink {
        let description = description(FunctionKind::Sink, input, Schema::default());
        let (written, refused) = (Arc::clone(&self.written), Arc::clone(&self.refused));
        let fake = Fake { description, written, failures: Mutex::new(failures), refused };
        let columns = columns.iter().map(|&column| column.to_owned()).collect();
        PluginSink::new(Arc::new(fake), columns, outbox)
    }

    fn take_written(&self) -> Vec<Written> {
        std::mem::take(&mut *self.written.lock().unwrap())
    }

    async fn staged(&self) -> Vec<String> {
        self.disk.list(&Path::new(FOLDER).join("outbox/out")).await.unwrap_or_default()
    }
}

fn fault(reason: &str) -> (String, String) {
    ("p.fake".to_owned(), reason.to_owned())
}

fn unavailable() -> FunctionError {
    let (function, reason) = fault("nobody answers");
    FunctionError::Unavailable { function, reason }
}

fn broken() -> FunctionError {
    let (function, reason) = fault("trapped");
    FunctionError::Broken { function, reason }
}

fn rejected() -> FunctionError {
    let (function, reason) = fault("never");
    FunctionError::Rejected { function, reason }
}

fn texts_of(values: &[&str]) -> Vec<String> {
    values.iter().map(|&value| value.to_owned()).collect()
}

#[tokio::test]
async fn a_batch_is_written_when_it_is_published_and_not_before() {
    let world = World::new();
    for outbox in
        [Outbox::memory(), Outbox::Files(Files::new(Arc::new(MemoryDisk::new()), Path::new("c"), "s"))]
    {
        let sink = world.sink_of(schema(), &["value"], vec![], outbox);
        let mut batch = sink.begin(FIRST).await.unwrap();
        batch.write(1, texts(["c"])).await.unwrap();
        batch.write(0, texts(["a"])).await.unwrap();
        batch.write(0, texts(["b"])).await.unwrap();
        batch.prepare().await.unwrap();
        assert!(world.take_written().is_empty());
        batch.publish().await.unwrap();
        let parts = [(1_000, 0, 2, texts_of(&["a", "b"])), (1_000, 1, 2, texts_of(&["c"]))];
        assert_eq!(world.take_written(), parts);
        sink.recover(FIRST).await.unwrap();
        assert!(world.take_written().is_empty(), "what is done is not written again");
    }
}

#[tokio::test]
async fn a_batch_without_rows_is_not_written() {
    let world = World::new();
    let mut batch = world.sink(vec![]).begin(FIRST).await.unwrap();
    batch.write(0, texts([])).await.unwrap();
    batch.prepare().await.unwrap();
    batch.publish().await.unwrap();
    world.sink(vec![]).recover(FIRST).await.unwrap();
    assert!(world.take_written().is_empty() && world.staged().await.is_empty());
}

#[tokio::test]
async fn large_batches_come_in_bounded_parts_that_have_all_rows_in_order() {
    let world = World::new();
    let sink = world.sink(vec![]);
    let mut batch = sink.begin(FIRST).await.unwrap();
    let long = "x".repeat(1_000);
    let mut expected = Vec::new();
    for chunk in 0..40 {
        let length = if chunk < 30 { 5 } else { 1_000 };
        let values: Vec<_> =
            (0..5_000).map(|row| format!("{chunk:02}-{row:04} {}", &long[..length])).collect();
        batch.write(0, texts(values.iter().map(String::as_str))).await.unwrap();
        expected.extend(values);
    }
    batch.prepare().await.unwrap();
    batch.publish().await.unwrap();
    let written = world.take_written();
    assert!(written.iter().map(|(_, part, ..)| *part).eq(0..written.len() as u32));
    let bytes = |rows: &[String]| rows.iter().map(String::len).sum::<usize>();
    assert!(
        written.iter().all(|(_, _, parts, rows)| *parts == written.len() as u32 && bytes(rows) <= 8 << 20)
    );
    assert!(written.into_iter().flat_map(|(.., rows)| rows).eq(expected));
}

#[tokio::test]
async fn a_part_that_is_not_taken_is_tried_again_and_those_before_it_are_not() {
    let world = World::new();
    let sink = world.sink(vec![broken(), unavailable()]);
    let mut batch = sink.begin(FIRST).await.unwrap();
    batch.write(0, texts(["a"])).await.unwrap();
    batch.write(1, texts(["b"])).await.unwrap();
    batch.prepare().await.unwrap();
    assert!(matches!(batch.publish().await, Err(SinkError::Unavailable(_))));
    assert!(matches!(sink.recover(FIRST).await, Err(SinkError::Unavailable(_))));
    world.refuse(1);
    assert!(matches!(sink.recover(FIRST).await, Err(SinkError::Unavailable(_))));
    assert_eq!(world.take_written(), [(1_000, 0, 2, texts_of(&["a"]))]);
    sink.recover(FIRST).await.unwrap();
    assert_eq!(world.take_written(), [(1_000, 1, 2, texts_of(&["b"]))]);
}

#[tokio::test]
async fn rows_that_never_will_be_taken_are_a_failure() {
    let world = World::new();
    let sink = world.sink(vec![rejected()]);
    let mut batch = sink.begin(FIRST).await.unwrap();
    batch.write(0, texts(["a"])).await.unwrap();
    batch.prepare().await.unwrap();
    assert!(matches!(batch.publish().await, Err(SinkError::Failed(_))));
    assert_eq!(world.staged().await.len(), 1, "the batch is kept");
}

#[tokio::test]
async fn a_crash_brings_all_parts_of_a_committed_batch_again() {
    let world = World::new();
    let mut batch = world.sink(vec![]).begin(FIRST).await.unwrap();
    batch.write(0, texts(["a", "b"])).await.unwrap();
    batch.write(1, texts(["c"])).await.unwrap();
    batch.prepare().await.unwrap();
    drop(batch);
    world.disk.kill();
    // The life after the crash writes one part, and crashes in the other.
    world.refuse(1);
    assert!(matches!(world.sink(vec![]).recover(FIRST).await, Err(SinkError::Unavailable(_))));
    let parts = [(1_000, 0, 2, texts_of(&["a", "b"])), (1_000, 1, 2, texts_of(&["c"]))];
    assert_eq!(world.take_written(), parts[..1]);
    world.disk.kill();
    world.sink(vec![]).recover(FIRST).await.unwrap();
    assert_eq!(world.take_written(), parts);
    assert!(world.staged().await.is_empty());
    world.disk.kill();
    world.sink(vec![]).recover(FIRST).await.unwrap();
    assert!(world.take_written().is_empty(), "it is done");
}

#[tokio::test]
async fn a_batch_that_was_staged_and_not_committed_is_dropped_by_the_next_attempt() {
    let world = World::new();
    let mut batch = world.sink(vec![]).begin(FIRST).await.unwrap();
    batch.write(0, texts(["of the first attempt"])).await.unwrap();
    batch.prepare().await.unwrap();
    drop(batch);
    world.disk.kill();
    let sink = world.sink(vec![]);
    let mut batch = sink.begin(FIRST).await.unwrap();
    assert!(world.staged().await.is_empty());
    batch.write(0, texts(["of the second"])).await.unwrap();
    batch.prepare().await.unwrap();
    batch.publish().await.unwrap();
    assert_eq!(world.take_written(), [(1_000, 0, 1, texts_of(&["of the second"]))]);
}

#[tokio::test]
async fn columns_are_found_by_their_names_and_cast() {
    let world = World::new();
    let input = Schema::new([Field::new("count", DataType::Int64), Field::new("word", DataType::Utf8)]);
    let sink = world.sink_of(input, &["n", "w"], vec![], Outbox::memory());
    let fields = vec![
        ArrowField::new("other", ArrowType::Int32, true),
        ArrowField::new("w", ArrowType::Utf8, true),
        ArrowField::new("n", ArrowType::Int32, true),
    ];
    let numbers: ArrayRef = Arc::new(Int32Array::from(vec![1, 2]));
    let words: ArrayRef = Arc::new(StringArray::from(vec!["a", "b"]));
    let columns = vec![Arc::clone(&numbers), words, numbers];
    let given = RecordBatch::try_new(Arc::new(ArrowSchema::new(fields)), columns).unwrap();
    let mut batch = sink.begin(FIRST).await.unwrap();
    batch.write(0, given).await.unwrap();
    batch.prepare().await.unwrap();
    batch.publish().await.unwrap();
    assert_eq!(world.take_written(), [(1_000, 0, 1, texts_of(&["1|a", "2|b"]))]);
}

#[tokio::test]
async fn a_staged_batch_that_is_damaged_is_not_written() {
    let world = World::new();
    let mut batch = world.sink(vec![]).begin(FIRST).await.unwrap();
    batch.write(0, texts(["a", "b"])).await.unwrap();
    batch.prepare().await.unwrap();
    let file = Path::new(FOLDER).join("outbox/out").join(&world.staged().await[0]);
    let whole = world.disk.read(&file).await.unwrap();
    for at in 0..whole.len() {
        let mut damaged = whole.to_vec();
        damaged[at] ^= 1 << (at % 8);
        world.disk.remove(&file).await.unwrap();
        let mut end: Box<dyn Append> = world.disk.create(&file).await.unwrap();
        end.append(vec![damaged.into()]).await.unwrap();
        let recovered = world.sink(vec![]).recover(FIRST).await;
        assert!(matches!(recovered, Err(SinkError::Failed(_))), "byte {at}: {recovered:?}");
    }
    assert!(world.take_written().is_empty());
}

//! What the tests of this crate share: an inlet whose other end they hold.

use std::collections::VecDeque;
use std::io::{self, Write};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use arrow::record_batch::RecordBatch;
use arrow::util::display::{ArrayFormatter, FormatOptions};
use millstream_engine::{Decoder, Inlet, InletSettings, Outlet, Source, SourceError};
use millstream_model::pipeline::{Format, Located, Place, SourceKind, SourceSpec, Storage};
use millstream_model::{Block, DataType, DeadLetter, Field, Lane, Payload, Rejected, Schema};
use tokio::task::JoinHandle;
use tokio::time::timeout;
use tracing::subscriber::DefaultGuard;

/// Before a source that failed is started again.
const PAUSE: Duration = Duration::from_millis(1);
/// A deadline for what should happen soon; reached only when a test fails.
const SOON: Duration = Duration::from_secs(30);

pub(crate) fn located<T>(value: T) -> Located<T> {
    Located { value, place: Place::default() }
}

pub(crate) fn spec(kind: SourceKind, format: Format) -> SourceSpec {
    let name = located("in".to_owned());
    SourceSpec {
        name,
        kind,
        format,
        max_rate: None,
        parallelism: 1,
        storage: Storage::default(),
        timestamp: None,
        watermark_delay: Duration::ZERO,
    }
}

/// Columns that may be null.
pub(crate) fn schema(fields: &[(&str, DataType)]) -> Schema {
    let field = |(name, data_type): &(&str, DataType)| Field {
        nullable: true,
        ..Field::new(*name, data_type.clone())
    };
    Schema::new(fields.iter().map(field))
}

/// Every row as its values, separated by bars.
pub(crate) fn rows(batch: &RecordBatch) -> Vec<String> {
    let options = FormatOptions::new().with_null("NULL");
    let columns: Vec<_> = batch
        .columns()
        .iter()
        .map(|column| ArrayFormatter::try_new(column.as_ref(), &options).unwrap())
        .collect();
    let row = |row| columns.iter().map(|c| c.value(row).to_string()).collect::<Vec<_>>().join("|");
    (0..batch.num_rows()).map(row).collect()
}

/// Blocks that are sent until the next is taken: one waits at a time.
pub(crate) fn settings(once: bool) -> InletSettings {
    InletSettings { bytes_max: 1, batch_rows_max: usize::MAX, once, ..InletSettings::default() }
}

/// The lane of the source that [`spec`] describes.
pub(crate) fn lane() -> Lane {
    Lane { source: "in".to_owned(), receiver: 0 }
}

/// A source that runs, and the other end of its inlet. A source that fails is started again, but not in once mode.
pub(crate) struct Running {
    decoder: Arc<dyn Decoder>,
    task: JoinHandle<Result<(), SourceError>>,
    outlet: Outlet,
    taken: VecDeque<Block>,
    letters: Mutex<Vec<DeadLetter>>,
    faults: Faults,
    _guard: DefaultGuard,
}

/// Runs `source` as the engine does.
async fn supervise(source: Arc<dyn Source>, inlet: Inlet) -> Result<(), SourceError> {
    loop {
        match source.run(inlet.clone()).await {
            Err(SourceError::Failed(fault)) if !inlet.once() => inlet.report(&fault),
            ended => return ended,
        }
        tokio::select! {
            () = inlet.closed() => return Ok(()),
            () = tokio::time::sleep(PAUSE) => {}
        }
    }
}

/// What operators are told, a line each.
#[derive(Clone, Default)]
pub(crate) struct Faults(Arc<Mutex<Vec<u8>>>);

impl Write for Faults {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap().write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Faults {
    /// Hears what is reported on this thread, until the guard is dropped.
    pub(crate) fn listen() -> (Self, DefaultGuard) {
        let faults = Self::default();
        let writer = faults.clone();
        let subscriber = tracing_subscriber::fmt()
            .with_max_level(tracing::Level::WARN)
            .with_ansi(false)
            .with_writer(move || writer.clone())
            .finish();
        (faults, tracing::subscriber::set_default(subscriber))
    }

    pub(crate) fn lines(&self) -> Vec<String> {
        let told = self.0.lock().unwrap();
        String::from_utf8_lossy(&told).lines().map(str::to_owned).collect()
    }
}

impl Running {
    /// Starts `source`. What it reports is seen on this thread alone, so the runtime has to be one of one thread.
    pub(crate) fn start(source: impl Source + 'static, format: &Format, once: bool) -> Self {
        Self::start_with(source, format, Inlet::new(lane(), settings(once)))
    }

    /// Starts `source` with an inlet, whose other end is given as well.
    pub(crate) fn start_with(
        source: impl Source + 'static,
        format: &Format,
        (inlet, outlet): (Inlet, Outlet),
    ) -> Self {
        let (faults, guard) = Faults::listen();
        Self {
            decoder: crate::decode::decoder("in", format),
            task: tokio::spawn(supervise(Arc::new(source), inlet)),
            outlet,
            taken: VecDeque::new(),
            letters: Mutex::default(),
            faults,
            _guard: guard,
        }
    }

    /// The next block, which may be of a rejected record; `None` when the source has ended.
    pub(crate) async fn any_block(&mut self) -> Option<Block> {
        while self.taken.is_empty() && !self.outlet.is_exhausted() {
            timeout(SOON, self.outlet.full()).await.expect("a block in time");
            self.taken.extend(self.outlet.take().blocks);
        }
        self.taken.pop_front()
    }

    /// The next block of records; rejected ones before it are put aside.
    pub(crate) async fn block(&mut self) -> Option<Block> {
        while let Some(block) = self.any_block().await {
            let Payload::Rejected(Rejected { error, record }) = &block.payload else { return Some(block) };
            let letter = DeadLetter::new("in", block.position.clone(), error.clone(), record);
            self.letters.lock().unwrap().push(letter);
        }
        None
    }

    /// The next `count` rows.
    pub(crate) async fn rows(&mut self, count: usize) -> Vec<String> {
        let mut received = Vec::new();
        while received.len() < count {
            let block = self.block().await.expect("more blocks");
            received.extend(self.decode(&block));
        }
        received
    }

    /// All rows until the source ends.
    pub(crate) async fn all_rows(&mut self) -> Vec<String> {
        let mut received = Vec::new();
        while let Some(block) = self.block().await {
            received.extend(self.decode(&block));
        }
        received
    }

    pub(crate) fn decode(&self, block: &Block) -> Vec<String> {
        rows(&self.decoder.decode(block, &mut |letter| self.letters.lock().unwrap().push(letter)))
    }

    /// The records that were put aside in all that was taken so far.
    pub(crate) fn letters(&self) -> Vec<DeadLetter> {
        self.letters.lock().unwrap().clone()
    }

    /// What the operator was told so far.
    pub(crate) fn faults(&self) -> Vec<String> {
        self.faults.lines()
    }

    /// Waits until `ready` holds for this source.
    pub(crate) async fn until(&self, ready: impl Fn(&Self) -> bool) {
        let waiting = async {
            while !ready(self) {
                tokio::task::yield_now().await;
            }
        };
        timeout(SOON, waiting).await.expect("it happens in time");
    }

    /// Tells the source to stop.
    pub(crate) fn close(&self) {
        self.outlet.close();
    }

    /// Stops receiving; gives the rows that were still on their way.
    pub(crate) async fn stop(mut self) -> Vec<String> {
        self.outlet.close();
        let rows = self.all_rows().await;
        self.end().await.unwrap();
        rows
    }

    /// The source's answer when it ends by itself.
    pub(crate) async fn end(self) -> Result<(), SourceError> {
        timeout(SOON, self.task).await.expect("it ends in time").unwrap()
    }
}

//! The pipeline as data: what a pipeline file says, checked for form and not yet for meaning.
//!
//! Names and references carry their place in the file, so that every later check can point at them.

mod grant;
mod operation;
mod test;

use std::collections::BTreeMap;
use std::fmt;
use std::path::PathBuf;
use std::time::Duration;

use serde_json::Value;

use crate::Schema;

pub use grant::{Grant, GrantKind, Limit};
pub use operation::{
    AggregateSpec, CallSpec, JoinKind, JoinSpec, Operation, ReduceSpec, RepartitionSpec, UpdateSpec,
    WindowSpec,
};
pub use test::{Batches, ExpectedFailure, ExpectedLetter, Given, Row, TestSpec};

/// A place in a pipeline file; both counted from 1.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Place {
    /// The line.
    pub line: usize,
    /// The character in the line.
    pub column: usize,
}

/// A value and where the file says it.
#[derive(Clone, PartialEq)]
pub struct Located<T> {
    /// What is said.
    pub value: T,
    /// Where.
    pub place: Place,
}

impl<T: fmt::Debug> fmt::Debug for Located<T> {
    /// The value alone: what stands elsewhere in the file is the same.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.value.fmt(f)
    }
}

impl<T: fmt::Display> fmt::Display for Located<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.value.fmt(f)
    }
}

/// A whole pipeline file. Everything in it keeps the order of the file.
#[derive(Clone, Debug)]
pub struct Pipeline {
    /// Its name.
    pub name: String,
    /// From one batch to the next.
    pub batch_interval: Duration,
    /// The folder of the journal and the state.
    pub checkpoint: Option<PathBuf>,
    /// The file that rejected records are appended to, as JSON lines.
    pub dead_letters: Option<PathBuf>,
    /// The most rows that one batch takes from one source; the rest waits for the next.
    pub max_batch_rows: usize,
    /// The most bytes of received records that one source keeps in memory until their batch is done.
    pub receive_memory_bytes: u64,
    /// The most bytes of received records that one source keeps waiting on disk alone.
    pub receive_disk_bytes: u64,
    /// How long a receiver gathers records for a block that is not full; by default a fifth of the batch
    /// interval, and at most 200 ms.
    pub block_interval: Duration,
    /// How many batches may run at once.
    pub concurrent_batches: u32,
    /// How often a batch that fails is tried in all.
    pub attempts: u32,
    /// Whether the pipeline goes on after a batch that failed as often as it may.
    pub continue_on_failure: bool,
    /// Whether each tick that passed while no batch could be cut has a batch of its own.
    pub every_missed_batch: bool,
    /// How receivers are slowed down when batches are behind, before memory is full.
    pub backpressure: Option<Backpressure>,
    /// How a version is tried out that the pipeline is given while it runs.
    pub probation: Probation,
    /// Bytes of the log of finished batches that are kept, to run them again.
    pub history_bytes: u64,
    /// Bytes of memory that states and windows may take.
    pub state_memory_bytes: u64,
    /// Bytes of memory that the rows of all tables may take.
    pub table_memory_bytes: u64,
    /// Components.
    pub plugins: Vec<PluginSpec>,
    /// Where rows come from.
    pub sources: Vec<SourceSpec>,
    /// Reference data.
    pub tables: Vec<TableSpec>,
    /// What is computed.
    pub streams: Vec<StreamSpec>,
    /// Where rows go.
    pub sinks: Vec<SinkSpec>,
    /// What `millstream test` runs.
    pub tests: Vec<TestSpec>,
}

/// `[upgrade]`: how a version is tried out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Probation {
    /// So many of its first batches that have records; 0: it is not tried out.
    pub batches: u32,
    /// So often it may fail in them.
    pub failures_max: u64,
}

impl Default for Probation {
    fn default() -> Self {
        Self { batches: 20, failures_max: 0 }
    }
}

/// Settings of the estimator of the rate that batches can keep up with.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Backpressure {
    /// How strongly the difference between a receiver's rate and the last batch's counts.
    pub proportional: f64,
    /// How strongly the records that wait count.
    pub integral: f64,
    /// How strongly the change of the difference counts.
    pub derivative: f64,
    /// Rows a second that are received in any case.
    pub min_rate: f64,
}

impl Default for Backpressure {
    fn default() -> Self {
        Self { proportional: 1.0, integral: 0.2, derivative: 0.0, min_rate: 100.0 }
    }
}

/// Where received records are kept until their batch takes them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Storage {
    /// In memory; when that is full, the receiver waits.
    #[default]
    Memory,
    /// In memory, and when that is full on disk.
    MemoryAndDisk,
    /// On disk.
    Disk,
}

/// `[plugins.NAME]`
#[derive(Clone, Debug)]
pub struct PluginSpec {
    /// The name that streams use.
    pub name: Located<String>,
    /// The component's file, absolute or relative to the working directory.
    pub component: Located<PathBuf>,
    /// What it may touch.
    pub grant: Grant,
    /// What it may use.
    pub limit: Limit,
    /// Handed to the plugin as it is.
    pub config: BTreeMap<String, Value>,
}

/// `[sources.NAME]`
#[derive(Clone, Debug)]
pub struct SourceSpec {
    /// The name that streams use.
    pub name: Located<String>,
    /// Where it reads.
    pub kind: SourceKind,
    /// How bytes become rows.
    pub format: Format,
    /// Rows a second, at most.
    pub max_rate: Option<u64>,
    /// How many receivers of it run at once.
    pub parallelism: u32,
    /// Where received records are kept.
    pub storage: Storage,
    /// The column that says when a record happened.
    pub timestamp: Option<Located<String>>,
    /// How much later than others a record may come.
    pub watermark_delay: Duration,
}

/// Where a source reads.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SourceKind {
    /// Records over TCP, from a server that is connected to.
    SocketConnect {
        /// `host:port`
        address: Located<String>,
        /// Whether the server can resume at a record's number, and is told which records are safe.
        resume: bool,
    },
    /// Records over TCP, from any number of clients that connect here.
    SocketListen {
        /// `host:port`; port 0 takes a free one.
        address: Located<String>,
    },
    /// Files of a folder or a glob, each taken once.
    Files {
        /// A folder, a file or a glob.
        path: Located<PathBuf>,
    },
    /// A receiver of a plugin. Its rows have the format [`Format::Rows`].
    Plugin(CallSpec),
}

impl<T: Eq> Eq for Located<T> {}

/// How bytes become rows, or rows bytes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Format {
    /// A line is a row of one column, `value`. As a sink: text, the first column.
    Lines,
    /// A JSON object a line.
    Json(Schema),
    /// Comma-separated values.
    Csv {
        /// The columns, in order.
        schema: Schema,
        /// Whether the first record of every file holds the names.
        header: bool,
    },
    /// Parquet files.
    Parquet(Schema),
    /// Files of records of the same length: each is a row of one column, `value`.
    Records {
        /// Bytes of a record.
        length: usize,
    },
    /// What comes in are rows already, in these columns. Those of a plugin are known once the pipeline is checked.
    Rows(Schema),
}

/// `[tables.NAME]`: reference data that SQL joins with.
#[derive(Clone, Debug)]
pub struct TableSpec {
    /// The name that SQL uses.
    pub name: Located<String>,
    /// The file.
    pub path: Located<PathBuf>,
    /// How it is read.
    pub format: TableFormat,
    /// Its columns; none, where they are to be found in the file.
    pub schema: Option<Schema>,
    /// How often it is read again; never, where that is not said.
    pub refresh: Option<Duration>,
}

/// How a table's file is read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TableFormat {
    /// Comma-separated values.
    Csv {
        /// Whether the first record holds the names of the columns. Without it, they stand in the schema's order.
        header: bool,
    },
    /// A JSON object a line.
    Json,
    /// Parquet.
    Parquet,
}

/// `[streams.NAME]`
#[derive(Clone, Debug)]
pub struct StreamSpec {
    /// The name that others use.
    pub name: Located<String>,
    /// The streams or sources it takes, as `from` names them; empty for SQL, whose text names them.
    pub from: Vec<Located<String>>,
    /// What it does.
    pub operation: Located<Operation>,
    /// What happens to rows that its function fails on.
    pub on_error: OnError,
}

/// What happens to rows that a function fails on, where it fails on them alone.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum OnError {
    /// They go to the dead letters, and the others go on.
    #[default]
    DeadLetter,
    /// They are left out and counted, and the others go on.
    Skip,
    /// The batch fails.
    Stop,
}

/// `[sinks.NAME]`
#[derive(Clone, Debug)]
pub struct SinkSpec {
    /// Its name.
    pub name: Located<String>,
    /// The stream or source it takes.
    pub from: Located<String>,
    /// Where it writes.
    pub kind: SinkKind,
}

/// Where a sink writes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SinkKind {
    /// The screen: the batch's time and its first rows.
    Print {
        /// Rows shown of a batch.
        rows: usize,
    },
    /// A folder per batch.
    Files {
        /// The folder of those folders.
        path: Located<PathBuf>,
        /// How rows are written.
        format: FileFormat,
    },
    /// A sink of a plugin. In a checked pipeline the columns that it takes are named.
    Plugin(CallSpec),
}

/// How a file sink writes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FileFormat {
    /// The values of one column, a line each.
    Text,
    /// A JSON object a line.
    Json,
    /// Comma-separated values under a line of names.
    Csv,
    /// Parquet.
    Parquet,
}

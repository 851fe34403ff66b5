//! The types of `wit/` as they cross the boundary: borrowed on the way in, so that a buffer is copied once,
//! straight into the guest's memory; owned on the way out.

use wasmtime::component::{ComponentType, Lift, Lower};

/// The interface that every component exports.
pub(crate) const DESCRIPTION: &str = "millstream:plugin/description@0.1.0";
/// The interface of map, flat-map, filter and transform.
pub(crate) const TRANSFORM: &str = "millstream:plugin/transform@0.1.0";
/// The interface of reduce and inverse.
pub(crate) const REDUCE: &str = "millstream:plugin/reduce@0.1.0";
/// The interface of update-state.
pub(crate) const UPDATE_STATE: &str = "millstream:plugin/update-state@0.1.0";
/// The interface of migrations of states.
pub(crate) const MIGRATE_STATE: &str = "millstream:plugin/migrate-state@0.1.0";
/// The interface of checks of the configuration.
pub(crate) const SETTINGS: &str = "millstream:plugin/settings@0.1.0";
/// The interface of receivers.
pub(crate) const RECEIVER: &str = "millstream:plugin/receiver@0.1.0";
/// The interface of sinks.
pub(crate) const SINK: &str = "millstream:plugin/sink@0.1.0";
/// The interface of components that carry their pipeline.
pub(crate) const APPLICATION: &str = "millstream:plugin/application@0.1.0";
/// What a component imports that sends HTTP requests, in whatever version.
pub(crate) const HTTP: &str = "wasi:http/outgoing-handler@";
/// The interfaces that the host offers.
pub(crate) const HOST: &str = "millstream:plugin/host@0.1.0";
pub(crate) const ACCUMULATORS: &str = "millstream:plugin/accumulators@0.1.0";

#[derive(Clone, ComponentType, Lower)]
#[component(record)]
pub(crate) struct TableIn<'a> {
    pub(crate) rows: u32,
    pub(crate) columns: Vec<ColumnIn<'a>>,
    pub(crate) items: Vec<ColumnIn<'a>>,
}

#[derive(Clone, ComponentType, Lower)]
#[component(record)]
pub(crate) struct ColumnIn<'a> {
    pub(crate) validity: Option<&'a [u8]>,
    pub(crate) values: ValuesIn<'a>,
}

#[derive(Clone, ComponentType, Lower)]
#[component(variant)]
pub(crate) enum ValuesIn<'a> {
    #[component(name = "boolean")]
    Boolean(&'a [u8]),
    #[component(name = "int64")]
    Int64(&'a [i64]),
    #[component(name = "float64")]
    Float64(&'a [f64]),
    #[component(name = "timestamp")]
    Timestamp(&'a [i64]),
    #[component(name = "utf8")]
    Utf8(VaryingIn<'a>),
    #[component(name = "binary")]
    Binary(VaryingIn<'a>),
    #[component(name = "list")]
    List(ListsIn<'a>),
}

#[derive(Clone, ComponentType, Lower)]
#[component(record)]
pub(crate) struct VaryingIn<'a> {
    pub(crate) offsets: &'a [u32],
    pub(crate) data: &'a [u8],
}

#[derive(Clone, ComponentType, Lower)]
#[component(record)]
pub(crate) struct ListsIn<'a> {
    pub(crate) offsets: &'a [u32],
    pub(crate) item: u32,
}

#[derive(Clone, Copy, ComponentType, Lower)]
#[component(record)]
pub(crate) struct Context {
    #[component(name = "batch-time-ms")]
    pub(crate) batch_time_ms: i64,
    pub(crate) partition: u32,
}

#[derive(Clone, Copy, ComponentType, Lower)]
#[component(record)]
pub(crate) struct Batch {
    #[component(name = "time-ms")]
    pub(crate) time_ms: i64,
    pub(crate) part: u32,
    pub(crate) parts: u32,
}

#[derive(Debug, ComponentType, Lift)]
#[component(record)]
pub(crate) struct Table {
    pub(crate) rows: u32,
    pub(crate) columns: Vec<Column>,
    pub(crate) items: Vec<Column>,
}

#[derive(Debug, ComponentType, Lift)]
#[component(record)]
pub(crate) struct Column {
    pub(crate) validity: Option<Vec<u8>>,
    pub(crate) values: Values,
}

#[derive(Debug, ComponentType, Lift)]
#[component(variant)]
pub(crate) enum Values {
    #[component(name = "boolean")]
    Boolean(Vec<u8>),
    #[component(name = "int64")]
    Int64(Vec<i64>),
    #[component(name = "float64")]
    Float64(Vec<f64>),
    #[component(name = "timestamp")]
    Timestamp(Vec<i64>),
    #[component(name = "utf8")]
    Utf8(Varying),
    #[component(name = "binary")]
    Binary(Varying),
    #[component(name = "list")]
    List(Lists),
}

#[derive(Debug, ComponentType, Lift)]
#[component(record)]
pub(crate) struct Varying {
    pub(crate) offsets: Vec<u32>,
    pub(crate) data: Vec<u8>,
}

#[derive(Debug, ComponentType, Lift)]
#[component(record)]
pub(crate) struct Lists {
    pub(crate) offsets: Vec<u32>,
    pub(crate) item: u32,
}

#[derive(ComponentType, Lift)]
#[component(variant)]
pub(crate) enum Answer {
    #[component(name = "rows")]
    Rows(Table),
    #[component(name = "expansion")]
    Expansion(Expansion),
    #[component(name = "selection")]
    Selection(Vec<u8>),
}

#[derive(ComponentType, Lift)]
#[component(record)]
pub(crate) struct Expansion {
    pub(crate) rows: Table,
    pub(crate) origins: Vec<u32>,
}

#[derive(ComponentType, Lift)]
#[component(record)]
pub(crate) struct Outcome {
    pub(crate) fates: Vec<u8>,
    pub(crate) states: Table,
    pub(crate) output: Table,
    pub(crate) origins: Vec<u32>,
}

#[derive(ComponentType, Lift)]
#[component(record)]
pub(crate) struct Migrated {
    pub(crate) origins: Vec<u32>,
    pub(crate) keys: Table,
    pub(crate) states: Table,
}

#[derive(ComponentType, Lift)]
#[component(record)]
pub(crate) struct Delivery {
    pub(crate) rows: Table,
    pub(crate) position: Option<Vec<u8>>,
    pub(crate) ended: bool,
}

#[derive(ComponentType, Lift)]
#[component(variant)]
pub(crate) enum CallError {
    #[component(name = "rejected")]
    Rejected(String),
    #[component(name = "unavailable")]
    Unavailable(String),
}

#[derive(Debug, ComponentType, Lift)]
#[component(variant)]
pub(crate) enum DataType {
    #[component(name = "boolean")]
    Boolean,
    #[component(name = "int64")]
    Int64,
    #[component(name = "float64")]
    Float64,
    #[component(name = "timestamp")]
    Timestamp,
    #[component(name = "utf8")]
    Utf8,
    #[component(name = "binary")]
    Binary,
    #[component(name = "list")]
    List(u32),
}

#[derive(Debug, ComponentType, Lift)]
#[component(record)]
pub(crate) struct Field {
    pub(crate) name: String,
    #[component(name = "data-type")]
    pub(crate) data_type: DataType,
    pub(crate) nullable: bool,
}

#[derive(Debug, ComponentType, Lift)]
#[component(record)]
pub(crate) struct Schema {
    pub(crate) fields: Vec<Field>,
    pub(crate) items: Vec<Field>,
}

#[derive(Clone, Copy, Debug, ComponentType, Lift)]
#[component(enum)]
#[repr(u8)]
#[allow(dead_code, reason = "made only by lifting")]
pub(crate) enum FunctionKind {
    #[component(name = "map")]
    Map,
    #[component(name = "flat-map")]
    FlatMap,
    #[component(name = "filter")]
    Filter,
    #[component(name = "transform")]
    Transform,
    #[component(name = "reduce")]
    Reduce,
    #[component(name = "inverse")]
    Inverse,
    #[component(name = "update-state")]
    UpdateState,
    #[component(name = "receiver")]
    Receiver,
    #[component(name = "sink")]
    Sink,
}

#[derive(Debug, ComponentType, Lift)]
#[component(record)]
pub(crate) struct Function {
    pub(crate) name: String,
    pub(crate) kind: FunctionKind,
    pub(crate) input: Schema,
    pub(crate) output: Schema,
    pub(crate) keys: Schema,
    pub(crate) state: Schema,
    #[component(name = "state-version")]
    pub(crate) state_version: u32,
    pub(crate) migrations: Vec<Migration>,
    pub(crate) documentation: String,
}

#[derive(Debug, ComponentType, Lift)]
#[component(record)]
pub(crate) struct Migration {
    pub(crate) version: u32,
    pub(crate) keys: Schema,
    pub(crate) state: Schema,
    #[component(name = "new-keys")]
    pub(crate) new_keys: Schema,
    pub(crate) merges: bool,
}

#[derive(Debug, ComponentType, Lift)]
#[component(record)]
pub(crate) struct Plugin {
    pub(crate) name: String,
    pub(crate) version: String,
    pub(crate) documentation: String,
    pub(crate) functions: Vec<Function>,
    pub(crate) needs: Vec<Need>,
}

#[derive(Clone, Copy, Debug, ComponentType, Lift)]
#[component(enum)]
#[repr(u8)]
#[allow(dead_code, reason = "made only by lifting")]
pub(crate) enum GrantKind {
    #[component(name = "network")]
    Network,
    #[component(name = "http")]
    Http,
    #[component(name = "read")]
    Read,
    #[component(name = "write")]
    Write,
    #[component(name = "environment")]
    Environment,
}

#[derive(Debug, ComponentType, Lift)]
#[component(record)]
pub(crate) struct Need {
    pub(crate) grant: GrantKind,
    pub(crate) what: String,
}

#[derive(Clone, Copy, Debug, ComponentType, Lift)]
#[component(enum)]
#[repr(u8)]
#[allow(dead_code, reason = "made only by lifting")]
pub(crate) enum Level {
    #[component(name = "debug")]
    Debug,
    #[component(name = "info")]
    Info,
    #[component(name = "warn")]
    Warn,
    #[component(name = "error")]
    Error,
}

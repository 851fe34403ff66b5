//! Sources, tables and sinks: sockets, files, the screen.
//!
//! A source reads large pieces of bytes, cuts them into blocks of whole records (`cut`) and sends them on;
//! that is all that happens while receiving. A decoder turns a block into rows later, on the threads that
//! compute (`decode`). A sink stages a batch's rows, makes them safe, and shows them after the commit; what a crash
//! interrupts it finishes.
//!
//! Files are a direct source: which records were taken is kept, and they are read again where they are. Sockets are
//! receivers: what they receive is logged before a batch takes it, and a server that can send records again is
//! told which of them are safe.
//!
//! Receivers and sinks of plugins are made sources and sinks by `plugin`.
//!
//! A table is a file that is read whole, by the decoders of sources (`table`).
//!
//! Nothing that comes in is trusted: blocks and records have limits, what cannot be read goes to the dead
//! letters with its position, and the rest goes on.

mod cut;
mod decode;
mod files;
mod folder;
mod handover;
mod plugin;
mod print;
mod screen;
mod socket;
mod table;
#[cfg(test)]
mod testing;

use std::sync::Arc;

use arrow::datatypes::SchemaRef;
use millstream_engine::{Decoder, Sink, SinkError, Source, Table, TableError, TableRows};
use millstream_journal::Outbox;
use millstream_model::pipeline::{CallSpec, SinkKind, SinkSpec, SourceKind, SourceSpec, TableSpec};
use millstream_model::{self as model, Schema};

pub use cut::Begun;
pub use handover::{Endpoint, HandedSocket, Handover, Role, Wanted};
pub use print::table::text as rows_as_text;
pub use screen::Screen;

/// The functions of a checked pipeline's plugins.
pub trait Plugins {
    /// The receiver that `call` names.
    fn receiver(&self, call: &CallSpec) -> Arc<dyn model::Receiver>;

    /// The sink that `call` names.
    fn sink(&self, call: &CallSpec) -> Arc<dyn model::Sink>;
}

/// The source that `spec` describes, which takes its sockets from `handover` where they are there, and gives them up to it.
/// Nothing is opened before it runs.
pub fn source(spec: &SourceSpec, plugins: &dyn Plugins, handover: &Handover) -> Arc<dyn Source> {
    match &spec.kind {
        SourceKind::SocketConnect { address, resume } => {
            Arc::new(socket::Connect::new(spec, &address.value, *resume, handover.clone()))
        }
        SourceKind::SocketListen { address } => {
            Arc::new(socket::Listen::new(spec, &address.value, handover.clone()))
        }
        SourceKind::Files { path } => Arc::new(files::Files::new(spec, &path.value)),
        SourceKind::Plugin(call) => {
            Arc::new(plugin::PluginSource::new(&name_of(call), plugins.receiver(call)))
        }
    }
}

/// What turns the blocks of the source that `spec` describes into rows.
pub fn decoder(spec: &SourceSpec) -> Arc<dyn Decoder> {
    decode::decoder(&spec.name.value, &spec.format)
}

/// Cuts bytes into blocks, as a source does whose reads have these sizes, again and again; for fuzzing.
#[cfg(fuzzing)]
pub fn cut(mut bytes: &[u8], sizes: &[u8]) -> Vec<millstream_model::Block> {
    let mut cutter =
        cut::Cutter::new("fuzzing", 1 + sizes.iter().map(|size| usize::from(*size)).sum::<usize>());
    let mut blocks = Vec::new();
    for size in sizes.iter().cycle() {
        let (read, rest) = bytes.split_at(bytes.len().min(1 + usize::from(*size)));
        cutter.room(read.len()).extend_from_slice(read);
        blocks.extend(std::iter::from_fn(|| cutter.cut()));
        bytes = rest;
        if rest.is_empty() {
            break;
        }
    }
    blocks.extend(cutter.finish());
    blocks
}

/// The table that `spec` describes, with the columns `schema`. Nothing is opened before it is read.
pub fn table(spec: &TableSpec, schema: Schema) -> Arc<dyn Table> {
    Arc::new(table::FileTable::new(spec, schema))
}

/// Reads the table that `spec` describes, and finds its columns where `spec` does not name them. The rows may take
/// `bytes_max` of memory.
///
/// # Errors
/// What is wrong with the file, where in it, and what to do.
pub async fn load_table(spec: &TableSpec, bytes_max: u64) -> Result<(Schema, TableRows), TableError> {
    table::load(spec, bytes_max).await
}

/// Where the sinks of a pipeline put their rows.
pub struct Ways<'a> {
    /// What is printed.
    pub screen: Screen,
    /// The functions of plugins.
    pub plugins: &'a dyn Plugins,
    /// The outbox of the sink of that name, where there is a checkpoint folder.
    pub outbox: &'a dyn Fn(&str) -> Option<Outbox>,
}

/// The sink that `spec` describes, for rows of `schema`.
///
/// # Errors
/// The sink's format cannot hold the columns of `schema`.
pub fn sink(spec: &SinkSpec, schema: SchemaRef, ways: &Ways<'_>) -> Result<Arc<dyn Sink>, SinkError> {
    let name = &spec.name.value;
    Ok(match &spec.kind {
        SinkKind::Print { rows } => Arc::new(print::Print::new(name, schema, *rows, ways.screen.clone())),
        SinkKind::Files { path, format } => Arc::new(folder::Folder::new(&path.value, *format, schema)?),
        SinkKind::Plugin(call) => {
            let sink = ways.plugins.sink(call);
            let columns = call.columns.iter().flatten().map(|column| column.value.clone()).collect();
            let outbox = (ways.outbox)(name).map_or_else(plugin::Outbox::memory, plugin::Outbox::Files);
            Arc::new(plugin::PluginSink::new(sink, columns, outbox))
        }
    })
}

fn name_of(call: &CallSpec) -> String {
    format!("{}.{}", call.plugin, call.function)
}

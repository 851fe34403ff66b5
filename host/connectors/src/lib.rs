//! Sources and sinks: sockets, files, the screen.
//!
//! A source reads large pieces of bytes, cuts them into blocks of whole records (`cut`) and sends them on;
//! that is all that happens while receiving. A decoder turns a block into rows later, on the threads that
//! compute (`decode`). A sink stages a batch's rows and makes them visible at the commit.
//!
//! Nothing that comes in is trusted: blocks and records have limits, what cannot be read goes to the dead
//! letters with its position, and the rest goes on.

mod cut;
mod decode;
mod files;
mod folder;
mod intake;
mod print;
mod rate;
mod screen;
mod socket;
#[cfg(test)]
mod testing;

use std::sync::Arc;

use arrow::datatypes::SchemaRef;
use millstream_engine::{Decoder, Sink, SinkError, Source};
use millstream_model::pipeline::{SinkKind, SinkSpec, SourceKind, SourceSpec};

pub use screen::Screen;

/// The source that `spec` describes. Nothing is opened before it runs.
pub fn source(spec: &SourceSpec) -> Box<dyn Source> {
    match &spec.kind {
        SourceKind::SocketConnect { address } => Box::new(socket::Connect::new(spec, &address.value)),
        SourceKind::SocketListen { address } => Box::new(socket::Listen::new(spec, &address.value)),
        SourceKind::Files { path } => Box::new(files::Files::new(spec, &path.value)),
    }
}

/// What turns the blocks of the source that `spec` describes into rows.
pub fn decoder(spec: &SourceSpec) -> Arc<dyn Decoder> {
    decode::decoder(&spec.name.value, &spec.format)
}

/// The sink that `spec` describes, for rows of `schema`; what it prints goes to `screen`.
///
/// # Errors
/// The sink's format cannot hold the columns of `schema`.
pub fn sink(spec: &SinkSpec, schema: SchemaRef, screen: Screen) -> Result<Box<dyn Sink>, SinkError> {
    Ok(match &spec.kind {
        SinkKind::Print { rows } => Box::new(print::Print::new(&spec.name.value, schema, *rows, screen)),
        SinkKind::Files { path, format } => Box::new(folder::Folder::new(&path.value, *format, schema)?),
    })
}

//! Records over TCP: from a server that is connected to, or from clients that connect here.
//!
//! Every connection counts its records from 0, so a CSV header is expected at the start of each. A record that
//! is not whole when its connection ends cleanly is taken; if the connection breaks, it is a dead letter. A server that
//! can send records again has them counted across connections instead, and none is lost or taken twice: see [`resume`].
//!
//! While a handover is wanted, a source that is closed gives its sockets to the next one: see [`crate::Handover`]. A
//! connection to a server that can send again is not among them: the next source resumes on its own.

mod connect;
mod listen;
mod passing;
mod receive;
mod resume;

pub(crate) use connect::Connect;
pub(crate) use listen::Listen;

#[cfg(test)]
mod tests;

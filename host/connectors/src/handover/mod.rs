//! What a source hands over to the one that takes its place, in the next version of a pipeline or in the process that takes the
//! pipeline over: listening sockets, and connections amid a record.
//!
//! A source that is closed while a handover is wanted gives up its sockets instead of closing them, and one that starts
//! takes those that are there for it. What was read from a connection is with the engine up to the last whole record; the
//! beginning of the next goes along with the connection, and what was not read stays with the system. So each byte
//! is in one place, and the records of the connection go on as if nothing had happened.

use std::collections::BTreeSet;
use std::net::{TcpListener, TcpStream};
use std::os::fd::OwnedFd;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use millstream_model::Lane;
use millstream_model::pipeline::{SourceKind, SourceSpec};

use crate::cut::Begun;

/// The sockets that are given up and not taken yet. Clones are the same.
#[derive(Clone, Default)]
pub struct Handover(Arc<Shared>);

#[derive(Default)]
struct Shared {
    /// How many want them.
    wanted: AtomicUsize,
    sockets: Mutex<Vec<HandedSocket>>,
}

/// That somebody wants the sockets of sources that are closed.
#[must_use]
pub struct Wanted(Handover);

/// A socket on its way from one source to the next of its name.
#[derive(Debug)]
pub struct HandedSocket {
    /// The receiver that gave it up.
    pub lane: Lane,
    /// What the receiver's source does.
    pub endpoint: Endpoint,
    /// What it is.
    pub role: Role,
    /// The socket, which does not block.
    pub socket: OwnedFd,
}

/// Where a source receives, as the pipeline file has it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Endpoint {
    /// It listens at an address.
    Listens(String),
    /// It connects to an address.
    Connects(String),
}

/// What a socket is for.
#[derive(Debug)]
pub enum Role {
    /// Clients connect to it.
    Listener,
    /// Records come from it.
    Connection {
        /// Who is at its other end.
        peer: String,
        /// What was read of it and is not a whole record.
        begun: Begun,
    },
}

impl Handover {
    /// Lets sources that are closed give up their sockets, for as long as somebody has what this gives.
    pub fn want(&self) -> Wanted {
        self.0.wanted.fetch_add(1, Ordering::SeqCst);
        Wanted(self.clone())
    }

    /// Puts sockets there for sources that start.
    pub fn put(&self, sockets: Vec<HandedSocket>) {
        self.sockets().extend(sockets);
    }

    /// Takes all sockets that were given up.
    pub fn take_all(&self) -> Vec<HandedSocket> {
        std::mem::take(&mut *self.sockets())
    }

    /// Closes the sockets that none of `sources` is going to take, and gives the names of the sources they are of.
    pub fn keep_for<'s>(&self, sources: impl Iterator<Item = &'s SourceSpec> + Clone) -> BTreeSet<String> {
        let mut closed = BTreeSet::new();
        self.sockets().retain(|socket| {
            let is_kept = sources.clone().any(|source| socket.is_for(source));
            if !is_kept {
                closed.insert(socket.lane.source.clone());
            }
            is_kept
        });
        closed
    }

    pub(crate) fn is_wanted(&self) -> bool {
        self.0.wanted.load(Ordering::SeqCst) > 0
    }

    pub(crate) fn give_listener(&self, lane: &Lane, endpoint: &Endpoint, listener: TcpListener) {
        self.give(lane, endpoint, Role::Listener, listener.into());
    }

    pub(crate) fn give_connection(
        &self,
        lane: &Lane,
        endpoint: &Endpoint,
        peer: String,
        begun: Begun,
        stream: TcpStream,
    ) {
        self.give(lane, endpoint, Role::Connection { peer, begun }, stream.into());
    }

    fn give(&self, lane: &Lane, endpoint: &Endpoint, role: Role, socket: OwnedFd) {
        let (lane, endpoint) = (lane.clone(), endpoint.clone());
        self.sockets().push(HandedSocket { lane, endpoint, role, socket });
    }

    /// The socket that listens for the receiver.
    pub(crate) fn take_listener(&self, lane: &Lane, endpoint: &Endpoint) -> Option<TcpListener> {
        let taken = self.take(|socket| socket.is_of(lane, endpoint) && matches!(socket.role, Role::Listener));
        taken.map(|taken| TcpListener::from(taken.socket))
    }

    /// A connection of the receiver's, with who is at its other end.
    pub(crate) fn take_connection(
        &self,
        lane: &Lane,
        endpoint: &Endpoint,
    ) -> Option<(TcpStream, String, Begun)> {
        let is_wanted = |socket: &HandedSocket| {
            socket.is_of(lane, endpoint) && matches!(socket.role, Role::Connection { .. })
        };
        match self.take(is_wanted)? {
            HandedSocket { role: Role::Connection { peer, begun }, socket, .. } => {
                Some((TcpStream::from(socket), peer, begun))
            }
            HandedSocket { role: Role::Listener, .. } => None,
        }
    }

    fn take(&self, is_wanted: impl Fn(&HandedSocket) -> bool) -> Option<HandedSocket> {
        let mut sockets = self.sockets();
        let at = sockets.iter().position(is_wanted)?;
        Some(sockets.swap_remove(at))
    }

    fn sockets(&self) -> MutexGuard<'_, Vec<HandedSocket>> {
        self.0.sockets.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Wanted {
    fn drop(&mut self) {
        self.0.0.wanted.fetch_sub(1, Ordering::SeqCst);
    }
}

impl HandedSocket {
    fn is_of(&self, lane: &Lane, endpoint: &Endpoint) -> bool {
        self.lane == *lane && self.endpoint == *endpoint
    }

    /// Whether a receiver of `source` takes it.
    fn is_for(&self, source: &SourceSpec) -> bool {
        let is_known =
            self.lane.source == source.name.value && self.lane.receiver < source.parallelism.max(1);
        let endpoint = match &source.kind {
            SourceKind::SocketListen { address } => Endpoint::Listens(address.value.clone()),
            SourceKind::SocketConnect { address, resume: false } => Endpoint::Connects(address.value.clone()),
            _ => return false,
        };
        is_known && endpoint == self.endpoint
    }
}

#[cfg(test)]
mod tests;

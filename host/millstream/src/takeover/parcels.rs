//! How sockets go from one process to another: over the control socket, as a line of JSON with the socket as ancillary data
//! (`SCM_RIGHTS`) on its first byte, and behind the line the bytes that belong to it.
//!
//! ```text
//! {"socket": {"source": "lines", "receiver": 0, "endpoint": {"listens": "127.0.0.1:9999"}, "connection": null}}\n
//! {"socket": {..., "connection": {"peer": "...", "record": 17, "begun-bytes": 5, "oversized-bytes": null}}}\n
//! begin
//! "handed-over"\n
//! ```
//! The system delivers the sockets in the order in which they were sent, so that the first belongs to the first line.

use std::collections::VecDeque;
use std::io::{self, IoSlice, IoSliceMut, Write};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::net::UnixStream;

use millstream_connectors::{Begun, Endpoint, HandedSocket, Role};
use millstream_model::Lane;
use rustix::cmsg_space;
use rustix::net::{
    RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, SendAncillaryBuffer, SendAncillaryMessage,
    SendFlags, recvmsg, sendmsg,
};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use crate::control::Answer;

/// What is read at once.
const READ_BYTES: usize = 64 << 10;
/// Longer lines are not read.
const LINE_BYTES_MAX: usize = 64 << 10;
/// More than a record may have, whichever version says so.
const BEGUN_BYTES_MAX: usize = 64 << 20;

/// What is told of a socket.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) struct Described {
    source: String,
    receiver: u32,
    endpoint: Where,
    /// Nothing for a socket that listens.
    connection: Option<Connection>,
}

/// An [`Endpoint`], as it is written.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
enum Where {
    Listens(String),
    Connects(String),
}

#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
struct Connection {
    peer: String,
    record: u64,
    begun_bytes: usize,
    oversized_bytes: Option<usize>,
}

/// Sends a line, in JSON.
pub(super) fn send_line(mut stream: &UnixStream, line: &impl Serialize) -> io::Result<()> {
    stream.write_all(&as_line(line)?)
}

fn as_line(line: &impl Serialize) -> io::Result<Vec<u8>> {
    let mut line = serde_json::to_vec(line)?;
    line.push(b'\n');
    Ok(line)
}

/// Sends a socket with all that belongs to it. The sender keeps its own end of it.
pub(super) fn send_socket(mut stream: &UnixStream, handed: &HandedSocket) -> io::Result<()> {
    let (connection, begun) = match &handed.role {
        Role::Listener => (None, None),
        Role::Connection { peer, begun } => {
            let connection = Connection {
                peer: peer.clone(),
                record: begun.record,
                begun_bytes: begun.bytes.len(),
                oversized_bytes: begun.oversized.as_ref().map(|head| head.len()),
            };
            (Some(connection), Some(begun))
        }
    };
    let Lane { source, receiver } = handed.lane.clone();
    let endpoint = match handed.endpoint.clone() {
        Endpoint::Listens(address) => Where::Listens(address),
        Endpoint::Connects(address) => Where::Connects(address),
    };
    let described = Described { source, receiver, endpoint, connection };
    let line = as_line(&Answer::Socket(described))?;
    let sent = send_with(stream, &line, handed.socket.as_fd())?;
    stream.write_all(&line[sent..])?;
    for bytes in begun.into_iter().flat_map(|begun| [Some(&begun.bytes), begun.oversized.as_ref()]).flatten()
    {
        stream.write_all(bytes)?;
    }
    Ok(())
}

/// Sends `socket` with the beginning of `bytes`; says how many of them went.
fn send_with(stream: &UnixStream, bytes: &[u8], socket: BorrowedFd<'_>) -> io::Result<usize> {
    let (sockets, mut space) = ([socket], [MaybeUninit::uninit(); cmsg_space!(ScmRights(1))]);
    let mut control = SendAncillaryBuffer::new(&mut space);
    assert!(control.push(SendAncillaryMessage::ScmRights(&sockets)), "there is space for one socket");
    Ok(sendmsg(stream, &[IoSlice::new(bytes)], &mut control, SendFlags::NOSIGNAL)?)
}

/// The receiving end of a connection over which sockets come.
pub(super) struct Parcels {
    stream: UnixStream,
    /// Received and not read.
    bytes: Vec<u8>,
    sockets: VecDeque<OwnedFd>,
}

impl Parcels {
    pub(super) fn new(stream: UnixStream) -> Self {
        Self { stream, bytes: Vec::new(), sockets: VecDeque::new() }
    }

    pub(super) fn stream(&self) -> &UnixStream {
        &self.stream
    }

    /// The next line, as what it says; nothing at the end of the connection.
    pub(super) fn line<T: DeserializeOwned>(&mut self) -> io::Result<Option<T>> {
        let mut looked = 0;
        loop {
            if let Some(end) = self.bytes[looked..].iter().position(|byte| *byte == b'\n') {
                let line: Vec<u8> = self.bytes.drain(..=looked + end).collect();
                return Ok(Some(serde_json::from_slice(&line)?));
            }
            looked = self.bytes.len();
            if looked > LINE_BYTES_MAX {
                return Err(invalid("a line is too long"));
            }
            if !self.receive()? {
                return Ok(None);
            }
        }
    }

    /// The socket that was described, with all that belongs to it.
    pub(super) fn socket(&mut self, described: Described) -> io::Result<HandedSocket> {
        let Described { source, receiver, endpoint, connection } = described;
        let role = match connection {
            None => Role::Listener,
            Some(Connection { peer, record, begun_bytes, oversized_bytes }) => {
                let bytes = self.exactly(begun_bytes)?.into();
                let oversized = oversized_bytes.map(|length| self.exactly(length)).transpose()?;
                Role::Connection {
                    peer,
                    begun: Begun { record, bytes, oversized: oversized.map(Into::into) },
                }
            }
        };
        // It came with the first byte of the line, unless this process may open no more.
        let socket = self.sockets.pop_front();
        let socket =
            socket.ok_or_else(|| invalid("a socket did not arrive; may this process open as many?"))?;
        let endpoint = match endpoint {
            Where::Listens(address) => Endpoint::Listens(address),
            Where::Connects(address) => Endpoint::Connects(address),
        };
        Ok(HandedSocket { lane: Lane { source, receiver }, endpoint, role, socket })
    }

    fn exactly(&mut self, length: usize) -> io::Result<Vec<u8>> {
        if length > BEGUN_BYTES_MAX {
            return Err(invalid("the beginning of a record is too long"));
        }
        while self.bytes.len() < length {
            if !self.receive()? {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
        }
        Ok(self.bytes.drain(..length).collect())
    }

    /// Receives what is there next; says whether there was anything.
    fn receive(&mut self) -> io::Result<bool> {
        let held = self.bytes.len();
        self.bytes.resize(held + READ_BYTES, 0);
        let mut space = [MaybeUninit::uninit(); cmsg_space!(ScmRights(1))];
        let mut control = RecvAncillaryBuffer::new(&mut space);
        let room = &mut [IoSliceMut::new(&mut self.bytes[held..])];
        let received = loop {
            match recvmsg(&self.stream, room, &mut control, RecvFlags::CMSG_CLOEXEC) {
                Err(rustix::io::Errno::INTR) => {}
                received => break received,
            }
        };
        self.bytes.truncate(held + received.as_ref().map_or(0, |received| received.bytes));
        let received = received?;
        for message in control.drain() {
            if let RecvAncillaryMessage::ScmRights(sockets) = message {
                self.sockets.extend(sockets);
            }
        }
        Ok(received.bytes > 0)
    }
}

fn invalid(reason: &str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, reason)
}

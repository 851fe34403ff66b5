//! Receives the records of one connection.
//!
//! What was read is cut and sent on when it is a block's worth, when the block interval has passed since the first of
//! it came, or when no more comes: few small blocks, and no waiting beyond the interval.

use std::io;
use std::ops::ControlFlow::{self, Break, Continue};

use bytes::Bytes;
use millstream_engine::{Closed, Inlet};
use millstream_model::Block;
use tokio::net::TcpStream;
use tokio::time::{Instant, sleep_until};

use super::resume::Progress;
use crate::cut::Cutter;

/// What is asked of the system at once: at first, and at most.
const READ_BYTES_FIRST: usize = 16 << 10;
const READ_BYTES_MAX: usize = 512 << 10;
/// Bytes that are cut and sent without looking for more.
const GATHER_BYTES: usize = 512 << 10;

/// How a connection ended.
#[derive(Debug)]
pub(super) enum End {
    /// The peer closed it.
    Finished,
    /// It broke.
    Broken(io::Error),
    /// The pipeline is stopping.
    Stopping,
}

/// A connection and what was read from it.
struct Connection<'a> {
    stream: &'a TcpStream,
    cutter: &'a mut Cutter,
    inlet: &'a Inlet,
    read_bytes: usize,
    /// When what was read is sent on, at the latest.
    due: Option<Instant>,
    /// Told what was sent, if the peer can send records again.
    progress: Option<Progress>,
}

/// What a wait ended with.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Event {
    Readable,
    Due,
}

/// Receives from `stream` until it ends; says how. `cutter` is left with what is no whole record where the pipeline stops.
pub(super) async fn receive(stream: &TcpStream, cutter: &mut Cutter, inlet: &Inlet) -> End {
    Connection::new(stream, inlet, cutter, None).run().await
}

/// As [`receive`], from a peer whose first record is number `first`; says also how many records there were. A record
/// counts once its line feed has come; what follows the last of them is dropped, since the peer sends it again.
pub(super) async fn receive_from(
    first: u64,
    stream: &TcpStream,
    peer: &str,
    inlet: &Inlet,
    progress: Progress,
) -> (End, u64) {
    let mut cutter = Cutter::new(peer, inlet.block_rows_max()).starting_at(first);
    let end = Connection::new(stream, inlet, &mut cutter, Some(progress)).run().await;
    (end, cutter.records() - first)
}

impl<'a> Connection<'a> {
    fn new(
        stream: &'a TcpStream,
        inlet: &'a Inlet,
        cutter: &'a mut Cutter,
        progress: Option<Progress>,
    ) -> Self {
        Self { stream, cutter, inlet, read_bytes: READ_BYTES_FIRST, due: None, progress }
    }

    /// Receives to the end.
    async fn run(mut self) -> End {
        self.receive_all().await.unwrap_or(End::Stopping)
    }

    async fn receive_all(&mut self) -> Result<End, Closed> {
        loop {
            let event = match self.wait().await {
                Ok(event) => event,
                // Also what came before the stop is taken.
                Err(closed) => return self.take_whole().await.and(Err(closed)),
            };
            let read = if event == Event::Readable { self.gather() } else { Continue(()) };
            if let Break(end) = read {
                let taken = self.take_whole().await;
                let (end, last) = self.take_last(end).await;
                return taken.and(last).map(|()| end);
            }
            if event == Event::Due || self.is_full() {
                self.take_whole().await?;
                self.due = None;
            } else if self.due.is_none() {
                self.due = Some(Instant::now() + self.inlet.block_interval());
            }
        }
    }

    async fn wait(&self) -> Result<Event, Closed> {
        tokio::select! {
            () = self.inlet.closed() => Err(Closed),
            // A fault shows again at the read that follows.
            _ = self.stream.readable() => Ok(Event::Readable),
            () = sleep_until(self.due.unwrap_or_else(Instant::now)), if self.due.is_some() => Ok(Event::Due),
        }
    }

    /// Whether what was read does not wait for more.
    fn is_full(&self) -> bool {
        self.cutter.len() >= GATHER_BYTES || self.inlet.block_interval().is_zero()
    }

    /// Reads all that is there now, up to a block: few small blocks when much comes, no waiting when little does.
    fn gather(&mut self) -> ControlFlow<End> {
        loop {
            let buffer = self.cutter.room(self.read_bytes);
            let room = buffer.capacity() - buffer.len();
            match self.stream.try_read_buf(buffer) {
                Ok(0) => return Break(End::Finished),
                Ok(read) => self.adapt(read, room),
                Err(fault) if fault.kind() == io::ErrorKind::WouldBlock => return Continue(()),
                Err(fault) if fault.kind() == io::ErrorKind::Interrupted => {}
                Err(fault) => return Break(End::Broken(fault)),
            }
            if self.cutter.len() >= GATHER_BYTES {
                return Continue(());
            }
        }
    }

    /// Asks for more when a read filled its room and for less when it used little, so that a thousand quiet
    /// connections need little memory and a busy one few calls.
    fn adapt(&mut self, read: usize, room: usize) {
        if read == room {
            self.read_bytes = (self.read_bytes * 2).min(READ_BYTES_MAX);
        } else if read < self.read_bytes / 8 {
            self.read_bytes = (self.read_bytes / 2).max(READ_BYTES_FIRST);
        }
    }

    /// Takes the whole records of what was read; all of them, also while the pipeline is stopping.
    async fn take_whole(&mut self) -> Result<(), Closed> {
        let mut taken = Ok(());
        while let Some(block) = self.cutter.cut() {
            taken = taken.and(self.send(block).await);
        }
        taken
    }

    /// Takes what follows the last line feed, or leaves it to be sent again. A peer that sends again and has closed the
    /// connection within a record has not finished.
    async fn take_last(&mut self, end: End) -> (End, Result<(), Closed>) {
        let last = match &end {
            End::Finished if self.progress.is_some() && self.cutter.is_amid_record() => {
                let fault = io::Error::new(io::ErrorKind::UnexpectedEof, "it was closed within a record");
                return (End::Broken(fault), Ok(()));
            }
            End::Broken(_) if self.progress.is_some() => None,
            End::Broken(fault) => self.cutter.abandon(&format!("the connection broke: {fault}")),
            End::Finished | End::Stopping => self.cutter.finish(),
        };
        match last {
            Some(block) => (end, self.send(block).await),
            None => (end, Ok(())),
        }
    }

    async fn send(&mut self, mut block: Block) -> Result<(), Closed> {
        let Some(progress) = &self.progress else {
            return self.inlet.send(block).await.map(|_receipt| ());
        };
        let next = block.position.record + block.rows as u64;
        block.resume = Some(Bytes::from(next.to_string()));
        let receipt = self.inlet.send(block).await?;
        progress.sent(next, receipt);
        Ok(())
    }
}

//! Receives the records of one connection.

use std::io;
use std::ops::ControlFlow::{self, Break, Continue};

use millstream_engine::Closed;
use tokio::net::TcpStream;

use crate::cut::{Cut, Cutter};
use crate::intake::Intake;

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
    stream: TcpStream,
    cutter: Cutter,
    intake: &'a Intake,
    read_bytes: usize,
}

/// Receives from `stream` until it ends; says how, and how many records there were.
pub(super) async fn receive(stream: TcpStream, peer: &str, intake: &Intake) -> (End, u64) {
    let cutter = intake.cutter(peer);
    let mut connection = Connection { stream, cutter, intake, read_bytes: READ_BYTES_FIRST };
    let end = connection.run().await.unwrap_or(End::Stopping);
    (end, connection.cutter.records())
}

impl Connection<'_> {
    async fn run(&mut self) -> Result<End, Closed> {
        loop {
            self.readable().await?;
            let read = self.gather();
            let taken = self.take_whole().await;
            if let Break(end) = read {
                taken.and(self.take_last(&end).await)?;
                return Ok(end);
            }
            taken?;
        }
    }

    async fn readable(&self) -> Result<(), Closed> {
        tokio::select! {
            () = self.intake.inlet().closed() => Err(Closed),
            // A fault shows again at the read that follows.
            _ = self.stream.readable() => Ok(()),
        }
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
        while let Some(cut) = self.cutter.cut() {
            taken = taken.and(self.intake.take(cut).await);
        }
        taken
    }

    async fn take_last(&mut self, end: &End) -> Result<(), Closed> {
        let last: Option<Cut> = match end {
            End::Broken(fault) => self.cutter.abandon(&format!("the connection broke: {fault}")),
            End::Finished | End::Stopping => self.cutter.finish(),
        };
        match last {
            Some(cut) => self.intake.take(cut).await,
            None => Ok(()),
        }
    }
}

//! Records that are neither lost nor taken twice, from a server that can send them again.
//!
//! ```text
//! we:     resume 1200\n          after connecting: the number of the first record that we do not have
//! server: RECORD 1200\n          its records from there on, counted from 0
//! server: RECORD 1201\n
//! we:     acknowledged 1202\n    whenever more are on disk: those before this number are never asked for again
//! ```
//! Records that are sent and not yet on disk are not asked for again while the process lives: they are in its memory, in
//! order. After a crash they are gone, and asked for. Acknowledgements only tell the server what it may drop, so the
//! latest says all, and one that is lost with its connection costs nothing.
//!
//! A record counts once its line feed has come. One that is too long counts as well: it is a dead letter.
//!
//! The lines for the server are written beside the reading, which goes on when the server does not read them: then one
//! line waits, whatever happens.

use std::future::Future;
use std::io;
use std::time::Duration;

use millstream_engine::{Closed, Inlet, Receipt};
use tokio::net::TcpStream;
use tokio::sync::watch;
use tokio::time::timeout;

use super::receive::{End, receive_from};

/// How long the last acknowledgement may take when the server has closed its side.
const LAST_TIME_MAX: Duration = Duration::from_secs(10);

/// The last block that was sent on: the number of the record behind it, and what tells when it is on disk.
type Sent<D> = Option<(u64, D)>;

/// Where the receiving end says what it has sent on; dropped when there is no more.
pub(super) struct Progress(watch::Sender<Sent<Receipt>>);

/// Tells when a block and all before it are on disk.
trait Durable: Clone + Send + Sync {
    fn durable(&self) -> impl Future<Output = Result<(), Closed>> + Send;
}

impl Durable for Receipt {
    fn durable(&self) -> impl Future<Output = Result<(), Closed>> + Send {
        Self::durable(self)
    }
}

impl Progress {
    pub(super) fn sent(&self, next: u64, receipt: Receipt) {
        self.0.send_replace(Some((next, receipt)));
    }
}

/// Receives from `stream` what is behind the records that `inlet` was given before, and acknowledges it; says how it
/// ended, and how many records there were.
pub(super) async fn receive(stream: &TcpStream, peer: &str, inlet: &Inlet) -> (End, u64) {
    let first = next_record(inlet);
    // What an earlier connection brought is acknowledged on this one.
    let (sender, sent) = watch::channel((first > 0).then(|| (first, inlet.receipt())));
    let mut telling = Box::pin(tell(stream, first, sent));
    let mut receiving = Box::pin(receive_from(first, stream, peer, inlet, Progress(sender)));
    let ended = tokio::select! {
        ended = &mut receiving => ended,
        told = &mut telling => {
            // A server that reads no more may still send.
            tracing::debug!(peer, ?told, "no more is acknowledged on this connection");
            return receiving.await;
        }
    };
    // The sender is gone with this, so that `telling` ends with the last acknowledgement.
    drop(receiving);
    if matches!(ended.0, End::Finished) {
        tokio::select! {
            () = inlet.closed() => {}
            told = timeout(LAST_TIME_MAX, telling) => tracing::debug!(peer, ?told, "the server has finished"),
        }
    }
    ended
}

/// The number of the first record that was not taken. The lane's own count is another where it began without resuming.
fn next_record(inlet: &Inlet) -> u64 {
    let resume = inlet.resume().and_then(|resume| std::str::from_utf8(&resume).ok()?.parse().ok());
    resume.unwrap_or(0)
}

/// Asks for the records from `first` on, and acknowledges what is on disk until `sent` has ended and all of it is.
async fn tell<D: Durable>(
    stream: &TcpStream,
    first: u64,
    mut sent: watch::Receiver<Sent<D>>,
) -> io::Result<()> {
    write(stream, &format!("resume {first}\n")).await?;
    loop {
        let latest = sent.borrow_and_update().clone();
        if let Some((next, receipt)) = latest {
            // Where the log has failed it is not known what is on disk, and nobody may drop it.
            receipt.durable().await.map_err(|_| io::Error::other("the write-ahead log has failed"))?;
            write(stream, &format!("acknowledged {next}\n")).await?;
        }
        if sent.changed().await.is_err() {
            return Ok(());
        }
    }
}

/// Writes a whole line, waiting as long as the server leaves no room for it.
async fn write(stream: &TcpStream, line: &str) -> io::Result<()> {
    let mut rest = line.as_bytes();
    while !rest.is_empty() {
        stream.writable().await?;
        match stream.try_write(rest) {
            Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
            Ok(written) => rest = &rest[written..],
            Err(fault) if fault.kind() == io::ErrorKind::WouldBlock => {}
            Err(fault) if fault.kind() == io::ErrorKind::Interrupted => {}
            Err(fault) => return Err(fault),
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests;

//! The process that is taken over: it stops receiving, hands its sockets over, and ends when the other one has them.
//!
//! Until the other one says that it has them, this one can go on as if it had not been asked: its own ends of the
//! sockets are open, and what was read from them is in its log or beside them.

use std::os::unix::net::UnixStream;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use millstream_connectors::{HandedSocket, Handover, Wanted};
use millstream_engine::StopHandle;
use millstream_platform::crash_point;
use tokio::sync::Mutex;
use tokio::task::spawn_blocking;

use super::FORMAT;
use super::parcels::{Parcels, send_line, send_socket};
use crate::control::{Answer, Taken};

/// How long the other process may take to read, or to answer, while nothing is received.
const PATIENCE: Duration = Duration::from_secs(5);

/// What a process hands over.
pub(crate) struct Giving {
    stop: StopHandle,
    handover: Handover,
    /// Locked by the one that is handed over to.
    taker: Mutex<()>,
}

impl Giving {
    pub(crate) fn new(stop: StopHandle, handover: Handover) -> Self {
        Self { stop, handover, taker: Mutex::new(()) }
    }

    /// Hands over to the process that asked on `stream`, and stops the pipeline; if that process does not take it, the
    /// pipeline goes on.
    pub(crate) async fn hand_over(&self, stream: UnixStream, format: u32) -> Result<()> {
        stream.set_nonblocking(false)?;
        stream.set_read_timeout(Some(PATIENCE))?;
        stream.set_write_timeout(Some(PATIENCE))?;
        if format != FORMAT {
            return Ok(send_line(&stream, &Answer::Refused(format!("it hands over in format {FORMAT}")))?);
        }
        let Ok(_alone) = self.taker.try_lock() else {
            return Ok(send_line(&stream, &Answer::Busy)?);
        };
        tracing::info!("another process takes the pipeline over: receiving stops here");
        let given = self.give(stream, self.handover.want()).await;
        if let Err(error) = given {
            // What was not taken goes to the sources that start again, when `give` has let go of the pause.
            tracing::warn!("the other process did not take the pipeline over ({error:#}); it goes on here");
        }
        Ok(())
    }

    async fn give(&self, stream: UnixStream, wanted: Wanted) -> Result<()> {
        let Some(pause) = self.stop.pause().await else {
            return Ok(send_line(&stream, &Answer::Ending)?);
        };
        crash_point("receiving-paused");
        let sockets = self.handover.take_all();
        let sending = spawn_blocking(move || {
            let sent = send(&stream, &sockets);
            (stream, sockets, sent)
        });
        let (stream, sockets, sent) = sending.await.context("handing over")?;
        match sent {
            Ok(()) => {
                crash_point("takeover-agreed");
                self.stop.gracefully();
            }
            Err(_) => {
                // Before anything is read again, so that the other one never goes on with what is old by then.
                let told = send_line(&stream, &Answer::GoesOn);
                tracing::debug!(?told, "the other process is told that the pipeline goes on here");
                drop(wanted);
                self.handover.put(sockets);
            }
        }
        drop(pause);
        sent
    }
}

/// Sends everything, and waits until the other process has it.
fn send(stream: &UnixStream, sockets: &[HandedSocket]) -> Result<()> {
    for socket in sockets {
        send_socket(stream, socket).context("handing over a socket")?;
    }
    send_line(stream, &Answer::HandedOver).context("handing over")?;
    crash_point("sockets-handed-over");
    let taken: Option<Taken> = Parcels::new(stream.try_clone()?).line().context("waiting for an answer")?;
    ensure!(taken.is_some(), "it has ended");
    Ok(())
}

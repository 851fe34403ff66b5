//! `millstream run --takeover`: a process takes a running pipeline over from another one.
//!
//! ```text
//! new process                          running process
//! check, compile, wire                 goes on
//! "take-over"                  ─────▶  stops receiving; what was received is synced
//!                              ◀─────  its sockets, each with the record that it was amid; "handed-over"
//! "taken"                      ─────▶  processes what was received, commits, ends
//! waits for the checkpoint's lock      lets go of the lock
//! recovers, goes on with the sockets
//! ```
//! Who holds the lock reads: no byte of a socket is read by both. Whoever dies on the way leaves the pipeline to the
//! other one. If the new process is gone before `taken`, the running one says `goes-on` and receives again. If the
//! running one is gone, the lock is free: the new one goes on with the sockets if all of them were handed over, since
//! everything that was read from them is in the log then, and else as after any crash.

mod giving;
mod parcels;
#[cfg(test)]
mod tests;

use std::io;
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use millstream_connectors::{HandedSocket, Handover};
use millstream_engine::Stop;
use millstream_platform::{Clock, SystemClock, crash_point};
use tokio::sync::oneshot;

pub(crate) use giving::Giving;
pub(crate) use parcels::Described;
use parcels::{Parcels, send_line};

use crate::control::{self, Answer, Question, Taken};
use crate::host_file::{self, Lock};
use crate::load::Refused;
use crate::stop::terminate;

/// How processes talk about it. Those that speak differently do not hand over: the running one is stopped instead.
pub(crate) const FORMAT: u32 = 1;
/// How long a process that has the lock may take until it can be asked.
const START_TIME_MAX: Duration = Duration::from_secs(60);
/// How long a process that answers no more may take to let go of the lock.
const END_TIME_MAX: Duration = Duration::from_secs(5);
const LOOK_EVERY: Duration = Duration::from_millis(5);

/// What the running process came to.
enum Handed {
    /// It has handed these over, and waits to hear that they are here.
    Over(Parcels, Vec<HandedSocket>),
    /// It does not know how.
    Unknown(String),
    /// It ends already.
    Ending,
    /// Another process takes over.
    Busy,
    /// It was gone before it had handed over everything.
    Gone(io::Error),
}

/// Takes the pipeline on `checkpoint` over: its sockets come into `handover`. Where no process runs it, only the lock is
/// taken.
pub(crate) async fn take_over(checkpoint: &Path, handover: &Handover, stop: &Stop) -> Result<Lock> {
    let folder = checkpoint.to_owned();
    tokio::select! {
        biased;
        () = stop.told() => bail!("told to stop while it was taking the pipeline over"),
        lock = take(&folder, handover) => lock,
    }
}

async fn take(checkpoint: &Path, handover: &Handover) -> Result<Lock> {
    let stream = match reach(checkpoint, START_TIME_MAX).await? {
        Reached::Nobody(lock) => {
            tracing::info!("no process runs the pipeline: this is an ordinary start");
            return Ok(lock);
        }
        Reached::Somebody(stream) => stream,
    };
    let host = host_file::running(checkpoint)?;
    let host = host.map_or_else(|| "the running process".to_owned(), |host| format!("process {}", host.pid));
    tracing::info!("{host} is asked to hand the pipeline over");
    let lock = match in_a_thread(move || ask(stream)).await? {
        Handed::Over(parcels, sockets) => agree(checkpoint, parcels, sockets, handover).await?,
        Handed::Unknown(reason) => {
            tracing::warn!(
                "{host} cannot hand over ({reason}); it is stopped gracefully, and its connections end"
            );
            terminate(checkpoint)?;
            lock_when_free(checkpoint).await?
        }
        Handed::Ending => {
            tracing::info!("{host} ends already: it is waited for");
            lock_when_free(checkpoint).await?
        }
        Handed::Busy => {
            return Err(Refused(format!("another process takes the pipeline over from {host}")).into());
        }
        Handed::Gone(error) => {
            tracing::warn!("{host} did not hand over: {error}");
            match reach_lock(checkpoint, END_TIME_MAX).await? {
                Some(lock) => lock,
                None => bail!("{host} did not hand the pipeline over, and goes on with it: {error}"),
            }
        }
    };
    crash_point("takeover-locked");
    Ok(lock)
}

/// Tells the running process that the sockets are here, and waits until it has ended.
async fn agree(
    checkpoint: &Path,
    parcels: Parcels,
    sockets: Vec<HandedSocket>,
    handover: &Handover,
) -> Result<Lock> {
    crash_point("takeover-received");
    let count = sockets.len();
    if in_a_thread(move || goes_on(parcels)).await? {
        bail!("the running process had waited too long for an answer, and goes on with the pipeline");
    }
    crash_point("takeover-taken");
    tracing::info!("{count} sockets are handed over; what was received is processed there first");
    handover.put(sockets);
    lock_when_free(checkpoint).await
}

/// Whether the running process goes on although it hears that its sockets are here. It has ended or is about to, if
/// it does not say so before it hangs up.
fn goes_on(mut parcels: Parcels) -> bool {
    let told = send_line(parcels.stream(), &Taken::Taken);
    tracing::debug!(?told, "the running process is told that its sockets are here");
    matches!(parcels.line::<Answer>(), Ok(Some(_)))
}

/// Asks for everything, and receives it.
fn ask(stream: UnixStream) -> Handed {
    let mut parcels = Parcels::new(stream);
    let mut sockets = Vec::new();
    let received = send_line(parcels.stream(), &Question::TakeOver { format: FORMAT });
    let received = received.and_then(|()| {
        crash_point("takeover-asked");
        receive(&mut parcels, &mut sockets)
    });
    match received {
        Ok(Answer::HandedOver) => Handed::Over(parcels, sockets),
        Ok(Answer::Ending) => Handed::Ending,
        Ok(Answer::Busy) => Handed::Busy,
        Ok(Answer::Refused(reason)) => Handed::Unknown(reason),
        Ok(other) => Handed::Gone(io::Error::other(format!("it answers {other:?}"))),
        Err(error) => Handed::Gone(error),
    }
}

/// Receives sockets; gives the answer behind them.
fn receive(parcels: &mut Parcels, sockets: &mut Vec<HandedSocket>) -> io::Result<Answer> {
    loop {
        match parcels.line()? {
            Some(Answer::Socket(described)) => sockets.push(parcels.socket(described)?),
            Some(answer) => return Ok(answer),
            None => return Err(io::ErrorKind::UnexpectedEof.into()),
        }
    }
}

/// Who runs the pipeline.
enum Reached {
    Nobody(Lock),
    Somebody(UnixStream),
}

/// Finds the process that runs on `checkpoint`, which may have begun only now.
async fn reach(checkpoint: &Path, patience: Duration) -> Result<Reached> {
    let deadline = SystemClock.elapsed() + patience;
    loop {
        if let Some(lock) = Lock::take_if_free(checkpoint)? {
            return Ok(Reached::Nobody(lock));
        }
        match control::connect(checkpoint).await {
            Ok(stream) => return Ok(Reached::Somebody(stream)),
            Err(error) if SystemClock.elapsed() >= deadline => {
                return Err(error).context("the running process cannot be asked to hand over");
            }
            Err(_) => SystemClock.sleep_until(SystemClock.elapsed() + LOOK_EVERY).await,
        }
    }
}

/// The lock, if it becomes free in time.
async fn reach_lock(checkpoint: &Path, patience: Duration) -> Result<Option<Lock>> {
    let deadline = SystemClock.elapsed() + patience;
    loop {
        let lock = Lock::take_if_free(checkpoint)?;
        if lock.is_some() || SystemClock.elapsed() >= deadline {
            return Ok(lock);
        }
        SystemClock.sleep_until(SystemClock.elapsed() + LOOK_EVERY).await;
    }
}

async fn lock_when_free(checkpoint: &Path) -> Result<Lock> {
    let checkpoint = checkpoint.to_owned();
    in_a_thread(move || Lock::take_when_free(&checkpoint)).await?
}

/// Does what waits for another process, in a thread that this process does not wait for when it ends.
async fn in_a_thread<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> Result<T> {
    let (sender, done) = oneshot::channel();
    let work = move || drop(sender.send(work()));
    std::thread::Builder::new().name("taking over".to_owned()).spawn(work).context("starting a thread")?;
    done.await.context("taking over")
}

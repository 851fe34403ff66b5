//! What sends to a pipeline beside the bench, at an even rate, until it is told to end.

use std::net::{TcpListener, TcpStream};
use std::ops::Range;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use anyhow::{Context, Result};

/// A thread that sends, until it is told to end or this is dropped.
pub(crate) struct Sending<T> {
    ended: Arc<AtomicBool>,
    thread: Option<JoinHandle<T>>,
}

impl<T: Send + 'static> Sending<T> {
    /// Lets `send` run, which is to return soon after what it is given has become true.
    pub(crate) fn start(send: impl FnOnce(&AtomicBool) -> T + Send + 'static) -> Self {
        let ended = Arc::new(AtomicBool::new(false));
        let told = Arc::clone(&ended);
        let thread = thread::spawn(move || send(&told));
        Self { ended, thread: Some(thread) }
    }

    /// Tells it to end, and gives what it came to.
    pub(crate) fn end(mut self) -> Result<T> {
        self.ended.store(true, Ordering::Relaxed);
        let thread = self.thread.take().expect("only the end takes it");
        thread.join().ok().context("what sends has panicked")
    }
}

impl<T> Drop for Sending<T> {
    fn drop(&mut self) {
        self.ended.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            drop(thread.join());
        }
    }
}

/// An address at which a pipeline may listen.
pub(crate) fn free_address() -> Result<String> {
    Ok(TcpListener::bind("127.0.0.1:0")?.local_addr()?.to_string())
}

/// Connects as soon as somebody listens; none, where it is told to end before.
#[allow(clippy::disallowed_methods, reason = "a bench runs in real time")]
pub(crate) fn connect(address: &str, ended: &AtomicBool) -> Option<TcpStream> {
    loop {
        match TcpStream::connect(address) {
            Ok(stream) => return Some(stream),
            Err(_) if ended.load(Ordering::Relaxed) => return None,
            Err(_) => thread::sleep(Duration::from_millis(5)),
        }
    }
}

/// Gives `send` so many numbers a second, one after the other from 0 on, as they are due, until it is told to end; gives how many
/// there were.
#[allow(clippy::disallowed_methods, reason = "a bench runs in real time")]
pub(crate) fn send_evenly(
    per_second: u64,
    ended: &AtomicBool,
    mut send: impl FnMut(Range<u64>) -> Result<()>,
) -> Result<u64> {
    let (begun, mut next) = (Instant::now(), 0);
    while !ended.load(Ordering::Relaxed) {
        thread::sleep(Duration::from_millis(1));
        let due = begun.elapsed().as_micros() as u64 * per_second / 1_000_000;
        send(next..due)?;
        next = due;
    }
    Ok(next)
}

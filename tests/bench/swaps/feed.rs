//! Numbered lines at an even rate.

use std::io::Write;
use std::net::TcpStream;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use super::{KEYS, RATE};
use crate::corpus::Random;
use crate::numbered::push_number;

/// The key and the amount of a line.
pub(super) fn row(number: u64) -> (u64, u64) {
    let random = Random(number).next();
    (random % KEYS, 1 + random / KEYS % 7)
}

/// Sends numbered lines at an even rate until it is dropped.
pub(super) struct Feed {
    ended: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Feed {
    pub(super) fn start(address: String) -> Self {
        let ended = Arc::new(AtomicBool::new(false));
        let told = Arc::clone(&ended);
        let thread = thread::spawn(move || send(&address, &told));
        Self { ended, thread: Some(thread) }
    }
}

impl Drop for Feed {
    fn drop(&mut self) {
        self.ended.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            drop(thread.join());
        }
    }
}

/// Sends the lines that are due, over one connection: a batch has the lines behind those of the one before.
#[allow(clippy::disallowed_methods, reason = "a bench runs in real time")]
fn send(address: &str, ended: &AtomicBool) {
    let mut stream = loop {
        thread::sleep(Duration::from_millis(5));
        match TcpStream::connect(address) {
            Ok(stream) => break stream,
            Err(_) if ended.load(Ordering::Relaxed) => return,
            Err(_) => {}
        }
    };
    let (begun, mut next) = (Instant::now(), 0);
    while !ended.load(Ordering::Relaxed) {
        thread::sleep(Duration::from_millis(1));
        let due = begun.elapsed().as_micros() as u64 * RATE / 1_000_000;
        let mut lines = Vec::new();
        for number in next..due {
            let (key, amount) = row(number);
            for (value, end) in [(number, b','), (key, b','), (amount, b'\n')] {
                push_number(&mut lines, value);
                lines.push(end);
            }
        }
        next = due;
        if stream.write_all(&lines).is_err() {
            return;
        }
    }
}

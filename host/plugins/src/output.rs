//! What a guest prints and logs: kept up to a limit for each call, and handed to the host's log line by line, up to a
//! limit for all calls of a plugin in a second.

use std::io;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll};
use std::time::Duration;

use millstream_model::format_size;
use tokio::io::AsyncWrite;
use tokio::time::Instant;
use wasmtime_wasi::cli::{IsTerminal, StdoutStream};

/// What a guest printed since it was last taken. Clones share it.
#[derive(Clone, Debug)]
pub(crate) struct Printed {
    kept: Arc<Mutex<Kept>>,
    bytes_max: usize,
    rate: Arc<LogRate>,
}

#[derive(Debug, Default)]
struct Kept {
    bytes: Vec<u8>,
    dropped: u64,
}

impl Printed {
    /// Keeps `bytes_max` of what is printed.
    pub(crate) fn new(bytes_max: u64, rate: &Arc<LogRate>) -> Self {
        let bytes_max = usize::try_from(bytes_max).unwrap_or(usize::MAX);
        Self { kept: Arc::default(), bytes_max, rate: Arc::clone(rate) }
    }

    /// Keeps as much as there is room for.
    pub(crate) fn push(&self, bytes: &[u8]) {
        let mut kept = locked(&self.kept);
        let room = self.bytes_max - kept.bytes.len();
        let taken = bytes.len().min(room);
        kept.bytes.extend_from_slice(&bytes[..taken]);
        kept.dropped += (bytes.len() - taken) as u64;
    }

    /// The lines that were kept, and a last one about what was not.
    pub(crate) fn take_lines(&self) -> Vec<String> {
        let kept = std::mem::take(&mut *locked(&self.kept));
        let text = String::from_utf8_lossy(&kept.bytes);
        let mut lines: Vec<String> = text.lines().map(printable).collect();
        if kept.dropped > 0 {
            let (dropped, limit) = (kept.dropped, format_size(self.bytes_max as u64));
            lines.push(format!("({dropped} bytes more than limit.log = {limit} for a call, dropped)"));
        }
        lines
    }

    /// Hands what was kept to the host's log, as far as the plugin's rate allows.
    pub(crate) fn write_to_log(&self, plugin: &str) {
        let lines = self.take_lines();
        if lines.is_empty() {
            return;
        }
        for line in self.rate.admit(lines, Instant::now()) {
            tracing::info!(plugin, "{line}");
        }
    }
}

/// A line that does to a terminal what text does, and no more.
fn printable(line: &str) -> String {
    let mut text = String::with_capacity(line.len());
    for character in line.chars() {
        match character {
            '"' | '\'' => text.push(character),
            other => text.extend(other.escape_debug()),
        }
    }
    text
}

fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// From one report of dropped lines to the next.
const REPORT_INTERVAL: Duration = Duration::from_secs(1);

/// What all instances of a plugin may write to the host's log: so much a second, and what a second allows at once.
#[derive(Debug)]
pub(crate) struct LogRate {
    bytes_per_second: u64,
    /// What may be written at once after silence: a second's share, and the whole of a call.
    bytes_max: u64,
    bucket: Mutex<Bucket>,
}

#[derive(Debug)]
struct Bucket {
    bytes: u64,
    filled: Option<Instant>,
    dropped: u64,
    reported: Option<Instant>,
}

impl LogRate {
    /// `call_bytes` is what one call may write.
    pub(crate) fn new(bytes_per_second: u64, call_bytes: u64) -> Self {
        let bytes_max = bytes_per_second.max(call_bytes);
        let bucket = Bucket { bytes: bytes_max, filled: None, dropped: 0, reported: None };
        Self { bytes_per_second, bytes_max, bucket: Mutex::new(bucket) }
    }

    /// The lines that may be written now, and, once a second at most, one about those that may not.
    pub(crate) fn admit(&self, lines: Vec<String>, now: Instant) -> Vec<String> {
        let mut bucket = locked(&self.bucket);
        self.fill(&mut bucket, now);
        let mut admitted = Vec::new();
        for line in lines {
            let bytes = line.len() as u64 + 1;
            match bucket.bytes.checked_sub(bytes) {
                Some(left) => {
                    bucket.bytes = left;
                    admitted.push(line);
                }
                None => bucket.dropped += bytes,
            }
        }
        let may_report = bucket.reported.is_none_or(|at| now - at >= REPORT_INTERVAL);
        if bucket.dropped > 0 && may_report {
            let (dropped, rate) = (bucket.dropped, format_size(self.bytes_per_second));
            admitted.push(format!("({dropped} bytes more than limit.log-rate = {rate} a second, dropped)"));
            (bucket.dropped, bucket.reported) = (0, Some(now));
        }
        admitted
    }

    fn fill(&self, bucket: &mut Bucket, now: Instant) {
        let since = now - *bucket.filled.get_or_insert(now);
        let share = (since.as_secs_f64() * self.bytes_per_second as f64) as u64;
        if share > 0 {
            bucket.bytes = bucket.bytes.saturating_add(share).min(self.bytes_max);
            bucket.filled = Some(now);
        }
    }
}

impl IsTerminal for Printed {
    fn is_terminal(&self) -> bool {
        false
    }
}

impl StdoutStream for Printed {
    fn async_stream(&self) -> Box<dyn AsyncWrite + Send + Sync> {
        Box::new(self.clone())
    }
}

impl AsyncWrite for Printed {
    fn poll_write(self: Pin<&mut Self>, _context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        self.push(bytes);
        Poll::Ready(Ok(bytes.len()))
    }

    fn poll_flush(self: Pin<&mut Self>, _context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}

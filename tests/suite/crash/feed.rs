//! A server of endless numbered records that sends again what it is asked for, and the ledger of what it was told is safe.
//!
//! It never sends more than a window of records beyond the last that was acknowledged, so that a fast host is not
//! swamped and a slow one not waited for. Whatever breaks the protocol is noted and fails the test at its end.

use std::io::{BufRead, BufReader, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Condvar, Mutex, MutexGuard};

use crate::process::{PATIENCE, Process};

/// Records of as many keys follow each other.
pub(crate) const KEYS: u64 = 7;
/// Records that are written at once.
const CHUNK: u64 = 50;

/// The server. Its threads end with the process.
pub(crate) struct Feed {
    address: SocketAddr,
    shared: Arc<Shared>,
}

struct Shared {
    /// Records that may be sent and not acknowledged.
    window: u64,
    /// What is behind the number in every record.
    padding: String,
    ledger: Mutex<Ledger>,
    changed: Condvar,
}

/// What happened so far.
#[derive(Clone, Debug, Default)]
pub(crate) struct Ledger {
    /// Records below this number are safe, the host says.
    pub(crate) acknowledged: u64,
    /// Records below this number were sent.
    pub(crate) sent: u64,
    /// With which number each connection asked to go on.
    pub(crate) resumed: Vec<u64>,
    /// What broke the protocol.
    pub(crate) faults: Vec<String>,
    /// Records from this number on are not sent.
    held: Option<u64>,
    /// Whether no more records are sent, and connections are closed instead.
    finishing: bool,
}

impl Feed {
    pub(crate) fn start(window: u64, padding_bytes: usize) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let shared = Arc::new(Shared {
            window,
            padding: "x".repeat(padding_bytes),
            ledger: Mutex::default(),
            changed: Condvar::new(),
        });
        let serving = Arc::clone(&shared);
        std::thread::spawn(move || {
            for stream in listener.incoming().map_while(Result::ok) {
                let shared = Arc::clone(&serving);
                std::thread::spawn(move || shared.serve(&stream));
            }
        });
        Self { address, shared }
    }

    pub(crate) fn address(&self) -> SocketAddr {
        self.address
    }

    pub(crate) fn ledger(&self) -> Ledger {
        self.shared.ledger().clone()
    }

    /// Sends no record more until it is released; gives the number of the next.
    pub(crate) fn hold(&self) -> u64 {
        let mut ledger = self.shared.ledger();
        let next = ledger.sent;
        ledger.held = Some(next);
        next
    }

    /// Goes on with what was held.
    pub(crate) fn release(&self) {
        self.shared.ledger().held = None;
        self.shared.changed.notify_all();
    }

    /// Sends nothing more: whoever connects from now on sees the end.
    pub(crate) fn finish(&self) {
        self.shared.ledger().finishing = true;
        self.shared.changed.notify_all();
    }

    /// Waits until so many records more are acknowledged.
    pub(crate) fn wait_acknowledged(&self, host: &Process, more: u64) {
        let wanted = self.ledger().acknowledged + more;
        self.wait("more acknowledged records", || host.log(), |ledger| ledger.acknowledged >= wanted);
    }

    /// Waits until there were more connections than so many, which is how many there were before the host started.
    pub(crate) fn wait_connected(&self, host: &Process, before: usize) {
        self.wait("a connection", || host.log(), |ledger| ledger.resumed.len() > before);
    }

    /// Waits until the ledger is as wanted; `what` is told if it never is, with what the host said.
    fn wait(&self, what: &str, host: impl Fn() -> String, wanted: impl Fn(&Ledger) -> bool) {
        let ledger = self.shared.ledger();
        let waited = self.shared.changed.wait_timeout_while(ledger, PATIENCE, |ledger| !wanted(ledger));
        let (ledger, timeout) = waited.unwrap();
        assert!(!timeout.timed_out(), "{what}: that never came; {ledger:?}; the host's log:\n{}", host());
    }
}

/// The key of a record.
pub(crate) fn key(number: u64) -> String {
    format!("k{}", number % KEYS)
}

impl Shared {
    fn ledger(&self) -> MutexGuard<'_, Ledger> {
        self.ledger.lock().unwrap()
    }

    /// One connection, until its end.
    fn serve(self: Arc<Self>, stream: &TcpStream) {
        let mut lines = BufReader::new(stream.try_clone().unwrap()).lines();
        let Some(asked) = lines.next().and_then(Result::ok) else { return };
        let Some((connection, first)) = self.resume(&asked) else { return };
        let sending = stream.try_clone().unwrap();
        let shared = Arc::clone(&self);
        let sender = std::thread::spawn(move || shared.send(connection, first, sending));
        for line in lines.map_while(Result::ok) {
            self.acknowledge(connection, &line);
        }
        // Ends the sender, which may be waiting for the host to read.
        drop(stream.shutdown(Shutdown::Both));
        self.changed.notify_all();
        drop(sender.join());
    }

    /// The connection's number and that of its first record.
    fn resume(&self, line: &str) -> Option<(usize, u64)> {
        let mut ledger = self.ledger();
        let first = line.strip_prefix("resume ").and_then(|number| number.parse().ok());
        match first {
            Some(first) if ledger.acknowledged <= first && first <= ledger.sent => {}
            _ => {
                let fault =
                    format!("{line:?} with {} acknowledged and {} sent", ledger.acknowledged, ledger.sent);
                ledger.faults.push(fault);
            }
        }
        ledger.resumed.push(first?);
        self.changed.notify_all();
        Some((ledger.resumed.len() - 1, first?))
    }

    fn acknowledge(&self, connection: usize, line: &str) {
        let mut ledger = self.ledger();
        let number: Option<u64> = line.strip_prefix("acknowledged ").and_then(|number| number.parse().ok());
        // What a dead process said may be read only now: whoever came after it has to know of it as well.
        let later = ledger.resumed[connection + 1..].iter().copied().min().unwrap_or(u64::MAX);
        match number {
            Some(number) if number <= ledger.sent.min(later) => {
                ledger.acknowledged = ledger.acknowledged.max(number);
            }
            _ => {
                let fault = format!("{line:?} with {} sent, and later resumed from {later}", ledger.sent);
                ledger.faults.push(fault);
            }
        }
        self.changed.notify_all();
    }

    fn send(&self, connection: usize, first: u64, mut stream: TcpStream) {
        let mut next = first;
        while let Some(end) = self.next_chunk(connection, next) {
            let record = |number: u64| format!("{} {number} {}\n", key(number), self.padding);
            let chunk: String = (next..end).map(record).collect();
            if stream.write_all(chunk.as_bytes()).is_err() {
                return;
            }
            next = end;
        }
        drop(stream.shutdown(Shutdown::Write));
    }

    /// Waits until there is something to send from `next` on: up to where. Nothing, when the end has come.
    fn next_chunk(&self, connection: usize, next: u64) -> Option<u64> {
        let ends = |ledger: &Ledger| ledger.finishing || ledger.resumed.len() > connection + 1;
        let most = |ledger: &Ledger| ledger.held.unwrap_or(u64::MAX).min(ledger.acknowledged + self.window);
        let end = |ledger: &Ledger| (next + CHUNK).min(most(ledger));
        let ledger = self.ledger();
        let waits = |ledger: &mut Ledger| !ends(ledger) && end(ledger) <= next;
        let mut ledger = self.changed.wait_while(ledger, waits).unwrap();
        let end = (!ends(&ledger)).then(|| end(&ledger))?;
        ledger.sent = ledger.sent.max(end);
        Some(end)
    }
}

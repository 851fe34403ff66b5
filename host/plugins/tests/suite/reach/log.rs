use std::io::{self, Write};
use std::sync::{Arc, Mutex};

use millstream_model::pipeline::{Grant, Limit};
use tracing_subscriber::fmt::MakeWriter;

use super::Reach;
use super::server::Server;

/// Takes what is logged.
#[derive(Clone, Default)]
struct Log(Arc<Mutex<Vec<u8>>>);

impl Write for Log {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap().write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl MakeWriter<'_> for Log {
    type Writer = Self;

    fn make_writer(&self) -> Self {
        self.clone()
    }
}

impl Log {
    fn take(&self) -> String {
        String::from_utf8(std::mem::take(&mut self.0.lock().unwrap())).unwrap()
    }
}

/// What is logged on this thread, on which a test runs its calls, for as long as the guard lives.
fn listen() -> (Log, tracing::subscriber::DefaultGuard) {
    let log = Log::default();
    let subscriber = tracing_subscriber::fmt().with_writer(log.clone()).with_ansi(false).finish();
    (log, tracing::subscriber::set_default(subscriber))
}

#[tokio::test]
async fn what_is_denied_is_logged_with_the_grant_that_would_allow_it() {
    let server = Server::ok();
    let address = server.address;
    let reach = Reach::granted(Grant::default()).await;
    let (log, _guard) = listen();
    reach.fails(&format!("http GET http://{address}/"), "").await;
    assert!(log.take().contains(&format!("write grant = {{ http = [\"{address}\"] }}")));
    reach.fails("http GET https://api.example.com/", "").await;
    assert!(log.take().contains("grant = { http = [\"api.example.com\"] }"));
    reach.fails(&format!("tcp {address}"), "").await;
    assert!(log.take().contains(&format!("grant = {{ network = [\"{address}\"] }}")));
}

#[tokio::test]
async fn a_flood_is_cut_off_in_each_call_and_over_all_calls() {
    let lines = |log: &str| log.lines().filter(|line| line.contains("xxx")).count();
    let reach = Reach::load(Grant::default(), Limit { log_bytes: 1_000, ..Limit::default() }).await;
    let (log, _guard) = listen();
    reach.succeeds("print 100000", "").await;
    let said = log.take();
    assert_eq!(lines(&said), 10, "{said}");
    assert!(said.contains("99000 bytes more than limit.log = 1000 B for a call, dropped"), "{said}");
    // A byte a second, and what a call may write at once: no further line within a minute and a half.
    let limit = Limit { log_bytes: 1_000, log_bytes_per_second: 1, ..Limit::default() };
    let reach = Reach::load(Grant::default(), limit).await;
    for _ in 0..3 {
        reach.succeeds("print 100000", "").await;
    }
    let said = log.take();
    assert_eq!(lines(&said), 10, "{said}");
    assert!(said.contains("more than limit.log-rate = 1 B a second, dropped"), "{said}");
}

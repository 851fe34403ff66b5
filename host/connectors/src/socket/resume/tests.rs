use std::net::SocketAddr;

use bytes::Bytes;
use millstream_engine::{InletSettings, Outlet, Source};
use millstream_model::pipeline::{Format, SourceKind};
use millstream_model::{Block, Payload, Position};
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader};
use tokio::net::TcpListener;
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};

use super::*;
use crate::Handover;
use crate::cut::RECORD_BYTES_MAX;
use crate::socket::Connect;
use crate::testing::{Running, lane, located, settings, spec};

/// The server's side of a connection.
struct Client {
    lines: BufReader<OwnedReadHalf>,
    records: OwnedWriteHalf,
}

impl Client {
    async fn accept(listener: &TcpListener) -> Self {
        let (stream, _) = listener.accept().await.unwrap();
        let (lines, records) = stream.into_split();
        Self { lines: BufReader::new(lines), records }
    }

    /// The next line that the source wrote; nothing when it has closed the connection.
    async fn line(&mut self) -> Option<String> {
        let mut line = String::new();
        let read = self.lines.read_line(&mut line);
        timeout(Duration::from_secs(30), read).await.expect("a line in time").unwrap();
        assert!(line.is_empty() || line.ends_with('\n'), "{line:?} is not whole");
        (!line.is_empty()).then(|| line.trim_end().to_owned())
    }

    /// Waits until `count` records are acknowledged, through ever higher numbers.
    async fn acknowledged(&mut self, count: u64) {
        let mut last = 0;
        while last < count {
            let line = self.line().await.expect("more acknowledgements");
            let number = line.strip_prefix("acknowledged ").unwrap().parse().unwrap();
            assert!(last < number && number <= count, "{number} after {last}, of {count}");
            last = number;
        }
    }

    async fn send(&mut self, text: &[u8]) {
        self.records.write_all(text).await.unwrap();
    }

    fn reset(self) {
        let stream = self.records.reunite(self.lines.into_inner()).unwrap();
        stream.set_zero_linger().unwrap();
    }
}

async fn listener() -> (TcpListener, SocketAddr) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    (listener, address)
}

fn connector(address: SocketAddr) -> Connect {
    let address = address.to_string();
    let kind = SourceKind::SocketConnect { address: located(address.clone()), resume: true };
    Connect::new(&spec(kind, Format::Lines), &address, true, Handover::default())
}

fn start(address: SocketAddr, once: bool) -> Running {
    Running::start(connector(address), &Format::Lines, once)
}

#[tokio::test]
async fn a_new_connection_goes_on_behind_the_last_whole_record() {
    let (listener, address) = listener().await;
    let mut running = start(address, false);
    let mut client = Client::accept(&listener).await;
    assert_eq!(client.line().await.unwrap(), "resume 0");
    client.send(b"zero\none\ntw").await;
    assert_eq!(running.rows(2).await, ["zero", "one"]);
    client.acknowledged(2).await;
    client.reset();

    let mut client = Client::accept(&listener).await;
    assert_eq!(client.line().await.unwrap(), "resume 2");
    client.send(b"two\nthr").await;
    let block = running.block().await.unwrap();
    assert_eq!((block.position.record, block.rows), (2, 1));
    client.acknowledged(3).await;
    // A server that is killed leaves a connection that looks closed in good order.
    drop(client);

    let mut client = Client::accept(&listener).await;
    assert_eq!(client.line().await.unwrap(), "resume 3");
    client.send(b"three\n").await;
    assert_eq!(running.rows(1).await, ["three"]);
    assert!(running.letters().is_empty(), "what is sent again is no dead letter");
    running.stop().await;
}

#[tokio::test]
async fn a_record_that_is_too_long_counts_as_one() {
    let (listener, address) = listener().await;
    let mut running = start(address, false);
    let mut client = Client::accept(&listener).await;
    assert_eq!(client.line().await.unwrap(), "resume 0");
    let sending = async {
        client.send(b"zero\n").await;
        client.send(&b"x".repeat(2 * RECORD_BYTES_MAX)).await;
        client.send(b"\ntwo\n").await;
        client.send(&b"x".repeat(2 * RECORD_BYTES_MAX)).await;
        client.acknowledged(3).await;
    };
    let (rows, ()) = tokio::join!(running.rows(2), sending);
    assert_eq!(rows, ["zero", "two"]);
    assert_eq!(running.letters().iter().map(|letter| letter.position.record).collect::<Vec<_>>(), [1]);
    client.reset();
    let mut client = Client::accept(&listener).await;
    assert_eq!(client.line().await.unwrap(), "resume 3", "the long record that broke off is asked for again");
    running.stop().await;
}

#[tokio::test]
async fn every_block_says_where_to_go_on() {
    let (listener, address) = listener().await;
    let mut running = start(address, false);
    let mut client = Client::accept(&listener).await;
    client.send(b"zero\none\n").await;
    client.send(&[&b"x".repeat(RECORD_BYTES_MAX)[..], b"\nthree\n"].concat()).await;
    let mut next = 0;
    while next < 4 {
        let block = running.any_block().await.unwrap();
        assert_eq!(block.position.record, next);
        next += block.rows as u64;
        assert_eq!(block.resume, Some(Bytes::from(next.to_string())));
    }
    running.stop().await;
}

/// A source whose lane has the records before `first`, as after a restart; `None`: it was no resuming one then.
async fn restarted(address: SocketAddr, first: Option<u64>) -> (tokio::task::JoinHandle<()>, Outlet) {
    let settings = InletSettings { bytes_max: usize::MAX, ..settings(false) };
    let (inlet, outlet) = Inlet::new(lane(), settings);
    let position = Position { origin: "earlier".into(), record: 0 };
    let mut earlier = Block::lines(Bytes::from_static(b"a\nb\n"), 2, position);
    earlier.resume = first.map(|first| Bytes::from(first.to_string()));
    inlet.send(earlier).await.unwrap();
    let source = connector(address);
    let running = tokio::spawn(async move { source.run(inlet).await.unwrap_or_default() });
    (running, outlet)
}

#[tokio::test]
async fn the_lane_knows_where_to_go_on() {
    for (first, expected) in [(Some(2), "resume 2"), (Some(700), "resume 700"), (None, "resume 0")] {
        let (listener, address) = listener().await;
        let (running, outlet) = restarted(address, first).await;
        let mut client = Client::accept(&listener).await;
        assert_eq!(client.line().await.unwrap(), expected);
        outlet.close();
        running.await.unwrap();
    }
}

#[tokio::test]
async fn once_the_server_has_finished_all_is_acknowledged() {
    let (listener, address) = listener().await;
    let mut running = start(address, true);
    let mut client = Client::accept(&listener).await;
    client.send(b"zero\none\n").await;
    client.records.shutdown().await.unwrap();
    assert_eq!(running.all_rows().await, ["zero", "one"]);
    assert_eq!(client.line().await.unwrap(), "resume 0");
    client.acknowledged(2).await;
    assert_eq!(client.line().await, None);
    running.end().await.unwrap();
}

#[tokio::test]
async fn once_a_server_that_ends_within_a_record_has_failed() {
    let (listener, address) = listener().await;
    let mut running = start(address, true);
    let mut client = Client::accept(&listener).await;
    client.send(b"zero\npart").await;
    client.records.shutdown().await.unwrap();
    assert_eq!(running.all_rows().await, ["zero"]);
    assert!(matches!(running.end().await, Err(millstream_engine::SourceError::Failed(_))));
}

/// What tells that a block is on disk, when the test says so.
#[derive(Clone)]
struct Disk {
    number: u64,
    durable: watch::Receiver<u64>,
}

impl Durable for Disk {
    async fn durable(&self) -> Result<(), Closed> {
        self.durable.clone().wait_for(|durable| *durable >= self.number).await.map(drop).map_err(|_| Closed)
    }
}

#[tokio::test]
async fn only_what_is_on_disk_is_acknowledged() {
    let (listener, address) = listener().await;
    let stream = TcpStream::connect(address).await.unwrap();
    let mut client = Client::accept(&listener).await;
    let (synced, durable) = watch::channel(10);
    let (sender, sent) = watch::channel(None);
    let send = |number| {
        let durable = durable.clone();
        sender.send_replace(Some((number, Disk { number, durable })));
    };
    let telling = tokio::spawn(async move { tell(&stream, 10, sent).await });
    assert_eq!(client.line().await.unwrap(), "resume 10");
    send(11);
    // Time enough to acknowledge it, if it would.
    for _ in 0..1000 {
        tokio::task::yield_now().await;
    }
    let mut early = String::new();
    tokio::select! {
        biased;
        _ = client.lines.read_line(&mut early) => panic!("{early:?} though it is not on disk"),
        () = std::future::ready(()) => {}
    }
    send(12);
    send(13);
    synced.send_replace(13);
    assert_eq!(client.line().await.unwrap(), "acknowledged 11");
    assert_eq!(client.line().await.unwrap(), "acknowledged 13", "the latest alone is told");
    send(14);
    drop(sender);
    synced.send_replace(14);
    assert_eq!(client.line().await.unwrap(), "acknowledged 14");
    telling.await.unwrap().unwrap();
    assert_eq!(client.line().await, None);
}

#[tokio::test]
async fn a_write_ahead_log_that_fails_acknowledges_nothing() {
    let (listener, address) = listener().await;
    let stream = TcpStream::connect(address).await.unwrap();
    let mut client = Client::accept(&listener).await;
    let (synced, durable) = watch::channel(0);
    let (sender, sent) = watch::channel(None);
    sender.send_replace(Some((1, Disk { number: 1, durable })));
    drop(synced);
    assert!(tell(&stream, 0, sent).await.is_err());
    drop((stream, sender));
    assert_eq!(client.line().await.unwrap(), "resume 0");
    assert_eq!(client.line().await, None);
}

#[tokio::test]
async fn a_server_that_reads_nothing_is_still_received_from() {
    let (listener, address) = listener().await;
    let mut running = start(address, false);
    let (stream, _) = listener.accept().await.unwrap();
    let (_unread, mut records) = stream.into_split();
    let sending = async {
        for number in 0..20_000 {
            records.write_all(format!("{number}\n").as_bytes()).await.unwrap();
        }
    };
    let (rows, ()) = tokio::join!(running.rows(20_000), sending);
    assert_eq!(rows.last().unwrap(), "19999");
    running.stop().await;
}

#[tokio::test]
async fn a_header_is_the_first_record_of_all() {
    let (listener, address) = listener().await;
    let mut running = start(address, false);
    for (first, text) in [(0, "name\na\n"), (2, "name\n")] {
        let mut client = Client::accept(&listener).await;
        assert_eq!(client.line().await.unwrap(), format!("resume {first}"));
        client.send(text.as_bytes()).await;
        let block = running.block().await.unwrap();
        assert_eq!(block.position.record, first);
        assert!(matches!(block.payload, Payload::Lines(_)));
    }
    running.stop().await;
}

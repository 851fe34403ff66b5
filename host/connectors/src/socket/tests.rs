use std::net::SocketAddr;
use std::time::Duration;

use millstream_engine::{Inlet, InletSettings, SourceError};
use millstream_model::pipeline::{Format, SourceKind};
use tokio::io::AsyncWriteExt;
use tokio::net::{TcpListener, TcpStream};

use super::{Connect, Listen};
use crate::Handover;
use crate::cut::{Cutter, RECORD_BYTES_MAX};
use crate::testing::{Running, lane, located, settings, spec};

async fn listener() -> (TcpListener, SocketAddr) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    (listener, address)
}

fn connector(address: &str, resume: bool) -> Connect {
    let kind = SourceKind::SocketConnect { address: located(address.to_owned()), resume };
    Connect::new(&spec(kind, Format::Lines), address, resume, Handover::default())
}

/// A source that connects to `address`.
fn connect(address: &str, once: bool) -> Running {
    Running::start(connector(address, false), &Format::Lines, once)
}

/// A source that listens, and its address.
async fn listen(once: bool) -> (Running, SocketAddr) {
    listen_with(settings(once)).await
}

async fn listen_with(settings: InletSettings) -> (Running, SocketAddr) {
    let (listener, address) = listener().await;
    let kind = SourceKind::SocketListen { address: located(address.to_string()) };
    let source = Listen::on(&spec(kind, Format::Lines), listener, Handover::default());
    (Running::start_with(source, &Format::Lines, Inlet::new(lane(), settings)), address)
}

/// Sends `text` to whoever comes next, and closes.
async fn serve(listener: &TcpListener, text: &[u8]) {
    let (mut client, _) = listener.accept().await.unwrap();
    client.write_all(text).await.unwrap();
}

/// Closes a connection so that the peer sees it break.
fn reset(stream: TcpStream) {
    stream.set_zero_linger().unwrap();
}

#[tokio::test]
async fn all_that_a_server_sends() {
    let (listener, address) = listener().await;
    let mut running = connect(&address.to_string(), true);
    serve(&listener, b"one\ntwo\r\n\nlast").await;
    assert_eq!(running.all_rows().await, ["one", "two", "", "last"]);
    assert!(running.faults().is_empty() && running.letters().is_empty());
    running.end().await.unwrap();
}

#[tokio::test]
async fn a_lone_line_does_not_wait_for_more() {
    let (listener, address) = listener().await;
    let mut running = connect(&address.to_string(), false);
    let (mut client, _) = listener.accept().await.unwrap();
    for line in ["one", "two"] {
        client.write_all(format!("{line}\npart of the next ").as_bytes()).await.unwrap();
        let received = running.rows(1).await;
        assert!(received[0].ends_with(line), "{received:?}");
    }
    running.stop().await;
}

#[tokio::test]
async fn large_amounts_arrive_whole() {
    let (listener, address) = listener().await;
    let mut running = connect(&address.to_string(), true);
    // From empty lines to lines larger than what is read at once.
    let lines: Vec<String> =
        (0..60).map(|n: usize| "x".repeat((n * n * n * 17) % (RECORD_BYTES_MAX - 1))).collect();
    let text = lines.join("\n");
    let (received, ()) = tokio::join!(running.all_rows(), serve(&listener, text.as_bytes()));
    assert!(received == lines, "{} of {} lines", received.len(), lines.len());
}

#[tokio::test]
async fn a_lost_server_is_connected_to_again() {
    let (listener, address) = listener().await;
    let mut running = connect(&address.to_string(), false);
    for round in ["one\n", "two\n", "three\n"] {
        serve(&listener, round.as_bytes()).await;
        assert_eq!(running.rows(1).await, [round.trim_end()]);
    }
    running.until(|running| running.faults().len() == 3).await;
    assert!(running.faults()[0].contains(&address.to_string()));
    running.stop().await;
}

#[tokio::test]
async fn once_a_server_must_be_there() {
    let (listener, address) = listener().await;
    drop(listener);
    let error = connect(&address.to_string(), true).end().await.unwrap_err().to_string();
    assert!(error.contains(&address.to_string()), "{error}");
}

#[tokio::test]
async fn what_can_never_work_is_refused() {
    let (taken, address) = listener().await;
    let listen = |address: &str| {
        let kind = SourceKind::SocketListen { address: located(address.to_owned()) };
        let source = Listen::new(&spec(kind, Format::Lines), address, Handover::default());
        Running::start(source, &Format::Lines, false)
    };
    let cases = [
        (connect("no-port", false), "host:port"),
        (listen("no-port"), "host:port"),
        (listen(&address.to_string()), "another port"),
    ];
    for (running, advice) in cases {
        match running.end().await {
            Err(SourceError::Refused(told)) => assert!(told.contains(advice), "{told}"),
            other => panic!("{advice}: {other:?}"),
        }
    }
    drop(taken);
}

#[tokio::test]
async fn once_a_connection_that_breaks_is_an_error() {
    let (listener, address) = listener().await;
    let mut running = connect(&address.to_string(), true);
    let (mut client, _) = listener.accept().await.unwrap();
    client.write_all(b"one\n").await.unwrap();
    assert_eq!(running.rows(1).await, ["one"]);
    reset(client);
    let error = running.end().await.unwrap_err().to_string();
    assert!(error.contains("after 1 records"), "{error}");
}

#[tokio::test]
async fn many_clients() {
    let (mut running, address) = listen(true).await;
    let clients = (0..50).map(|number| async move {
        let mut client = TcpStream::connect(address).await.unwrap();
        client.write_all(format!("{number:02}\n").repeat(20).as_bytes()).await.unwrap();
        client
    });
    let mut connected = Vec::new();
    for client in clients {
        connected.push(client.await);
    }
    let mut received = running.rows(1000).await;
    drop(connected);
    assert!(running.block().await.is_none(), "all have left");
    received.sort();
    let expected: Vec<_> = (0..1000).map(|n| format!("{:02}", n / 20)).collect();
    assert_eq!(received, expected);
}

#[tokio::test]
async fn a_client_that_breaks_off_leaves_its_part_to_the_dead_letters() {
    let (mut running, address) = listen(false).await;
    let mut client = TcpStream::connect(address).await.unwrap();
    let peer = client.local_addr().unwrap().to_string();
    client.write_all(b"whole\npart").await.unwrap();
    assert_eq!(running.rows(1).await, ["whole"]);
    reset(client);
    running.until(|running| !running.faults().is_empty()).await;
    let letters = running.letters();
    // A reset may overtake what was sent after the last read.
    if let Some(letter) = letters.first() {
        assert_eq!((letter.record.as_slice(), letter.position.record), (&b"part"[..], 1));
        assert_eq!(&*letter.position.origin, peer);
    }
    assert!(running.faults()[0].contains(&peer), "{:?}", running.faults());
    running.stop().await;
}

#[tokio::test]
async fn a_record_without_end_costs_no_memory_and_no_other_record() {
    let (mut running, address) = listen(true).await;
    let sending = async {
        let mut client = TcpStream::connect(address).await.unwrap();
        client.write_all(b"before\n").await.unwrap();
        client.write_all(&b"x".repeat(5 * RECORD_BYTES_MAX)).await.unwrap();
        client.write_all(b"\nafter").await.unwrap();
    };
    let (received, ()) = tokio::join!(running.all_rows(), sending);
    assert_eq!(received, ["before", "after"]);
    let letters = running.letters();
    assert_eq!((letters.len(), letters[0].position.record), (1, 1));
    assert!(letters[0].error.contains("longer than"));
}

#[tokio::test]
async fn a_stop_loses_nothing_that_was_received() {
    // At one row a second, the second row is waiting when the stop comes.
    let settings = InletSettings { rate_max: Some(1), ..settings(false) };
    let (mut running, address) = listen_with(settings).await;
    let mut client = TcpStream::connect(address).await.unwrap();
    client.write_all(b"one\ntwo\nthree\npart").await.unwrap();
    assert_eq!(running.rows(1).await, ["one"]);
    assert_eq!(running.stop().await, ["two", "three"]);
}

/// Long enough that no test sees its end.
const NEVER: Duration = Duration::from_secs(100_000);

#[tokio::test]
async fn records_are_gathered_for_a_block() {
    let settings = InletSettings { block_interval: NEVER, ..settings(false) };
    let (mut running, address) = listen_with(settings).await;
    let mut client = TcpStream::connect(address).await.unwrap();
    // Short of a block by one record, which comes last.
    let record = [b"x".repeat(1023), b"\n".to_vec()].concat();
    for _ in 0..511 {
        client.write_all(&record).await.unwrap();
    }
    client.write_all(&record).await.unwrap();
    let block = running.block().await.unwrap();
    assert_eq!(block.rows, 512, "nothing is sent before there is a block's worth");
    // What is not a block's worth comes when the connection ends.
    client.write_all(b"one\ntwo").await.unwrap();
    drop(client);
    assert_eq!(running.rows(2).await, ["one", "two"]);
    running.stop().await;
}

#[tokio::test]
async fn gathered_records_are_sent_when_the_block_interval_has_passed() {
    let settings = InletSettings { block_interval: Duration::from_millis(1), ..settings(false) };
    let (mut running, address) = listen_with(settings).await;
    let mut client = TcpStream::connect(address).await.unwrap();
    for line in ["one", "two"] {
        client.write_all(format!("{line}\npart of the next ").as_bytes()).await.unwrap();
        assert!(running.rows(1).await[0].ends_with(line));
    }
    running.stop().await;
}

#[tokio::test]
async fn gathered_records_are_taken_at_a_stop() {
    let (inlet, outlet) = Inlet::new(lane(), InletSettings { block_interval: NEVER, ..settings(false) });
    let (server, address) = listener().await;
    let mut client = TcpStream::connect(address).await.unwrap();
    let (stream, _) = server.accept().await.unwrap();
    client.write_all(b"one\ntwo\npart").await.unwrap();
    // What is there is read as soon as the receiving begins, and then waits for the block interval.
    stream.readable().await.unwrap();
    let mut cutter = Cutter::new("peer", inlet.block_rows_max());
    let receiving = super::receive::receive(&stream, &mut cutter, &inlet);
    let closing = async {
        tokio::task::yield_now().await;
        assert_eq!(outlet.take().rows, 0);
        outlet.close();
    };
    let (end, ()) = tokio::join!(receiving, closing);
    assert!(matches!(end, super::receive::End::Stopping));
    assert_eq!((cutter.records(), outlet.take().rows), (2, 2));
}

#[tokio::test]
async fn a_stop_ends_every_wait() {
    let (connected, address) = listener().await;
    let waiting_for_data = connect(&address.to_string(), false);
    let (_silent, _) = connected.accept().await.unwrap();
    let (listening, _) = listen(false).await;
    let (gone, address) = listener().await;
    drop(gone);
    let backing_off = connect(&address.to_string(), false);
    backing_off.until(|running| !running.faults().is_empty()).await;
    for running in [waiting_for_data, listening, backing_off] {
        running.stop().await;
    }
}

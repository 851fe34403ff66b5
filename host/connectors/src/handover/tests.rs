use std::net::SocketAddr;

use millstream_engine::Inlet;
use millstream_model::pipeline::{Format, SourceKind, SourceSpec};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

use crate::cut::RECORD_BYTES_MAX;
use crate::socket::{Connect, Listen};
use crate::testing::{Running, lane, located, settings, spec};
use crate::{Endpoint, Handover};

const ANYWHERE: &str = "127.0.0.1:0";

fn listening(address: &str) -> SourceSpec {
    spec(SourceKind::SocketListen { address: located(address.to_owned()) }, Format::Lines)
}

fn connecting(address: &str, resume: bool) -> SourceSpec {
    spec(SourceKind::SocketConnect { address: located(address.to_owned()), resume }, Format::Lines)
}

fn start_listening(handover: &Handover) -> Running {
    let source = Listen::new(&listening(ANYWHERE), ANYWHERE, handover.clone());
    Running::start_with(source, &Format::Lines, Inlet::new(lane(), settings(false)))
}

fn start_connecting(address: &str, handover: &Handover) -> Running {
    let source = Connect::new(&connecting(address, false), address, false, handover.clone());
    Running::start_with(source, &Format::Lines, Inlet::new(lane(), settings(false)))
}

/// A listening socket that is there for the source, and its address.
fn put_listener(handover: &Handover) -> SocketAddr {
    let listener = std::net::TcpListener::bind(ANYWHERE).unwrap();
    listener.set_nonblocking(true).unwrap();
    let address = listener.local_addr().unwrap();
    handover.give_listener(&lane(), &Endpoint::Listens(ANYWHERE.to_owned()), listener);
    address
}

/// Stops a source, which gives its sockets up; gives the rows that were on their way.
async fn hand_over(running: Running, handover: &Handover) -> Vec<String> {
    let wanted = handover.want();
    let rows = running.stop().await;
    drop(wanted);
    rows
}

/// What is sent before and after each handover, and what the next receiver makes of it first.
const TORN: &[(&str, &[&str])] =
    &[("one\ntwo\npar", &["one", "two"]), ("tial\n", &["partial"]), ("\nla", &[""]), ("st\nand", &["last"])];

/// Tears the lines that `peer` sends between receivers.
async fn check_torn(mut peer: TcpStream, handover: &Handover, first: u64, start: impl Fn() -> Running) {
    let mut records = first;
    for (text, expected) in TORN {
        let mut running = start();
        peer.write_all(text.as_bytes()).await.unwrap();
        let mut received = Vec::new();
        while received.len() < expected.len() {
            let block = running.block().await.unwrap();
            assert_eq!(block.position.record, records, "records are counted on");
            records += block.rows as u64;
            received.extend(running.decode(&block));
        }
        received.extend(hand_over(running, handover).await);
        assert_eq!(received, *expected);
    }
    let mut running = start();
    drop(peer);
    assert_eq!(running.rows(1).await, ["and"], "what the end of the connection makes whole");
    running.stop().await;
}

#[tokio::test]
async fn a_clients_line_may_be_torn_between_two_receivers() {
    let handover = Handover::default();
    let address = put_listener(&handover);
    let peer = TcpStream::connect(address).await.unwrap();
    check_torn(peer, &handover, 0, || start_listening(&handover)).await;
}

#[tokio::test]
async fn a_servers_line_may_be_torn_between_two_receivers() {
    let handover = Handover::default();
    let server = TcpListener::bind(ANYWHERE).await.unwrap();
    let address = server.local_addr().unwrap().to_string();
    let mut first = start_connecting(&address, &handover);
    let (mut peer, _) = server.accept().await.unwrap();
    // A connection that the source has made, and not only the system.
    peer.write_all(b"first\n").await.unwrap();
    assert_eq!(first.rows(1).await, ["first"]);
    hand_over(first, &handover).await;
    check_torn(peer, &handover, 1, || start_connecting(&address, &handover)).await;
}

#[tokio::test]
async fn a_line_that_is_too_long_is_one_dead_letter_also_where_it_is_torn() {
    let handover = Handover::default();
    let mut peer = TcpStream::connect(put_listener(&handover)).await.unwrap();
    let long = [b"before\n".as_slice(), &b"x".repeat(2 * RECORD_BYTES_MAX)].concat();
    let mut running = start_listening(&handover);
    let (received, sent) = tokio::join!(running.rows(1), peer.write_all(&long));
    sent.unwrap();
    assert_eq!(received, ["before"]);
    assert_eq!(hand_over(running, &handover).await, [""; 0]);
    let mut running = start_listening(&handover);
    let rest = [&b"x".repeat(RECORD_BYTES_MAX), b"\nafter\n".as_slice()].concat();
    let (received, sent) = tokio::join!(running.rows(1), peer.write_all(&rest));
    sent.unwrap();
    assert_eq!(received, ["after"]);
    let letters = running.letters();
    assert_eq!((letters.len(), letters[0].position.record), (1, 1));
    running.stop().await;
}

#[tokio::test]
async fn clients_that_come_between_two_receivers_are_not_refused() {
    let handover = Handover::default();
    let address = put_listener(&handover);
    hand_over(start_listening(&handover), &handover).await;
    let mut peer = TcpStream::connect(address).await.unwrap();
    peer.write_all(b"early\n").await.unwrap();
    let mut running = start_listening(&handover);
    assert_eq!(running.rows(1).await, ["early"]);
    running.stop().await;
}

#[tokio::test]
async fn a_stop_closes_what_nobody_takes_over() {
    let handover = Handover::default();
    let mut peer = TcpStream::connect(put_listener(&handover)).await.unwrap();
    peer.write_all(b"one\npart").await.unwrap();
    let mut running = start_listening(&handover);
    assert_eq!(running.rows(1).await, ["one"]);
    running.stop().await;
    assert!(handover.take_all().is_empty());
    // Closed with bytes that nobody has read, or after them.
    assert!(!matches!(peer.read(&mut [0]).await, Ok(1)));
}

#[tokio::test]
async fn sockets_go_to_their_source_alone() {
    let others = [
        listening("127.0.0.1:1"),
        connecting(ANYWHERE, false),
        SourceSpec { name: located("other".to_owned()), ..listening(ANYWHERE) },
    ];
    for (sources, kept) in [(&others[..], 0), (&[listening(ANYWHERE)], 2)] {
        let handover = Handover::default();
        let mut peer = TcpStream::connect(put_listener(&handover)).await.unwrap();
        let mut running = start_listening(&handover);
        peer.write_all(b"one\n").await.unwrap();
        assert_eq!(running.rows(1).await, ["one"]);
        hand_over(running, &handover).await;
        let closed = handover.keep_for(sources.iter());
        assert_eq!(closed.contains("in"), kept == 0, "{closed:?}");
        assert_eq!(handover.take_all().len(), kept);
    }
}

#[tokio::test]
async fn a_connection_to_a_server_that_resumes_is_made_anew() {
    let handover = Handover::default();
    let server = TcpListener::bind(ANYWHERE).await.unwrap();
    let address = server.local_addr().unwrap().to_string();
    let source = Connect::new(&connecting(&address, true), &address, true, handover.clone());
    let running = Running::start(source, &Format::Lines, false);
    drop(server.accept().await.unwrap());
    hand_over(running, &handover).await;
    assert!(handover.take_all().is_empty());
}

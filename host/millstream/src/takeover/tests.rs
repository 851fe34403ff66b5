use std::io::Write;
use std::net::{SocketAddr, TcpListener};
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;

use bytes::Bytes;
use millstream_connectors::{Begun, Endpoint, HandedSocket, Role};
use millstream_model::Lane;

use super::parcels::{Parcels, send_line, send_socket};
use crate::control::Answer;

/// A socket that can be told by its address.
fn socket() -> (OwnedFd, SocketAddr) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    (listener.into(), address)
}

fn connection(begun_bytes: usize, oversized: Option<usize>) -> Role {
    let text = |length| Bytes::from(vec![b'\n'; length]);
    let begun = Begun { record: 17, bytes: text(begun_bytes), oversized: oversized.map(text) };
    Role::Connection { peer: "127.0.0.1:1".to_owned(), begun }
}

fn is_same(one: &Role, other: &Role) -> bool {
    match (one, other) {
        (Role::Listener, Role::Listener) => true,
        (Role::Connection { peer, begun }, Role::Connection { peer: other, begun: other_begun }) => {
            peer == other && begun == other_begun
        }
        _ => false,
    }
}

#[test]
fn every_socket_arrives_with_all_that_belongs_to_it() {
    let endpoint = |listens| match listens {
        true => Endpoint::Listens("127.0.0.1:0".to_owned()),
        false => Endpoint::Connects("127.0.0.1:1".to_owned()),
    };
    let roles = [
        Role::Listener,
        connection(0, None),
        connection(1 << 20, Some(1 << 10)),
        connection(0, Some(0)),
        connection(3, None),
    ];
    let lane = |receiver| Lane { source: "in".to_owned(), receiver };
    let (sockets, addresses): (Vec<_>, Vec<_>) = (0..)
        .zip(roles)
        .map(|(number, role)| {
            let (socket, address) = socket();
            let endpoint = endpoint(number % 2 == 0);
            (HandedSocket { lane: lane(number), endpoint, role, socket }, address)
        })
        .unzip();
    let (sending, receiving) = UnixStream::pair().unwrap();
    let mut received = Vec::new();
    std::thread::scope(|scope| {
        scope.spawn(|| {
            sockets.iter().for_each(|socket| send_socket(&sending, socket).unwrap());
            send_line(&sending, &Answer::HandedOver).unwrap();
        });
        let mut parcels = Parcels::new(receiving);
        let answer = super::receive(&mut parcels, &mut received).unwrap();
        assert!(matches!(answer, Answer::HandedOver), "{answer:?}");
    });
    for ((sent, address), received) in sockets.iter().zip(addresses).zip(received) {
        assert_eq!((&sent.lane, &sent.endpoint), (&received.lane, &received.endpoint));
        assert!(is_same(&sent.role, &received.role), "{:?}", received.lane);
        assert_eq!(TcpListener::from(received.socket).local_addr().unwrap(), address);
    }
}

#[test]
fn what_no_process_of_ours_sends_is_an_error() {
    let socket = |bytes: &str| {
        let connection =
            format!("{{\"peer\":\"\",\"record\":0,\"begun-bytes\":{bytes},\"oversized-bytes\":null}}");
        let endpoint = "{\"listens\":\"\"}";
        format!(
            "{{\"socket\":{{\"source\":\"in\",\"receiver\":0,\"endpoint\":{endpoint},\"connection\":{connection}}}}}\n"
        )
    };
    let cases = [
        ("no socket came", socket("0")),
        ("more than any record", socket("18446744073709551615")),
        ("less than it says", socket("5")),
        ("a negative length", socket("-1")),
        ("no answer", "{}\n".to_owned()),
        ("no text", "\u{0}\n".to_owned()),
        ("a line without end", "[".repeat(1 << 20)),
        ("half a line", "\"handed-over\"".to_owned()),
        ("nothing", String::new()),
    ];
    for (name, text) in cases {
        let (mut sending, receiving) = UnixStream::pair().unwrap();
        std::thread::scope(|scope| {
            // It breaks off where no more is read.
            scope.spawn(move || drop(sending.write_all(text.as_bytes())));
            let mut parcels = Parcels::new(receiving);
            let received = super::receive(&mut parcels, &mut Vec::new());
            drop(parcels);
            assert!(received.is_err(), "{name}: {received:?}");
        });
    }
}

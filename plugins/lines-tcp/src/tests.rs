use std::io::{BufRead, BufReader};
use std::net::TcpListener;

use millstream_sdk::testing;

use super::*;

const PATIENCE: Duration = Duration::from_secs(30);

/// A receiver and the server's side of its connection, which has read the first line.
fn connect(position: Option<u64>, expected: &str) -> (Resume, BufReader<TcpStream>) {
    let listener = TcpListener::bind("127.0.0.1:0").expect("there is a port");
    let address = listener.local_addr().expect("it is bound");
    testing::set_config("address", &format!("\"{address}\""));
    let receiver = Resume::start(position).expect("the server listens");
    let mut server = BufReader::new(listener.accept().expect("a connection came").0);
    assert_eq!(line(&mut server), expected);
    (receiver, server)
}

fn line(server: &mut BufReader<TcpStream>) -> String {
    let mut line = String::new();
    server.read_line(&mut line).expect("the connection stands");
    line
}

/// The lines of as many polls as it takes to get to `next`.
fn poll_to(receiver: &mut Resume, next: u64) -> Vec<String> {
    let mut lines = Output::new();
    while receiver.next < next {
        let polled = receiver.poll(PATIENCE, &mut lines).expect("the connection stands");
        assert_eq!(polled, Poll::More(receiver.next));
    }
    let lines = lines.into_table();
    lines.read::<&str>("value").expect("they are texts").iter().map(str::to_owned).collect()
}

#[test]
fn lines_come_whole_and_are_counted() {
    let (mut receiver, server) = connect(None, "resume 0\n");
    server.get_ref().write_all(b"one\r\ntwo\nth").expect("it is sent");
    assert_eq!(poll_to(&mut receiver, 2), ["one", "two"]);
    server.get_ref().write_all(b"ree\n\n").expect("it is sent");
    assert_eq!(poll_to(&mut receiver, 4), ["three", ""]);
}

#[test]
fn it_asks_for_what_it_does_not_have_and_says_what_is_safe() {
    let (mut receiver, mut server) = connect(Some(7), "resume 7\n");
    server.get_ref().write_all(b"seven\neight\n").expect("it is sent");
    assert_eq!(poll_to(&mut receiver, 9), ["seven", "eight"]);
    receiver.acknowledge(9).expect("the server reads");
    assert_eq!(line(&mut server), "acknowledged 9\n");
}

#[test]
fn a_poll_comes_back_when_nothing_does() {
    let (mut receiver, _server) = connect(None, "resume 0\n");
    let polled = receiver.poll(Duration::ZERO, &mut Output::new());
    assert_eq!(polled, Ok(Poll::More(0)));
}

#[test]
fn the_end_of_a_connection_is_a_fault_unless_it_is_the_end_of_all() {
    let end = |once: &str| {
        testing::set_config("once", once);
        let (mut receiver, server) = connect(None, "resume 0\n");
        server.get_ref().write_all(b"one\npart").expect("it is sent");
        assert_eq!(poll_to(&mut receiver, 1), ["one"]);
        drop(server);
        receiver.poll(PATIENCE, &mut Output::new())
    };
    assert!(matches!(end("false"), Err(Fault::Unavailable(_))));
    assert_eq!(end("true"), Ok(Poll::Ended(1)), "what has no end was never sent");
}

#[test]
fn a_server_that_is_not_there_may_come() {
    let listener = TcpListener::bind("127.0.0.1:0").expect("there is a port");
    let address = listener.local_addr().expect("it is bound");
    drop(listener);
    testing::set_config("address", &format!("\"{address}\""));
    assert!(matches!(Resume::start(None), Err(Fault::Unavailable(reason)) if reason.contains("connecting")));
}

#[test]
fn settings_that_no_server_can_be_reached_by_are_refused_before_one_is_asked() {
    let check = |key: &str, json: &str| {
        let right = [("address", "\"127.0.0.1:9000\""), ("once", "false")];
        right.into_iter().chain([(key, json)]).for_each(|(key, json)| testing::set_config(key, json));
        Resume::check().err()
    };
    for (key, json) in [("address", "\"192.0.2.1:65535\""), ("address", "\"[::1]:9000\""), ("once", "true")] {
        assert_eq!(check(key, json), None, "{key} = {json}");
    }
    let wrong = [
        ("address", "\"127.0.0.1\""),
        ("address", "\"127.0.0.1:0\""),
        ("address", "\"127.0.0.1:65536\""),
        ("address", "\"localhost:9000\""),
        ("address", "9000"),
        ("once", "1"),
    ];
    for (key, json) in wrong {
        let told = check(key, json);
        assert!(
            matches!(&told, Some(Fault::Rejected(reason)) if reason.contains(key)),
            "{key} = {json}: {told:?}"
        );
    }
}

#[test]
fn a_long_line_counts_as_one() {
    let (mut receiver, server) = connect(None, "resume 0\n");
    let sending = std::thread::spawn(move || {
        let mut server = server.get_ref();
        server.write_all(&vec![b'x'; 2 * LINE_BYTES_MAX]).expect("it is read");
        server.write_all(b"\nnext\n").expect("it is read");
    });
    let lines = poll_to(&mut receiver, 2);
    sending.join().expect("all was sent");
    assert_eq!(lines.iter().map(String::len).collect::<Vec<_>>(), [LINE_BYTES_MAX, 4]);
    assert!(testing::logged()[0].1.contains("is cut"));
}

//! Receivers and sinks, described and called as the host does it; and in an ordinary test.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

use std::cell::RefCell;
use std::time::Duration;

use millstream_sdk::prelude::*;
use millstream_sdk::{Delivery, Error, Function, Kind, Table, function};

#[derive(Clone, Debug, PartialEq, Row)]
struct Numbered<'a> {
    number: i64,
    name: Option<&'a str>,
}

struct CountUp {
    next: u64,
    heard: Vec<u64>,
}

/// Counts up to seven, three numbers at a time.
#[receiver]
impl Receiver for CountUp {
    type Row = Numbered<'static>;
    type Position = u64;

    fn start(position: Option<u64>) -> Result<Self, Fault> {
        match position {
            Some(beyond @ 8..) => Err(Fault::rejected(format!("there is no {beyond}"))),
            position => Ok(Self { next: position.unwrap_or(0), heard: Vec::new() }),
        }
    }

    fn poll(&mut self, _: Duration, rows: &mut Output<Numbered<'static>>) -> Result<Poll<u64>, Fault> {
        while self.next < 7 && rows.len() < 3 {
            let name = self.next.to_string();
            rows.append(Numbered { number: self.next as i64, name: (self.next != 4).then_some(&name) });
            self.next += 1;
        }
        Ok(if self.next < 7 { Poll::More(self.next) } else { Poll::Ended(self.next) })
    }

    fn acknowledge(&mut self, position: u64) -> Result<(), Fault> {
        self.heard.push(position);
        Ok(())
    }
}

struct Endless;

/// Never gives anything.
#[receiver(output = "line")]
impl Receiver for Endless {
    type Row = String;
    type Position = ();

    fn start(_: Option<()>) -> Result<Self, Fault> {
        Ok(Self)
    }

    fn poll(&mut self, _: Duration, lines: &mut Output<String>) -> Result<Poll<()>, Fault> {
        lines.append("borrowed");
        lines.push("owned".to_owned());
        Ok(Poll::More(()))
    }
}

thread_local! {
    static WRITTEN: RefCell<Vec<String>> = const { RefCell::new(Vec::new()) };
}

fn note(line: String) {
    WRITTEN.with_borrow_mut(|written| written.push(line));
}

fn take_written() -> Vec<String> {
    WRITTEN.take()
}

struct Append {
    parts: u32,
}

/// Notes rows.
#[sink]
impl Sink for Append {
    type Row = Numbered<'static>;

    fn open() -> Result<Self, Fault> {
        note("open".to_owned());
        Ok(Self { parts: 0 })
    }

    fn write(&mut self, rows: Rows<'_, Numbered<'static>>, batch: Batch) -> Result<(), Fault> {
        self.parts += 1;
        let names: Vec<_> = rows.iter().map(|row| row.name.unwrap_or("-")).collect();
        note(format!("{}/{}: {} in call {}", batch.time_ms, batch.part, names.join(" "), self.parts));
        Ok(())
    }
}

/// Notes words, unless there are too many.
#[sink]
fn note_words(batch: Batch, word: Rows<'_, Option<&str>>) -> Result<(), Fault> {
    if word.len() > 2 {
        return Err(Fault::unavailable("too many"));
    }
    note(format!("{} of {}", batch.part, word.iter().flatten().collect::<Vec<_>>().join(" ")));
    Ok(())
}

/// Notes nothing.
#[sink]
fn count_words(#[column(name = "word")] words: Rows<'_, &str>) {
    note(words.len().to_string());
}

fn deliver(function: Function, position: Option<&[u8]>) -> Vec<Delivery> {
    let mut receiver = function.start(position).unwrap();
    let mut deliveries = Vec::new();
    while deliveries.last().is_none_or(|last: &Delivery| !last.ended) {
        deliveries.push(receiver.poll(Duration::ZERO).unwrap());
    }
    receiver.acknowledge(&7_u64.to_le_bytes()).unwrap();
    receiver.stop();
    deliveries
}

fn schema(function: Function) -> (Vec<String>, Vec<String>) {
    let names = |schema: millstream_sdk::Schema| schema.fields.into_iter().map(|field| field.name).collect();
    (names(function.input()), names(function.output()))
}

#[test]
fn receivers_and_sinks_are_described() {
    let names = |names: &[&str]| names.iter().map(|&name| name.to_owned()).collect::<Vec<_>>();
    let cases = [
        (function!(CountUp), "count-up", Kind::Receiver, (names(&[]), names(&["number", "name"]))),
        (function!(Endless), "endless", Kind::Receiver, (names(&[]), names(&["line"]))),
        (function!(Append), "append", Kind::Sink, (names(&["number", "name"]), names(&[]))),
        (function!(note_words), "note-words", Kind::Sink, (names(&["word"]), names(&[]))),
        (function!(count_words), "count-words", Kind::Sink, (names(&["word"]), names(&[]))),
    ];
    for (function, name, kind, columns) in cases {
        assert_eq!((function.name, function.kind, schema(function)), (name, kind, columns));
        assert!(function.documentation.ends_with('.') && function.keys().fields.is_empty());
    }
}

#[test]
fn a_receiver_gives_rows_with_positions_and_goes_on_behind_one() {
    let deliveries = deliver(function!(CountUp), None);
    let positions: Vec<_> = deliveries.iter().map(|delivery| delivery.position.clone().unwrap()).collect();
    assert_eq!(positions, [3_u64, 6, 7].map(|position| position.to_le_bytes().to_vec()));
    assert_eq!(deliveries.iter().map(|delivery| delivery.rows.rows).collect::<Vec<_>>(), [3, 3, 1]);
    let rows = deliveries[1].rows.read::<Numbered<'_>>("value").unwrap();
    let names: Vec<_> = rows.iter().map(|row| (row.number, row.name.map(str::to_owned))).collect();
    assert_eq!(names, [(3, Some("3".to_owned())), (4, None), (5, Some("5".to_owned()))]);
    let rest = deliver(function!(CountUp), Some(&positions[1]));
    assert_eq!(rest, deliveries[2..]);
}

#[test]
fn a_receiver_refuses_what_is_no_position_of_its_own() {
    let start = |position: &[u8]| function!(CountUp).start(Some(position)).err().unwrap();
    assert!(matches!(start(&9_u64.to_le_bytes()), Fault::Rejected(reason) if reason.contains("no 9")));
    assert!(matches!(start(b"three"), Fault::Rejected(reason) if reason.contains("5 bytes")));
}

#[test]
fn a_receiver_without_positions_gives_none_and_its_rows_may_borrow() {
    let mut endless = function!(Endless).start(None).unwrap();
    let delivery = endless.poll(Duration::ZERO).unwrap();
    assert_eq!(delivery, Delivery { rows: Table::of(["borrowed", "owned"]), position: None, ended: false });
}

#[test]
fn a_receiver_is_plain_rust_in_a_test() {
    let mut count = CountUp::start(Some(5)).unwrap();
    let mut rows = Output::new();
    assert_eq!(count.poll(Duration::ZERO, &mut rows), Ok(Poll::Ended(7)));
    count.acknowledge(7).unwrap();
    count.stop();
    assert_eq!((rows.len(), count.heard), (2, vec![7]));
}

#[test]
fn a_sink_is_opened_once_and_given_its_rows() {
    let table = Table::of([Numbered { number: 1, name: Some("a") }, Numbered { number: 2, name: None }]);
    let mut sink = function!(Append).open().unwrap();
    for part in 0..2 {
        sink.write(&table, Batch { time_ms: 7, part, parts: 2 }).unwrap();
    }
    assert_eq!(take_written(), ["open", "7/0: a - in call 1", "7/1: a - in call 2"]);
}

#[test]
fn a_sink_may_be_a_function() {
    let batch = Batch { time_ms: 7, part: 3, parts: 4 };
    let mut sink = function!(note_words).open().unwrap();
    sink.write(&Table::of([Some("a"), None]), batch).unwrap();
    let refused = sink.write(&Table::of([Some("a"), None, None]), batch).unwrap_err();
    assert_eq!(refused, Fault::unavailable("too many"));
    function!(count_words).open().unwrap().write(&Table::of(["a", "b"]), batch).unwrap();
    assert_eq!(take_written(), ["3 of a", "2"]);
    note_words(batch, Rows::from(&[Some("b")][..])).unwrap();
    assert_eq!(take_written(), ["3 of b"]);
}

#[test]
fn what_is_called_wrongly_says_so() {
    let rows = Table::of([1_i64]);
    let wrong = function!(Append).open().unwrap().write(&rows, Batch::default()).unwrap_err();
    assert!(matches!(wrong, Fault::Rejected(reason) if reason.contains("name")));
    assert!(
        matches!(function!(note_words).start(None), Err(Fault::Rejected(reason)) if reason.contains("sink"))
    );
    assert!(matches!(function!(CountUp).open(), Err(Fault::Rejected(reason)) if reason.contains("receiver")));
    let called = function!(CountUp).call(&rows, Context::default());
    assert!(matches!(called, Err(Error::WrongKind { .. })));
}

#[test]
fn faults_say_what_helps() {
    let away: Fault = std::io::Error::other("away").into();
    assert_eq!(away, Fault::unavailable("away"));
    let missing: Fault = required_config("nothing").unwrap_err().into();
    assert!(matches!(missing, Fault::Rejected(_)));
}

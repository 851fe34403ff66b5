//! A new process takes a running pipeline over: connections go on, and every line is there once and in order.

use std::io::{BufRead, BufReader, ErrorKind, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::os::unix::net::{UnixListener, UnixStream};
use std::os::unix::process::ExitStatusExt;
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::JoinHandle;

use millstream_platform::TAKEOVER_POINTS;
use rustix::process::Signal;

use crate::crash::trial::Trial;
use crate::process::{Process, until};
use crate::support::Project;

const PIPELINE: &str = r#"
name = "taken"
batch-interval = "100ms"
block-interval = "10ms"
checkpoint = "checkpoint"
[plugins.text]
component = "{text}"
[sources.lines]
type = "socket"
max-rate = 4000
SOURCE
[streams.records]
sql = "SELECT split_part(value, ' ', 1) AS kind, CAST(split_part(value, ' ', 2) AS BIGINT) AS number FROM lines"
[streams.counts]
from = "records"
update-state = { by = ["kind"], function = "text.running-count" }
[streams.totals]
from = "records"
aggregate = { by = ["kind"], total = "count(*)", window = { length = "1000h" } }
[sinks.records]
from = "records"
type = "files"
path = "records"
[sinks.counts]
from = "counts"
type = "files"
path = "counts"
[sinks.totals]
from = "totals"
type = "files"
path = "totals"
"#;
/// Lines that go over a connection between two takeovers.
const BETWEEN: u64 = 1_000;
/// Sizes of the pieces in which lines are sent, so that they are torn anywhere.
const PIECES: &[usize] = &[1, 611, 17, 4_099, 250];

/// What sends numbered lines over one connection without a pause, as fast as they are taken.
struct Numbered {
    sent: Arc<AtomicU64>,
    finishing: Arc<AtomicBool>,
    thread: JoinHandle<()>,
}

impl Numbered {
    fn over(mut stream: TcpStream) -> Self {
        let (sent, finishing) = (Arc::new(AtomicU64::new(0)), Arc::new(AtomicBool::new(false)));
        let (counter, told) = (Arc::clone(&sent), Arc::clone(&finishing));
        let thread = std::thread::spawn(move || {
            let (mut waiting, mut pieces) = (Vec::new(), PIECES.iter().cycle());
            while !told.load(Ordering::SeqCst) {
                // Long lines, so that few of them wait within the system.
                let number = counter.load(Ordering::SeqCst);
                waiting.extend_from_slice(format!("main {number} {}\n", "x".repeat(400)).as_bytes());
                while let Some(piece) = waiting.get(..*pieces.next().unwrap()) {
                    let length = piece.len();
                    stream.write_all(piece).unwrap();
                    waiting.drain(..length);
                }
                counter.store(number + 1, Ordering::SeqCst);
            }
            stream.write_all(&waiting).unwrap();
            stream.shutdown(Shutdown::Write).unwrap();
            // The host closes the connection when it has read all of it.
            assert_eq!(stream.read(&mut [0]).unwrap(), 0);
        });
        Self { sent, finishing, thread }
    }

    /// Waits until some lines more were taken.
    fn go_on(&self) {
        let wanted = self.sent.load(Ordering::SeqCst) + BETWEEN;
        until("more lines are taken", || (self.sent.load(Ordering::SeqCst) >= wanted).then_some(()));
    }

    /// Sends no more, waits until all was received, and says how many lines there were.
    fn finish(self) -> u64 {
        self.finishing.store(true, Ordering::SeqCst);
        self.thread.join().unwrap();
        self.sent.load(Ordering::SeqCst)
    }
}

/// Clients that come one after the other, each with one line, while processes come and go. None is refused.
struct Clients {
    finishing: Arc<AtomicBool>,
    thread: JoinHandle<u64>,
}

impl Clients {
    fn of(address: SocketAddr) -> Self {
        let finishing = Arc::new(AtomicBool::new(false));
        let told = Arc::clone(&finishing);
        let thread = std::thread::spawn(move || {
            let mut number = 0;
            while !told.load(Ordering::SeqCst) {
                let mut client = TcpStream::connect(address).unwrap();
                client.write_all(format!("client {number}\n").as_bytes()).unwrap();
                client.shutdown(Shutdown::Write).unwrap();
                assert_eq!(client.read(&mut [0]).unwrap(), 0);
                number += 1;
            }
            number
        });
        Self { finishing, thread }
    }

    fn finish(self) -> u64 {
        self.finishing.store(true, Ordering::SeqCst);
        self.thread.join().unwrap()
    }
}

fn pipeline(source: &str) -> Project {
    Project::new(&PIPELINE.replace("SOURCE", source))
}

/// Starts a process, which ends where `crash` says, if it comes there.
fn start(project: &Project, more: &[&str], crash: Option<&str>) -> Process {
    let mut command = project.command("run", more);
    command.envs(crash.map(|point| ("MILLSTREAM_CRASH_AT", point)));
    Process::start(&mut command)
}

/// Where a process listens.
pub(crate) fn listening(process: &Process) -> SocketAddr {
    let line = process.wait_for("listening");
    let (_, address) = line.split_once("address=").unwrap();
    address.split_whitespace().next().unwrap().parse().unwrap()
}

/// Waits until a process has the sockets of the one before.
fn wait_taken_over(process: &Process) {
    process.wait_for("goes on with the connection");
}

/// Takeovers that come off, and such in which one of the two processes is killed, with one process after the other; gives
/// the last.
fn take_over_again_and_again(project: &Project, first: Process, numbered: &Numbered) -> Process {
    // Where the running process is killed while it is taken over, and where those are killed that take it over.
    const TAKEOVERS: &[(Option<&str>, &[&str])] = &[
        (None, &[]),
        (None, &["takeover-asked", "takeover-received"]),
        (None, &[]),
        (Some("sockets-handed-over"), &[]),
        (Some("takeover-agreed"), &["takeover-received"]),
    ];
    let mut running = first;
    for (at, (_, killed)) in TAKEOVERS.iter().enumerate() {
        for point in *killed {
            numbered.go_on();
            start(project, &["--takeover"], Some(point)).killed_at(point);
            running.wait_for("it goes on here");
        }
        numbered.go_on();
        let crash = TAKEOVERS.get(at + 1).and_then(|(crash, _)| *crash);
        let next = start(project, &["--takeover"], crash);
        wait_taken_over(&next);
        let before = std::mem::replace(&mut running, next);
        match TAKEOVERS[at].0 {
            None => drop(before.ended()),
            Some(point) => drop(before.killed_at(point)),
        }
    }
    numbered.go_on();
    running
}

/// Every line is in the output once and in order, and what is counted has gone on.
fn check(project: &Project, kind: &str, lines: u64) {
    let of_kind = |sink| project.rows(sink).into_iter().filter(move |row| row["kind"] == kind);
    let numbers: Vec<u64> = of_kind("records").map(|row| row["number"].as_u64().unwrap()).collect();
    let odd = numbers.iter().zip(0..).find(|(found, expected)| **found != *expected);
    assert_eq!((odd, numbers.len() as u64), (None, lines), "lines of {kind}");
    for (sink, column) in [("counts", "count"), ("totals", "total")] {
        let counted: Vec<u64> = of_kind(sink).map(|row| row[column].as_u64().unwrap()).collect();
        assert!(counted.is_sorted(), "{sink} of {kind}: {counted:?}");
        assert_eq!(counted.last(), Some(&lines), "{sink} of {kind}");
    }
}

#[test]
fn clients_of_a_listening_pipeline_do_not_notice_that_it_is_taken_over() {
    let project = pipeline("listen = \"127.0.0.1:0\"");
    let first = start(&project, &[], None);
    let address = listening(&first);
    let numbered = Numbered::over(TcpStream::connect(address).unwrap());
    let clients = Clients::of(address);
    let last = take_over_again_and_again(&project, first, &numbered);
    let (lines, clients) = (numbered.finish(), clients.finish());
    last.stop();
    check(&project, "main", lines);
    check(&project, "client", clients);
}

#[test]
fn the_server_of_a_connecting_pipeline_does_not_notice_that_it_is_taken_over() {
    let server = TcpListener::bind("127.0.0.1:0").unwrap();
    let project = pipeline(&format!("address = \"{}\"", server.local_addr().unwrap()));
    let first = start(&project, &[], None);
    let numbered = Numbered::over(server.accept().unwrap().0);
    let last = take_over_again_and_again(&project, first, &numbered);
    server.set_nonblocking(true).unwrap();
    let another = server.accept().map(drop).map_err(|error| error.kind());
    assert_eq!(another, Err(ErrorKind::WouldBlock), "there was one connection");
    let lines = numbered.finish();
    last.stop();
    check(&project, "main", lines);
}

#[test]
fn a_takeover_that_ends_at_any_named_point_loses_and_repeats_nothing() {
    let mut trial = Trial::new("", 300, 0);
    let mut running = trial.start();
    for point in TAKEOVER_POINTS {
        trial.wait_acknowledged(&running, 300);
        let crash = |command: &mut Command| Process::start(command.env("MILLSTREAM_CRASH_AT", point));
        let is_of_new = point.starts_with("takeover-") && *point != "takeover-agreed";
        if !is_of_new {
            // The next that is taken over is to end there.
            let next = crash(&mut trial.project.command("run", &["--takeover"]));
            next.wait_for("connected");
            std::mem::replace(&mut running, next).ended();
            trial.wait_acknowledged(&running, 300);
        }
        let mut taking = trial.project.command("run", &["--takeover"]);
        let taking = if is_of_new { crash(&mut taking) } else { Process::start(&mut taking) };
        let (killed, left) = if is_of_new { (taking, running) } else { (running, taking) };
        killed.killed_at(point);
        running = if ["takeover-taken", "takeover-locked"].contains(point) {
            // Both have ended by now, the running one in order.
            left.ended();
            Process::start(&mut trial.project.command("run", &["--takeover"]))
        } else {
            left
        };
        trial.wait_acknowledged(&running, 300);
        trial.check();
    }
    trial.stop(running);
    trial.finish();
}

#[test]
fn where_nobody_runs_a_takeover_is_an_ordinary_start_and_a_second_start_is_told_of_takeovers() {
    let project = pipeline("listen = \"127.0.0.1:0\"");
    let running = start(&project, &["--takeover"], None);
    running.wait_for("ordinary start");
    running.wait_for("listening");
    let refused = project.refused("run", &[]);
    assert!(refused.contains("--takeover") && refused.contains(&running.id().to_string()), "{refused}");
    running.stop();
    let other = Project::new(
        &PIPELINE.replace("checkpoint = \"checkpoint\"", "").replace("SOURCE", "listen = \"127.0.0.1:0\""),
    );
    other.refused("run", &["--takeover"]);
}

#[test]
fn a_supervised_pipeline_that_is_taken_over_is_not_started_again() {
    let project = pipeline("listen = \"127.0.0.1:0\"");
    let first = start(&project, &["--supervise"], None);
    first.wait_for("listening");
    let second = start(&project, &["--takeover", "--supervise"], None);
    second.wait_for("listening");
    let log = first.ended();
    assert!(!log.contains("starts again"), "{log}");
    second.stop();
}

#[test]
fn a_process_that_cannot_hand_over_is_stopped_gracefully() {
    let project = pipeline("listen = \"127.0.0.1:0\"");
    let mut old = Command::new("sleep").arg("1000").spawn().unwrap();
    project.write("checkpoint/host.json", format!("{{\"pid\":{}}}", old.id()));
    let lock = std::fs::File::create(project.path("checkpoint/lock")).unwrap();
    lock.lock().unwrap();
    let control = UnixListener::bind(project.path("checkpoint/control")).unwrap();
    let new = start(&project, &["--takeover"], None);
    let (mut asking, _) = control.accept().unwrap();
    let mut question = String::new();
    BufReader::new(&asking).read_line(&mut question).unwrap();
    asking.write_all(b"{\"refused\":\"this is no question\"}\n").unwrap();
    assert_eq!(old.wait().unwrap().signal(), Some(Signal::TERM.as_raw()));
    drop(lock);
    new.wait_for("stopped gracefully");
    new.wait_for("listening");
    new.stop();
}

#[test]
fn a_pipeline_goes_on_where_it_was_asked_in_a_way_that_it_does_not_know_or_by_someone_who_leaves() {
    let project = pipeline("listen = \"127.0.0.1:0\"");
    let running = start(&project, &[], None);
    let address = listening(&running);
    for question in ["{\"take-over\":{\"format\":0}}\n", "{\"take-over\":{}}\n", "\"nothing\"\n"] {
        let mut asking = UnixStream::connect(project.path("checkpoint/control")).unwrap();
        asking.write_all(question.as_bytes()).unwrap();
        let mut answer = String::new();
        asking.read_to_string(&mut answer).unwrap();
        assert!(answer.starts_with("{\"refused\":"), "{question} {answer}");
    }
    let mut leaving = UnixStream::connect(project.path("checkpoint/control")).unwrap();
    leaving.write_all(b"{\"take-over\":{\"format\":1}}\n").unwrap();
    drop(leaving);
    running.wait_for("it goes on here");
    let mut client = TcpStream::connect(address).unwrap();
    client.write_all(b"main 0 after\n").unwrap();
    let line = serde_json::json!({ "kind": "main", "number": 0 });
    until("a batch with the line", || (project.rows("records") == [line.clone()]).then_some(()));
    running.stop();
}

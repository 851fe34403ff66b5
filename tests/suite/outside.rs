//! Pipelines whose rows come from receivers and go to sinks of plugins: real components, real sockets, the real binary.

use std::collections::{BTreeMap, BTreeSet};
use std::io::{BufRead, BufReader, Write};
use std::net::{Ipv4Addr, SocketAddrV4, TcpListener};

use rustix::net::{self, AddressFamily, SocketFlags, SocketType};
use rustix::process::Signal;

use crate::process::{Process, until};
use crate::support::{Project, entries, stderr};

/// A pipeline of the test plugin, which may write to `saved` and connect to `ADDRESS`.
const PIPELINE: &str = r#"
name = "outside"
batch-interval = "50ms"
CHECKPOINT

[plugins.outside]
component = "{outside}"
grant = { network = ["ADDRESS"], write = ["saved"] }
limit = { time = "LIMIT" }
config = { address = "ADDRESS", folder = "FOLDER", until = UNTIL }

REST
"#;

const DURABLE: &str = "checkpoint = \"checkpoint\"";
/// Where nobody listens.
const NOBODY: &str = "127.0.0.1:9";

/// The numbers of the receiver to a folder.
const NUMBERS: &str = r#"
[sources.numbers]
plugin = "outside.numbers"
[streams.texts]
sql = "SELECT cast(number AS varchar) AS value FROM numbers"
[sinks.saved]
from = "texts"
plugin = "outside.save"
"#;

/// Lines from a socket to a file sink.
const LINES: &str = r#"
[sources.lines]
plugin = "outside.lines"
[sinks.out]
from = "lines"
type = "files"
path = "out"
format = "text"
"#;

/// Totals of what a file source reads, to a server.
const DELIVER: &str = r#"
[sources.words]
type = "files"
path = "in"
[streams.totals]
sql = "SELECT value AS word, count(*) AS total FROM words GROUP BY value"
[sinks.server]
from = "totals"
plugin = "outside.deliver"
"#;

fn project(rest: &str, checkpoint: &str, address: &str, until: i64) -> Project {
    limited("1m", rest, checkpoint, address, until)
}

/// As [`project`], with plugins whose calls may take so long.
fn limited(time: &str, rest: &str, checkpoint: &str, address: &str, until: i64) -> Project {
    let pipeline = PIPELINE.replace("CHECKPOINT", checkpoint).replace("REST", rest).replace("LIMIT", time);
    let pipeline = pipeline.replace("ADDRESS", address).replace("UNTIL", &until.to_string());
    let project = Project::new(&pipeline);
    let file = std::fs::read_to_string(project.path("pipeline.toml")).unwrap();
    project.write("saved/.keep", "");
    let folder = project.path("saved");
    project.write("pipeline.toml", file.replace("FOLDER", folder.to_str().unwrap()));
    project
}

/// A socket with a port, of which nobody else can have the same, and at which nobody listens yet.
fn reserved() -> TcpListener {
    let socket =
        net::socket_with(AddressFamily::INET, SocketType::STREAM, SocketFlags::CLOEXEC, None).unwrap();
    net::bind(&socket, &SocketAddrV4::new(Ipv4Addr::LOCALHOST, 0)).unwrap();
    socket.into()
}

/// The lines of all parts that were saved, in order. A batch has the parts that it says.
fn saved(project: &Project) -> Vec<String> {
    let mut lines = Vec::new();
    let mut parts: BTreeMap<String, BTreeSet<u32>> = BTreeMap::new();
    let names = |path: &std::path::PathBuf| path.file_name().unwrap().to_str().unwrap().to_owned();
    for file in entries(&project.path("saved")).iter().filter(|file| !names(file).starts_with('.')) {
        let name = names(file);
        let (time, rest) = name.split_once('-').unwrap();
        let (part, of) = rest.trim_end_matches(".txt").split_once("-of-").unwrap();
        let of: u32 = of.parse().unwrap();
        parts.entry(time.to_owned()).or_insert_with(|| (0..of).collect()).remove(&part.parse().unwrap());
        lines.extend(std::fs::read_to_string(file).unwrap().lines().map(str::to_owned));
    }
    assert!(parts.values().all(BTreeSet::is_empty), "parts are missing: {parts:?}");
    lines
}

/// How many lines were saved so far.
fn saved_so_far(project: &Project) -> usize {
    let lines = |file: std::path::PathBuf| std::fs::read_to_string(file).unwrap().lines().count();
    entries(&project.path("saved")).into_iter().map(lines).sum()
}

fn numbers(until: i64) -> Vec<String> {
    (0..until).map(|number| number.to_string()).collect()
}

#[test]
fn what_a_receiver_gives_goes_once_to_a_sink() {
    for checkpoint in ["", DURABLE] {
        let project = project(NUMBERS, checkpoint, NOBODY, 10_000);
        let log = project.run_once();
        assert_eq!(saved(&project), numbers(10_000));
        assert!(log.contains("acknowledged 10000") && log.contains("stopped at 10000"), "{log}");
        if !checkpoint.is_empty() {
            // The receiver goes on where it ended.
            project.run_once();
            assert_eq!(saved(&project), numbers(10_000));
        }
    }
}

#[test]
fn lines_that_a_plugin_reads_from_a_socket_arrive_and_a_stop_loses_none() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap().to_string();
    let project = project(LINES, DURABLE, &address, 0);
    let process = Process::running(&project);
    let (mut connection, _) = listener.accept().unwrap();
    let text: String = (0..50_000).map(|line| format!("line {line}\n")).collect();
    connection.write_all(text.as_bytes()).unwrap();
    let last = "line 49999".to_owned();
    until("the last line", || project.lines_so_far("out").contains(&last).then_some(()));
    connection.write_all(b"one more\n").unwrap();
    let more = "one more".to_owned();
    until("one more line", || project.lines_so_far("out").contains(&more).then_some(()));
    process.stop_by_command(&project);
    let expected: Vec<_> = text.lines().map(str::to_owned).chain([more]).collect();
    assert_eq!(project.lines("out"), expected);
}

#[test]
fn rows_are_neither_lost_nor_taken_twice_where_the_process_is_killed() {
    let project = project(NUMBERS, DURABLE, NOBODY, 1_000_000_000);
    let mut before = 0;
    for _ in 0..4 {
        let process = Process::running(&project);
        // Some more, in several batches.
        until("more rows", || (entries(&project.path("saved")).len() > before + 3).then_some(()));
        before = entries(&project.path("saved")).len();
        process.kill();
    }
    let process = Process::running(&project);
    process.stop_by_command(&project);
    let saved = saved(&project);
    assert_eq!(saved, numbers(saved.len() as i64), "from the first on, without gaps");
}

#[test]
fn a_receiver_that_traps_is_started_again_behind_what_it_gave() {
    let rest = NUMBERS.replace("outside.numbers", "outside.trapping");
    let project = project(&rest, DURABLE, NOBODY, 0);
    let process = Process::start(&mut project.command("run", &[]));
    until("all numbers", || (saved_so_far(&project) == 1_000).then_some(()));
    let log = process.stop_by_command(&project);
    assert_eq!(saved(&project), numbers(1_000));
    assert!(log.contains("outside.trapping: trapped") && log.contains("it has given enough"), "{log}");
}

#[test]
fn a_receiver_that_hangs_in_a_read_is_cut_off_by_its_limit_and_by_a_stop() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap().to_string();
    let rest = NUMBERS.replace("outside.numbers", "outside.hanging");
    let project = limited("2s", &rest, DURABLE, &address, 0);
    let process = Process::running(&project);
    let _first = listener.accept().unwrap();
    process.wait_for("ran longer than its limit");
    // Another life has connected, and hangs as well.
    let _second = listener.accept().unwrap();
    process.stop_by_command(&project);
    assert!(saved(&project).iter().all(|number| number == "1"));
}

#[test]
fn a_receiver_that_never_comes_back_from_its_end_keeps_no_process() {
    let rest = NUMBERS.replace("outside.numbers", "outside.stubborn");
    let project = limited("2s", &rest, DURABLE, NOBODY, 0);
    let log = project.run_once();
    assert_eq!(saved(&project), ["1"]);
    assert!(log.contains("stopping outside.stubborn: ran longer"), "{log}");
}

#[test]
fn what_a_receiver_may_not_do_ends_its_life_and_says_why() {
    let cases = [
        ("picky", "nothing to receive here"),
        ("babbler", "a position of 5000 bytes"),
        ("glutton", "delivered 2000000 rows at once"),
        ("moody", "a position with some of its rows"),
    ];
    for (receiver, told) in cases {
        let rest = LINES.replace("outside.lines", &format!("outside.{receiver}"));
        let rest = rest.replace("from = \"lines\"", "from = \"texts\"");
        let rest =
            format!("{rest}[streams.texts]\nsql = \"SELECT cast(value AS varchar) AS value FROM lines\"\n");
        let project = project(&rest, "", NOBODY, 0);
        let ran = project.run("run", &["--once"]);
        assert!(!ran.status.success() && stderr(&ran).contains(told), "{receiver}: {}", stderr(&ran));
        assert!(stderr(&ran).contains(&format!("outside.{receiver}")), "{}", stderr(&ran));
    }
}

/// A server that takes parts and answers each with `answer`, until it has taken `parts` of them.
fn serve(listener: &TcpListener, answer: &str, parts: usize) -> Vec<(String, Vec<String>)> {
    let mut taken = Vec::new();
    while taken.len() < parts {
        let (connection, _) = listener.accept().unwrap();
        let mut lines = BufReader::new(connection.try_clone().unwrap()).lines();
        while taken.len() < parts
            && let Some(Ok(head)) = lines.next()
        {
            let rows: usize = head.split(' ').nth(3).unwrap().parse().unwrap();
            let rows = lines.by_ref().take(rows).map(Result::unwrap).collect();
            taken.push((head, rows));
            (&connection).write_all(format!("{answer}\n").as_bytes()).unwrap();
        }
    }
    taken
}

/// Waits until no part is left to be handed over.
fn wait_delivered(project: &Project) {
    let outbox = project.path("checkpoint/outbox/server");
    until("the outbox is empty", || entries(&outbox).is_empty().then_some(()));
}

#[test]
fn a_batch_waits_for_its_server_and_comes_once_it_is_there() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap().to_string();
    let project = project(DELIVER, DURABLE, &address, 0);
    project.write("in/a.txt", "a\nb\na\n");
    let process = Process::start(&mut project.command("run", &[]));
    // It answers, and takes nothing yet.
    let refused = serve(&listener, "not now", 2);
    assert_eq!(refused[0], refused[1], "the same part under the same time");
    let status = project.run("status", &[]);
    assert!(String::from_utf8_lossy(&status.stdout).contains("not now"), "{status:?}");
    let taken = serve(&listener, "ok", 1);
    assert_eq!(taken[0], refused[0]);
    assert_eq!(
        taken[0].1.iter().collect::<BTreeSet<_>>(),
        BTreeSet::from([&"a 2".to_owned(), &"b 1".to_owned()])
    );
    wait_delivered(&project);
    process.stop_by_command(&project);
}

#[test]
fn a_stop_and_a_kill_do_not_lose_a_batch_that_waits() {
    let server = reserved();
    let project = project(DELIVER, DURABLE, &server.local_addr().unwrap().to_string(), 0);
    project.write("in/a.txt", "a\n");
    let mut process = Process::start(&mut project.command("run", &[]));
    process.wait_for("trying again until it works");
    process.kill();
    process = Process::start(&mut project.command("run", &[]));
    process.wait_for("trying again until it works");
    process.signal(Signal::TERM);
    let (status, log) = process.end();
    assert!(!status.success() && log.contains("writes the batch when it is started again"), "{log}");
    net::listen(&server, 16).unwrap();
    let process = Process::start(&mut project.command("run", &[]));
    let taken = serve(&server, "ok", 1);
    assert_eq!(taken[0].1, ["a 1"]);
    wait_delivered(&project);
    process.stop();
}

#[test]
fn a_batch_that_was_sent_to_the_wrong_place_goes_to_the_right_one_after_a_change() {
    let project = project(DELIVER, DURABLE, NOBODY, 0);
    project.write("in/a.txt", "a\n");
    let process = Process::start(&mut project.command("run", &[]));
    process.wait_for("trying again until it works");
    process.kill();
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let file = std::fs::read_to_string(project.path("pipeline.toml")).unwrap();
    let address = listener.local_addr().unwrap().to_string();
    let wrong = file.split("network = [\"").nth(1).unwrap().split('"').next().unwrap();
    project.write("pipeline.toml", file.replace(wrong, &address));
    let process = Process::start(&mut project.command("run", &[]));
    assert_eq!(serve(&listener, "ok", 1)[0].1, ["a 1"]);
    wait_delivered(&project);
    process.kill();
}

#[test]
fn rows_that_a_sink_never_will_take_stop_the_pipeline() {
    for (sink, told) in [("refuse", "no rows are good enough"), ("deliver", "never will take it")] {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap().to_string();
        let rest = DELIVER.replace("outside.deliver", &format!("outside.{sink}"));
        let rest = match sink {
            "refuse" => rest.replace("value AS word", "value").replace(", count(*) AS total", ""),
            _ => rest,
        };
        let project = project(&rest, DURABLE, &address, 0);
        project.write("in/a.txt", "a\n");
        let server = std::thread::spawn(move || {
            if sink == "deliver" {
                serve(&listener, "never", 2);
            }
        });
        let ran = project.run("run", &["--once"]);
        assert_eq!(ran.status.code(), Some(1), "{}", stderr(&ran));
        assert!(stderr(&ran).contains(told) && stderr(&ran).contains(&format!("outside.{sink}")));
        assert_eq!(entries(&project.path("checkpoint/outbox/server")).len(), 1, "the batch is kept");
        server.join().unwrap();
    }
}

#[test]
fn a_function_connects_to_where_it_may() {
    let project = Project::new(&format!(
        r#"
name = "connecting"
batch-interval = "1s"
[plugins.hostile]
component = "{{hostile}}"
grant = {{ network = ["{NOBODY}"] }}
[sources.lines]
type = "files"
path = "in"
[streams.told]
from = "lines"
map = "hostile.connect"
[sinks.out]
from = "told"
type = "files"
path = "out"
format = "text"
"#
    ));
    project.write("in/a.txt", "a\n");
    project.run_once();
    let told = project.lines("out");
    assert!(told[0].contains("refused"), "nobody listens there, but it may ask: {told:?}");
}

#[test]
fn a_pipelines_tests_give_rows_to_receivers_and_call_no_sink() {
    let tests = r#"
[[tests]]
name = "numbers become texts"
given.numbers = [[{ number = 7 }, { number = 8, name = "eight" }]]
expect.texts = [[{ value = "7" }, { value = "8" }]]
"#;
    let project = project(&format!("{NUMBERS}{tests}"), DURABLE, NOBODY, 10);
    project.done("test", &[]);
    assert!(saved(&project).is_empty());
}

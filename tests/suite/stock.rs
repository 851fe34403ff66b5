//! The plugins of `plugins/` in pipelines: real files that are rotated, real servers, the real binary.

use std::fs::OpenOptions;
use std::io::{BufRead, BufReader, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use crate::process::{Process, until};
use crate::service::{Answer, Request, Service};
use crate::support::{Project, component, root, stderr};

/// A log in `logs`, to files.
const TAIL: &str = r#"
name = "tail"
batch-interval = "50ms"
checkpoint = "checkpoint"

[plugins.tail]
component = "{tail}"
grant = { read = ["FOLDER/logs"] }
config = { path = "FOLDER/logs/app.log", once = ONCE }

[sources.log]
plugin = "tail.lines"
[streams.lines]
sql = "SELECT value FROM log"
[sinks.out]
from = "lines"
type = "files"
path = "out"
format = "text"
"#;

const LINES_TCP: &str = r#"
name = "lines"
batch-interval = "50ms"
checkpoint = "checkpoint"

[plugins.lines-tcp]
component = "{lines-tcp}"
grant = { network = ["ADDRESS"] }
config = { address = "ADDRESS" }

[sources.lines]
plugin = "lines-tcp.resume"
[sinks.out]
from = "lines"
type = "files"
path = "out"
format = "text"
"#;

/// What is in `in`, to a service.
const HTTP_POST: &str = r#"
name = "post"
batch-interval = "50ms"
checkpoint = "checkpoint"

[plugins.http-post]
component = "{http-post}"
grant = { http = ["ADDRESS"] }

[plugins.http-post.config]
url = "http://ADDRESS/rows?all"
name = "post"
headers = { authorization = "Bearer abc" }

[sources.rows]
type = "files"
path = "in"
[sinks.service]
from = "rows"
plugin = "http-post.post"
"#;

#[test]
fn a_log_is_followed_through_rotation_and_restarts() {
    let project = Project::new("");
    let folder = project.path("").to_str().unwrap().trim_end_matches('/').to_owned();
    let write_pipeline =
        |once| project.write_pipeline(&TAIL.replace("FOLDER", &folder).replace("ONCE", once));
    let append = |text: &str| {
        let path = project.path("logs/app.log");
        let file = OpenOptions::new().create(true).append(true).open(path);
        file.unwrap().write_all(text.as_bytes()).unwrap();
    };
    let rename = |from: &str, to: &str| {
        std::fs::rename(project.path(&format!("logs/{from}")), project.path(&format!("logs/{to}"))).unwrap();
    };
    project.write("logs/app.log", "one\ntwo\nthr");
    write_pipeline("false");
    let process = Process::running(&project);
    let out = || project.lines_so_far("out");
    until("two lines", || (out() == ["one", "two"]).then_some(()));
    append("ee\n");
    rename("app.log", "app.log.1");
    append("four\n");
    until("four lines", || (out().len() == 4).then_some(()));
    process.stop();

    append("five\n");
    rename("app.log.1", "app.log.2");
    rename("app.log", "app.log.1");
    append("six\n");
    std::fs::copy(project.path("logs/app.log"), project.path("logs/app.log.0")).unwrap();
    let cut = OpenOptions::new().write(true).truncate(true).open(project.path("logs/app.log"));
    drop(cut.unwrap());
    append("seven\n");
    write_pipeline("true");
    let log = project.run_once();
    assert_eq!(out(), ["one", "two", "three", "four", "five", "six", "seven"], "{log}");
}

/// The server's side of a connection, and the first line that came over it.
fn accept(listener: &TcpListener) -> (BufReader<TcpStream>, String) {
    let mut connection = BufReader::new(listener.accept().unwrap().0);
    let first = line(&mut connection);
    (connection, first)
}

fn line(connection: &mut BufReader<TcpStream>) -> String {
    let mut line = String::new();
    assert!(connection.read_line(&mut line).unwrap() > 0, "the connection has ended");
    line.trim_end().to_owned()
}

fn send(connection: &BufReader<TcpStream>, text: &str) {
    connection.get_ref().write_all(text.as_bytes()).unwrap();
}

#[test]
fn a_server_is_asked_for_what_is_not_safe_yet() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap().to_string();
    let project = Project::new(&LINES_TCP.replace("ADDRESS", &address));
    let process = Process::running(&project);
    let (mut connection, first) = accept(&listener);
    assert_eq!(first, "resume 0");
    send(&connection, "zero\none\ntw");
    assert_eq!(line(&mut connection), "acknowledged 2");
    drop(connection);

    let (mut connection, first) = accept(&listener);
    assert_eq!(first, "resume 2", "of a new connection");
    send(&connection, "two\n");
    while line(&mut connection) != "acknowledged 3" {}
    process.kill();

    let process = Process::running(&project);
    let (mut connection, first) = accept(&listener);
    assert_eq!(first, "resume 3", "of a new process");
    send(&connection, "three\n");
    while line(&mut connection) != "acknowledged 4" {}
    process.stop();
    assert_eq!(project.lines("out"), ["zero", "one", "two", "three"]);
}

/// Each request has come for the same rows.
fn check_requests(requests: &[Request], body: &str) {
    for request in requests {
        assert_eq!(request.line, "POST /rows?all HTTP/1.1");
        assert_eq!(request.headers["authorization"], "Bearer abc");
        assert_eq!(request.headers["idempotency-key"], requests[0].headers["idempotency-key"]);
        assert_eq!(request.body, body);
    }
    assert!(requests[0].headers["idempotency-key"].starts_with("post-"));
}

#[test]
fn a_batch_is_posted_until_it_is_taken() {
    let service = Service::start(|number| match number {
        0 => Answer::Status(503, ""),
        1 => Answer::Silence,
        2 => Answer::Status(429, "retry-after: 0\r\n"),
        3 => Answer::Status(409, ""),
        _ => Answer::Status(204, ""),
    });
    let project = Project::new(&HTTP_POST.replace("ADDRESS", &service.address().to_string()));
    project.write("in/rows.txt", "one\na \"second\"\n");
    let log = project.run_once();
    assert!(log.contains("trying again"), "{log}");
    let requests = service.requests();
    assert_eq!(requests.len(), 5, "{requests:?}");
    check_requests(&requests, "{\"value\":\"one\"}\n{\"value\":\"a \\\"second\\\"\"}\n");
}

#[test]
fn a_batch_that_is_refused_stops_the_pipeline_and_is_posted_by_the_next() {
    let refuses = Arc::new(AtomicBool::new(true));
    let asked = Arc::clone(&refuses);
    let status = move || if asked.load(Ordering::Relaxed) { 401 } else { 200 };
    let service = Service::start(move |_| Answer::Status(status(), ""));
    let project = Project::new(&HTTP_POST.replace("ADDRESS", &service.address().to_string()));
    project.write("in/rows.txt", "one\n");
    let ran = project.run("run", &["--once"]);
    assert!(!ran.status.success() && stderr(&ran).contains("401"), "{}", stderr(&ran));
    refuses.store(false, Ordering::Relaxed);
    let before = service.requests().len();
    project.run_once();
    assert_eq!(service.requests().len(), before + 1);
    check_requests(&service.requests(), "{\"value\":\"one\"}\n");
}

#[test]
fn a_pipeline_that_does_not_grant_what_a_plugin_needs_is_refused() {
    let pipeline =
        HTTP_POST.replace("grant = { http = [\"ADDRESS\"] }", "").replace("ADDRESS", "127.0.0.1:1");
    let checked = Project::new(&pipeline).run("check", &[]);
    assert!(!checked.status.success() && stderr(&checked).contains("http = ["), "{}", stderr(&checked));
}

#[test]
fn settings_that_no_request_can_be_made_of_are_refused_where_they_stand() {
    let pipeline = HTTP_POST.replace("ADDRESS", "127.0.0.1:1");
    let cases =
        [("url = \"http://", "url = \"ftp://", "`url`"), ("authorization =", "\"a b\" =", "`headers`")];
    for (right, wrong, named) in cases {
        let project = Project::new(&pipeline.replace(right, wrong));
        for command in ["check", "run"] {
            let told = project.run(command, &[]);
            let (message, place) = (stderr(&told), "pipeline.toml:20:");
            assert!(
                !told.status.success() && message.contains(named) && message.contains(place),
                "{message}"
            );
        }
    }
    Project::new(&pipeline).done("check", &[]);
}

#[test]
fn the_pipelines_of_the_readmes_are_whole() {
    for name in ["tail", "lines-tcp", "http-post", "text"] {
        let readme = std::fs::read_to_string(root().join(format!("plugins/{name}/README.md"))).unwrap();
        let pipeline = readme.split_once("```toml\n").and_then(|(_, rest)| rest.split_once("```"));
        let project = Project::new("");
        let pipeline = pipeline.unwrap().0.replace("/var/log/app", project.path("").to_str().unwrap());
        let built = format!("millstream_{}.wasm", name.replace('-', "_"));
        assert!(pipeline.contains(&built), "{pipeline}");
        project.write_pipeline(&pipeline.replace(&built, component(name).to_str().unwrap()));
        project.done("check", &[]);
    }
}

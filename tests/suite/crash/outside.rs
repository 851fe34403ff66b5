//! A receiver and a sink of plugins, killed at any moment: what goes out is what came in, once, from end to end.
//!
//! The service knows each part of a batch by its key. It takes some requests without an answer and refuses others, so
//! that parts are written again also where nobody was killed.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use rustix::process::Signal;

use super::feed::{Feed, key};
use super::trial::Chance;
use crate::process::{Process, until};
use crate::service::{Answer, Request, Service};
use crate::support::Project;

const PIPELINE: &str = r#"
name = "trial"
batch-interval = "100ms"
block-interval = "10ms"
checkpoint = "checkpoint"
history = "64KiB"
concurrent-batches = 2

[plugins.lines-tcp]
component = "{lines-tcp}"
grant = { network = ["FEED"] }
config = { address = "FEED", once = ONCE }

[plugins.http-post]
component = "{http-post}"
grant = { http = ["SERVICE"] }
config = { url = "http://SERVICE/records", name = "trial", format = "lines" }

[sources.lines]
plugin = "lines-tcp.resume"

[sinks.service]
from = "lines"
plugin = "http-post.post"
"#;
const ROUNDS: u64 = 10;
/// Records on their way.
const WINDOW: u64 = 400;
/// The number of the first request that the service does not answer.
const UNANSWERED: usize = 5;
/// Points between the run of a batch and its end, at which a process is killed.
const POINTS: &[&str] = &["output-prepared", "commit-written", "output-published", "batch-published"];

struct Trial {
    project: Project,
    feed: Feed,
    service: Service,
    chance: Chance,
}

/// What the service does with the request of a number.
fn answer(number: usize) -> Answer {
    match number {
        n if n % 11 == UNANSWERED => Answer::Silence,
        n if n % 13 == 7 => Answer::Status(503, ""),
        _ => Answer::Status(200, ""),
    }
}

impl Trial {
    fn new() -> Self {
        let feed = Feed::start(WINDOW, 0);
        let service = Service::start(answer);
        let trial = Self { project: Project::new(""), feed, service, chance: Chance::new() };
        trial.write_pipeline(false);
        trial
    }

    fn write_pipeline(&self, once: bool) {
        let pipeline = PIPELINE.replace("FEED", &self.feed.address().to_string());
        let pipeline = pipeline.replace("SERVICE", &self.service.address().to_string());
        self.project.write_pipeline(&pipeline.replace("ONCE", &once.to_string()));
    }

    fn start(&self) -> Process {
        Process::start(&mut self.project.command("run", &[]))
    }

    /// Starts a process, and lets it come to some point.
    fn run(&self) -> Process {
        let connections = self.feed.ledger().resumed.len();
        let process = self.start();
        process.wait_for("trial runs");
        match self.chance.below(8) {
            0 => {}
            1 => self.feed.wait_connected(&process, connections),
            2 | 3 => self.wait_requests(self.chance.below(4) as usize),
            _ => self.feed.wait_acknowledged(&process, 1 + self.chance.below(3_000)),
        }
        // Anywhere between two such events.
        std::thread::park_timeout(Duration::from_micros(self.chance.below(60_000)));
        process
    }

    /// Waits for requests: more than so many.
    fn wait_requests(&self, more: usize) {
        let requests = self.service.requests().len() + more;
        until("a request", || (self.service.requests().len() > requests).then_some(()));
    }

    /// Ends the process in some way. No batch has failed until then.
    fn end(&self, process: Process) {
        let log = match self.chance.below(10) {
            0 => {
                process.signal(Signal::TERM);
                let (status, log) = process.end();
                // It may have been waiting for the service, and says so.
                assert!(status.success() || log.contains("was told to stop"), "{status}:\n{log}");
                log
            }
            1 => {
                process.signal(Signal::TERM);
                std::thread::park_timeout(Duration::from_micros(self.chance.below(60_000)));
                process.kill()
            }
            _ => process.kill(),
        };
        assert!(!log.contains("running the batch once more"), "{log}");
    }

    /// Lets the pipeline come to its end.
    fn finish(&self) {
        self.feed.finish();
        self.write_pipeline(true);
        self.project.run_once();
        let status = self.project.status();
        assert_eq!(status["status"]["records"], self.check(), "{status}");
        let requests = self.service.requests();
        let keys = |requests: &mut dyn Iterator<Item = (usize, &Request)>| -> BTreeSet<String> {
            requests.map(|(_, request)| request.headers["idempotency-key"].clone()).collect()
        };
        let is_taken = |(number, _): &(usize, &Request)| matches!(answer(*number), Answer::Status(200, _));
        let taken = keys(&mut requests.iter().enumerate().filter(is_taken));
        assert_eq!(taken, keys(&mut requests.iter().enumerate()), "the service has said yes to each");
        assert!(taken.len() < requests.len(), "some parts came again");
    }

    /// Checks all requests so far: those of a key are the same, and the records of all keys follow each other
    /// without a gap. Gives how many records there are.
    fn check(&self) -> u64 {
        let ledger = self.feed.ledger();
        assert!(ledger.faults.is_empty(), "{:?}", ledger.faults);
        let mut parts: BTreeMap<(i64, u32), String> = BTreeMap::new();
        for request in self.service.requests() {
            let place = place(&request.headers["idempotency-key"]);
            let before = parts.entry(place).or_insert_with(|| request.body.clone());
            assert_eq!(*before, request.body, "a repeat of {place:?}");
        }
        let mut next = 0;
        for (place, body) in &parts {
            for record in body.lines() {
                let mut words = record.split(' ');
                let expected = (Some(key(next)), Some(next.to_string()));
                let found = (words.next().map(str::to_owned), words.next().map(str::to_owned));
                assert_eq!(found, expected, "in {place:?}");
                next += 1;
            }
        }
        assert!(next <= ledger.sent, "{next} records of {} sent", ledger.sent);
        next
    }
}

/// The batch's time and the part's number in a key.
fn place(key: &str) -> (i64, u32) {
    let place = key.strip_prefix("trial-").and_then(|place| place.split_once('-'));
    let (time, part) = place.unwrap_or_else(|| panic!("{key:?} is no key"));
    (time.parse().unwrap(), part.parse().unwrap())
}

#[test]
fn a_service_gets_each_record_once_whenever_the_pipeline_is_killed() {
    let rounds = std::env::var("MILLSTREAM_CRASH_ROUNDS").map_or(ROUNDS, |rounds| rounds.parse().unwrap());
    let trial = Trial::new();
    for _ in 0..rounds {
        let process = trial.run();
        trial.end(process);
        trial.check();
    }
    let process = trial.start();
    trial.feed.wait_acknowledged(&process, 1_000);
    trial.end(process);
    trial.finish();
    assert!(trial.feed.ledger().acknowledged <= trial.check(), "what is acknowledged has arrived");
}

#[test]
fn a_service_gets_each_record_once_when_the_pipeline_ends_at_a_named_point() {
    let trial = Trial::new();
    for point in POINTS {
        let passes = 1 + trial.chance.below(4);
        let mut command = trial.project.command("run", &[]);
        let process = Process::start(command.env("MILLSTREAM_CRASH_AT", format!("{point}:{passes}")));
        process.killed_at(point);
        trial.check();
    }
    // Some batches may have had no records: until the service has not answered one request.
    let process = trial.start();
    trial.wait_requests(UNANSWERED);
    trial.end(process);
    trial.finish();
}

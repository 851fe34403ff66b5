//! States of another version, made beside the stream: `running-2` takes the place of `running-1` while words come.

use std::collections::BTreeMap;
use std::process::{Output, Stdio};

use millstream_platform::{MIGRATION_POINTS, UPGRADE_POINTS};
use serde_json::Value;

use super::generations;
use super::migration::pipeline;
use crate::process::{Process, until};
use crate::support::{Project, component, stderr, stdout};

/// Points of an upgrade that only those pass which wait for a function, or fail.
const NOT_PASSED: &[&str] = &["batch-reassigned", "going-back", "went-back"];

/// Words of a file.
const WORDS: usize = 400;

struct Stream {
    project: Project,
    /// Words that were given, as they are written.
    given: BTreeMap<String, i64>,
    files: usize,
}

impl Stream {
    fn new() -> Self {
        let project = Project::new(&pipeline("running-1", "", "50ms"));
        std::fs::create_dir(project.path("in")).unwrap();
        Self { project, given: BTreeMap::new(), files: 0 }
    }

    fn start(&self) -> Process {
        Process::start(&mut self.project.command("run", &[]))
    }

    /// Gives a file of words, many of which differ in their case alone, and some begin with `#`.
    fn give(&mut self, words: usize) {
        let start = self.files * 37;
        let word = |number: usize| {
            format!("{}{}", ["word-", "Word-", "WORD-", "#word-"][number % 4], (start + number / 2) % words)
        };
        let given: Vec<String> = (0..words).map(word).collect();
        self.write(&given);
    }

    /// Gives a file of these words.
    fn write(&mut self, given: &[String]) {
        self.files += 1;
        given.iter().for_each(|word| *self.given.entry(word.clone()).or_default() += 1);
        self.project.write(&format!("in/{:04}.txt", self.files), given.join("\n") + "\n");
    }

    /// Waits until all words that were given are in the states, of the first or the second version, and gives of which.
    fn counted(&self) -> u32 {
        let lowered = |words: &BTreeMap<String, i64>| {
            let mut lowered = BTreeMap::<String, i64>::new();
            for (word, count) in words.iter().filter(|(word, _)| !word.starts_with('#')) {
                *lowered.entry(word.to_lowercase()).or_default() += count;
            }
            lowered
        };
        let second = lowered(&self.given);
        until("all words in the states", || {
            let shown = self.project.run("state", &["counts", "--json"]);
            let rows = stdout(&shown);
            let rows = rows.lines().map(|line| serde_json::from_str::<Value>(line).unwrap());
            let count =
                |row: Value| (row["word"].as_str().unwrap().to_owned(), row["count"].as_i64().unwrap());
            let counts: BTreeMap<String, i64> = rows.map(count).collect();
            let versions = [(1, &self.given), (2, &second)];
            versions.into_iter().find(|(_, words)| **words == counts).map(|(version, _)| version)
        })
    }

    fn ask(&self, more: &[&str]) -> Output {
        let running = format!("running={}", component("running-2").display());
        self.project.run("upgrade", &[&[running.as_str()], more].concat())
    }
}

#[test]
fn states_are_migrated_beside_the_stream_and_no_word_is_lost_or_counted_twice() {
    let mut stream = Stream::new();
    let process = stream.start();
    stream.give(20_000);
    assert_eq!(stream.counted(), 1);
    let running = format!("running={}", component("running-2").display());
    let mut asking = stream.project.command("upgrade", &[&running, "--json"]);
    let mut asking = asking.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    while asking.try_wait().unwrap().is_none() && stream.files < 400 {
        stream.give(WORDS);
    }
    let asked = asking.wait_with_output().unwrap();
    assert!(asked.status.success(), "{}\n{}", stderr(&asked), process.log());
    let report: Value = serde_json::from_str(&stdout(&asked)).unwrap();
    let migrated = &report["migrated"][0];
    assert_eq!((&migrated["from"], &migrated["to"]), (&1.into(), &2.into()), "{report}");
    assert!(
        migrated["merged"].as_u64() > Some(1_000) && migrated["dropped"].as_u64() > Some(1_000),
        "{report}"
    );
    stream.give(WORDS);
    assert_eq!(stream.counted(), 2);
    process.stop();
    let process = stream.start();
    stream.give(WORDS);
    assert_eq!(stream.counted(), 2);
    until("the states before to be removed", || {
        stream.give(1);
        (generations(&stream.project).len() == 1).then_some(())
    });
    let log = process.stop();
    assert!(!log.contains("version 1 to 2"), "{log}");
}

#[test]
fn a_process_that_ends_anywhere_while_states_are_migrated_has_migrated_all_of_them_or_none() {
    let not_adopted = ["states-copied", "states-migrated", "version-kept", "upgrade-ready"];
    let points = MIGRATION_POINTS.iter().chain(UPGRADE_POINTS).filter(|point| !NOT_PASSED.contains(*point));
    for point in points {
        eprintln!("killed at {point}");
        let mut stream = Stream::new();
        let process = stream.start();
        stream.give(WORDS);
        assert_eq!(stream.counted(), 1);
        process.stop();
        let mut process =
            Process::start(stream.project.command("run", &[]).env("MILLSTREAM_CRASH_AT", point));
        stream.give(WORDS);
        assert_eq!(stream.counted(), 1);
        let asked = stream.ask(&[]);
        // The commit that names the new states is one of the batches that come.
        until("the end of the process", || {
            if asked.status.success() && !process.has_ended() {
                stream.give(1);
            }
            process.has_ended().then_some(())
        });
        process.killed_at(point);
        let process = stream.start();
        stream.give(WORDS);
        assert_eq!(stream.counted(), if not_adopted.contains(point) { 1 } else { 2 }, "{point}");
        process.stop();
    }
}

#[test]
fn a_shadow_run_of_other_states_leaves_nothing_behind_unless_it_is_promoted() {
    let mut stream = Stream::new();
    let process = stream.start();
    stream.give(WORDS);
    assert_eq!(stream.counted(), 1);
    let asked = stream.ask(&["--shadow", "3", "--promote", "--json"]);
    assert!(asked.status.success(), "batches without rows are the same: {}", stderr(&asked));
    let report: Value = serde_json::from_str(&stdout(&asked)).unwrap();
    assert_eq!(report["shadow"]["promoted"], true, "{report}");
    stream.give(WORDS);
    assert_eq!(stream.counted(), 2);
    process.stop();

    let mut stream = Stream::new();
    let process = stream.start();
    stream.give(WORDS);
    assert_eq!(stream.counted(), 1);
    let asked = stream.ask(&["--shadow", "3"]);
    assert!(asked.status.success(), "{}", stderr(&asked));
    assert_eq!(generations(&stream.project).len(), 1);
    stream.give(WORDS);
    assert_eq!(stream.counted(), 1);
    process.stop();
}

#[test]
fn a_version_that_fails_gives_the_states_before_back_with_all_that_came_meanwhile() {
    let points = [None, Some("going-back"), Some("went-back")];
    for point in points {
        eprintln!("killed at {point:?}");
        let mut stream = Stream::new();
        let mut process = stream.start();
        stream.give(WORDS);
        assert_eq!(stream.counted(), 1);
        if let Some(point) = point {
            process.stop();
            process = Process::start(stream.project.command("run", &[]).env("MILLSTREAM_CRASH_AT", point));
            stream.give(WORDS);
            assert_eq!(stream.counted(), 1);
        }
        let asked = stream.ask(&["--probation", "1000000"]);
        assert!(asked.status.success(), "{}", stderr(&asked));
        stream.give(WORDS);
        stream.give(WORDS);
        assert_eq!(stream.counted(), 2);
        assert_eq!(generations(&stream.project).len(), 2, "the states before are kept");
        stream.write(&["deadly".to_owned(), "Word-1".to_owned()]);
        let version = match point {
            None => {
                process.wait_for("goes on with the version before");
                assert_eq!(stream.counted(), 1);
                stream.give(WORDS);
                1
            }
            Some(point) => {
                process.killed_at(point);
                process = stream.start();
                if point == "going-back" {
                    // The version that failed has the batch again, fails on the word, and lets it be.
                    stream.given.remove("deadly");
                    2
                } else {
                    1
                }
            }
        };
        stream.give(WORDS);
        assert_eq!(stream.counted(), version, "{point:?}:\n{}", process.log());
        process.stop();
        let process = stream.start();
        stream.give(WORDS);
        assert_eq!(stream.counted(), version, "{point:?}:\n{}", process.log());
        process.stop();
    }
}

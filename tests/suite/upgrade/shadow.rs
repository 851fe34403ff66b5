//! Versions that run beside the one that runs, on the same batches, before they may take its place.

use std::path::Path;

use serde_json::Value;

use super::{tells, variant};
use crate::crash::feed::Feed;
use crate::process::{Process, until};
use crate::support::{Project, component, stderr, stdout};

/// Numbers as they were received, and how many there were so far.
const PIPELINE: &str = r#"
name = "shadowed"
batch-interval = "100ms"
block-interval = "10ms"
checkpoint = "checkpoint"

[plugins.text]
component = "{text}"

[sources.lines]
type = "socket"
address = "ADDRESS"
resume = true
max-rate = 20000

[streams.words]
from = "lines"
flat-map = "text.split-words"
[streams.numbers]
sql = "SELECT word FROM words WHERE word NOT LIKE 'k%'"
[streams.counted]
from = "numbers"
aggregate = { total = "count(*)", window = { length = "1000h" } }

[sinks.numbers]
from = "numbers"
type = "files"
path = "out/numbers"
format = "text"
[sinks.counted]
from = "counted"
type = "files"
path = "out/counted"
format = "json"
"#;

/// So many records are sent and not acknowledged, at most.
const WINDOW: u64 = 5_000;
/// Of so many numbers, the plugin `almost` makes another of one.
const CHANGED: u64 = 10_000;
/// Batches of a shadow run: some 40,000 numbers.
const BATCHES: u64 = 20;

struct Shadowing {
    project: Project,
    feed: Feed,
    process: Process,
}

/// What a shadow run came to.
struct Answer {
    code: Option<i32>,
    object: Value,
    told: String,
}

impl Shadowing {
    fn start() -> Self {
        let feed = Feed::start(WINDOW, 0);
        let project = Project::new(&PIPELINE.replace("ADDRESS", &feed.address().to_string()));
        let process = Process::start(&mut project.command("run", &[]));
        let shadowing = Self { project, feed, process };
        shadowing.go_on();
        shadowing
    }

    /// Lets the pipeline receive some more.
    fn go_on(&self) {
        self.feed.wait_acknowledged(&self.process, WINDOW);
    }

    fn shadow(&self, component: &Path, more: &[&str]) -> Answer {
        let text = format!("text={}", component.display());
        let batches = BATCHES.to_string();
        let asked = self.project.run("upgrade", &[&["--json", &text, "--shadow", &batches], more].concat());
        let object = serde_json::from_str(&stdout(&asked));
        let object =
            object.unwrap_or_else(|error| panic!("{error}: {}\n{}", stderr(&asked), self.process.log()));
        Answer { code: asked.status.code(), object, told: stderr(&asked) }
    }

    /// Expects that it is the component that runs.
    fn runs(&self, component: &Path) {
        let told = self.project.refused("upgrade", &[&format!("text={}", component.display())]);
        tells(&told, &["runs this already"]);
    }

    /// Ends the pipeline, and expects each number once.
    fn finish(self) {
        self.process.stop();
        let numbers = numbers(&self.project);
        let each_once = numbers.iter().map(|(number, _)| *number).eq(0..numbers.len() as u64);
        assert!(each_once, "a number is missing, or is there twice");
        assert!(numbers.len() as u64 >= self.feed.ledger().acknowledged);
    }
}

impl Answer {
    fn shadow(&self) -> &Value {
        &self.object["shadow"]
    }

    /// How many rows differ. Of all numbers that follow each other, those that end with 9999 do, and nothing else.
    fn differing(&self) -> u64 {
        let shadow = self.shadow();
        assert_eq!(shadow["batches"], BATCHES, "{shadow}");
        assert_eq!(shadow["failures"], Value::Array(vec![]), "{shadow}");
        // The total is a row of each batch.
        let numbers = shadow["rows"].as_u64().unwrap() - BATCHES;
        let Some(sink) = shadow["sinks"].get("numbers") else {
            assert!(numbers < CHANGED, "{shadow}");
            return 0;
        };
        assert_eq!(shadow["sinks"].as_object().unwrap().len(), 1, "{shadow}");
        let differing = sink["differing"].as_u64().unwrap();
        assert!((numbers / CHANGED..=numbers / CHANGED + 1).contains(&differing), "{shadow}");
        assert_eq!((&sink["only-before"], &sink["only-after"]), (&differing.into(), &differing.into()));
        let samples = sink["samples"].as_array().unwrap();
        assert_eq!(samples.len() as u64, 2 * differing.min(5), "{shadow}");
        for pair in samples.chunks(2) {
            let word = |sample: &Value| {
                let row: Value = serde_json::from_str(sample["row"].as_str().unwrap()).unwrap();
                row["word"].as_str().unwrap().to_owned()
            };
            assert_eq!((&pair[0]["side"], &pair[1]["side"]), (&"before".into(), &"after".into()), "{shadow}");
            assert_eq!(pair[0]["batch"], pair[1]["batch"], "{shadow}");
            assert!(word(&pair[0]).ends_with("9999"), "{shadow}");
            assert_eq!(word(&pair[1]), format!("{}!", word(&pair[0])));
        }
        differing
    }
}

/// The numbers that were put out so far, in their order, and whether they were changed.
fn numbers(project: &Project) -> Vec<(u64, bool)> {
    let number = |line: &String| {
        let digits = line.trim_end_matches('!');
        let number = digits.parse().unwrap_or_else(|_| panic!("{line:?} is no number"));
        (number, line.ends_with('!'))
    };
    let mut numbers: Vec<_> = project.lines("out/numbers").iter().map(number).collect();
    numbers.sort_unstable();
    numbers
}

#[test]
fn a_version_that_changes_one_row_in_ten_thousand_is_rejected_with_that_row() {
    let shadowing = Shadowing::start();
    let answer = until("a shadow run in which there is such a row", || {
        let answer = shadowing.shadow(&component("almost"), &["--promote"]);
        if answer.differing() > 0 {
            return Some(answer);
        }
        shadowing.project.done("rollback", &[]);
        None
    });
    assert_eq!(answer.code, Some(1), "{}", answer.told);
    assert_eq!(answer.shadow()["promoted"], false, "{}", answer.object);
    assert!(answer.told.contains("may (--allow-diff)"), "{}", answer.told);
    shadowing.runs(&component("text"));
    shadowing.go_on();
    assert!(numbers(&shadowing.project).iter().all(|(_, changed)| !changed), "nothing of it is written");
    shadowing.finish();
}

#[test]
fn a_version_that_gives_the_same_is_promoted_where_that_was_asked_for() {
    let shadowing = Shadowing::start();
    let same = variant(&shadowing.project, "text", 1);
    for (more, promoted) in [(&[][..], false), (&["--promote"], true)] {
        let answer = shadowing.shadow(&same, more);
        assert_eq!(answer.code, Some(0), "{} {}", answer.told, answer.object);
        let shadow = answer.shadow();
        assert_eq!(shadow["promoted"], promoted, "{}", answer.object);
        assert_eq!(shadow["sinks"].as_object().unwrap().len(), 0, "{}", answer.object);
        assert_eq!(answer.object["after"].is_i64(), promoted, "{}", answer.object);
        shadowing.go_on();
    }
    shadowing.runs(&same);
    shadowing.finish();
}

#[test]
fn a_version_whose_differences_are_allowed_is_promoted() {
    let shadowing = Shadowing::start();
    let answer = shadowing.shadow(&component("almost"), &["--promote", "--allow-diff", "1000000"]);
    assert_eq!(answer.code, Some(0), "{} {}", answer.told, answer.object);
    assert_eq!(answer.shadow()["promoted"], true, "{}", answer.object);
    answer.differing();
    until("a number that the new version has changed", || {
        numbers(&shadowing.project).iter().any(|(_, changed)| *changed).then_some(())
    });
    shadowing.finish();
}

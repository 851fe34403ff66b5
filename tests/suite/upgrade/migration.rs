//! States of another version, through the real program: `running-1` counts words as they are written, and `running-2` takes its states
//! over, in lower case, without those that begin with `#`.

use std::collections::BTreeMap;
use std::fmt::Write;

use millstream_platform::MIGRATION_POINTS;
use serde_json::Value;

use super::{generations, tells};
use crate::crash::trial::Chance;
use crate::process::Process;
use crate::support::{Project, stdout};

/// What a version of the plugin counts.
const PIPELINE: &str = r#"
name = "migrating"
batch-interval = "INTERVAL"
checkpoint = "checkpoint"

[plugins.running]
component = "{COMPONENT}"
LIMIT

[sources.lines]
type = "files"
path = "in/*.txt"

[streams.words]
from = "lines"
flat-map = "running.words"
[streams.counts]
from = "words"
update-state = { by = ["word"], function = "running.running" }

[sinks.counts]
from = "counts"
type = "files"
path = "out"
"#;
/// How many words there were, of all versions.
const EVER: &str = r#"
[streams.ever]
from = "words"
aggregate = { total = "count(*)", window = { length = "1000h" } }
[sinks.ever]
from = "ever"
type = "files"
path = "ever"
"#;

/// What the pipeline has to have in its states.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Model {
    /// Words as they are written, with their counts.
    First(BTreeMap<String, i64>),
    /// Words in lower case, with their counts and the most that came at once.
    Second(BTreeMap<String, (i64, i64)>),
}

impl Model {
    /// What the second version makes of the states that there are.
    fn migrate(&mut self) {
        let Self::First(words) = self else { return };
        let mut running = BTreeMap::<String, (i64, i64)>::new();
        for (word, count) in words.iter().filter(|(word, _)| !word.starts_with('#')) {
            let (sum, longest) = running.entry(word.to_lowercase()).or_default();
            (*sum, *longest) = (*sum + count, (*longest).max(*count));
        }
        *self = Self::Second(running);
    }

    /// A batch of words.
    fn add(&mut self, words: &[String]) {
        match self {
            Self::First(counts) => {
                words.iter().for_each(|word| *counts.entry(word.clone()).or_default() += 1);
            }
            Self::Second(running) => {
                let mut new = BTreeMap::<String, i64>::new();
                for word in words.iter().filter(|word| !word.starts_with('#')) {
                    *new.entry(word.to_lowercase()).or_default() += 1;
                }
                for (word, new) in new {
                    let (count, longest) = running.entry(word).or_default();
                    (*count, *longest) = (*count + new, (*longest).max(new));
                }
            }
        }
    }

    fn read(project: &Project) -> Self {
        let shown = project.done("state", &["counts", "--json"]);
        let rows: Vec<Value> =
            stdout(&shown).lines().map(|line| serde_json::from_str(line).unwrap()).collect();
        let number = |row: &Value, name: &str| row[name].as_i64().unwrap();
        let word = |row: &Value| row["word"].as_str().unwrap().to_owned();
        match rows.iter().any(|row| row.get("longest").is_some()) {
            false => Self::First(rows.iter().map(|row| (word(row), number(row, "count"))).collect()),
            true => {
                let of = |row: &Value| (word(row), (number(row, "count"), number(row, "longest")));
                Self::Second(rows.iter().map(of).collect())
            }
        }
    }
}

/// A pipeline whose versions follow each other, and what it was given.
struct Counting {
    project: Project,
    chance: Chance,
    model: Model,
    files: usize,
}

impl Counting {
    fn new() -> Self {
        let project = Project::new(&(pipeline("running-1", "", "1s") + EVER));
        Self { project, chance: Chance::new(), model: Model::First(BTreeMap::new()), files: 0 }
    }

    fn version(&self, component: &str, limit: &str) {
        self.project.write_pipeline(&(pipeline(component, limit, "1s") + EVER));
    }

    /// Adds a file with words of which many differ in their case alone, and some begin with `#`.
    fn give(&mut self, count: u64, numbers: u64) -> Vec<String> {
        let chance = &self.chance;
        let words = (0..count).map(|_| {
            let word = ["word", "Word", "WORD", "#word"][chance.below(4) as usize];
            format!("{word}-{}", chance.below(numbers))
        });
        let words: Vec<String> = words.collect();
        self.write(&words);
        words
    }

    fn write(&mut self, words: &[String]) {
        self.files += 1;
        let text = words.iter().fold(String::new(), |mut text, word| {
            writeln!(text, "{word}").unwrap();
            text
        });
        self.project.write(&format!("in/{:03}.txt", self.files), text);
    }

    /// Gives a batch of words, runs it, and compares the states; gives what was logged.
    fn run(&mut self, count: u64, numbers: u64) -> String {
        let words = self.give(count, numbers);
        let log = self.project.run_once();
        self.model.add(&words);
        self.check();
        log
    }

    fn crash_at(&self, point: &str) {
        let mut run = self.project.command("run", &["--once"]);
        Process::start(run.env("MILLSTREAM_CRASH_AT", point)).killed_at(point);
    }

    fn check(&self) {
        let found = Model::read(&self.project);
        let shown = |model: &Model| format!("{model:?}").chars().take(4_000).collect::<String>();
        assert!(found == self.model, "{}\nand not\n{}", shown(&found), shown(&self.model));
    }

    /// How many words the window of all has seen.
    fn ever(&self) -> i64 {
        self.project.rows("ever").last().unwrap()["total"].as_i64().unwrap()
    }
}

/// The pipeline with that component, and a line for its limits, whose batches come so often.
pub(super) fn pipeline(component: &str, limit: &str, interval: &str) -> String {
    PIPELINE.replace("COMPONENT", component).replace("LIMIT", limit).replace("INTERVAL", interval)
}

#[test]
fn a_start_with_another_version_migrates_and_one_that_is_killed_anywhere_has_done_all_of_it_or_nothing() {
    let in_batch = ["manifest-written", "states-written", "commit-written", "batch-published"];
    for point in MIGRATION_POINTS.iter().chain(&in_batch) {
        eprintln!("killed at {point}");
        let mut counting = Counting::new();
        counting.run(500, 150);
        let first = counting.model.clone();
        counting.version("running-2", "");
        let words = counting.give(300, 150);
        counting.crash_at(point);
        let is_committed = ["generation-committed", "commit-written", "batch-published"].contains(point);
        if is_committed {
            counting.model.migrate();
            counting.model.add(&words);
        }
        counting.check();
        let is_begun = is_committed || ["manifest-written", "states-written"].contains(point);
        if !is_begun {
            // The version before is free to go on.
            counting.version("running-1", "");
            counting.project.run_once();
            counting.model.add(&words);
            counting.check();
            counting.version("running-2", "");
        }
        counting.project.run_once();
        if !is_committed {
            // The words that the second version was given before it was killed, or those that the first one had.
            counting.model.migrate();
            if is_begun {
                counting.model.add(&words);
            }
        }
        assert_ne!(counting.model, first);
        counting.check();
        counting.run(100, 200);
        counting.run(100, 200);
        assert_eq!(generations(&counting.project).len(), 1, "{:?}", generations(&counting.project));
    }
}

#[test]
fn batches_that_were_begun_are_finished_by_their_versions_and_states_migrated_in_between() {
    let mut counting = Counting::new();
    counting.run(300, 100);
    let old = counting.give(200, 100);
    counting.crash_at("manifest-written");
    counting.version("running-2", "");
    let log = counting.project.run_once();
    tells(&log, &["finished by that", "states of \"counts\": version 1 to 2", "1 batches that had begun"]);
    counting.model.add(&old);
    counting.model.migrate();
    counting.check();
    // A batch of the second version, on states that are the first one's again, is begun; and a third goes on.
    let mut counting = Counting::new();
    counting.run(300, 100);
    counting.version("running-2", "");
    let new = counting.give(200, 100);
    counting.crash_at("manifest-written");
    counting.check();
    counting.version("running-2", "limit = { memory = \"32MiB\" }");
    let log = counting.project.run_once();
    tells(&log, &["finished by that", "version 1 to 2"]);
    counting.model.migrate();
    counting.model.add(&new);
    counting.check();
}

#[test]
fn a_version_that_takes_no_states_over_is_refused_and_the_one_before_goes_on() {
    let mut counting = Counting::new();
    counting.run(300, 100);
    counting.version("running-2", "");
    counting.model.migrate();
    let log = counting.run(200, 100);
    tells(&log, &["states of \"counts\": version 1 to 2"]);
    counting.version("running-1", "");
    let told = counting.project.refused("run", &["--once"]);
    tells(&told, &["\"counts\"", "version 2", "version 1", "#[migrate(from = 2)]"]);
    counting.check();
    counting.version("running-2", "");
    counting.run(100, 100);
}

#[test]
fn a_migration_that_fails_is_refused_with_the_key_and_the_version_before_goes_on() {
    let mut counting = Counting::new();
    let long = format!("Long{}", "x".repeat(900_000));
    counting.model.add(&[long.clone(), "a".to_owned()]);
    counting.write(&["a".to_owned(), long]);
    counting.project.run_once();
    counting.check();
    counting.version("running-2", "limit = { memory = \"3MiB\" }");
    let told = counting.project.refused("run", &["--once"]);
    tells(&told, &["\"counts\"", "from version 1", "word = \"Longxxx", "running.running", "as they were"]);
    assert!(told.len() < 10_000);
    counting.check();
    assert_eq!(generations(&counting.project), ["state"]);
    counting.version("running-1", "");
    counting.run(100, 100);
}

#[test]
fn fifty_thousand_states_are_migrated_and_windows_go_on() {
    let mut counting = Counting::new();
    let words: Vec<String> =
        (0..50_000).map(|number| format!("{}{}", ["w", "W"][number % 2], number / 2)).collect();
    counting.write(&words);
    counting.project.run_once();
    counting.model.add(&words);
    counting.check();
    counting.version("running-2", "");
    counting.model.migrate();
    let log = counting.run(10, 5);
    tells(&log, &["50,000 keys to 25,000 (25,000 merged, 0 dropped)"]);
    let tags = counting.ever() - 50_000;
    assert!((0..=10).contains(&tags), "the window of both versions has {tags} words of the second");
}

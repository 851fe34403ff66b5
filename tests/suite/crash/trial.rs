//! A pipeline that is ended in all sorts of ways, and must not lose, repeat or reorder a record.

use std::collections::BTreeMap;
use std::fmt::Write;
use std::path::Path;
use std::process::Command;

use millstream_platform::{Randomness, Seeded, SystemRandomness};
use serde_json::Value;

use super::feed::Feed;
use super::outputs::{Files, Numbers, Totals};
use crate::process::Process;
use crate::support::Project;

/// Records that are logged on their way, and files that are read again from where they are. A plugin counts.
const PIPELINE: &str = r#"
name = "trial"
batch-interval = "100ms"
block-interval = "10ms"
checkpoint = "checkpoint"
history = "64KiB"
max-batch-rows = 3000
SETTINGS

[plugins.hostile]
component = "{hostile}"

[sources.lines]
type = "socket"
address = "ADDRESS"
resume = true
[sources.files]
type = "files"
path = "in/*.txt"

WORDS
[streams.counted]
from = "lines"
map = "hostile.count"

[sinks.words]
from = "words"
type = "files"
path = "out/words"
[sinks.counted]
from = "counted"
type = "files"
path = "out/counted"
[sinks.files]
from = "files"
type = "files"
path = "out/files"
"#;

/// What is in it.
const INTERVAL: &str = "batch-interval = \"100ms\"";

/// The stream "words" without a plugin, as a plugin takes some time to start; and a window of all records so far.
const PLAIN: &str = r#"
[streams.words]
sql = "SELECT value AS word FROM lines"
[streams.windows]
from = "lines"
aggregate = { total = "count(*)", window = { length = "1000h" } }
[streams.totals]
sql = "SELECT CAST(total AS VARCHAR) AS total FROM windows"
[sinks.totals]
from = "totals"
type = "files"
path = "out/totals"
"#;

/// The stream "words" with words in it.
const SPLIT: &str = r#"
[plugins.text]
component = "{text}"
[streams.words]
from = "lines"
flat-map = "text.split-words"
"#;

pub(crate) struct Trial {
    pub(crate) project: Project,
    pub(crate) feed: Feed,
    pub(crate) chance: Chance,
    /// How the stream "words" is defined.
    definition: &'static str,
    words: Numbers,
    counted: Numbers,
    files: Files,
    totals: Totals,
    /// How many lines each file has.
    written: BTreeMap<u64, u64>,
}

/// Numbers by chance, all from one seed.
pub(crate) struct Chance(Seeded);

impl Chance {
    /// From the seed that `MILLSTREAM_SEED` gives, or another one each time.
    pub(crate) fn new() -> Self {
        let given = std::env::var("MILLSTREAM_SEED").ok();
        let seed =
            given.map_or_else(|| SystemRandomness.next_u64(), |seed| seed.parse().expect("MILLSTREAM_SEED"));
        eprintln!("MILLSTREAM_SEED={seed} plays this again");
        Self(Seeded::new(seed))
    }

    /// A number below that.
    pub(crate) fn below(&self, end: u64) -> u64 {
        self.0.next_u64() % end
    }
}

impl Trial {
    /// A new pipeline with such lines more in its file, whose feed has at most so many records on their way, each
    /// with so many bytes behind its number.
    pub(crate) fn new(settings: &str, window: u64, padding_bytes: usize) -> Self {
        Self::of(PLAIN, settings, Feed::start(window, padding_bytes), &std::env::temp_dir())
    }

    /// As [`Trial::new`], with a second plugin that splits the records into words.
    pub(crate) fn with_words(settings: &str, window: u64) -> Self {
        Self::of(SPLIT, settings, Feed::start(window, 0), &std::env::temp_dir())
    }

    /// As [`Trial::new`], in that folder.
    pub(crate) fn within(folder: &Path, settings: &str, window: u64, padding_bytes: usize) -> Self {
        Self::of(PLAIN, settings, Feed::start(window, padding_bytes), folder)
    }

    fn of(definition: &'static str, settings: &str, feed: Feed, folder: &Path) -> Self {
        let project = Project::within(folder, &pipeline(definition, settings, &feed));
        std::fs::create_dir(project.path("in")).unwrap();
        let out = project.path("out");
        Self {
            words: Numbers::new(out.join("words")),
            counted: Numbers::new(out.join("counted")),
            files: Files::new(out.join("files")),
            totals: Totals::new(out.join("totals")),
            written: BTreeMap::new(),
            chance: Chance::new(),
            definition,
            project,
            feed,
        }
    }

    pub(crate) fn command(&self) -> Command {
        self.project.command("run", &[])
    }

    pub(crate) fn start(&self) -> Process {
        Process::start(&mut self.command())
    }

    /// Lets a process receive so many records more, of which no batch takes any: the first batch of the next one has them.
    pub(crate) fn receive(&self, records: u64) {
        let text = std::fs::read_to_string(self.project.path("pipeline.toml")).unwrap();
        // No batch begins in its time.
        self.project.write("pipeline.toml", text.replace(INTERVAL, "batch-interval = \"1000h\""));
        let process = self.start();
        self.wait_acknowledged(&process, records);
        process.kill();
        self.project.write("pipeline.toml", text);
    }

    /// Changes the pipeline's file: another version of it runs from the next start on.
    pub(crate) fn change(&self, settings: &str) {
        self.project.write_pipeline(&pipeline(self.definition, settings, &self.feed));
    }

    /// Adds a file of so many lines.
    pub(crate) fn add_file(&mut self, name: &str, lines: u64) {
        let number = self.written.len() as u64;
        let text = (0..lines).fold(String::new(), |mut text, line| {
            writeln!(text, "{number} {line}").unwrap();
            text
        });
        self.project.write(&format!("in/{number:06}{name}.txt"), text);
        self.written.insert(number, lines);
    }

    /// Waits until so many records more are acknowledged.
    pub(crate) fn wait_acknowledged(&self, process: &Process, more: u64) {
        self.feed.wait_acknowledged(process, more);
    }

    /// Checks what is visible now, whatever the state of the pipeline: no record twice, none left out, all in order.
    pub(crate) fn check(&mut self) {
        if self.definition == SPLIT {
            self.words.check_words();
        } else {
            self.words.check_records();
        }
        self.counted.check_records();
        self.files.check();
        self.totals.check();
        let ledger = self.feed.ledger();
        assert!(ledger.faults.is_empty(), "{:?}", ledger.faults);
        for (name, numbers) in [("words", &self.words), ("counted", &self.counted)] {
            assert!(
                numbers.next <= ledger.sent,
                "{} records in {name} of {} sent",
                numbers.next,
                ledger.sent
            );
        }
    }

    /// Stops the pipeline that runs, and expects of its output all that it has acknowledged.
    pub(crate) fn stop(&mut self, process: Process) -> String {
        let log = process.stop();
        self.check();
        let ledger = self.feed.ledger();
        for (name, numbers) in [("words", &self.words), ("counted", &self.counted)] {
            let acknowledged = ledger.acknowledged;
            assert!(numbers.next >= acknowledged, "{} records in {name} of {acknowledged}", numbers.next);
        }
        log
    }

    /// Lets the pipeline come to its end, and expects all that it was given and nothing else, in rows and in counts.
    pub(crate) fn finish(&mut self) {
        self.feed.finish();
        self.project.run_once();
        self.check();
        let ledger = self.feed.ledger();
        assert!(ledger.acknowledged <= self.words.next, "{ledger:?}, and {} in the output", self.words.next);
        assert_eq!(self.words.next, self.counted.next, "records in both streams");
        let whole: BTreeMap<u64, u64> =
            self.written.iter().filter(|(_, lines)| **lines > 0).map(|(a, b)| (*a, *b)).collect();
        assert_eq!(self.files.next, whole, "the lines of each file");
        if self.definition == PLAIN {
            assert_eq!(self.totals.last, self.words.next, "records in the window of all");
        }
        for output in [&self.words.output, &self.counted.output, &self.files.output, &self.totals.output] {
            assert!(output.hidden().is_empty(), "left behind: {:?}", output.hidden());
        }
        let status = self.status();
        let records = self.words.next + self.written.values().sum::<u64>();
        assert_eq!(status["status"]["records"], records, "{status}");
        assert_eq!(status["status"]["accumulators"]["hostile.rows"], self.words.next, "{status}");
        assert_eq!(status["status"]["dead-letters"], 0, "{status}");
    }

    /// What `status --json` shows.
    pub(crate) fn status(&self) -> Value {
        self.project.status()
    }

    /// Batches that are visible.
    pub(crate) fn batches(&self) -> usize {
        self.words.output.times().len()
    }
}

fn pipeline(definition: &str, settings: &str, feed: &Feed) -> String {
    PIPELINE
        .replace("SETTINGS", settings)
        .replace("WORDS", definition)
        .replace("ADDRESS", &feed.address().to_string())
}

//! What a pipeline has written, held against what it was given.
//!
//! Batch folders are read once, in their order, and never again: they never change. The records of a source must continue
//! those of the batch before without a gap, which is that each is there exactly once and in order.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use super::feed::key;

/// One sink's folder.
pub(crate) struct Output {
    folder: PathBuf,
    /// Batches that were read.
    seen: BTreeSet<i64>,
}

/// The values of one batch.
struct Batch {
    time: i64,
    values: Vec<String>,
}

impl Output {
    pub(crate) fn new(folder: PathBuf) -> Self {
        Self { folder, seen: BTreeSet::new() }
    }

    /// The times of all batches that are visible now.
    pub(crate) fn times(&self) -> BTreeSet<i64> {
        let names = names(&self.folder).into_iter().filter(|name| !name.starts_with('.'));
        names.map(|name| name.parse().unwrap_or_else(|_| panic!("{name} is no batch's folder"))).collect()
    }

    /// What stays hidden in the folder.
    pub(crate) fn hidden(&self) -> Vec<String> {
        names(&self.folder).into_iter().filter(|name| name.starts_with('.')).collect()
    }

    /// The batches that came since the last call, whose times are all later than those before.
    fn read(&mut self) -> Vec<Batch> {
        let times = self.times();
        let gone: Vec<_> = self.seen.difference(&times).collect();
        assert!(gone.is_empty(), "batches are gone from {}: {gone:?}", self.folder.display());
        let new: Vec<i64> = times.difference(&self.seen).copied().collect();
        if let (Some(first), Some(last)) = (new.first(), self.seen.last()) {
            assert!(first > last, "batch {first} of {} came after {last}", self.folder.display());
        }
        let batch = |time: &i64| Batch { time: *time, values: values(&self.folder.join(time.to_string())) };
        let batches = new.iter().map(batch).collect();
        self.seen = times;
        batches
    }
}

/// The names in a folder; none, where it is not there.
fn names(folder: &Path) -> Vec<String> {
    let Ok(entries) = std::fs::read_dir(folder) else { return Vec::new() };
    entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect()
}

/// The values of all rows of a batch, each of one text column.
fn values(folder: &Path) -> Vec<String> {
    let mut values = Vec::new();
    for part in crate::support::entries(folder) {
        for line in std::fs::read_to_string(&part).unwrap().lines() {
            let value = line.split_once("\":\"").and_then(|(_, value)| value.strip_suffix("\"}"));
            let value = value.unwrap_or_else(|| panic!("{}: {line:?} is no row of one text", part.display()));
            values.push(value.to_owned());
        }
    }
    values
}

/// The records of a feed as one sink has them: how many there are.
pub(crate) struct Numbers {
    pub(crate) output: Output,
    pub(crate) next: u64,
}

impl Numbers {
    pub(crate) fn new(folder: PathBuf) -> Self {
        Self { output: Output::new(folder), next: 0 }
    }

    /// Checks the batches that came, each row a whole record.
    pub(crate) fn check_records(&mut self) {
        for batch in self.output.read() {
            let mut numbers: Vec<u64> = Vec::new();
            for value in &batch.values {
                let mut words = value.split(' ');
                let (Some(found), Some(number)) = (words.next(), words.next()) else { panic!("{value:?}") };
                numbers.push(number.parse().unwrap());
                assert_eq!(found, key(*numbers.last().unwrap()), "of {value:?}");
            }
            self.go_on(batch.time, numbers);
        }
    }

    /// Checks the batches that came, each row a word of a record: its key or its number.
    pub(crate) fn check_words(&mut self) {
        for batch in self.output.read() {
            let is_number = |word: &&String| word.starts_with(|first: char| first.is_ascii_digit());
            let is_key = |word: &&String| word.starts_with('k');
            let numbers: Vec<u64> =
                batch.values.iter().filter(is_number).map(|word| word.parse().unwrap()).collect();
            let mut keys: Vec<String> = batch.values.iter().filter(is_key).cloned().collect();
            let mut expected: Vec<String> = numbers.iter().copied().map(key).collect();
            keys.sort();
            expected.sort();
            assert_eq!(keys, expected, "the keys of batch {}", batch.time);
            self.go_on(batch.time, numbers);
        }
    }

    /// The records of a batch follow those of the batch before.
    fn go_on(&mut self, time: i64, mut numbers: Vec<u64>) {
        numbers.sort_unstable();
        let (first, next) = (self.next, self.next + numbers.len() as u64);
        if !numbers.iter().copied().eq(first..next) {
            let twice = numbers.windows(2).find(|pair| pair[0] == pair[1]);
            let folder = self.output.folder.display();
            panic!(
                "batch {time} in {folder}: {} records from {:?} to {:?}, where {first} comes next; twice: {twice:?}",
                numbers.len(),
                numbers.first(),
                numbers.last()
            );
        }
        self.next = next;
    }
}

/// How many records there were so far, as a window tells it in each batch.
pub(crate) struct Totals {
    pub(crate) output: Output,
    pub(crate) last: u64,
}

impl Totals {
    pub(crate) fn new(folder: PathBuf) -> Self {
        Self { output: Output::new(folder), last: 0 }
    }

    /// Checks the batches that came: each has one total, and no record has left it.
    pub(crate) fn check(&mut self) {
        for batch in self.output.read() {
            let [total] = batch.values.as_slice() else { panic!("batch {}: {:?}", batch.time, batch.values) };
            let total: u64 = total.parse().unwrap();
            assert!(total >= self.last, "batch {}: {total} records after {}", batch.time, self.last);
            self.last = total;
        }
    }
}

/// The records of many files as one sink has them: of each file, how many there are.
pub(crate) struct Files {
    pub(crate) output: Output,
    pub(crate) next: BTreeMap<u64, u64>,
}

impl Files {
    pub(crate) fn new(folder: PathBuf) -> Self {
        Self { output: Output::new(folder), next: BTreeMap::new() }
    }

    /// Checks the batches that came: each row is a file's number and a line's.
    pub(crate) fn check(&mut self) {
        for batch in self.output.read() {
            let mut lines: BTreeMap<u64, Vec<u64>> = BTreeMap::new();
            for value in &batch.values {
                let (file, line) = value.split_once(' ').unwrap();
                lines.entry(file.parse().unwrap()).or_default().push(line.parse().unwrap());
            }
            for (file, mut lines) in lines {
                lines.sort_unstable();
                let next = self.next.entry(file).or_default();
                let end = *next + lines.len() as u64;
                assert!(
                    lines.iter().copied().eq(*next..end),
                    "batch {}, file {file}: {} lines from {:?} to {:?}, where {next} comes next",
                    batch.time,
                    lines.len(),
                    lines.first(),
                    lines.last()
                );
                *next = end;
            }
        }
    }
}

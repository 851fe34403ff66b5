//! Swaps amid windows and states: each batch puts out what it would without them, as follows from the lines of all batches.

use std::collections::{BTreeMap, BTreeSet};

use millstream_platform::Seeded;
use serde_json::Value;

use super::variant;
use crate::process::{Process, until};
use crate::support::{Project, entries};

const PIPELINE: &str = r#"
name = "windows"
batch-interval = "100ms"
checkpoint = "checkpoint"
[plugins.text]
component = "{text}"
[sources.lines]
type = "files"
path = "in"
format = "csv"
schema = { key = "utf8", amount = "int64" }
[streams.amounts]
sql = "SELECT coalesce(key, '') AS key, coalesce(amount, 0) AS amount FROM lines"
[streams.sums]
from = "amounts"
update-state = { by = ["key"], function = "text.running-sum" }
[streams.aggregate]
from = "amounts"
aggregate = { by = ["key"], amount = "sum(amount)", window = { length = "700ms" } }
[streams.reduce]
from = "amounts"
reduce = { by = ["key"], function = "text.add", window = { length = "700ms" } }
[streams.inverse]
from = "amounts"
reduce = { by = ["key"], function = "text.add", inverse = "text.subtract", keep = "amount <> 0", window = { length = "700ms" } }
"#;
const LENGTH_MS: i64 = 700;
const SWAPS: u8 = 12;
/// Between two swaps, so that these are at all places of the windows' blocks.
const FILES: u64 = 3;

/// Amounts by key.
type Amounts = BTreeMap<String, i64>;

/// What a sink has written, batch by batch.
fn outputs(project: &Project, sink: &str) -> BTreeMap<i64, Vec<(String, i64)>> {
    let mut outputs = BTreeMap::new();
    for batch in entries(&project.path(sink)) {
        let mut rows = Vec::new();
        for part in entries(&batch) {
            for line in std::fs::read_to_string(part).unwrap().lines() {
                let row: Value = serde_json::from_str(line).unwrap();
                let amount = row.get("amount").or(row.get("sum")).and_then(Value::as_i64).unwrap();
                rows.push((row["key"].as_str().unwrap().to_owned(), amount));
            }
        }
        outputs.insert(batch.file_name().unwrap().to_str().unwrap().parse().unwrap(), rows);
    }
    outputs
}

fn total<'r>(rows: impl IntoIterator<Item = &'r (String, i64)>) -> Amounts {
    let mut amounts = Amounts::new();
    rows.into_iter().for_each(|(key, amount)| *amounts.entry(key.clone()).or_default() += amount);
    amounts
}

/// Puts a file with lines there, and waits until a batch has it.
fn feed(project: &Project, number: u64, chance: &Seeded) {
    let line = |_| format!("{},{}\n", ["a", "b", "c", "d"][chance.below(4) as usize], 1 + chance.below(9));
    let lines: String = (0..1 + chance.below(5)).map(line).collect::<String>() + "last,0\n";
    project.write(&format!("in/{number:06}.csv"), lines);
    let lasts = || {
        let amounts = outputs(project, "amounts");
        amounts.values().flatten().filter(|(key, _)| key == "last").count() as u64
    };
    until("the lines of a file", || (lasts() > number).then_some(()));
}

#[test]
fn windows_and_states_are_the_same_batch_by_batch_with_swaps_and_without() {
    let sink =
        |name: &str| format!("[sinks.{name}]\nfrom = \"{name}\"\ntype = \"files\"\npath = \"{name}\"\n");
    let sinks = ["amounts", "sums", "aggregate", "reduce", "inverse"];
    let project = Project::new(&(PIPELINE.to_owned() + &sinks.map(sink).concat()));
    for folder in sinks.iter().chain(&["in"]) {
        std::fs::create_dir_all(project.path(folder)).unwrap();
    }
    let (process, chance) = (Process::start(&mut project.command("run", &[])), Seeded::new(7));
    let mut files = 0..;
    for swap in 0..SWAPS {
        files.by_ref().take(FILES as usize).for_each(|number| feed(&project, number, &chance));
        let given = format!("text={}", variant(&project, "text", swap % 3).display());
        project.done("upgrade", &[&given]);
    }
    feed(&project, files.next().unwrap(), &chance);
    process.stop();
    check(sinks.map(|sink| outputs(&project, sink)));
}

/// Fails where a batch is not what its lines, and those of the batches before, come to.
fn check([amounts, sums, windows @ ..]: [BTreeMap<i64, Vec<(String, i64)>>; 5]) {
    let times: BTreeSet<i64> =
        windows.iter().flat_map(BTreeMap::keys).chain(amounts.keys()).copied().collect();
    assert!(times.len() > usize::from(SWAPS), "{times:?}");
    for time in times {
        let window = amounts.range(time - LENGTH_MS + 1..=time).flat_map(|(_, rows)| rows);
        let expected = total(window);
        for (of, found) in ["aggregate", "reduce", "inverse"].iter().zip(&windows) {
            let mut expected = expected.clone();
            if *of == "inverse" {
                expected.retain(|_, amount| *amount != 0);
            }
            let found = found.get(&time).cloned().unwrap_or_default();
            assert_eq!(found.into_iter().collect::<Amounts>(), expected, "{of} at {time}");
        }
        let keys: BTreeSet<&String> = amounts.get(&time).into_iter().flatten().map(|(key, _)| key).collect();
        let mut ever = total(amounts.range(..=time).flat_map(|(_, rows)| rows));
        ever.retain(|key, _| keys.contains(key));
        let found = sums.get(&time).cloned().unwrap_or_default();
        assert_eq!(found.into_iter().collect::<Amounts>(), ever, "sums at {time}");
    }
}

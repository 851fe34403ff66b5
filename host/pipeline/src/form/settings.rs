//! The keys of the pipeline itself.

use std::time::Duration;

use millstream_model::pipeline::{Backpressure, Pipeline, Probation};

use super::item::Item;
use super::section::Section;

const BLOCK_INTERVAL_MAX: Duration = Duration::from_millis(200);
/// More batches at once take more memory and are no faster.
const CONCURRENT_BATCHES_MAX: u64 = 64;
const ATTEMPTS_MAX: u64 = 1_000;
/// A version that is tried out for more batches than this takes its memory for longer than it can be of use.
pub const PROBATION_MAX: u32 = 1_000_000;

/// The pipeline of a file that says nothing: no name, nothing in it, and every setting at its default.
pub fn defaults() -> Pipeline {
    Pipeline {
        name: String::new(),
        batch_interval: Duration::from_secs(1),
        checkpoint: None,
        dead_letters: None,
        max_batch_rows: 4_000_000,
        receive_memory_bytes: 128 << 20,
        receive_disk_bytes: 4 << 30,
        block_interval: BLOCK_INTERVAL_MAX,
        concurrent_batches: 1,
        attempts: 2,
        continue_on_failure: false,
        every_missed_batch: false,
        backpressure: None,
        probation: Probation::default(),
        history_bytes: 256 << 20,
        state_memory_bytes: 1 << 30,
        table_memory_bytes: 256 << 20,
        plugins: Vec::new(),
        sources: Vec::new(),
        tables: Vec::new(),
        streams: Vec::new(),
        sinks: Vec::new(),
        tests: Vec::new(),
    }
}

pub(super) fn read(root: &mut Section<'_>, pipeline: &mut Pipeline) {
    let name = root.required("name", "add a line such as name = \"word-count\"");
    let interval = root.required("batch-interval", "add a line such as batch-interval = \"1s\"");
    pipeline.name = name.and_then(pipeline_name).unwrap_or_default();
    set(&mut pipeline.batch_interval, interval.and_then(Item::duration));
    pipeline.checkpoint = root.optional("checkpoint").and_then(Item::path).map(|path| path.value);
    pipeline.dead_letters = root.optional("dead-letters").and_then(Item::path).map(|path| path.value);
    receiving(root, pipeline);
    scheduling(root, pipeline);
}

/// A name that logs and terminals can show.
fn pipeline_name(item: Item<'_>) -> Option<String> {
    let name = item.string("a string such as \"word-count\"")?.value;
    if name.contains(char::is_control) {
        item.report("the name has a character that cannot be shown; use letters, digits and \"-\"");
    }
    Some(name)
}

/// How records are received and kept.
fn receiving(root: &mut Section<'_>, pipeline: &mut Pipeline) {
    set(&mut pipeline.max_batch_rows, root.optional("max-batch-rows").and_then(Item::quantity));
    set(&mut pipeline.receive_memory_bytes, root.optional("receive-memory").and_then(Item::size));
    set(&mut pipeline.receive_disk_bytes, root.optional("receive-disk").and_then(Item::size));
    set(&mut pipeline.history_bytes, root.optional("history").and_then(Item::size));
    set(&mut pipeline.state_memory_bytes, root.optional("state-memory").and_then(Item::size));
    set(&mut pipeline.table_memory_bytes, root.optional("table-memory").and_then(Item::size));
    pipeline.block_interval = BLOCK_INTERVAL_MAX.min(pipeline.batch_interval / 5);
    set(&mut pipeline.block_interval, root.optional("block-interval").and_then(Item::duration));
    pipeline.backpressure = root.optional("backpressure").and_then(backpressure);
}

/// When batches are cut, and what happens when one fails.
fn scheduling(root: &mut Section<'_>, pipeline: &mut Pipeline) {
    let concurrent =
        root.optional("concurrent-batches").and_then(|item| at_most(item, CONCURRENT_BATCHES_MAX));
    set(&mut pipeline.concurrent_batches, concurrent);
    let attempts = root.optional("attempts").and_then(|item| at_most(item, ATTEMPTS_MAX));
    set(&mut pipeline.attempts, attempts);
    let failure = root.optional("on-failure");
    let failure =
        failure.and_then(|item| item.choice("answer to a failure", &[("stop", false), ("continue", true)]));
    set(&mut pipeline.continue_on_failure, failure);
    let ways = [("one-batch", false), ("every-batch", true)];
    let catch_up = root.optional("catch-up").and_then(|item| item.choice("way to catch up", &ways));
    set(&mut pipeline.every_missed_batch, catch_up);
    set(&mut pipeline.probation, root.optional("upgrade").and_then(probation));
}

fn set<T>(setting: &mut T, value: Option<T>) {
    if let Some(value) = value {
        *setting = value;
    }
}

/// A count that is not above `most`.
fn at_most(item: Item<'_>, most: u64) -> Option<u32> {
    within(item, item.count()?, most)
}

fn within(item: Item<'_>, count: u64, most: u64) -> Option<u32> {
    let fits = u32::try_from(count).ok().filter(|_| count <= most);
    if fits.is_none() {
        item.report(format!("\"{}\" is at most {most}, and not {count}", item.key));
    }
    fits
}

/// `[upgrade]`
fn probation(item: Item<'_>) -> Option<Probation> {
    let mut section = item.section("\"upgrade\"".to_owned(), item.place)?;
    let mut settings = Probation::default();
    let batches = section
        .optional("probation")
        .and_then(|item| within(item, item.count_or_none()?, u64::from(PROBATION_MAX)));
    set(&mut settings.batches, batches);
    set(&mut settings.failures_max, section.optional("max-failures").and_then(Item::count_or_none));
    section.finish();
    Some(settings)
}

/// `true`, `false`, or the estimator's settings.
fn backpressure(item: Item<'_>) -> Option<Backpressure> {
    if !item.is_table() {
        return item.boolean()?.then(Backpressure::default);
    }
    let mut section = item.section("\"backpressure\"".to_owned(), item.place)?;
    let mut settings = Backpressure::default();
    set(&mut settings.proportional, section.optional("proportional").and_then(Item::fraction));
    set(&mut settings.integral, section.optional("integral").and_then(Item::fraction));
    set(&mut settings.derivative, section.optional("derivative").and_then(Item::fraction));
    if let Some(item) = section.optional("min-rate") {
        match item.fraction() {
            Some(0.0) => item.report("\"min-rate\" must be above zero"),
            rate => set(&mut settings.min_rate, rate),
        }
    }
    section.finish();
    Some(settings)
}

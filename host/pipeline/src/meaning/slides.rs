//! How often streams have a table: in each batch, or as often as a window of batches slides. One over event time looks at each
//! batch's watermark, so it has to see all of them, and has a table in each.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use millstream_model::pipeline::{Located, Operation, Pipeline, StreamSpec, WindowSpec};

use super::Faults;
use crate::diagnostic::Diagnostic;

/// From one table of each relation to the next.
pub(super) struct Slides {
    interval: Duration,
    of: BTreeMap<String, Duration>,
    /// What is the same at any time, and so goes with everything: the tables of the pipeline file.
    lasting: BTreeSet<String>,
}

impl Slides {
    pub(super) fn new(pipeline: &Pipeline) -> Self {
        let lasting = pipeline.tables.iter().map(|table| table.name.value.clone()).collect();
        Self { interval: pipeline.batch_interval, of: BTreeMap::new(), lasting }
    }

    /// Notes how often a stream has a table that reads `reads`.
    pub(super) fn add(&mut self, stream: &StreamSpec, reads: &[Located<String>]) -> Result<(), Faults> {
        let slide = self.common(reads)?;
        let slide = match window(&stream.operation.value) {
            None => slide,
            Some(WindowSpec { on: Some(on), .. }) if slide != self.interval => {
                let message = format!(
                    "a window over event time is made from streams with a table in every batch, and its input has one every {}; \
                     put it before the window of batches",
                    shown(slide)
                );
                return Err(vec![Diagnostic::new(on.place, message)]);
            }
            Some(WindowSpec { on: Some(_), .. }) => slide,
            Some(window) => {
                for duration in [window.length, window.slide] {
                    if !duration.as_nanos().is_multiple_of(slide.as_nanos()) {
                        let message = format!(
                            "the window's {} is no multiple of the {} from one table of its input to the next",
                            shown(duration),
                            shown(slide)
                        );
                        return Err(vec![Diagnostic::new(stream.operation.place, message)]);
                    }
                }
                window.slide
            }
        };
        self.of.insert(stream.name.value.clone(), slide);
        Ok(())
    }

    /// How often all of these have a table, which must be the same.
    fn common(&self, reads: &[Located<String>]) -> Result<Duration, Faults> {
        let slide = |name: &Located<String>| self.of.get(&name.value).copied().unwrap_or(self.interval);
        let mut reads = reads.iter().filter(|name| !self.lasting.contains(&name.value));
        let Some(first) = reads.next() else { return Ok(self.interval) };
        let differs = reads.find(|name| slide(name) != slide(first));
        match differs {
            None => Ok(slide(first)),
            Some(other) => {
                let message = format!(
                    "\"{first}\" has a table every {}, and \"{other}\" every {}; give them windows that slide alike",
                    shown(slide(first)),
                    shown(slide(other))
                );
                Err(vec![Diagnostic::new(other.place, message)])
            }
        }
    }
}

fn window(operation: &Operation) -> Option<&WindowSpec> {
    match operation {
        Operation::Window(window) => Some(window),
        Operation::Aggregate(aggregate) => aggregate.window.as_ref(),
        Operation::Reduce(reduce) => reduce.window.as_ref(),
        _ => None,
    }
}

fn shown(duration: Duration) -> String {
    format!("{}ms", duration.as_millis())
}

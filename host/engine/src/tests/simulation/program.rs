//! What the pipelines of the simulation compute: all rows, counted. Programs are compiled once and used for many seeds.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};

use arrow::array::RecordBatch;
use arrow::buffer::BooleanBuffer;
use async_trait::async_trait;
use millstream_model::{
    Accumulated, Answer, Answered, CallContext, Function, FunctionDescription, FunctionError,
};
use millstream_query::Program;
use millstream_state::States;

use super::super::lab;
use super::chance::PROGRAMS_MAX;
use super::numbering::Numbering;
use super::outside::Outside;
use crate::Programs;

/// The accumulator that counts all rows.
pub(super) const COUNTED: &str = "tally.rows";

/// Keeps all rows and counts them, and fails when it is to.
#[derive(Debug)]
struct Tally {
    description: FunctionDescription,
    failures: AtomicU64,
}

#[async_trait]
impl Function for Tally {
    fn description(&self) -> &FunctionDescription {
        &self.description
    }

    async fn call(&self, _context: CallContext, rows: RecordBatch) -> Result<Answered, FunctionError> {
        let less = |left: u64| left.checked_sub(1);
        if self.failures.fetch_update(Ordering::SeqCst, Ordering::SeqCst, less).is_ok() {
            let (function, reason) = ("tally".to_owned(), "it is to fail".to_owned());
            return Err(FunctionError::Broken { function, reason });
        }
        let rows = rows.num_rows();
        let added = Accumulated::from([(COUNTED.to_owned(), rows as i64)]);
        Ok(Answered { answer: Answer::Selection(BooleanBuffer::new_set(rows)), added })
    }
}

/// Programs that no batch runs with, by their inputs.
pub(super) struct Workshop {
    tally: Arc<Tally>,
    idle: BTreeMap<Vec<&'static str>, Idle>,
}

/// Programs for the same inputs.
type Idle = Arc<Mutex<Vec<Program>>>;

impl Workshop {
    pub(super) fn new() -> Self {
        let tally = Tally { description: lab::filter("tally"), failures: AtomicU64::new(0) };
        Self { tally: Arc::new(tally), idle: BTreeMap::new() }
    }

    /// The next so many calls fail.
    pub(super) fn fail(&self, calls: u64) {
        self.tally.failures.store(calls, Ordering::SeqCst);
    }

    /// What a life in `outside` is given its programs from.
    pub(super) async fn made(&mut self, outside: &Arc<Outside>, programs: usize) -> Made {
        match outside.numbered {
            true => Made::Numbering(Arc::clone(&self.tally) as Arc<dyn Function>, Arc::clone(outside)),
            false => Made::Kept(self.idle(outside, PROGRAMS_MAX).await, programs),
        }
    }

    /// At least `count` programs for the sources of `outside`: those that ran when a life was cut off are gone.
    async fn idle(&mut self, outside: &Outside, count: usize) -> Idle {
        let inputs = outside.sources();
        let idle = Arc::clone(self.idle.entry(inputs.clone()).or_default());
        let there = idle.lock().unwrap().len();
        for _ in there..count {
            let program = lab::program(Arc::clone(&self.tally) as Arc<dyn Function>, &inputs).await;
            idle.lock().unwrap().push(program);
        }
        idle
    }
}

/// What lives are given their programs from.
#[derive(Clone)]
pub(super) enum Made {
    /// Of those that are used for many seeds, so many.
    Kept(Idle, usize),
    /// One that keeps states, for each code anew: it is bound to the states of one life.
    Numbering(Arc<dyn Function>, Arc<Outside>),
}

impl Made {
    /// The programs of a code, and what they keep, in states of that version.
    pub(super) async fn programs(&self, inputs: &[&str], states: u32) -> (Programs, Arc<States>) {
        match self {
            Self::Kept(idle, count) => (Programs::borrowed(idle, *count), Arc::default()),
            Self::Numbering(function, outside) => {
                let (program, states) =
                    Numbering::program(Arc::clone(function), inputs, states, outside).await;
                (Programs::new(vec![program]), states)
            }
        }
    }

    /// The relation that sinks take.
    pub(super) fn wanted(&self) -> &'static str {
        match self {
            Self::Kept(..) => "out",
            Self::Numbering(..) => "numbered",
        }
    }
}

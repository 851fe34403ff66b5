//! The states of numbers in one version, made of those in another: a state that is migrated twice, or not, shows in the rows.

use std::sync::Arc;

use arrow::array::{ArrayRef, AsArray, Int64Array, RecordBatch, StringViewArray};
use arrow::datatypes::Int64Type;
use async_trait::async_trait;
use millstream_model::{FunctionError, Groups, Migrated, Migration, MigrationDescription, Schema};

use super::numbering::{key, offset, parts, spec};
use super::outside::Outside;

/// What the trace says of each call.
pub(super) const MIGRATED: &str = "states are migrated";

/// Takes over states of another version.
pub(super) struct Renumbering {
    to: u32,
    description: MigrationDescription,
    outside: Arc<Outside>,
}

impl Renumbering {
    pub(super) fn new(from: u32, to: u32, outside: &Arc<Outside>) -> Self {
        let description = MigrationDescription {
            version: from,
            keys: spec(from).key,
            state: spec(from).state,
            new_keys: spec(to).key,
            merges: true,
        };
        Self { to, description, outside: Arc::clone(outside) }
    }

    fn new_key(&self, old: &str) -> String {
        let said: Vec<&str> = old.split('/').collect();
        let [origin, part, version] = said[..] else { panic!("{old} is no key") };
        assert_eq!(version.parse(), Ok(self.description.version));
        key(origin, part.parse::<u32>().unwrap() % parts(self.to), self.to)
    }
}

impl std::fmt::Debug for Renumbering {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.description.fmt(f)
    }
}

fn table(schema: &Schema, column: ArrayRef) -> RecordBatch {
    RecordBatch::try_new(Arc::new(schema.to_arrow()), vec![column]).unwrap()
}

fn rows(states: &RecordBatch) -> &[i64] {
    states.column(0).as_primitive::<Int64Type>().values()
}

#[async_trait]
impl Migration for Renumbering {
    fn description(&self) -> &MigrationDescription {
        &self.description
    }

    async fn migrate(&self, keys: RecordBatch, states: RecordBatch) -> Result<Migrated, FunctionError> {
        let (from, to) = (self.description.version, self.to);
        self.outside.note(format_args!("{MIGRATED} from version {from} to {to}"));
        let old = keys.column(0).as_string_view();
        let new = old.iter().map(|old| self.new_key(old.unwrap()));
        let keys = table(&spec(to).key, Arc::new(StringViewArray::from_iter_values(new)));
        let shifted = rows(&states).iter().map(|state| state + offset(to) - offset(from));
        let shifted = table(&spec(to).state, Arc::new(Int64Array::from_iter_values(shifted)));
        Ok(Migrated { origins: (0..states.num_rows() as u32).collect(), keys, states: shifted })
    }

    async fn merge(&self, states: RecordBatch, groups: Groups) -> Result<RecordBatch, FunctionError> {
        let mut sums = vec![offset(self.to); groups.count as usize];
        for (group, state) in groups.of.iter().zip(rows(&states)) {
            sums[*group as usize] += state - offset(self.to);
        }
        Ok(table(&spec(self.to).state, Arc::new(Int64Array::from(sums))))
    }
}

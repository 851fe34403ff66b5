//! A stream with states: it gives each row the number that it has among the good records of its origin. A state that is
//! lost, kept twice or of another batch shows in the rows.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use arrow::array::{ArrayRef, AsArray, Int64Array, RecordBatch, StringViewArray};
use arrow::datatypes::{Int64Type, SchemaRef};
use async_trait::async_trait;
use millstream_model::{DataType, Field, Function, Migration, Schema};
use millstream_query::{Operator, OperatorContext, OperatorInput, Partitions, Program, QueryError};
use millstream_state::{KeyedSpec, KeyedTable, StateError, States};

use super::super::lab;
use super::outside::Outside;
use super::renumbering::Renumbering;

/// Numbers rows by what stands before their first colon.
pub(super) struct Numbering {
    version: u32,
    table: Arc<KeyedTable>,
    states: Arc<States>,
}

impl Numbering {
    /// A program that numbers what `function` leaves of its inputs, and the states that it keeps, of that version.
    pub(super) async fn program(
        function: Arc<dyn Function>,
        inputs: &[&str],
        version: u32,
        outside: &Arc<Outside>,
    ) -> (Program, Arc<States>) {
        let states = Arc::new(States::default());
        let migration = |from| Arc::new(Renumbering::new(from, version, outside)) as Arc<dyn Migration>;
        let migrations = (1..version).map(migration);
        let table = states.migrating("numbers", spec(version), migrations.collect());
        let mut relations = lab::relations(function, inputs).await;
        let numbering = Arc::new(Self { version, table, states: Arc::clone(&states) });
        relations.add_operator("numbered", OperatorInput::Rows("out".into()), numbering).await.unwrap();
        (Program::compile(&relations, &["numbered"], 1).await.unwrap(), states)
    }

    /// How many rows of each origin there were, in each of its parts.
    fn counts(&self, origins: &BTreeSet<&str>) -> Result<BTreeMap<(String, u32), i64>, StateError> {
        let parts =
            |origin: &&str| (0..parts(self.version)).map(|part| ((*origin).to_owned(), part)).collect();
        let wanted: Vec<(String, u32)> =
            origins.iter().flat_map(|origin| -> Vec<_> { parts(origin) }).collect();
        let keyed = self.table.table();
        let keys: ArrayRef = Arc::new(StringViewArray::from_iter_values(
            wanted.iter().map(|(origin, part)| key(origin, *part, self.version)),
        ));
        let found = keyed.encode_keys(&[keys])?;
        let found = keyed.lookup(&found.iter().map(|key| key.data()).collect::<Vec<_>>());
        let found = keyed.decode_states(found.iter())?;
        let found = found[0].as_primitive::<Int64Type>();
        let rows = found.iter().map(|state| state.map_or(0, |state| state - offset(self.version)));
        Ok(wanted.into_iter().zip(rows).collect())
    }

    fn stage(&self, counts: BTreeMap<(String, u32), i64>) -> Result<(), StateError> {
        let keyed = self.table.table();
        let keys: ArrayRef = Arc::new(StringViewArray::from_iter_values(
            counts.keys().map(|(origin, part)| key(origin, *part, self.version)),
        ));
        let rows: ArrayRef = Arc::new(Int64Array::from_iter_values(
            counts.into_values().map(|rows| rows + offset(self.version)),
        ));
        let (keys, rows) = (keyed.encode_keys(&[keys])?, keyed.encode_states(&[rows])?);
        self.states.stage(|change| {
            for (key, rows) in keys.iter().zip(rows.iter()) {
                change.keyed("numbers").put(key.data(), rows.data());
            }
        });
        Ok(())
    }

    fn numbered(&self, rows: &[&str]) -> Result<Vec<String>, StateError> {
        let mut counts = self.counts(&rows.iter().map(|row| origin(row)).collect())?;
        let mut numbered = Vec::new();
        for row in rows {
            let of_origin = counts.iter().filter(|((name, _), _)| name == origin(row));
            let number = of_origin.map(|(_, rows)| rows).sum::<i64>() + 1;
            let part = u32::try_from(number).unwrap() % parts(self.version);
            *counts.get_mut(&(origin(row).to_owned(), part)).expect("every origin was looked up") += 1;
            numbered.push(format!("{row}#{number}"));
        }
        self.stage(counts)?;
        Ok(numbered)
    }
}

/// The states of a version: every other counts an origin in two parts.
pub(super) fn spec(version: u32) -> KeyedSpec {
    let key = Schema::new([Field::new("origin", DataType::Utf8)]);
    let state = Schema::new([Field::new(format!("rows-{version}"), DataType::Int64)]);
    KeyedSpec { key, state, version }
}

pub(super) fn parts(version: u32) -> u32 {
    1 + version % 2
}

/// The key of a part, which tells states of one version from those of another.
pub(super) fn key(origin: &str, part: u32, version: u32) -> String {
    format!("{origin}/{part}/{version}")
}

/// What a state of a version is more than the rows that it counts.
pub(super) fn offset(version: u32) -> i64 {
    1_000 * i64::from(version)
}

fn origin(row: &str) -> &str {
    row.split(':').next().expect("a text has a first part")
}

#[async_trait]
impl Operator for Numbering {
    fn schema(&self) -> SchemaRef {
        lab::schema()
    }

    async fn run(
        &self,
        context: &OperatorContext,
        rows: Partitions,
    ) -> Result<Option<Partitions>, QueryError> {
        // A window tells by this what it has made of earlier batches from what an attempt at this one came to.
        assert!(self.states.applied() < Some(context.time()), "a batch runs when it is not applied yet");
        let rows: Vec<RecordBatch> = rows.into_iter().flatten().collect();
        let texts: Vec<&str> =
            rows.iter().flat_map(|rows| rows.column(0).as_string_view().iter().flatten()).collect();
        let numbered = self.numbered(&texts).map_err(|error| QueryError::Run {
            relation: "numbered".to_owned(),
            message: error.to_string(),
        })?;
        let column: ArrayRef = Arc::new(StringViewArray::from_iter_values(numbered));
        Ok(Some(vec![vec![RecordBatch::try_new(lab::schema(), vec![column]).unwrap()]]))
    }
}

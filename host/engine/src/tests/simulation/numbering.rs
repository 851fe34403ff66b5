//! A stream with states: it gives each row the number that it has among the good records of its origin. A state that is
//! lost, kept twice or of another batch shows in the rows.

use std::collections::BTreeMap;
use std::sync::Arc;

use arrow::array::{ArrayRef, AsArray, Int64Array, RecordBatch, StringViewArray};
use arrow::datatypes::{Int64Type, SchemaRef};
use async_trait::async_trait;
use millstream_model::{DataType, Field, Function, Schema};
use millstream_query::{Operator, OperatorContext, OperatorInput, Partitions, Program, QueryError};
use millstream_state::{KeyedSpec, KeyedTable, StateError, States};

use super::super::lab;

/// Numbers rows by what stands before their first colon.
pub(super) struct Numbering {
    table: Arc<KeyedTable>,
    states: Arc<States>,
}

impl Numbering {
    /// A program that numbers what `function` leaves of its inputs, and the states that it keeps.
    pub(super) async fn program(function: Arc<dyn Function>, inputs: &[&str]) -> (Program, Arc<States>) {
        let states = Arc::new(States::default());
        let key = Schema::new([Field::new("origin", DataType::Utf8)]);
        let state = Schema::new([Field::new("rows", DataType::Int64)]);
        let table = states.keyed("numbers", KeyedSpec { key, state, version: 1 });
        let mut relations = lab::relations(function, inputs).await;
        let numbering = Arc::new(Self { table, states: Arc::clone(&states) });
        relations.add_operator("numbered", OperatorInput::Rows("out".into()), numbering).await.unwrap();
        (Program::compile(&relations, &["numbered"], 1).await.unwrap(), states)
    }

    fn numbers(&self, origins: &[&str]) -> Result<BTreeMap<String, i64>, StateError> {
        let keyed = self.table.table();
        let keys: ArrayRef = Arc::new(StringViewArray::from_iter_values(origins));
        let found = keyed.encode_keys(&[keys])?;
        let found = keyed.lookup(&found.iter().map(|key| key.data()).collect::<Vec<_>>());
        let found = keyed.decode_states(found.iter())?;
        let found = found[0].as_primitive::<Int64Type>();
        Ok(origins
            .iter()
            .zip(found)
            .map(|(origin, rows)| ((*origin).to_owned(), rows.unwrap_or(0)))
            .collect())
    }

    fn stage(&self, numbers: BTreeMap<String, i64>) -> Result<(), StateError> {
        let keyed = self.table.table();
        let keys: ArrayRef = Arc::new(StringViewArray::from_iter_values(numbers.keys()));
        let rows: ArrayRef = Arc::new(Int64Array::from_iter_values(numbers.into_values()));
        let (keys, rows) = (keyed.encode_keys(&[keys])?, keyed.encode_states(&[rows])?);
        self.states.stage(|change| {
            for (key, rows) in keys.iter().zip(rows.iter()) {
                change.keyed("numbers").put(key.data(), rows.data());
            }
        });
        Ok(())
    }

    fn numbered(&self, rows: &[&str]) -> Result<Vec<String>, StateError> {
        let origins: Vec<&str> = rows.iter().map(|row| origin(row)).collect();
        let mut numbers = self.numbers(&origins)?;
        let mut numbered = Vec::new();
        for row in rows {
            let number = numbers.get_mut(origin(row)).expect("every origin was looked up");
            *number += 1;
            numbered.push(format!("{row}#{number}"));
        }
        self.stage(numbers)?;
        Ok(numbered)
    }
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

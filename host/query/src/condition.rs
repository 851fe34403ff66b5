//! A condition in SQL over the rows of one table.

use std::sync::Arc;

use arrow::array::{AsArray, BooleanArray, RecordBatch};
use arrow::datatypes::{DataType, SchemaRef};
use millstream_model::BatchTime;
use tokio::sync::Mutex;

use crate::QueryError;
use crate::batch::{CurrentBatch, Stopwatch};
use crate::input::{Rows, Slot};
use crate::relations::{Catalog, Meaning};
use crate::stage::{Plan, collect};

const ROWS: &str = "rows";

/// An SQL expression over columns that is true or not for each row.
pub struct Condition {
    run: Mutex<Run>,
}

struct Run {
    rows: Slot,
    plan: Plan,
    batch: CurrentBatch,
}

impl Condition {
    /// Over tables with these columns.
    ///
    /// # Errors
    /// `Sql` where it is no such expression.
    pub async fn compile(schema: SchemaRef, sql: &str) -> Result<Self, QueryError> {
        let (batch, rows) = (CurrentBatch::default(), Slot::default());
        let catalog = Catalog::new(1, batch.clone())?;
        catalog.add_leaf(ROWS, schema, rows.clone(), None)?;
        let query = format!("SELECT\n{sql}\nAS holds FROM {ROWS}");
        let plan = catalog.physical(catalog.plan(&Meaning::Sql(query), &[]).await?).await?;
        let schema = plan.physical.schema();
        match schema.fields().iter().as_slice() {
            [field] if *field.data_type() == DataType::Boolean => {
                Ok(Self { run: Mutex::new(Run { rows, plan, batch }) })
            }
            _ => {
                Err(QueryError::Sql { message: "it is no condition, true or false".to_owned(), place: None })
            }
        }
    }

    /// For each row whether the condition holds; a null counts as no.
    ///
    /// # Errors
    /// `Run` where the expression fails on a row.
    pub async fn holds(&self, time: BatchTime, rows: &RecordBatch) -> Result<BooleanArray, QueryError> {
        let run = self.run.lock().await;
        run.batch.begin(time, &Stopwatch::default());
        run.rows.fill(Arc::new(Rows(vec![rows.clone()])));
        let answered = collect(&run.plan, "condition").await;
        run.rows.clear();
        let answered = answered?;
        let values = answered.iter().flat_map(|rows| rows.column(0).as_boolean().iter());
        Ok(values.map(|holds| Some(holds == Some(true))).collect())
    }
}

//! Tables whose rows a test gives, in place of their files.

use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result};
use arrow::record_batch::RecordBatch;
use async_trait::async_trait;
use millstream_engine::{Table, TableBinding, TableError, TableRows};
use millstream_model::pipeline::{Given, TestSpec};
use millstream_pipeline::Checked;
use millstream_platform::{Clock, ManualClock};

use super::rows::from_rows;

/// A table as each batch sees it. The last rows stay.
struct GivenTable {
    batches: Vec<RecordBatch>,
    clock: ManualClock,
    interval: Duration,
}

/// The table that a test gives the rows of; otherwise the one that `binding` is.
pub(super) fn given(
    binding: TableBinding,
    checked: &Checked,
    test: &TestSpec,
    clock: &ManualClock,
) -> Result<TableBinding> {
    let name = &binding.name;
    let Some((_, batches)) =
        test.given.iter().find(|(table, batches)| table.value == *name && !batches.is_empty())
    else {
        return Ok(binding);
    };
    let schema = checked.relations.schema(name).with_context(|| format!("\"{name}\" is not defined"))?;
    let read = |batch: &Vec<Given>| {
        let rows: Vec<_> = batch.iter().filter_map(Given::row).cloned().collect();
        from_rows(&rows, &schema).with_context(|| format!("reading what \"{name}\" is given"))
    };
    let table = GivenTable {
        batches: batches.iter().map(read).collect::<Result<_>>()?,
        clock: clock.clone(),
        interval: checked.pipeline.batch_interval,
    };
    Ok(TableBinding { name: name.clone(), table: Arc::new(table), refresh: Some(Duration::ZERO) })
}

#[async_trait]
impl Table for GivenTable {
    async fn read(&self, known: Option<&str>, bytes_max: u64) -> Result<Option<TableRows>, TableError> {
        let elapsed = self.clock.elapsed().as_nanos() / self.interval.as_nanos().max(1);
        // Before the first batch there is what that is to see.
        let batch = usize::try_from(elapsed).unwrap_or(usize::MAX).clamp(1, self.batches.len());
        let (rows, stamp) = (self.batches[batch - 1].clone(), batch.to_string());
        let bytes = rows.get_array_memory_size() as u64;
        if bytes > bytes_max {
            return Err(TableError(format!("its {bytes} bytes are more than \"table-memory\" has left")));
        }
        Ok((known != Some(stamp.as_str())).then(|| TableRows { rows: vec![rows], bytes, stamp }))
    }
}

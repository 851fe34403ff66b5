//! Updates of states: lower, cross, check, lift.

use arrow::array::Array;
use arrow::buffer::BooleanBuffer;
use arrow::record_batch::RecordBatch;
use async_trait::async_trait;
use millstream_model::{
    Accumulated, CallContext, Fate, Field, FunctionDescription, FunctionError, Schema, Update, UpdateState,
    Updated,
};

use crate::callee::{Callee, lower_context};
use crate::contract::Outcome;
use crate::lift::{check_origins, lift};
use crate::lower::bits;

#[async_trait]
impl UpdateState for Callee {
    fn description(&self) -> &FunctionDescription {
        &self.description
    }

    async fn update(&self, context: CallContext, update: Update) -> Result<Updated, FunctionError> {
        let (keys, states) = (self.lower(&update.keys)?, self.lower(&update.states)?);
        let rows = self.lower(&update.rows)?;
        let (present, timed_out) = (bits(&update.present), bits(&update.timed_out));
        let (keys, states, rows) = (keys.table(), states.table(), rows.table());
        let given = rows.volume().and(keys.volume().bytes).and(states.volume().bytes);
        let input = (
            self.index,
            lower_context(context),
            keys,
            states,
            present.as_slice(),
            timed_out.as_slice(),
            update.starts.as_slice(),
            rows,
        );
        let check = |outcome| check(&self.description, outcome, &update.timed_out);
        let (updated, added) = self.cross(context, given, input, check).await?;
        Ok(Updated { added, ..updated })
    }
}

/// Believes an answer for the keys that `timed_out` has a bit for only if it is what the description says.
fn check(
    description: &FunctionDescription,
    outcome: Outcome,
    timed_out: &BooleanBuffer,
) -> Result<Updated, String> {
    let Outcome { fates, states, output, origins } = outcome;
    let keys = timed_out.len();
    let fates = check_fates(&fates, timed_out)?;
    if states.rows as usize != keys {
        return Err(format!("answered with {} states for {keys} keys; one for each is right", states.rows));
    }
    let states = lift(states, &loose(&description.state)).map_err(|wrong| format!("its states: {wrong}"))?;
    check_nulls(&states, &description.state, &fates)?;
    check_origins(&origins, output.rows as usize, keys, "keys")?;
    let output = lift(output, &description.output)?;
    Ok(Updated { fates, states, output, origins, added: Accumulated::new() })
}

fn check_fates(fates: &[u8], timed_out: &BooleanBuffer) -> Result<Vec<Fate>, String> {
    let keys = timed_out.len();
    if fates.len() != keys {
        return Err(format!("answered with {} fates for {keys} keys; one for each is right", fates.len()));
    }
    let fate = |(key, fate): (usize, &u8)| match fate {
        0 => Ok(Fate::Keep),
        1 if timed_out.value(key) => {
            Err(format!("sets the state of key {key}, which timed out and loses its state"))
        }
        1 => Ok(Fate::Put),
        2 => Ok(Fate::Remove),
        unknown => Err(format!("answered with the fate {unknown} for key {key}; 0, 1 and 2 are fates")),
    };
    fates.iter().enumerate().map(fate).collect()
}

/// The schema with nulls allowed everywhere.
fn loose(schema: &Schema) -> Schema {
    Schema::new(schema.fields.iter().map(|field| Field { nullable: true, ..field.clone() }))
}

/// Refuses a state that is to be put with a null where its description rules one out.
fn check_nulls(states: &RecordBatch, schema: &Schema, fates: &[Fate]) -> Result<(), String> {
    let strict = schema.fields.iter().zip(states.columns()).filter(|(field, _)| !field.nullable);
    for (field, column) in strict {
        let Some(nulls) = column.nulls() else { continue };
        let wrong = fates.iter().enumerate().find(|(key, fate)| **fate == Fate::Put && nulls.is_null(*key));
        if let Some((key, _)) = wrong {
            return Err(format!(
                "its states: column \"{}\": is null for key {key}, which its description rules out",
                field.name
            ));
        }
    }
    Ok(())
}

//! The table that a stream takes its first states from.

use arrow::datatypes::Schema as ArrowSchema;
use millstream_model::Field;
use millstream_model::pipeline::Located;
use millstream_operators::Initial;
use millstream_state::KeyedSpec;

use super::columns::{absent, type_name};
use super::{Faults, Meaning};
use crate::diagnostic::Diagnostic;
use crate::nearest;

impl Meaning<'_> {
    /// The states of `table` for the stream `stream`: the columns of the key and of the state by their names.
    pub(super) fn initial(
        &self,
        stream: &str,
        table: &Located<String>,
        spec: &KeyedSpec,
    ) -> Result<Initial, Faults> {
        let fault = |message: String| vec![Diagnostic::new(table.place, message)];
        let Some(loaded) = self.tables.get(&table.value) else {
            return Err(self.no_table(stream, table).into_iter().collect());
        };
        let schema = loaded.schema.to_arrow();
        let fields = spec.key.fields.iter().chain(&spec.state.fields);
        let columns = fields.map(|field| column(field, &table.value, &schema));
        let columns: Vec<usize> = columns.collect::<Result<_, _>>().map_err(|reason| {
            let wanted = format!("the states of \"{stream}\" are {} for each {}", spec.state, spec.key);
            fault(format!("{reason}; {wanted}"))
        })?;
        let initial = Initial::new(stream, &table.value, columns, &self.states);
        initial.check(spec, &loaded.rows).map_err(fault)?;
        Ok(initial)
    }

    /// What to say of a name that is no table's; nothing, where that is said already.
    fn no_table(&self, stream: &str, name: &Located<String>) -> Option<Diagnostic> {
        let is_defined = self.names.contains(&name.value);
        let is_broken = self.unusable.contains(&name.value) || !(is_defined || self.complete);
        let tables = self.pipeline.tables.iter().map(|table| table.name.value.as_str());
        let reason = match is_defined {
            true => "which is no table; load the states from a file with [tables.NAME]".to_owned(),
            false => format!("which does not exist{}", nearest::hint(&name.value, "tables", tables)),
        };
        let message = format!("stream \"{stream}\" begins with the states of \"{name}\", {reason}");
        (!is_broken).then(|| Diagnostic::new(name.place, message))
    }
}

/// The number of the column for a field of the key or the state.
fn column(field: &Field, table: &str, schema: &ArrowSchema) -> Result<usize, String> {
    let Ok(column) = schema.index_of(&field.name) else {
        return Err(absent(&field.name, table, schema));
    };
    let given = schema.field(column).data_type();
    if !field.data_type.accepts(given) {
        let (name, found) = (&field.name, type_name(given));
        return Err(format!(
            "the column \"{name}\" of \"{table}\" is {found}, and {} is needed",
            field.data_type
        ));
    }
    Ok(column)
}

//! Unions: the columns of all inputs are the same.

use millstream_model::pipeline::Located;
use millstream_query::Relations;

use super::Faults;
use super::columns::type_name;
use crate::diagnostic::Diagnostic;

pub(super) fn check(relations: &Relations, from: &[Located<String>]) -> Result<(), Faults> {
    let columns = |name: &str| {
        let schema = relations.schema(name)?;
        let column = |field: &arrow::datatypes::FieldRef| {
            format!("{}: {}", field.name(), type_name(field.data_type()))
        };
        Some(schema.fields().iter().map(column).collect::<Vec<_>>())
    };
    let Some((first, others)) = from.split_first() else {
        return Ok(());
    };
    let expected = columns(&first.value);
    let differs = |name: &&Located<String>| columns(&name.value) != expected;
    let fault = |name: &Located<String>| {
        let [first_columns, columns] =
            [&first.value, &name.value].map(|n| columns(n).unwrap_or_default().join(", "));
        let remedy = "bring them to the same columns in sql";
        let message =
            format!("\"{name}\" has other columns ({columns}) than \"{first}\" ({first_columns}); {remedy}");
        Diagnostic::new(name.place, message)
    };
    let faults: Vec<_> = others.iter().filter(differs).map(fault).collect();
    if faults.is_empty() { Ok(()) } else { Err(faults) }
}

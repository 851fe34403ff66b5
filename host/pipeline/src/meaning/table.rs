//! Tables: read whole, so that what is wrong with their files is known before anything runs.

use std::sync::Arc;

use millstream_model::pipeline::{Located, Place, TableSpec};

use super::Meaning;
use crate::{Components, LoadedTable};

impl Meaning<'_> {
    /// Reads every table, and defines it as an input of the program.
    pub(super) async fn add_tables(&mut self, components: &dyn Components) {
        let mut bytes_left = self.pipeline.table_memory_bytes;
        for table in &self.pipeline.tables {
            let name = &table.name;
            if !self.names.insert(name.value.clone()) {
                continue;
            }
            let loaded = components.table(table, bytes_left).await;
            let added = loaded.map_err(|reason| (table.path.place, reason.to_string())).and_then(|loaded| {
                bytes_left = bytes_left.saturating_sub(loaded.bytes);
                self.add_table(table, loaded)
            });
            if let Err((place, message)) = added {
                self.report(place, format!("table \"{name}\" cannot be read: {message}"));
                self.unusable.insert(name.value.clone());
            }
        }
    }

    fn add_table(&mut self, table: &TableSpec, loaded: LoadedTable) -> Result<(), (Place, String)> {
        let name = &table.name;
        let schema = Arc::new(loaded.schema.to_arrow());
        let added = self.relations.add_input(&name.value, schema);
        added.map_err(|error| (name.place, error.to_string()))?;
        self.tables.insert(name.value.clone(), loaded);
        Ok(())
    }

    pub(super) fn is_table(&self, name: &str) -> bool {
        self.pipeline.tables.iter().any(|table| table.name.value == name)
    }

    /// As [`Meaning::usable`], for what gives rows in each batch and so is no table.
    pub(super) fn flows(&mut self, use_of: &str, name: &Located<String>) -> bool {
        if !self.is_table(&name.value) || self.unusable.contains(&name.value) {
            return self.usable(use_of, name);
        }
        let query = format!("sql = 'SELECT ... JOIN {}'", super::sql::quoted(&name.value));
        let message =
            format!("{use_of} \"{name}\", which is a table; a table is joined in SQL, as in {query}");
        self.report(name.place, message);
        false
    }
}

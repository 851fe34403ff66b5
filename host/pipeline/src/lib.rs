//! The pipeline file, parsed and checked whole.
//!
//! A file is read in two steps. Its *form* is what the text alone can tell: TOML, keys, types, names. Its *meaning*
//! needs the components: what names refer to, what functions take and give, what SQL says of real columns.
//! Neither step stops at a mistake, and neither reports what follows from a mistake that is reported already:
//! a file's author sees all there is to mend at once, each with its place, its reason and its remedy.
//!
//! What [`check`] passes can run. It touches nothing outside but through [`Components`].

mod component;
mod diagnostic;
mod form;
mod meaning;
mod nearest;
mod place;
mod text;

#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::fmt;
use std::path::Path;
use std::sync::Arc;

use millstream_model::pipeline::Pipeline;
use millstream_query::Relations;
use millstream_state::States;

pub use component::{Component, Components, LoadError, LoadedTable};
pub use diagnostic::{Diagnostic, Diagnostics};
pub use form::{PROBATION_MAX, defaults};
pub use nearest::hint;
pub use text::{SELF, Text};

/// A pipeline that can run.
pub struct Checked {
    /// What the file says, with the columns of all tables.
    pub pipeline: Pipeline,
    /// Every source, table and stream, planned; [`Relations::schema`] tells their columns.
    pub relations: Relations,
    /// The tables that streams keep something in, to be bound to a store before the first batch.
    pub states: Arc<States>,
    /// The loaded components, by the names of their plugins in the file.
    pub components: BTreeMap<String, Arc<dyn Component>>,
}

impl fmt::Debug for Checked {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let plugins: Vec<_> = self.components.keys().collect();
        let mut checked = f.debug_struct("Checked");
        checked.field("pipeline", &self.pipeline).field("plugins", &plugins).finish_non_exhaustive()
    }
}

/// Reads a pipeline file's text and checks its form. Paths in it are taken relative to the folder of `file`.
pub fn parse(file: &Path, text: &str) -> Result<Pipeline, Diagnostics> {
    Text::new(file, text).parse()
}

/// Reads a pipeline file's text and checks its form and its meaning.
pub async fn check(file: &Path, text: &str, components: &dyn Components) -> Result<Checked, Diagnostics> {
    Text::new(file, text).check(components).await
}

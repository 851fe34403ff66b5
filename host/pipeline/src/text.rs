use std::path::{Path, PathBuf};

use millstream_model::pipeline::Pipeline;

use crate::diagnostic::Diagnostics;
use crate::place::Lines;
use crate::{Checked, Components, form, meaning};

/// The plugin that a component is in the pipeline that it carries.
pub const SELF: &str = "self";

/// The text of a pipeline, and what is known of it from elsewhere.
#[derive(Clone, Copy, Debug)]
pub struct Text<'t> {
    /// The file that it is in; paths are taken relative to its folder.
    pub file: &'t Path,
    /// What it says.
    pub text: &'t str,
    /// Whether the file is a component that carries the text, and is the plugin [`SELF`] in it.
    pub is_carried: bool,
    /// The folder of the journal and the states, in place of the one that the text names.
    pub checkpoint: Option<&'t Path>,
}

impl<'t> Text<'t> {
    /// The text of a pipeline file.
    pub fn new(file: &'t Path, text: &'t str) -> Self {
        Self { file, text, is_carried: false, checkpoint: None }
    }

    /// Reads the text and checks its form.
    pub fn parse(&self) -> Result<Pipeline, Diagnostics> {
        let draft = form::read(self, &Lines::new(self.text));
        if draft.diagnostics.is_empty() {
            Ok(draft.pipeline)
        } else {
            Err(Diagnostics::new(&self.name(), draft.diagnostics))
        }
    }

    /// Reads the text and checks its form and its meaning.
    pub async fn check(&self, components: &dyn Components) -> Result<Checked, Diagnostics> {
        let lines = Lines::new(self.text);
        let draft = form::read(self, &lines);
        let checked = meaning::check(&lines, draft, components).await;
        checked.map_err(|all| Diagnostics::new(&self.name(), all))
    }

    /// What places are of: the file, or the pipeline in it.
    pub fn name(&self) -> PathBuf {
        let mut name = self.file.as_os_str().to_owned();
        if self.is_carried {
            name.push(" (pipeline)");
        }
        PathBuf::from(name)
    }
}

use std::fmt;
use std::path::{Path, PathBuf};

use millstream_model::pipeline::Place;

/// Something to mend in a pipeline file.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Diagnostic {
    /// Where.
    pub place: Place,
    /// What is wrong, and the remedy.
    pub message: String,
}

impl Diagnostic {
    pub(crate) fn new(place: Place, message: impl Into<String>) -> Self {
        Self { place, message: message.into() }
    }
}

/// All there is to mend in a pipeline file, in the order of the file; never empty.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Diagnostics {
    /// The file.
    pub file: PathBuf,
    /// What is wrong with it.
    pub all: Vec<Diagnostic>,
}

impl Diagnostics {
    /// More than these are counted and not shown.
    pub const SHOWN_MAX: usize = 100;

    /// `all` of `file`, each once, in the order of the file.
    pub(crate) fn new(file: &Path, mut all: Vec<Diagnostic>) -> Self {
        all.sort();
        all.dedup();
        Self { file: file.to_owned(), all }
    }
}

impl std::error::Error for Diagnostics {}

impl fmt::Display for Diagnostics {
    /// A line each: `pipeline.toml:14:8: message`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let file = self.file.display();
        for (i, Diagnostic { place, message }) in self.all.iter().take(Self::SHOWN_MAX).enumerate() {
            let end = if i == 0 { "" } else { "\n" };
            write!(f, "{end}{file}:{}:{}: {message}", place.line, place.column)?;
        }
        match self.all.len().saturating_sub(Self::SHOWN_MAX) {
            0 => Ok(()),
            more => write!(f, "\nand {more} more"),
        }
    }
}

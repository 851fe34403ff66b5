//! The screen: where printed batches go.

use std::fmt;
use std::io::{self, Write};
use std::sync::{Arc, Mutex, PoisonError};

/// Where print sinks write, and in which form. Clones write to the same place, one whole batch at a time.
#[derive(Clone)]
pub struct Screen {
    output: Arc<Mutex<dyn Write + Send>>,
    json: bool,
}

impl Screen {
    /// The standard output; tables for people, or with `json` an object a line for programs.
    pub fn stdout(json: bool) -> Self {
        Self::new(io::stdout(), json)
    }

    /// Any other output.
    pub fn new(output: impl Write + Send + 'static, json: bool) -> Self {
        Self { output: Arc::new(Mutex::new(output)), json }
    }

    /// A screen that can be read: what is printed is appended to the answer's second part.
    pub fn buffer(json: bool) -> (Self, Arc<Mutex<Vec<u8>>>) {
        let buffer = Arc::new(Mutex::new(Vec::new()));
        (Self::new(Shared(Arc::clone(&buffer)), json), buffer)
    }

    pub(crate) fn is_json(&self) -> bool {
        self.json
    }

    /// Shows `text` at once, uninterrupted by other sinks.
    pub(crate) fn show(&self, text: &[u8]) -> io::Result<()> {
        let mut output = self.output.lock().unwrap_or_else(PoisonError::into_inner);
        output.write_all(text)?;
        output.flush()
    }
}

impl fmt::Debug for Screen {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Screen").field("json", &self.json).finish_non_exhaustive()
    }
}

struct Shared(Arc<Mutex<Vec<u8>>>);

impl Write for Shared {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

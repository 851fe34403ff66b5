//! Where records and rows go that cannot be processed: a file of JSON lines, or the log where there is none.
//!
//! The letters of a batch are on disk before its commit, and the commit says where the file ends with them. So after a
//! crash the letters of a batch that was not committed are cut off again, and each letter is there once.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use bytes::Bytes;
use millstream_model::{DeadLetter, FileEnd};
use millstream_platform::{Append, Disk, make_folder};

use crate::EngineError;
use crate::letter::Letter;

/// At this size the file is kept as `FILE.1`, in place of the one kept before, and a new one is begun. More than
/// the letters of one batch, so that a new file is shorter than one that is full.
const FILE_BYTES_MAX: u64 = 64 << 20;
/// Letters of a batch that the log shows when there is no file.
const LOGGED_MAX: usize = 5;

/// The dead letters of a pipeline.
pub struct DeadLetters {
    file: Option<LettersFile>,
}

struct LettersFile {
    disk: Arc<dyn Disk>,
    path: PathBuf,
    /// At this size it is replaced.
    bytes_max: u64,
    end: FileEnd,
    open: Option<Box<dyn Append>>,
}

impl DeadLetters {
    /// To be shown in the log.
    pub fn logged() -> Self {
        Self { file: None }
    }

    /// To be appended to the file at `path`.
    pub fn file(disk: Arc<dyn Disk>, path: PathBuf) -> Self {
        let (bytes_max, end) = (FILE_BYTES_MAX, FileEnd::default());
        Self { file: Some(LettersFile { disk, path, bytes_max, end, open: None }) }
    }

    /// The same, with a file that is replaced at another size.
    #[cfg(test)]
    pub(crate) fn replaced_at(mut self, bytes_max: u64) -> Self {
        self.file.as_mut().expect("only a file is replaced").bytes_max = bytes_max;
        self
    }

    /// Where the file ends.
    pub(crate) fn end(&self) -> FileEnd {
        self.file.as_ref().map(|file| file.end).unwrap_or_default()
    }

    /// Cuts off what was written behind `end`, the last commit's, for a batch that is pending. Where none is, nothing
    /// behind it was written by this pipeline since.
    pub(crate) async fn recover(&mut self, end: FileEnd, is_pending: bool) -> Result<(), EngineError> {
        match &mut self.file {
            Some(file) if !is_pending => {
                file.end.generation = end.generation;
                file.goes_on().await.map_err(|fault| file.fault(fault))
            }
            Some(file) => file.recover(end).await.map_err(|fault| file.fault(fault)),
            None => Ok(()),
        }
    }

    /// Keeps the letters of a batch; `uncounted` more were not kept.
    pub(crate) async fn write(&mut self, letters: &[Letter], uncounted: u64) -> Result<(), EngineError> {
        if uncounted > 0 {
            tracing::warn!("{uncounted} more rejected records were counted and not kept");
        }
        match &mut self.file {
            _ if letters.is_empty() => Ok(()),
            Some(file) => file.append(letters).await.map_err(|fault| file.fault(fault)),
            None => {
                log(letters);
                Ok(())
            }
        }
    }
}

impl LettersFile {
    fn fault(&self, source: io::Error) -> EngineError {
        EngineError::DeadLetters { path: self.path.clone(), source }
    }

    fn folder(&self) -> &Path {
        self.path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."))
    }

    /// The next letters come behind what is there.
    async fn goes_on(&mut self) -> io::Result<()> {
        self.end.bytes = self.length().await?.unwrap_or(0);
        Ok(())
    }

    async fn recover(&mut self, end: FileEnd) -> io::Result<()> {
        let length = self.length().await?.unwrap_or(0);
        // Nothing is added to a file that is large enough: where it has another length, it is the one in its place.
        let replaced = end.bytes > self.bytes_max && length != end.bytes;
        self.end = match replaced {
            true => FileEnd { generation: end.generation + 1, bytes: 0 },
            false => end,
        };
        match length > self.end.bytes {
            true => self.disk.truncate(&self.path, self.end.bytes).await,
            false => Ok(()),
        }
    }

    async fn length(&self) -> io::Result<Option<u64>> {
        match self.disk.length(&self.path).await {
            Err(fault) if fault.kind() == io::ErrorKind::NotFound => Ok(None),
            length => length.map(Some),
        }
    }

    async fn append(&mut self, letters: &[Letter]) -> io::Result<()> {
        if self.open.is_none() || self.end.bytes > self.bytes_max {
            self.open().await?;
        }
        let mut file = self.open.take().expect("it was opened above");
        let lines: String = letters.iter().map(Letter::line).collect();
        let bytes = lines.len() as u64;
        let written = match file.append(vec![Bytes::from(lines)]).await {
            Ok(()) => file.sync().await,
            Err(fault) => Err(fault),
        };
        if let Err(fault) = written {
            // What was written of them is cut off, and the file opened anew when it is tried again.
            self.disk.truncate(&self.path, self.end.bytes).await?;
            return Err(fault);
        }
        self.end.bytes += bytes;
        self.open = Some(file);
        Ok(())
    }

    async fn open(&mut self) -> io::Result<()> {
        self.open = None;
        let mut length = self.length().await?;
        if self.end.bytes > self.bytes_max && length.is_some() {
            self.disk.rename(&self.path, &self.path.with_added_extension("1")).await?;
            self.end = FileEnd { generation: self.end.generation + 1, bytes: 0 };
            length = None;
        }
        let file = match length {
            Some(length) => {
                // Without a journal, or moved away by somebody: it goes on where it ends.
                self.end.bytes = length;
                self.disk.append(&self.path).await?
            }
            None => {
                self.end.bytes = 0;
                make_folder(self.disk.as_ref(), self.folder()).await?;
                self.disk.create(&self.path).await?
            }
        };
        // A file that is there may have been made just before a crash: its name, too, may not be on disk yet.
        self.disk.sync_folder(self.folder()).await?;
        self.open = Some(file);
        Ok(())
    }
}

fn log(letters: &[Letter]) {
    for letter in &letters[..letters.len().min(LOGGED_MAX)] {
        let error = letter.error();
        match letter.record() {
            Some(DeadLetter { source, position, .. }) => {
                tracing::warn!(source, %position, "record rejected: {error}");
            }
            None => tracing::warn!("row rejected: {error}"),
        }
    }
    if letters.len() > LOGGED_MAX {
        tracing::warn!(
            "{} more records rejected; name a file `dead-letters` to keep them",
            letters.len() - LOGGED_MAX
        );
    }
}

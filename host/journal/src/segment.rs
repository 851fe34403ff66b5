//! Numbered files in a folder: their names, and how they are made so that a crash leaves none half in place.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use bytes::Bytes;
use millstream_platform::{Append, Disk};

use crate::JournalError;
use crate::frame::{self, Body, HEADER_BYTES, HeaderError, Kind};

const DIGITS: usize = 20;
const TEMPORARY: &str = ".tmp";
/// A new file is synced each time so much was written: syncs of other files, those of batches among them, may have to wait
/// until the disk has what one sync began with.
const SYNCED_BYTES: usize = 256 << 10;
/// A longer file is none of the journal's: it is not read into memory.
const FILE_BYTES_MAX: u64 = 4 << 30;

/// A folder of segments of one kind.
#[derive(Clone, Debug)]
pub(crate) struct Folder {
    pub(crate) disk: Arc<dyn Disk>,
    pub(crate) path: PathBuf,
    pub(crate) kind: Kind,
}

impl Folder {
    /// The folder of that kind in the checkpoint folder.
    pub(crate) fn new(disk: &Arc<dyn Disk>, checkpoint: &Path, kind: Kind) -> Self {
        Self::at(disk, checkpoint.join(kind.extension()), kind)
    }

    /// That folder, whatever its name is.
    pub(crate) fn at(disk: &Arc<dyn Disk>, path: PathBuf, kind: Kind) -> Self {
        Self { disk: Arc::clone(disk), path, kind }
    }

    /// The file of a segment.
    pub(crate) fn file(&self, number: u64) -> PathBuf {
        self.path.join(format!("{number:020}.{}", self.kind.extension()))
    }

    /// The file that a segment has until it is whole.
    pub(crate) fn temporary(&self, number: u64) -> PathBuf {
        self.path.join(format!("{number:020}.{}{TEMPORARY}", self.kind.extension()))
    }

    /// The numbers of the segments that are there, rising.
    pub(crate) async fn numbers(&self) -> Result<Vec<u64>, JournalError> {
        let mut numbers: Vec<u64> = self.names().await?.iter().filter_map(|name| self.number(name)).collect();
        numbers.sort_unstable();
        Ok(numbers)
    }

    /// The names of all that is in the folder: nothing, where there is no folder.
    pub(crate) async fn names(&self) -> Result<Vec<String>, JournalError> {
        match self.disk.list(&self.path).await {
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Vec::new()),
            listed => listed.map_err(|error| JournalError::of("listing", &self.path, error)),
        }
    }

    /// Removes what a crash left of segments that were not whole. Nobody may be making one.
    pub(crate) async fn remove_temporaries(&self) -> Result<(), JournalError> {
        self.remove_temporaries_through(u64::MAX).await
    }

    /// The same, of the segments up to `last`: those behind it may be in the making.
    pub(crate) async fn remove_temporaries_through(&self, last: u64) -> Result<(), JournalError> {
        for name in self.names().await? {
            let number = name.strip_suffix(TEMPORARY).and_then(|name| self.number(name));
            if number.is_some_and(|number| number <= last) {
                self.remove(&self.path.join(name)).await?;
            }
        }
        Ok(())
    }

    /// Removes a file, if it is still there: an earlier attempt may have failed and removed it nevertheless.
    pub(crate) async fn remove(&self, file: &Path) -> Result<(), JournalError> {
        match self.disk.remove(file).await {
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
            removed => removed.map_err(|error| JournalError::of("removing", file, error)),
        }
    }

    /// Waits until the names in the folder are on disk.
    pub(crate) async fn sync(&self) -> Result<(), JournalError> {
        let synced = self.disk.sync_folder(&self.path).await;
        synced.map_err(|error| JournalError::of_sync(&self.path, error))
    }

    /// The whole of a segment.
    pub(crate) async fn read(&self, number: u64) -> Result<Bytes, JournalError> {
        let file = self.file(number);
        if self.length(number).await? > FILE_BYTES_MAX {
            return Err(JournalError::damaged(&file, FILE_BYTES_MAX, "it is longer than any segment"));
        }
        self.disk.read(&file).await.map_err(|error| JournalError::of("reading", &file, error))
    }

    /// A part of a segment.
    pub(crate) async fn read_at(
        &self,
        number: u64,
        offset: u64,
        length: usize,
    ) -> Result<Bytes, JournalError> {
        let file = self.file(number);
        let read = self.disk.read_at(&file, offset, length).await;
        read.map_err(|error| match error.kind() {
            io::ErrorKind::UnexpectedEof => JournalError::damaged(&file, offset, "it ends too early"),
            _ => JournalError::of("reading", &file, error),
        })
    }

    /// The length of a segment in bytes.
    pub(crate) async fn length(&self, number: u64) -> Result<u64, JournalError> {
        let file = self.file(number);
        self.disk.length(&file).await.map_err(|error| JournalError::of("measuring", &file, error))
    }

    /// Puts a segment in its place, durably and at once: header and `content`, or what was there before.
    pub(crate) async fn replace(&self, number: u64, content: Vec<Bytes>) -> Result<(), JournalError> {
        let temporary = self.temporary(number);
        let made = self.write_new(&temporary, number, content).await;
        if let Err(error) = made {
            self.discard(&temporary).await;
            return Err(error);
        }
        let file = self.file(number);
        let renamed = self.disk.rename(&temporary, &file).await;
        renamed.map_err(|error| JournalError::of("renaming a new segment to", &file, error))?;
        self.sync().await
    }

    /// Opens a segment that is whole, to append to it.
    pub(crate) async fn append(&self, number: u64) -> Result<Box<dyn Append>, JournalError> {
        let file = self.file(number);
        self.disk.append(&file).await.map_err(|error| JournalError::of("opening", &file, error))
    }

    /// The error of a file that is not what it should be.
    pub(crate) fn damaged(&self, number: u64, offset: u64, what: impl Into<String>) -> JournalError {
        JournalError::damaged(&self.file(number), offset, what)
    }

    /// Checks that `bytes` begin with the header of that segment.
    pub(crate) fn check_header(&self, number: u64, bytes: &[u8]) -> Result<(), JournalError> {
        frame::check_header(self.kind, number, bytes).map_err(|error| match error {
            HeaderError::Damaged(what) => self.damaged(number, 0, what),
            HeaderError::Newer(format) => {
                JournalError::Newer { file: self.file(number), format, newest: frame::FORMAT }
            }
        })
    }

    /// Removes a file that never became a segment, where that can be done.
    pub(crate) async fn discard(&self, file: &Path) {
        if let Err(error) = self.disk.remove(file).await
            && error.kind() != io::ErrorKind::NotFound
        {
            tracing::warn!(file = %file.display(), %error, "cannot remove an unfinished file");
        }
    }

    async fn write_new(&self, file: &Path, number: u64, content: Vec<Bytes>) -> Result<(), JournalError> {
        self.remove(file).await?;
        let created = self.disk.create(file).await;
        let mut end = created.map_err(|error| JournalError::of("creating", file, error))?;
        let mut buffers = vec![frame::header(self.kind, number)];
        buffers.extend(content);
        for piece in pieces(buffers) {
            end.append(piece).await.map_err(|error| JournalError::of("writing", file, error))?;
            end.sync().await.map_err(|error| JournalError::of_sync(file, error))?;
        }
        Ok(())
    }

    fn number(&self, name: &str) -> Option<u64> {
        let digits = name.strip_suffix(self.kind.extension())?.strip_suffix('.')?;
        let is_number = digits.len() == DIGITS && digits.bytes().all(|byte| byte.is_ascii_digit());
        digits.parse().ok().filter(|_| is_number)
    }
}

/// `buffers` in pieces of [`SYNCED_BYTES`].
fn pieces(buffers: Vec<Bytes>) -> Vec<Vec<Bytes>> {
    let (mut pieces, mut piece, mut room) = (Vec::new(), Vec::new(), SYNCED_BYTES);
    for mut buffer in buffers {
        while buffer.len() > room {
            piece.push(buffer.split_to(room));
            pieces.push(std::mem::take(&mut piece));
            room = SYNCED_BYTES;
        }
        room -= buffer.len();
        piece.push(buffer);
    }
    pieces.push(piece);
    pieces
}

/// Makes a folder, so that it and those made above it are on disk under their names.
pub(crate) async fn make_folder(disk: &dyn Disk, folder: &Path) -> Result<(), JournalError> {
    let made = millstream_platform::make_folder(disk, folder).await;
    made.map_err(|error| JournalError::of("making the folder", folder, error))
}

/// Buffers with the frames of `bodies`, to stand right behind the header of a file that appears whole, and where they end.
pub(crate) fn first_frames<'a>(number: u64, bodies: impl IntoIterator<Item = &'a Body>) -> (Vec<Bytes>, u64) {
    let mut buffers = Vec::new();
    let mut end = HEADER_BYTES as u64;
    for body in bodies {
        end += body.frame(number, end, end, &mut buffers);
    }
    (buffers, end)
}

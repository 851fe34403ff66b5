//! What is the matter with the files of a journal.

use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use bytes::Bytes;
use millstream_model::Lane;
use millstream_platform::Disk;

use crate::JournalError;
use crate::frame::{self, Frame, Frames, HEADER_BYTES, HeaderError, Kind};
use crate::log::recover::fold;
use crate::mend::plan;
use crate::segment::Folder;
use crate::wal::recover::find;

/// All files of a journal, and what opening it would say.
#[derive(Clone, Debug)]
pub struct Report {
    /// The segments of the batch log and then those of the write-ahead log, in order.
    pub files: Vec<FileReport>,
    /// How many records of each lane are lost: a repair leaves a note in their place.
    pub lost: Vec<(Lane, u64)>,
    /// Whether the journal can be opened.
    pub verdict: Verdict,
}

/// Whether a journal can be opened.
#[derive(Clone, Debug)]
pub enum Verdict {
    /// It is whole.
    Whole,
    /// A crash left something unfinished, which is cut when it is opened.
    Torn,
    /// It is refused, and this is why.
    Refused(JournalError),
}

/// One segment.
#[derive(Clone, Debug)]
pub struct FileReport {
    /// Its file.
    pub file: PathBuf,
    /// The format that its header names, if that is whole.
    pub format: Option<u32>,
    /// Its length.
    pub bytes: u64,
    /// Frames in it that are whole.
    pub records: u64,
    /// Where there are none, though it is not the end.
    pub damages: Vec<Damage>,
    /// Where it was put before it was replaced by what could be saved.
    pub kept_as: Option<PathBuf>,
}

/// Bytes of a file that are not what was written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Damage {
    /// Where they begin.
    pub offset: u64,
    /// How many there are up to the next whole record.
    pub bytes: u64,
    /// What is wrong with them.
    pub what: String,
}

impl fmt::Display for Verdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Whole => f.write_str("whole"),
            Self::Torn => f.write_str("whole up to where a crash tore it; that is cut when it is opened"),
            Self::Refused(error) => write!(f, "refused: {error}"),
        }
    }
}

/// Looks at every file of the journal in a checkpoint folder, and writes nothing.
///
/// # Errors
/// `Disk` where a file cannot be read. What is wrong with what is in it is in the report.
pub async fn examine(disk: Arc<dyn Disk>, folder: &Path) -> Result<Report, JournalError> {
    let log = Folder::new(&disk, folder, Kind::Log);
    let wal = Folder::new(&disk, folder, Kind::Wal);
    let (logs, wals) = (scan(&log).await?, scan(&wal).await?);
    let of_log = logs.iter().map(|segment| segment.report(&log));
    let files = of_log.chain(wals.iter().map(|segment| segment.report(&wal))).collect();
    let lost = plan(&logs, &wals)?.lost.into_iter().collect();
    Ok(Report { files, lost, verdict: judge(&log, &wal).await? })
}

/// All segments in a folder.
pub(crate) async fn scan(folder: &Folder) -> Result<Vec<Scanned>, JournalError> {
    let mut scanned = Vec::new();
    for number in folder.numbers().await? {
        scanned.push(Scanned::new(folder.kind, number, folder.read(number).await?));
    }
    Ok(scanned)
}

/// What opening the journal would say.
async fn judge(log: &Folder, wal: &Folder) -> Result<Verdict, JournalError> {
    let judged = async {
        let folded = fold(log).await?;
        let found = find(wal, &folded.ledger).await?;
        Ok(folded.is_torn() || found.is_torn())
    };
    match judged.await {
        Ok(true) => Ok(Verdict::Torn),
        Ok(false) => Ok(Verdict::Whole),
        Err(error @ (JournalError::Damaged { .. } | JournalError::Newer { .. })) => {
            Ok(Verdict::Refused(error))
        }
        Err(error) => Err(error),
    }
}

/// Whatever is whole in a file.
pub(crate) struct Scanned {
    pub(crate) number: u64,
    pub(crate) header: Result<(), HeaderError>,
    pub(crate) frames: Vec<Frame>,
    pub(crate) damages: Vec<Damage>,
    bytes: u64,
}

impl Scanned {
    pub(crate) fn new(kind: Kind, number: u64, file: Bytes) -> Self {
        let bytes = file.len() as u64;
        let header = frame::check_header(kind, number, &file);
        let mut scanned = Self { number, header, frames: Vec::new(), damages: Vec::new(), bytes };
        if let Err(HeaderError::Damaged(what)) = &scanned.header {
            let bytes = bytes.min(HEADER_BYTES as u64);
            scanned.damages.push(Damage { offset: 0, bytes, what: (*what).to_owned() });
        }
        if !matches!(scanned.header, Err(HeaderError::Newer(_))) {
            scanned.scan(Frames::new(number, file));
        }
        scanned
    }

    fn scan(&mut self, mut frames: Frames) {
        while let Some(frame) = frames.next() {
            match frame {
                Ok(frame) => self.frames.push(frame),
                Err(tear) => {
                    let bytes = frames.resume().unwrap_or(self.bytes) - tear.offset;
                    self.damages.push(Damage { offset: tear.offset, bytes, what: tear.what.to_owned() });
                }
            }
        }
    }

    pub(crate) fn report(&self, folder: &Folder) -> FileReport {
        FileReport {
            file: folder.file(self.number),
            format: match self.header {
                Ok(()) => Some(frame::FORMAT),
                Err(HeaderError::Newer(format)) => Some(format),
                Err(HeaderError::Damaged(_)) => None,
            },
            bytes: self.bytes,
            records: self.frames.len() as u64,
            damages: self.damages.clone(),
            kept_as: None,
        }
    }
}

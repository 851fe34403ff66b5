//! Making a journal that is damaged one that can be opened, with what can be saved.
//!
//! Each file that has to change is first copied to `NAME.damaged`, and then replaced as a whole, so that a crash at any
//! point leaves the damaged file or the repaired one, and a repair that is begun again goes on. In the write-ahead log,
//! entries say which records are lost, so that numbers stay without gaps. In the batch log, what the records that are
//! left reveal about those that are lost is written down as a snapshot.

use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use bytes::Bytes;
use millstream_platform::Disk;

use crate::JournalError;
use crate::frame::{Body, Kind};
use crate::mend::plan;
use crate::report::{Report, Verdict, examine, scan};
use crate::segment::{Folder, first_frames};

/// Repairs the journal in a checkpoint folder that no host uses, and reports what was found and what was lost.
///
/// # Errors
/// `Newer` where a newer program wrote it, and nothing was changed; `Full` and `Disk` where a file cannot be written: the
/// repair can be begun again.
pub async fn repair(disk: Arc<dyn Disk>, folder: &Path) -> Result<Report, JournalError> {
    let log = Folder::new(&disk, folder, Kind::Log);
    let wal = Folder::new(&disk, folder, Kind::Wal);
    let mut report = examine(Arc::clone(&disk), folder).await?;
    if let Verdict::Refused(error @ JournalError::Newer { .. }) = report.verdict {
        return Err(error);
    }
    let plan = plan(&scan(&log).await?, &scan(&wal).await?)?;
    let mut kept = BTreeMap::new();
    for (folder, mended) in [(&log, plan.log), (&wal, plan.wal)] {
        for (number, bodies) in mended {
            kept.insert(folder.file(number), replace(folder, number, &bodies).await?);
        }
    }
    for file in &mut report.files {
        file.kept_as = kept.remove(&file.file).flatten();
    }
    report.verdict = examine(disk, folder).await?.verdict;
    Ok(report)
}

/// Keeps the file under another name and puts a new one in its place.
async fn replace(folder: &Folder, number: u64, bodies: &[Body]) -> Result<Option<PathBuf>, JournalError> {
    let file = folder.file(number);
    let kept = match folder.disk.read(&file).await {
        Err(error) if error.kind() == io::ErrorKind::NotFound => None,
        read => {
            let bytes = read.map_err(|error| JournalError::of("reading", &file, error))?;
            Some(keep(folder, &file, bytes).await?)
        }
    };
    let (buffers, _) = first_frames(number, bodies);
    folder.replace(number, buffers).await?;
    Ok(kept)
}

/// Copies a damaged file. A copy that is there already is the file as it was first, and stays.
async fn keep(folder: &Folder, file: &Path, bytes: Bytes) -> Result<PathBuf, JournalError> {
    for count in 0_u32.. {
        let suffix = if count == 0 { ".damaged".to_owned() } else { format!(".damaged.{count}") };
        let mut name = file.as_os_str().to_owned();
        name.push(&suffix);
        let copy = PathBuf::from(name);
        match folder.disk.create(&copy).await {
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
            created => {
                let mut end = created.map_err(|error| JournalError::of("creating", &copy, error))?;
                end.append(vec![bytes]).await.map_err(|error| JournalError::of("writing", &copy, error))?;
                end.sync().await.map_err(|error| JournalError::of_sync(&copy, error))?;
                folder.sync().await?;
                return Ok(copy);
            }
        }
    }
    unreachable!("there are fewer files than numbers")
}

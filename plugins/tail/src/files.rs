//! The files of a log: the one that is written to, and those that were before it and have other names now.

use std::fs::{self, File};
use std::io::{self, ErrorKind};
use std::path::{Path, PathBuf};

use millstream_sdk::prelude::*;

use crate::place::{HEAD_BYTES, Place, bytes, modified_ms};

/// How the names of files end that cannot be read any more.
const COMPRESSED: &[&str] = &[".gz", ".bz2", ".xz", ".zst"];

/// Where the files of a log are.
pub(crate) struct Files {
    /// The one that is written to.
    path: PathBuf,
    folder: PathBuf,
    /// How the names of the others begin and end.
    rotated: (String, String),
}

impl Files {
    /// Those that the configuration names. Nothing is read yet.
    pub(crate) fn configured() -> Result<Self, Fault> {
        let path = PathBuf::from(required_config("path")?.text()?);
        let (Some(folder), Some(name)) = (path.parent(), path.file_name().and_then(|name| name.to_str()))
        else {
            return Err(Fault::rejected(format!("`path` is {}, which is no file's", path.display())));
        };
        let pattern = config("rotated").map_or(Ok(format!("{name}.*")), |rotated| rotated.text())?;
        let parts = pattern.split_once('*').filter(|(_, end)| !end.contains('*') && !pattern.contains('/'));
        let Some((begin, end)) = parts else {
            return Err(Fault::rejected(format!("`rotated` is {pattern:?}; write a name with one *")));
        };
        let rotated = (begin.to_owned(), end.to_owned());
        Ok(Self { folder: folder.to_owned(), rotated, path: path.clone() })
    }

    /// Reads their folder, to see whether it can be read.
    pub(crate) fn reach(&self) -> Result<(), Fault> {
        let unreached = |error| {
            let folder = self.folder.display();
            Fault::unavailable(format!(
                "reading {folder}: {error}; is it granted, as in read = [\"{folder}\"]?"
            ))
        };
        self.rotated().map(drop).map_err(unreached)
    }

    /// The one that is written to, if it is there.
    pub(crate) fn newest(&self) -> io::Result<Option<File>> {
        open(&self.path)
    }

    /// The file that has a place: of several, which are copies, the newest.
    pub(crate) fn find(&self, place: &Place) -> io::Result<Option<File>> {
        let rotated = self.rotated()?;
        for path in rotated.iter().chain([&self.path]).rev() {
            if let Some(mut file) = open(path)?
                && place.is_in(&mut file)?
            {
                return Ok(Some(file));
            }
        }
        Ok(None)
    }

    /// The oldest that was written to after that time.
    pub(crate) fn later_than(&self, time_ms: u64) -> io::Result<Option<File>> {
        for path in self.rotated()?.iter().chain([&self.path]) {
            if let Some(file) = open(path)?
                && modified_ms(&file.metadata()?) > time_ms
            {
                return Ok(Some(file));
            }
        }
        Ok(None)
    }

    /// The file that the log went on in after `file`; none, where that is still the one that is written to. A file
    /// without a byte is not gone on in yet: its writer may still be writing to the one before.
    pub(crate) fn behind(&self, file: &mut File) -> io::Result<Option<File>> {
        let Some(mut next) = self.newest()? else { return Ok(None) };
        if next.metadata()?.len() == 0 || is_same(file, &mut next)? {
            return Ok(None);
        }
        for path in self.rotated()?.iter().rev() {
            let Some(mut candidate) = open(path)? else { continue };
            if is_same(file, &mut candidate)? {
                return Ok(Some(next));
            }
            next = candidate;
        }
        // It has gone to where it is not seen.
        let later = self.later_than(modified_ms(&file.metadata()?))?;
        later.map_or_else(|| self.newest(), |later| Ok(Some(later)))
    }

    /// Those that are not written to any more, in the order of their time. Of the same time, `app.log.10` is before
    /// `app.log.9`.
    fn rotated(&self) -> io::Result<Vec<PathBuf>> {
        let mut rotated = Vec::new();
        for entry in fs::read_dir(&self.folder)? {
            let entry = entry?;
            let name = entry.file_name().to_string_lossy().into_owned();
            if !self.is_rotated(&name) || entry.path() == self.path {
                continue;
            }
            match entry.metadata() {
                Ok(metadata) if metadata.is_file() => rotated.push((metadata.modified()?, name)),
                Err(error) if error.kind() != ErrorKind::NotFound => return Err(error),
                _ => {}
            }
        }
        rotated.sort_by(|(a_time, a), (b_time, b)| a_time.cmp(b_time).then((b.len(), b).cmp(&(a.len(), a))));
        Ok(rotated.into_iter().map(|(_, name)| self.folder.join(name)).collect())
    }

    fn is_rotated(&self, name: &str) -> bool {
        let (begin, end) = &self.rotated;
        let rest = name.strip_prefix(begin.as_str()).and_then(|rest| rest.strip_suffix(end.as_str()));
        rest.is_some() && !COMPRESSED.iter().any(|compressed| name.ends_with(compressed))
    }
}

/// A file, if it is there.
fn open(path: &Path) -> io::Result<Option<File>> {
    match File::open(path) {
        Ok(file) => Ok(Some(file)),
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error),
    }
}

/// Whether two open files are one: then what is seen of the other is between what is seen of the one before and after.
fn is_same(one: &mut File, other: &mut File) -> io::Result<bool> {
    let seen = |file: &File| file.metadata().and_then(|seen| Ok((seen.len(), seen.modified()?)));
    let (before, there, after) = (seen(one)?, seen(other)?, seen(one)?);
    let is_between = before.0 <= there.0 && there.0 <= after.0 && before.1 <= there.1 && there.1 <= after.1;
    let length = before.0.min(HEAD_BYTES);
    Ok(is_between && bytes(one, 0, length)? == bytes(other, 0, length)?)
}

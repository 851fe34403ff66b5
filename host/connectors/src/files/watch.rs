//! Which files are there, and which of them are complete.
//!
//! A file is complete when it was last written before the previous look, as one is that arrived by a rename, or
//! when its size and its time stayed the same from one look to the next. Names that begin with `.` or `_` are those of files being written, and are passed over.

use std::collections::{HashMap, HashSet};
use std::fs::{self, Metadata};
use std::io;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use glob::{MatchOptions, Pattern};
use millstream_platform::{Clock, SystemClock};

/// How a glob is matched: `*` and `?` stay within a name.
const GLOB: MatchOptions =
    MatchOptions { case_sensitive: true, require_literal_separator: true, require_literal_leading_dot: true };

/// Looks at a folder, a file or a glob.
pub(super) struct Watch {
    path: PathBuf,
    /// The files that were not complete at the last look.
    growing: HashMap<PathBuf, State>,
    looked: Option<SystemTime>,
}

/// What a look found.
#[derive(Debug, Default)]
pub(super) struct Found {
    /// The files to take, the oldest first, by their absolute paths.
    pub(super) complete: Vec<PathBuf>,
    /// The absolute paths of all files that are there.
    pub(super) names: HashSet<String>,
}

/// What tells whether a file was written to. In order of time first: the order of delivery.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct State {
    modified: SystemTime,
    size_bytes: u64,
}

impl Watch {
    pub(super) fn new(path: &Path) -> Self {
        Self { path: path.to_owned(), growing: HashMap::new(), looked: None }
    }

    /// Finds all files there are and that are not finished.
    ///
    /// # Errors
    /// There is none, or the folder cannot be read: what to tell the operator.
    pub(super) fn all(&self, is_finished: &dyn Fn(&Path) -> bool) -> Result<Found, String> {
        let mut files = self.list()?;
        if files.is_empty() {
            return Err(format!("there is no file to read at {}", self.path.display()));
        }
        let names = names(&files);
        files.retain(|(path, _)| !is_finished(path));
        Ok(Found { complete: in_order(files), names })
    }

    /// Finds the files that are complete and not finished.
    ///
    /// # Errors
    /// The folder cannot be read: what to tell the operator.
    pub(super) fn complete(&mut self, is_finished: &dyn Fn(&Path) -> bool) -> Result<Found, String> {
        let looked = self.looked.replace(now());
        let mut files = self.list()?;
        let names = names(&files);
        files.retain(|(path, _)| !is_finished(path));

        let before = std::mem::take(&mut self.growing);
        let at_rest = |(path, state): &(PathBuf, State)| {
            looked.is_some_and(|looked| state.modified < looked) || before.get(path) == Some(state)
        };
        let (complete, growing): (Vec<_>, Vec<_>) = files.into_iter().partition(at_rest);
        self.growing = growing.into_iter().collect();
        Ok(Found { complete: in_order(complete), names })
    }

    fn list(&self) -> Result<Vec<(PathBuf, State)>, String> {
        let listed = match fs::metadata(&self.path) {
            Ok(found) if found.is_dir() => list_folder(&self.path),
            Ok(found) => Ok(state(&found).map(|state| (self.path.clone(), state)).into_iter().collect()),
            Err(_) if is_glob(&self.path) => return Ok(absolute(list_glob(&self.path)?)),
            Err(fault) => Err(fault),
        };
        let listed = listed.map_err(|fault| format!("looking for files in {}: {fault}", self.path.display()));
        Ok(absolute(listed?))
    }
}

/// The files by names that hold from every working directory.
fn absolute(files: Vec<(PathBuf, State)>) -> Vec<(PathBuf, State)> {
    let name = |path: PathBuf| std::path::absolute(&path).unwrap_or(path);
    files.into_iter().map(|(path, state)| (name(path), state)).collect()
}

fn names(files: &[(PathBuf, State)]) -> HashSet<String> {
    files.iter().map(|(path, _)| path.to_string_lossy().into_owned()).collect()
}

/// Now, as the file system's times are given.
fn now() -> SystemTime {
    let since = u64::try_from(SystemClock.now_ms()).unwrap_or_default();
    SystemTime::UNIX_EPOCH + Duration::from_millis(since)
}

fn in_order(mut files: Vec<(PathBuf, State)>) -> Vec<PathBuf> {
    files.sort_by(|(a_path, a), (b_path, b)| (a.modified, a_path).cmp(&(b.modified, b_path)));
    files.into_iter().map(|(path, _)| path).collect()
}

/// The state of a regular file; nothing for folders, pipes and the rest.
fn state(found: &Metadata) -> Option<State> {
    let modified = found.modified().ok()?;
    found.is_file().then_some(State { modified, size_bytes: found.len() })
}

/// A file with its state, unless it is none or has vanished meanwhile.
fn look_at(path: PathBuf) -> Option<(PathBuf, State)> {
    let state = state(&fs::metadata(&path).ok()?)?;
    Some((path, state))
}

fn is_hidden(name: &std::ffi::OsStr) -> bool {
    matches!(name.as_encoded_bytes().first(), Some(b'.' | b'_'))
}

fn list_folder(folder: &Path) -> io::Result<Vec<(PathBuf, State)>> {
    let mut files = Vec::new();
    for entry in fs::read_dir(folder)? {
        let entry = entry?;
        if !is_hidden(&entry.file_name()) {
            files.extend(look_at(entry.path()));
        }
    }
    Ok(files)
}

fn is_glob(path: &Path) -> bool {
    Pattern::escape(&path.to_string_lossy()) != path.to_string_lossy()
}

fn list_glob(pattern: &Path) -> Result<Vec<(PathBuf, State)>, String> {
    let invalid = |fault: &dyn std::fmt::Display| format!("the glob {}: {fault}", pattern.display());
    let text = pattern.to_str().ok_or_else(|| invalid(&"it is not UTF-8"))?;
    let paths = glob::glob_with(text, GLOB).map_err(|fault| invalid(&fault))?;
    // The part of a path that the pattern names literally may be hidden; what the pattern finds may not.
    let literal = pattern.iter().take_while(|part| !is_glob(Path::new(part))).count();
    let found = |path: &PathBuf| !path.iter().skip(literal).any(is_hidden);
    // Folders that cannot be read hold no files for us.
    Ok(paths.filter_map(Result::ok).filter(found).filter_map(look_at).collect())
}

//! The folders of the generations of states.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use millstream_platform::Disk;

use super::StateFiles;
use crate::JournalError;
use crate::frame::Kind;
use crate::segment::{self, Folder};

/// What the scratch file is called that a store may have in the folder until it is written to.
pub const SCRATCH: &str = "cold";

/// The file in the folder of a generation that tells that no commit has named it.
const BEGUN: &str = "begun";

/// The folder of a generation.
pub(super) fn folder(checkpoint: &Path, generation: u32) -> PathBuf {
    let name = Kind::State.extension();
    match generation {
        0 => checkpoint.join(name),
        _ => checkpoint.join(format!("{name}-{generation}")),
    }
}

/// The generation whose folder has that name.
fn generation_of(name: &str) -> Option<u32> {
    let number = name.strip_prefix(Kind::State.extension())?;
    if number.is_empty() {
        return Some(0);
    }
    let digits = number.strip_prefix('-')?;
    let is_canonical = digits.bytes().all(|byte| byte.is_ascii_digit()) && !digits.starts_with('0');
    digits.parse().ok().filter(|_| is_canonical)
}

impl StateFiles {
    /// The generations that have a folder in a checkpoint folder, rising.
    ///
    /// # Errors
    /// `Disk`.
    pub async fn generations(disk: &Arc<dyn Disk>, checkpoint: &Path) -> Result<Vec<u32>, JournalError> {
        let names = Folder::at(disk, checkpoint.to_path_buf(), Kind::State).names().await?;
        let mut generations: Vec<u32> = names.iter().filter_map(|name| generation_of(name)).collect();
        generations.sort_unstable();
        Ok(generations)
    }

    /// The generations beside this one.
    ///
    /// # Errors
    /// `Disk`.
    pub async fn others(&self) -> Result<Vec<Self>, JournalError> {
        let generations = Self::generations(&self.log.disk, self.checkpoint()).await?;
        let others = generations.into_iter().filter(|generation| *generation != self.generation);
        Ok(others.map(|other| Self::new(&self.log.disk, self.checkpoint(), other)).collect())
    }

    /// Makes the folder, durably.
    ///
    /// # Errors
    /// `Full` and `Disk`.
    pub async fn make_folder(&self) -> Result<(), JournalError> {
        segment::make_folder(self.log.disk.as_ref(), &self.log.path).await
    }

    /// Makes the folder of a generation that no commit names yet.
    ///
    /// # Errors
    /// `Full` and `Disk`.
    pub async fn begin(&self) -> Result<(), JournalError> {
        self.make_folder().await?;
        let mark = self.log.path.join(BEGUN);
        let made = self.log.disk.create(&mark).await;
        made.map(drop).map_err(|error| JournalError::of("creating", &mark, error))
    }

    /// Whether no commit has ever named the generation. One that no commit has named may be taken for one that was, and never the
    /// other way.
    ///
    /// # Errors
    /// `Disk`.
    pub async fn is_begun(&self) -> Result<bool, JournalError> {
        Ok(self.log.names().await?.iter().any(|name| name == BEGUN))
    }

    /// Notes, durably, that a commit names the generation.
    ///
    /// # Errors
    /// `Disk`.
    pub async fn end_beginning(&self) -> Result<(), JournalError> {
        if self.is_begun().await? {
            self.log.remove(&self.log.path.join(BEGUN)).await?;
            self.log.sync().await?;
        }
        Ok(())
    }

    /// Removes the generation: what it may have made itself, and its folder if nothing else is in there. Without effect where there is
    /// none; what a crash leaves of it can be removed again.
    ///
    /// # Errors
    /// `Disk`.
    pub async fn remove(&self) -> Result<(), JournalError> {
        for folder in [&self.snapshots, &self.log] {
            folder.remove_temporaries().await?;
            for number in folder.numbers().await? {
                folder.remove(&folder.file(number)).await?;
            }
        }
        self.log.remove(&self.log.path.join(SCRATCH)).await?;
        self.log.remove(&self.log.path.join(BEGUN)).await?;
        match self.log.disk.remove(&self.log.path).await {
            Err(error) if error.kind() == io::ErrorKind::DirectoryNotEmpty => {
                let folder = self.log.path.display();
                tracing::warn!(
                    "{folder} was of states that nobody needs any more; it stays, as there is something else in it"
                );
                Ok(())
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
            removed => removed.map_err(|error| JournalError::of("removing", &self.log.path, error)),
        }
    }

    /// Whether it is the first generation and is gone, as others have followed it.
    pub(super) async fn is_lost(&self) -> Result<bool, JournalError> {
        let generations = Self::generations(&self.log.disk, self.checkpoint()).await?;
        Ok(self.generation == 0 && generations.first().is_some_and(|first| *first > 0))
    }

    fn checkpoint(&self) -> &Path {
        self.log.path.parent().expect("it is a folder in a checkpoint folder")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_folder_is_of_the_generation_whose_name_it_has_and_no_other_name_is_of_any() {
        for generation in [0, 1, 10, u32::MAX] {
            let path = folder(Path::new("checkpoint"), generation);
            assert_eq!(generation_of(path.file_name().unwrap().to_str().unwrap()), Some(generation));
        }
        for name in
            ["state-", "state-0", "state-01", "state-+1", "state-4294967296", "state1", "states", "log", ""]
        {
            assert_eq!(generation_of(name), None, "{name}");
        }
    }
}

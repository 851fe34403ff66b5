//! Generations of states: new ones beside those that are real, until a commit names one of them.
//!
//! Each has a folder of its own in the checkpoint folder, with a log and snapshots. Which one is real is for the last commit's
//! [`StateEnd`] to say. The others are removed when neither the last commit nor the one before it needs them. Each is a store with
//! limits of its own: while there are two, both may take that much memory. One that was begun and never named by a commit is of no use
//! to the next process, which removes it first.

use std::path::Path;
use std::sync::Arc;

use millstream_journal::{StateEnd, StateFiles};
use millstream_platform::Disk;

use super::{Limits, Store};
use crate::StateError;

/// Generations that nobody needs once a batch was applied.
#[derive(Debug, Default)]
pub(super) struct Retired {
    generations: Vec<StateFiles>,
    is_due: bool,
}

impl Retired {
    /// A batch was applied.
    pub(super) fn settle(&mut self) {
        self.is_due = true;
    }
}

impl Store {
    /// Begins a generation of states with nothing in it beside those that are there. It becomes the real one with the first commit
    /// whose [`StateEnd`] is one that it gave; until then, opening the store anew is as if it was never begun.
    ///
    /// # Errors
    /// `Journal`: `Full` and `Disk`.
    pub async fn begin(disk: Arc<dyn Disk>, folder: &Path, limits: Limits) -> Result<Self, StateError> {
        let known = StateFiles::generations(&disk, folder).await?;
        if known.is_empty() {
            // That it is there tells that it has not come to be removed.
            StateFiles::new(&disk, folder, 0).make_folder().await?;
        }
        let generation = (1..=u32::MAX).find(|generation| !known.contains(generation));
        let generation = generation.expect("no folder holds so many");
        let files = StateFiles::new(&disk, folder, generation);
        let end = StateEnd { generation, ..StateEnd::default() };
        let begun = match files.begin().await {
            Ok(()) => Self::open_generation(&disk, folder, limits, Some(end)).await,
            Err(error) => Err(error.into()),
        };
        if begun.is_err()
            && let Err(error) = files.remove().await
        {
            tracing::warn!("removing states that could not be begun: {error}; the next start does it");
        }
        begun
    }

    /// The generation's number; of a store without a disk, none.
    pub fn generation(&self) -> Option<u32> {
        self.disk.as_ref().map(|disk| disk.files.generation())
    }

    /// Notes, durably, that a commit names this one, though the others are not to go yet. [`Store::retire_others`] notes it as well.
    ///
    /// # Errors
    /// `Journal`: `Disk`.
    pub async fn end_beginning(&self) -> Result<(), StateError> {
        let Some(disk) = &self.disk else { return Ok(()) };
        Ok(disk.files.end_beginning().await?)
    }

    /// Lets all other generations be removed by [`Store::remove_retired`], when another batch was applied. To be called when the first
    /// commit that names this one is on disk and applied. [`Store::open`] has done it.
    ///
    /// # Errors
    /// `Journal`: `Disk`.
    pub async fn retire_others(&self) -> Result<(), StateError> {
        let Some(disk) = &self.disk else { return Ok(()) };
        disk.files.end_beginning().await?;
        let generations = disk.files.others().await?;
        disk.progress().retired = Retired { generations, is_due: false };
        Ok(())
    }

    /// Removes the generations beside this one that were begun and that no commit has named: processes have ended before they
    /// came to that.
    pub(super) async fn remove_begun(&self) -> Result<(), StateError> {
        let Some(disk) = &self.disk else { return Ok(()) };
        for files in disk.files.others().await? {
            if files.is_begun().await? {
                tracing::info!(folder = %files.folder().display(), "removing states that were never whole");
                files.remove().await?;
            }
        }
        Ok(())
    }

    /// Removes a generation that no commit names, and refuses everything from then on. What cannot be removed now goes when the
    /// store is opened anew.
    ///
    /// # Errors
    /// `Journal`: `Disk`.
    pub async fn discard(&self) -> Result<(), StateError> {
        let Some(disk) = &self.disk else { return Ok(()) };
        let _nobody_maintains = disk.maintaining.lock().await;
        let mut log = disk.log.lock().await;
        log.close();
        Ok(disk.files.remove().await?)
    }

    /// Removes the generations that nobody needs any more; [`Store::maintain`] does so last of all. To be called before a process
    /// ends, which may do so before that is through: the next one may have as little time.
    ///
    /// # Errors
    /// `Journal`: `Disk`.
    pub async fn remove_retired(&self) -> Result<(), StateError> {
        let Some(disk) = &self.disk else { return Ok(()) };
        let _one_at_a_time = disk.removing.lock().await;
        loop {
            let next = {
                let retired = &mut disk.progress().retired;
                if retired.is_due { retired.generations.pop() } else { None }
            };
            let Some(files) = next else { return Ok(()) };
            tracing::info!(folder = %files.folder().display(), "removing states that an upgrade has left behind");
            if let Err(error) = files.remove().await {
                disk.progress().retired.generations.push(files);
                return Err(error.into());
            }
        }
    }
}

//! Finding out what the write-ahead log holds, after whatever happened.

use std::collections::BTreeMap;

use bytes::Bytes;
use millstream_model::Lane;

use super::Index;
use super::segment::{Content, is_unborn, read_starts};
use crate::JournalError;
use crate::entry::Start;
use crate::frame::{Body, HEADER_BYTES};
use crate::log::{Cut, Ledger};
use crate::segment::Folder;

/// What the log in a folder holds, and what a crash left unfinished.
pub(crate) struct Found {
    pub(crate) index: Index,
    newest: Option<Content>,
    /// A segment that a crash left without its beginning: nothing was ever durable in it.
    unborn: Option<u64>,
}

impl Found {
    /// Whether a crash left something unfinished.
    pub(crate) fn is_torn(&self) -> bool {
        self.unborn.is_some() || self.newest.as_ref().is_some_and(|newest| newest.tear.is_some())
    }
}

/// The index of the log in `folder`; what a crash left unfinished is cut.
///
/// # Errors
/// `Damaged` where anything that was durable is not there as it was written.
pub(crate) async fn recover(folder: &Folder, ledger: &Ledger) -> Result<Index, JournalError> {
    let found = find(folder, ledger).await?;
    folder.remove_temporaries().await?;
    if let Some(number) = found.unborn {
        let file = folder.file(number);
        tracing::warn!(file = %file.display(), "removing a segment that a crash left unfinished");
        folder.remove(&file).await?;
        folder.sync().await?;
    }
    if let Some(newest) = found.newest {
        if newest.tear.is_some() {
            let cut_bytes = newest.file.len() as u64 - newest.end;
            let file = folder.file(newest.number).display().to_string();
            tracing::warn!(file, offset = newest.end, cut_bytes, "cutting what a crash tore off");
        }
        let mut mark = Vec::new();
        if !newest.is_marked {
            Body::default().frame(newest.number, newest.end, newest.end, &mut mark);
        }
        folder.settle(newest.number, &newest.file, newest.end, mark).await?;
    }
    Ok(found.index)
}

/// What the log in `folder` holds, without writing anything.
pub(crate) async fn find(folder: &Folder, ledger: &Ledger) -> Result<Found, JournalError> {
    let mut found = Found { index: Index::new(ledger.released()), newest: None, unborn: None };
    let mut numbers = folder.numbers().await?;
    (found.newest, found.unborn) = read_newest(folder, &mut numbers).await?;
    if let Some(newest) = &found.newest {
        let index = &mut found.index;
        let (from, starts) = find_first_needed(folder, &numbers, newest, ledger).await?;
        index.begin(&starts);
        for number in &numbers[..from] {
            index.add_segment(*number, folder.length(*number).await?);
        }
        for number in &numbers[from..numbers.len() - 1] {
            let content = Content::parse(folder, *number, folder.read(*number).await?)?;
            if let Some(tear) = &content.tear {
                return Err(folder.damaged(*number, tear.offset, tear.what));
            }
            add(folder, index, &content)?;
        }
        add(folder, index, newest)?;
    }
    check_against(folder, &found.index, ledger)?;
    Ok(found)
}

/// The newest segment, which a crash may have torn, and the number of the one behind it that a crash left without its
/// beginning. The number of that one is taken off `numbers`.
pub(crate) async fn read_newest(
    folder: &Folder,
    numbers: &mut Vec<u64>,
) -> Result<(Option<Content>, Option<u64>), JournalError> {
    let Some(last) = numbers.last().copied() else { return Ok((None, None)) };
    let mut file = folder.read(last).await?;
    let unborn = is_unborn(folder, last, &file).then_some(last);
    if unborn.is_some() {
        numbers.pop();
        let Some(before) = numbers.last().copied() else { return Ok((None, unborn)) };
        file = folder.read(before).await?;
    }
    let newest = numbers.last().copied().unwrap_or(last);
    let content = Content::parse(folder, newest, file)?;
    match &content.tear {
        // That a segment was made behind it shows that all of it was on disk.
        Some(tear) if unborn.is_some() || content.damage().is_some() => {
            Err(folder.damaged(newest, tear.offset, tear.what))
        }
        _ => Ok((Some(content), unborn)),
    }
}

/// Where among `numbers` the newest segment is that begins no later than the first records that are needed, and how far
/// the lanes were before it.
async fn find_first_needed(
    folder: &Folder,
    numbers: &[u64],
    newest: &Content,
    ledger: &Ledger,
) -> Result<(usize, Vec<Start>), JournalError> {
    let released = ledger.released();
    let mut at = numbers.len() - 1;
    let mut starts = newest.starts.clone();
    while let Some(missing) = starts.iter().find(|start| start.next > first_needed(&released, start)) {
        let number = numbers[at];
        if at == 0 || numbers[at - 1] + 1 != number {
            let lane = &missing.lane;
            let (from, to) = (first_needed(&released, missing), missing.next);
            let what =
                format!("the segment before it is missing, and with it records {from} to {to} of {lane}");
            return Err(folder.damaged(number, 0, what));
        }
        at -= 1;
        starts = read_starts(folder, numbers[at]).await?;
    }
    Ok((at, starts))
}

fn first_needed(released: &BTreeMap<Lane, u64>, start: &Start) -> u64 {
    released.get(&start.lane).copied().unwrap_or(0)
}

/// Takes a segment into the index, behind those that are there.
fn add(folder: &Folder, index: &mut Index, content: &Content) -> Result<(), JournalError> {
    let number = content.number;
    if !is_continued(index, &content.starts) {
        let what = "it does not begin where the segment before it ends";
        return Err(folder.damaged(number, HEADER_BYTES as u64, what));
    }
    index.add_segment(number, content.end);
    for placed in &content.entries {
        let entry = &placed.entry;
        let next = index.next_of(&entry.lane);
        if entry.first != next {
            let what = format!("record {} of {} is here, and {next} is next", entry.first, entry.lane);
            return Err(folder.damaged(number, placed.offset, what));
        }
        index.add(entry, placed.offset, placed.length);
    }
    Ok(())
}

fn is_continued(index: &Index, starts: &[Start]) -> bool {
    let begun: BTreeMap<&Lane, u64> = starts.iter().map(|start| (&start.lane, start.next)).collect();
    let ended = index.ends().filter(|(_, end)| end.next > 0);
    ended.map(|(lane, end)| (lane, end.next)).eq(begun.into_iter().filter(|(_, next)| *next > 0))
}

/// Batches cannot have taken records that are not there.
fn check_against(folder: &Folder, index: &Index, ledger: &Ledger) -> Result<(), JournalError> {
    for (lane, cut) in &ledger.lanes {
        let Cut::Logged { next, .. } = cut else { continue };
        let end = index.next_of(lane);
        if end < *next {
            let what =
                format!("batches took {next} records of {lane}, and it ends at {end}: segments are missing");
            return Err(match index.segments.back() {
                Some(newest) => folder.damaged(newest.number, newest.bytes, what),
                None => JournalError::damaged(&folder.path, 0, what),
            });
        }
    }
    Ok(())
}

impl Folder {
    /// Makes sure that the first `end` bytes of a segment are on disk, and nothing behind them.
    ///
    /// They are written anew, since a file whose sync once failed may show bytes that never reached the disk, and a second
    /// sync of it would not tell; `behind` is written behind them. Without room for that, the file is cut and synced.
    pub(crate) async fn settle(
        &self,
        number: u64,
        file: &Bytes,
        end: u64,
        behind: Vec<Bytes>,
    ) -> Result<(), JournalError> {
        let length = usize::try_from(end).expect("it is an offset in a file in memory");
        let mut content = vec![file.slice(HEADER_BYTES..length)];
        content.extend(behind);
        match self.replace(number, content).await {
            Err(error) if error.is_full() => {
                let path = self.file(number);
                let cut = self.disk.truncate(&path, end).await;
                cut.map_err(|error| JournalError::of_sync(&path, error))
            }
            replaced => replaced,
        }
    }
}

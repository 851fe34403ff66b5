use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use bytes::Bytes;
use millstream_platform::{Append, Clock, crash_point};

use super::{Shared, Waiting};
use crate::JournalError;
use crate::entry;
use crate::frame::{self, Body, HEADER_BYTES};

/// What is written between two syncs, unless one entry is larger.
const GROUP_BYTES_MAX: usize = 8 << 20;
/// How long to wait for room on the disk, at first and at most.
const ROOM_WAIT_FIRST: Duration = Duration::from_millis(100);
const ROOM_WAIT_MAX: Duration = Duration::from_secs(5);

/// The one that writes the write-ahead log.
pub struct WalWriter {
    shared: Arc<Shared>,
    clock: Arc<dyn Clock>,
    segment_bytes: u64,
    /// The segment that is written to. There is none at first, so that nothing is ever appended to a file that a crash tore.
    current: Option<Current>,
}

struct Current {
    number: u64,
    end: Box<dyn Append>,
    /// Its length, up to which it is whole.
    bytes: u64,
    /// Up to where it is on disk.
    synced: u64,
    /// Whether another segment is to follow it.
    is_full: bool,
}

impl WalWriter {
    pub(crate) fn new(shared: Arc<Shared>, clock: Arc<dyn Clock>, segment_bytes: u64) -> Self {
        Self { shared, clock, segment_bytes, current: None }
    }

    /// Writes what is submitted, in groups: one append and one sync for all that has come in meanwhile. While the
    /// disk is full it waits and tries again. Ends when all handles are gone and everything is written.
    ///
    /// # Errors
    /// `Disk` where the disk failed: nothing that was not durable by then becomes so.
    pub async fn run(mut self) -> Result<(), JournalError> {
        while let Some(group) = self.shared.next_group().await {
            let mut written = self.write(group).await;
            if written.is_ok() && self.shared.is_idle() {
                written = self.mark().await;
            }
            if let Err(error) = written {
                self.shared.fail(error.clone());
                return Err(error);
            }
        }
        Ok(())
    }

    /// Writes a group, waiting for room as long as it takes.
    async fn write(&mut self, group: Vec<Waiting>) -> Result<(), JournalError> {
        let mut wait = ROOM_WAIT_FIRST;
        loop {
            match self.try_write(&group).await {
                Err(error) if error.is_full() => {
                    tracing::warn!(%error, "the write-ahead log waits for room");
                    self.shared.set_trouble(Some(error.to_string()));
                    tokio::select! {
                        biased;
                        () = self.clock.sleep_until(self.clock.elapsed() + wait) => {}
                        () = self.shared.abandoned.notified() => return Err(error),
                    }
                    wait = (wait * 2).min(ROOM_WAIT_MAX);
                }
                Err(error) => return Err(error),
                Ok(places) => {
                    self.shared.set_trouble(None);
                    self.shared.advance(&group, &places);
                    return Ok(());
                }
            }
        }
    }

    /// Writes a group and gives where its frames are. After `Full`, the log is as it was.
    async fn try_write(&mut self, group: &[Waiting]) -> Result<Vec<(u64, usize)>, JournalError> {
        if self.current.as_ref().is_none_or(|current| current.is_full) {
            self.current = None;
            self.current = Some(self.begin_segment().await?);
        }
        let current = self.current.as_mut().expect("a segment was begun");
        let (buffers, places, end) = current.frames(group);
        if let Err(error) = current.end.append(buffers).await {
            self.cut_back().await?;
            return Err(JournalError::of("writing", &self.shared.folder.file(self.number()), error));
        }
        crash_point("wal-appended");
        let synced = current.end.sync().await;
        synced.map_err(|error| JournalError::of_sync(&self.shared.folder.file(current.number), error))?;
        crash_point("wal-synced");
        (current.bytes, current.synced) = (end, end);
        current.is_full = end >= self.segment_bytes;
        Ok(places)
    }

    /// Notes in the file that all in it is on disk, as the next group would. The mark itself need not be, and so it may not
    /// be the last of a segment that another one follows.
    async fn mark(&mut self) -> Result<(), JournalError> {
        let Some(current) = self.current.as_mut().filter(|current| !current.is_full) else { return Ok(()) };
        let mut buffers = Vec::new();
        let length = Body::default().frame(current.number, current.bytes, current.synced, &mut buffers);
        match current.end.append(buffers).await {
            Ok(()) => current.bytes += length,
            Err(error) => {
                let error = JournalError::of("writing", &self.shared.folder.file(self.number()), error);
                self.cut_back().await?;
                if !error.is_full() {
                    return Err(error);
                }
            }
        }
        Ok(())
    }

    /// Makes the next segment, so that it is on disk under its name with its start.
    async fn begin_segment(&self) -> Result<Current, JournalError> {
        let folder = &self.shared.folder;
        let (number, starts) = self.shared.next_segment();
        let file = folder.file(number);
        let mut buffers = vec![frame::header(folder.kind, number)];
        let at = HEADER_BYTES as u64;
        let bytes = at + entry::encode_start(&starts).frame(number, at, 0, &mut buffers);
        folder.discard(&file).await;
        let created = folder.disk.create(&file).await;
        let mut end = created.map_err(|error| JournalError::of("creating", &file, error))?;
        crash_point("segment-created");
        if let Err(error) = end.append(buffers).await {
            folder.discard(&file).await;
            return Err(JournalError::of("writing", &file, error));
        }
        end.sync().await.map_err(|error| JournalError::of_sync(&file, error))?;
        folder.sync().await?;
        crash_point("segment-in-place");
        self.shared.add_segment(number, bytes);
        Ok(Current { number, end, bytes, synced: bytes, is_full: false })
    }

    /// Removes what a failed append left behind the last whole group.
    async fn cut_back(&mut self) -> Result<(), JournalError> {
        let folder = &self.shared.folder;
        let current = self.current.as_mut().expect("a segment is being written");
        let file = folder.file(current.number);
        let cut = folder.disk.truncate(&file, current.bytes).await;
        cut.map_err(|error| JournalError::of_sync(&file, error))?;
        current.end = folder.append(current.number).await?;
        Ok(())
    }

    fn number(&self) -> u64 {
        self.current.as_ref().map_or(0, |current| current.number)
    }
}

impl Drop for WalWriter {
    /// Whoever waits for a writer that is gone, for whatever reason, waits for nothing.
    fn drop(&mut self) {
        self.shared.fail(JournalError::Closed);
    }
}

impl Current {
    /// The buffers of a group's frames, where each is, and where they end.
    fn frames(&self, group: &[Waiting]) -> (Vec<Bytes>, Vec<(u64, usize)>, u64) {
        let (mut buffers, mut places, mut end) = (Vec::new(), Vec::new(), self.bytes);
        for waiting in group {
            let length = waiting.body.frame(self.number, end, self.synced, &mut buffers);
            places.push((end, usize::try_from(length).expect("it is in memory")));
            end += length;
        }
        (buffers, places, end)
    }
}

impl Shared {
    /// All that is to be written, up to the limit of a group; nothing, once there are no handles and it is all done.
    async fn next_group(&self) -> Option<Vec<Waiting>> {
        loop {
            let work = self.work.notified();
            let (group, is_open) = self.take_group();
            if !group.is_empty() {
                return Some(group);
            }
            if !is_open {
                return None;
            }
            work.await;
        }
    }

    fn is_idle(&self) -> bool {
        self.state().queue.is_empty()
    }

    fn take_group(&self) -> (Vec<Waiting>, bool) {
        let mut state = self.state();
        let mut left = GROUP_BYTES_MAX;
        let mut group = Vec::new();
        while left > 0
            && let Some(waiting) = state.queue.pop_front()
        {
            left = left.saturating_sub(waiting.body.len());
            group.push(waiting);
        }
        (group, state.open)
    }

    fn next_segment(&self) -> (u64, Vec<entry::Start>) {
        let state = self.state();
        (state.index.next_segment(), state.index.starts())
    }

    fn add_segment(&self, number: u64, bytes: u64) {
        self.state().index.add_segment(number, bytes);
    }

    /// A group is on disk.
    fn advance(&self, group: &[Waiting], places: &[(u64, usize)]) {
        let mut state = self.state();
        for (waiting, (offset, length)) in group.iter().zip(places) {
            state.index.add(&waiting.entry, *offset, *length);
        }
        drop(state);
        if let Some(number) = group.iter().rev().find_map(|waiting| waiting.completes) {
            self.durable.store(number, Ordering::Release);
            self.advanced.notify_waiters();
        }
    }

    /// Nothing becomes durable from now on. The first reason counts.
    fn fail(&self, error: JournalError) {
        let mut state = self.state();
        state.queue.clear();
        state.failure.get_or_insert(error);
        drop(state);
        self.advanced.notify_waiters();
    }

    fn set_trouble(&self, trouble: Option<String>) {
        self.state().trouble = trouble;
    }
}

//! A reliable receiver of numbered records, and a direct source of origins that grow.

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use millstream_model::{Block, OriginRange};
use millstream_platform::Clock;

use super::outside::{Outside, Stream};
use crate::{Closed, Direct, Inlet, Receipt, Source, SourceError};

/// The sources' names in the pipeline.
pub(super) const RECEIVER: &str = "peers";
pub(super) const SHELF: &str = "shelf";
/// An origin's name is gone so long after it was complete.
const GONE_AFTER: Duration = Duration::from_secs(4);

/// Receives the records of all streams, each by a receiver of its own, and acknowledges them when they are safe.
pub(super) struct Receiver {
    pub(super) outside: Arc<Outside>,
    /// Blocks have up to so many records.
    pub(super) rows_max: u64,
    /// Whether it fails now and then.
    pub(super) fails: bool,
    /// How many of its receivers have begun a stream in this life. They do so in their order, before any can fail.
    pub(super) begun: AtomicUsize,
}

/// Receipts of blocks, each with the number of the record behind it.
type Receipts = VecDeque<(u64, Receipt)>;

fn failed(closed: Closed) -> SourceError {
    SourceError::Failed(closed.to_string())
}

impl Receiver {
    /// The stream of this receiver: as it told itself, or the next one.
    fn stream(&self, resume: Option<&str>) -> &Stream {
        let begun = self.begun.fetch_add(1, Ordering::Relaxed);
        let streams = &self.outside.streams;
        let name = resume.and_then(|resume| resume.split(' ').next());
        let known = name.and_then(|name| streams.iter().find(|stream| stream.name == name));
        known.unwrap_or_else(|| &streams[begun])
    }

    /// Where to go on; both ways of telling say the same, and nothing that is acknowledged is asked for again.
    fn first(&self, inlet: &Inlet) -> (&Stream, u64) {
        let (outside, first) = (&self.outside, inlet.records());
        let resume = inlet.resume().map(|resume| String::from_utf8(resume.to_vec()).unwrap());
        let stream = self.stream(resume.as_deref());
        let name = &stream.name;
        outside.note(format_args!("{name} goes on at {first}, {resume:?}"));
        let expected = (first > 0).then(|| stream.resume(first));
        if resume != expected {
            outside.violate(format_args!("{name} resumes at {resume:?} and not {expected:?}"));
        }
        let acknowledged = outside.acknowledged(name);
        if first < acknowledged || first > stream.len() {
            outside.violate(format_args!("{name} goes on at {first}, {acknowledged} are acknowledged"));
        }
        (stream, first.min(stream.len()))
    }

    async fn acknowledge(&self, stream: &Stream, receipts: &mut Receipts, left: usize) -> Result<(), Closed> {
        while receipts.len() > left
            && let Some((end, receipt)) = receipts.pop_front()
        {
            receipt.durable().await?;
            let name = &stream.name;
            self.outside.note(format_args!("{name} acknowledges up to {end}"));
            self.outside.facts().acknowledged.insert(name.clone(), end);
        }
        Ok(())
    }

    async fn send(
        &self,
        inlet: &Inlet,
        stream: &Stream,
        next: &mut u64,
        end: u64,
    ) -> Result<Receipt, Closed> {
        let rows = 1 + self.outside.seeded.below(self.rows_max);
        let block = stream.block(*next, end.min(*next + rows));
        let behind = *next + block.rows as u64;
        self.outside.note(format_args!("{} sends {next} to {behind}", stream.name));
        *next = behind;
        let sent = inlet.send(block).await;
        // Also when the pipeline is stopping: the block is taken.
        self.outside.facts().sent.insert(stream.name.clone(), behind);
        sent
    }

    /// Whether the receiver has come to its end, or to a moment at which it goes on.
    async fn wait(&self, inlet: &Inlet, stream: &Stream, next: u64) -> bool {
        let until = if next < stream.len() { stream.from(next) } else { Duration::MAX };
        tokio::select! {
            biased;
            () = inlet.closed() => true,
            () = self.outside.clock.sleep_until(until) => false,
        }
    }
}

#[async_trait]
impl Source for Receiver {
    async fn run(&self, inlet: Inlet) -> Result<(), SourceError> {
        let outside = &self.outside;
        let (stream, mut next) = self.first(&inlet);
        outside.facts().sent.insert(stream.name.clone(), next);
        // What was sent before may be safe, and not acknowledged yet.
        let mut receipts = Receipts::from([(next, inlet.receipt())]);
        loop {
            if self.fails && next > 0 && outside.seeded.chance(1, 20) {
                return Err(SourceError::Failed("the connection is lost".into()));
            }
            let available = stream.available(&outside.clock);
            if next < available {
                let sent = self.send(&inlet, stream, &mut next, available).await;
                let Ok(receipt) = sent else { return Ok(()) };
                receipts.push_back((next, receipt));
                let left = outside.seeded.below(4) as usize;
                self.acknowledge(stream, &mut receipts, left).await.map_err(failed)?;
                continue;
            }
            self.acknowledge(stream, &mut receipts, 0).await.map_err(failed)?;
            if inlet.once() || self.wait(&inlet, stream, next).await {
                return Ok(());
            }
        }
    }
}

/// Finds origins that grow, end and go.
pub(super) struct Shelf {
    pub(super) outside: Arc<Outside>,
    pub(super) rows_max: u64,
    pub(super) fails: bool,
    /// Whether it has begun in this life.
    pub(super) begun: AtomicBool,
}

impl Shelf {
    async fn deliver(&self, inlet: &Inlet, origin: &Stream) -> Result<(), Closed> {
        let outside = &self.outside;
        let (name, visible) = (&origin.name, origin.available(&outside.clock));
        let taken = inlet.taken(name).unwrap_or_default();
        let is_complete = visible == origin.len();
        if taken.finished || (visible == taken.records && !is_complete) {
            return Ok(());
        }
        outside.note(format_args!("{name} goes on at {} of {visible}", taken.records));
        inlet.open(name, &visible.to_string());
        let mut next = taken.records;
        while next < visible {
            let rows = 1 + outside.seeded.below(self.rows_max);
            let block = Block { resume: None, ..origin.block(next, visible.min(next + rows)) };
            next += block.rows as u64;
            inlet.send(block).await?;
        }
        if is_complete {
            inlet.finish(name);
        }
        Ok(())
    }

    /// What the inlet says at the start of a life is what batches have taken; only then may an origin go.
    fn note_finished(&self, inlet: &Inlet) {
        let is_finished = |name: &str| inlet.taken(name).is_some_and(|taken| taken.finished);
        let finished = self.outside.origins.iter().map(|origin| &origin.name);
        self.outside.facts().finished.extend(finished.filter(|name| is_finished(name)).cloned());
    }

    fn is_gone(&self, origin: &Stream) -> bool {
        self.outside.clock.elapsed() > origin.complete_from() + GONE_AFTER
            && self.outside.facts().finished.contains(&origin.name)
    }
}

#[async_trait]
impl Source for Shelf {
    async fn run(&self, inlet: Inlet) -> Result<(), SourceError> {
        let outside = &self.outside;
        if !self.begun.swap(true, Ordering::Relaxed) {
            self.note_finished(&inlet);
        }
        loop {
            if self.fails && outside.seeded.chance(1, 20) {
                return Err(SourceError::Failed("the folder cannot be read".into()));
            }
            for origin in &outside.origins {
                match self.is_gone(origin) {
                    true if inlet.taken(&origin.name).is_some() => inlet.forget(&origin.name),
                    true => {}
                    false if self.deliver(&inlet, origin).await.is_err() => return Ok(()),
                    false => {}
                }
            }
            if inlet.once() {
                return Ok(());
            }
            let until = outside.clock.elapsed() + Duration::from_millis(300);
            tokio::select! {
                biased;
                () = inlet.closed() => return Ok(()),
                () = outside.clock.sleep_until(until) => {}
            }
        }
    }

    fn direct(&self) -> Option<&dyn Direct> {
        Some(self)
    }
}

#[async_trait]
impl Direct for Shelf {
    async fn read(&self, range: &OriginRange) -> Result<Vec<Block>, SourceError> {
        let outside = &self.outside;
        outside.note(format_args!("{} is read again, {:?}", range.origin, range.records));
        if self.fails && outside.seeded.chance(1, 10) {
            return Err(SourceError::Failed("it cannot be read now".into()));
        }
        let origin = outside.origins.iter().find(|origin| origin.name == range.origin);
        let origin = origin.ok_or_else(|| SourceError::Refused("there is no such origin".into()))?;
        let (mut blocks, mut next) = (Vec::new(), range.records.start);
        while next < range.records.end {
            let rows = 1 + outside.seeded.below(self.rows_max);
            let block = origin.block(next, range.records.end.min(next + rows));
            next += block.rows as u64;
            blocks.push(block);
        }
        Ok(blocks)
    }
}

//! Follows a log file: gives each line once, while the file grows, while it is rotated, and from run to run.
//!
//! `place` is what is remembered of a file, so that it is found again under any name; `files` finds the files of a log and
//! their order; here is what is read from them.

use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom};
use std::time::{Duration, Instant};

use millstream_sdk::lines::{LINE_BYTES_MAX, LineBuffer};
use millstream_sdk::prelude::*;

mod files;
mod place;
#[cfg(test)]
mod tests;

use files::Files;
use place::Place;

/// What is read before anything is looked up in the file again; a read of the system gives less.
const READ_BYTES: usize = 512 << 10;
/// How often a file is looked at that does not grow.
const LOOK_EVERY: Duration = Duration::from_millis(50);

/// A line of a log.
#[derive(Row)]
pub struct Line<'a> {
    /// The line.
    value: &'a str,
    /// Where it begins in its file, in bytes.
    offset: i64,
}

/// What the configuration says.
struct Settings {
    files: Files,
    from: Beginning,
    once: bool,
}

/// Where the first run begins.
#[derive(Clone, Copy)]
enum Beginning {
    Start,
    End,
}

impl Settings {
    fn configured() -> Result<Self, Fault> {
        let files = Files::configured()?;
        let once = config("once").map_or(Ok(false), |once| once.boolean())?;
        let from = config("from").map_or(Ok("start".to_owned()), |from| from.text())?;
        let from = match from.as_str() {
            "start" => Beginning::Start,
            "end" => Beginning::End,
            other => return Err(Fault::rejected(format!("`from` is {other:?}, not start or end"))),
        };
        Ok(Self { files, from, once })
    }
}

/// A log that is followed.
pub struct Lines {
    files: Files,
    /// What is being read; nothing where there was no file yet.
    reading: Option<Reading>,
    /// Behind the last line that was given.
    place: Place,
    /// Whether the end of the newest file is the end of all lines.
    once: bool,
}

/// A file that is being read.
struct Reading {
    file: File,
    buffer: LineBuffer,
    /// Where the next line begins.
    next: u64,
    /// Behind all that was read.
    read: Place,
}

/// Gives the lines of the log file `path`, each once it is whole.
#[receiver]
impl Receiver for Lines {
    type Row = Line<'static>;
    type Position = Place;

    fn check() -> Result<(), Fault> {
        Settings::configured().map(drop)
    }

    fn start(position: Option<Place>) -> Result<Self, Fault> {
        let Settings { files, from, once } = Settings::configured()?;
        files.reach()?;
        let reading = match (&position, from) {
            (Some(place), _) => go_on(&files, place)?,
            (None, Beginning::Start) => files.newest()?.map(Reading::from_start),
            (None, Beginning::End) => files.newest()?.map(Reading::from_end).transpose()?,
        };
        Ok(Self { files, reading, place: position.unwrap_or_default(), once })
    }

    fn poll(&mut self, deadline: Duration, lines: &mut Output<Line<'static>>) -> Result<Poll<Place>, Fault> {
        let end = now() + deadline;
        loop {
            let is_busy = self.step(lines)?;
            let left = end.saturating_duration_since(now());
            if !is_busy && self.once {
                return Ok(Poll::Ended(self.place));
            }
            if !lines.is_empty() || left.is_zero() {
                return Ok(Poll::More(self.place));
            }
            if !is_busy {
                rest(left.min(LOOK_EVERY));
            }
        }
    }
}

/// Where the file is that was read before, or what came after it.
fn go_on(files: &Files, place: &Place) -> io::Result<Option<Reading>> {
    if let Some(file) = files.find(place)? {
        return Ok(Some(Reading::behind(file, place)));
    }
    log(
        Level::Warn,
        "the file that was read last is gone, maybe with lines at its end; going on with what is later",
    );
    Ok(files.later_than(place.modified_ms)?.map(Reading::from_start))
}

impl Lines {
    /// Reads once, or goes over to another file; says whether there was anything to do.
    fn step(&mut self, lines: &mut Output<Line<'static>>) -> io::Result<bool> {
        let Some(reading) = &mut self.reading else {
            self.reading = self.files.newest()?.map(Reading::from_start);
            return Ok(self.reading.is_some());
        };
        if !reading.read.is_in(&mut reading.file)? {
            match self.files.find(&reading.read)? {
                // It was copied and then cut: the rest of it is in the copy.
                Some(copy) => reading.file = copy,
                None => self.reading = self.files.newest()?.map(Reading::from_start),
            }
            return Ok(true);
        }
        if reading.read(lines, &mut self.place)? {
            return Ok(true);
        }
        let Some(next) = self.files.behind(&mut reading.file)? else { return Ok(false) };
        // What was written before the next file was is there by now.
        if !reading.read(lines, &mut self.place)? {
            reading.end(lines, &mut self.place)?;
            self.reading = Some(Reading::from_start(next));
        }
        Ok(true)
    }
}

impl Reading {
    fn from_start(file: File) -> Self {
        Self::behind(file, &Place::default())
    }

    /// From the first line that is not whole.
    fn from_end(mut file: File) -> io::Result<Self> {
        let length = file.metadata()?.len();
        let start = length.saturating_sub(LINE_BYTES_MAX as u64);
        file.seek(SeekFrom::Start(start))?;
        let mut last = Vec::new();
        file.by_ref().take(length - start).read_to_end(&mut last)?;
        let whole = last.iter().rposition(|byte| *byte == b'\n').map_or(0, |end| end + 1);
        let place = Place::at(&mut file, start + whole as u64)?;
        Ok(Self::behind(file, &place))
    }

    fn behind(file: File, place: &Place) -> Self {
        Self { file, buffer: LineBuffer::new(), next: place.offset, read: *place }
    }

    /// Gives the lines that have become whole; says whether there was anything to read.
    fn read(&mut self, lines: &mut Output<Line<'static>>, place: &mut Place) -> io::Result<bool> {
        let mut piece = vec![0; READ_BYTES];
        self.file.seek(SeekFrom::Start(self.read.offset))?;
        let mut length = 0;
        while length < READ_BYTES {
            match self.file.read(&mut piece[length..])? {
                0 => break,
                bytes => length += bytes,
            }
        }
        if length == 0 {
            return Ok(false);
        }
        self.read = Place::at(&mut self.file, self.read.offset + length as u64)?;
        self.buffer.push(&piece[..length]);
        let before = self.next;
        while let Some(line) = self.buffer.next_line() {
            give(&line, &mut self.next, lines);
        }
        if self.next > before {
            *place = Place::at(&mut self.file, self.next)?;
        }
        Ok(true)
    }

    /// Gives the last line of a file that does not grow any more, though it has no end.
    fn end(&mut self, lines: &mut Output<Line<'static>>, place: &mut Place) -> io::Result<()> {
        if let Some(line) = self.buffer.last_line() {
            give(&line, &mut self.next, lines);
            *place = Place::at(&mut self.file, self.next)?;
        }
        Ok(())
    }
}

/// Gives the line that begins at `next`, and goes on behind it.
fn give(line: &millstream_sdk::lines::Line<'_>, next: &mut u64, lines: &mut Output<Line<'static>>) {
    if line.is_cut {
        let message = format!("the line at {next} is cut to its first {LINE_BYTES_MAX} bytes");
        log(Level::Warn, &message);
    }
    lines.append(Line { value: &line.text, offset: next.cast_signed() });
    *next += line.bytes;
}

/// The time, to measure by.
#[allow(clippy::disallowed_methods, reason = "a component has no clock but the one that its host gives it")]
fn now() -> Instant {
    Instant::now()
}

#[allow(clippy::disallowed_methods, reason = "nothing tells a component that a file has grown")]
fn rest(time: Duration) {
    std::thread::sleep(time);
}

millstream_sdk::export!(Lines; needs: read("the folder of the log"));

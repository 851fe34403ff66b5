//! A file that remembers whether its disk is full, since the writers above it tell of faults in words alone.

use std::fs::File;
use std::io::{self, Write};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use super::place::is_full;

/// A file that is written to.
pub(super) struct Output {
    file: File,
    room: Room,
}

/// Whether a file's disk had room for what was written.
#[derive(Clone, Default)]
pub(super) struct Room(Arc<AtomicBool>);

impl Output {
    pub(super) fn new(file: File) -> (Self, Room) {
        let room = Room::default();
        (Self { file, room: room.clone() }, room)
    }

    pub(super) fn into_file(self) -> File {
        self.file
    }
}

impl Room {
    pub(super) fn is_used_up(&self) -> bool {
        self.0.load(Ordering::Relaxed)
    }
}

impl Write for Output {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.file.write(bytes).inspect_err(|fault| self.room.0.store(is_full(fault), Ordering::Relaxed))
    }

    fn flush(&mut self) -> io::Result<()> {
        self.file.flush()
    }
}

//! What a power cut leaves of each file and folder.

use super::nodes::{File, Folder, Node, Nodes};
use crate::{Randomness, Seeded};

/// What a disk writes as a whole or not at all.
const SECTOR_BYTES: usize = 512;

/// How many sectors at the end of a file are torn at the most.
const TORN_SECTORS_MAX: u64 = 8;

impl Nodes {
    /// Everything that is left is safe.
    pub(super) fn cut_power(&mut self, seeded: &Seeded) {
        for node in self.nodes.values_mut() {
            match node {
                Node::File(file) => file.cut_power(seeded),
                Node::Folder(folder) => folder.cut_power(seeded),
            }
        }
        self.forget_nameless();
    }
}

impl File {
    fn cut_power(&mut self, seeded: &Seeded) {
        let unsynced = self.bytes.len() - self.synced;
        let kept = seeded.below(unsynced as u64 + 1) as usize;
        self.bytes.truncate(self.synced + kept);
        if kept > 0 && seeded.chance(1, 2) {
            self.tear(seeded);
        }
        self.synced = self.bytes.len();
    }

    /// The first torn sector is not as it was written, those behind it may be. Bytes that were synced stay, also
    /// in a sector that is torn.
    fn tear(&mut self, seeded: &Seeded) {
        let mut end = self.bytes.len();
        let mut sectors = Vec::new();
        for _ in 0..=seeded.below(TORN_SECTORS_MAX) {
            if end > self.synced {
                let start = ((end - 1) / SECTOR_BYTES * SECTOR_BYTES).max(self.synced);
                sectors.push(start..end);
                end = start;
            }
        }
        let first = sectors.len().saturating_sub(1);
        for (place, sector) in sectors.into_iter().enumerate().rev() {
            let bytes = &mut self.bytes[sector];
            match seeded.below(if place == first { 2 } else { 3 }) {
                0 => bytes.fill(0),
                1 => bytes.iter_mut().for_each(|byte| *byte = seeded.next_u64() as u8),
                _ => {}
            }
        }
    }
}

impl Folder {
    fn cut_power(&mut self, seeded: &Seeded) {
        let happened = seeded.below(self.unsynced.len() as u64 + 1) as usize;
        self.unsynced.drain(..).take(happened).for_each(|change| change.apply(&mut self.synced));
        self.names = self.synced.clone();
    }
}

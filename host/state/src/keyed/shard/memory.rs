//! The memory of a shard: how it grows, and how it is given back.

use super::{ARENA_BYTES_MAX, Entry, FREE_ENTRIES_MIN, GARBAGE_BYTES_MIN, Shard, length_of};

impl Shard {
    /// Takes no more memory than it needs, and little more as it grows.
    pub(crate) fn shrink(&mut self) {
        self.rebuild();
        self.is_frugal = true;
    }

    /// What it takes in memory.
    pub(crate) fn allocated_bytes(&self) -> u64 {
        let entries = self.entries.capacity() * size_of::<Entry>();
        (self.index.allocation_size() + entries + self.arena.capacity()) as u64
    }

    /// Sees to it that so many bytes can be appended to the arena.
    pub(super) fn make_room(&mut self, bytes: usize) {
        if (self.arena.len() + bytes) as u64 > ARENA_BYTES_MAX {
            self.compact_arena();
        }
        if self.is_frugal {
            reserve_little(&mut self.arena, bytes);
        }
    }

    /// Builds the shard anew if it is mostly garbage.
    pub(super) fn tidy(&mut self) {
        let live = u32::try_from(self.len()).unwrap_or(u32::MAX);
        if self.free_count > live.max(FREE_ENTRIES_MIN) {
            self.rebuild();
        } else if self.garbage > self.content_bytes().max(GARBAGE_BYTES_MIN) {
            self.compact_arena();
        }
    }

    fn rebuild(&mut self) {
        let bytes = usize::try_from(self.content_bytes()).expect("it is in memory");
        let mut anew = Self::with_capacity(self.len(), bytes);
        let mut next = self.oldest;
        while let Some(entry) = self.entries.get(next as usize) {
            anew.insert(entry.hash, self.key(entry), self.state(entry), entry.time);
            next = entry.behind;
        }
        anew.is_frugal = self.is_frugal;
        *self = anew;
    }

    /// Writes the arena anew without its garbage. Entries keep their numbers.
    fn compact_arena(&mut self) {
        let bytes = usize::try_from(self.content_bytes()).expect("it is in memory");
        let mut anew = Vec::with_capacity(bytes + bytes / 4);
        let mut next = self.oldest;
        while let Some(entry) = self.entries.get_mut(next as usize) {
            let at = entry.at as usize;
            entry.at = length_of(&anew);
            anew.extend_from_slice(
                &self.arena[at..][..entry.key_length as usize + entry.state_length as usize],
            );
            next = entry.behind;
        }
        self.arena = anew;
        self.garbage = 0;
    }

    /// Sees to it that there is room for one more entry.
    pub(super) fn make_room_for_entry(&mut self) {
        if self.is_frugal {
            reserve_little(&mut self.entries, 1);
        }
    }
}

/// Makes room for `more`, and at most an eighth beyond what there is.
fn reserve_little<T>(vec: &mut Vec<T>, more: usize) {
    if vec.capacity() - vec.len() < more {
        vec.reserve_exact(more.max(vec.len() / 8));
    }
}

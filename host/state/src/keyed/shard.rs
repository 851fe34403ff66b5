//! Some keys of a table and their states, without an allocation for each.
//!
//! ```text
//! index: hash table of entry numbers ─▶ entries: [ time, at, lengths, neighbours, hash ] ─▶ arena: key state key state ...
//! ```
//!
//! Entries are linked in the order of their times, the oldest first, so those that time out are found without looking at
//! the others. A state that becomes longer is written behind all others, and what it leaves in the arena is garbage; so is what
//! removed keys leave. When there is more garbage than content, the shard is built anew.

mod memory;

use std::hash::BuildHasher;
use std::sync::LazyLock;

use hashbrown::{DefaultHashBuilder, HashTable};
use millstream_journal::{Operation, Operations};
use millstream_model::BatchTime;

/// What a key takes in memory beside its bytes: its entry, and its place in the index at an average load.
pub(crate) const ENTRY_BYTES: u64 = 40;
/// What all states of a shard may take.
pub(crate) const ARENA_BYTES_MAX: u64 = u32::MAX as u64;

const NONE: u32 = u32::MAX;
/// Less garbage than this is left where it is.
const GARBAGE_BYTES_MIN: u64 = 4 << 10;
const FREE_ENTRIES_MIN: u32 = 256;

/// One for all, and another one in each process: nobody can choose keys that collide.
static HASHER: LazyLock<DefaultHashBuilder> = LazyLock::new(DefaultHashBuilder::default);

#[derive(Debug)]
pub(crate) struct Shard {
    index: HashTable<u32>,
    entries: Vec<Entry>,
    arena: Vec<u8>,
    /// Bytes of the arena that no entry has.
    garbage: u64,
    /// The entry with the earliest time, and the one with the latest.
    oldest: u32,
    newest: u32,
    /// The first of the entries that are not in use, linked by `behind`.
    free: u32,
    free_count: u32,
    /// Whether memory is short: then it grows in small steps.
    is_frugal: bool,
}

#[derive(Clone, Copy, Debug)]
struct Entry {
    time: BatchTime,
    at: u32,
    key_length: u32,
    state_length: u32,
    /// The next older one.
    before: u32,
    /// The next newer one.
    behind: u32,
    hash: u32,
}

/// A key and what is known of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Known<'a> {
    pub(crate) key: &'a [u8],
    pub(crate) state: &'a [u8],
    pub(crate) time: BatchTime,
}

impl Shard {
    pub(crate) fn new() -> Self {
        Self::with_capacity(0, 0)
    }

    /// The state of a key.
    #[inline]
    pub(crate) fn get(&self, key: &[u8]) -> Option<&[u8]> {
        let number = self.find(hash(key), key)?;
        Some(self.state(&self.entries[number as usize]))
    }

    /// All that is known of a key.
    pub(crate) fn known<'s>(&'s self, key: &'s [u8]) -> Option<Known<'s>> {
        let entry = &self.entries[self.find(hash(key), key)? as usize];
        Some(Known { key, state: self.state(entry), time: entry.time })
    }

    /// Does what a batch does, in order.
    ///
    /// # Errors
    /// At the first that is no operation; those before it are done.
    pub(crate) fn apply<'a>(
        &mut self,
        time: BatchTime,
        operations: impl Iterator<Item = Result<Operation<'a>, &'static str>>,
    ) -> Result<(), &'static str> {
        for operation in operations {
            match operation? {
                Operation::Put { key, state } => self.put(key, state, time),
                Operation::Remove { key } => self.remove(key),
                Operation::Touch { key } => self.touch(key, time),
                Operation::Entry { .. } => {
                    return Err("an entry of a snapshot is among a batch's operations");
                }
            }
        }
        self.tidy();
        Ok(())
    }

    /// All keys, from the oldest on.
    pub(crate) fn iter(&self) -> impl Iterator<Item = Known<'_>> {
        self.iter_hashed().map(|(_, known)| known)
    }

    /// All keys with their hashes, from the oldest on.
    pub(crate) fn iter_hashed(&self) -> impl Iterator<Item = (u32, Known<'_>)> {
        let mut next = self.oldest;
        std::iter::from_fn(move || {
            let entry = self.entries.get(next as usize)?;
            next = entry.behind;
            Some((entry.hash, Known { key: self.key(entry), state: self.state(entry), time: entry.time }))
        })
    }

    /// Takes in a key that is not there, which a batch's operation is about to touch.
    pub(crate) fn restore(&mut self, key: &[u8], state: &[u8]) {
        self.insert(hash(key), key, state, BatchTime::from_ms(i64::MIN));
    }

    /// Removes so many keys, from the oldest on.
    pub(crate) fn drop_oldest(&mut self, keys: usize) {
        for _ in 0..keys.min(self.len()) {
            let number = self.oldest;
            let hash = self.entries[number as usize].hash;
            if let Ok(found) = self.index.find_entry(spread(hash), |other| *other == number) {
                found.remove();
            }
            self.free(number);
        }
    }

    /// A copy of all of it, and the time that the first entry counts from.
    pub(crate) fn snapshot(&self) -> (BatchTime, Operations) {
        let since = self.entries.get(self.oldest as usize).map_or(BatchTime::default(), |entry| entry.time);
        let mut operations = Operations::with_capacity(self.arena.len() + self.len() * 4);
        let mut last = since;
        for known in self.iter() {
            let later = known.time.as_ms().wrapping_sub(last.as_ms()) as u64;
            operations.entry(known.key, known.state, later);
            last = known.time;
        }
        (since, operations)
    }

    /// The shard that a snapshot is of.
    pub(crate) fn from_snapshot<'a>(
        since: BatchTime,
        keys: u64,
        entries: impl Iterator<Item = Result<Operation<'a>, &'static str>>,
    ) -> Result<Self, &'static str> {
        let mut shard = Self::new();
        let mut time = since.as_ms();
        for operation in entries {
            let Operation::Entry { key, state, later_ms } = operation? else {
                return Err("a snapshot has something else in it than entries");
            };
            let later = i64::try_from(later_ms).ok().and_then(|later| time.checked_add(later));
            time = later.ok_or("an entry of a snapshot has an impossible time")?;
            if shard.arena.len() as u64 + (key.len() + state.len()) as u64 > ARENA_BYTES_MAX {
                return Err("a snapshot has more in one shard than fits");
            }
            shard.put(key, state, BatchTime::from_ms(time));
        }
        match shard.len() as u64 == keys {
            true => Ok(shard),
            false => Err("a snapshot has another number of entries than it says"),
        }
    }

    /// How many keys there are.
    pub(crate) fn len(&self) -> usize {
        self.index.len()
    }

    /// What the keys and states take, without what is around them.
    pub(crate) fn content_bytes(&self) -> u64 {
        self.arena.len() as u64 - self.garbage
    }

    /// By how much a batch's operations make the content grow at the most, and how many keys they add.
    pub(crate) fn growth(&self, operations: &Operations) -> (i64, i64) {
        let (mut bytes, mut keys) = (0, 0);
        for operation in operations.iter().flatten() {
            match operation {
                Operation::Put { key, state } => match self.get(key) {
                    Some(before) => bytes += state.len() as i64 - before.len() as i64,
                    None => (bytes, keys) = (bytes + (key.len() + state.len()) as i64, keys + 1),
                },
                Operation::Remove { key } => {
                    if let Some(before) = self.get(key) {
                        (bytes, keys) = (bytes - (key.len() + before.len()) as i64, keys - 1);
                    }
                }
                Operation::Touch { .. } | Operation::Entry { .. } => {}
            }
        }
        (bytes, keys)
    }

    fn with_capacity(keys: usize, bytes: usize) -> Self {
        Self {
            index: HashTable::with_capacity(keys),
            entries: Vec::with_capacity(keys),
            arena: Vec::with_capacity(bytes),
            garbage: 0,
            oldest: NONE,
            newest: NONE,
            free: NONE,
            free_count: 0,
            is_frugal: false,
        }
    }

    fn put(&mut self, key: &[u8], state: &[u8], time: BatchTime) {
        let hash = hash(key);
        match self.find(hash, key) {
            Some(number) => {
                self.replace(number, state);
                self.move_to_newest(number, time);
            }
            None => self.insert(hash, key, state, time),
        }
    }

    fn touch(&mut self, key: &[u8], time: BatchTime) {
        if let Some(number) = self.find(hash(key), key) {
            self.move_to_newest(number, time);
        }
    }

    fn remove(&mut self, key: &[u8]) {
        let hash = hash(key);
        let (entries, arena) = (&self.entries, &self.arena);
        let found = self.index.find_entry(spread(hash), |number| is_at(entries, arena, *number, hash, key));
        let Ok(found) = found else { return };
        let (number, _) = found.remove();
        self.free(number);
    }

    /// Makes room of an entry that is not in the index any more.
    fn free(&mut self, number: u32) {
        self.unlink(number);
        let entry = &mut self.entries[number as usize];
        self.garbage += u64::from(entry.key_length) + u64::from(entry.state_length);
        entry.behind = self.free;
        self.free = number;
        self.free_count += 1;
    }

    fn insert(&mut self, hash: u32, key: &[u8], state: &[u8], time: BatchTime) {
        self.make_room(key.len() + state.len());
        let entry = Entry {
            time: BatchTime::default(),
            at: length_of(&self.arena),
            key_length: length_of(key),
            state_length: length_of(state),
            before: NONE,
            behind: NONE,
            hash,
        };
        self.arena.extend_from_slice(key);
        self.arena.extend_from_slice(state);
        let number = self.place(entry);
        let entries = &self.entries;
        self.index.insert_unique(spread(hash), number, |number| spread(entries[*number as usize].hash));
        self.link(number, time);
    }

    fn place(&mut self, entry: Entry) -> u32 {
        if self.free == NONE {
            self.make_room_for_entry();
            self.entries.push(entry);
            return u32::try_from(self.entries.len() - 1).expect("each entry has bytes in the arena");
        }
        let number = self.free;
        let slot = &mut self.entries[number as usize];
        self.free = slot.behind;
        self.free_count -= 1;
        *slot = entry;
        number
    }

    fn replace(&mut self, number: u32, state: &[u8]) {
        let entry = self.entries[number as usize];
        let (key_length, before) = (entry.key_length as usize, entry.state_length as usize);
        if state.len() <= before {
            let at = entry.at as usize + key_length;
            self.arena[at..at + state.len()].copy_from_slice(state);
            self.garbage += (before - state.len()) as u64;
            self.entries[number as usize].state_length = length_of(state);
            return;
        }
        self.make_room(key_length + state.len());
        // The arena may have been built anew.
        let entry = self.entries[number as usize];
        let at = entry.at as usize;
        self.entries[number as usize].at = length_of(&self.arena);
        self.entries[number as usize].state_length = length_of(state);
        self.arena.extend_from_within(at..at + key_length);
        self.arena.extend_from_slice(state);
        self.garbage += (key_length + before) as u64;
    }

    fn move_to_newest(&mut self, number: u32, time: BatchTime) {
        if number == self.newest {
            let entry = &mut self.entries[number as usize];
            entry.time = entry.time.max(time);
        } else {
            self.unlink(number);
            self.link(number, time);
        }
    }

    /// Makes an entry the newest. Times never fall, whatever is asked for.
    fn link(&mut self, number: u32, time: BatchTime) {
        let time = match self.entries.get(self.newest as usize) {
            Some(newest) => time.max(newest.time),
            None => time,
        };
        let entry = &mut self.entries[number as usize];
        (entry.time, entry.before, entry.behind) = (time, self.newest, NONE);
        match self.entries.get_mut(self.newest as usize) {
            Some(newest) => newest.behind = number,
            None => self.oldest = number,
        }
        self.newest = number;
    }

    fn unlink(&mut self, number: u32) {
        let Entry { before, behind, .. } = self.entries[number as usize];
        match self.entries.get_mut(before as usize) {
            Some(older) => older.behind = behind,
            None => self.oldest = behind,
        }
        match self.entries.get_mut(behind as usize) {
            Some(newer) => newer.before = before,
            None => self.newest = before,
        }
    }

    #[inline]
    fn find(&self, hash: u32, key: &[u8]) -> Option<u32> {
        let (entries, arena) = (&self.entries, &self.arena);
        self.index.find(spread(hash), |number| is_at(entries, arena, *number, hash, key)).copied()
    }

    fn key(&self, entry: &Entry) -> &[u8] {
        &self.arena[entry.at as usize..][..entry.key_length as usize]
    }

    fn state(&self, entry: &Entry) -> &[u8] {
        &self.arena[entry.at as usize + entry.key_length as usize..][..entry.state_length as usize]
    }
}

#[inline]
fn is_at(entries: &[Entry], arena: &[u8], number: u32, hash: u32, key: &[u8]) -> bool {
    let entry = &entries[number as usize];
    entry.hash == hash && arena[entry.at as usize..][..entry.key_length as usize] == *key
}

#[inline]
pub(crate) fn hash(key: &[u8]) -> u32 {
    (HASHER.hash_one(key) >> 32) as u32
}

/// A hash whose high bits and low bits both tell keys apart, as the index needs it.
#[inline]
pub(crate) fn spread(hash: u32) -> u64 {
    u64::from(hash).wrapping_mul(0x9E37_79B9_7F4A_7C15)
}

fn length_of(bytes: &[u8]) -> u32 {
    u32::try_from(bytes.len()).expect("changes are limited so that a shard's arena is shorter than 4 GiB")
}

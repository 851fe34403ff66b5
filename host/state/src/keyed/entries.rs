//! Keys and states as they are read: many in one allocation.

use hashbrown::HashSet;
use millstream_model::BatchTime;

/// Encoded rows, some of which may be absent.
#[derive(Clone, Debug, Default)]
pub struct Encoded {
    bytes: Vec<u8>,
    spans: Vec<Option<Span>>,
}

#[derive(Clone, Copy, Debug)]
struct Span {
    from: usize,
    length: u32,
}

/// Keys with what is known of them, one at each index.
#[derive(Clone, Debug, Default)]
pub struct Entries {
    /// The keys.
    pub keys: Encoded,
    /// Their states.
    pub states: Encoded,
    /// When they were seen last.
    pub times: Vec<BatchTime>,
}

/// Some keys, to ask whether one is among them.
#[derive(Clone, Debug, Default)]
pub struct KeySet<'a>(HashSet<&'a [u8]>);

impl Encoded {
    /// How many rows there are, absent ones included.
    pub fn len(&self) -> usize {
        self.spans.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.spans.is_empty()
    }

    /// The bytes of a row, if it is not absent.
    ///
    /// # Panics
    /// Where there are not as many rows.
    pub fn get(&self, row: usize) -> Option<&[u8]> {
        self.spans[row].map(|span| &self.bytes[span.from..][..span.length as usize])
    }

    /// All rows in order.
    pub fn iter(&self) -> impl ExactSizeIterator<Item = Option<&[u8]>> {
        (0..self.len()).map(|row| self.get(row))
    }

    /// That many absent rows.
    pub fn absent(rows: usize) -> Self {
        Self { bytes: Vec::new(), spans: vec![None; rows] }
    }

    /// Gives a row its bytes.
    ///
    /// # Panics
    /// Where there are not as many rows.
    pub fn set(&mut self, row: usize, bytes: &[u8]) {
        self.spans[row] = Some(self.append(bytes));
    }

    /// Appends a row.
    pub fn push(&mut self, bytes: &[u8]) {
        let span = self.append(bytes);
        self.spans.push(Some(span));
    }

    /// Appends a row that is absent.
    pub(super) fn push_absent(&mut self) {
        self.spans.push(None);
    }

    fn append(&mut self, bytes: &[u8]) -> Span {
        let from = self.bytes.len();
        self.bytes.extend_from_slice(bytes);
        Span { from, length: u32::try_from(bytes.len()).expect("keys and states are shorter than 4 GiB") }
    }
}

impl Entries {
    /// Adds a key.
    pub fn push(&mut self, key: &[u8], state: &[u8], time: BatchTime) {
        self.keys.push(key);
        self.states.push(state);
        self.times.push(time);
    }

    /// How many keys there are.
    pub fn len(&self) -> usize {
        self.times.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.times.is_empty()
    }
}

impl<'a> Extend<&'a [u8]> for KeySet<'a> {
    fn extend<T: IntoIterator<Item = &'a [u8]>>(&mut self, keys: T) {
        self.0.extend(keys);
    }
}

impl KeySet<'_> {
    /// Whether a key is among them.
    pub fn contains(&self, key: &[u8]) -> bool {
        !self.0.is_empty() && self.0.contains(key)
    }
}

impl<'a> FromIterator<&'a [u8]> for KeySet<'a> {
    fn from_iter<T: IntoIterator<Item = &'a [u8]>>(keys: T) -> Self {
        Self(keys.into_iter().collect())
    }
}

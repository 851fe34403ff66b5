//! Runs of operations on keys, as they stand in the state log and in snapshots.
//!
//! ```text
//! ┌───────────────────────┬────────────┬──────────────┬─────┬───────┐
//! │ key length × 4 + kind │ [later_ms] │ [state len.] │ key │ state │ ...
//! └───────────────────────┴────────────┴──────────────┴─────┴───────┘
//! ```
//!
//! All numbers are variable: seven bits a byte, the lowest first, and the high bit where more follow. The kinds:
//!
//! - 0, put: a state length and a state; the key's time becomes the batch's;
//! - 1, remove: nothing but the key;
//! - 2, touch: nothing but the key, whose time becomes the batch's;
//! - 3, entry: in snapshots only. Its time is `later_ms` after that of the entry before it.

const PUT: u64 = 0;
const REMOVE: u64 = 1;
const TOUCH: u64 = 2;

/// What is wrong with operations.
type Defect = &'static str;

/// What happens to a key, or is known of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Operation<'a> {
    /// The key has this state from now on.
    Put {
        /// The key.
        key: &'a [u8],
        /// Its state.
        state: &'a [u8],
    },
    /// The key has no state any more.
    Remove {
        /// The key.
        key: &'a [u8],
    },
    /// The key was seen, and its state stays as it is.
    Touch {
        /// The key.
        key: &'a [u8],
    },
    /// The key has this state, since some time.
    Entry {
        /// The key.
        key: &'a [u8],
        /// Its state.
        state: &'a [u8],
        /// How long after the entry before it the key was seen last.
        later_ms: u64,
    },
}

/// Operations one behind the other, encoded.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Operations(Vec<u8>);

impl Operations {
    /// None, with room for so many bytes.
    pub fn with_capacity(bytes: usize) -> Self {
        Self(Vec::with_capacity(bytes))
    }

    /// Gives a key a state.
    pub fn put(&mut self, key: &[u8], state: &[u8]) {
        self.head(key, PUT);
        push_number(&mut self.0, state.len() as u64);
        self.0.extend_from_slice(key);
        self.0.extend_from_slice(state);
    }

    /// Takes a key's state away.
    pub fn remove(&mut self, key: &[u8]) {
        self.head(key, REMOVE);
        self.0.extend_from_slice(key);
    }

    /// Notes that a key was seen.
    pub fn touch(&mut self, key: &[u8]) {
        self.head(key, TOUCH);
        self.0.extend_from_slice(key);
    }

    /// Notes a key's state, in a snapshot.
    pub fn entry(&mut self, key: &[u8], state: &[u8], later_ms: u64) {
        self.head(key, TOUCH + 1);
        push_number(&mut self.0, later_ms);
        push_number(&mut self.0, state.len() as u64);
        self.0.extend_from_slice(key);
        self.0.extend_from_slice(state);
    }

    /// Puts those of `other` behind these.
    pub fn extend(&mut self, other: &Self) {
        self.0.extend_from_slice(&other.0);
    }

    /// All of them, in order.
    pub fn iter(&self) -> Iter<'_> {
        Iter(&self.0)
    }

    /// Those in bytes that were read. Bytes that are no operations end them with an error.
    pub fn read(bytes: &[u8]) -> Iter<'_> {
        Iter(bytes)
    }

    /// How many bytes they take.
    pub fn bytes(&self) -> usize {
        self.0.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Their bytes.
    pub fn into_bytes(self) -> Vec<u8> {
        self.0
    }

    /// The bytes in pieces of whole operations: of at most `bytes_max`, unless one operation is longer.
    pub(crate) fn pieces(&self, bytes_max: usize) -> Vec<&[u8]> {
        if self.0.len() <= bytes_max {
            return vec![&self.0];
        }
        let mut pieces = Vec::new();
        let (mut from, mut end) = (0, 0);
        let mut iter = self.iter();
        while let Some(operation) = iter.next() {
            operation.expect("these were encoded here");
            let next = self.0.len() - iter.0.len();
            if next - from > bytes_max && end > from {
                pieces.push(&self.0[from..end]);
                from = end;
            }
            end = next;
        }
        pieces.push(&self.0[from..]);
        pieces
    }

    fn head(&mut self, key: &[u8], kind: u64) {
        push_number(&mut self.0, (key.len() as u64) << 2 | kind);
    }
}

impl<'a> IntoIterator for &'a Operations {
    type Item = Result<Operation<'a>, Defect>;
    type IntoIter = Iter<'a>;

    fn into_iter(self) -> Iter<'a> {
        self.iter()
    }
}

/// The operations in some bytes.
#[derive(Clone, Debug)]
pub struct Iter<'a>(&'a [u8]);

impl<'a> Iter<'a> {
    fn operation(&mut self) -> Result<Operation<'a>, Defect> {
        let head = self.number()?;
        let key_length = head >> 2;
        Ok(match head & 3 {
            PUT => {
                let state_length = self.number()?;
                Operation::Put { key: self.take(key_length)?, state: self.take(state_length)? }
            }
            REMOVE => Operation::Remove { key: self.take(key_length)? },
            TOUCH => Operation::Touch { key: self.take(key_length)? },
            _ => {
                let (later_ms, state_length) = (self.number()?, self.number()?);
                let (key, state) = (self.take(key_length)?, self.take(state_length)?);
                Operation::Entry { key, state, later_ms }
            }
        })
    }

    #[inline]
    fn number(&mut self) -> Result<u64, Defect> {
        match self.0.split_first() {
            Some((byte, rest)) if byte & 0x80 == 0 => {
                self.0 = rest;
                Ok((*byte).into())
            }
            _ => self.long_number(),
        }
    }

    fn long_number(&mut self) -> Result<u64, Defect> {
        let mut number = 0;
        for shift in (0..64).step_by(7) {
            let Some((byte, rest)) = self.0.split_first() else { break };
            let bits = u64::from(byte & 0x7F);
            if bits << shift >> shift != bits {
                break;
            }
            self.0 = rest;
            number |= bits << shift;
            if byte & 0x80 == 0 {
                return Ok(number);
            }
        }
        Err("a number in an operation cannot be read")
    }

    #[inline]
    fn take(&mut self, length: u64) -> Result<&'a [u8], Defect> {
        let length = usize::try_from(length).unwrap_or(usize::MAX);
        let (taken, rest) = self.0.split_at_checked(length).ok_or("an operation is cut short")?;
        self.0 = rest;
        Ok(taken)
    }
}

impl<'a> Iterator for Iter<'a> {
    type Item = Result<Operation<'a>, Defect>;

    #[inline]
    fn next(&mut self) -> Option<Self::Item> {
        if self.0.is_empty() {
            return None;
        }
        let operation = self.operation();
        if operation.is_err() {
            self.0 = &[];
        }
        Some(operation)
    }
}

#[inline]
fn push_number(bytes: &mut Vec<u8>, mut number: u64) {
    while number >= 0x80 {
        bytes.push(number as u8 | 0x80);
        number >>= 7;
    }
    bytes.push(number as u8);
}

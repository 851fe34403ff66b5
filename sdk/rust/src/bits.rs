//! Bitmaps as they cross the boundary: bit `i` is bit `i % 8`, counted from the lowest, of byte `i / 8`.

/// A bitmap that grows. The bits beyond its length are 0.
#[derive(Debug, Default)]
pub struct Bits {
    bytes: Vec<u8>,
    length: usize,
}

impl Bits {
    /// An empty bitmap with room for `length` bits.
    pub(crate) fn with_capacity(length: usize) -> Self {
        Self { bytes: Vec::with_capacity(length.div_ceil(8)), length: 0 }
    }

    /// `length` bits that are all 1.
    pub(crate) fn ones(length: usize) -> Self {
        let mut bytes = vec![u8::MAX; length.div_ceil(8)];
        if let (Some(last), rest @ 1..) = (bytes.last_mut(), length % 8) {
            *last = (1 << rest) - 1;
        }
        Self { bytes, length }
    }

    #[inline]
    pub(crate) fn push(&mut self, bit: bool) {
        let place = self.length % 8;
        if place == 0 {
            self.bytes.push(0);
        }
        if let Some(last) = self.bytes.last_mut() {
            *last |= u8::from(bit) << place;
        }
        self.length += 1;
    }

    pub(crate) fn into_bytes(self) -> Vec<u8> {
        self.bytes
    }
}

#[inline]
pub(crate) fn get(bytes: &[u8], index: usize) -> bool {
    bytes[index / 8] >> (index % 8) & 1 == 1
}

/// The first of `length` bits that is 0. The bytes must hold as many bits.
pub(crate) fn first_zero(bytes: &[u8], length: usize) -> Option<usize> {
    let byte = bytes.iter().position(|byte| *byte != u8::MAX)?;
    let index = byte * 8 + bytes[byte].trailing_ones() as usize;
    (index < length).then_some(index)
}

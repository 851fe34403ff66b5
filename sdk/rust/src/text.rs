//! Splitting text at the speed of the boundary: sixteen bytes at a time.
//!
//! The splitters of the standard library look at one character after the other, which costs more than everything else
//! that a plugin does with a line of text.
#![allow(unsafe_code, reason = "words are cut at ASCII white space, where every cut is between characters")]

/// Bytes that are looked at together.
const WINDOW: usize = 16;

/// The words of `text`, as [`str::split_ascii_whitespace`] gives them.
///
/// ```
/// # use millstream_sdk::text::words;
/// assert_eq!(words("  to be,\tor not ").collect::<Vec<_>>(), ["to", "be,", "or", "not"]);
/// ```
#[inline]
#[must_use]
pub fn words(text: &str) -> Words<'_> {
    Words { text, start: 0, seen: 0, spaces: 0, base: 0 }
}

/// An iterator over words; see [`words`].
#[derive(Clone, Debug)]
pub struct Words<'a> {
    text: &'a str,
    /// Where the next word begins, or the white space before it.
    start: usize,
    /// How many bytes were looked at.
    seen: usize,
    /// The white space among the bytes that were looked at last: bit `i` is byte `base + i`.
    spaces: u32,
    base: usize,
}

impl<'a> Words<'a> {
    /// Looks at the next bytes; there must be some.
    #[inline]
    fn look(&mut self) {
        let bytes = self.text.as_bytes();
        if let Some(window) = bytes[self.seen..].first_chunk::<WINDOW>() {
            (self.base, self.spaces) = (self.seen, spaces(window));
            self.seen += WINDOW;
        } else if let Some(window) = bytes.last_chunk::<WINDOW>() {
            // The last window overlaps the one before; what was seen there is shifted out.
            let overlap = WINDOW - (bytes.len() - self.seen);
            (self.base, self.spaces) = (self.seen, spaces(window) >> overlap);
            self.seen = bytes.len();
        } else {
            let mut window = [b'x'; WINDOW];
            window[..bytes.len()].copy_from_slice(bytes);
            (self.base, self.spaces) = (0, spaces(&window));
            self.seen = bytes.len();
        }
    }

    /// The bytes from `start` up to `end`.
    #[inline]
    fn cut(&self, end: usize) -> &'a str {
        // SAFETY: both ends lie within the text, the first not after the second, and each is the text's own or next to
        // an ASCII character.
        unsafe { self.text.get_unchecked(self.start..end) }
    }
}

impl<'a> Iterator for Words<'a> {
    type Item = &'a str;

    #[inline]
    fn next(&mut self) -> Option<&'a str> {
        loop {
            while self.spaces != 0 {
                let end = self.base + self.spaces.trailing_zeros() as usize;
                self.spaces &= self.spaces - 1;
                let word = self.cut(end);
                self.start = end + 1;
                if !word.is_empty() {
                    return Some(word);
                }
            }
            if self.seen == self.text.len() {
                break;
            }
            self.look();
        }
        let rest = self.cut(self.text.len());
        self.start = self.text.len();
        (!rest.is_empty()).then_some(rest)
    }
}

/// Which of the bytes are white space.
#[cfg(target_feature = "simd128")]
#[inline]
fn spaces(window: &[u8; WINDOW]) -> u32 {
    use core::arch::wasm32::{
        i8x16_bitmask, i8x16_eq, i8x16_splat, i8x16_sub, u8x16_le, u8x16_splat, v128_andnot, v128_load,
        v128_or,
    };
    // SAFETY: the window holds sixteen bytes, and the load needs no alignment.
    let bytes = unsafe { v128_load(window.as_ptr().cast()) };
    let blank = i8x16_eq(bytes, i8x16_splat(b' ' as i8));
    // From tab to carriage return, without the vertical tab.
    let control = u8x16_le(i8x16_sub(bytes, i8x16_splat(b'\t' as i8)), u8x16_splat(b'\r' - b'\t'));
    let control = v128_andnot(control, i8x16_eq(bytes, i8x16_splat(0x0B)));
    u32::from(i8x16_bitmask(v128_or(blank, control)))
}

/// Which of the bytes are white space.
#[cfg(target_arch = "x86_64")]
#[inline]
fn spaces(window: &[u8; WINDOW]) -> u32 {
    use core::arch::x86_64::{
        _mm_andnot_si128, _mm_cmpeq_epi8, _mm_loadu_si128, _mm_min_epu8, _mm_movemask_epi8, _mm_or_si128,
        _mm_set1_epi8, _mm_sub_epi8,
    };
    // SAFETY: every x86-64 has SSE2; the window holds sixteen bytes, and the load needs no alignment.
    let bits = unsafe {
        let bytes = _mm_loadu_si128(window.as_ptr().cast());
        let blank = _mm_cmpeq_epi8(bytes, _mm_set1_epi8(b' ' as i8));
        // From tab to carriage return, without the vertical tab.
        let above_tab = _mm_sub_epi8(bytes, _mm_set1_epi8(b'\t' as i8));
        let control =
            _mm_cmpeq_epi8(_mm_min_epu8(above_tab, _mm_set1_epi8((b'\r' - b'\t') as i8)), above_tab);
        let control = _mm_andnot_si128(_mm_cmpeq_epi8(bytes, _mm_set1_epi8(0x0B)), control);
        _mm_movemask_epi8(_mm_or_si128(blank, control))
    };
    bits.cast_unsigned()
}

/// Which of the bytes are white space.
#[cfg(not(any(target_feature = "simd128", target_arch = "x86_64")))]
#[inline]
fn spaces(window: &[u8; WINDOW]) -> u32 {
    let bit = |(i, byte): (usize, &u8)| u32::from(byte.is_ascii_whitespace()) << i;
    window.iter().enumerate().map(bit).fold(0, |bits, bit| bits | bit)
}

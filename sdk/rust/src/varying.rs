//! Text and bytes: values of varying length in one buffer.
//!
//! Reading slices the buffer that crossed the boundary. Writing appends to one that grows; most values are words of a few
//! bytes, for which a call of `memcpy` would cost more than the copy, so those are copied by loads and stores that overlap.
#![allow(
    unsafe_code,
    reason = "short copies, and text that is known to be UTF-8 because only text was appended"
)]

use crate::error::Error;
use crate::row::Cell;
use crate::schema::{DataType, Schema};
use crate::table::{Column, Values, Varying};
use crate::value::{Builder, Read, Required, Value, Write};

/// A guess at a value's bytes, to reserve by.
const BYTES_PER_VALUE: usize = 8;

/// A view of a column of varying length; `D` is `str` or `[u8]`.
#[derive(Debug)]
pub struct Slices<'a, D: ?Sized> {
    offsets: &'a [u32],
    data: &'a D,
}

impl<D: ?Sized> Clone for Slices<'_, D> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<D: ?Sized> Copy for Slices<'_, D> {}

impl<D: ?Sized> Slices<'_, D> {
    #[inline]
    fn range(&self, row: usize) -> std::ops::Range<usize> {
        self.offsets[row] as usize..self.offsets[row + 1] as usize
    }
}

/// A growing column of text.
#[derive(Debug)]
pub struct Texts(Bytes);

/// A growing column of bytes.
#[derive(Debug)]
pub struct Bytes {
    offsets: Vec<u32>,
    data: Vec<u8>,
}

impl Bytes {
    #[inline]
    fn append(&mut self, bytes: &[u8]) {
        append(&mut self.data, bytes);
        self.offsets.push(u32::try_from(self.data.len()).expect("a chunk's column holds less than 4 GiB"));
    }
}

/// Appends bytes, without a call if they are few.
#[inline]
fn append(data: &mut Vec<u8>, bytes: &[u8]) {
    const SHORT: usize = 16;
    let length = bytes.len();
    if length > SHORT {
        data.extend_from_slice(bytes);
        return;
    }
    data.reserve(SHORT);
    let end = data.len();
    // SAFETY: every read lies in `bytes`, for each arm reads two pieces of at most its length, one from the start and one
    // that ends at the end. The writes lie in the room that was reserved, and `end + length` bytes are then initialised.
    unsafe {
        let (from, to) = (bytes.as_ptr(), data.as_mut_ptr().add(end));
        match length {
            8.. => copy_ends::<8>(from, to, length),
            4.. => copy_ends::<4>(from, to, length),
            2.. => copy_ends::<2>(from, to, length),
            1 => *to = *from,
            0 => {}
        }
        data.set_len(end + length);
    }
}

/// Copies the first and the last `N` of `length` bytes, which is all of them if they are at most `2 * N`.
///
/// # Safety
/// Both places must hold `length` bytes without overlapping, and `length` must be at least `N`.
#[inline]
unsafe fn copy_ends<const N: usize>(from: *const u8, to: *mut u8, length: usize) {
    // SAFETY: the caller vouches for `length >= N` bytes at both places.
    unsafe {
        let first = from.cast::<[u8; N]>().read();
        let last = from.add(length - N).cast::<[u8; N]>().read();
        to.cast::<[u8; N]>().write(first);
        to.add(length - N).cast::<[u8; N]>().write(last);
    }
}

impl Builder for Bytes {
    fn with_capacity(rows: usize) -> Self {
        let mut offsets = Vec::with_capacity(rows + 1);
        offsets.push(0);
        Self { offsets, data: Vec::with_capacity(rows * BYTES_PER_VALUE) }
    }

    fn append_null(&mut self) {
        self.append(&[]);
    }

    fn finish(self, _: &mut Vec<Column>) -> Column {
        Column { validity: None, values: Values::Binary(Varying { offsets: self.offsets, data: self.data }) }
    }
}

impl Builder for Texts {
    fn with_capacity(rows: usize) -> Self {
        Self(Bytes::with_capacity(rows))
    }

    fn append_null(&mut self) {
        self.0.append_null();
    }

    fn finish(self, _: &mut Vec<Column>) -> Column {
        // SAFETY: only whole strings were appended.
        let data = unsafe { String::from_utf8_unchecked(self.0.data) };
        Column { validity: None, values: Values::Utf8(Varying { offsets: self.0.offsets, data }) }
    }
}

/// The owned and the borrowed type of one kind of value.
macro_rules! varying {
    ($owned:ty, $borrowed:ty, $variant:ident, $name:literal, $builder:ty, $append:expr) => {
        impl Value for &$borrowed {
            fn data_type(_: &mut Schema) -> DataType {
                DataType::$variant
            }
        }

        impl Value for $owned {
            fn data_type(_: &mut Schema) -> DataType {
                DataType::$variant
            }
        }

        impl Required for &$borrowed {}
        impl Required for $owned {}

        impl<'b> Read for &'b $borrowed {
            type At<'a>
                = &'a $borrowed
            where
                'b: 'a;
            type Reader<'a>
                = Slices<'a, $borrowed>
            where
                'b: 'a;

            fn reader<'a>(cell: &Cell<'a, '_>) -> Result<Slices<'a, $borrowed>, Error>
            where
                'b: 'a,
            {
                let Values::$variant(values) = &cell.column.values else {
                    return Err(cell.wrong_type($name));
                };
                cell.require(values.offsets.len() > cell.rows)?;
                Ok(Slices { offsets: &values.offsets, data: &values.data })
            }

            #[inline]
            fn value<'a>(reader: &Slices<'a, $borrowed>, row: usize) -> &'a $borrowed
            where
                'b: 'a,
            {
                &reader.data[reader.range(row)]
            }
        }

        impl Read for $owned {
            type At<'a> = $owned;
            type Reader<'a> = Slices<'a, $borrowed>;

            fn reader<'a>(cell: &Cell<'a, '_>) -> Result<Slices<'a, $borrowed>, Error>
            where
                Self: 'a,
            {
                <&$borrowed>::reader(cell)
            }

            #[inline]
            fn value<'a>(reader: &Slices<'a, $borrowed>, row: usize) -> $owned
            where
                Self: 'a,
            {
                <&$borrowed>::value(reader, row).to_owned()
            }
        }

        impl Write for &$borrowed {
            type Builder = $builder;

            #[inline]
            fn append(self, builder: &mut $builder) {
                $append(builder, self);
            }
        }

        impl Write for $owned {
            type Builder = $builder;

            #[inline]
            fn append(self, builder: &mut $builder) {
                $append(builder, &self);
            }
        }
    };
}

varying!(String, str, Utf8, "utf8", Texts, |texts: &mut Texts, text: &str| texts.0.append(text.as_bytes()));
varying!(Vec<u8>, [u8], Binary, "binary", Bytes, |bytes: &mut Bytes, value: &[u8]| bytes.append(value));

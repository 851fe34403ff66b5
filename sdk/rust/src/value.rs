//! Values: the types that a column holds one of per row.
//!
//! A reader is a view of a column's buffers, small enough to copy. A builder is the buffers themselves, growing; they are
//! moved out at the end. Nothing is allocated per value unless the author's own type does (`String`, `Vec`).

use crate::bits::{self, Bits};
use crate::error::Error;
use crate::row::Cell;
use crate::schema::{DataType, Schema};
use crate::table::{Column, Values};

/// A type that a column can hold.
#[diagnostic::on_unimplemented(
    message = "`{Self}` cannot be a column's value",
    label = "not a value",
    note = "use bool, i64, f64, Timestamp, &str or String, &[u8] or Vec<u8>, List<T> or Vec<T> of those, or an Option of those"
)]
pub trait Value {
    /// Whether a value may be missing.
    const NULLABLE: bool = false;

    /// What the values are; a list adds its elements to the schema.
    fn data_type(schema: &mut Schema) -> DataType;
}

/// A value that is always there, so that an `Option` of it says all there is to say.
#[diagnostic::on_unimplemented(
    message = "an Option of `{Self}` cannot be a column's value",
    label = "not a value that an Option may hold",
    note = "use one Option around bool, i64, f64, Timestamp, text, bytes or a list"
)]
pub trait Required: Value {}

/// A value that can be read from a column.
pub trait Read: Value + Sized {
    /// The value, borrowing from a column that lives for `'a`: `&'a str` for a `&str`.
    type At<'a>
    where
        Self: 'a;

    /// A view of a column.
    type Reader<'a>: Copy
    where
        Self: 'a;

    /// Looks at a column.
    ///
    /// # Errors
    /// If the column is not of this type or too short.
    fn reader<'a>(cell: &Cell<'a, '_>) -> Result<Self::Reader<'a>, Error>
    where
        Self: 'a;

    /// The value at `row`.
    fn value<'a>(reader: &Self::Reader<'a>, row: usize) -> Self::At<'a>
    where
        Self: 'a;
}

/// A value that can be written to a column.
pub trait Write: Value {
    /// A column, growing.
    type Builder: Builder;

    /// Adds the value.
    fn append(self, builder: &mut Self::Builder);
}

/// A column that grows.
pub trait Builder {
    /// An empty column with room for about so many values.
    fn with_capacity(rows: usize) -> Self;

    /// Adds something in the place of a null.
    fn append_null(&mut self);

    /// The column; the elements of lists go to `items`.
    fn finish(self, items: &mut Vec<Column>) -> Column;
}

/// Microseconds since 1970-01-01T00:00:00Z.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Timestamp(pub i64);

/// A column of a plain type: its values are those of a Rust type, one a row.
macro_rules! number {
    ($type:ty, $stored:ty, $variant:ident, $name:literal, $wrap:expr, $unwrap:expr) => {
        impl Value for $type {
            fn data_type(_: &mut Schema) -> DataType {
                DataType::$variant
            }
        }

        impl Required for $type {}

        impl Read for $type {
            type At<'a> = $type;
            type Reader<'a> = &'a [$stored];

            fn reader<'a>(cell: &Cell<'a, '_>) -> Result<&'a [$stored], Error>
            where
                Self: 'a,
            {
                let Values::$variant(values) = &cell.column.values else {
                    return Err(cell.wrong_type($name));
                };
                cell.require(values.len() >= cell.rows)?;
                Ok(values)
            }

            #[inline]
            fn value<'a>(reader: &&'a [$stored], row: usize) -> $type
            where
                Self: 'a,
            {
                $wrap(reader[row])
            }
        }

        impl Write for $type {
            type Builder = Numbers<$type, $stored>;

            #[inline]
            fn append(self, builder: &mut Self::Builder) {
                builder.values.push($unwrap(self));
            }
        }

        impl Builder for Numbers<$type, $stored> {
            fn with_capacity(rows: usize) -> Self {
                Self { values: Vec::with_capacity(rows), of: std::marker::PhantomData }
            }

            fn append_null(&mut self) {
                self.values.push(<$stored>::default());
            }

            fn finish(self, _: &mut Vec<Column>) -> Column {
                Column { validity: None, values: Values::$variant(self.values) }
            }
        }
    };
}

/// A growing column of numbers of type `T`, stored as `S`.
#[derive(Debug)]
pub struct Numbers<T, S> {
    values: Vec<S>,
    of: std::marker::PhantomData<fn(T)>,
}

number!(i64, i64, Int64, "int64", |value| value, |value| value);
number!(f64, f64, Float64, "float64", |value| value, |value| value);
number!(Timestamp, i64, Timestamp, "timestamp", Timestamp, |value: Timestamp| value.0);

impl Value for bool {
    fn data_type(_: &mut Schema) -> DataType {
        DataType::Boolean
    }
}

impl Required for bool {}

impl Read for bool {
    type At<'a> = bool;
    type Reader<'a> = &'a [u8];

    fn reader<'a>(cell: &Cell<'a, '_>) -> Result<&'a [u8], Error>
    where
        Self: 'a,
    {
        let Values::Boolean(values) = &cell.column.values else {
            return Err(cell.wrong_type("boolean"));
        };
        cell.require(values.len() >= cell.rows.div_ceil(8))?;
        Ok(values)
    }

    #[inline]
    fn value<'a>(reader: &&'a [u8], row: usize) -> bool
    where
        Self: 'a,
    {
        bits::get(reader, row)
    }
}

impl Write for bool {
    type Builder = Bits;

    #[inline]
    fn append(self, builder: &mut Bits) {
        builder.push(self);
    }
}

impl Builder for Bits {
    fn with_capacity(rows: usize) -> Self {
        Bits::with_capacity(rows)
    }

    fn append_null(&mut self) {
        self.push(false);
    }

    fn finish(self, _: &mut Vec<Column>) -> Column {
        Column { validity: None, values: Values::Boolean(self.into_bytes()) }
    }
}

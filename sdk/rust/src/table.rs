//! Tables as flat typed columns, in the shape in which they cross the boundary.
//!
//! The buffers are moved in and out, never copied. Text is held as a `String`, so that whatever reads it may rely on UTF-8.

use crate::error::Error;
use crate::list::Rows;
use crate::row::{Columns, ReadRow, WriteRow};

/// Columns of as many rows each, in the order of a schema's fields.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Table {
    /// How many rows there are.
    pub rows: usize,
    /// One column a field.
    pub columns: Vec<Column>,
    /// The elements of the list columns, in the order of the schema's items.
    pub items: Vec<Column>,
}

/// The values of a column and which of them are there.
#[derive(Clone, Debug, PartialEq)]
pub struct Column {
    /// A bitmap with a 1 where there is a value; absent where no value is null.
    pub validity: Option<Vec<u8>>,
    /// The values.
    pub values: Values,
}

/// The values of a column.
#[derive(Clone, Debug, PartialEq)]
pub enum Values {
    /// A bitmap: value `i` is bit `i % 8`, counted from the lowest, of byte `i / 8`.
    Boolean(Vec<u8>),
    /// 64-bit signed integers.
    Int64(Vec<i64>),
    /// 64-bit floating point numbers.
    Float64(Vec<f64>),
    /// Microseconds since 1970-01-01T00:00:00Z.
    Timestamp(Vec<i64>),
    /// Text.
    Utf8(Varying<String>),
    /// Bytes.
    Binary(Varying<Vec<u8>>),
    /// Lists of elements of another column.
    List(Lists),
}

/// Values of varying length: value `i` is `data[offsets[i] .. offsets[i + 1]]`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Varying<D> {
    /// One more than there are values; they never fall.
    pub offsets: Vec<u32>,
    /// The values one after the other.
    pub data: D,
}

/// List `i` holds the values `offsets[i] .. offsets[i + 1]` of the table's item column `item`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Lists {
    /// One more than there are lists; they never fall.
    pub offsets: Vec<u32>,
    /// The place of the elements among the table's items.
    pub item: u32,
}

impl Table {
    /// A table of rows.
    pub fn of<T: WriteRow>(rows: impl IntoIterator<Item = T>) -> Self {
        let mut builders = T::builders(0);
        let mut count = 0;
        for row in rows {
            row.write(&mut builders);
            count += 1;
        }
        Self::finish::<T>(count, builders)
    }

    /// The rows of the table, read as `T`. `name` stands for the column in errors if `T` is a single value.
    ///
    /// # Errors
    /// If the columns are not those of `T`.
    pub fn read<'a, T: ReadRow + 'a>(&'a self, name: &str) -> Result<Rows<'a, T>, Error> {
        let readers = T::open(name, &mut Columns::of(self))?;
        Ok(Rows::new(readers, 0..self.rows))
    }

    pub(crate) fn finish<T: WriteRow>(rows: usize, builders: T::Builders) -> Self {
        let mut table = Self { rows, ..Self::default() };
        T::finish(builders, &mut table);
        table
    }
}

impl Values {
    /// What the values are, in words.
    pub(crate) fn type_name(&self) -> &'static str {
        match self {
            Self::Boolean(_) => "boolean",
            Self::Int64(_) => "int64",
            Self::Float64(_) => "float64",
            Self::Timestamp(_) => "timestamp",
            Self::Utf8(_) => "utf8",
            Self::Binary(_) => "binary",
            Self::List(_) => "list",
        }
    }
}

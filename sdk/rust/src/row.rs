//! Rows: what a function takes and returns, over one column or several.
//!
//! A single value is a row of one column, named by the parameter or the attribute. A struct with `#[derive(Row)]` is a row
//! of a column per field. Both are read and written value by value, straight from and to the columns' buffers.

use crate::error::Error;
use crate::schema::{Field, Schema};
use crate::table::{Column, Table};
use crate::value::{Builder, Read, Value, Write};

/// A type with columns.
#[diagnostic::on_unimplemented(
    message = "`{Self}` is neither a value nor a row",
    label = "not a value or a row",
    note = "use bool, i64, f64, Timestamp, text, bytes, a list of those, an Option of those, or a struct with #[derive(Row)]"
)]
pub trait Row {
    /// Adds the type's columns to a schema; `name` is the name of a single value's column.
    fn fields(name: &str, schema: &mut Schema);
}

/// A row that can be read from a table's columns.
#[diagnostic::on_unimplemented(
    message = "`{Self}` cannot be read from columns",
    label = "not an input",
    note = "use bool, i64, f64, Timestamp, text, bytes, a list of those, an Option of those, or a struct with #[derive(Row)]"
)]
pub trait ReadRow: Row + Sized {
    /// The row, borrowing from columns that live for `'a`: `Order<'a>` for an `Order<'_>`.
    type At<'a>
    where
        Self: 'a;

    /// The columns, ready to be read.
    type Readers<'a>: Copy
    where
        Self: 'a;

    /// Takes the type's columns off a table's.
    ///
    /// # Errors
    /// If a column is missing or is not what it should be.
    fn open<'a>(name: &str, columns: &mut Columns<'a>) -> Result<Self::Readers<'a>, Error>
    where
        Self: 'a;

    /// The row at `row`.
    fn read<'a>(readers: &Self::Readers<'a>, row: usize) -> Self::At<'a>
    where
        Self: 'a;
}

/// A row that can be written to a table's columns.
#[diagnostic::on_unimplemented(
    message = "`{Self}` cannot be written to columns",
    label = "not an output",
    note = "use bool, i64, f64, Timestamp, text, bytes, a list of those, an Option of those, or a struct with #[derive(Row)]"
)]
pub trait WriteRow: Row + Sized {
    /// The columns, growing.
    type Builders;

    /// Empty columns with room for about so many rows.
    fn builders(rows: usize) -> Self::Builders;

    /// Adds the row.
    fn write(self, builders: &mut Self::Builders);

    /// Adds something in the place of a row that nobody reads.
    fn write_nothing(builders: &mut Self::Builders);

    /// Moves the columns into a table.
    fn finish(builders: Self::Builders, table: &mut Table);
}

/// A table's columns, taken off one by one.
#[derive(Debug)]
pub struct Columns<'a> {
    table: &'a Table,
    next: usize,
    /// Whether the columns may hold nulls that the type has no place for, in rows that are not read.
    loose: bool,
}

impl<'a> Columns<'a> {
    /// The columns of a table, from the first.
    #[must_use]
    pub fn of(table: &'a Table) -> Self {
        Self { table, next: 0, loose: false }
    }

    /// The columns of a table of states, which has nulls where a key has no state.
    pub(crate) fn of_states(table: &'a Table) -> Self {
        Self { loose: true, ..Self::of(table) }
    }

    /// Takes the next column as one of values of `T`.
    ///
    /// # Errors
    /// If the column is missing or is not what it should be.
    pub fn open<T: Read + 'a>(&mut self, name: &str) -> Result<T::Reader<'a>, Error> {
        let column = self
            .table
            .columns
            .get(self.next)
            .ok_or_else(|| Error::MissingColumn { column: name.to_owned() })?;
        self.next += 1;
        let Table { rows, items, .. } = self.table;
        Cell { name, rows: *rows, column, items, first_item: 0, loose: self.loose }.open::<T>()
    }
}

/// A column about to be opened: what a reader is made of.
#[derive(Clone, Copy, Debug)]
pub struct Cell<'a, 'n> {
    pub(crate) name: &'n str,
    pub(crate) rows: usize,
    pub(crate) column: &'a Column,
    pub(crate) items: &'a [Column],
    /// Lists refer only to items from here on, so that opening ends.
    pub(crate) first_item: usize,
    /// Whether there may be nulls that the type has no place for, in rows that are not read.
    pub(crate) loose: bool,
}

impl<'a> Cell<'a, '_> {
    pub(crate) fn open<T: Read + 'a>(&self) -> Result<T::Reader<'a>, Error> {
        if let Some(validity) = &self.column.validity {
            self.require(validity.len() >= self.rows.div_ceil(8))?;
            let null = crate::bits::first_zero(validity, self.rows);
            if let (false, Some(row)) = (T::NULLABLE || self.loose, null) {
                return Err(Error::Null { column: self.name.to_owned(), row });
            }
        }
        T::reader(self)
    }

    /// Refuses a column whose buffers are too short.
    pub(crate) fn require(&self, long_enough: bool) -> Result<(), Error> {
        if long_enough {
            Ok(())
        } else {
            Err(Error::TooShort { column: self.name.to_owned(), rows: self.rows })
        }
    }

    pub(crate) fn wrong_type(&self, expected: &'static str) -> Error {
        Error::wrong_type(self.name, expected, self.column.values.type_name())
    }
}

impl<T: Value> Row for T {
    fn fields(name: &str, schema: &mut Schema) {
        let data_type = T::data_type(schema);
        schema.fields.push(Field { name: name.to_owned(), data_type, nullable: T::NULLABLE });
    }
}

impl<T: Read> ReadRow for T {
    type At<'a>
        = <T as Read>::At<'a>
    where
        T: 'a;
    type Readers<'a>
        = T::Reader<'a>
    where
        T: 'a;

    fn open<'a>(name: &str, columns: &mut Columns<'a>) -> Result<T::Reader<'a>, Error>
    where
        T: 'a,
    {
        columns.open::<T>(name)
    }

    #[inline]
    fn read<'a>(reader: &T::Reader<'a>, row: usize) -> <T as Read>::At<'a>
    where
        T: 'a,
    {
        T::value(reader, row)
    }
}

impl<T: Write> WriteRow for T {
    type Builders = T::Builder;

    fn builders(rows: usize) -> T::Builder {
        T::Builder::with_capacity(rows)
    }

    #[inline]
    fn write(self, builder: &mut T::Builder) {
        self.append(builder);
    }

    fn write_nothing(builder: &mut T::Builder) {
        builder.append_null();
    }

    fn finish(builder: T::Builder, table: &mut Table) {
        let column = builder.finish(&mut table.items);
        table.columns.push(column);
    }
}

/// No columns: a key that does not matter, rows of which only the number does, an output that is never given.
impl Row for () {
    fn fields(_: &str, _: &mut Schema) {}
}

impl ReadRow for () {
    type At<'a> = ();
    type Readers<'a> = ();

    fn open<'a>(_: &str, _: &mut Columns<'a>) -> Result<(), Error>
    where
        Self: 'a,
    {
        Ok(())
    }

    fn read<'a>((): &(), _: usize)
    where
        Self: 'a,
    {
    }
}

impl WriteRow for () {
    type Builders = ();

    fn builders(_: usize) {}

    fn write(self, (): &mut ()) {}

    fn write_nothing((): &mut ()) {}

    fn finish((): (), _: &mut Table) {}
}

//! Values that may be missing.

use crate::bits::{self, Bits};
use crate::error::Error;
use crate::row::Cell;
use crate::schema::{DataType, Schema};
use crate::table::Column;
use crate::value::{Builder, Read, Required, Value, Write};

impl<T: Required> Value for Option<T> {
    const NULLABLE: bool = true;

    fn data_type(schema: &mut Schema) -> DataType {
        T::data_type(schema)
    }
}

impl<T: Read + Required> Read for Option<T> {
    type At<'a>
        = Option<T::At<'a>>
    where
        T: 'a;
    type Reader<'a>
        = (Option<&'a [u8]>, T::Reader<'a>)
    where
        T: 'a;

    fn reader<'a>(cell: &Cell<'a, '_>) -> Result<Self::Reader<'a>, Error>
    where
        T: 'a,
    {
        Ok((cell.column.validity.as_deref(), T::reader(cell)?))
    }

    #[inline]
    fn value<'a>((validity, reader): &Self::Reader<'a>, row: usize) -> Option<T::At<'a>>
    where
        T: 'a,
    {
        match validity {
            Some(validity) if !bits::get(validity, row) => None,
            _ => Some(T::value(reader, row)),
        }
    }
}

impl<T: Write + Required> Write for Option<T> {
    type Builder = Nullable<T::Builder>;

    #[inline]
    fn append(self, builder: &mut Self::Builder) {
        match self {
            Some(value) => {
                value.append(&mut builder.values);
                builder.mark(true);
            }
            None => {
                builder.values.append_null();
                builder.mark(false);
            }
        }
    }
}

/// A growing column with nulls. It has a bitmap only from its first null on.
#[derive(Debug)]
pub struct Nullable<B> {
    values: B,
    rows: usize,
    validity: Option<Bits>,
}

impl<B> Nullable<B> {
    #[inline]
    fn mark(&mut self, valid: bool) {
        if let Some(validity) = &mut self.validity {
            validity.push(valid);
        } else if !valid {
            self.validity.insert(Bits::ones(self.rows)).push(false);
        }
        self.rows += 1;
    }
}

impl<B: Builder> Builder for Nullable<B> {
    fn with_capacity(rows: usize) -> Self {
        Self { values: B::with_capacity(rows), rows: 0, validity: None }
    }

    fn append_null(&mut self) {
        self.values.append_null();
        self.mark(false);
    }

    fn finish(self, items: &mut Vec<Column>) -> Column {
        Column { validity: self.validity.map(Bits::into_bytes), ..self.values.finish(items) }
    }
}

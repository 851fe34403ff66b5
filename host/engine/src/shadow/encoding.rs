//! Rows as bytes that are equal where the rows are.
//!
//! What holds of digests holds here: values and logical types count and their physical form does not, all NaN are one, 0.0 and
//! -0.0 are two. Most columns are encoded by Arrow's row format, which is exact. Instead of the others there are the words
//! that digests are made of: those of a floating point number are exact too, and those of lists of them, of unions and maps, and
//! of columns that have several physical forms are hashes of 64 bits.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, NullArray, RecordBatch, UInt64Array};
use arrow::datatypes::DataType;
use arrow::error::ArrowError;
use arrow::row::{RowConverter, Rows, SortField};

use crate::digest::words;

/// The rows of both sides, encoded alike; those of each in the order of its tables. All tables have the same logical columns.
pub(super) fn encode(before: &[RecordBatch], after: &[RecordBatch]) -> Result<[Rows; 2], ArrowError> {
    let forms = forms(before.iter().chain(after));
    let converter = RowConverter::new(forms.iter().map(Form::field).collect())?;
    let side = |tables: &[RecordBatch]| {
        let mut rows = converter.empty_rows(tables.iter().map(RecordBatch::num_rows).sum(), 0);
        for table in tables {
            converter.append(&mut rows, &encodable(table, &forms))?;
        }
        Ok::<_, ArrowError>(rows)
    };
    Ok([side(before)?, side(after)?])
}

/// How a column is encoded.
enum Form {
    /// By the row format.
    Values(DataType),
    /// By its words.
    Words,
    /// There is no column, and rows are equal.
    Nothing,
}

impl Form {
    fn field(&self) -> SortField {
        match self {
            Self::Values(data_type) => SortField::new(data_type.clone()),
            Self::Words => SortField::new(DataType::UInt64),
            Self::Nothing => SortField::new(DataType::Null),
        }
    }

    fn of(&self, column: &ArrayRef) -> ArrayRef {
        match self {
            Self::Words => Arc::new(UInt64Array::new(words(column).into(), column.logical_nulls())),
            Self::Values(_) | Self::Nothing => Arc::clone(column),
        }
    }
}

fn forms<'t>(mut tables: impl Iterator<Item = &'t RecordBatch>) -> Vec<Form> {
    let Some(first) = tables.next() else { return vec![Form::Nothing] };
    let mut forms: Vec<Form> = first.columns().iter().map(|column| form(column.data_type())).collect();
    for table in tables {
        for (form, column) in forms.iter_mut().zip(table.columns()) {
            if matches!(form, Form::Values(data_type) if data_type != column.data_type()) {
                *form = Form::Words;
            }
        }
    }
    if forms.is_empty() {
        forms.push(Form::Nothing);
    }
    forms
}

fn form(data_type: &DataType) -> Form {
    match is_exact(data_type) {
        true => Form::Values(data_type.clone()),
        false => Form::Words,
    }
}

/// Whether the row format takes values of that type, and those that are equal here are equal there.
fn is_exact(data_type: &DataType) -> bool {
    match data_type {
        DataType::List(item) | DataType::LargeList(item) | DataType::FixedSizeList(item, _) => {
            is_exact(item.data_type())
        }
        DataType::Struct(fields) => fields.iter().all(|field| is_exact(field.data_type())),
        DataType::Dictionary(_, values) => !values.is_nested() && is_exact(values),
        other => !other.is_nested() && !other.is_floating(),
    }
}

fn encodable(table: &RecordBatch, forms: &[Form]) -> Vec<ArrayRef> {
    if table.num_columns() == 0 {
        return vec![Arc::new(NullArray::new(table.num_rows()))];
    }
    table.columns().iter().zip(forms).map(|(column, form)| form.of(column)).collect()
}

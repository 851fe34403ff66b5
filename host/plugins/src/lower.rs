//! Arrow columns on their way into a guest: buffers borrowed where they lie as the contract wants them,
//! gathered once where they do not.

use arrow::array::{Array, ArrayRef, AsArray, GenericByteViewArray};
use arrow::buffer::{BooleanBuffer, Buffer, ScalarBuffer};
use arrow::datatypes::{ByteViewType, DataType, Float64Type, Int64Type, TimeUnit, TimestampMicrosecondType};
use arrow::record_batch::RecordBatch;

use crate::contract::{ColumnIn, ListsIn, TableIn, ValuesIn, VaryingIn};

/// A table whose buffers are in the contract's layout; [`Lowered::table`] borrows it for the crossing.
#[derive(Debug)]
pub(crate) struct Lowered {
    rows: u32,
    columns: Vec<Column>,
    items: Vec<Column>,
}

#[derive(Debug)]
struct Column {
    validity: Option<Buffer>,
    values: Values,
}

#[derive(Debug)]
enum Values {
    Boolean(Buffer),
    Int64(ScalarBuffer<i64>),
    Float64(ScalarBuffer<f64>),
    Timestamp(ScalarBuffer<i64>),
    Utf8(Vec<u32>, Vec<u8>),
    Binary(Vec<u32>, Vec<u8>),
    List(Vec<u32>, u32),
}

impl Lowered {
    /// Fails with what is too large or of no type of the contract.
    pub(crate) fn new(rows: &RecordBatch) -> Result<Self, String> {
        let mut items = Vec::new();
        let columns = rows.columns().iter().map(|column| lower(column, &mut items));
        let columns = columns.collect::<Result<_, _>>()?;
        Ok(Self { rows: u32::try_from(rows.num_rows()).map_err(|_| too_large())?, columns, items })
    }

    pub(crate) fn table(&self) -> TableIn<'_> {
        TableIn {
            rows: self.rows,
            columns: self.columns.iter().map(Column::borrow).collect(),
            items: self.items.iter().map(Column::borrow).collect(),
        }
    }
}

impl Column {
    fn borrow(&self) -> ColumnIn<'_> {
        let values = match &self.values {
            Values::Boolean(bits) => ValuesIn::Boolean(bits),
            Values::Int64(values) => ValuesIn::Int64(values),
            Values::Float64(values) => ValuesIn::Float64(values),
            Values::Timestamp(values) => ValuesIn::Timestamp(values),
            Values::Utf8(offsets, data) => ValuesIn::Utf8(VaryingIn { offsets, data }),
            Values::Binary(offsets, data) => ValuesIn::Binary(VaryingIn { offsets, data }),
            Values::List(offsets, item) => ValuesIn::List(ListsIn { offsets, item: *item }),
        };
        ColumnIn { validity: self.validity.as_deref(), values }
    }
}

/// Lowers a column; the elements of lists become further `items`.
fn lower(array: &ArrayRef, items: &mut Vec<Column>) -> Result<Column, String> {
    let values = match array.data_type() {
        DataType::Boolean => Values::Boolean(bits(array.as_boolean().values())),
        DataType::Int64 => Values::Int64(array.as_primitive::<Int64Type>().values().clone()),
        DataType::Float64 => Values::Float64(array.as_primitive::<Float64Type>().values().clone()),
        DataType::Timestamp(TimeUnit::Microsecond, _) => {
            Values::Timestamp(array.as_primitive::<TimestampMicrosecondType>().values().clone())
        }
        DataType::Utf8View => {
            let (offsets, data) = gather(array.as_string_view())?;
            Values::Utf8(offsets, data)
        }
        DataType::BinaryView => {
            let (offsets, data) = gather(array.as_binary_view())?;
            Values::Binary(offsets, data)
        }
        DataType::List(_) => lower_list(array, items)?,
        other => return Err(format!("a column of type {other} cannot be handed to a plugin")),
    };
    let nulls = array.nulls().filter(|nulls| nulls.null_count() > 0);
    Ok(Column { validity: nulls.map(|nulls| bits(nulls.inner())), values })
}

fn lower_list(array: &ArrayRef, items: &mut Vec<Column>) -> Result<Values, String> {
    let lists = array.as_list::<i32>();
    let (first, last) = (lists.value_offsets()[0], lists.value_offsets()[lists.len()]);
    let offsets = lists.value_offsets().iter().map(|offset| u32::try_from(offset - first));
    let offsets = offsets.collect::<Result<_, _>>().map_err(|_| too_large())?;
    let elements = lists.values().slice(first as usize, (last - first) as usize);
    // The place is taken before the elements are lowered: an item refers only to items after it.
    let item = items.len();
    items.push(Column { validity: None, values: Values::Boolean(Buffer::default()) });
    items[item] = lower(&elements, items)?;
    Ok(Values::List(offsets, u32::try_from(item).map_err(|_| too_large())?))
}

/// Puts the values of a view array behind each other.
fn gather<T: ByteViewType + ?Sized>(array: &GenericByteViewArray<T>) -> Result<(Vec<u32>, Vec<u8>), String> {
    let total: u64 = array.lengths().map(u64::from).sum();
    if u32::try_from(total).is_err() {
        return Err(too_large());
    }
    let mut data = Vec::with_capacity(total as usize);
    let mut offsets = Vec::with_capacity(array.len() + 1);
    offsets.push(0);
    for row in 0..array.len() {
        // A null's view may say anything; its value is empty.
        if array.is_valid(row) {
            let value: &[u8] = array.value(row).as_ref();
            data.extend_from_slice(value);
        }
        offsets.push(data.len() as u32);
    }
    Ok((offsets, data))
}

/// A bitmap that begins at the first bit of a byte.
pub(crate) fn bits(buffer: &BooleanBuffer) -> Buffer {
    buffer.sliced()
}

fn too_large() -> String {
    "more than 4 GiB of values in one call".to_owned()
}

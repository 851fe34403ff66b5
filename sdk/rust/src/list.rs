//! Lists: a column's values that are runs of another column's, and the rows of a partition, which are a list as well.
//!
//! Reading a list copies nothing: it is a range of the elements' column. Writing one appends its elements to their column.

use std::ops::Range;

use crate::error::Error;
use crate::row::{Cell, ReadRow};
use crate::schema::{DataType, Schema};
use crate::table::{Column, Lists, Values};
use crate::value::{Builder, Read, Required, Value, Write};

/// A list of values or rows, read from columns as it is walked over.
///
/// Tests make one from a slice: `List::from(&["a", "b"][..])`.
pub struct List<'a, T: ReadRow + 'a> {
    source: Source<'a, T>,
    range: Range<usize>,
}

/// Rows that are taken as a whole: a partition's in a transform, a key's new ones in an update-state.
pub type Rows<'a, T> = List<'a, T>;

enum Source<'a, T: ReadRow + 'a> {
    Columns(T::Readers<'a>),
    /// A slice, and how to take an element out of it.
    Slice(&'a [T], fn(&T) -> T::At<'a>),
}

impl<'a, T: ReadRow> List<'a, T> {
    /// The rows of a range of open columns.
    #[doc(hidden)]
    #[must_use]
    pub fn new(readers: T::Readers<'a>, range: Range<usize>) -> Self {
        Self { source: Source::Columns(readers), range }
    }

    /// How many elements there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.range.len()
    }

    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.range.is_empty()
    }

    /// The element at `index`, if there are as many.
    #[must_use]
    pub fn get(&self, index: usize) -> Option<T::At<'a>> {
        (index < self.len()).then(|| self.source.read(self.range.start + index))
    }

    /// The elements, in order.
    pub fn iter(&self) -> Iter<'a, T> {
        self.clone().into_iter()
    }
}

impl<'a, T: ReadRow> Source<'a, T> {
    #[inline]
    fn read(&self, row: usize) -> T::At<'a> {
        match self {
            Self::Columns(readers) => T::read(readers, row),
            Self::Slice(slice, take) => take(&slice[row]),
        }
    }
}

impl<'a, T: ReadRow> Clone for Source<'a, T> {
    fn clone(&self) -> Self {
        match self {
            Self::Columns(readers) => Self::Columns(*readers),
            Self::Slice(slice, take) => Self::Slice(slice, *take),
        }
    }
}

impl<'a, T: ReadRow> Clone for List<'a, T> {
    fn clone(&self) -> Self {
        Self { source: self.source.clone(), range: self.range.clone() }
    }
}

impl<'a, T: ReadRow<At<'a>: std::fmt::Debug>> std::fmt::Debug for List<'a, T> {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.debug_list().entries(self.iter()).finish()
    }
}

impl<'a, T: ReadRow<At<'a>: PartialEq>> PartialEq for List<'a, T> {
    fn eq(&self, other: &Self) -> bool {
        self.iter().eq(other.iter())
    }
}

impl<'a, T: ReadRow<At<'a> = T> + Clone> From<&'a [T]> for List<'a, T> {
    fn from(slice: &'a [T]) -> Self {
        Self { source: Source::Slice(slice, T::clone), range: 0..slice.len() }
    }
}

/// Walks over a list.
pub struct Iter<'a, T: ReadRow + 'a>(List<'a, T>);

impl<'a, T: ReadRow> Iterator for Iter<'a, T> {
    type Item = T::At<'a>;

    #[inline]
    fn next(&mut self) -> Option<T::At<'a>> {
        self.0.range.next().map(|row| self.0.source.read(row))
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        self.0.range.size_hint()
    }
}

impl<'a, T: ReadRow> ExactSizeIterator for Iter<'a, T> {}

impl<'a, T: ReadRow> IntoIterator for List<'a, T> {
    type Item = T::At<'a>;
    type IntoIter = Iter<'a, T>;

    fn into_iter(self) -> Iter<'a, T> {
        Iter(self)
    }
}

impl<'a, T: ReadRow> IntoIterator for &List<'a, T> {
    type Item = T::At<'a>;
    type IntoIter = Iter<'a, T>;

    fn into_iter(self) -> Iter<'a, T> {
        self.iter()
    }
}

/// A view of a column of lists.
#[derive(Clone, Copy, Debug)]
pub struct Runs<'a, R> {
    offsets: &'a [u32],
    elements: R,
}

impl<T: Read> Value for List<'_, T> {
    fn data_type(schema: &mut Schema) -> DataType {
        DataType::List(schema.add_item(T::NULLABLE, T::data_type))
    }
}

impl<T: Value> Value for Vec<T> {
    fn data_type(schema: &mut Schema) -> DataType {
        DataType::List(schema.add_item(T::NULLABLE, T::data_type))
    }
}

impl<T: Read> Required for List<'_, T> {}
impl<T: Value> Required for Vec<T> {}

impl<'b, T: Read> Read for List<'b, T> {
    type At<'a>
        = List<'a, T>
    where
        Self: 'a;
    type Reader<'a>
        = Runs<'a, T::Reader<'a>>
    where
        Self: 'a;

    fn reader<'a>(cell: &Cell<'a, '_>) -> Result<Self::Reader<'a>, Error>
    where
        Self: 'a,
    {
        let Values::List(lists) = &cell.column.values else {
            return Err(cell.wrong_type("list"));
        };
        cell.require(lists.offsets.len() > cell.rows)?;
        let item = lists.item as usize;
        let missing = || Error::MissingItem { column: cell.name.to_owned(), item };
        let column = cell.items.get(item).filter(|_| item >= cell.first_item).ok_or_else(missing)?;
        let rows = lists.offsets[cell.rows] as usize;
        let elements = Cell { rows, column, first_item: item + 1, loose: false, ..*cell }.open::<T>()?;
        Ok(Runs { offsets: &lists.offsets, elements })
    }

    #[inline]
    fn value<'a>(reader: &Self::Reader<'a>, row: usize) -> List<'a, T>
    where
        Self: 'a,
    {
        List::new(reader.elements, reader.offsets[row] as usize..reader.offsets[row + 1] as usize)
    }
}

impl<T: Read> Read for Vec<T> {
    type At<'a>
        = Vec<<T as Read>::At<'a>>
    where
        T: 'a;
    type Reader<'a>
        = Runs<'a, T::Reader<'a>>
    where
        T: 'a;

    fn reader<'a>(cell: &Cell<'a, '_>) -> Result<Self::Reader<'a>, Error>
    where
        T: 'a,
    {
        List::<'a, T>::reader(cell)
    }

    fn value<'a>(reader: &Self::Reader<'a>, row: usize) -> Vec<<T as Read>::At<'a>>
    where
        T: 'a,
    {
        List::<'a, T>::value(reader, row).into_iter().collect()
    }
}

/// A growing column of lists.
#[derive(Debug)]
pub struct Lengths<B> {
    offsets: Vec<u32>,
    elements: B,
}

impl<B: Builder> Lengths<B> {
    fn append<T: Write<Builder = B>>(&mut self, values: impl IntoIterator<Item = T>) {
        let mut end = self.offsets.last().copied().unwrap_or_default();
        for value in values {
            value.append(&mut self.elements);
            end = end.checked_add(1).expect("a chunk's lists hold less than 4 billion elements");
        }
        self.offsets.push(end);
    }
}

impl<B: Builder> Builder for Lengths<B> {
    fn with_capacity(rows: usize) -> Self {
        let mut offsets = Vec::with_capacity(rows + 1);
        offsets.push(0);
        Self { offsets, elements: B::with_capacity(rows) }
    }

    fn append_null(&mut self) {
        self.offsets.push(self.offsets.last().copied().unwrap_or_default());
    }

    fn finish(self, items: &mut Vec<Column>) -> Column {
        // Items are numbered as `Schema::add_item` numbers them: a list's element before the elements of that.
        let place = items.len();
        items.push(Column { validity: None, values: Values::Boolean(Vec::new()) });
        items[place] = self.elements.finish(items);
        let item = u32::try_from(place).expect("a type nests less than 4 billion lists");
        Column { validity: None, values: Values::List(Lists { offsets: self.offsets, item }) }
    }
}

impl<T: Write> Write for Vec<T> {
    type Builder = Lengths<T::Builder>;

    fn append(self, builder: &mut Self::Builder) {
        builder.append(self);
    }
}

impl<'b, T: Read<At<'b> = T> + Write> Write for List<'b, T> {
    type Builder = Lengths<T::Builder>;

    fn append(self, builder: &mut Self::Builder) {
        builder.append(self);
    }
}

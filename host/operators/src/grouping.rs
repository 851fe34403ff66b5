//! Which rows of a table have the same key.

use std::hash::BuildHasher;

use arrow::array::{ArrayRef, UInt32Array};
use arrow::row::{RowConverter, SortField};
use hashbrown::{DefaultHashBuilder, HashTable};
use millstream_query::QueryError;

use crate::columns::misfit;

/// Rows by key, keys numbered in the order in which they come first.
#[derive(Debug)]
pub(crate) struct Grouping {
    /// The key of each row.
    pub(crate) of: Vec<u32>,
    /// The first row of each key.
    pub(crate) first: Vec<u32>,
}

impl Grouping {
    /// All rows of a table in one group; none where there are no rows.
    pub(crate) fn whole(rows: usize) -> Self {
        Self { of: vec![0; rows], first: if rows == 0 { Vec::new() } else { vec![0] } }
    }

    /// By the values of these columns. Nulls are one value.
    pub(crate) fn by(columns: &[ArrayRef], rows: usize) -> Result<Self, QueryError> {
        if columns.is_empty() {
            return Ok(Self::whole(rows));
        }
        let fields = columns.iter().map(|column| SortField::new(column.data_type().clone()));
        let converter = RowConverter::new(fields.collect()).map_err(misfit)?;
        let keys = converter.convert_columns(columns).map_err(misfit)?;
        Ok(Self::of_keys(rows, |row| keys.row(row).data()))
    }

    /// By the encoded keys of so many rows.
    pub(crate) fn of_keys<'k>(rows: usize, key_of: impl Fn(usize) -> &'k [u8]) -> Self {
        let hashing = DefaultHashBuilder::default();
        // The hash stands beside the group, so that a table that grows and most keys that differ need no look at a key.
        let mut groups: HashTable<(u64, u32)> = HashTable::new();
        let (mut of, mut first) = (Vec::with_capacity(rows), Vec::new());
        for row in 0..rows {
            let key = key_of(row);
            let hash = hashing.hash_one(key);
            let same = |(other, group): &(u64, u32)| {
                *other == hash && key_of(first[*group as usize] as usize) == key
            };
            if let Some((_, group)) = groups.find(hash, same) {
                of.push(*group);
                continue;
            }
            let group = number(first.len());
            groups.insert_unique(hash, (hash, group), |(hash, _)| *hash);
            of.push(group);
            first.push(number(row));
        }
        Self { of, first }
    }

    /// How many keys there are.
    pub(crate) fn count(&self) -> usize {
        self.first.len()
    }

    /// The first row of each key, to take the keys from.
    pub(crate) fn firsts(&self) -> UInt32Array {
        UInt32Array::from(self.first.clone())
    }

    /// The rows key by key, each key's in their order, and where each key's begin; the last start is where all end.
    pub(crate) fn sorted(&self) -> (Vec<u32>, Vec<u32>) {
        let mut starts = vec![0_u32; self.count() + 1];
        for group in &self.of {
            starts[*group as usize + 1] += 1;
        }
        for group in 0..self.count() {
            starts[group + 1] += starts[group];
        }
        let mut next = starts.clone();
        let mut order = vec![0_u32; self.of.len()];
        for (row, group) in self.of.iter().enumerate() {
            let place = &mut next[*group as usize];
            order[*place as usize] = number(row);
            *place += 1;
        }
        (order, starts)
    }
}

/// A row's or a key's number.
pub(crate) fn number(index: usize) -> u32 {
    u32::try_from(index).expect("a batch has fewer than four thousand million rows")
}

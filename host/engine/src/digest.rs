//! A few bytes that tell whether two runs of a batch gave a sink the same rows.
//!
//! A row's hash is 64 bits, and a digest is how many rows there are with the wrapping sum of their hashes. So equal
//! multisets of rows have equal digests, in whatever order the rows are and however they are cut into batches.
//! Digests are kept on disk and compared with those of a later run, hence what always holds:
//!
//! * A hash depends on values and on logical types alone. Strings are the same as a string, a view or an entry of
//!   a dictionary; what lies behind a null or outside a slice does not count; all NaN are one; 0.0 and -0.0 are two.
//!   Names of columns and of fields do not count, their places do.
//! * The hash never changes: neither with the machine nor with a release of a library. The types' numbers and the
//!   constants below are part of what is on disk.
//!
//! It works a column at a time: each gives a word of 64 bits for every value ([`words`]), and a row's hash folds the
//! words of its columns, one after the other. The words of bytes are XXH64, the ones of numbers their bits; mixing
//! is the finaliser of splitmix64 in its variant 13 (Stafford). Whoever picks the rows can make two that collide:
//! the digest finds accidents, not forgeries.

mod numbers;
mod types;

#[cfg(test)]
pub(crate) mod tests;

use arrow::array::{
    Array, ArrayRef, AsArray, GenericListViewArray, OffsetSizeTrait, RecordBatch, UnionArray,
};
use arrow::compute::{cast, take};
use arrow::datatypes::DataType;
use millstream_model::RowsDigest;
use twox_hash::XxHash64;

use self::numbers::of_numbers;
pub(crate) use self::types::kind;

/// What a row's hash starts from.
const ROW: u64 = 0x6d69_6c6c_7374_7265;
/// What a list's word starts from.
const LIST: u64 = 0xa076_1d64_78bd_642f;
/// What the word of a struct starts from.
const STRUCT: u64 = 0xe703_7ed1_a0b4_28db;
/// What the word of a union's value starts from.
const UNION: u64 = 0x8ebc_6af0_9c88_c6e3;
/// The word of every null.
const NULL: u64 = 0x5899_65cc_7537_4cc3;

/// The digest of `rows`.
pub fn digest(rows: &RecordBatch) -> RowsDigest {
    let mut hashes = vec![ROW; rows.num_rows()];
    for column in rows.columns() {
        let kind = kind(column.data_type());
        for (hash, word) in hashes.iter_mut().zip(words(column)) {
            *hash = fold(*hash, word ^ kind);
        }
    }
    RowsDigest { rows: rows.num_rows() as u64, hash: hashes.into_iter().fold(0, u64::wrapping_add) }
}

/// A hash of what `state` stands for with `word` behind it.
fn fold(state: u64, word: u64) -> u64 {
    mix(state ^ word)
}

/// Spreads every bit over all, one to one.
fn mix(word: u64) -> u64 {
    let word = (word ^ (word >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let word = (word ^ (word >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    word ^ (word >> 31)
}

/// A word for each value of `array`. Words of values of one logical type compare like the values, but for accidents.
pub(crate) fn words(array: &dyn Array) -> Vec<u64> {
    let mut words = words_with_hidden(array);
    if let Some(nulls) = array.nulls() {
        for (word, valid) in words.iter_mut().zip(nulls) {
            *word = if valid { *word } else { NULL };
        }
    }
    words
}

/// A word for each value of `array`, and any word where its own nulls are.
fn words_with_hidden(array: &dyn Array) -> Vec<u64> {
    match array.data_type() {
        DataType::Null => vec![NULL; array.len()],
        DataType::Boolean => array.as_boolean().values().iter().map(u64::from).collect(),
        DataType::Utf8 => of_bytes(array.as_string::<i32>().iter()),
        DataType::LargeUtf8 => of_bytes(array.as_string::<i64>().iter()),
        DataType::Utf8View => of_bytes(array.as_string_view().iter()),
        DataType::Binary => of_bytes(array.as_binary::<i32>().iter()),
        DataType::LargeBinary => of_bytes(array.as_binary::<i64>().iter()),
        DataType::BinaryView => of_bytes(array.as_binary_view().iter()),
        DataType::FixedSizeBinary(_) => of_bytes(array.as_fixed_size_binary().iter()),
        DataType::List(_) => of_ends(array.as_list::<i32>().offsets(), array.as_list::<i32>().values()),
        DataType::LargeList(_) => of_ends(array.as_list::<i64>().offsets(), array.as_list::<i64>().values()),
        DataType::ListView(_) => of_list_view(array.as_list_view::<i32>()),
        DataType::LargeListView(_) => of_list_view(array.as_list_view::<i64>()),
        DataType::FixedSizeList(_, size) => {
            // The values are those of the slice already, and a size is never negative.
            let size = usize::try_from(*size).unwrap_or(0);
            of_spans(array.as_fixed_size_list().values(), (0..array.len()).map(|row| (row * size, size)))
        }
        DataType::Map(_, _) => of_ends(array.as_map().offsets(), array.as_map().entries()),
        DataType::Struct(_) => of_fields(array.as_struct().columns(), array.len()),
        DataType::Union(_, _) => of_union(array.as_union()),
        DataType::Dictionary(_, _) => of_dictionary(array),
        DataType::RunEndEncoded(_, values) => {
            words(&cast(array, values.data_type()).expect("runs can be written out as their values"))
        }
        _ => of_numbers(array),
    }
}

fn of_bytes<T: AsRef<[u8]>>(values: impl Iterator<Item = Option<T>>) -> Vec<u64> {
    values.map(|value| value.map_or(NULL, |value| XxHash64::oneshot(0, value.as_ref()))).collect()
}

/// The words of lists that lie one behind the other, given by where the first starts and where each ends.
fn of_ends<O: OffsetSizeTrait>(ends: &[O], values: &dyn Array) -> Vec<u64> {
    let (first, last) = (ends[0].as_usize(), ends[ends.len() - 1].as_usize());
    let spans = ends.windows(2).map(|ends| (ends[0].as_usize() - first, (ends[1] - ends[0]).as_usize()));
    of_spans(&values.slice(first, last - first), spans)
}

fn of_list_view<O: OffsetSizeTrait>(lists: &GenericListViewArray<O>) -> Vec<u64> {
    let starts = lists.value_offsets().iter();
    let spans = starts.zip(lists.value_sizes()).map(|(start, size)| (start.as_usize(), size.as_usize()));
    of_spans(lists.values(), spans)
}

/// The words of lists, each given by where it starts in `values` and how many it has.
fn of_spans(values: &dyn Array, spans: impl Iterator<Item = (usize, usize)>) -> Vec<u64> {
    let values = words(values);
    let list = |(start, count): (usize, usize)| {
        values[start..start + count].iter().fold(mix(LIST ^ count as u64), |state, word| fold(state, *word))
    };
    spans.map(list).collect()
}

fn of_fields(fields: &[ArrayRef], rows: usize) -> Vec<u64> {
    let mut states = vec![STRUCT; rows];
    for field in fields {
        for (state, word) in states.iter_mut().zip(words(field)) {
            *state = fold(*state, word);
        }
    }
    states
}

fn of_union(union: &UnionArray) -> Vec<u64> {
    let mut members = vec![Vec::new(); 1 << 7];
    for id in union.type_ids() {
        let member = &mut members[*id as usize];
        if member.is_empty() {
            *member = words(union.child(*id));
        }
    }
    let value = |row| {
        let id = union.type_id(row);
        fold(fold(UNION, id as u64), members[id as usize][union.value_offset(row)])
    };
    (0..union.len()).map(value).collect()
}

/// The words of a dictionary's entries, or of its rows where those are fewer.
fn of_dictionary(array: &dyn Array) -> Vec<u64> {
    let dictionary = array.as_any_dictionary();
    let (keys, entries) = (dictionary.keys(), dictionary.values());
    if entries.len() > keys.len() {
        return words(&take(entries, keys, None).expect("keys are within their dictionary"));
    }
    if entries.is_empty() {
        return vec![NULL; keys.len()];
    }
    let entries = words(entries);
    dictionary.normalized_keys().into_iter().map(|key| entries[key]).collect()
}

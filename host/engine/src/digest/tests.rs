use std::sync::Arc;

use arrow::array::{
    ArrayRef, BinaryArray, BooleanArray, Decimal128Array, DictionaryArray, Float32Array, Float64Array,
    Int32Array, Int64Array, ListArray, NullArray, RecordBatch, RecordBatchOptions, RunArray, StringArray,
    StringViewArray, StructArray, TimestampMillisecondArray, UInt32Array, UnionArray, new_null_array,
};
use arrow::buffer::{Buffer, NullBuffer, OffsetBuffer, ScalarBuffer};
use arrow::compute::{cast, concat, take_record_batch};
use arrow::datatypes::{
    DataType, Field, Fields, Int32Type, IntervalUnit, Schema, TimeUnit, UInt32Type, UnionFields,
};
use millstream_model::RowsDigest;
use millstream_platform::Seeded;

use super::digest;

/// Numbers that look random and are the same every time (xorshift).
pub(crate) struct Numbers(pub(crate) u64);

impl Numbers {
    pub(crate) fn below(&mut self, end: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 >> 33) as usize % end
    }

    /// `rows` values, a quarter of them nulls.
    fn values<T>(&mut self, rows: usize, mut value: impl FnMut(&mut Self) -> T) -> Vec<Option<T>> {
        (0..rows).map(|_| (self.below(4) > 0).then(|| value(self))).collect()
    }

    fn text(&mut self) -> String {
        "αbcdefghijklmnopqrstuvwxyz".chars().take(self.below(26)).collect()
    }

    pub(crate) fn order(&mut self, rows: usize) -> Vec<u32> {
        let mut order: Vec<u32> = (0..rows as u32).collect();
        (1..rows).for_each(|last| order.swap(last, self.below(last + 1)));
        order
    }
}

pub(crate) fn batch(columns: &[ArrayRef]) -> RecordBatch {
    let field = |(i, column): (usize, &ArrayRef)| Field::new(i.to_string(), column.data_type().clone(), true);
    let schema = Schema::new(columns.iter().enumerate().map(field).collect::<Fields>());
    let options = RecordBatchOptions::new().with_row_count(Some(columns.first().map_or(0, |c| c.len())));
    RecordBatch::try_new_with_options(Arc::new(schema), columns.to_vec(), &options).unwrap()
}

fn of(column: impl Into<ArrayRef>) -> RowsDigest {
    digest(&batch(&[column.into()]))
}

pub(crate) fn arc(array: impl arrow::array::Array + 'static) -> ArrayRef {
    Arc::new(array)
}

fn list(items: ArrayRef, numbers: &mut Numbers, rows: usize) -> ArrayRef {
    let mut ends: Vec<i32> = (1..rows).map(|_| numbers.below(items.len() + 1) as i32).collect();
    ends.sort_unstable();
    let ends = [vec![0], ends, vec![items.len() as i32]].concat();
    let nulls = NullBuffer::from_iter((0..rows).map(|_| numbers.below(4) > 0));
    let field = Arc::new(Field::new_list_field(items.data_type().clone(), true));
    arc(ListArray::new(field, OffsetBuffer::new(ends.into()), items, Some(nulls)))
}

/// Columns of every kind, with `rows` rows.
pub(crate) fn columns(numbers: &mut Numbers, rows: usize) -> Vec<ArrayRef> {
    let floats = [0.0, -0.0, f64::NAN, -f64::NAN, f64::INFINITY, 1.5];
    let texts = arc(StringArray::from(numbers.values(rows, Numbers::text)));
    let counts = arc(Int64Array::from(numbers.values(rows, |n| n.below(5) as i64 - 2)));
    let fields = [("a", texts.clone()), ("b", counts.clone())]
        .map(|(name, column)| (Arc::new(Field::new(name, column.data_type().clone(), true)), column));
    let (fields, children): (Vec<_>, Vec<_>) = fields.into_iter().unzip();
    let nulls = NullBuffer::from_iter((0..rows).map(|_| numbers.below(4) > 0));
    vec![
        texts.clone(),
        counts.clone(),
        arc(BooleanArray::from(numbers.values(rows, |n| n.below(2) == 0))),
        arc(Int32Array::from(numbers.values(rows, |n| n.below(3) as i32))),
        arc(Float64Array::from(numbers.values(rows, |n| floats[n.below(6)]))),
        arc(Float32Array::from(numbers.values(rows, |n| floats[n.below(6)] as f32))),
        arc(TimestampMillisecondArray::from(numbers.values(rows, |n| n.below(9) as i64))),
        arc(Decimal128Array::from(numbers.values(rows, |n| i128::MAX >> n.below(127)))),
        cast(&arc(StringArray::from(numbers.values(rows, Numbers::text))), &DataType::Binary).unwrap(),
        list(texts, numbers, rows),
        arc(StructArray::new(fields.into(), children, Some(nulls))),
        arc(NullArray::new(rows)),
    ]
}

#[test]
fn the_order_of_rows_and_the_cuts_between_them_do_not_matter() {
    for seed in Seeded::seeds(1..200) {
        let numbers = &mut Numbers(seed);
        let rows = numbers.below(40) + 1;
        let whole = batch(&columns(numbers, rows));
        let shuffled = take_record_batch(&whole, &UInt32Array::from(numbers.order(rows))).unwrap();
        let mut parts = RowsDigest::default();
        let mut start = 0;
        while start < rows {
            let count = numbers.below(rows - start + 1);
            parts.add(digest(&shuffled.slice(start, count)));
            start += count;
        }
        assert_eq!(parts, digest(&whole), "MILLSTREAM_SEED={seed}");
    }
}

#[test]
fn another_value_anywhere_gives_another_digest() {
    for seed in Seeded::seeds(1..200) {
        let numbers = &mut Numbers(seed);
        let rows = numbers.below(40) + 1;
        let columns = columns(numbers, rows);
        let (column, row) = (numbers.below(columns.len() - 1), numbers.below(rows));
        let old = &columns[column];
        let null = new_null_array(old.data_type(), 1);
        if arrow::array::Array::is_null(old, row) {
            continue;
        }
        let changed = [old.slice(0, row), null, old.slice(row + 1, rows - row - 1)];
        let changed = concat(&changed.each_ref().map(|part| &**part)).unwrap();
        let mut others = columns.clone();
        others[column] = changed;
        assert_ne!(digest(&batch(&others)), digest(&batch(&columns)), "MILLSTREAM_SEED={seed}");
    }
}

/// What a column may be turned into and still hold the same values.
pub(crate) fn forms(data_type: &DataType) -> Vec<DataType> {
    let in_dictionary = |values: DataType| DataType::Dictionary(Box::new(DataType::Int16), Box::new(values));
    let in_runs = |values: DataType| {
        let ends = Arc::new(Field::new("run_ends", DataType::Int32, false));
        DataType::RunEndEncoded(ends, Arc::new(Field::new("values", values, true)))
    };
    let item = |item: DataType| Arc::new(Field::new("other", item, true));
    match data_type {
        DataType::Utf8 => vec![
            DataType::Utf8View,
            DataType::LargeUtf8,
            in_dictionary(DataType::Utf8),
            in_dictionary(DataType::Utf8View),
            in_runs(DataType::Utf8),
        ],
        DataType::Binary => vec![DataType::BinaryView, DataType::LargeBinary],
        DataType::Int64 => vec![in_dictionary(DataType::Int64), in_runs(DataType::Int64)],
        DataType::List(_) => vec![
            DataType::LargeList(item(DataType::Utf8)),
            DataType::List(item(DataType::Utf8View)),
            DataType::ListView(item(DataType::LargeUtf8)),
            DataType::LargeListView(item(DataType::Utf8)),
        ],
        _ => vec![],
    }
}

#[test]
fn every_form_of_the_same_values_has_one_digest() {
    for seed in Seeded::seeds(1..200) {
        let numbers = &mut Numbers(seed);
        let rows = numbers.below(40) + 1;
        let (start, count) = (numbers.below(rows), numbers.below(rows) + 1);
        for column in columns(numbers, rows) {
            let expected = of(column.clone());
            let sliced = of(column.slice(start, count.min(rows - start)));
            for form in forms(column.data_type()) {
                let other = cast(&column, &form).unwrap();
                assert_eq!(of(other.clone()), expected, "{form}, MILLSTREAM_SEED={seed}");
                let other = of(other.slice(start, count.min(rows - start)));
                assert_eq!(other, sliced, "a slice of {form}, MILLSTREAM_SEED={seed}");
            }
        }
    }
}

/// Lists of numbers whose first is a null with something behind it.
fn lists_behind_null(hidden: i32) -> ArrayRef {
    let field = Arc::new(Field::new_list_field(DataType::Int32, true));
    let (ends, nulls) = (OffsetBuffer::new(vec![0, 1, 2].into()), NullBuffer::from(vec![false, true]));
    arc(ListArray::new(field, ends, arc(Int32Array::from(vec![hidden, 7])), Some(nulls)))
}

#[test]
fn what_lies_behind_a_null_does_not_count() {
    let nulls = || Some(NullBuffer::from(vec![false, true]));
    let numbers = |hidden| arc(Int64Array::new(vec![hidden, 5].into(), nulls()));
    assert_eq!(of(numbers(0)), of(numbers(9)));
    let texts = |bytes: &[u8], end| {
        let ends = OffsetBuffer::new(ScalarBuffer::from(vec![0, end, end + 1]));
        arc(StringArray::new(ends, Buffer::from(bytes), nulls()))
    };
    assert_eq!(of(texts(b"hiddenx", 6)), of(texts(b"x", 0)));
    assert_eq!(of(lists_behind_null(0)), of(lists_behind_null(1)));
    for entries in [vec![Some("x"), Some("y")], vec![Some("x"), None, Some("y"), Some("z")]] {
        let keys = |hidden| Int32Array::new(vec![hidden, 0].into(), nulls());
        let entries = arc(StringArray::from(entries));
        let dictionary = arc(DictionaryArray::<Int32Type>::new(keys(1_000), entries));
        assert_eq!(of(dictionary), of(arc(StringArray::from(vec![None, Some("x")]))));
    }
    let empty = DictionaryArray::<UInt32Type>::new(vec![None, None].into(), arc(StringArray::new_null(0)));
    assert_eq!(of(arc(empty)), of(arc(StringArray::new_null(2))));
    let of_null = DictionaryArray::<UInt32Type>::new(vec![0, 0].into(), arc(StringArray::new_null(1)));
    assert_eq!(of(arc(of_null)), of(arc(StringArray::new_null(2))));
}

#[test]
fn all_nan_are_one() {
    let quiet = f64::NAN;
    for other in [-f64::NAN, f64::from_bits(0x7ff0_0000_0000_0001), f64::from_bits(u64::MAX)] {
        assert_eq!(of(arc(Float64Array::from(vec![other]))), of(arc(Float64Array::from(vec![quiet]))));
    }
    let short = |bits| of(arc(Float32Array::from(vec![f32::from_bits(bits)])));
    assert_eq!(short(0x7fc0_0000), short(0xff80_0001));
}

#[test]
fn the_values_of_a_union_count_with_their_member_and_not_with_their_layout() {
    let members = || {
        let fields = [("text", DataType::Utf8), ("count", DataType::Int64)];
        let fields = fields.map(|(name, data_type)| Field::new(name, data_type, true));
        UnionFields::try_new([3, 5], fields).unwrap()
    };
    let ids = ScalarBuffer::from(vec![3_i8, 5, 3]);
    let texts = arc(StringArray::from(vec!["a", "hidden", "b"]));
    let counts = arc(Int64Array::from(vec![8, 1, 9]));
    let sparse = UnionArray::try_new(members(), ids.clone(), None, vec![texts, counts]).unwrap();
    let texts = arc(StringArray::from(vec!["b", "a"]));
    let places = Some(ScalarBuffer::from(vec![1, 0, 0]));
    let dense = UnionArray::try_new(members(), ids, places, vec![texts, arc(Int64Array::from(vec![1]))]);
    let dense = dense.unwrap();
    assert_eq!(of(arc(dense.clone())), of(arc(sparse.clone())));
    assert_eq!(of(arc(dense.slice(1, 2))), of(arc(sparse.slice(1, 2))));
    assert_ne!(of(arc(dense.slice(0, 1))), of(arc(sparse.slice(1, 1))));
}

/// Columns of one row or two that must all differ from each other.
fn distinct() -> Vec<Vec<ArrayRef>> {
    let text = |text: &str| arc(StringArray::from(vec![text]));
    let count = |count: i64| arc(Int64Array::from(vec![count]));
    let list = |ends: Vec<i32>, items: Vec<Option<i32>>, valid: bool| {
        let field = Arc::new(Field::new_list_field(DataType::Int32, true));
        let nulls = Some(NullBuffer::from(vec![valid; ends.len() - 1]));
        arc(ListArray::new(field, OffsetBuffer::new(ends.into()), arc(Int32Array::from(items)), nulls))
    };
    vec![
        vec![text("")],
        vec![arc(StringArray::new_null(1))],
        vec![arc(Int64Array::new_null(1))],
        vec![arc(BinaryArray::from(vec![&b""[..]]))],
        vec![text("a"), text("b")],
        vec![text("b"), text("a")],
        vec![text("ab"), text("")],
        vec![text("a")],
        vec![count(0)],
        vec![count(0), count(0)],
        vec![arc(Int32Array::from(vec![0]))],
        vec![arc(BooleanArray::from(vec![false]))],
        vec![arc(Float64Array::from(vec![0.0]))],
        vec![arc(Float64Array::from(vec![-0.0]))],
        vec![arc(Float64Array::from(vec![f64::NAN]))],
        vec![arc(TimestampMillisecondArray::from(vec![0]))],
        vec![arc(TimestampMillisecondArray::from(vec![0]).with_timezone("UTC"))],
        vec![cast(&count(0), &DataType::Timestamp(TimeUnit::Second, None)).unwrap()],
        vec![arc(Decimal128Array::from(vec![1]).with_precision_and_scale(10, 2).unwrap())],
        vec![arc(Decimal128Array::from(vec![1]).with_precision_and_scale(10, 3).unwrap())],
        vec![arc(Decimal128Array::from(vec![1 << 64]).with_precision_and_scale(38, 0).unwrap())],
        vec![arc(Decimal128Array::from(vec![1]).with_precision_and_scale(38, 0).unwrap())],
        vec![list(vec![0, 0], vec![], true)],
        vec![list(vec![0, 0], vec![], false)],
        vec![list(vec![0, 1], vec![None], true)],
        vec![list(vec![0, 1], vec![Some(0)], true)],
        vec![list(vec![0, 2], vec![Some(1), Some(2)], true)],
        vec![list(vec![0, 2], vec![Some(2), Some(1)], true)],
        vec![list(vec![0, 1, 2], vec![Some(1), Some(2)], true)],
        vec![list(vec![0, 0, 2], vec![Some(1), Some(2)], true)],
        vec![arc(StringArray::from(vec!["a", "b"])), arc(Int64Array::from(vec![1, 2]))],
        vec![arc(StringArray::from(vec!["a", "b"])), arc(Int64Array::from(vec![2, 1]))],
        vec![arc(StringArray::from(vec!["a", "a"]))],
    ]
}

#[test]
fn what_differs_has_another_hash() {
    let cases: Vec<_> = distinct().iter().map(|columns| batch(columns)).collect();
    for (i, one) in cases.iter().enumerate() {
        for other in &cases[..i] {
            assert_ne!(digest(one).hash, digest(other).hash, "{one:?}\n{other:?}");
        }
    }
}

#[test]
fn rows_without_columns_are_counted() {
    let options = RecordBatchOptions::new().with_row_count(Some(3));
    let rows = RecordBatch::try_new_with_options(Arc::new(Schema::empty()), vec![], &options).unwrap();
    assert_eq!(digest(&rows).rows, 3);
    assert_eq!(digest(&rows.slice(0, 0)), RowsDigest::default());
}

#[test]
fn no_type_is_without_a_digest() {
    let item = |data_type| Arc::new(Field::new_list_field(data_type, true));
    let entries = vec![Field::new("key", DataType::Utf8, false), Field::new("value", DataType::Int32, true)];
    let units = [TimeUnit::Second, TimeUnit::Millisecond, TimeUnit::Microsecond, TimeUnit::Nanosecond];
    let mut types = vec![
        DataType::Float16,
        DataType::Date32,
        DataType::Date64,
        DataType::Interval(IntervalUnit::YearMonth),
        DataType::Interval(IntervalUnit::DayTime),
        DataType::Interval(IntervalUnit::MonthDayNano),
        DataType::FixedSizeBinary(3),
        DataType::Decimal32(5, 1),
        DataType::Decimal64(5, 1),
        DataType::Decimal256(5, 1),
        DataType::FixedSizeList(item(DataType::Int8), 2),
        DataType::FixedSizeList(item(DataType::Int8), 0),
        DataType::Map(Arc::new(Field::new("entries", DataType::Struct(entries.into()), false)), false),
        DataType::UInt8,
        DataType::UInt16,
        DataType::UInt64,
    ];
    types.extend(units.map(DataType::Duration));
    types.extend(units[..2].iter().map(|unit| DataType::Time32(*unit)));
    types.extend(units[2..].iter().map(|unit| DataType::Time64(*unit)));
    let mut hashes: Vec<_> = types.iter().map(|data_type| of(new_null_array(data_type, 2)).hash).collect();
    hashes.sort_unstable();
    hashes.dedup();
    assert_eq!(hashes.len(), types.len());
}

/// Digests are on disk: a change here makes those of an earlier version worthless.
#[test]
fn a_digest_stays_what_it_was() {
    let runs = RunArray::<Int32Type>::try_new(&vec![2, 3].into(), &StringViewArray::from(vec!["a", "b"]));
    let columns: [(ArrayRef, u64); 6] = [
        (arc(StringArray::from(vec![Some("word"), None])), 0x0de0_2266_bae1_18fa),
        (arc(runs.unwrap()), 0x8091_0dd7_7da6_be8a),
        (arc(Int64Array::from(vec![Some(-1), None])), 0x27b3_6440_e6b8_c01f),
        (arc(Float64Array::from(vec![1.5, f64::NAN])), 0x8edf_8c14_ff7d_7578),
        (arc(Decimal128Array::from(vec![-1, 1 << 100])), 0xb50a_50f3_3e4a_d0ba),
        (lists_behind_null(0), 0x3816_435c_a9c0_e1df),
    ];
    for (column, hash) in columns {
        assert_eq!(format!("{:#x}", of(column.clone()).hash), format!("{hash:#x}"), "{column:?}");
    }
}

//! What types are in 64 bits.
//!
//! The numbers below are part of digests on disk: a type keeps its number, and a new one gets a new number.

use arrow::datatypes::{DataType, IntervalUnit, TimeUnit};
use twox_hash::XxHash64;

use super::{fold, mix};

/// A word for a logical type, the same for all physical forms of its values.
pub(crate) fn kind(data_type: &DataType) -> u64 {
    use DataType as D;
    match data_type {
        D::Null => mix(1),
        D::Boolean => mix(2),
        D::Int8 => mix(3),
        D::Int16 => mix(4),
        D::Int32 => mix(5),
        D::Int64 => mix(6),
        D::UInt8 => mix(7),
        D::UInt16 => mix(8),
        D::UInt32 => mix(9),
        D::UInt64 => mix(10),
        D::Float16 => mix(11),
        D::Float32 => mix(12),
        D::Float64 => mix(13),
        D::Timestamp(unit, zone) => {
            let zone = zone.as_ref().map_or(0, |zone| XxHash64::oneshot(0, zone.as_bytes()));
            of(14, [unit_number(*unit), zone])
        }
        D::Date32 => mix(15),
        D::Date64 => mix(16),
        D::Time32(unit) => of(17, [unit_number(*unit)]),
        D::Time64(unit) => of(18, [unit_number(*unit)]),
        D::Duration(unit) => of(19, [unit_number(*unit)]),
        D::Interval(IntervalUnit::YearMonth) => of(20, [1]),
        D::Interval(IntervalUnit::DayTime) => of(20, [2]),
        D::Interval(IntervalUnit::MonthDayNano) => of(20, [3]),
        D::Utf8 | D::LargeUtf8 | D::Utf8View => mix(21),
        D::Binary | D::LargeBinary | D::BinaryView => mix(22),
        D::FixedSizeBinary(size) => of(23, [*size as u64]),
        D::Decimal32(precision, scale) => of(24, [u64::from(*precision), *scale as u64]),
        D::Decimal64(precision, scale) => of(25, [u64::from(*precision), *scale as u64]),
        D::Decimal128(precision, scale) => of(26, [u64::from(*precision), *scale as u64]),
        D::Decimal256(precision, scale) => of(27, [u64::from(*precision), *scale as u64]),
        D::List(item) | D::LargeList(item) | D::ListView(item) | D::LargeListView(item) => {
            of(28, [kind(item.data_type())])
        }
        D::FixedSizeList(item, size) => of(29, [kind(item.data_type()), *size as u64]),
        D::Map(entry, _) => of(30, [kind(entry.data_type())]),
        D::Struct(fields) => fields.iter().map(|field| kind(field.data_type())).fold(mix(31), fold),
        D::Union(members, _) => {
            let member = |state, id: i8, member| fold(fold(state, id as u64), kind(member));
            members.iter().fold(mix(32), |state, (id, field)| member(state, id, field.data_type()))
        }
        D::Dictionary(_, values) => kind(values),
        D::RunEndEncoded(_, values) => kind(values.data_type()),
    }
}

fn of<const N: usize>(number: u64, parameters: [u64; N]) -> u64 {
    parameters.into_iter().fold(mix(number), fold)
}

fn unit_number(unit: TimeUnit) -> u64 {
    match unit {
        TimeUnit::Second => 1,
        TimeUnit::Millisecond => 2,
        TimeUnit::Microsecond => 3,
        TimeUnit::Nanosecond => 4,
    }
}

//! The types of values that nobody has named the type of.
//!
//! A type is found only where it says no less than the values: a number with a zero in front, or beyond 64 bits, is a text, and
//! whole numbers that a floating-point number would round do not stand in one column with fractions.

use arrow::compute::kernels::cast_utils::Parser;
use arrow::datatypes::TimestampMicrosecondType;
use millstream_model::DataType;
use serde_json::Value;

/// What the values of a column were so far.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) enum Seen {
    /// Nulls, if anything.
    #[default]
    Nothing,
    /// Values of that type.
    One(DataType),
    /// Whole numbers, one of them beyond those that floating-point numbers tell from their neighbours.
    Wide,
    /// Lists of such.
    List(Box<Seen>),
}

impl Seen {
    /// What values of both are; nothing, where no type holds them.
    pub(super) fn and(self, other: Self) -> Option<Self> {
        use DataType::{Float64, Int64, Timestamp, Utf8};
        match (self, other) {
            (Self::Nothing, seen) | (seen, Self::Nothing) => Some(seen),
            (Self::List(one), Self::List(other)) => one.and(*other).map(|both| Self::List(Box::new(both))),
            (Self::One(one), Self::One(other)) if one == other => Some(Self::One(one)),
            (Self::Wide, Self::Wide | Self::One(Int64)) | (Self::One(Int64), Self::Wide) => Some(Self::Wide),
            (Self::One(Int64 | Float64), Self::One(Int64 | Float64)) => Some(Self::One(Float64)),
            (Self::One(Timestamp | Utf8), Self::One(Timestamp | Utf8)) => Some(Self::One(Utf8)),
            _ => None,
        }
    }

    /// The type of the column. One without values is of text.
    pub(super) fn data_type(self) -> DataType {
        match self {
            Self::Nothing => DataType::Utf8,
            Self::One(data_type) => data_type,
            Self::Wide => DataType::Int64,
            Self::List(items) => DataType::List(Box::new(items.data_type())),
        }
    }
}

/// What a value of a CSV file is.
pub(super) fn in_text(text: &str) -> Seen {
    let is_boolean = text.eq_ignore_ascii_case("true") || text.eq_ignore_ascii_case("false");
    match number(text) {
        Some(seen) => seen,
        None if is_boolean => Seen::One(DataType::Boolean),
        None if is_time(text) => Seen::One(DataType::Timestamp),
        None => Seen::One(DataType::Utf8),
    }
}

/// What a JSON value is; nothing, where it has no type here.
pub(super) fn in_json(value: &Value) -> Option<Seen> {
    Some(match value {
        Value::Null => Seen::Nothing,
        Value::Bool(_) => Seen::One(DataType::Boolean),
        Value::Number(number) => match number.as_i64() {
            Some(whole) => self::whole(whole),
            None if number.is_f64() => Seen::One(DataType::Float64),
            None => return None,
        },
        Value::String(text) if is_time(text) => Seen::One(DataType::Timestamp),
        Value::String(_) => Seen::One(DataType::Utf8),
        Value::Array(items) => {
            let all = items.iter().try_fold(Seen::Nothing, |seen, item| seen.and(in_json(item)?));
            Seen::List(Box::new(all?))
        }
        Value::Object(_) => return None,
    })
}

/// What a whole number is.
fn whole(number: i64) -> Seen {
    const EXACT_MAX: u64 = 1 << f64::MANTISSA_DIGITS;
    if number.unsigned_abs() <= EXACT_MAX { Seen::One(DataType::Int64) } else { Seen::Wide }
}

/// What a number is, written as a computer would write it.
fn number(text: &str) -> Option<Seen> {
    let digits = text.strip_prefix('-').unwrap_or(text).as_bytes();
    let is_digit = |at: Option<&u8>| at.is_some_and(u8::is_ascii_digit);
    let is_plain = is_digit(digits.first()) && is_digit(digits.last());
    let has_zero_in_front = digits.first() == Some(&b'0') && is_digit(digits.get(1));
    if !is_plain || has_zero_in_front {
        return None;
    }
    if digits.iter().all(u8::is_ascii_digit) {
        return text.parse().ok().map(whole);
    }
    text.parse().is_ok_and(f64::is_finite).then_some(Seen::One(DataType::Float64))
}

/// Whether a text is a time as in RFC 3339: a day and a time of day, with or, as sinks write it, without a zone.
fn is_time(text: &str) -> bool {
    let bytes = text.as_bytes();
    let is_long = bytes.len() >= "2024-01-02T03:04:05".len();
    is_long && bytes.get(10) == Some(&b'T') && TimestampMicrosecondType::parse(text).is_some()
}

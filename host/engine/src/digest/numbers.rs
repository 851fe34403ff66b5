//! The words of fixed-width values: their bits, mixed into one word where there are more than 64.

use arrow::array::{Array, ArrayData, AsArray};
use arrow::datatypes::{
    ArrowNativeType, ArrowPrimitiveType, DataType, Float16Type, Float32Type, Float64Type,
    IntervalDayTimeType, IntervalMonthDayNanoType, IntervalUnit, i256,
};

use super::{fold, mix};

/// A word for each number, time or interval of `array`, nulls among them.
pub(super) fn of_numbers(array: &dyn Array) -> Vec<u64> {
    match array.data_type() {
        // Of the many NaN one is taken.
        DataType::Float16 => {
            of::<Float16Type>(array, |value| u64::from(if value.is_nan() { 0x7e00 } else { value.to_bits() }))
        }
        DataType::Float32 => of::<Float32Type>(array, |value| {
            u64::from(if value.is_nan() { 0x7fc0_0000 } else { value.to_bits() })
        }),
        DataType::Float64 => {
            of::<Float64Type>(
                array,
                |value| {
                    if value.is_nan() { 0x7ff8_0000_0000_0000 } else { value.to_bits() }
                },
            )
        }
        DataType::Interval(IntervalUnit::DayTime) => {
            of::<IntervalDayTimeType>(array, |value| fold(mix(value.days as u64), value.milliseconds as u64))
        }
        DataType::Interval(IntervalUnit::MonthDayNano) => of::<IntervalMonthDayNanoType>(array, |value| {
            fold(fold(mix(value.months as u64), value.days as u64), value.nanoseconds as u64)
        }),
        other => of_integers(&array.to_data(), other.primitive_width()),
    }
}

fn of<T: ArrowPrimitiveType>(array: &dyn Array, word: impl Fn(T::Native) -> u64) -> Vec<u64> {
    array.as_primitive::<T>().values().iter().map(|value| word(*value)).collect()
}

/// The words of integers, and of what is one beneath: times, dates, decimals.
fn of_integers(data: &ArrayData, width_bytes: Option<usize>) -> Vec<u64> {
    match width_bytes {
        Some(1) => of_buffer::<u8>(data, u64::from),
        Some(2) => of_buffer::<u16>(data, u64::from),
        Some(4) => of_buffer::<u32>(data, u64::from),
        Some(8) => of_buffer::<u64>(data, |value| value),
        Some(16) => of_buffer::<i128>(data, |value| wide(value as u128)),
        Some(32) => of_buffer::<i256>(data, |value| {
            let (low, high) = value.to_parts();
            fold(wide(low), wide(high as u128))
        }),
        _ => unreachable!("{} is no fixed-width type of arrow's", data.data_type()),
    }
}

fn of_buffer<T: ArrowNativeType>(data: &ArrayData, word: impl Fn(T) -> u64) -> Vec<u64> {
    data.buffer::<T>(0)[..data.len()].iter().map(|value| word(*value)).collect()
}

fn wide(value: u128) -> u64 {
    fold(mix(value as u64), (value >> 64) as u64)
}

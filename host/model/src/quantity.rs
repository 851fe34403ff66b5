use std::time::Duration;

use thiserror::Error;

/// A duration or a size that cannot be read.
#[derive(Debug, Error, PartialEq, Eq)]
pub enum ParseQuantityError {
    /// Not a whole number followed by one of the units.
    #[error("\"{text}\" is no {what}; write a whole number and a unit, such as {example}")]
    Malformed {
        /// What was given.
        text: String,
        /// "duration" or "size".
        what: &'static str,
        /// How it is written.
        example: &'static str,
    },
    /// Right in form, but beyond what a 64-bit count holds.
    #[error("\"{text}\" is too large")]
    TooLarge {
        /// What was given.
        text: String,
    },
}

const DURATION_UNITS_MS: &[(&str, u64)] =
    &[("ms", 1), ("s", 1_000), ("m", 60_000), ("h", 3_600_000), ("d", 86_400_000)];
const SIZE_UNITS_BYTES: &[(&str, u64)] =
    &[("B", 1), ("KiB", 1 << 10), ("MiB", 1 << 20), ("GiB", 1 << 30), ("TiB", 1 << 40)];

/// Reads a duration such as `10ms`, `1s`, `5m`, `2h` or `1d`.
///
/// ```
/// # use millstream_model::parse_duration;
/// # use std::time::Duration;
/// assert_eq!(parse_duration("5m"), Ok(Duration::from_secs(300)));
/// assert!(parse_duration("5 minutes").is_err());
/// ```
pub fn parse_duration(text: &str) -> Result<Duration, ParseQuantityError> {
    parse(text, DURATION_UNITS_MS, "duration", "10ms, 1s or 5m").map(Duration::from_millis)
}

/// Reads a size in bytes such as `512B`, `64KiB` or `1GiB`.
///
/// ```
/// # use millstream_model::parse_size;
/// assert_eq!(parse_size("64KiB"), Ok(65_536));
/// assert!(parse_size("64kb").is_err());
/// ```
pub fn parse_size(text: &str) -> Result<u64, ParseQuantityError> {
    parse(text, SIZE_UNITS_BYTES, "size", "64KiB or 1GiB")
}

/// Writes a size for people, in the largest unit that it is a whole number of.
///
/// ```
/// # use millstream_model::format_size;
/// assert_eq!((format_size(65_536), format_size(1_500)), ("64 KiB".to_owned(), "1500 B".to_owned()));
/// ```
pub fn format_size(bytes: u64) -> String {
    let fits = |(_, factor): &&(&str, u64)| bytes >= *factor && bytes.is_multiple_of(*factor);
    let (unit, factor) = SIZE_UNITS_BYTES.iter().rev().find(fits).unwrap_or(&("B", 1));
    format!("{} {unit}", bytes / factor)
}

fn parse(
    text: &str,
    units: &[(&str, u64)],
    what: &'static str,
    example: &'static str,
) -> Result<u64, ParseQuantityError> {
    let malformed = || ParseQuantityError::Malformed { text: text.to_owned(), what, example };
    let too_large = || ParseQuantityError::TooLarge { text: text.to_owned() };
    let digits = text.bytes().take_while(u8::is_ascii_digit).count();
    let (number, unit) = text.split_at(digits);
    let factor = units.iter().find(|(name, _)| *name == unit).ok_or_else(malformed)?.1;
    if number.is_empty() {
        return Err(malformed());
    }
    let number: u64 = number.parse().map_err(|_| too_large())?;
    number.checked_mul(factor).ok_or_else(too_large)
}

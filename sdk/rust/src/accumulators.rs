//! Counters that a plugin adds to while it computes, and that commit with the batch.
//!
//! What a call adds is summed up here and handed to the host when the call has succeeded: once for each name, so that
//! counting every row costs no way across the boundary. A call that fails counts nothing.

use std::cell::RefCell;
use std::collections::BTreeMap;

/// Characters of a name, all of them ASCII.
const NAME_LENGTH_MAX: usize = 64;

thread_local! {
    static SUMS: RefCell<BTreeMap<String, i64>> = const { RefCell::new(BTreeMap::new()) };
}

/// Adds to the plugin's accumulator of that name, which begins at 0. In the pipeline it is called `PLUGIN.NAME`.
///
/// What is added counts when the batch commits, and a batch that is run again is counted once. Outside a call of a function
/// nothing counts. A call adds to 1,000 names at most.
///
/// ```
/// use millstream_sdk::prelude::*;
/// use millstream_sdk::testing;
///
/// /// Reads a number; what is none is left out, and counted.
/// #[flat_map(output = "number")]
/// fn numbers(text: &str) -> Option<i64> {
///     let number = text.parse().ok();
///     if number.is_none() {
///         accumulators::add("no-numbers", 1);
///     }
///     number
/// }
///
/// assert_eq!((numbers("7"), numbers("seven"), numbers("")), (Some(7), None, None));
/// assert_eq!(testing::added("no-numbers"), 2);
/// ```
///
/// # Panics
/// If the name is not 1 to 64 letters and digits of ASCII, `-`, `_` and `.`, or if the sum of a call goes beyond 64 bits.
#[track_caller]
pub fn add(name: &str, amount: i64) {
    // A panic inside the closure would name this file instead of the caller's.
    if let Err(reason) = SUMS.with_borrow_mut(|sums| add_to(sums, name, amount)) {
        panic!("{reason}");
    }
}

fn add_to(sums: &mut BTreeMap<String, i64>, name: &str, amount: i64) -> Result<(), String> {
    if let Some(sum) = sums.get_mut(name) {
        *sum = sum.checked_add(amount).ok_or_else(|| {
            format!("adding {amount} to {sum} in the accumulator {name:?} goes beyond 64 bits")
        })?;
        return Ok(());
    }
    if !is_name(name) {
        return Err(format!(
            "{name:?} names no accumulator: 1 to {NAME_LENGTH_MAX} letters, digits, '-', '_' and '.' make a name"
        ));
    }
    sums.insert(name.to_owned(), amount);
    Ok(())
}

/// Calls a function, and forgets what it added if it fails.
pub(crate) fn undo_if_failed<T, E>(call: impl FnOnce() -> Result<T, E>) -> Result<T, E> {
    let before = SUMS.with_borrow(Clone::clone);
    let called = call();
    if called.is_err() {
        SUMS.set(before);
    }
    called
}

/// Calls a function, and forgets what it added.
pub(crate) fn undo<T>(call: impl FnOnce() -> T) -> T {
    let before = SUMS.with_borrow(Clone::clone);
    let called = call();
    SUMS.set(before);
    called
}

/// Takes all sums.
#[cfg(target_family = "wasm")]
pub(crate) fn take() -> BTreeMap<String, i64> {
    SUMS.take()
}

/// Takes one sum; 0 where nothing was added.
#[cfg(not(target_family = "wasm"))]
pub(crate) fn take_sum(name: &str) -> i64 {
    SUMS.with_borrow_mut(|sums| sums.remove(name)).unwrap_or_default()
}

fn is_name(name: &str) -> bool {
    let may_stand = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_' | b'.');
    (1..=NAME_LENGTH_MAX).contains(&name.len()) && name.bytes().all(may_stand)
}

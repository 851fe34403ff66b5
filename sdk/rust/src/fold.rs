//! Reduces and inverses as the host calls them: many groups at once, over flat columns.

use std::fmt::Display;

use crate::error::Error;
use crate::row::WriteRow;
use crate::table::Table;

/// Which rows of a table belong together.
#[derive(Clone, Copy, Debug)]
pub struct Groups<'a> {
    /// For each row its group, below `count`.
    pub of: &'a [u32],
    /// How many groups there are; each has a row at least.
    pub count: usize,
}

/// Folds each group of `rows` rows into one: `first` reads a row, `call` combines what there is with the row of that number.
///
/// # Errors
/// If the groups do not fit the rows, or the first error that the function returns.
pub fn fold<T: WriteRow, E: Display + 'static>(
    rows: usize,
    groups: Groups<'_>,
    mut first: impl FnMut(usize) -> T,
    mut call: impl FnMut(T, usize) -> Result<T, E>,
) -> Result<Table, Error> {
    let Groups { of, count } = groups;
    if of.len() != rows || count > rows {
        return Err(Error::Groups { groups: count, rows });
    }
    let mut totals: Vec<Option<T>> = Vec::new();
    totals.resize_with(count, || None);
    for (row, group) in of.iter().enumerate() {
        let total = totals.get_mut(*group as usize).ok_or(Error::Groups { groups: count, rows })?;
        *total = Some(match total.take() {
            Some(before) => call(before, row).map_err(|error| Error::row(row, error))?,
            None => first(row),
        });
    }
    let mut builders = T::builders(count);
    for total in totals {
        total.ok_or(Error::Groups { groups: count, rows })?.write(&mut builders);
    }
    Ok(Table::finish::<T>(count, builders))
}

/// Calls an inverse on every pair of a total and what is to be taken out of it.
///
/// # Errors
/// If there are not as many of both, or the first error that the function returns.
pub fn take_out<T: WriteRow, E: Display + 'static>(
    totals: usize,
    taken: usize,
    mut call: impl FnMut(usize) -> Result<T, E>,
) -> Result<Table, Error> {
    if totals != taken {
        return Err(Error::Pairs { totals, taken });
    }
    let mut builders = T::builders(totals);
    for row in 0..totals {
        call(row).map_err(|error| Error::row(row, error))?.write(&mut builders);
    }
    Ok(Table::finish::<T>(totals, builders))
}

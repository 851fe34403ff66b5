//! What each migration and each merge does when it is called: a lie each, in an answer that is right otherwise, and some
//! that behave.

use std::time::SystemTime;

use crate::behaviour::{grow, spin, strings, table};
use crate::bindings::exports::millstream::plugin::migrate_state::Migrated;
use crate::bindings::millstream::plugin::accumulators::add;
use crate::bindings::millstream::plugin::types::{Error, Table, Values};
use crate::keyed::{Fold, joined, words};

type Migrate = fn(Table, Table) -> Result<Migrated, Error>;

pub(crate) const MIGRATIONS: &[(&str, Migrate)] = &[
    ("migrate-trap", |_, _| core::arch::wasm32::unreachable()),
    ("migrate-spin", |_, _| spin()),
    ("migrate-grow", |_, _| grow()),
    ("migrate-reject", |_, _| Err(Error::Rejected("these states are not to my taste".to_owned()))),
    ("migrate-unavailable", |_, _| Err(Error::Unavailable("the world is away".to_owned()))),
    ("migrate-origins-beyond", |keys, states| {
        let rows = keys.rows;
        lie(&keys, &states, |migrated| migrated.origins[1] = rows)
    }),
    ("migrate-origins-fall", |keys, states| lie(&keys, &states, |migrated| migrated.origins.reverse())),
    ("migrate-origins-twice", |keys, states| lie(&keys, &states, |migrated| migrated.origins.fill(1))),
    ("migrate-origins-short", |keys, states| lie(&keys, &states, |migrated| migrated.origins.truncate(1))),
    ("migrate-origins-long", |keys, states| lie(&keys, &states, |migrated| migrated.origins.push(2))),
    ("migrate-keys-short", |keys, states| {
        lie(&keys, &states, |migrated| migrated.keys = words(strings(&migrated.keys).skip(1)))
    }),
    ("migrate-keys-missing", |keys, states| lie(&keys, &states, |migrated| migrated.keys.columns.clear())),
    ("migrate-keys-wrong-type", |keys, states| {
        lie(&keys, &states, |migrated| migrated.keys = numbers(migrated.keys.rows))
    }),
    ("migrate-keys-buffer-short", |keys, states| lie(&keys, &states, |migrated| migrated.keys.rows += 1)),
    ("migrate-keys-null", |keys, states| {
        lie(&keys, &states, |migrated| migrated.keys.columns[0].validity = Some(vec![0b10]))
    }),
    ("migrate-states-short", |keys, states| {
        lie(&keys, &states, |migrated| migrated.states = words(strings(&migrated.states).skip(1)))
    }),
    ("migrate-states-missing", |keys, states| {
        lie(&keys, &states, |migrated| migrated.states.columns.clear())
    }),
    ("migrate-states-wrong-type", |keys, states| {
        lie(&keys, &states, |migrated| migrated.states = numbers(migrated.states.rows))
    }),
    ("migrate-states-null", |keys, states| {
        lie(&keys, &states, |migrated| migrated.states.columns[0].validity = Some(vec![0b01]))
    }),
    ("keep-and-make", |keys, states| well(&keys, &states)),
    ("migrate-well", |keys, states| well(&keys, &states)),
    ("keep-well", |keys, states| lie(&keys, &states, |migrated| migrated.keys.columns.clear())),
];

pub(crate) const MERGES: &[(&str, Fold)] = &[
    ("merge-trap", |_, _, _| core::arch::wasm32::unreachable()),
    ("merge-short", |states, groups, count| Ok(words(joined(&states, &groups, count).into_iter().skip(1)))),
    ("merge-wrong-type", |_, _, count| Ok(numbers(count))),
    ("merge-missing-column", |_, _, count| Ok(Table { rows: count, columns: vec![], items: vec![] })),
    ("merge-well", |states, groups, count| {
        add("rows", i64::from(states.rows));
        Ok(words(joined(&states, &groups, count)))
    }),
];

fn numbers(rows: u32) -> Table {
    table(rows, Values::Int64(vec![0; rows as usize]))
}

/// The right answer with something in it spoilt.
fn lie(keys: &Table, states: &Table, spoil: impl FnOnce(&mut Migrated)) -> Result<Migrated, Error> {
    let mut migrated = well(keys, states)?;
    spoil(&mut migrated);
    Ok(migrated)
}

/// Puts keys in upper case, notes the seconds of the clock behind states, and drops keys that begin with `#`.
#[allow(clippy::disallowed_methods, reason = "what a guest sees of the time is what is tested")]
fn well(keys: &Table, states: &Table) -> Result<Migrated, Error> {
    add("rows", i64::from(keys.rows));
    let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default().as_secs();
    let rows = (0..).zip(strings(keys)).zip(strings(states));
    let left: Vec<_> = rows.filter(|((_, key), _)| !key.starts_with('#')).collect();
    Ok(Migrated {
        origins: left.iter().map(|((row, _), _)| *row).collect(),
        keys: words(left.iter().map(|((_, key), _)| key.to_uppercase())),
        states: words(left.iter().map(|(_, state)| format!("{state}+{since}"))),
    })
}

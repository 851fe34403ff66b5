//! Migrations of states as the host calls them: many keys at once, over flat columns. And what an update-state asks of the
//! functions that its attribute names, which the compiler checks.

use std::fmt::Display;

use crate::error::Error;
use crate::fold::Groups;
use crate::function::Fields;
use crate::row::WriteRow;
use crate::schema::Schema;
use crate::table::Table;

/// How an update-state takes over the states that another version of it left. `#[migrate]` makes one of a function.
#[derive(Clone, Copy, Debug)]
pub struct Migration {
    /// The version whose states it takes.
    pub version: u32,
    /// The columns of the old key that it reads.
    pub keys: Fields,
    /// The fields of an old state.
    pub state: Fields,
    /// The columns of the new key; none where keys stay as they are.
    pub new_keys: Fields,
    /// Calls it on many keys and their states.
    pub call: fn(&Table, &Table) -> Result<Migrated, Error>,
}

impl Migration {
    /// The columns of the old key that it reads.
    #[must_use]
    pub fn keys(&self) -> Schema {
        Schema::of(self.keys)
    }

    /// The fields of an old state.
    #[must_use]
    pub fn state(&self) -> Schema {
        Schema::of(self.state)
    }

    /// The columns of the new key; none where keys stay as they are.
    #[must_use]
    pub fn new_keys(&self) -> Schema {
        Schema::of(self.new_keys)
    }
}

/// Makes one state of those of each group, whose keys have become the same. `#[merge]` makes one of a function.
pub type Merge = fn(&Table, Groups<'_>) -> Result<Table, Error>;

/// What became of old keys and their states.
#[derive(Clone, Debug, PartialEq)]
pub struct Migrated {
    /// The old keys that are left, each by its row: rising, each at most once.
    pub origins: Vec<u32>,
    /// The new keys, a row for each origin; without columns where keys stay as they are.
    pub keys: Table,
    /// The new states, a row for each origin.
    pub states: Table,
}

/// Calls a migration on every key; `call` gets the key's number.
///
/// # Errors
/// If there are not as many keys as states, or the first error that the function returns.
pub fn migrate<K: WriteRow, S: WriteRow, E: Display + 'static>(
    keys: usize,
    states: usize,
    mut call: impl FnMut(usize) -> Result<Option<(K, S)>, E>,
) -> Result<Migrated, Error> {
    if keys != states {
        return Err(Error::States { keys, states });
    }
    let mut origins = Vec::with_capacity(keys);
    let (mut new_keys, mut new_states) = (K::builders(keys), S::builders(keys));
    for key in 0..keys {
        let Some((new_key, state)) = call(key).map_err(|error| Error::key(key, error))? else { continue };
        new_key.write(&mut new_keys);
        state.write(&mut new_states);
        origins.push(u32::try_from(key).expect("a call has less than 4 billion keys"));
    }
    let left = origins.len();
    Ok(Migrated {
        origins,
        keys: Table::finish::<K>(left, new_keys),
        states: Table::finish::<S>(left, new_states),
    })
}

/// A function with `#[migrate]`.
#[diagnostic::on_unimplemented(
    message = "`{Self}` is no migration",
    label = "not a migration",
    note = "put `#[migrate(from = ...)]` on the function, with the version whose states it takes"
)]
pub trait Migrate {}

/// Stands on a function with `#[migrate]` that makes states of this type.
#[diagnostic::on_unimplemented(
    message = "the migration `{Self}` does not make states of the type `{S}`, which the update-state keeps",
    label = "makes other states",
    note = "a migration returns the update-state's own state: `S` of its `&mut State<S>`"
)]
pub trait Makes<S> {}

/// Stands on a function with `#[migrate]` that makes keys with these growing columns; with any where keys stay as they are.
#[diagnostic::on_unimplemented(
    message = "the keys that the migration `{Self}` makes do not have the columns of the update-state's keys",
    label = "makes other keys",
    note = "a migration returns keys with the columns that the update-state takes: a value, or a struct with #[derive(Row)] of several"
)]
pub trait MakesKeys<B> {}

/// A function with `#[merge]`.
#[diagnostic::on_unimplemented(
    message = "`{Self}` is no merge",
    label = "not a merge",
    note = "put `#[merge]` on a function of two states that returns one"
)]
pub trait Merging {}

/// Stands on a function with `#[merge]` that takes and returns states of this type.
#[diagnostic::on_unimplemented(
    message = "the merge `{Self}` does not merge states of the type `{S}`, which the update-state keeps",
    label = "merges other states",
    note = "a merge takes two of the update-state's own states and returns one: `S` of its `&mut State<S>`"
)]
pub trait Merges<S> {}

/// Compiles if the migration makes states of the type.
pub const fn check_state<M: Migrate + Makes<S>, S>() {}

/// Compiles if the migration makes keys of these columns, or leaves keys as they are.
pub const fn check_keys<M: MakesKeys<B>, B>() {}

/// Compiles if the merge is one of states of the type.
pub const fn check_merge<M: Merging + Merges<S>, S>() {}

/// Compiles if an update-state of a version takes over each other version in one way.
///
/// This one names functions that fit, and compiles:
///
/// ```
/// use millstream_sdk::prelude::*;
///
/// #[update_state(version = 2, migrate = from_text, merge = add)]
/// fn count(word: &str, new: Rows<'_, ()>, state: &mut State<i64>) {}
///
/// #[migrate(from = 1)]
/// fn from_text(word: &str, count: &str) -> (String, i64) {
///     (word.to_owned(), count.len() as i64)
/// }
///
/// #[merge]
/// fn add(left: i64, right: i64) -> i64 {
///     left + right
/// }
/// ```
///
/// It would not with a migration that makes other states,
///
/// ```compile_fail,E0277
/// # use millstream_sdk::prelude::*;
/// #[update_state(version = 2, migrate = from_text)]
/// fn count(word: &str, new: Rows<'_, ()>, state: &mut State<i64>) {}
///
/// #[migrate(from = 1)]
/// fn from_text(word: &str, count: &str) -> (String, f64) {
///     (word.to_owned(), 0.0)
/// }
/// ```
///
/// other keys,
///
/// ```compile_fail,E0277
/// # use millstream_sdk::prelude::*;
/// #[update_state(version = 2, migrate = from_text)]
/// fn count(word: &str, new: Rows<'_, ()>, state: &mut State<i64>) {}
///
/// #[migrate(from = 1)]
/// fn from_text(word: &str, count: &str) -> (i64, i64) {
///     (0, 0)
/// }
/// ```
///
/// or that takes states of the update-state's own version,
///
/// ```compile_fail,E0080
/// # use millstream_sdk::prelude::*;
/// #[update_state(version = 2, migrate = own)]
/// fn count(word: &str, new: Rows<'_, ()>, state: &mut State<i64>) {}
///
/// #[migrate(from = 2)]
/// fn own(count: i64) -> i64 {
///     count
/// }
/// ```
///
/// with two migrations from one version,
///
/// ```compile_fail,E0080
/// # use millstream_sdk::prelude::*;
/// #[update_state(version = 2, migrate = [one, another])]
/// fn count(word: &str, new: Rows<'_, ()>, state: &mut State<i64>) {}
///
/// #[migrate(from = 1)]
/// fn one(count: i64) -> i64 {
///     count
/// }
///
/// #[migrate(from = 1)]
/// fn another(count: f64) -> i64 {
///     count as i64
/// }
/// ```
///
/// or with a merge of other states:
///
/// ```compile_fail,E0277
/// # use millstream_sdk::prelude::*;
/// #[update_state(version = 2, migrate = own, merge = add)]
/// fn count(word: &str, new: Rows<'_, ()>, state: &mut State<i64>) {}
///
/// #[migrate(from = 1)]
/// fn own(count: i64) -> i64 {
///     count
/// }
///
/// #[merge]
/// fn add(left: f64, right: f64) -> f64 {
///     left + right
/// }
/// ```
///
/// # Panics
/// If it does not.
#[track_caller]
pub const fn check_versions(version: u32, migrations: &[Migration]) {
    let mut index = 0;
    while index < migrations.len() {
        let from = migrations[index].version;
        assert!(
            from != version,
            "a migration takes states of the update-state's own version: count the version up in `#[update_state(version = ...)]`, \
             or say the older one in `#[migrate(from = ...)]`"
        );
        let mut other = 0;
        while other < index {
            assert!(
                migrations[other].version != from,
                "two migrations of an update-state take states of the same version: drop one from `migrate = [...]`, or correct \
                 its `#[migrate(from = ...)]`"
            );
            other += 1;
        }
        index += 1;
    }
}

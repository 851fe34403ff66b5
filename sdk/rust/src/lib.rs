//! Write Millstream plugins as plain Rust functions.
//!
//! A plugin is a crate whose functions carry an attribute that says how they are called, and one line that exports them:
//!
//! ```
//! use millstream_sdk::prelude::*;
//!
//! /// Splits a line into words at white space.
//! #[flat_map(output = "word")]
//! pub fn split_words(line: &str) -> impl Iterator<Item = &str> {
//!     line.split_ascii_whitespace()
//! }
//!
//! #[derive(Row)]
//! pub struct Order<'a> {
//!     user: &'a str,
//!     amount: f64,
//!     note: Option<&'a str>,
//! }
//!
//! /// Keeps the orders that are worth a look.
//! #[filter]
//! pub fn large(order: Order<'_>) -> bool {
//!     order.amount > 1000.0 || order.note.is_some_and(|note| note.contains(order.user))
//! }
//!
//! millstream_sdk::export!(split_words, large);
//! # fn main() {}
//! ```
//!
//! The functions stay what they are, so an ordinary `cargo test` calls them. `cargo build --release --target wasm32-wasip2`
//! of a crate of the type `cdylib` makes the component.
//!
//! | attribute | the function | returns |
//! |---|---|---|
//! | `#[map]` | a row in, a row out | a value or a row |
//! | `#[flat_map]` | a row in, any number of rows out | `impl Iterator<Item = T>`, `Vec<T>` or `Option<T>` |
//! | `#[filter]` | whether a row stays | `bool` |
//! | `#[transform]` | a whole partition in, rows out | as a flat-map |
//! | `#[reduce]` | two rows in, a row of the same columns out | a value or a row |
//! | `#[inverse]` | a total and a row that a reduce took in, the total without it out | a value or a row |
//! | `#[update_state]` | a key's new rows and its state in, a new state and rows out | nothing |
//! | `#[migrate]` | a key and its state of an older version in, new ones out | a state, or a key and a state |
//! | `#[merge]` | two states that migrations gave the same key, one out | a state |
//! | `#[receiver]` | on `impl Receiver`: brings rows in | see [`Receiver`] |
//! | `#[sink]` | on `impl Sink` or on a function of `Rows`: takes a batch's rows out | see [`Sink`] |
//!
//! Each may return a `Result` of that instead: an error rejects the call and names the row, or the key. A parameter is a value, and then
//! its name is the column's, or a struct with `#[derive(Row)]`, and then its fields are columns; `#[column(name = "...")]`
//! renames one. A transform takes one parameter of [`Rows`]. A parameter of type [`Context`] is no column: it tells the
//! batch's time and partition, to functions of every kind. A single output column is called `value`, or what
//! `output = "..."` says.
//!
//! Values are `bool`, `i64`, `f64`, [`Timestamp`], `&str` or `String`, `&[u8]` or `Vec<u8>`, [`List`] or `Vec` of those, and
//! an `Option` of each where nulls may be. Text and lists are read in place from the buffers that crossed the boundary.
//!
//! # Reduces
//!
//! A reduce combines rows two by two, in order, until one is left. The host chooses which to combine first, so it has to be
//! associative. Its first parameter takes what it returned before; where that is a `String`, the parameter may be a `&str`. The
//! column is called `value`, or what `column = "..."` says. An inverse takes out what its reduce took in, so that a sliding
//! window need not be computed anew.
//!
//! ```
//! use millstream_sdk::prelude::*;
//!
//! /// Adds amounts up.
//! #[reduce(column = "amount")]
//! fn add(left: i64, right: i64) -> i64 {
//!     left + right
//! }
//!
//! /// Takes amounts out of their sum.
//! #[inverse(column = "amount")]
//! fn subtract(total: i64, leaving: i64) -> i64 {
//!     total - leaving
//! }
//!
//! /// Appends to the text that there is: one `String` for each group of rows.
//! #[reduce]
//! fn join(mut text: String, more: &str) -> String {
//!     text.push_str(more);
//!     text
//! }
//! # assert_eq!((subtract(add(1, 2), 1), join("a".to_owned(), "b").as_str()), (2, "ab"));
//! ```
//!
//! # States
//!
//! An update-state is called once a batch for each key that has new [`Rows`], or whose state times out, with the key's
//! [`State`]. What it pushes to its [`Output`] goes to the stream, beside the key; it may do without. Every other parameter
//! is a column of the key, or a struct of several; a function that does not care for the key takes none, and one that only
//! counts rows takes `Rows<'_, ()>`.
//!
//! ```
//! use millstream_sdk::prelude::*;
//!
//! #[derive(Row)]
//! struct Ended {
//!     pages: Vec<String>,
//!     at: Timestamp,
//! }
//!
//! /// Gathers the pages that a user visits, and gives them when the user was away for long enough.
//! #[update_state(version = 1)]
//! fn visits(
//!     user: &str,
//!     page: Rows<'_, &str>,
//!     pages: &mut State<Vec<String>>,
//!     ended: &mut Output<Ended>,
//!     context: Context,
//! ) {
//!     if pages.is_timing_out() {
//!         log(Level::Debug, user);
//!         let pages = pages.get().cloned().unwrap_or_default();
//!         ended.push(Ended { pages, at: Timestamp(context.batch_time_ms * 1000) });
//!         return;
//!     }
//!     pages.update(|pages| {
//!         let mut pages = pages.unwrap_or_default();
//!         pages.extend(page.iter().map(str::to_owned));
//!         Some(pages)
//!     });
//! }
//!
//! let (mut pages, mut ended) = (State::new(None), Output::new());
//! visits("ann", Rows::from(&["home", "cart"][..]), &mut pages, &mut ended, Context::default());
//! assert!(pages.get().is_some_and(|pages| pages == &["home", "cart"]) && ended.is_empty());
//! ```
//!
//! A state is a value or a row that owns what it holds: `i64`, `String`, `Vec<String>`, a struct with `#[derive(Row)]`. A state
//! that the function does not touch stays as it was. When the meaning of a state changes, so has its `version` to. States of
//! the older version are taken over by a function with `#[migrate]`, which the update-state names:
//!
//! ```
//! use millstream_sdk::prelude::*;
//!
//! /// Counts a word's rows.
//! #[update_state(version = 2, migrate = in_lower_case, merge = together)]
//! fn count(word: &str, new: Rows<'_, ()>, state: &mut State<i64>) {
//!     state.update(|count| Some(count.unwrap_or_default() + new.len() as i64));
//! }
//!
//! /// Version 1 counted words as they were written, and tags among them, which are dropped.
//! #[migrate(from = 1)]
//! fn in_lower_case(word: &str, count: i64) -> Option<(String, i64)> {
//!     (!word.starts_with('#')).then(|| (word.to_lowercase(), count))
//! }
//!
//! /// Words that differed in their case.
//! #[merge]
//! fn together(left: i64, right: i64) -> i64 {
//!     left + right
//! }
//!
//! assert_eq!(in_lower_case("Ann", 3), Some(("ann".to_owned(), 3)));
//! ```
//!
//! The last parameter of a migration is the old state, and those before it are the old key's columns, of which it takes none or
//! all. It returns the new key and state; the new state alone where keys stay as they are; or an `Option` of that, where `None`
//! drops the key. An update-state with several names them so: `migrate = [from_1, from_2]`. A merge combines two states of a
//! key at a time, in any order: associative and commutative.
//!
//! # Receivers and sinks
//!
//! A [`Receiver`] is polled for rows, and says where to go on behind them. A [`Sink`] writes the rows of a batch, in parts
//! that come again after a crash. Both live as long as they work, with their connections, and use `std::net` and `std::fs`,
//! as far as the pipeline grants it. A sink that keeps nothing is a function:
//!
//! ```
//! use millstream_sdk::prelude::*;
//!
//! /// Writes each part of a batch to a file of its own: a repeat replaces it.
//! #[sink]
//! fn save(word: Rows<'_, &str>, batch: Batch) -> Result<(), Fault> {
//!     let words: Vec<_> = word.iter().collect();
//!     let file = format!("{}/{}-{}.txt", std::env::temp_dir().display(), batch.time_ms, batch.part);
//!     Ok(std::fs::write(file, words.join("\n"))?)
//! }
//! # save(Rows::from(&["a", "b"][..]), Batch { time_ms: 7, part: 0, parts: 1 }).unwrap();
//! ```
//!
//! # Applications
//!
//! A component may carry its whole pipeline, so that `millstream run` on it is everything: a function with `#[application]`
//! says it, and [`export!`] names that function. See [`mod@application`].
//!
//! # What else there is
//!
//! [`config`] reads the plugin's configuration, [`log()`] writes to the host's log, and [`accumulators::add`] counts what is
//! worth counting, once for each batch that commits. [`http`] calls services that the pipeline grants.
//!
//! **How it works**, from the outside in: `wasm` is the component's edge; [`function`](mod@function), [`fold`](mod@fold) and
//! [`state`](mod@state) hold the loops over rows, groups and keys, and [`migration`](mod@migration) that over old states; `row` turns rows into columns and `value`, `varying`, `option` and `list` turn values into buffers, both ways.

// The attributes name this crate by its full path, in its own tests too.
extern crate self as millstream_sdk;

pub mod accumulators;
pub mod application;
mod bits;
mod draft;
mod error;
#[doc(hidden)]
pub mod fold;
#[doc(hidden)]
pub mod function;
mod host;
pub mod http;
pub mod lines;
mod list;
#[doc(hidden)]
pub mod migration;
mod need;
mod option;
#[doc(hidden)]
pub mod outside;
mod row;
mod schema;
mod setting;
#[doc(hidden)]
pub mod state;
mod stream;
mod table;
#[cfg(not(target_family = "wasm"))]
pub mod testing;
pub mod text;
mod toml;
mod value;
mod varying;
#[cfg(target_family = "wasm")]
mod wasi_http;
#[cfg(target_family = "wasm")]
#[doc(hidden)]
pub mod wasm;
#[cfg(target_family = "wasm")]
mod wasm_description;

pub use error::Error;
pub use fold::Groups;
pub use function::{Answer, Call, Context, Fields, Function, Kind, Plugin};
pub use host::{Level, config, log, required_config};
pub use list::{Iter, List, Rows};
pub use migration::{Migrated, Migration};
pub use millstream_sdk_macros::{
    Row, application, filter, flat_map, inverse, map, merge, migrate, receiver, reduce, sink, transform,
    update_state,
};
pub use need::{GrantKind, Need};
pub use outside::{Batch, Delivery, Fault, Poll, Position, Receiver, Receiving, Sink, Writing};
pub use row::{Columns, ReadRow, Row, WriteRow};
pub use schema::{DataType, Field, Schema};
pub use setting::Setting;
pub use state::{Outcome, Output, State, Updates};
pub use stream::{Calls, Keyed, Spanning, Stream, Window};
pub use table::{Column, Lists, Table, Values, Varying};
pub use value::{Read, Required, Timestamp, Value, Write};

/// What a plugin's author needs.
pub mod prelude {
    pub use crate::application::Application;
    pub use crate::{
        Batch, Context, Fault, Level, List, Output, Poll, Position, Receiver, Row, Rows, Sink, State,
        Timestamp, Window, accumulators, application, config, filter, flat_map, inverse, log, map, merge,
        migrate, receiver, reduce, required_config, sink, transform, update_state,
    };
}

/// The [`Function`] that an attribute made of a function: for tests that call it as the host does.
///
/// ```
/// # use millstream_sdk::prelude::*;
/// #[map]
/// fn double(number: i64) -> i64 {
///     2 * number
/// }
///
/// assert_eq!(millstream_sdk::function!(double).name, "double");
/// ```
#[macro_export]
macro_rules! function {
    ($($name:ident)::+) => { $($name)::+::FUNCTION };
}

/// Makes the crate a plugin of the functions named, in that order. Its name, version and description are the package's.
///
/// Behind the functions stands `application`, the function that says the pipeline which the component carries, if it does; see
/// [`mod@application`].
///
/// Then stands what the plugin cannot do without, if there is such: `network`, `http`, `read` and `write` with
/// what they are for, in words for people, and `environment` with a variable's name. A pipeline that does not grant one
/// of these is refused, with the line that would grant it.
///
/// ```
/// # use millstream_sdk::prelude::*;
/// #[map]
/// fn greet(name: &str) -> String {
///     let greeting = std::env::var("GREETING").unwrap_or_default();
///     format!("{greeting}, {name}!")
/// }
///
/// millstream_sdk::export!(greet; needs: environment("GREETING"), read("the names of all users"));
/// # fn main() {}
/// ```
#[macro_export]
macro_rules! export {
    (
        $($($name:ident)::+),+ $(,)?
        $(; application: $application:path)?
        $(; needs: $($need:ident($what:expr)),+ $(,)?)?
    ) => {
        #[doc(hidden)]
        pub const MILLSTREAM_PLUGIN: $crate::Plugin = $crate::Plugin {
            name: ::core::env!("CARGO_PKG_NAME"),
            version: ::core::env!("CARGO_PKG_VERSION"),
            documentation: ::core::env!("CARGO_PKG_DESCRIPTION"),
            functions: &[$($crate::function!($($name)::+)),+],
            needs: &[$($($crate::Need::$need($what)),+)?],
        };

        $(const _: fn(&$crate::application::Application) = $application;)?

        #[cfg(target_family = "wasm")]
        const _: () = {
            struct Component;

            impl $crate::wasm::Component for Component {
                const PLUGIN: $crate::Plugin = MILLSTREAM_PLUGIN;
            }

            $crate::wasm::bindings::export!(Component with_types_in $crate::wasm::bindings);

            $(
                impl $crate::wasm::Carrier for Component {
                    fn build(application: &$crate::application::Application) {
                        $application(application);
                    }
                }

                $crate::wasm::carrier::export!(Component with_types_in $crate::wasm::carrier);
            )?
        };
    };
}

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
//!
//! Each may return a `Result` of that instead: an error rejects the call and names the row. A parameter is a value, and then
//! its name is the column's, or a struct with `#[derive(Row)]`, and then its fields are columns; `#[column(name = "...")]`
//! renames one. A transform takes one parameter of [`Rows`]. A parameter of type [`Context`] is no column: it tells the
//! batch's time and partition. A single output column is called `value`, or what `output = "..."` says.
//!
//! Values are `bool`, `i64`, `f64`, [`Timestamp`], `&str` or `String`, `&[u8]` or `Vec<u8>`, [`List`] or `Vec` of those, and
//! an `Option` of each where nulls may be. Text and lists are read in place from the buffers that crossed the boundary.
//!
//! [`config`] reads the plugin's configuration, [`log()`] writes to the host's log, and [`accumulators::add`] counts what is
//! worth counting, once for each batch that commits.
//!
//! **How it works**, from the outside in: `wasm` is the component's edge; [`function`](mod@function) holds the loops over
//! rows; `row` turns rows into columns and `value`, `varying`, `option` and `list` turn values into buffers, both ways.

// The attributes name this crate by its full path, in its own tests too.
extern crate self as millstream_sdk;

pub mod accumulators;
mod bits;
mod error;
#[doc(hidden)]
pub mod function;
mod host;
mod list;
mod option;
mod row;
mod schema;
mod setting;
mod table;
#[cfg(not(target_family = "wasm"))]
pub mod testing;
pub mod text;
mod value;
mod varying;
#[cfg(target_family = "wasm")]
#[doc(hidden)]
pub mod wasm;

pub use error::Error;
pub use function::{Answer, Context, Function, Kind, Plugin};
pub use host::{Level, config, log, required_config};
pub use list::{Iter, List, Rows};
pub use millstream_sdk_macros::{Row, filter, flat_map, map, transform};
pub use row::{Columns, ReadRow, Row, WriteRow};
pub use schema::{DataType, Field, Schema};
pub use setting::Setting;
pub use table::{Column, Lists, Table, Values, Varying};
pub use value::{Read, Required, Timestamp, Value, Write};

/// What a plugin's author needs.
pub mod prelude {
    pub use crate::{
        Context, Level, List, Row, Rows, Timestamp, accumulators, config, filter, flat_map, log, map,
        required_config, transform,
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
#[macro_export]
macro_rules! export {
    ($($($name:ident)::+),+ $(,)?) => {
        #[doc(hidden)]
        pub const MILLSTREAM_PLUGIN: $crate::Plugin = $crate::Plugin {
            name: ::core::env!("CARGO_PKG_NAME"),
            version: ::core::env!("CARGO_PKG_VERSION"),
            documentation: ::core::env!("CARGO_PKG_DESCRIPTION"),
            functions: &[$($crate::function!($($name)::+)),+],
        };

        #[cfg(target_family = "wasm")]
        const _: () = {
            struct Component;

            impl $crate::wasm::Component for Component {
                const PLUGIN: $crate::Plugin = MILLSTREAM_PLUGIN;
            }

            $crate::wasm::bindings::export!(Component with_types_in $crate::wasm::bindings);
        };
    };
}

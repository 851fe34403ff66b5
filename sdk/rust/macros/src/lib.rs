//! The attributes and the derive of the Millstream SDK; its documentation says how they are used.
//!
//! An attribute leaves the function as it is and puts beside it an empty type of the same name, which lives in another
//! namespace. That type carries the `FUNCTION` which `export!` gathers. What the macros cannot read off the tokens, such as
//! the columns of a struct, the traits of the SDK tell.
//!
//! `signature` reads a function and finds its author's mistakes, `types` does so for types, `function` and `row` write code.
//! `pair` does both for reduces and inverses, `update_state` for updates of states, `migration` for what takes over states,
//! `outside` for receivers and sinks, `application` makes names of functions what the builder of pipelines takes.

use proc_macro::TokenStream;
use signature::Kind;

mod application;
mod attribute;
mod function;
mod migration;
mod outside;
mod pair;
mod row;
mod signature;
#[cfg(test)]
mod tests;
mod types;
mod update_state;

/// A row in, a row out: returns a value or a row.
#[proc_macro_attribute]
pub fn map(attribute: TokenStream, item: TokenStream) -> TokenStream {
    function::expand(Kind::Map, attribute.into(), item.into()).into()
}

/// A row in, any number of rows out: returns `impl Iterator<Item = T>`, `Vec<T>` or `Option<T>`.
#[proc_macro_attribute]
pub fn flat_map(attribute: TokenStream, item: TokenStream) -> TokenStream {
    function::expand(Kind::FlatMap, attribute.into(), item.into()).into()
}

/// Whether a row stays: returns `bool`.
#[proc_macro_attribute]
pub fn filter(attribute: TokenStream, item: TokenStream) -> TokenStream {
    function::expand(Kind::Filter, attribute.into(), item.into()).into()
}

/// A whole partition in, rows out: returns `impl Iterator<Item = T>`, `Vec<T>` or `Option<T>`.
#[proc_macro_attribute]
pub fn transform(attribute: TokenStream, item: TokenStream) -> TokenStream {
    function::expand(Kind::Transform, attribute.into(), item.into()).into()
}

/// Two rows in, a row of the same columns out; associative: returns a value or a row.
#[proc_macro_attribute]
pub fn reduce(attribute: TokenStream, item: TokenStream) -> TokenStream {
    function::expand(Kind::Reduce, attribute.into(), item.into()).into()
}

/// A total and a row that a reduce took in, and the total without it out: returns a value or a row.
#[proc_macro_attribute]
pub fn inverse(attribute: TokenStream, item: TokenStream) -> TokenStream {
    function::expand(Kind::Inverse, attribute.into(), item.into()).into()
}

/// The new rows of a key and its state in, a new state and rows for the stream out: returns nothing.
#[proc_macro_attribute]
pub fn update_state(attribute: TokenStream, item: TokenStream) -> TokenStream {
    function::expand(Kind::UpdateState, attribute.into(), item.into()).into()
}

/// A key and its state of the version `from` in, a new state or a new key and state out. Stands on a function that an
/// `#[update_state]` names: `migrate = ...`.
#[proc_macro_attribute]
pub fn migrate(attribute: TokenStream, item: TokenStream) -> TokenStream {
    migration::migrate(attribute.into(), item.into()).into()
}

/// Two states of a key in, one out; associative and commutative. Stands on a function that an `#[update_state]` names:
/// `merge = ...`.
#[proc_macro_attribute]
pub fn merge(attribute: TokenStream, item: TokenStream) -> TokenStream {
    migration::merge(&attribute.into(), item.into()).into()
}

/// Brings rows in from outside: stands on an `impl Receiver`.
#[proc_macro_attribute]
pub fn receiver(attribute: TokenStream, item: TokenStream) -> TokenStream {
    outside::receiver(attribute.into(), item.into()).into()
}

/// Takes a batch's rows out: stands on an `impl Sink`, or on a function of `Rows` and, if it likes, the `Batch`.
#[proc_macro_attribute]
pub fn sink(attribute: TokenStream, item: TokenStream) -> TokenStream {
    outside::sink(attribute.into(), item.into()).into()
}

/// Says what the pipeline is that the component carries: stands on a function of an `&Application`. In its body, `map`, `flat_map`,
/// `filter`, `transform`, `reduce`, `inverse`, `update_state`, `receiver` and `sink` take functions of the plugin by their names.
#[proc_macro_attribute]
pub fn application(attribute: TokenStream, item: TokenStream) -> TokenStream {
    application::expand(&attribute.into(), item.into()).into()
}

/// Makes a struct with named fields a row of a column per field. `#[column(name = "...")]` on a field renames its column.
#[proc_macro_derive(Row, attributes(column))]
pub fn row(item: TokenStream) -> TokenStream {
    row::expand(item.into()).into()
}

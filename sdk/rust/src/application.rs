//! A component that carries its pipeline: a builder that makes the text of a pipeline file.
//!
//! An application is a plugin with one function more, which is called once and says what sources, streams and sinks there
//! are. [`export!`](crate::export) names it, and `millstream run` on the component is everything.
//!
//! ```
//! use millstream_sdk::prelude::*;
//!
//! #[flat_map(output = "word")]
//! fn split_words(line: &str) -> impl Iterator<Item = &str> {
//!     line.split_ascii_whitespace()
//! }
//!
//! #[application]
//! fn word_count(app: &Application) {
//!     app.batch_interval("1s");
//!     app.socket("127.0.0.1:9999").flat_map(split_words).count_by_value().print();
//! }
//!
//! millstream_sdk::export!(split_words; application: word_count);
//! # let text = millstream_sdk::application::pipeline(&MILLSTREAM_PLUGIN, word_count).unwrap();
//! # assert!(text.contains("flat-map = \"self.split-words\""), "{text}");
//! # fn main() {}
//! ```
//!
//! A function of another kind does not compile:
//!
//! ```compile_fail,E0277
//! # use millstream_sdk::prelude::*;
//! # #[filter]
//! # fn is_long(word: &str) -> bool {
//! #     word.len() > 7
//! # }
//! #[application]
//! fn wrong(app: &Application) {
//!     app.socket("127.0.0.1:9999").flat_map(is_long);
//! }
//! ```
//!
//! Each method stands for a key of the pipeline file, whose documentation says what it does; what there is no method for,
//! [`Application::key`], [`Stream::key`], [`Stream::operation`] and [`Application::toml`] say in the file's own words.
//!
//! In the body of an `#[application]`, a function of the plugin is given by its name, and one of another kind than the method
//! takes does not compile. Elsewhere write [`Named::new`] for it. For the same reason the methods `map`, `flat_map`, `filter` and
//! `reduce` of iterators and options take closures there, and no names of functions.
//!
//! **Names.** What has none is named by its kind and number, in the order of the code. States are kept by the names of streams:
//! name those that keep some, so that they are found again when streams are added in front of them.

use std::cell::RefCell;
use std::marker::PhantomData;

use crate::draft::{Draft, Entry, Group};
use crate::function::{Function, Plugin};
use crate::need::GrantKind;
use crate::stream::Stream;
pub use crate::toml::{Toml, table};
use crate::toml::{set, set_in};

/// Kinds of functions, and of streams by what makes them.
pub mod kind {
    macro_rules! kinds {
        ($($(#[$documentation:meta])* $name:ident),+ $(,)?) => {
            $($(#[$documentation])* #[derive(Clone, Copy, Debug)] pub enum $name {})+
        };
    }

    kinds!(
        /// `map`
        Map,
        /// `flat-map`
        FlatMap,
        /// `filter`
        Filter,
        /// `transform`
        Transform,
        /// `reduce`
        Reduce,
        /// `inverse`
        Inverse,
        /// `update-state`
        UpdateState,
        /// A receiver.
        Receiver,
        /// A sink.
        Sink,
        /// A source of the host's.
        Source,
        /// `aggregate`
        Aggregate,
        /// `join`
        Join,
        /// `repartition`
        Repartition,
        /// A stream that takes no settings of its own.
        Plain,
    );
}

/// A function of a plugin, of the kind `K`. The attributes implement this.
#[diagnostic::on_unimplemented(
    message = "`{Self}` is not a function of the kind `{K}`",
    label = "not of the kind that is called here",
    note = "the attribute on a function says its kind: `#[map]`, `#[flat_map]`, `#[filter]` and so on"
)]
pub trait Described<K> {
    /// The function.
    const FUNCTION: Function;
}

/// The name of a function of the plugin, for methods that call it.
pub struct Named<F>(PhantomData<F>);

impl<F> Named<F> {
    /// The name of the function that is the type's: `Named::<split_words>::new()`.
    #[must_use]
    #[allow(clippy::new_without_default, reason = "it is a name and holds nothing")]
    pub const fn new() -> Self {
        Self(PhantomData)
    }
}

/// A pipeline that is being made.
#[derive(Debug, Default)]
pub struct Application {
    draft: RefCell<Draft>,
}

/// A table, a sink or a plugin of the pipeline.
#[derive(Clone, Copy, Debug)]
pub struct Definition<'a> {
    application: &'a Application,
    pub(crate) index: usize,
}

impl Definition<'_> {
    /// Calls it so.
    pub fn named(self, name: &str) -> Self {
        self.application.change(self.index, |entry| entry.name = Some(name.to_owned()));
        self
    }

    /// Sets a key of it, as the pipeline file has it.
    pub fn key(self, key: &str, value: impl Into<Toml>) -> Self {
        let value = value.into();
        self.application.change(self.index, |entry| set(&mut entry.keys, key, value));
        self
    }
}

/// The plugin that the component is.
const SELF: &str = "self";

impl Application {
    /// What logs call the pipeline; the package's name, where it is not said.
    pub fn name(&self, name: &str) -> &Self {
        self.key("name", name)
    }

    /// From one batch to the next, as in `"1s"`. It has to be said.
    pub fn batch_interval(&self, interval: &str) -> &Self {
        self.key("batch-interval", interval)
    }

    /// The folder of the journal and the states, where the operator names none.
    pub fn checkpoint(&self, folder: &str) -> &Self {
        self.key("checkpoint", folder)
    }

    /// For so many of its first batches this version is tried out, where it takes the place of another one while the pipeline
    /// runs: if it fails, the version before comes back. 20, where it is not said; 0: it is not tried out.
    pub fn probation(&self, batches: u32) -> &Self {
        self.upgrade("probation", batches)
    }

    /// How often it may fail in them, and stay. Never, where it is not said.
    pub fn max_failures(&self, failures: u32) -> &Self {
        self.upgrade("max-failures", failures)
    }

    /// Sets a key of the pipeline, as the pipeline file has it.
    pub fn key(&self, key: &str, value: impl Into<Toml>) -> &Self {
        set(&mut self.draft.borrow_mut().settings, key, value.into());
        self
    }

    /// Asks for something that the component's functions may touch. The operator has to allow it.
    pub fn grant<T: Into<String>>(&self, kind: GrantKind, values: impl IntoIterator<Item = T>) -> &Self {
        let values: Vec<String> = values.into_iter().map(Into::into).collect();
        self.own("grant", kind.name(), values.into())
    }

    /// Limits what a call of the component's functions may use, as in `limit("time", "1s")`.
    pub fn limit(&self, key: &str, value: impl Into<Toml>) -> &Self {
        self.own("limit", key, value.into())
    }

    /// Sets a key of the component's own configuration.
    pub fn config(&self, key: &str, value: impl Into<Toml>) -> &Self {
        self.own("config", key, value.into())
    }

    /// Another plugin, in a file that is found from the component's folder.
    pub fn plugin(&self, name: &str, component: &str) -> Definition<'_> {
        self.define(Entry {
            name: Some(name.to_owned()),
            ..Entry::new(Group::Plugins, "plugin", vec![("component".to_owned(), component.into())])
        })
    }

    /// Lines from a server at `host:port`.
    pub fn socket(&self, address: &str) -> Stream<'_, kind::Source> {
        self.source("socket", vec![("type", "socket"), ("address", address)])
    }

    /// Lines from all who connect to `host:port`.
    pub fn listen(&self, address: &str) -> Stream<'_, kind::Source> {
        self.source("socket", vec![("type", "socket"), ("listen", address)])
    }

    /// Lines of files: a folder, a file or a glob such as `"in/*.txt"`.
    pub fn files(&self, path: &str) -> Stream<'_, kind::Source> {
        self.source("files", vec![("type", "files"), ("path", path)])
    }

    /// What a receiver of the component brings in.
    pub fn receiver<F: Described<kind::Receiver>>(&self, _: Named<F>) -> Stream<'_, kind::Receiver> {
        let function = self.call(&F::FUNCTION);
        self.source("receiver", vec![("plugin", &function)])
    }

    fn source<K>(&self, base: &'static str, keys: Vec<(&str, &str)>) -> Stream<'_, K> {
        let keys = keys.into_iter().map(|(key, value)| (key.to_owned(), value.into())).collect();
        Stream::new(self, self.define(Entry::new(Group::Sources, base, keys)).index)
    }

    /// A file of reference data that queries join with, by this name.
    pub fn table(&self, name: &str, path: &str) -> Definition<'_> {
        self.define(Entry {
            name: Some(name.to_owned()),
            ..Entry::new(Group::Tables, "table", vec![("path".to_owned(), path.into())])
        })
    }

    /// A stream that a query makes. It reads streams, sources and tables by the names that they were given.
    pub fn sql(&self, query: &str) -> Stream<'_, kind::Plain> {
        let keys = vec![("sql".to_owned(), query.into())];
        Stream::new(self, self.define(Entry::new(Group::Streams, "sql", keys)).index)
    }

    /// Adds text of a pipeline file behind all else, such as tests. Where nothing else is said, it is all of the pipeline.
    pub fn toml(&self, text: &str) -> &Self {
        let rest = &mut self.draft.borrow_mut().rest;
        rest.push_str(text);
        rest.push('\n');
        self
    }

    /// The function as pipelines name it.
    pub(crate) fn call(&self, function: &Function) -> String {
        let called = &mut self.draft.borrow_mut().called;
        if !called.contains(&function.name) {
            called.push(function.name);
        }
        format!("{SELF}.{}", function.name)
    }

    pub(crate) fn define(&self, entry: Entry) -> Definition<'_> {
        let entries = &mut self.draft.borrow_mut().entries;
        entries.push(entry);
        Definition { application: self, index: entries.len() - 1 }
    }

    pub(crate) fn change(&self, index: usize, change: impl FnOnce(&mut Entry)) {
        change(&mut self.draft.borrow_mut().entries[index]);
    }

    /// Sets a key of the table that says how this version is tried out.
    fn upgrade(&self, key: &str, value: u32) -> &Self {
        set_in(&mut self.draft.borrow_mut().settings, "upgrade", key, value.into());
        self
    }

    /// Sets a key of one of the tables of the plugin that the component is.
    fn own(&self, of: &str, key: &str, value: Toml) -> &Self {
        let mut draft = self.draft.borrow_mut();
        let is_own = |entry: &Entry| entry.group == Group::Plugins && entry.name.as_deref() == Some(SELF);
        let index = draft.entries.iter().position(is_own).unwrap_or_else(|| {
            let own = Entry::new(Group::Plugins, SELF, Vec::new());
            draft.entries.push(Entry { name: Some(SELF.to_owned()), ..own });
            draft.entries.len() - 1
        });
        set_in(&mut draft.entries[index].keys, of, key, value);
        self
    }
}

/// The text of the pipeline that `build` makes of a plugin's functions: what a component answers that carries it.
///
/// # Errors
/// If it calls functions that `export!` does not name.
pub fn pipeline(plugin: &Plugin, build: impl FnOnce(&Application)) -> Result<String, String> {
    let application = Application::default();
    build(&application);
    let draft = application.draft.into_inner();
    let is_exported = |name: &str| plugin.functions.iter().any(|function| function.name == name);
    let missing: Vec<_> = draft.called.iter().filter(|name| !is_exported(name)).copied().collect();
    match missing.as_slice() {
        [] => Ok(draft.write(plugin.name)),
        missing => Err(format!("it calls {}, which `export!` does not name; add it", missing.join(", "))),
    }
}

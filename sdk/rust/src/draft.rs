//! A pipeline file that is being made, and how it is written.

use std::fmt::Write;

use crate::toml::{Toml, key};

/// What an application has said so far.
#[derive(Debug, Default)]
pub(crate) struct Draft {
    pub(crate) settings: Vec<(String, Toml)>,
    pub(crate) entries: Vec<Entry>,
    /// The functions that are called, each once.
    pub(crate) called: Vec<&'static str>,
    /// Text of the pipeline file, behind all else.
    pub(crate) rest: String,
}

/// A table of the pipeline file.
#[derive(Debug)]
pub(crate) struct Entry {
    pub(crate) group: Group,
    pub(crate) name: Option<String>,
    /// What it is called by where it has no name.
    pub(crate) base: &'static str,
    /// The sources and streams that it takes.
    pub(crate) from: Vec<usize>,
    /// In a stream, the first is its operation.
    pub(crate) keys: Vec<(String, Toml)>,
    /// Makes its SQL, given the name of what it takes.
    pub(crate) query: Option<fn(&str) -> String>,
}

/// The tables of a pipeline file, in their order.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Group {
    Plugins,
    Sources,
    Tables,
    Streams,
    Sinks,
}

impl Group {
    const ALL: [Self; 5] = [Self::Plugins, Self::Sources, Self::Tables, Self::Streams, Self::Sinks];

    const fn key(self) -> &'static str {
        match self {
            Self::Plugins => "plugins",
            Self::Sources => "sources",
            Self::Tables => "tables",
            Self::Streams => "streams",
            Self::Sinks => "sinks",
        }
    }
}

impl Entry {
    pub(crate) fn new(group: Group, base: &'static str, keys: Vec<(String, Toml)>) -> Self {
        Self { group, name: None, base, from: Vec::new(), keys, query: None }
    }
}

impl Draft {
    /// The text of it, which has the package's name where it has no other.
    pub(crate) fn write(mut self, package: &str) -> String {
        if self.settings.is_empty() && self.entries.is_empty() {
            return self.rest;
        }
        if self.settings.iter().all(|(name, _)| name != "name") {
            self.settings.insert(0, ("name".to_owned(), package.into()));
        }
        let names = self.names();
        let mut text = String::new();
        write_keys(&mut text, &self.settings);
        for group in Group::ALL {
            let of_group = self.entries.iter().zip(&names).filter(|(entry, _)| entry.group == group);
            for (entry, name) in of_group {
                write!(text, "\n[{}.{}]\n", group.key(), key(name)).expect("text can always be written");
                write_keys(&mut text, &entry.written(&names));
            }
        }
        if !self.rest.is_empty() {
            text.push('\n');
            text.push_str(&self.rest);
        }
        text
    }

    /// The names of all entries: those that were given, and what they are with the lowest number that makes a new name.
    fn names(&self) -> Vec<String> {
        let mut names: Vec<Option<String>> = self.entries.iter().map(|entry| entry.name.clone()).collect();
        for (index, entry) in self.entries.iter().enumerate() {
            if names[index].is_none() {
                let numbered = (1..).map(|number| format!("{}-{number}", entry.base));
                names[index] = numbered.into_iter().find(|name| !names.contains(&Some(name.clone())));
            }
        }
        names.into_iter().map(|name| name.expect("there is always another number")).collect()
    }
}

impl Entry {
    /// The keys as the file has them.
    fn written(&self, names: &[String]) -> Vec<(String, Toml)> {
        let from: Vec<&str> = self.from.iter().map(|&index| names[index].as_str()).collect();
        let mut keys = Vec::new();
        match (self.query, from.as_slice()) {
            (Some(query), [name, ..]) => {
                let name = format!("\"{}\"", name.replace('"', "\"\""));
                keys.push(("sql".to_owned(), Toml::Text(query(&name))));
            }
            (_, []) => {}
            (None, [name]) => keys.push(("from".to_owned(), Toml::from(*name))),
            (None, names) => keys.push(("from".to_owned(), names.to_vec().into())),
        }
        keys.extend(self.keys.iter().map(|(key, value)| (key.clone(), short(key, value))));
        keys
    }
}

/// Operations that are written as their function, where nothing else is said of them.
const SHORT: [&str; 5] = ["map", "flat-map", "filter", "transform", "reduce"];

fn short(operation: &str, value: &Toml) -> Toml {
    match value {
        Toml::Table(entries) if SHORT.contains(&operation) => match entries.as_slice() {
            [(only, function)] if only == "function" => function.clone(),
            _ => value.clone(),
        },
        _ => value.clone(),
    }
}

fn write_keys(text: &mut String, keys: &[(String, Toml)]) {
    for (name, value) in keys {
        writeln!(text, "{} = {value}", key(name)).expect("text can always be written");
    }
}

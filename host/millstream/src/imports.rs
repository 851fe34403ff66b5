//! What the imports of components mean.

use std::collections::BTreeMap;

use millstream_model::pipeline::GrantKind;

/// The beginnings of imports, what they are for, and what it takes to use them. The last stands for all others.
pub(crate) const IMPORTS: &[(&str, &str, &str)] = &[
    ("millstream:", "Millstream", "given to all"),
    ("wasi:http/", "http", "granted by http = [\"api.example.com\"]; denied otherwise"),
    ("wasi:sockets/", "network", "granted by network = [\"127.0.0.1:9999\"]; denied otherwise"),
    (
        "wasi:filesystem/",
        "folders",
        "granted by read = [\"./folder\"] or write = [\"./folder\"]; none otherwise",
    ),
    ("wasi:cli/environment", "environment", "granted by environment = [\"NAME\"]; empty otherwise"),
    (
        "wasi:clocks/",
        "clocks",
        "given to all; the time of day is the batch's, and the machine's to receivers and sinks",
    ),
    (
        "wasi:random/",
        "random",
        "given to all; seeded by the batch, and by the machine for receivers and sinks",
    ),
    ("wasi:cli/", "output", "given to all; goes to the host's log, within limits"),
    ("wasi:io/", "streams", "given to all; what the others read and write by"),
    ("", "others", "given to all"),
];

/// The place of an import in [`IMPORTS`].
pub(crate) fn rank(import: &str) -> usize {
    let found = IMPORTS.iter().position(|(begin, ..)| import.starts_with(begin));
    found.expect("the last stands for all")
}

/// The ways out of the sandbox, by the words of [`IMPORTS`], and what components are granted of each.
pub(crate) const OUTSIDE: [(&str, &[GrantKind]); 4] = [
    ("http", &[GrantKind::Http]),
    ("network", &[GrantKind::Network]),
    ("folders", &[GrantKind::Read, GrantKind::Write]),
    ("environment", &[GrantKind::Environment]),
];

/// For each way outside that some of the imports are for, the first of those.
pub(crate) fn outside(imports: &[String]) -> BTreeMap<&'static str, &str> {
    let mut found = BTreeMap::new();
    for import in imports {
        let (_, what, _) = IMPORTS[rank(import)];
        if OUTSIDE.iter().any(|(way, _)| *way == what) {
            found.entry(what).or_insert(import.as_str());
        }
    }
    found
}

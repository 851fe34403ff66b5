//! `millstream inspect`: what a component offers and what it asks for.

use std::collections::BTreeMap;
use std::path::Path;

use anyhow::Result;
use millstream_model::pipeline::{Grant, Limit, Located, Place, PluginSpec};
use millstream_model::{FunctionDescription, Need, Schema};
use millstream_plugins::Plugin;
use serde_json::json;

use crate::compiled::sandbox;
use crate::load::{Refused, runtime};

#[allow(clippy::print_stdout, reason = "the command's answer")]
pub(crate) fn inspect(component: &Path, json: bool) -> Result<()> {
    let spec = PluginSpec {
        name: Located { value: "plugin".to_owned(), place: Place::default() },
        component: Located { value: component.to_owned(), place: Place::default() },
        grant: Grant::default(),
        limit: Limit::default(),
        config: BTreeMap::new(),
    };
    let sandbox = sandbox(None)?;
    let loaded = runtime()?.block_on(Plugin::load(&sandbox, &spec));
    let plugin = loaded.map_err(|error| Refused(error.to_string()))?;
    match json {
        true => println!("{}", as_json(&plugin)),
        false => print!("{}", as_text(&plugin)),
    }
    Ok(())
}

/// Everything in it comes from the component, so control characters are escaped.
fn as_text(plugin: &Plugin) -> String {
    let description = plugin.description();
    let mut text = format!("{} {}\n", description.name, description.version);
    if !description.documentation.is_empty() {
        text += &format!("{}\n", description.documentation);
    }
    text += &format!("\nsha-256 {}\n\nfunctions\n", plugin.digest());
    for function in &description.functions {
        text += &function_text(function);
    }
    text += &imports_text(plugin);
    text.chars().map(|c| if c.is_control() && c != '\n' { '\u{fffd}' } else { c }).collect()
}

/// The needs, and the imports by what they mean.
fn imports_text(plugin: &Plugin) -> String {
    let mut text = String::new();
    let needs = &plugin.description().needs;
    if !needs.is_empty() {
        text += "\nneeds\n";
        text.extend(needs.iter().map(|need| format!("  {}  {}\n", need.grant, need.what)));
    }
    text += "\nimports (a toolchain imports more than the code uses)\n";
    let mut imports: Vec<&str> = plugin.imports().iter().map(|import| import.name.as_str()).collect();
    imports.sort_unstable_by_key(|import| rank(import));
    for group in imports.chunk_by(|a, b| rank(a) == rank(b)) {
        let (_, what, hint) = IMPORTS[rank(group[0])];
        text += &format!("  {what}: {hint}\n");
        text.extend(group.iter().map(|import| format!("    {import}\n")));
    }
    text
}

/// The beginnings of imports, what they are for, and what it takes to use them. The last stands for all others.
const IMPORTS: &[(&str, &str, &str)] = &[
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

fn rank(import: &str) -> usize {
    let found = IMPORTS.iter().position(|(begin, ..)| import.starts_with(begin));
    found.expect("the last stands for all")
}

fn function_text(function: &FunctionDescription) -> String {
    let FunctionDescription { name, kind, input, output, keys, state, state_version, documentation } =
        function;
    let by = if keys.fields.is_empty() { String::new() } else { format!("by {keys}  ") };
    let given = if output.fields.is_empty() { String::new() } else { format!(" -> {output}") };
    let mut text = format!("  {name}  {kind}  {by}{input}{given}\n");
    if !state.fields.is_empty() {
        text += &format!("      state {state}, version {state_version}\n");
    }
    if !documentation.is_empty() {
        text += &format!("      {}\n", documentation.replace('\n', " "));
    }
    text
}

fn as_json(plugin: &Plugin) -> serde_json::Value {
    let description = plugin.description();
    let function = |function: &FunctionDescription| {
        let state = (!function.state.fields.is_empty())
            .then(|| json!({ "fields": schema_json(&function.state), "version": function.state_version }));
        json!({
            "name": function.name,
            "kind": function.kind.name(),
            "keys": schema_json(&function.keys),
            "state": state,
            "input": schema_json(&function.input),
            "output": schema_json(&function.output),
            "documentation": function.documentation,
        })
    };
    let need = |need: &Need| json!({ "grant": need.grant.name(), "what": need.what });
    json!({
        "name": description.name,
        "version": description.version,
        "documentation": description.documentation,
        "digest": plugin.digest(),
        "functions": description.functions.iter().map(function).collect::<Vec<_>>(),
        "needs": description.needs.iter().map(need).collect::<Vec<_>>(),
        "imports": plugin.imports().iter().map(|import| &import.name).collect::<Vec<_>>(),
    })
}

fn schema_json(schema: &Schema) -> serde_json::Value {
    let field = |field: &millstream_model::Field| json!({ "name": field.name, "type": field.data_type.to_string(), "nullable": field.nullable });
    schema.fields.iter().map(field).collect()
}

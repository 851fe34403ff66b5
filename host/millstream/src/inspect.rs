//! `millstream inspect`: what a component offers and what it asks for.

use std::collections::BTreeMap;
use std::path::Path;

use anyhow::Result;
use millstream_model::pipeline::{Grant, Limit, Located, Place, PluginSpec};
use millstream_model::{FunctionDescription, Schema};
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
    let (own, wasi): (Vec<_>, Vec<_>) =
        plugin.imports().iter().partition(|import| import.name.starts_with("millstream:"));
    text += "\nimports of Millstream\n";
    text.extend(own.iter().map(|import| format!("  {}\n", import.name)));
    text +=
        "\nimports of WASI (a toolchain imports more than the code uses; all are denied unless granted)\n";
    text.extend(wasi.iter().map(|import| format!("  {}\n", import.name)));
    text.chars().map(|c| if c.is_control() && c != '\n' { '\u{fffd}' } else { c }).collect()
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
    json!({
        "name": description.name,
        "version": description.version,
        "documentation": description.documentation,
        "digest": plugin.digest(),
        "functions": description.functions.iter().map(function).collect::<Vec<_>>(),
        "imports": plugin.imports().iter().map(|import| &import.name).collect::<Vec<_>>(),
    })
}

fn schema_json(schema: &Schema) -> serde_json::Value {
    let field = |field: &millstream_model::Field| json!({ "name": field.name, "type": field.data_type.to_string(), "nullable": field.nullable });
    schema.fields.iter().map(field).collect()
}

//! `millstream inspect`: what a component offers and what it asks for; of one that carries its pipeline, that whole, and what
//! it wants from outside.

use std::collections::BTreeMap;
use std::path::Path;

use anyhow::Result;
use millstream_model::pipeline::{Grant, Limit, Located, Place, PluginSpec};
use millstream_model::{FunctionDescription, MigrationDescription, Need, Schema};
use millstream_pipeline::{Diagnostics, Text};
use millstream_plugins::{Carried, Plugin};
use serde_json::json;

use crate::allowed::{Want, wants};
use crate::compiled::sandbox;
use crate::imports::{IMPORTS, rank};
use crate::load::{Refused, runtime};
use crate::printable;

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
    let (plugin, carried) = runtime()?.block_on(async {
        let plugin = Plugin::load(&sandbox, &spec).await.map_err(|error| Refused(error.to_string()))?;
        let carried = Carried::read(&sandbox, component).await.map_err(|error| Refused(error.to_string()))?;
        anyhow::Ok((plugin, carried.map(|carried| Pipeline::of(component, carried))))
    })?;
    match json {
        true => println!("{}", as_json(&plugin, carried.as_ref())),
        false => print!("{}", as_text(&plugin, carried.as_ref())),
    }
    Ok(())
}

/// The pipeline that a component carries.
struct Pipeline {
    carried: Carried,
    /// What it wants from outside; or what is wrong with its form.
    wants: Result<Vec<Want>, Diagnostics>,
}

impl Pipeline {
    fn of(component: &Path, carried: Carried) -> Self {
        let text = Text { is_carried: true, ..Text::new(component, &carried.text) };
        let wants = text.parse().map(|pipeline| wants(&pipeline, true));
        Self { carried, wants }
    }

    fn as_text(&self) -> String {
        let told =
            if self.carried.is_told { "as the component says" } else { "in a section of the component" };
        let mut text = format!("\npipeline ({told})\n");
        text.extend(self.carried.text.lines().map(|line| format!("  {line}\n")));
        match &self.wants {
            Ok(wants) if wants.is_empty() => text += "\nwants nothing from outside\n",
            Ok(wants) => {
                text += "\nwants from outside\n";
                text.extend(wants.iter().map(|want| format!("  {}  {}\n", want.flag(), want.what)));
            }
            Err(diagnostics) => text += &format!("\nthe pipeline is wrong\n{diagnostics}\n"),
        }
        text
    }

    fn as_json(&self) -> serde_json::Value {
        let want = |want: &Want| json!({ "kind": want.kind.name(), "value": want.value, "what": want.what });
        let wants = self.wants.as_ref().ok().map(|wants| wants.iter().map(want).collect::<Vec<_>>());
        let wrong = self.wants.as_ref().err().map(ToString::to_string);
        json!({ "text": self.carried.text, "wants": wants, "wrong": wrong })
    }
}

/// Everything in it comes from the component, so control characters are escaped.
fn as_text(plugin: &Plugin, carried: Option<&Pipeline>) -> String {
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
    text.extend(carried.map(Pipeline::as_text));
    printable(&text)
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

fn function_text(function: &FunctionDescription) -> String {
    let FunctionDescription {
        name,
        kind,
        input,
        output,
        keys,
        state,
        state_version,
        migrations,
        documentation,
    } = function;
    let by = if keys.fields.is_empty() { String::new() } else { format!("by {keys}  ") };
    let given = if output.fields.is_empty() { String::new() } else { format!(" -> {output}") };
    let mut text = format!("  {name}  {kind}  {by}{input}{given}\n");
    if !state.fields.is_empty() {
        text += &format!("      state {state}, version {state_version}\n");
    }
    text.extend(migrations.iter().map(migration_text));
    if !documentation.is_empty() {
        text += &format!("      {}\n", documentation.replace('\n', " "));
    }
    text
}

fn migration_text(migration: &MigrationDescription) -> String {
    let MigrationDescription { version, keys, state, new_keys, merges } = migration;
    let seen = if keys.fields.is_empty() { String::new() } else { format!(" {keys}") };
    let becomes = match new_keys.fields.is_empty() {
        true => "stay".to_owned(),
        false => format!("become {new_keys}"),
    };
    let merged = if *merges { ", merged where they are the same" } else { "" };
    format!("      migrates from version {version}: state {state}, keys{seen} {becomes}{merged}\n")
}

fn as_json(plugin: &Plugin, carried: Option<&Pipeline>) -> serde_json::Value {
    let description = plugin.description();
    let function = |function: &FunctionDescription| {
        let state = (!function.state.fields.is_empty()).then(|| {
            json!({
                "fields": schema_json(&function.state),
                "version": function.state_version,
                "migrations": function.migrations.iter().map(migration_json).collect::<Vec<_>>(),
            })
        });
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
        "pipeline": carried.map(Pipeline::as_json),
    })
}

fn migration_json(migration: &MigrationDescription) -> serde_json::Value {
    json!({
        "version": migration.version,
        "keys": schema_json(&migration.keys),
        "fields": schema_json(&migration.state),
        "new_keys": schema_json(&migration.new_keys),
        "merges": migration.merges,
    })
}

fn schema_json(schema: &Schema) -> serde_json::Value {
    let field = |field: &millstream_model::Field| json!({ "name": field.name, "type": field.data_type.to_string(), "nullable": field.nullable });
    schema.fields.iter().map(field).collect()
}

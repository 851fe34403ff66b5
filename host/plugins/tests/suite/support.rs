//! Components to load, and rows to call them with.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::{Arc, Once};

use arrow::array::{ArrayRef, BooleanArray, RecordBatch, RecordBatchOptions, StringViewArray};
use arrow::buffer::BooleanBuffer;
use arrow::util::pretty::pretty_format_batches;
use millstream_model::pipeline::{Grant, Limit, Located, Place, PluginSpec};
use millstream_model::{BatchTime, CallContext, DataType, Field, FunctionDescription, Schema, Update};
use millstream_plugins::{Plugin, PluginError, Sandbox};

/// A component of this workspace. `cargo xtask` builds them first and says so; others build them here.
fn component(name: &str) -> PathBuf {
    static BUILT: Once = Once::new();
    let root = Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/../.."));
    BUILT.call_once(|| {
        if std::env::var_os("MILLSTREAM_PLUGINS_BUILT").is_none() {
            let status = Command::new(env!("CARGO")).args(["xtask", "plugins"]).current_dir(root).status();
            assert!(status.unwrap().success(), "cargo xtask plugins");
        }
    });
    root.join("plugins/bin").join(name).with_extension("wasm").canonicalize().unwrap()
}

/// A component as the plugin of its name, without grants.
pub(crate) fn spec(name: &str) -> PluginSpec {
    PluginSpec {
        name: Located { value: name.to_owned(), place: Place::default() },
        component: Located { value: component(name), place: Place::default() },
        grant: Grant::default(),
        limit: Limit::default(),
        config: BTreeMap::new(),
    }
}

/// Loads a component as the plugin of its name, with one key of configuration.
pub(crate) async fn try_load(name: &str, config: Option<(&str, &str)>) -> Result<Plugin, PluginError> {
    let config = config.map(|(key, value)| (key.to_owned(), value.into()));
    let spec = PluginSpec { config: BTreeMap::from_iter(config), ..spec(name) };
    Plugin::load(&Sandbox::new().unwrap(), &spec).await
}

pub(crate) async fn load(name: &str) -> Plugin {
    try_load(name, None).await.unwrap()
}

/// The place of a function in its plugin's description.
pub(crate) fn index(plugin: &Plugin, name: &str) -> usize {
    let index = plugin.description().functions.iter().position(|function| function.name == name);
    index.unwrap_or_else(|| panic!("no function {name}"))
}

pub(crate) fn description<'p>(plugin: &'p Plugin, name: &str) -> &'p FunctionDescription {
    &plugin.description().functions[index(plugin, name)]
}

pub(crate) fn context() -> CallContext {
    CallContext { batch_time: BatchTime::from_ms(1_000), partition: 0, chunk: 0 }
}

/// Rows of one column of text.
pub(crate) fn texts(name: &str, values: &[&str]) -> RecordBatch {
    let schema = Schema::new([Field::new(name, DataType::Utf8)]);
    rows(&schema, vec![Arc::new(StringViewArray::from_iter_values(values))])
}

/// Rows of some columns, which may hold more nulls than the schema says.
pub(crate) fn rows(schema: &Schema, columns: Vec<ArrayRef>) -> RecordBatch {
    let loose = schema.fields.iter().map(|field| Field { nullable: true, ..field.clone() });
    let loose = Schema::new(loose).to_arrow();
    RecordBatch::try_new(Arc::new(loose), columns).unwrap()
}

/// Rows without columns.
pub(crate) fn bare_rows(count: usize) -> RecordBatch {
    let options = RecordBatchOptions::new().with_row_count(Some(count));
    RecordBatch::try_new_with_options(Arc::new(Schema::default().to_arrow()), vec![], &options).unwrap()
}

pub(crate) fn bits(bits: &[bool]) -> BooleanBuffer {
    BooleanArray::from(bits.to_vec()).values().clone()
}

/// An update of four keys of text: one without state, one with, one without new rows, one that times out.
pub(crate) fn update() -> Update {
    Update {
        keys: texts("value", &["new", "old", "idle", "gone"]),
        states: texts("state", &["?", "o", "i", "g"]),
        present: bits(&[false, true, true, true]),
        timed_out: bits(&[false, false, false, true]),
        starts: vec![0, 2, 3, 3, 3],
        rows: texts("value", &["a", "b", "c"]),
    }
}

/// The values of a batch, a line a row.
pub(crate) fn lines(rows: &RecordBatch) -> Vec<String> {
    let table = pretty_format_batches(std::slice::from_ref(rows)).unwrap().to_string();
    let inner = |line: &str| line.trim_matches('|').split('|').map(str::trim).collect::<Vec<_>>().join(" | ");
    table.lines().filter(|line| line.starts_with('|')).skip(1).map(inner).collect()
}

//! `[plugins.NAME]`

use std::collections::BTreeMap;
use std::path::PathBuf;

use millstream_model::pipeline::{Grant, Limit, Located, Place, PluginSpec};

use super::Form;
use super::item::Item;
use super::section::Section;
use crate::SELF;

pub(super) fn read(name: Located<String>, mut section: Section<'_>) -> Option<PluginSpec> {
    let component = component(&name, &mut section);
    let grant = section.optional("grant").and_then(|item| grant(item, &section.what));
    let limit = section.optional("limit").and_then(|item| limit(item, &section.what));
    let config = section.optional("config").and_then(config);
    section.finish();
    Some(PluginSpec {
        name,
        component: component?,
        grant: grant.unwrap_or_default(),
        limit: limit.unwrap_or_default(),
        config: config.unwrap_or_default(),
    })
}

/// The component's file. That of the plugin which carries the pipeline is known.
fn component(name: &Located<String>, section: &mut Section<'_>) -> Option<Located<PathBuf>> {
    if name.value != SELF {
        let remedy = "name its file, as in component = \"text.wasm\"";
        return section.required("component", remedy).and_then(Item::path);
    }
    let Some(carrier) = section.form().carrier else {
        let reason = "it stands for the component that carries a pipeline, and none carries this one";
        section.form().report(name.place, format!("no plugin can be called \"{SELF}\": {reason}; rename it"));
        section.allow(&["component"]);
        return None;
    };
    section.refuse("component", "it is the one that carries this pipeline");
    Some(Located { value: carrier.to_owned(), place: name.place })
}

/// The component that carries the pipeline, where none of the plugins is that, by their names.
pub(super) fn carrier(form: &Form<'_>, names: &[Located<String>]) -> Option<PluginSpec> {
    let carrier = form.carrier.filter(|_| names.iter().all(|name| name.value != SELF))?;
    let place = Place { line: 1, column: 1 };
    Some(PluginSpec {
        name: Located { value: SELF.to_owned(), place },
        component: Located { value: carrier.to_owned(), place },
        grant: Grant::default(),
        limit: Limit::default(),
        config: BTreeMap::new(),
    })
}

fn grant(item: Item<'_>, plugin: &str) -> Option<Grant> {
    let mut section = item.section(format!("the grant of {plugin}"), item.place)?;
    let network = section.optional("network").and_then(|item| {
        item.each("a list of addresses such as [\"127.0.0.1:9999\"]", |address| address.address(false))
    });
    let http = section.optional("http");
    let http = http.and_then(|item| item.each("a list of hosts such as [\"api.example.com\"]", Item::host));
    let mut folders = |key| {
        let item = section.optional(key)?;
        let folders = item.each("a list of folders such as [\"./dictionary\"]", Item::path)?;
        Some(folders.into_iter().map(|folder| folder.value).collect())
    };
    let (read, write) = (folders("read"), folders("write"));
    let environment = section.optional("environment");
    let environment = environment.and_then(|item| item.strings("a list of variables such as [\"LANG\"]"));
    section.finish();
    Some(Grant {
        network: values(network),
        http: values(http),
        read: read.unwrap_or_default(),
        write: write.unwrap_or_default(),
        environment: values(environment),
    })
}

fn values(located: Option<Vec<Located<String>>>) -> Vec<String> {
    located.unwrap_or_default().into_iter().map(|item| item.value).collect()
}

fn limit(item: Item<'_>, plugin: &str) -> Option<Limit> {
    let mut section = item.section(format!("the limit of {plugin}"), item.place)?;
    let default = Limit::default();
    let mut size = |key, default| section.optional(key).and_then(Item::size).unwrap_or(default);
    let memory_bytes = size("memory", default.memory_bytes);
    let answer_bytes = size("answer", default.answer_bytes);
    let log_bytes = size("log", default.log_bytes);
    let log_bytes_per_second = size("log-rate", default.log_bytes_per_second);
    let http_body_bytes = size("http-body", default.http_body_bytes);
    let compile_memory_bytes = size("compile-memory", default.compile_memory_bytes);
    let mut duration = |key, default| section.optional(key).and_then(Item::duration).unwrap_or(default);
    let time = duration("time", default.time);
    let compile_time = duration("compile-time", default.compile_time);
    let table_elements = section.optional("table").and_then(Item::count).unwrap_or(default.table_elements);
    section.finish();
    Some(Limit {
        memory_bytes,
        time,
        table_elements,
        answer_bytes,
        log_bytes,
        log_bytes_per_second,
        http_body_bytes,
        compile_memory_bytes,
        compile_time,
    })
}

fn config(item: Item<'_>) -> Option<BTreeMap<String, serde_json::Value>> {
    let entries = item.entries("a table of the plugin's own keys")?.into_iter();
    Some(entries.filter_map(|(key, value)| Some((key.value.to_owned(), value.json()?))).collect())
}

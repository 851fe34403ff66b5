//! `[plugins.NAME]`

use std::collections::BTreeMap;

use millstream_model::pipeline::{Grant, Limit, Located, PluginSpec};

use super::item::Item;
use super::section::Section;

pub(super) fn read(name: Located<String>, mut section: Section<'_>) -> Option<PluginSpec> {
    let component = section.required("component", "name its file, as in component = \"text.wasm\"");
    let component = component.and_then(Item::path);
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
    let (memory_bytes, answer_bytes) =
        (size("memory", default.memory_bytes), size("answer", default.answer_bytes));
    let (log_bytes, log_bytes_per_second) =
        (size("log", default.log_bytes), size("log-rate", default.log_bytes_per_second));
    let http_body_bytes = size("http-body", default.http_body_bytes);
    let time = section.optional("time").and_then(Item::duration).unwrap_or(default.time);
    let table = section.optional("table").and_then(Item::count).unwrap_or(default.table_elements);
    section.finish();
    Some(Limit {
        memory_bytes,
        time,
        table_elements: table,
        answer_bytes,
        log_bytes,
        log_bytes_per_second,
        http_body_bytes,
    })
}

fn config(item: Item<'_>) -> Option<BTreeMap<String, serde_json::Value>> {
    let entries = item.entries("a table of the plugin's own keys")?.into_iter();
    Some(entries.filter_map(|(key, value)| Some((key.value.to_owned(), value.json()?))).collect())
}

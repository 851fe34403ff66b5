//! What plugins may touch, as the manifests of batches keep it.

use std::collections::BTreeMap;
use std::path::absolute;

use millstream_model::Granted;
use millstream_model::pipeline::{Grant, GrantKind, PluginSpec};

/// The grants of the plugins that have any. A folder is named as it is found from anywhere.
pub(crate) fn granted(plugins: &[PluginSpec]) -> BTreeMap<String, Granted> {
    let granted = plugins.iter().map(|spec| (spec.name.value.clone(), granted_to(&spec.grant)));
    granted.filter(|(_, granted)| !granted.is_empty()).collect()
}

fn granted_to(grant: &Grant) -> Granted {
    let from_anywhere =
        |path: String| absolute(&path).map_or(path, |path| path.to_string_lossy().into_owned());
    let values = |kind: GrantKind| {
        let values = grant.values(kind).into_iter();
        match kind {
            GrantKind::Read | GrantKind::Write => values.map(from_anywhere).collect::<Vec<_>>(),
            _ => values.collect(),
        }
    };
    let granted = GrantKind::ALL.map(|kind| (kind.name().to_owned(), values(kind)));
    granted.into_iter().filter(|(_, values)| !values.is_empty()).collect()
}

/// A line for each plugin that may touch something.
pub(crate) fn as_text(grants: &BTreeMap<String, Granted>) -> String {
    let line = |(plugin, granted)| format!("  plugin {plugin} was granted {}\n", in_words(granted));
    grants.iter().map(line).collect()
}

/// What a plugin may touch.
pub(crate) fn in_words(granted: &Granted) -> String {
    let one = |(kind, values): (&String, &Vec<String>)| format!("{kind} {}", values.join(", "));
    granted.iter().map(one).collect::<Vec<_>>().join("; ")
}

//! What plugins cannot do without, against what they are granted.

use millstream_model::Need;
use millstream_model::pipeline::{GrantKind, PluginSpec};

use crate::diagnostic::Diagnostic;

/// A report for each need that no grant meets, with the line that would.
pub(super) fn check<'n>(plugin: &PluginSpec, needs: impl Iterator<Item = &'n Need>) -> Vec<Diagnostic> {
    let unmet = needs.filter(|need| !need.is_met(&plugin.grant));
    let report = |need: &Need| {
        let (name, kind, what) = (&plugin.name, need.grant, need.what.escape_debug());
        let example = match kind {
            GrantKind::Environment => need.what.as_str(),
            GrantKind::Http => "api.example.com",
            GrantKind::Network => "127.0.0.1:9999",
            GrantKind::Read | GrantKind::Write => "./folder",
        };
        let message = format!(
            "plugin \"{name}\" needs {kind}, for {what}, and is not granted it; \
             if it may, write grant = {{ {kind} = [{example:?}] }} with what you allow"
        );
        Diagnostic::new(plugin.name.place, message)
    };
    unmet.map(report).collect()
}

//! What components export of the contract: the functions that are called, by the interfaces that they are in.

use millstream_model::{FunctionKind, PluginDescription};
use wasmtime::component::{Component, ComponentExportIndex};

use crate::contract::{
    APPLICATION, MIGRATE_STATE, RECEIVER, REDUCE, SETTINGS, SINK, TRANSFORM, UPDATE_STATE,
};
use crate::migration::MigrationExports;
use crate::receiver::ReceiverExports;

/// The functions of the contract that a component exports.
pub(crate) struct Exports {
    transform: Option<ComponentExportIndex>,
    fold: Option<ComponentExportIndex>,
    take_out: Option<ComponentExportIndex>,
    update: Option<ComponentExportIndex>,
    pub(crate) migration: Option<MigrationExports>,
    pub(crate) receiver: Option<ReceiverExports>,
    write: Option<ComponentExportIndex>,
    pub(crate) pipeline: Option<ComponentExportIndex>,
    pub(crate) check: Option<ComponentExportIndex>,
}

impl Exports {
    pub(crate) fn of(component: &Component) -> Self {
        Self {
            transform: export(component, TRANSFORM, "call"),
            fold: export(component, REDUCE, "fold"),
            take_out: export(component, REDUCE, "take-out"),
            update: export(component, UPDATE_STATE, "update"),
            migration: MigrationExports::of(component),
            receiver: ReceiverExports::of(component),
            write: export(component, SINK, "write"),
            pipeline: export(component, APPLICATION, "pipeline"),
            check: export(component, SETTINGS, "check"),
        }
    }

    /// What is called for functions of a kind, of several the first.
    pub(crate) fn get(&self, kind: FunctionKind) -> Option<&ComponentExportIndex> {
        use FunctionKind as K;
        match kind {
            K::Map | K::FlatMap | K::Filter | K::Transform => self.transform.as_ref(),
            K::Reduce => self.fold.as_ref(),
            K::Inverse => self.take_out.as_ref(),
            K::UpdateState => self.update.as_ref(),
            K::Receiver => self.receiver.as_ref().map(|exports| &exports.start),
            K::Sink => self.write.as_ref(),
        }
    }
}

/// The interface by which functions of a kind are called.
const fn interface(kind: FunctionKind) -> &'static str {
    use FunctionKind as K;
    match kind {
        K::Map | K::FlatMap | K::Filter | K::Transform => TRANSFORM,
        K::Reduce | K::Inverse => REDUCE,
        K::UpdateState => UPDATE_STATE,
        K::Receiver => RECEIVER,
        K::Sink => SINK,
    }
}

/// Each kind that is described needs its interface, and migrations theirs, and no other.
pub(crate) fn check(description: &PluginDescription, exports: &Exports) -> Result<(), String> {
    for function in &description.functions {
        let (name, kind) = (&function.name, function.kind);
        if !function.migrations.is_empty() && exports.migration.is_none() {
            return Err(format!(
                "describes migrations of \"{name}\", but does not export {MIGRATE_STATE}; export it, or leave them out"
            ));
        }
        if exports.get(kind).is_none() {
            let interface = interface(kind);
            return Err(format!(
                "describes \"{name}\", of the kind {kind}, but does not export {interface}; export it, or leave the function out"
            ));
        }
    }
    Ok(())
}

pub(crate) fn export(component: &Component, interface: &str, function: &str) -> Option<ComponentExportIndex> {
    let interface = component.get_export_index(None, interface)?;
    component.get_export_index(Some(&interface), function)
}

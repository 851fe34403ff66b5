//! A loaded component: checked, compiled, described, and ready to be called.

use std::fs::File;
use std::io::Read;
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use millstream_model::pipeline::{GrantKind, PluginSpec};
use millstream_model::{
    BatchTime, Function, FunctionKind, Inverse, Metered, Migration, Need, PluginDescription, Receiver,
    Reduce, Sink, UpdateState, Usages,
};
use millstream_pipeline::{self as pipeline, Components, LoadError};
use wasmtime::component::{ComponentExportIndex, InstancePre};

use crate::callee::{Callee, shortened};
use crate::contract::{self, DESCRIPTION, HTTP};
use crate::description::description;
use crate::exports::{self, Exports, export};
use crate::guest::{Guest, Terms, World};
use crate::hex::hex;
use crate::instance::Instance;
use crate::late::LateTerms;
use crate::meter::Meter;
use crate::migration::{MigrationExports, PluginMigration};
use crate::outside::outside;
use crate::receiver::{PluginReceiver, ReceiverExports};
use crate::sink::PluginSink;
use crate::{PluginError, Sandbox};

/// A loaded component. Clones share it and its instances.
#[derive(Clone)]
pub struct Plugin {
    shared: Arc<Shared>,
    description: Arc<PluginDescription>,
    imports: Arc<Vec<Import>>,
    digest: String,
}

/// An interface that a component imports.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Import {
    /// Its name with its package and version.
    pub name: String,
}

/// What calls need: the compiled code, the terms, and instances that are idle.
pub(crate) struct Shared {
    pub(crate) name: String,
    sandbox: Sandbox,
    component: InstancePre<Guest>,
    exports: Exports,
    terms: LateTerms,
    pub(crate) time: Duration,
    pub(crate) meter: Meter,
    idle: Mutex<Vec<Instance>>,
}

impl Shared {
    /// What is called for functions of a kind.
    pub(crate) fn export(&self, kind: FunctionKind) -> Option<&ComponentExportIndex> {
        self.exports.get(kind)
    }

    pub(crate) fn migration_exports(&self) -> Option<&MigrationExports> {
        self.exports.migration.as_ref()
    }

    pub(crate) fn receiver_exports(&self) -> Option<&ReceiverExports> {
        self.exports.receiver.as_ref()
    }

    /// A new instance for a receiver or a sink, which keeps it.
    pub(crate) async fn outside_instance(self: &Arc<Self>) -> Result<Instance, String> {
        let Self { sandbox, component, terms, time, .. } = &**self;
        let (engine, component) = (sandbox.engine.clone(), component.clone());
        let (terms, time) = (terms.find(sandbox).await.map_err(|error| error.to_string())?, *time);
        outside(async move { Instance::new(&engine, &component, &terms, World::Outside, time).await }).await?
    }

    /// An idle instance, or a new one.
    pub(crate) async fn instance(&self) -> Result<Instance, String> {
        let idle = self.idle.lock().unwrap_or_else(PoisonError::into_inner).pop();
        match idle {
            Some(instance) => Ok(instance),
            None => {
                let terms = self.terms.find(&self.sandbox).await.map_err(|error| error.to_string())?;
                self.new_instance(&terms).await
            }
        }
    }

    async fn new_instance(&self, terms: &Terms) -> Result<Instance, String> {
        Instance::new(&self.sandbox.engine, &self.component, terms, World::Batch, self.time).await
    }

    /// Keeps an instance that is well for the next call.
    pub(crate) fn put_back(&self, instance: Instance) {
        self.idle.lock().unwrap_or_else(PoisonError::into_inner).push(instance);
    }
}

impl Plugin {
    /// Loads the component of `spec` on the terms that it grants.
    pub async fn load(sandbox: &Sandbox, spec: &PluginSpec) -> Result<Self, PluginError> {
        let path = spec.component.value.as_path();
        let refused = |reason: String| PluginError::Refused { path: path.to_owned(), reason };
        let bytes = read(path)?;
        check_kind(&bytes).map_err(refused)?;
        let (terms, to_describe) = LateTerms::new(sandbox, spec).await?;
        let (digest, component) = sandbox.compile(&bytes, &spec.limit).await.map_err(refused)?;
        let describe = export(&component, DESCRIPTION, "describe");
        let describe = describe.ok_or_else(|| {
            refused(format!(
                "does not export {DESCRIPTION}; is it a Millstream plugin, built against this version?"
            ))
        })?;
        let linked = sandbox.linker.instantiate_pre(&component);
        let linked =
            linked.map_err(|error| refused(format!("needs what this host does not offer: {error:#}")))?;
        let shared = Arc::new(Shared {
            name: spec.name.value.clone(),
            sandbox: sandbox.clone(),
            component: linked,
            exports: Exports::of(&component),
            terms,
            time: spec.limit.time,
            meter: Meter::default(),
            idle: Mutex::default(),
        });
        let said = outside(describe_itself(Arc::clone(&shared), to_describe, describe)).await;
        let mut description = said.and_then(|said| description(said?)).map_err(refused)?;
        exports::check(&description, &shared.exports).map_err(refused)?;
        let imports = component.component_type();
        let imports = imports.imports(&sandbox.engine).map(|(name, _)| Import { name: name.to_owned() });
        let imports: Vec<Import> = imports.collect();
        add_imported_need(&mut description, &imports);
        Ok(Self {
            imports: Arc::new(imports),
            shared,
            description: Arc::new(description),
            digest: hex(&digest),
        })
    }

    /// What the component says of itself.
    pub fn description(&self) -> &PluginDescription {
        &self.description
    }

    /// The SHA-256 of the component's file, in hexadecimal.
    pub fn digest(&self) -> &str {
        &self.digest
    }

    /// What the component imports. A toolchain imports more than the code uses.
    pub fn imports(&self) -> &[Import] {
        &self.imports
    }

    /// The function at `index` of the description, ready to be called; it must be of a transforming kind.
    pub fn function(&self, index: usize) -> Arc<dyn Function> {
        Arc::new(self.callee(index))
    }

    /// The function at `index` of the description, if it is a reduce.
    pub fn reduce(&self, index: usize) -> Option<Arc<dyn Reduce>> {
        self.is(FunctionKind::Reduce, index).then(|| Arc::new(self.callee(index)) as Arc<dyn Reduce>)
    }

    /// The function at `index` of the description, if it is an inverse.
    pub fn inverse(&self, index: usize) -> Option<Arc<dyn Inverse>> {
        self.is(FunctionKind::Inverse, index).then(|| Arc::new(self.callee(index)) as Arc<dyn Inverse>)
    }

    /// The function at `index` of the description, if it is an update-state.
    pub fn update_state(&self, index: usize) -> Option<Arc<dyn UpdateState>> {
        self.is(FunctionKind::UpdateState, index)
            .then(|| Arc::new(self.callee(index)) as Arc<dyn UpdateState>)
    }

    /// How the function at `index` of the description takes over the states of a version, if it does.
    pub fn migration(&self, index: usize, version: u32) -> Option<Arc<dyn Migration>> {
        let migrations = &self.description.functions[index].migrations;
        let description = migrations.iter().find(|migration| migration.version == version)?;
        Some(Arc::new(PluginMigration::new(self.callee(index), description.clone())))
    }

    /// The function at `index` of the description, if it is a receiver.
    pub fn receiver(&self, index: usize) -> Option<Arc<dyn Receiver>> {
        self.is(FunctionKind::Receiver, index)
            .then(|| Arc::new(PluginReceiver(Arc::new(self.callee(index)))) as Arc<dyn Receiver>)
    }

    /// The function at `index` of the description, if it is a sink. Each has an instance of its own.
    pub fn sink(&self, index: usize) -> Option<Arc<dyn Sink>> {
        self.is(FunctionKind::Sink, index)
            .then(|| Arc::new(PluginSink::new(self.callee(index))) as Arc<dyn Sink>)
    }

    /// What the plugin says is wrong with its configuration for the function at `index` of the description, if it is asked for
    /// such things. A version of an earlier time was asked in its time, and may have to wait for what it was granted.
    async fn check_settings(&self, index: usize) -> Result<(), String> {
        let Some(check) = self.shared.exports.check.filter(|_| !self.shared.sandbox.grants_late) else {
            return Ok(());
        };
        let (instance, time) = (self.shared.outside_instance().await?, self.shared.time);
        let index = u32::try_from(index).map_err(|error| error.to_string())?;
        let asked = async move { instance.call::<_, (Result<(), String>,)>(&check, (index,), time).await };
        let (_, (answer,)) = outside(asked).await??;
        answer.map_err(shortened)
    }

    pub(crate) fn shared(&self) -> &Arc<Shared> {
        &self.shared
    }

    /// What is asked for the pipeline that the component carries, if it can be asked.
    pub(crate) fn pipeline_export(&self) -> Option<&ComponentExportIndex> {
        self.shared.exports.pipeline.as_ref()
    }

    fn is(&self, kind: FunctionKind, index: usize) -> bool {
        self.description.functions[index].kind == kind
    }

    fn callee(&self, index: usize) -> Callee {
        Callee::new(Arc::clone(&self.shared), self.description.functions[index].clone(), index)
    }
}

#[async_trait]
impl Components for Sandbox {
    async fn load(&self, spec: &PluginSpec) -> Result<Arc<dyn pipeline::Component>, LoadError> {
        Ok(Arc::new(Plugin::load(self, spec).await?))
    }
}

impl Metered for Plugin {
    fn take_usage(&self, batch: BatchTime) -> Usages {
        self.shared.meter.take(batch)
    }
}

#[async_trait]
impl pipeline::Component for Plugin {
    fn description(&self) -> &PluginDescription {
        self.description()
    }

    fn digest(&self) -> &str {
        self.digest()
    }

    fn imports(&self) -> Vec<String> {
        self.imports().iter().map(|import| import.name.clone()).collect()
    }

    fn call_time_max(&self) -> Duration {
        self.shared.time
    }

    fn function(&self, index: usize) -> Arc<dyn Function> {
        self.function(index)
    }

    fn reduce(&self, index: usize) -> Option<Arc<dyn Reduce>> {
        self.reduce(index)
    }

    fn inverse(&self, index: usize) -> Option<Arc<dyn Inverse>> {
        self.inverse(index)
    }

    fn update_state(&self, index: usize) -> Option<Arc<dyn UpdateState>> {
        self.update_state(index)
    }

    fn migration(&self, index: usize, version: u32) -> Option<Arc<dyn Migration>> {
        self.migration(index, version)
    }

    fn receiver(&self, index: usize) -> Option<Arc<dyn Receiver>> {
        self.receiver(index)
    }

    fn sink(&self, index: usize) -> Option<Arc<dyn Sink>> {
        self.sink(index)
    }

    async fn check(&self, index: usize) -> Result<(), String> {
        self.check_settings(index).await
    }

    fn metered(&self) -> Option<Arc<dyn Metered>> {
        Some(Arc::new(self.clone()))
    }
}

/// The bytes of a component's file.
pub(crate) fn read(path: &Path) -> Result<Vec<u8>, PluginError> {
    let failed = |source| PluginError::Read { path: path.to_owned(), source };
    let file = File::open(path).map_err(failed)?;
    let expected = file.metadata().map_err(failed)?.len().min(PluginError::COMPONENT_BYTES_MAX);
    // One more, where the reading finds the end.
    let mut bytes = Vec::with_capacity(expected as usize + 1);
    file.take(PluginError::COMPONENT_BYTES_MAX + 1).read_to_end(&mut bytes).map_err(failed)?;
    match bytes.len() as u64 > PluginError::COMPONENT_BYTES_MAX {
        true => Err(PluginError::TooLarge { path: path.to_owned() }),
        false => Ok(bytes),
    }
}

/// The first eight bytes say what a file is.
pub(crate) fn check_kind(bytes: &[u8]) -> Result<(), String> {
    match bytes {
        [0, b'a', b's', b'm', _, _, 1, 0, ..] => Ok(()),
        [0, b'a', b's', b'm', ..] => {
            Err("is a core WebAssembly module, not a component; in Rust, build for \
             the target wasm32-wasip2"
                .to_owned())
        }
        _ => Err("is not WebAssembly; a component in binary form is expected".to_owned()),
    }
}

/// What a component says of itself.
async fn describe_itself(
    plugin: Arc<Shared>,
    terms: Terms,
    describe: ComponentExportIndex,
) -> Result<contract::Plugin, String> {
    let instance = plugin.new_instance(&terms).await?;
    let said = instance.describe(&describe, plugin.time).await;
    said.map_err(|reason| format!("does not describe itself: {reason}"))
}

/// HTTP is imported by no component but one that uses it, so the import is a need, said or not.
fn add_imported_need(description: &mut PluginDescription, imports: &[Import]) {
    let imported = imports.iter().find(|import| import.name.starts_with(HTTP));
    let said = description.needs.iter().any(|need| need.grant == GrantKind::Http);
    if let (Some(import), false) = (imported, said) {
        let what = format!("its import {}", import.name);
        description.needs.push(Need { grant: GrantKind::Http, what });
    }
}

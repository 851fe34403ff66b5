//! A loaded component: checked, compiled, described, and ready to be called.

use std::fs::File;
use std::io::Read;
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use millstream_model::pipeline::PluginSpec;
use millstream_model::{
    DataType, Field, Function, FunctionDescription, FunctionKind, PluginDescription, Schema,
};
use millstream_pipeline::{self as pipeline, Components, LoadError};
use sha2::{Digest, Sha256};
use wasmtime::component::{Component, ComponentExportIndex, InstancePre};

use crate::contract::{self, DESCRIPTION, TRANSFORM};
use crate::function::PluginFunction;
use crate::guest::{Guest, Terms};
use crate::instance::Instance;
use crate::{PluginError, Sandbox};

/// Functions that a component may describe, and nesting of lists in their schemas.
const FUNCTIONS_MAX: usize = 1_000;
const NESTING_MAX: usize = 8;
/// Fields of a schema; bytes of a name or a line of documentation.
const FIELDS_MAX: usize = 1_000;
const TEXT_BYTES_MAX: usize = 4_096;

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
    pub(crate) transform: Option<ComponentExportIndex>,
    terms: Terms,
    pub(crate) time: Duration,
    idle: Mutex<Vec<Instance>>,
}

impl Shared {
    /// An idle instance, or a new one.
    pub(crate) async fn instance(&self) -> Result<Instance, String> {
        let idle = self.idle.lock().unwrap_or_else(PoisonError::into_inner).pop();
        match idle {
            Some(instance) => Ok(instance),
            None => Instance::new(&self.sandbox.engine, &self.component, &self.terms, self.time).await,
        }
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
        let compiled = Component::new(&sandbox.engine, &bytes);
        let component =
            compiled.map_err(|error| refused(format!("does not compile: {}", error.root_cause())))?;
        let describe = export(&component, DESCRIPTION, "describe");
        let describe = describe.ok_or_else(|| {
            refused(format!(
                "does not export {DESCRIPTION}; is it a Millstream plugin, built against this version?"
            ))
        })?;
        let linked = sandbox.linker.instantiate_pre(&component);
        let linked =
            linked.map_err(|error| refused(format!("needs what this host does not offer: {error:#}")))?;
        let shared = Shared {
            name: spec.name.value.clone(),
            sandbox: sandbox.clone(),
            component: linked,
            transform: export(&component, TRANSFORM, "call"),
            terms: Terms::new(spec)?,
            time: spec.limit.time,
            idle: Mutex::default(),
        };
        let instance = shared.instance().await.map_err(refused)?;
        let said = instance.describe(&describe, spec.limit.time).await;
        let said = said.map_err(|reason| refused(format!("does not describe itself: {reason}")))?;
        let description = description(said).map_err(refused)?;
        check_exports(&description, &shared).map_err(refused)?;
        let imports = component.component_type();
        let imports = imports.imports(&sandbox.engine).map(|(name, _)| Import { name: name.to_owned() });
        Ok(Self {
            imports: Arc::new(imports.collect()),
            shared: Arc::new(shared),
            description: Arc::new(description),
            digest: hex(&Sha256::digest(&bytes)),
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
        let description = self.description.functions[index].clone();
        Arc::new(PluginFunction::new(Arc::clone(&self.shared), description, index))
    }
}

#[async_trait]
impl Components for Sandbox {
    async fn load(&self, spec: &PluginSpec) -> Result<Arc<dyn pipeline::Component>, LoadError> {
        Ok(Arc::new(Plugin::load(self, spec).await?))
    }
}

impl pipeline::Component for Plugin {
    fn description(&self) -> &PluginDescription {
        self.description()
    }

    fn digest(&self) -> &str {
        self.digest()
    }

    fn function(&self, index: usize) -> Arc<dyn Function> {
        self.function(index)
    }
}

fn read(path: &Path) -> Result<Vec<u8>, PluginError> {
    let failed = |source| PluginError::Read { path: path.to_owned(), source };
    let file = File::open(path).map_err(failed)?;
    let mut bytes = Vec::new();
    file.take(PluginError::COMPONENT_BYTES_MAX + 1).read_to_end(&mut bytes).map_err(failed)?;
    match bytes.len() as u64 > PluginError::COMPONENT_BYTES_MAX {
        true => Err(PluginError::TooLarge { path: path.to_owned() }),
        false => Ok(bytes),
    }
}

/// The first eight bytes say what a file is.
fn check_kind(bytes: &[u8]) -> Result<(), String> {
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

fn export(component: &Component, interface: &str, function: &str) -> Option<ComponentExportIndex> {
    let interface = component.get_export_index(None, interface)?;
    component.get_export_index(Some(&interface), function)
}

fn check_exports(description: &PluginDescription, shared: &Shared) -> Result<(), String> {
    let transforming = |kind| {
        use FunctionKind as K;
        matches!(kind, K::Map | K::FlatMap | K::Filter | K::Transform)
    };
    let needs_transform = description.functions.iter().any(|function| transforming(function.kind));
    match needs_transform && shared.transform.is_none() {
        true => Err(format!("describes functions but does not export {TRANSFORM}")),
        false => Ok(()),
    }
}

fn description(said: contract::Plugin) -> Result<PluginDescription, String> {
    let contract::Plugin { name, version, documentation, functions } = said;
    if functions.len() > FUNCTIONS_MAX {
        return Err(format!("describes {} functions; {FUNCTIONS_MAX} are the most", functions.len()));
    }
    let described = functions.into_iter().map(function);
    let functions = described.collect::<Result<Vec<FunctionDescription>, _>>()?;
    for (index, function) in functions.iter().enumerate() {
        if functions[..index].iter().any(|other| other.name == function.name) {
            return Err(format!("describes two functions with the name \"{}\"", function.name));
        }
    }
    Ok(PluginDescription { name, version, documentation, functions })
}

fn function(said: contract::Function) -> Result<FunctionDescription, String> {
    let name = said.name;
    let part = |part: &str, said: contract::Schema| {
        schema(said).map_err(|wrong| format!("describes function \"{name}\" wrongly: its {part} {wrong}"))
    };
    if name.len().max(said.documentation.len()) > TEXT_BYTES_MAX {
        return Err(format!("describes a function with a text of more than {TEXT_BYTES_MAX} bytes"));
    }
    let is_name =
        !name.is_empty() && name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-' || b == b'_');
    if !is_name {
        return Err(format!(
            "describes a function with the name {name:?}; letters, digits and hyphens make a name"
        ));
    }
    Ok(FunctionDescription {
        kind: kind(said.kind),
        input: part("input", said.input)?,
        output: part("output", said.output)?,
        state: part("state", said.state)?,
        state_version: said.state_version,
        documentation: said.documentation,
        name,
    })
}

fn schema(said: contract::Schema) -> Result<Schema, String> {
    if said.fields.len() > FIELDS_MAX {
        return Err(format!("has {} fields; {FIELDS_MAX} are the most", said.fields.len()));
    }
    let mut fields: Vec<Field> = Vec::with_capacity(said.fields.len());
    for field in said.fields {
        if fields.iter().any(|other| other.name == field.name) {
            return Err(format!("has two fields with the name \"{}\"", field.name));
        }
        if field.name.len() > TEXT_BYTES_MAX {
            return Err(format!("has a field with a name of more than {TEXT_BYTES_MAX} bytes"));
        }
        let data_type = data_type(&field.data_type, &said.items, 0, 0)?;
        fields.push(Field { name: field.name, data_type, nullable: field.nullable });
    }
    Ok(Schema { fields })
}

/// `first_item`: the first of `items` that this type may refer to, so that every type is finite.
fn data_type(
    said: &contract::DataType,
    items: &[contract::Field],
    first_item: usize,
    depth: usize,
) -> Result<DataType, String> {
    Ok(match said {
        contract::DataType::Boolean => DataType::Boolean,
        contract::DataType::Int64 => DataType::Int64,
        contract::DataType::Float64 => DataType::Float64,
        contract::DataType::Timestamp => DataType::Timestamp,
        contract::DataType::Utf8 => DataType::Utf8,
        contract::DataType::Binary => DataType::Binary,
        contract::DataType::List(item) => {
            let index = *item as usize;
            let item = items.get(index).filter(|_| index >= first_item && depth < NESTING_MAX);
            let item = item.ok_or_else(|| {
                format!("has a list of item {index}, which is not there or nested too deep")
            })?;
            DataType::List(Box::new(data_type(&item.data_type, items, index + 1, depth + 1)?))
        }
    })
}

const fn kind(said: contract::FunctionKind) -> FunctionKind {
    use contract::FunctionKind as K;
    match said {
        K::Map => FunctionKind::Map,
        K::FlatMap => FunctionKind::FlatMap,
        K::Filter => FunctionKind::Filter,
        K::Transform => FunctionKind::Transform,
        K::Reduce => FunctionKind::Reduce,
        K::Inverse => FunctionKind::Inverse,
        K::UpdateState => FunctionKind::UpdateState,
        K::Receiver => FunctionKind::Receiver,
        K::Sink => FunctionKind::Sink,
    }
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

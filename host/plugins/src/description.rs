//! What a component says of itself: not believed either, but checked and bounded before anything is made of it.

use millstream_model::pipeline::GrantKind;
use millstream_model::{
    DataType, Field, FunctionDescription, FunctionKind, MigrationDescription, Need, PluginDescription, Schema,
};

use crate::contract;

/// Functions that a component may describe, and nesting of lists in their schemas.
const FUNCTIONS_MAX: usize = 1_000;
const NESTING_MAX: usize = 8;
/// Fields of a schema; bytes of a name or a line of documentation.
const FIELDS_MAX: usize = 1_000;
const TEXT_BYTES_MAX: usize = 4_096;
/// Versions whose states a function may take over.
const MIGRATIONS_MAX: usize = 1_000;
/// Needs that a component may have.
const NEEDS_MAX: usize = 100;

/// The description, if it keeps the contract and its limits.
pub(crate) fn description(said: contract::Plugin) -> Result<PluginDescription, String> {
    let contract::Plugin { name, version, documentation, functions, needs } = said;
    if name.len().max(version.len()).max(documentation.len()) > TEXT_BYTES_MAX {
        return Err(format!("describes itself with a text of more than {TEXT_BYTES_MAX} bytes"));
    }
    if functions.len() > FUNCTIONS_MAX {
        return Err(format!("describes {} functions; {FUNCTIONS_MAX} are the most", functions.len()));
    }
    if needs.len() > NEEDS_MAX || needs.iter().any(|need| need.what.len() > TEXT_BYTES_MAX) {
        return Err(format!("has more than {NEEDS_MAX} needs, or one of more than {TEXT_BYTES_MAX} bytes"));
    }
    let described = functions.into_iter().map(function);
    let functions = described.collect::<Result<Vec<FunctionDescription>, _>>()?;
    for (index, function) in functions.iter().enumerate() {
        if functions[..index].iter().any(|other| other.name == function.name) {
            return Err(format!("describes two functions with the name \"{}\"", function.name));
        }
    }
    let needs = needs.into_iter().map(need).collect();
    Ok(PluginDescription { name, version, documentation, functions, needs })
}

fn need(said: contract::Need) -> Need {
    use contract::GrantKind as K;
    let grant = match said.grant {
        K::Network => GrantKind::Network,
        K::Http => GrantKind::Http,
        K::Read => GrantKind::Read,
        K::Write => GrantKind::Write,
        K::Environment => GrantKind::Environment,
    };
    Need { grant, what: said.what }
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
    if said.migrations.len() > MIGRATIONS_MAX {
        let migrations = said.migrations.len();
        return Err(format!(
            "describes {migrations} migrations of function \"{name}\"; {MIGRATIONS_MAX} are the most"
        ));
    }
    let migration = |said: contract::Migration| {
        let version = said.version;
        let part = |of: &str, said| part(&format!("{of} of version {version}"), said);
        Ok(MigrationDescription {
            version,
            keys: part("key", said.keys)?,
            state: part("state", said.state)?,
            new_keys: part("key for states", said.new_keys)?,
            merges: said.merges,
        })
    };
    let function = FunctionDescription {
        kind: kind(said.kind),
        input: part("input", said.input)?,
        output: part("output", said.output)?,
        keys: part("key", said.keys)?,
        state: part("state", said.state)?,
        state_version: said.state_version,
        migrations: said.migrations.into_iter().map(migration).collect::<Result<_, String>>()?,
        documentation: said.documentation,
        name: name.clone(),
    };
    check_kind(&function).map_err(|wrong| format!("describes function \"{name}\" wrongly: {wrong}"))?;
    Ok(function)
}

/// Whether a function has the schemas that its kind may have.
fn check_kind(function: &FunctionDescription) -> Result<(), String> {
    let FunctionDescription { kind, input, output, keys, state, state_version, migrations, .. } = function;
    let has_state = !state.fields.is_empty() && *state_version > 0;
    let has_none = state.fields.is_empty() && *state_version == 0 && keys.fields.is_empty();
    let has_none = has_none && migrations.is_empty();
    match kind {
        FunctionKind::Reduce | FunctionKind::Inverse if input != output => Err(format!(
            "it reads {input} and answers with {output}; a function of the kind {kind} answers with the columns that it reads"
        )),
        FunctionKind::Reduce | FunctionKind::Inverse if input.fields.is_empty() => {
            Err(format!("it reads no column; a function of the kind {kind} reads one at least"))
        }
        FunctionKind::UpdateState if !has_state => {
            Err("an update-state has a state of one field at least, and a version of it from 1".to_owned())
        }
        FunctionKind::UpdateState => check_migrations(function),
        FunctionKind::Receiver if output.fields.is_empty() || !input.fields.is_empty() => {
            Err("a receiver has no input, and gives one column at least".to_owned())
        }
        FunctionKind::Sink if input.fields.is_empty() || !output.fields.is_empty() => {
            Err("a sink has no output, and takes one column at least".to_owned())
        }
        _ if !has_none => Err(format!(
            "a function of the kind {kind} has no keys, no state, no version of it and no migrations"
        )),
        _ => Ok(()),
    }
}

/// Whether an update-state takes over states that there can be, in one way each, by keys that it can have.
fn check_migrations(function: &FunctionDescription) -> Result<(), String> {
    let FunctionDescription { keys, state_version, migrations, .. } = function;
    let types = |schema: &Schema| schema.fields.iter().map(|f| f.data_type.clone()).collect::<Vec<_>>();
    for (index, migration) in migrations.iter().enumerate() {
        let MigrationDescription { version, state, new_keys, .. } = migration;
        if version == state_version {
            return Err(format!(
                "it migrates states from version {version}, which is its own; a migration takes those of another version"
            ));
        }
        if *version == 0 || state.fields.is_empty() {
            return Err(format!(
                "it migrates states from version {version} with {} fields; versions count from 1, and a state has one \
                 field at least",
                state.fields.len()
            ));
        }
        if migrations[..index].iter().any(|other| other.version == *version) {
            return Err(format!("it migrates states from version {version} in two ways; one is right"));
        }
        let has_both = !keys.fields.is_empty() && !new_keys.fields.is_empty();
        if has_both && types(keys) != types(new_keys) {
            return Err(format!(
                "its migration from version {version} makes keys of {new_keys}, and it has keys of {keys}; it has to make \
                 those"
            ));
        }
    }
    Ok(())
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

//! What tables hold, as they are asked for and as they are stored.

use std::sync::Arc;

use arrow::datatypes::{DataType as ArrowType, Field as ArrowField, Schema as ArrowSchema, SchemaRef};
use millstream_journal::{StoredField, StoredKind};
use millstream_model::{DataType, Field, Schema, SchemaError};

use crate::keyed::SHARDS;

/// The form in which keys and states are encoded: 1 is the row format of Arrow 59, all columns ascending and nulls first, and
/// a key's shard by its xxHash64 with seed 0.
pub(crate) const ENCODING: u32 = 1;

/// A table with a state for each key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KeyedSpec {
    /// The key's fields.
    pub key: Schema,
    /// The state's fields.
    pub state: Schema,
    /// The state's version: whoever reads a state has to know what its fields mean.
    pub version: u32,
}

/// A table of rows by batch.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PaneSpec {
    /// The rows' columns.
    pub columns: SchemaRef,
}

/// What a table holds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Spec {
    /// A state for each key.
    Keyed(KeyedSpec),
    /// Rows by batch.
    Panes(PaneSpec),
}

impl Spec {
    pub(crate) fn stored(&self) -> StoredKind {
        match self {
            Self::Keyed(spec) => spec.stored(),
            Self::Panes(spec) => spec.stored(),
        }
    }
}

impl KeyedSpec {
    /// The columns of keys and states together. All may have nulls.
    pub fn schema(&self) -> SchemaRef {
        let (keys, states) = (nullable(&self.key), nullable(&self.state));
        Arc::new(ArrowSchema::new(keys.into_iter().chain(states).collect::<Vec<_>>()))
    }

    /// The columns of keys. All may have nulls.
    pub fn key_schema(&self) -> SchemaRef {
        Arc::new(ArrowSchema::new(nullable(&self.key)))
    }

    /// The columns of states. All may have nulls.
    pub fn state_schema(&self) -> SchemaRef {
        Arc::new(ArrowSchema::new(nullable(&self.state)))
    }

    pub(crate) fn stored(&self) -> StoredKind {
        StoredKind::Keyed {
            key: stored_fields(&self.key),
            state: stored_fields(&self.state),
            version: self.version,
            shards: u32::try_from(SHARDS).expect("there are few shards"),
            encoding: ENCODING,
        }
    }

    /// Those of a stored table.
    pub(crate) fn read(
        key: &[StoredField],
        state: &[StoredField],
        version: u32,
    ) -> Result<Self, SchemaError> {
        Ok(Self { key: read_fields(key)?, state: read_fields(state)?, version })
    }
}

impl PaneSpec {
    pub(crate) fn stored(&self) -> StoredKind {
        let field = |field: &arrow::datatypes::FieldRef| StoredField {
            name: field.name().clone(),
            data_type: field.data_type().to_string(),
            nullable: field.is_nullable(),
        };
        StoredKind::Panes { columns: self.columns.fields().iter().map(field).collect() }
    }

    /// Those of a stored table. A type whose name is not known here is that of nothing but nulls.
    pub(crate) fn read(columns: &[StoredField]) -> Self {
        let field = |field: &StoredField| {
            let data_type = field.data_type.parse().unwrap_or(ArrowType::Null);
            ArrowField::new(&field.name, data_type, field.nullable)
        };
        let fields: Vec<_> = columns.iter().map(field).collect();
        Self { columns: Arc::new(ArrowSchema::new(fields)) }
    }
}

/// The first difference between what is stored and what is asked for.
pub(crate) fn difference(stored: &StoredKind, asked: &StoredKind) -> Option<String> {
    match (stored, asked) {
        (
            StoredKind::Keyed { key, state, version, .. },
            StoredKind::Keyed { key: asked_key, state: asked_state, version: asked_version, .. },
        ) => differing_fields("the key", key, asked_key)
            .or_else(|| differing_fields("the state", state, asked_state))
            .or_else(|| {
                (version != asked_version)
                    .then(|| format!("its version is {version}, and version {asked_version} is asked for"))
            }),
        (StoredKind::Panes { columns }, StoredKind::Panes { columns: asked }) => {
            differing_fields("a row", columns, asked)
        }
        (StoredKind::Keyed { .. }, StoredKind::Panes { .. }) => {
            Some("it has a state for each key, and a window is asked for".to_owned())
        }
        (StoredKind::Panes { .. }, StoredKind::Keyed { .. }) => {
            Some("it has the rows of a window, and a state for each key is asked for".to_owned())
        }
    }
}

fn differing_fields(of: &str, stored: &[StoredField], asked: &[StoredField]) -> Option<String> {
    (stored != asked)
        .then(|| format!("{of} has the fields {}, and {} are asked for", listed(stored), listed(asked)))
}

fn listed(fields: &[StoredField]) -> String {
    let field = |field: &StoredField| {
        format!("{}: {}{}", field.name, field.data_type, if field.nullable { "?" } else { "" })
    };
    format!("{{ {} }}", fields.iter().map(field).collect::<Vec<_>>().join(", "))
}

fn nullable(schema: &Schema) -> Vec<ArrowField> {
    let fields = schema.to_arrow();
    fields.fields().iter().map(|field| field.as_ref().clone().with_nullable(true)).collect()
}

fn stored_fields(schema: &Schema) -> Vec<StoredField> {
    let field = |field: &Field| StoredField {
        name: field.name.clone(),
        data_type: field.data_type.to_string(),
        nullable: field.nullable,
    };
    schema.fields.iter().map(field).collect()
}

fn read_fields(fields: &[StoredField]) -> Result<Schema, SchemaError> {
    let field = |field: &StoredField| {
        let data_type: DataType = field.data_type.parse()?;
        Ok(Field { name: field.name.clone(), data_type, nullable: field.nullable })
    };
    Ok(Schema { fields: fields.iter().map(field).collect::<Result<_, SchemaError>>()? })
}

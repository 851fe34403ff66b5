use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use arrow::datatypes::{DataType as ArrowType, Field as ArrowField, Schema as ArrowSchema, TimeUnit};
use thiserror::Error;

/// The type of a column at the edges of a pipeline: what sources give and plugins take.
///
/// SQL between them may use any Arrow type; [`DataType::accepts`] says which of those
/// a function's column takes.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum DataType {
    /// True or false.
    Boolean,
    /// A signed 64-bit number.
    Int64,
    /// A 64-bit floating-point number.
    Float64,
    /// Microseconds since 1970-01-01T00:00:00Z.
    Timestamp,
    /// Text.
    Utf8,
    /// Bytes.
    Binary,
    /// A list of values of one type, nulls among them.
    List(Box<DataType>),
}

/// A name that is no type.
#[derive(Debug, Error, PartialEq, Eq)]
#[error("\"{0}\" is no type; the types are boolean, int64, float64, timestamp, utf8, binary and list<...>")]
pub struct SchemaError(String);

impl DataType {
    /// The type whose values columns of an Arrow type can be cast to without loss; nothing, where there is none.
    pub fn from_arrow(given: &ArrowType) -> Option<Self> {
        let item = match given {
            ArrowType::List(item) | ArrowType::LargeList(item) => Self::from_arrow(item.data_type()),
            _ => None,
        };
        let scalars = [Self::Boolean, Self::Int64, Self::Float64, Self::Timestamp, Self::Utf8, Self::Binary];
        item.map(|item| Self::List(Box::new(item)))
            .or_else(|| scalars.into_iter().find(|own| own.accepts(given)))
    }

    /// The Arrow type that carries it; text and bytes as views, which group and slice without copies.
    pub fn to_arrow(&self) -> ArrowType {
        match self {
            Self::Boolean => ArrowType::Boolean,
            Self::Int64 => ArrowType::Int64,
            Self::Float64 => ArrowType::Float64,
            Self::Timestamp => ArrowType::Timestamp(TimeUnit::Microsecond, None),
            Self::Utf8 => ArrowType::Utf8View,
            Self::Binary => ArrowType::BinaryView,
            Self::List(item) => ArrowType::List(Arc::new(ArrowField::new_list_field(item.to_arrow(), true))),
        }
    }

    /// Whether every value of the Arrow type `given` is a value of this one, so that a cast loses nothing.
    pub fn accepts(&self, given: &ArrowType) -> bool {
        use ArrowType as A;
        match self {
            Self::Boolean => matches!(given, A::Boolean),
            Self::Int64 => {
                matches!(given, A::Int8 | A::Int16 | A::Int32 | A::Int64 | A::UInt8 | A::UInt16 | A::UInt32)
            }
            Self::Float64 => matches!(
                given,
                A::Float16
                    | A::Float32
                    | A::Float64
                    | A::Int8
                    | A::Int16
                    | A::Int32
                    | A::UInt8
                    | A::UInt16
                    | A::UInt32
            ),
            Self::Timestamp => {
                matches!(
                    given,
                    A::Timestamp(TimeUnit::Second | TimeUnit::Millisecond | TimeUnit::Microsecond, _)
                        | A::Date32
                )
            }
            Self::Utf8 => matches!(given, A::Utf8 | A::LargeUtf8 | A::Utf8View),
            Self::Binary => matches!(given, A::Binary | A::LargeBinary | A::BinaryView),
            Self::List(item) => match given {
                A::List(field) | A::LargeList(field) => item.accepts(field.data_type()),
                _ => false,
            },
        }
    }
}

impl fmt::Display for DataType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Boolean => f.write_str("boolean"),
            Self::Int64 => f.write_str("int64"),
            Self::Float64 => f.write_str("float64"),
            Self::Timestamp => f.write_str("timestamp"),
            Self::Utf8 => f.write_str("utf8"),
            Self::Binary => f.write_str("binary"),
            Self::List(item) => write!(f, "list<{item}>"),
        }
    }
}

impl FromStr for DataType {
    type Err = SchemaError;

    fn from_str(text: &str) -> Result<Self, SchemaError> {
        let item = text.strip_prefix("list<").and_then(|rest| rest.strip_suffix('>'));
        Ok(match (text, item) {
            (_, Some(item)) => Self::List(Box::new(item.parse()?)),
            ("boolean", _) => Self::Boolean,
            ("int64", _) => Self::Int64,
            ("float64", _) => Self::Float64,
            ("timestamp", _) => Self::Timestamp,
            ("utf8", _) => Self::Utf8,
            ("binary", _) => Self::Binary,
            _ => return Err(SchemaError(text.to_owned())),
        })
    }
}

/// A named column.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Field {
    /// Unique in its schema.
    pub name: String,
    /// The type of its values.
    pub data_type: DataType,
    /// Whether there may be nulls.
    pub nullable: bool,
}

impl Field {
    /// A column that holds no nulls.
    pub fn new(name: impl Into<String>, data_type: DataType) -> Self {
        Self { name: name.into(), data_type, nullable: false }
    }
}

impl fmt::Display for Field {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}{}", self.name, self.data_type, if self.nullable { "?" } else { "" })
    }
}

/// Columns in order.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Schema {
    /// In order.
    pub fields: Vec<Field>,
}

impl Schema {
    /// The columns `fields`, in order.
    pub fn new(fields: impl IntoIterator<Item = Field>) -> Self {
        Self { fields: fields.into_iter().collect() }
    }

    /// The Arrow schema that carries it.
    pub fn to_arrow(&self) -> ArrowSchema {
        let field = |f: &Field| ArrowField::new(&f.name, f.data_type.to_arrow(), f.nullable);
        ArrowSchema::new(self.fields.iter().map(field).collect::<Vec<_>>())
    }
}

impl fmt::Display for Schema {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("{ ")?;
        for (i, field) in self.fields.iter().enumerate() {
            write!(f, "{}{field}", if i == 0 { "" } else { ", " })?;
        }
        f.write_str(" }")
    }
}

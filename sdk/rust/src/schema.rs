//! What a function's columns are called and what they hold.

/// What the values of a column are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DataType {
    /// True or false.
    Boolean,
    /// 64-bit signed integers.
    Int64,
    /// 64-bit floating point numbers.
    Float64,
    /// Microseconds since 1970-01-01T00:00:00Z.
    Timestamp,
    /// Text.
    Utf8,
    /// Bytes.
    Binary,
    /// Lists whose elements are that item of the schema.
    List(u32),
}

/// A column's name and type.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Field {
    /// The name of the column.
    pub name: String,
    /// What its values are.
    pub data_type: DataType,
    /// Whether a value may be missing.
    pub nullable: bool,
}

/// The columns of a table, and the element fields that lists among them refer to.
///
/// An item refers only to items after it, so a schema is always finite.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Schema {
    /// The columns, in order.
    pub fields: Vec<Field>,
    /// The elements of lists.
    pub items: Vec<Field>,
}

impl Schema {
    /// The columns that a function adds.
    pub(crate) fn of(fields: fn(&mut Self)) -> Self {
        let mut schema = Self::default();
        fields(&mut schema);
        schema
    }

    /// Adds a list's element, whose own type may add further items, and answers with its place.
    pub(crate) fn add_item(&mut self, nullable: bool, data_type: fn(&mut Schema) -> DataType) -> u32 {
        let place = self.items.len();
        self.items.push(Field { name: "item".to_owned(), data_type: DataType::Boolean, nullable });
        self.items[place].data_type = data_type(self);
        u32::try_from(place).expect("a type nests less than 4 billion lists")
    }
}

//! The types of the contract, as they stand in a component's file.

use wasm_encoder::{
    ComponentTypeRef, ComponentTypeSection, ComponentValType, InstanceType, PrimitiveValType as Primitive,
};

pub(crate) const ACCUMULATORS: &str = "millstream:plugin/accumulators@0.1.0";

/// The section of the types, and the numbers of those that are asked for.
pub(crate) struct Types {
    pub(crate) section: ComponentTypeSection,
    pub(crate) accumulators: u32,
    pub(crate) describe: u32,
    pub(crate) call: u32,
    described: Vec<(&'static str, u32)>,
    transformed: Vec<(&'static str, u32)>,
}

/// An interface that a component exports: named types and one function.
pub(crate) struct Interface<'t> {
    pub(crate) name: &'static str,
    pub(crate) function: &'static str,
    pub(crate) types: &'t [(&'static str, u32)],
}

impl Types {
    pub(crate) fn new() -> Self {
        let mut types = Self {
            section: ComponentTypeSection::new(),
            accumulators: 0,
            describe: 0,
            call: 0,
            described: Vec::new(),
            transformed: Vec::new(),
        };
        types.accumulators = types.import();
        types.describe = types.description();
        types.call = types.transform();
        types
    }

    pub(crate) fn interfaces(&self) -> [Interface<'_>; 2] {
        let (name, function) = ("millstream:plugin/description@0.1.0", "describe");
        let description = Interface { name, function, types: &self.described };
        let (name, function) = ("millstream:plugin/transform@0.1.0", "call");
        [description, Interface { name, function, types: &self.transformed }]
    }

    fn import(&mut self) -> u32 {
        let mut instance = InstanceType::new();
        let parameters = [("name", Primitive::String), ("amount", Primitive::S64)];
        instance.ty().function().params(parameters).result(None);
        instance.export("add", ComponentTypeRef::Func(0));
        let number = self.section.len();
        self.section.instance(&instance);
        number
    }

    fn list(&mut self, element: impl Into<ComponentValType>) -> ComponentValType {
        let number = self.section.len();
        self.section.defined_type().list(element);
        ComponentValType::Type(number)
    }

    fn record(&mut self, fields: &[(&str, ComponentValType)]) -> u32 {
        let number = self.section.len();
        self.section.defined_type().record(fields.iter().copied());
        number
    }

    fn variant(&mut self, cases: &[(&str, Option<ComponentValType>)]) -> u32 {
        let number = self.section.len();
        self.section.defined_type().variant(cases.iter().copied());
        number
    }

    fn function(&mut self, parameters: &[(&str, ComponentValType)], result: ComponentValType) -> u32 {
        let number = self.section.len();
        self.section.function().params(parameters.iter().copied()).result(Some(result));
        number
    }

    fn description(&mut self) -> u32 {
        let string = ComponentValType::from(Primitive::String);
        let number = ComponentValType::from(Primitive::U32);
        let nullable = ComponentValType::from(Primitive::Bool);
        let plain = ["boolean", "int64", "float64", "timestamp", "utf8", "binary"].map(|name| (name, None));
        let data_type = self.variant(&[&plain[..], &[("list", Some(number))]].concat());
        let named = ComponentValType::Type;
        let field = self.record(&[("name", string), ("data-type", named(data_type)), ("nullable", nullable)]);
        let fields = self.list(named(field));
        let schema = self.record(&[("fields", fields), ("items", fields)]);
        let kind = self.section.len();
        self.section.defined_type().enum_type([
            "map",
            "flat-map",
            "filter",
            "transform",
            "reduce",
            "inverse",
            "update-state",
            "receiver",
            "sink",
        ]);
        let migration = self.record(&[
            ("version", number),
            ("keys", named(schema)),
            ("state", named(schema)),
            ("new-keys", named(schema)),
            ("merges", ComponentValType::from(Primitive::Bool)),
        ]);
        let migrations = self.list(named(migration));
        let function = self.record(&[
            ("name", string),
            ("kind", named(kind)),
            ("input", named(schema)),
            ("output", named(schema)),
            ("keys", named(schema)),
            ("state", named(schema)),
            ("state-version", number),
            ("migrations", migrations),
            ("documentation", string),
        ]);
        let grant = self.section.len();
        self.section.defined_type().enum_type(["network", "http", "read", "write", "environment"]);
        let need = self.record(&[("grant", named(grant)), ("what", string)]);
        let (functions, needs) = (self.list(named(function)), self.list(named(need)));
        let texts = [("name", string), ("version", string), ("documentation", string)];
        let plugin = self.record(&[&texts[..], &[("functions", functions), ("needs", needs)]].concat());
        self.described = vec![
            ("data-type", data_type),
            ("field", field),
            ("schema", schema),
            ("function-kind", kind),
            ("migration", migration),
            ("function", function),
            ("grant-kind", grant),
            ("need", need),
            ("plugin", plugin),
        ];
        self.function(&[], named(plugin))
    }

    /// `call`, and the types of what goes in and comes out.
    fn transform(&mut self) -> u32 {
        let named = ComponentValType::Type;
        let number = ComponentValType::from(Primitive::U32);
        let bytes = self.list(Primitive::U8);
        let numbers = self.list(Primitive::U32);
        let (table, table_types) = self.table(bytes, numbers);
        let time = ComponentValType::from(Primitive::S64);
        let context = self.record(&[("batch-time-ms", time), ("partition", number)]);
        let string = Some(ComponentValType::from(Primitive::String));
        let error = self.variant(&[("rejected", string), ("unavailable", string)]);
        let expansion = self.record(&[("rows", named(table)), ("origins", numbers)]);
        let answer = self.variant(&[
            ("rows", Some(named(table))),
            ("expansion", Some(named(expansion))),
            ("selection", Some(bytes)),
        ]);
        let result = self.section.len();
        self.section.defined_type().result(Some(named(answer)), Some(named(error)));
        self.transformed = table_types;
        self.transformed.extend([
            ("context", context),
            ("error", error),
            ("expansion", expansion),
            ("answer", answer),
        ]);
        let parameters = [("function", number), ("context", named(context)), ("rows", named(table))];
        self.function(&parameters, named(result))
    }

    fn table(
        &mut self,
        bytes: ComponentValType,
        numbers: ComponentValType,
    ) -> (u32, Vec<(&'static str, u32)>) {
        let named = ComponentValType::Type;
        let number = ComponentValType::from(Primitive::U32);
        let (longs, floats) = (self.list(Primitive::S64), self.list(Primitive::F64));
        let varying = self.record(&[("offsets", numbers), ("data", bytes)]);
        let lists = self.record(&[("offsets", numbers), ("item", number)]);
        let values = self.variant(&[
            ("boolean", Some(bytes)),
            ("int64", Some(longs)),
            ("float64", Some(floats)),
            ("timestamp", Some(longs)),
            ("utf8", Some(named(varying))),
            ("binary", Some(named(varying))),
            ("list", Some(named(lists))),
        ]);
        let validity = self.section.len();
        self.section.defined_type().option(bytes);
        let column = self.record(&[("validity", named(validity)), ("values", named(values))]);
        let columns = self.list(named(column));
        let table = self.record(&[("rows", number), ("columns", columns), ("items", columns)]);
        let types = vec![
            ("varying", varying),
            ("lists", lists),
            ("values", values),
            ("column", column),
            ("table", table),
        ];
        (table, types)
    }
}

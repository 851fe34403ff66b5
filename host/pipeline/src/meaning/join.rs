//! Joins and cogroups, as the queries that they stand for.

use arrow::datatypes::Schema as ArrowSchema;
use millstream_model::pipeline::{JoinKind, Located};
use millstream_query::Relations;

use super::Faults;
use super::columns::{absent, type_name};
use super::sql::quoted;
use crate::diagnostic::Diagnostic;

/// Two streams and the columns of their key.
pub(super) struct Sides<'a> {
    names: [&'a Located<String>; 2],
    schemas: [arrow::datatypes::SchemaRef; 2],
    on: &'a [Located<String>],
}

impl<'a> Sides<'a> {
    /// Finds both streams, and checks that they have the key and nothing else in common.
    pub(super) fn new(
        relations: &Relations,
        from: &'a [Located<String>],
        on: &'a [Located<String>],
    ) -> Result<Self, Faults> {
        let [left, right] = from else { return Err(Vec::new()) };
        let schema = |name: &Located<String>| relations.schema(&name.value).ok_or_else(Vec::new);
        let sides = Self { names: [left, right], schemas: [schema(left)?, schema(right)?], on };
        let mut faults: Vec<_> = on.iter().flat_map(|column| sides.key_faults(column)).collect();
        faults.extend(sides.clash());
        if faults.is_empty() { Ok(sides) } else { Err(faults) }
    }

    /// The key, then the other columns of the first stream, then those of the second.
    pub(super) fn join(&self, kind: JoinKind) -> String {
        let keys = self.on.iter().map(|column| {
            let column = quoted(&column.value);
            match kind {
                JoinKind::Inner | JoinKind::Left => format!("l.{column}"),
                JoinKind::Right => format!("r.{column}"),
                JoinKind::Full => format!("coalesce(l.{column}, r.{column}) AS {column}"),
            }
        });
        let others = |side: usize, alias: &str| {
            let columns: Vec<_> = self.others(side).map(|name| format!("{alias}.{}", quoted(name))).collect();
            columns
        };
        let columns: Vec<_> = keys.chain(others(0, "l")).chain(others(1, "r")).collect();
        let word = match kind {
            JoinKind::Inner => "JOIN",
            JoinKind::Left => "LEFT JOIN",
            JoinKind::Right => "RIGHT JOIN",
            JoinKind::Full => "FULL JOIN",
        };
        let [left, right] = self.names.map(|name| quoted(&name.value));
        let (columns, on) = (columns.join(", "), self.condition());
        format!("SELECT {columns} FROM {left} AS l {word} {right} AS r ON {on}")
    }

    /// The key, then for each other column of both streams the list of its values, in their order; an empty one, where a
    /// stream does not have the key.
    pub(super) fn cogroup(&self) -> String {
        let keys: Vec<_> = self.on.iter().map(|column| quoted(&column.value)).collect();
        let key = keys.join(", ");
        let side = |side: usize| {
            let lists = self.others(side).map(|name| format!(", array_agg({0}) AS {0}", quoted(name)));
            let lists: String = lists.collect();
            format!("(SELECT {key}{lists} FROM {} GROUP BY {key})", quoted(&self.names[side].value))
        };
        let keys = keys.iter().map(|key| format!("coalesce(l.{key}, r.{key}) AS {key}"));
        let lists = |side: usize, alias: &str| {
            let list = |name: &str| {
                let column = format!("{alias}.{}", quoted(name));
                format!("coalesce({column}, array_remove_all(make_array(NULL), NULL)) AS {}", quoted(name))
            };
            self.others(side).map(list).collect::<Vec<_>>()
        };
        let columns: Vec<_> = keys.chain(lists(0, "l")).chain(lists(1, "r")).collect();
        let (left, right, on) = (side(0), side(1), self.condition());
        format!("SELECT {} FROM {left} AS l FULL JOIN {right} AS r ON {on}", columns.join(", "))
    }

    fn condition(&self) -> String {
        let equal = self.on.iter().map(|column| {
            let column = quoted(&column.value);
            format!("l.{column} = r.{column}")
        });
        equal.collect::<Vec<_>>().join(" AND ")
    }

    /// The columns of one stream that are not of the key.
    fn others(&self, side: usize) -> impl Iterator<Item = &str> {
        let names = self.schemas[side].fields().iter().map(|field| field.name().as_str());
        names.filter(|name| self.on.iter().all(|column| column.value != *name))
    }

    fn key_faults(&self, column: &Located<String>) -> Vec<Diagnostic> {
        let field = |side: usize| self.schemas[side].field_with_name(&column.value);
        let faults: Vec<_> = (0..2)
            .filter(|side| field(*side).is_err())
            .map(|side| absent(&column.value, &self.names[side].value, &self.schemas[side] as &ArrowSchema))
            .collect();
        let types = field(0).ok().zip(field(1).ok());
        let types = types.map(|(left, right)| [left, right].map(|field| type_name(field.data_type())));
        let differ = types.filter(|[left, right]| left != right).map(|[left, right]| {
            let [first, second] = self.names;
            format!(
                "\"{column}\" is {left} in \"{first}\" and {right} in \"{second}\"; cast one of them in sql"
            )
        });
        faults.into_iter().chain(differ).map(|fault| Diagnostic::new(column.place, fault)).collect()
    }

    /// A column of both that is not of the key.
    fn clash(&self) -> Option<Diagnostic> {
        let clash = self.others(0).find(|name| self.others(1).any(|other| other == *name))?;
        let [first, second] = self.names;
        let remedy = "rename one of them in sql first";
        let message = format!("both \"{first}\" and \"{second}\" have a column \"{clash}\"; {remedy}");
        Some(Diagnostic::new(second.place, message))
    }
}

//! `[[tests]]`

use millstream_model::pipeline::{Located, Place, Row, TestSpec};
use serde_json::Value;

use super::item::Item;

/// Keys of the model that this version does not run.
const LATER: &[&str] = &["restart-after", "upgrade-after", "seed"];

/// A test of the pipeline, whose rows know their places.
pub(crate) struct CaseDraft {
    pub(crate) name: Located<String>,
    pub(crate) given: Vec<(Located<String>, Batches)>,
    pub(crate) expect: Vec<(Located<String>, Batches)>,
    pub(crate) ordered: bool,
}

/// Rows, batch by batch.
pub(crate) type Batches = Vec<Vec<RowDraft>>;

/// A row and where it stands.
pub(crate) struct RowDraft {
    pub(crate) place: Place,
    /// Columns, and values with their places.
    pub(crate) cells: Vec<(Located<String>, Located<Value>)>,
}

impl CaseDraft {
    /// What it says, without the places of rows.
    pub(crate) fn spec(&self) -> TestSpec {
        TestSpec {
            name: self.name.clone(),
            given: specs(&self.given),
            expect: specs(&self.expect),
            ordered: self.ordered,
        }
    }
}

fn specs(batches: &[(Located<String>, Batches)]) -> Vec<(Located<String>, Vec<Vec<Row>>)> {
    let rows = |rows: &Vec<RowDraft>| rows.iter().map(RowDraft::spec).collect();
    batches.iter().map(|(name, batches)| (name.clone(), batches.iter().map(rows).collect())).collect()
}

impl RowDraft {
    fn spec(&self) -> Row {
        self.cells.iter().map(|(name, value)| (name.value.clone(), value.value.clone())).collect()
    }
}

/// Reads the tests; those that cannot be read are left out.
pub(super) fn read(item: Item<'_>) -> Vec<CaseDraft> {
    let tests = item.list("tables of the form [[tests]]").unwrap_or_default();
    tests.into_iter().enumerate().filter_map(|(index, item)| case(item, index)).collect()
}

fn case(item: Item<'_>, index: usize) -> Option<CaseDraft> {
    let mut section = item.section(format!("test {}", index + 1), item.place)?;
    let name = section.required("name", "say what it shows, as in name = \"counts each batch\"");
    let name = name.and_then(|item| item.string("a string"));
    let given = section.optional("given").map(batches_by_name);
    let expect = section.required("expect", "say what comes out, as in expect.totals = [[{ total = 2 }]]");
    let expect = expect.and_then(batches_by_name);
    let ordered = section.optional("ordered").and_then(Item::boolean).unwrap_or(false);
    for key in LATER {
        section.refuse(key, "that is not supported by this version yet; leave it out");
    }
    section.finish();
    let given = given.unwrap_or_else(|| Some(Vec::new()));
    Some(CaseDraft { name: name?, given: given?, expect: expect?, ordered })
}

fn batches_by_name(item: Item<'_>) -> Option<Vec<(Located<String>, Batches)>> {
    let entries = item.entries("a table of names and their batches of rows")?;
    let named = |(name, item): (Located<&str>, Item<'_>)| {
        let batches = item.each("a list of batches, each a list of rows", batch)?;
        Some((Located { value: name.value.to_owned(), place: name.place }, batches))
    };
    let read: Vec<_> = entries.into_iter().map(named).collect();
    read.into_iter().collect()
}

fn batch(item: Item<'_>) -> Option<Vec<RowDraft>> {
    item.each("a batch, which is a list of rows", row)
}

fn row(item: Item<'_>) -> Option<RowDraft> {
    let entries = item.entries("a row such as { word = \"a\", total = 2 }")?;
    let cell = |(name, item): (Located<&str>, Item<'_>)| {
        let value = Located { value: item.json()?, place: item.place };
        Some((Located { value: name.value.to_owned(), place: name.place }, value))
    };
    let cells: Vec<_> = entries.into_iter().map(cell).collect();
    Some(RowDraft { place: item.place, cells: cells.into_iter().collect::<Option<_>>()? })
}

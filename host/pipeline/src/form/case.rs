//! `[[tests]]`

use millstream_model::pipeline::{
    Batches, ExpectedFailure, ExpectedLetter, Given, Located, Place, Row, TestSpec,
};
use serde_json::Value;

use super::item::Item;
use super::section::Section;

/// Keys of the model that this version does not run.
const LATER: &[&str] = &["upgrade-after", "seed"];
/// Floating-point numbers that differ by less than this part of the larger one are the same, unless a test says else.
const TOLERANCE: f64 = 1e-9;

/// A test of the pipeline, whose rows know their places.
pub(crate) struct CaseDraft {
    /// What it says, without the places of rows.
    pub(crate) spec: TestSpec,
    pub(crate) given: Named<Batches<GivenDraft>>,
    pub(crate) expect: Named<Batches<RowDraft>>,
    pub(crate) states: Named<Vec<RowDraft>>,
    pub(crate) restart_place: Option<Place>,
}

/// Things of sources or streams.
pub(crate) type Named<T> = Vec<(Located<String>, T)>;

/// A row and where it stands.
pub(crate) struct RowDraft {
    pub(crate) place: Place,
    /// Columns, and values with their places.
    pub(crate) cells: Vec<(Located<String>, Located<Value>)>,
}

/// What a source is given, and where that stands.
pub(crate) enum GivenDraft {
    Row(RowDraft),
    Record(Located<String>),
}

impl RowDraft {
    fn spec(&self) -> Row {
        self.cells.iter().map(|(name, value)| (name.value.clone(), value.value.clone())).collect()
    }
}

impl GivenDraft {
    fn spec(&self) -> Given {
        match self {
            Self::Row(row) => Given::Row(row.spec()),
            Self::Record(record) => Given::Record(record.value.clone()),
        }
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
    let given = read_or(&mut section, "given", |item| named(item, |item| batches(item, given)));
    let expect = read_or(&mut section, "expect", |item| named(item, |item| batches(item, row)));
    let states = read_or(&mut section, "expect-state", |item| named(item, |item| rows(item, row)));
    let failure = section.optional("expect-failure").map(failure);
    let letters = read_or(&mut section, "expect-dead-letters", letters);
    let start = section.optional("start").map(Item::time_ms);
    let ordered = section.optional("ordered").and_then(Item::boolean).unwrap_or(false);
    let tolerance = section.optional("tolerance").and_then(Item::fraction).unwrap_or(TOLERANCE);
    let restart = read_or(&mut section, "restart-after", |item| item.each("a list of batches", batch_number));
    let restart_place = section.key_place("restart-after");
    if !["expect", "expect-state", "expect-failure", "expect-dead-letters"]
        .iter()
        .any(|key| section.key_place(key).is_some())
    {
        let remedy = "say what comes out, as in expect.totals = [[{ total = 2 }]]";
        section.required("expect", remedy);
    }
    for key in LATER {
        section.refuse(key, "that is not supported by this version yet; leave it out");
    }
    section.finish();
    let (given, expect, states) = (given?, expect?, states?);
    let spec = TestSpec {
        name: name?,
        start_ms: start.unwrap_or(Some(0))?,
        given: specs(&given, |batches| each_batch(batches, GivenDraft::spec)),
        expect: specs(&expect, |batches| each_batch(batches, RowDraft::spec)),
        states: specs(&states, |rows| rows.iter().map(RowDraft::spec).collect()),
        failure: match failure {
            Some(failure) => Some(failure?),
            None => None,
        },
        dead_letters: letters?,
        ordered,
        tolerance,
        restart_after: restart?,
    };
    Some(CaseDraft { spec, given, expect, states, restart_place })
}

/// What `read` makes of a key's value; nothing much where the key is not there.
fn read_or<'f, T: Default>(
    section: &mut Section<'f>,
    key: &'static str,
    read: impl FnOnce(Item<'f>) -> Option<T>,
) -> Option<T> {
    section.optional(key).map_or_else(|| Some(T::default()), read)
}

fn specs<T, S>(named: &Named<T>, spec: impl Fn(&T) -> S) -> Named<S> {
    named.iter().map(|(name, of_name)| (name.clone(), spec(of_name))).collect()
}

fn each_batch<T, S>(batches: &Batches<T>, spec: impl Fn(&T) -> S + Copy) -> Batches<S> {
    batches.iter().map(|batch| batch.iter().map(spec).collect()).collect()
}

fn named<'f, T>(item: Item<'f>, read: impl Fn(Item<'f>) -> Option<T>) -> Option<Named<T>> {
    let entries = item.entries("a table of names and what is theirs")?;
    let one = |(name, item): (Located<&str>, Item<'f>)| {
        Some((Located { value: name.value.to_owned(), place: name.place }, read(item)?))
    };
    let read: Vec<_> = entries.into_iter().map(one).collect();
    read.into_iter().collect()
}

fn batches<'f, T>(item: Item<'f>, read: impl Fn(Item<'f>) -> Option<T> + Copy) -> Option<Batches<T>> {
    item.each("a list of batches, each a list of rows", |item| {
        item.each("a batch, which is a list of rows", read)
    })
}

fn rows<'f, T>(item: Item<'f>, read: impl Fn(Item<'f>) -> Option<T>) -> Option<Vec<T>> {
    item.each("a list of rows", read)
}

fn given(item: Item<'_>) -> Option<GivenDraft> {
    match item.is_string() {
        true => item.text().map(GivenDraft::Record),
        false => row(item).map(GivenDraft::Row),
    }
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

fn batch_number(item: Item<'_>) -> Option<Located<usize>> {
    Some(Located { value: item.quantity()?, place: item.place })
}

fn failure(item: Item<'_>) -> Option<ExpectedFailure> {
    let mut section = item.section("the failure that is expected".to_owned(), item.place)?;
    let batch = section.required("batch", "say which batch fails, counted from 1").and_then(batch_number);
    let error =
        section.required("error", "give a part of the message").and_then(|item| item.string("a string"));
    section.finish();
    Some(ExpectedFailure { batch: batch?, error: error?.value })
}

fn letters(item: Item<'_>) -> Option<Vec<ExpectedLetter>> {
    item.each("a list of records such as { source = \"lines\", error = \"UTF-8\" }", letter)
}

fn letter(item: Item<'_>) -> Option<ExpectedLetter> {
    let mut section = item.section("the dead letter that is expected".to_owned(), item.place)?;
    let source = section.optional("source").map(|item| item.string("a source's name"));
    let stream = section.optional("stream").map(|item| item.string("a stream's name"));
    let record = section.optional("record").map(Item::count);
    let error = section.optional("error").map(|item| item.string("a string"));
    let bytes = section.optional("bytes").map(Item::text);
    section.finish();
    // What is there has to be readable.
    let source = source.map_or(Some(None), |read| read.map(Some))?;
    let stream = stream.map_or(Some(None), |read| read.map(Some))?;
    let record = record.map_or(Some(None), |read| read.map(Some))?;
    let text = |read: Option<Option<Located<String>>>| {
        read.map_or(Some(None), |read| read.map(|text| Some(text.value)))
    };
    Some(ExpectedLetter { source, stream, record, error: text(error)?, bytes: text(bytes)? })
}

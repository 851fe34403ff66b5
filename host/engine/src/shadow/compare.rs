//! Compares what two versions gave for a batch, sink by sink.
//!
//! The rows of a sink are a multiset: their order and the partitions that they come in do not count, and how often a row comes
//! does. Rows are encoded as bytes first. Two that lie at the same place on both sides and are equal are done with; the others
//! are counted in a table by their bytes. So it takes time and memory in proportion to the rows, and little of both where the
//! versions work alike.

use std::collections::{BTreeSet, HashMap};

use arrow::array::RecordBatch;
use arrow::datatypes::{DataType as ArrowType, SchemaRef};
use arrow::row::Rows;
use millstream_model::{BatchTime, DataType};

use super::Captured;
use super::captured::Given;
use super::encoding::encode;
use super::report::{DifferingRow, SAMPLES_MAX, ShadowReport, Side, SinkDifferences, cut};
use super::row_text::row_text;
use crate::digest::kind;

/// Of a row that is shown, or of the columns of a side, so much is.
const SHOWN_BYTES_MAX: usize = 1 << 10;

/// Adds to `report` how many rows the version before gave for the batch of that time, and in what those of the one after differ.
/// That the batch was run is noted by [`ShadowReport::ran`].
pub fn compare(time: BatchTime, before: &Captured, after: &Captured, report: &mut ShadowReport) {
    report.rows += before.rows();
    let nothing = Given::Rows(Vec::new());
    let sinks: BTreeSet<&str> = before.sinks().chain(after.sinks()).collect();
    for sink in sinks {
        let [before, after] = [before, after].map(|side| side.of(sink).unwrap_or(&nothing));
        let differences = match differing_columns(before, after) {
            Some(columns) => SinkDifferences { columns: Some(columns), ..all(before, after) },
            None => differing_rows(time, before, after).unwrap_or_else(|| {
                *report.by_digest.entry(sink.to_owned()).or_default() += 1;
                if before.digest() == after.digest() { Default::default() } else { all(before, after) }
            }),
        };
        report.add(sink, differences);
    }
}

/// Every row differs.
fn all(before: &Given, after: &Given) -> SinkDifferences {
    SinkDifferences { only_before: before.rows(), only_after: after.rows(), ..Default::default() }
}

/// The columns of both sides, if they differ in a name, a logical type or their order. Of a side without tables none are known.
fn differing_columns(before: &Given, after: &Given) -> Option<String> {
    let [before, after] = [before, after].map(|given| given.tables().first().map(RecordBatch::schema));
    let (before, after) = (before?, after?);
    let columns = |schema: &SchemaRef| -> Vec<_> {
        schema.fields().iter().map(|field| (field.name().clone(), kind(field.data_type()))).collect()
    };
    let differ = columns(&before) != columns(&after);
    differ.then(|| format!("{} before, {} after", columns_text(&before), columns_text(&after)))
}

fn columns_text(schema: &SchemaRef) -> String {
    let column = |(name, data_type): (&String, &ArrowType)| {
        let own = DataType::from_arrow(data_type).filter(|own| kind(&own.to_arrow()) == kind(data_type));
        own.map_or_else(|| format!("{name}: {data_type}"), |own| format!("{name}: {own}"))
    };
    let columns = schema.fields().iter().map(|field| column((field.name(), field.data_type())));
    let text = columns.collect::<Vec<_>>().join(", ");
    let shown = cut(&text, SHOWN_BYTES_MAX);
    format!("{{ {shown}{} }}", if shown.len() < text.len() { "…" } else { "" })
}

/// The rows that differ; none, where not all of them were kept.
fn differing_rows(time: BatchTime, before: &Given, after: &Given) -> Option<SinkDifferences> {
    let (Given::Rows(before), Given::Rows(after)) = (before, after) else { return None };
    let [encoded_before, encoded_after] = encode(before, after).ok()?;
    let surplus = surplus(&encoded_before, &encoded_after);
    let of = |side: Side, tables: &[RecordBatch]| {
        let of_side = surplus.iter().filter(|(_, surplus)| surplus.side == side);
        let rows: u64 = of_side.clone().map(|(_, surplus)| surplus.rows).sum();
        let shown = first(of_side.map(|(bytes, surplus)| (*bytes, surplus.row)).collect());
        let shown = shown.into_iter().map(|(bytes, row)| {
            let row = text_of(tables, row);
            (bytes, DifferingRow { batch: time, side, row })
        });
        (rows, shown.collect::<Vec<_>>())
    };
    let ((only_before, rows_before), (only_after, rows_after)) =
        (of(Side::Before, before), of(Side::After, after));
    let samples = side_by_side(rows_before, rows_after);
    Some(SinkDifferences { only_before, only_after, samples, ..Default::default() })
}

/// What one side has more of a row.
struct Surplus {
    side: Side,
    /// How often it has the row more.
    rows: u64,
    /// Where it has it first.
    row: usize,
}

/// A row that is not at the same place on both sides: how often each has it, and where first.
#[derive(Default)]
struct Tally {
    times: [u64; 2],
    first: [Option<usize>; 2],
}

impl Tally {
    fn add(&mut self, side: Side, row: usize) {
        self.times[side as usize] += 1;
        self.first[side as usize].get_or_insert(row);
    }

    fn surplus(&self) -> Option<Surplus> {
        let [before, after] = self.times;
        let side = if before > after { Side::Before } else { Side::After };
        let row = self.first[side as usize]?;
        (before != after).then_some(Surplus { side, rows: before.abs_diff(after), row })
    }
}

/// The rows that one side has more often than the other, by their bytes.
fn surplus<'r>(before: &'r Rows, after: &'r Rows) -> Vec<(&'r [u8], Surplus)> {
    let mut tallies: HashMap<&[u8], Tally> = HashMap::new();
    for row in 0..before.num_rows().max(after.num_rows()) {
        let [before, after] =
            [before, after].map(|rows| (row < rows.num_rows()).then(|| rows.row(row).data()));
        if before == after {
            continue;
        }
        for (side, bytes) in [(Side::Before, before), (Side::After, after)] {
            if let Some(bytes) = bytes {
                tallies.entry(bytes).or_default().add(side, row);
            }
        }
    }
    let surplus = tallies.into_iter().filter_map(|(bytes, tally)| Some((bytes, tally.surplus()?)));
    surplus.collect()
}

/// As many of `rows` as are shown, the first in the order of their bytes.
fn first<R: Copy>(mut rows: Vec<(&[u8], R)>) -> Vec<(&[u8], R)> {
    if rows.len() > SAMPLES_MAX {
        rows.select_nth_unstable_by_key(SAMPLES_MAX, |(bytes, _)| *bytes);
        rows.truncate(SAMPLES_MAX);
    }
    rows.sort_unstable_by_key(|(bytes, _)| *bytes);
    rows
}

/// As many rows as are shown, of both sides where both have some, in the order of their bytes: the two forms of a row that changed
/// behind its key are neighbours.
fn side_by_side(
    mut before: Vec<(&[u8], DifferingRow)>,
    mut after: Vec<(&[u8], DifferingRow)>,
) -> Vec<DifferingRow> {
    let half = SAMPLES_MAX / 2;
    let (room_before, room_after) =
        (SAMPLES_MAX - after.len().min(half), SAMPLES_MAX - before.len().min(half));
    before.truncate(room_before);
    after.truncate(room_after);
    let mut rows = [before, after].concat();
    rows.sort_by_key(|(bytes, _)| *bytes);
    rows.into_iter().map(|(_, row)| row).collect()
}

/// The row of that number, over all tables.
fn text_of(tables: &[RecordBatch], mut row: usize) -> String {
    for table in tables {
        match row.checked_sub(table.num_rows()) {
            Some(behind) => row = behind,
            None => return row_text(table, row, SHOWN_BYTES_MAX),
        }
    }
    unreachable!("the row is of one of the tables")
}

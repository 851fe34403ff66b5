//! `millstream state`: the states that a stream keeps, as the last commit left them, whether its pipeline runs or not.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

use anyhow::{Context, Result, bail};
use arrow::record_batch::RecordBatch;
use arrow_json::writer::{LineDelimited, WriterBuilder};
use clap::Args;
use millstream_connectors::rows_as_text;
use millstream_journal::Archive;
use millstream_model::{DataType, Field};
use millstream_platform::{Disk, SystemDisk};
use millstream_state::{Encoded, Keyed, Store};
use serde_json::Value;

use crate::load::{Refused, runtime};
use crate::target::Target;
use crate::testing::from_rows;

/// How often reading begins anew because the pipeline that runs has removed a file meanwhile.
const ATTEMPTS: usize = 5;

/// What `state` takes.
#[derive(Args)]
pub(crate) struct Options {
    #[command(flatten)]
    target: Target,
    /// The stream whose states are shown
    stream: String,
    /// One key's state alone: VALUE, or where the key has several columns, COLUMN=VALUE for each
    #[arg(long = "key", value_name = "VALUE")]
    keys: Vec<String>,
    /// How many keys are shown to people
    #[arg(long, default_value_t = 20)]
    rows: usize,
    /// Print all as JSON, an object a key
    #[arg(long)]
    json: bool,
}

pub(crate) fn state(options: &Options) -> Result<()> {
    let (_, checkpoint) = options.target.checkpoint()?;
    let store = runtime()?.block_on(read(&checkpoint))?;
    let keyed = find(&store, &options.stream)?;
    match options.keys.as_slice() {
        [] if options.json => keyed.scan().try_for_each(|rows| print_objects(&rows?)),
        [] => print_first(&keyed, options.rows),
        keys => {
            let row = one(&store, &keyed, keys)?;
            if options.json { print_objects(&row) } else { print_table(&row) }
        }
    }
}

/// The states, read beside a pipeline that may run.
async fn read(checkpoint: &Path) -> Result<Store> {
    let disk: Arc<dyn Disk> = Arc::new(SystemDisk);
    let mut attempt = 1;
    loop {
        let archive = Archive::open(Arc::clone(&disk), checkpoint).await?;
        let end = archive.ledger().state_end;
        if end.is_none() {
            return Err(Refused("the pipeline has kept no states yet".to_owned()).into());
        }
        match Store::read(&disk, checkpoint, end).await {
            Err(_) if attempt < ATTEMPTS => attempt += 1,
            read => return read.context("reading the states"),
        }
    }
}

fn find(store: &Store, stream: &str) -> Result<Arc<Keyed>> {
    let Some(keyed) = store.find_keyed(stream) else {
        let tables = store.statistics().tables;
        let names =
            tables.iter().map(|table| table.name.as_str()).filter(|name| store.find_keyed(name).is_some());
        // What is kept beside a stream's states has names that no stream can have.
        let names = names.filter(|name| !name.contains('.')).collect::<Vec<_>>().join(", ");
        let known = if names.is_empty() { "no stream does".to_owned() } else { format!("these do: {names}") };
        return Err(Refused(format!("stream \"{stream}\" keeps no states; {known}")).into());
    };
    Ok(keyed)
}

#[allow(clippy::print_stdout, reason = "the command's answer")]
fn print_first(keyed: &Keyed, rows_max: usize) -> Result<()> {
    let (mut shown, mut rows, mut all) = (Vec::new(), 0, 0);
    for batch in keyed.scan() {
        let batch = batch?;
        all += batch.num_rows();
        let wanted = batch.num_rows().min(rows_max - rows);
        rows += wanted;
        shown.push(batch.slice(0, wanted));
    }
    let shown = arrow::compute::concat_batches(keyed.schema(), &shown).context("showing the states")?;
    print_table(&shown)?;
    if all > rows {
        println!("... {} more of {all} keys; --json prints them all", all - rows);
    }
    Ok(())
}

#[allow(clippy::print_stdout, reason = "the command's answer")]
fn print_table(rows: &RecordBatch) -> Result<()> {
    print!("{}", rows_as_text(rows).context("showing the states")?);
    Ok(())
}

fn print_objects(rows: &RecordBatch) -> Result<()> {
    let output = std::io::stdout().lock();
    let mut writer = WriterBuilder::new().with_explicit_nulls(true).build::<_, LineDelimited>(output);
    writer.write(rows).and_then(|()| writer.finish()).context("printing the states")
}

/// The row of the key that `values` name.
fn one(store: &Store, keyed: &Keyed, values: &[String]) -> Result<RecordBatch> {
    let row = key(&keyed.spec().key.fields, values)?;
    let schema = Arc::new(keyed.spec().key.to_arrow());
    let key = from_rows(&[row], &schema).context("reading the key")?;
    let keys = keyed.encode_keys(key.columns())?;
    let states = keyed.lookup(&[keys.row(0).data()]);
    store.check_reads().context("reading the states")?;
    if states.iter().all(|state| state.is_none()) {
        bail!("there is no state for that key");
    }
    let mut encoded = Encoded::default();
    encoded.push(keys.row(0).data());
    let mut columns = keyed.decode_keys(&encoded)?;
    columns.extend(keyed.decode_states(states.iter())?);
    RecordBatch::try_new(Arc::clone(keyed.schema()), columns).context("showing the state")
}

/// A key's columns, from the words of the command line.
fn key(fields: &[Field], values: &[String]) -> Result<BTreeMap<String, Value>> {
    if let ([field], [value]) = (fields, values) {
        let value = value.strip_prefix(&format!("{}=", field.name)).unwrap_or(value);
        return Ok(BTreeMap::from([(field.name.clone(), parse(field, value)?)]));
    }
    let mut row = BTreeMap::new();
    for field in fields {
        let prefix = format!("{}=", field.name);
        let value = values.iter().find_map(|value| value.strip_prefix(&prefix));
        let Some(value) = value else {
            let wanted = fields.iter().map(|field| format!("--key {}=VALUE", field.name));
            let wanted = wanted.collect::<Vec<_>>().join(" ");
            return Err(Refused(format!("the key lacks \"{}\"; give {wanted}", field.name)).into());
        };
        row.insert(field.name.clone(), parse(field, value)?);
    }
    match values.len() > fields.len() {
        true => Err(Refused(format!(
            "the key has {} columns, and {} values are given",
            fields.len(),
            values.len()
        ))
        .into()),
        false => Ok(row),
    }
}

fn parse(field: &Field, value: &str) -> Result<Value> {
    let parsed = match field.data_type {
        DataType::Utf8 | DataType::Binary | DataType::Timestamp => Some(Value::from(value)),
        DataType::Int64 => value.parse::<i64>().ok().map(Value::from),
        DataType::Float64 => value.parse::<f64>().ok().map(Value::from),
        DataType::Boolean => value.parse::<bool>().ok().map(Value::from),
        _ => serde_json::from_str(value).ok(),
    };
    parsed.ok_or_else(|| {
        let (name, kind) = (&field.name, &field.data_type);
        Refused(format!("\"{value}\" is no value of the key's column \"{name}\", which is {kind}")).into()
    })
}

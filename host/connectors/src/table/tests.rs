use std::fs::{self, File};
use std::io::Write;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use arrow::array::{ArrayRef, Int32Array, StringArray, StringViewArray, TimestampNanosecondArray};
use flate2::Compression;
use flate2::write::GzEncoder;
use millstream_model::{DataType, Schema};
use parquet::arrow::ArrowWriter;
use tempfile::TempDir;

use super::*;
use crate::testing::{located, rows, schema};

const ANY: u64 = u64::MAX;
const CSV: TableFormat = TableFormat::Csv { header: true };

/// A format, the columns that are named, a file's content, and what is said of it.
type Refused = (TableFormat, Option<Schema>, &'static [u8], &'static [&'static str]);

/// A folder with a file in it.
struct Folder(TempDir);

impl Folder {
    fn with(content: impl AsRef<[u8]>) -> Self {
        let folder = Self(TempDir::new().unwrap());
        fs::write(folder.file(), content).unwrap();
        folder
    }

    fn file(&self) -> PathBuf {
        self.0.path().join("file")
    }

    fn spec(&self, format: TableFormat, schema: Option<Schema>) -> TableSpec {
        TableSpec { name: located("t".into()), path: located(self.file()), format, schema, refresh: None }
    }
}

fn columns(schema: &Schema) -> Vec<String> {
    schema.fields.iter().map(|field| format!("{}: {}", field.name, field.data_type)).collect()
}

fn all_rows(table: &TableRows) -> Vec<String> {
    table.rows.iter().flat_map(rows).collect()
}

/// Loads a file; gives the columns and the rows, or what is wrong.
async fn load_file(
    content: impl AsRef<[u8]>,
    format: TableFormat,
    schema: Option<Schema>,
) -> Result<(Vec<String>, Vec<String>), String> {
    let folder = Folder::with(content);
    let loaded = load(&folder.spec(format, schema), ANY).await;
    let (schema, table) = loaded.map_err(|error| error.to_string())?;
    Ok((columns(&schema), all_rows(&table)))
}

/// Checks the columns that are found, in one line, and the rows.
async fn check(format: TableFormat, content: &str, expected_columns: &str, expected_rows: &[&str]) {
    let (columns, rows) = load_file(content, format, None).await.unwrap();
    assert_eq!(columns.join(", "), expected_columns, "{content}");
    assert_eq!(rows, expected_rows, "{content}");
}

async fn check_refused(format: TableFormat, schema: Option<Schema>, content: &[u8], parts: &[&str]) {
    let error = load_file(content, format, schema).await.unwrap_err();
    let all = parts.iter().chain(&["reading", "file: "]).all(|part| error.contains(part));
    assert!(all, "\"{error}\" should tell of {parts:?}");
}

#[tokio::test]
async fn the_columns_of_a_csv_file_are_found_in_all_of_it() {
    check(CSV, "id,name\n1,a\n2,b\n", "id: int64, name: utf8", &["1|a", "2|b"]).await;
    check(CSV, "\u{feff}\"a, b\", c\r\n1,x\r\n", "a, b: int64, c: utf8", &["1|x"]).await;
    check(CSV, "a,b\n", "a: utf8, b: utf8", &[]).await;
    check(CSV, "a,b\n,\n\n1,\n", "a: int64, b: utf8", &["NULL|NULL", "1|NULL"]).await;
    check(CSV, "a,b\n1,true\n2.5,FALSE\n", "a: float64, b: boolean", &["1.0|true", "2.5|false"]).await;
    check(
        CSV,
        "zip,big\n01234,9223372036854775808\n",
        "zip: utf8, big: utf8",
        &["01234|9223372036854775808"],
    )
    .await;
    let (wide, fraction) = ("9007199254740993", "1.5");
    check(CSV, &format!("a\n{wide}\n{fraction}\n"), "a: utf8", &[wide, fraction]).await;
    check(CSV, &format!("a\n{wide}\n1\n"), "a: int64", &[wide, "1"]).await;
    check(CSV, "a,b\n1,true\nx,1\n", "a: utf8, b: utf8", &["1|true", "x|1"]).await;
    check(
        CSV,
        "at,day\n2024-01-02T03:04:05+02:00,2024-01-02\n2024-01-02T03:04:05,2024-01-03\n",
        "at: timestamp, day: utf8",
        &["2024-01-02T01:04:05|2024-01-02", "2024-01-02T03:04:05|2024-01-03"],
    )
    .await;
}

#[tokio::test]
async fn the_columns_of_json_objects_are_found_in_all_of_them() {
    let json = TableFormat::Json;
    check(
        json,
        "{\"b\":1,\"a\":\"x\"}\n\n{\"a\":null,\"c\":true}",
        "a: utf8, b: int64, c: boolean",
        &["x|1|NULL", "NULL|NULL|true"],
    )
    .await;
    check(json, "{\"n\":1}\n{\"n\":1.5}\n", "n: float64", &["1.0", "1.5"]).await;
    check(json, "{\"l\":[]}\n{\"l\":[1,null]}\n", "l: list<int64>", &["[]", "[1, NULL]"]).await;
    check(json, "{\"at\":\"2024-01-02T03:04:05Z\"}\n", "at: timestamp", &["2024-01-02T03:04:05"]).await;
    check(
        json,
        "{\"at\":\"2024-01-02T03:04:05Z\"}\n{\"at\":\"now\"}\n",
        "at: utf8",
        &["2024-01-02T03:04:05Z", "now"],
    )
    .await;
    check(json, "{\"x\":null}\n", "x: utf8", &["NULL"]).await;
}

#[tokio::test]
async fn a_schema_names_the_columns_that_are_read_and_their_types() {
    let named = || Some(schema(&[("name", DataType::Utf8), ("id", DataType::Float64)]));
    let expected = vec!["a|1.0".to_owned(), "b|2.0".to_owned()];
    let csv = load_file("id,note,name\n1,x,a\n2,,b\n", CSV, named()).await.unwrap();
    let headless = TableFormat::Csv { header: false };
    let by_place = load_file("a,1\nb,2\n", headless, named()).await.unwrap();
    let objects = "{\"id\":1,\"name\":\"a\",\"note\":{}}\n{\"name\":\"b\",\"id\":2}\n";
    let json = load_file(objects, TableFormat::Json, named()).await.unwrap();
    for (columns, rows) in [csv, by_place, json] {
        assert_eq!((columns.join(", ").as_str(), &rows), ("name: utf8, id: float64", &expected));
    }
}

#[tokio::test]
async fn a_file_that_cannot_be_read_whole_is_refused_with_the_line() {
    let ints = || Some(schema(&[("a", DataType::Int64)]));
    let json = TableFormat::Json;
    let cases: &[Refused] = &[
        (CSV, None, b"", &["is empty", "header = false"]),
        (CSV, None, b"a,,b\n", &["line 1", "without a name"]),
        (CSV, None, b"a,b,a\n", &["line 1", "\"a\" twice"]),
        (CSV, None, b"a\xff\n", &["line 1", "UTF-8"]),
        (CSV, None, b"a,b\n1,2\n3\n", &["line 3", "expected 2"]),
        (CSV, None, b"a\n\"x\ny\"\n", &["line 2", "line break"]),
        (CSV, ints(), b"b,c\n1,2\n", &["line 1", "no column \"a\"", "b, c"]),
        (CSV, ints(), b"a\n1\n\ntwo\nthree\n", &["line 4", "two", "\"schema\""]),
        (json, ints(), b"{\"a\":1}\n{\"a\":\"x\"}\n", &["line 2", "\"schema\""]),
        (json, None, b"[{\"a\":1}]\n", &["line 1", "an object a line"]),
        (json, None, b"{\"a\":1}\n{\"a\"\n", &["line 2", "JSON object"]),
        (json, None, b"{\"a\":1}\n{\"a\":\"x\"}\n", &["line 2", "\"a\" has no type", "\"schema\""]),
        (
            json,
            None,
            b"{\"a\":9007199254740993}\n{\"a\":1.5}\n",
            &["line 2", "\"a\" has no type", "\"schema\""],
        ),
        (json, None, b"{\"a\":9223372036854775808}\n", &["line 1", "\"a\" has no type"]),
        (json, None, b"{\"a\":{}}\n", &["line 1", "\"a\" has no type"]),
        (json, None, b"\n", &["no object"]),
        (TableFormat::Parquet, None, b"no parquet", &["arquet"]),
    ];
    for (format, schema, content, parts) in cases {
        check_refused(*format, schema.clone(), content, parts).await;
    }
}

#[tokio::test]
async fn a_record_that_is_too_long_is_refused() {
    let long = format!("{{\"a\":1}}\n{{\"b\":\"{}\"}}\n", "x".repeat(2 << 20));
    check_refused(TableFormat::Json, None, long.as_bytes(), &["line 2", "longer than"]).await;
}

#[tokio::test]
async fn what_is_no_file_is_refused() {
    let folder = Folder::with("a\n1\n");
    let mut spec = folder.spec(CSV, None);
    for (path, part) in
        [(folder.0.path().join("other"), "no such file"), (folder.0.path().to_owned(), "no file")]
    {
        spec.path.value = path;
        let error = load(&spec, ANY).await.unwrap_err().to_string();
        assert!(error.contains(part), "{error}");
    }
}

fn write_parquet(path: &Path, columns: Vec<(&str, ArrayRef)>) {
    let rows = RecordBatch::try_from_iter(columns).unwrap();
    let mut writer = ArrowWriter::try_new(File::create(path).unwrap(), rows.schema(), None).unwrap();
    writer.write(&rows).unwrap();
    writer.close().unwrap();
}

#[tokio::test]
async fn parquet_has_its_own_columns_or_those_that_are_named() {
    let folder = Folder::with("");
    let id: ArrayRef = Arc::new(Int32Array::from(vec![1, 2]));
    let name: ArrayRef = Arc::new(StringArray::from(vec![Some("a"), None]));
    let at: ArrayRef = Arc::new(TimestampNanosecondArray::from(vec![1, 2]));
    write_parquet(&folder.file(), vec![("id", Arc::clone(&id)), ("name", name)]);
    let (found, table) = load(&folder.spec(TableFormat::Parquet, None), ANY).await.unwrap();
    assert_eq!(columns(&found), ["id: int64", "name: utf8"]);
    assert_eq!(all_rows(&table), ["1|a", "2|NULL"]);
    write_parquet(&folder.file(), vec![("id", id), ("at", at)]);
    let error = load(&folder.spec(TableFormat::Parquet, None), ANY).await.unwrap_err().to_string();
    assert!(error.contains("\"at\"") && error.contains("\"schema\""), "{error}");
    let named = folder.spec(TableFormat::Parquet, Some(schema(&[("id", DataType::Int64)])));
    assert_eq!(all_rows(&load(&named, ANY).await.unwrap().1), ["1", "2"]);
    let other = folder.spec(TableFormat::Parquet, Some(schema(&[("id", DataType::Utf8)])));
    let error = load(&other, ANY).await.unwrap_err().to_string();
    assert!(error.contains("\"id\" is Int32"), "{error}");
}

#[tokio::test]
async fn a_compressed_file_is_read_and_a_damaged_one_refused() {
    let folder = Folder::with("");
    let mut packed = GzEncoder::new(Vec::new(), Compression::default());
    packed.write_all(b"a\n1\n2\n").unwrap();
    let mut packed = packed.finish().unwrap();
    let mut spec = folder.spec(CSV, None);
    spec.path.value = folder.0.path().join("t.csv.gz");
    fs::write(&spec.path.value, &packed).unwrap();
    assert_eq!(all_rows(&load(&spec, ANY).await.unwrap().1), ["1", "2"]);
    packed.truncate(packed.len() - 4);
    fs::write(&spec.path.value, &packed).unwrap();
    load(&spec, ANY).await.unwrap_err();
}

#[tokio::test]
async fn a_file_is_read_again_only_when_it_has_changed() {
    let folder = Folder::with("a\n1\n");
    let table = FileTable::new(&folder.spec(CSV, None), schema(&[("a", DataType::Int64)]));
    let first = table.read(None, ANY).await.unwrap().unwrap();
    assert_eq!(all_rows(&first), ["1"]);
    assert!(table.read(Some(&first.stamp), ANY).await.unwrap().is_none());
    fs::write(folder.file(), "b,a\nx,10\n").unwrap();
    let second = table.read(Some(&first.stamp), ANY).await.unwrap().unwrap();
    assert_eq!(all_rows(&second), ["10"]);
    fs::write(folder.file(), "a\nno number\n").unwrap();
    table.read(Some(&second.stamp), ANY).await.unwrap_err();
}

#[tokio::test]
async fn rows_that_take_more_memory_than_they_may_are_refused() {
    let content: String = (0..100_000).map(|n| format!("{{\"n\":{n}}}\n")).collect();
    let folder = Folder::with(content);
    let spec = folder.spec(TableFormat::Json, None);
    let (_, table) = load(&spec, ANY).await.unwrap();
    let held: usize = table.rows.iter().map(RecordBatch::get_array_memory_size).sum();
    assert_eq!(table.bytes, held as u64);
    assert!(load(&spec, table.bytes).await.is_ok());
    let error = load(&spec, table.bytes - 1).await.unwrap_err().to_string();
    assert!(error.contains("\"table-memory\""), "{error}");
}

#[tokio::test]
async fn views_into_a_files_pages_do_not_keep_the_pages() {
    let folder = Folder::with("");
    let texts = (0..100_000).map(|n| format!("a text of some length, the same in many rows, {}", n % 3));
    let texts: ArrayRef = Arc::new(StringViewArray::from_iter_values(texts));
    write_parquet(&folder.file(), vec![("text", texts)]);
    let (_, table) = load(&folder.spec(TableFormat::Parquet, None), ANY).await.unwrap();
    assert!(table.rows.len() > 1);
    assert!(table.bytes < 100_000 * 100, "{}", table.bytes);
}

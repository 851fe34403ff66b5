use std::fs::{self, File};
use std::sync::Arc;

use arrow::array::{ArrayRef, Int64Array, ListArray, StringViewArray};
use arrow::datatypes::Int64Type;
use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;
use tempfile::TempDir;

use super::*;
use crate::testing;

fn words(words: &[Option<&str>]) -> RecordBatch {
    let column: StringViewArray = words.iter().copied().collect();
    RecordBatch::try_from_iter_with_nullable([("word", Arc::new(column) as ArrayRef, true)]).unwrap()
}

fn totals(rows: &[(Option<&str>, i64)]) -> RecordBatch {
    let words: StringViewArray = rows.iter().map(|(word, _)| *word).collect();
    let totals = Int64Array::from_iter_values(rows.iter().map(|(_, total)| *total));
    let columns: [(&str, ArrayRef, bool); 2] =
        [("word", Arc::new(words), true), ("total", Arc::new(totals), false)];
    RecordBatch::try_from_iter_with_nullable(columns).unwrap()
}

/// A folder that does not exist yet, and a sink for rows like `rows` in it.
fn sink(format: FileFormat, rows: &RecordBatch) -> (TempDir, PathBuf, Folder) {
    let temp = TempDir::new().unwrap();
    let out = temp.path().join("out");
    let sink = Folder::new(&out, format, rows.schema()).unwrap();
    (temp, out, sink)
}

async fn write(sink: &mut Folder, time: i64, pieces: &[(usize, RecordBatch)]) {
    let mut batch = sink.begin(BatchTime::from_ms(time)).await.unwrap();
    for (partition, rows) in pieces {
        batch.write(*partition, rows.clone()).await.unwrap();
    }
    batch.commit().await.unwrap();
}

/// Everything under a folder, as paths from there.
fn listing(folder: &Path) -> Vec<String> {
    let mut found = Vec::new();
    for entry in fs::read_dir(folder).into_iter().flatten() {
        let entry = entry.unwrap();
        let name = entry.file_name().into_string().unwrap();
        let below = listing(&entry.path()).into_iter().map(|inner| format!("{name}/{inner}"));
        found.extend(below);
        found.push(name);
    }
    found.sort();
    found
}

#[tokio::test]
async fn text_formats() {
    let rows = totals(&[(Some("a, \"b\""), 1), (None, 2)]);
    let lines = words(&[Some("one"), None, Some("a longer line than a view holds")]);
    let cases = [
        (FileFormat::Json, &rows, "json", "{\"word\":\"a, \\\"b\\\"\",\"total\":1}\n{\"total\":2}\n"),
        (FileFormat::Csv, &rows, "csv", "word,total\n\"a, \"\"b\"\"\",1\n,2\n"),
        (FileFormat::Text, &lines, "txt", "one\n\na longer line than a view holds\n"),
    ];
    for (format, rows, extension, expected) in cases {
        let (_temp, out, mut sink) = sink(format, rows);
        let halves = [(0, rows.slice(0, 1)), (0, rows.slice(1, rows.num_rows() - 1))];
        write(&mut sink, 1_700_000_000_000, &halves).await;
        let part = out.join(format!("1700000000000/part-00000.{extension}"));
        assert_eq!(fs::read_to_string(part).unwrap(), expected);
    }
}

#[tokio::test]
async fn parquet_files() {
    let rows = totals(&[(Some("a"), 1), (None, 2)]);
    let (_temp, out, mut sink) = sink(FileFormat::Parquet, &rows);
    write(&mut sink, 1000, &[(0, rows.clone()), (0, rows.clone())]).await;
    let file = File::open(out.join("1000/part-00000.parquet")).unwrap();
    let read = ParquetRecordBatchReaderBuilder::try_new(file).unwrap().build().unwrap();
    let found: Vec<_> = read.flat_map(|batch| testing::rows(&batch.unwrap())).collect();
    assert_eq!(found, ["a|1", "NULL|2", "a|1", "NULL|2"]);
}

#[tokio::test]
async fn a_file_per_partition_that_has_rows() {
    let rows = words(&[Some("a")]);
    let (_temp, out, mut sink) = sink(FileFormat::Text, &rows);
    let pieces = [(2, rows.clone()), (1, rows.slice(0, 0)), (0, rows.clone()), (2, rows.clone())];
    write(&mut sink, 1000, &pieces).await;
    assert_eq!(listing(&out), ["1000", "1000/part-00000.txt", "1000/part-00002.txt"]);
    assert_eq!(fs::read_to_string(out.join("1000/part-00002.txt")).unwrap(), "a\na\n");
    write(&mut sink, 2000, &[]).await;
    assert_eq!(listing(&out).len(), 3, "a batch without rows leaves nothing");
}

#[tokio::test]
async fn nothing_is_visible_before_the_commit() {
    let rows = words(&[Some("a")]);
    let (_temp, out, mut sink) = sink(FileFormat::Json, &rows);
    let mut batch = sink.begin(BatchTime::from_ms(1000)).await.unwrap();
    batch.write(0, rows).await.unwrap();
    assert!(listing(&out).iter().all(|name| name.starts_with('.')));
    drop(batch);
    assert_eq!(listing(&out), [""; 0]);
}

#[tokio::test]
async fn a_repeated_batch_replaces() {
    let (first, second) = (words(&[Some("first")]), words(&[Some("second")]));
    let (_temp, out, mut sink) = sink(FileFormat::Text, &first);
    write(&mut sink, 1000, &[(0, first.clone()), (1, first.clone())]).await;
    // What a crash in the middle of an earlier attempt left.
    fs::create_dir_all(out.join(".1000.tmp/part-00007.txt")).unwrap();
    fs::create_dir_all(out.join(".1000.old.tmp")).unwrap();
    write(&mut sink, 1000, &[(0, second)]).await;
    assert_eq!(listing(&out), ["1000", "1000/part-00000.txt"]);
    assert_eq!(fs::read_to_string(out.join("1000/part-00000.txt")).unwrap(), "second\n");
    write(&mut sink, 1000, &[]).await;
    assert_eq!(listing(&out), [""; 0], "a repetition without rows replaces too");
}

#[tokio::test]
async fn a_fault_names_the_path_and_consumes_the_batch() {
    let rows = words(&[Some("a")]);
    let (_temp, out, mut sink) = sink(FileFormat::Text, &rows);
    fs::write(&out, "a file where the folder should be").unwrap();
    let begun = match sink.begin(BatchTime::from_ms(1000)).await {
        Err(error) => Err(error),
        Ok(mut batch) => batch.write(0, rows).await,
    };
    let error = begun.unwrap_err().to_string();
    assert!(error.contains("out/.1000.tmp"), "{error}");
}

#[test]
fn columns_that_a_format_cannot_hold() {
    let list = ListArray::from_iter_primitive::<Int64Type, _, _>([Some([Some(1)])]);
    let list = RecordBatch::try_from_iter([("list", Arc::new(list) as ArrayRef)]).unwrap();
    let cases = [
        (FileFormat::Text, totals(&[]), "one column of text"),
        (FileFormat::Text, list.clone(), "list"),
        (FileFormat::Csv, list, "\"list\""),
    ];
    for (format, rows, part) in cases {
        let Err(error) = Folder::new(Path::new("out"), format, rows.schema()) else { panic!("{part}") };
        assert!(error.to_string().contains(part), "{error}");
    }
}

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

async fn write(sink: &Folder, time: i64, pieces: &[(usize, RecordBatch)]) {
    let mut batch = sink.begin(BatchTime::from_ms(time)).await.unwrap();
    for (partition, rows) in pieces {
        batch.write(*partition, rows.clone()).await.unwrap();
    }
    batch.prepare().await.unwrap();
    batch.publish().await.unwrap();
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
        let (_temp, out, sink) = sink(format, rows);
        let halves = [(0, rows.slice(0, 1)), (0, rows.slice(1, rows.num_rows() - 1))];
        write(&sink, 1_700_000_000_000, &halves).await;
        let part = out.join(format!("1700000000000/part-00000.{extension}"));
        assert_eq!(fs::read_to_string(part).unwrap(), expected);
    }
}

#[tokio::test]
async fn parquet_files() {
    let rows = totals(&[(Some("a"), 1), (None, 2)]);
    let (_temp, out, sink) = sink(FileFormat::Parquet, &rows);
    write(&sink, 1000, &[(0, rows.clone()), (0, rows.clone())]).await;
    let file = File::open(out.join("1000/part-00000.parquet")).unwrap();
    let read = ParquetRecordBatchReaderBuilder::try_new(file).unwrap().build().unwrap();
    let found: Vec<_> = read.flat_map(|batch| testing::rows(&batch.unwrap())).collect();
    assert_eq!(found, ["a|1", "NULL|2", "a|1", "NULL|2"]);
}

#[tokio::test]
async fn a_file_per_partition_that_has_rows() {
    let rows = words(&[Some("a")]);
    let (_temp, out, sink) = sink(FileFormat::Text, &rows);
    let pieces = [(2, rows.clone()), (1, rows.slice(0, 0)), (0, rows.clone()), (2, rows.clone())];
    write(&sink, 1000, &pieces).await;
    assert_eq!(listing(&out), ["1000", "1000/part-00000.txt", "1000/part-00002.txt"]);
    assert_eq!(fs::read_to_string(out.join("1000/part-00002.txt")).unwrap(), "a\na\n");
    write(&sink, 2000, &[]).await;
    assert_eq!(listing(&out).len(), 3, "a batch without rows leaves nothing");
}

#[tokio::test]
async fn nothing_is_visible_before_the_commit() {
    let rows = words(&[Some("a")]);
    let (_temp, out, sink) = sink(FileFormat::Json, &rows);
    let mut batch = sink.begin(TIME).await.unwrap();
    batch.write(0, rows).await.unwrap();
    assert!(listing(&out).iter().all(|name| name.starts_with('.')));
    drop(batch);
    assert_eq!(listing(&out), [""; 0]);
}

#[tokio::test]
async fn a_repeated_batch_replaces() {
    let (first, second) = (words(&[Some("first")]), words(&[Some("second")]));
    let (_temp, out, sink) = sink(FileFormat::Text, &first);
    write(&sink, 1000, &[(0, first.clone()), (1, first.clone())]).await;
    // What a crash in the middle of an earlier attempt left.
    fs::create_dir_all(out.join(".1000.tmp/part-00007.txt")).unwrap();
    fs::create_dir_all(out.join(".1000.ready/part-00007.txt")).unwrap();
    fs::create_dir_all(out.join(".1000.old.tmp")).unwrap();
    write(&sink, 1000, &[(0, second)]).await;
    assert_eq!(listing(&out), ["1000", "1000/part-00000.txt"]);
    assert_eq!(fs::read_to_string(out.join("1000/part-00000.txt")).unwrap(), "second\n");
    write(&sink, 1000, &[]).await;
    assert_eq!(listing(&out), [""; 0], "a repetition without rows replaces too");
}

#[tokio::test]
async fn a_disk_without_room_is_told_from_a_fault() {
    for format in [FileFormat::Text, FileFormat::Json, FileFormat::Csv, FileFormat::Parquet] {
        let rows = words(&[Some("a")]);
        let (_temp, out, sink) = sink(format, &rows);
        let mut batch = sink.begin(TIME).await.unwrap();
        batch.write(0, rows.clone()).await.unwrap();
        let first = listing(&out).pop().unwrap();
        std::os::unix::fs::symlink("/dev/full", out.join(first.replace("00000", "00001"))).unwrap();
        let written = batch.write(1, rows).await;
        let prepared = match written {
            Ok(()) => batch.prepare().await,
            failed => failed,
        };
        assert!(matches!(prepared, Err(SinkError::Full(_))), "{format:?}: {prepared:?}");
        drop(batch);
        assert_eq!(listing(&out), [""; 0], "{format:?}: nothing is left");
    }
}

#[tokio::test]
async fn a_fault_names_the_path_and_consumes_the_batch() {
    let rows = words(&[Some("a")]);
    let (_temp, out, sink) = sink(FileFormat::Text, &rows);
    fs::write(&out, "a file where the folder should be").unwrap();
    let begun = match sink.begin(BatchTime::from_ms(1000)).await {
        Err(error) => Err(error),
        Ok(mut batch) => batch.write(0, rows).await,
    };
    let error = begun.unwrap_err().to_string();
    assert!(error.contains("out/.1000.tmp"), "{error}");
}

/// The time of the batch that crashes.
const TIME: BatchTime = BatchTime::from_ms(1000);

/// A folder as a crash left it: files and their contents, folders by a slash at their end.
type Left = &'static [(&'static str, &'static str)];

/// What a crash leaves, what recovery then answers, and the word that is visible after that.
const CRASHES: [(&str, Left, Recovery, Option<&str>); 11] = [
    ("begun", &[(".1000.tmp/0/part-00000.txt", "ne")], Recovery::NeedsRows, None),
    ("prepared", &[(".1000.ready/part-00000.txt", "new\n")], Recovery::Published, Some("new")),
    (
        "prepared beside an earlier one",
        &[(".1000.ready/part-00000.txt", "new\n"), ("1000/part-00000.txt", "old\n")],
        Recovery::Published,
        Some("new"),
    ),
    (
        "set aside",
        &[(".1000.ready/part-00000.txt", "new\n"), (".1000.old.tmp/part-00000.txt", "old\n")],
        Recovery::Published,
        Some("new"),
    ),
    (
        "set aside again",
        &[
            (".1000.ready/part-00000.txt", "new\n"),
            ("1000/part-00000.txt", "old\n"),
            (".1000.old.tmp/part-00000.txt", "older\n"),
        ],
        Recovery::Published,
        Some("new"),
    ),
    (
        "published",
        &[("1000/part-00000.txt", "new\n"), (".1000.old.tmp/part-00000.txt", "old\n")],
        Recovery::Published,
        Some("new"),
    ),
    ("done", &[("1000/part-00000.txt", "new\n")], Recovery::Published, Some("new")),
    ("prepared without rows", &[(".1000.ready/", "")], Recovery::Published, None),
    (
        "prepared without rows beside an earlier one",
        &[(".1000.ready/", ""), ("1000/part-00000.txt", "old\n")],
        Recovery::Published,
        None,
    ),
    (
        "set aside without rows",
        &[(".1000.ready/", ""), (".1000.old.tmp/part-00000.txt", "old\n")],
        Recovery::Published,
        None,
    ),
    ("done without rows", &[], Recovery::NeedsRows, None),
];

fn leave(out: &Path, left: Left) {
    fs::create_dir_all(out).unwrap();
    for (name, content) in left {
        let path = out.join(name);
        if name.ends_with('/') {
            fs::create_dir(path).unwrap();
        } else {
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, content).unwrap();
        }
    }
}

fn visible(out: &Path) -> Option<String> {
    fs::read_to_string(out.join("1000/part-00000.txt")).ok().map(|text| text.trim_end().to_owned())
}

#[tokio::test]
async fn recovery_finishes_what_a_crash_interrupted() {
    for (state, left, answer, word) in CRASHES {
        let rows = words(&[Some("again")]);
        let (_temp, out, sink) = sink(FileFormat::Text, &rows);
        leave(&out, left);
        assert_eq!(sink.recover(TIME).await.unwrap(), answer, "{state}");
        assert_eq!(visible(&out).as_deref(), word, "{state}");
        assert!(listing(&out).iter().all(|name| name.starts_with("1000")), "{state}: {:?}", listing(&out));
        // A crash right after that: the answer is the same, or a need for the rows that there are none of.
        let second = sink.recover(TIME).await.unwrap();
        let may_need_rows = word.is_none();
        assert!(second == answer || may_need_rows && second == Recovery::NeedsRows, "{state}");
        assert_eq!(visible(&out).as_deref(), word, "{state}");
    }
}

#[tokio::test]
async fn a_batch_is_begun_again_after_any_crash() {
    let rows = words(&[Some("again")]);
    for (state, left, _, _) in CRASHES {
        for pieces in [&[][..], &[(0, rows.clone())]] {
            let (_temp, out, sink) = sink(FileFormat::Text, &rows);
            leave(&out, left);
            write(&sink, 1000, pieces).await;
            assert_eq!(visible(&out).is_some(), !pieces.is_empty(), "{state}");
            assert_eq!(listing(&out).len(), 2 * pieces.len(), "{state}: {:?}", listing(&out));
        }
    }
}

#[tokio::test]
async fn what_was_prepared_stays_for_the_recovery() {
    for pieces in [&[][..], &[(0, words(&[Some("a")]))]] {
        let (_temp, out, sink) = sink(FileFormat::Text, &words(&[]));
        let mut batch = sink.begin(TIME).await.unwrap();
        for (partition, rows) in pieces {
            batch.write(*partition, rows.clone()).await.unwrap();
        }
        batch.prepare().await.unwrap();
        assert_eq!(visible(&out), None);
        drop(batch);
        assert_eq!(sink.recover(TIME).await.unwrap(), Recovery::Published);
        assert_eq!(visible(&out).is_some(), !pieces.is_empty());
    }
}

#[tokio::test]
async fn an_attempt_that_was_given_up_touches_nothing_of_the_next() {
    let (old, new) = (words(&[Some("old")]), words(&[Some("new")]));
    let (_temp, out, sink) = sink(FileFormat::Text, &old);
    let mut given_up = sink.begin(TIME).await.unwrap();
    given_up.write(0, old.clone()).await.unwrap();
    let mut batch = sink.begin(TIME).await.unwrap();
    batch.write(0, new).await.unwrap();
    given_up.write(1, old).await.unwrap();
    drop(given_up);
    batch.prepare().await.unwrap();
    batch.publish().await.unwrap();
    assert_eq!(listing(&out), ["1000", "1000/part-00000.txt"]);
    assert_eq!(visible(&out).as_deref(), Some("new"));
}

#[tokio::test]
async fn batches_are_staged_side_by_side() {
    let rows = words(&[Some("a")]);
    let (_temp, out, sink) = sink(FileFormat::Text, &rows);
    let mut staged = Vec::new();
    for time in [1000, 2000, 3000] {
        let mut batch = sink.begin(BatchTime::from_ms(time)).await.unwrap();
        batch.write(0, rows.clone()).await.unwrap();
        staged.push(batch);
    }
    for batch in staged.iter_mut().rev() {
        batch.prepare().await.unwrap();
    }
    for (batch, published) in staged.into_iter().zip(1..) {
        batch.publish().await.unwrap();
        assert_eq!(listing(&out).iter().filter(|name| !name.starts_with('.')).count(), 2 * published);
    }
}

#[tokio::test]
async fn only_a_prepared_batch_is_published() {
    let rows = words(&[Some("a")]);
    let (_temp, out, sink) = sink(FileFormat::Text, &rows);
    let mut batch = sink.begin(TIME).await.unwrap();
    batch.write(0, rows).await.unwrap();
    assert!(batch.publish().await.is_err());
    assert_eq!(listing(&out), [""; 0]);
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

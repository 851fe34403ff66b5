use std::collections::HashSet;
use std::fs::{self, File};
use std::io::Write;
use std::sync::Arc;
use std::time::SystemTime;

use ::parquet::arrow::ArrowWriter;
use arrow::array::{ArrayRef, Int32Array, Int64Array, StringArray};
use arrow::record_batch::RecordBatch;
use flate2::Compression;
use flate2::write::GzEncoder;
use millstream_model::DataType;
use millstream_model::pipeline::SourceKind;
use tempfile::TempDir;

use super::*;
mod again;

use crate::cut::RECORD_BYTES_MAX;
use crate::testing::{Running, located, schema, spec};

fn start(path: &Path, format: &Format, once: bool) -> Running {
    let kind = SourceKind::Files { path: located(path.to_owned()) };
    let files = Files::new(&spec(kind, format.clone()), path).poll_every(Duration::from_millis(5));
    Running::start(files, format, once)
}

/// A folder with the given files, each written a second after the one before, ages ago.
fn folder(files: &[(&str, &[u8])]) -> TempDir {
    let temp = TempDir::new().unwrap();
    for (age, (name, content)) in (0..).zip(files) {
        let path = temp.path().join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(&path, content).unwrap();
        set_modified(&path, 1_000_000 + age);
    }
    temp
}

fn set_modified(path: &Path, seconds: u64) {
    let time = SystemTime::UNIX_EPOCH + Duration::from_secs(seconds);
    File::options().write(true).open(path).unwrap().set_modified(time).unwrap();
}

/// Writes a file aside and renames it, as a careful writer does.
fn arrive(path: &Path, content: &str) {
    let aside = path.with_file_name(".aside");
    fs::write(&aside, content).unwrap();
    fs::rename(aside, path).unwrap();
}

fn gzip(text: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
    encoder.write_all(text).unwrap();
    encoder.finish().unwrap()
}

/// Checks the rows that `path` in a folder of `files` gives in once mode; gives the faults told of.
async fn check(files: &[(&str, &[u8])], path: &str, expected: &[&str]) -> Vec<String> {
    let folder = folder(files);
    let mut running = start(&folder.path().join(path), &Format::Lines, true);
    assert_eq!(running.all_rows().await, expected, "{path}");
    running.faults()
}

#[tokio::test]
async fn files_by_time_then_name() {
    let files: [(&str, &[u8]); 3] = [("c", b"1\n2"), ("a", b"3"), ("b", b"\n5\n")];
    assert_eq!(check(&files, "", &["1", "2", "3", "", "5"]).await, [""; 0]);
    let folder = folder(&[("b", b"2"), ("a", b"1"), ("c", b"3")]);
    for name in ["a", "b", "c"] {
        set_modified(&folder.path().join(name), 5);
    }
    assert_eq!(start(folder.path(), &Format::Lines, true).all_rows().await, ["1", "2", "3"]);
}

#[tokio::test]
async fn what_is_no_input_is_passed_over() {
    let files: [(&str, &[u8]); 4] =
        [("_SUCCESS", b"no"), (".hidden", b"no"), ("deeper/file", b"no"), ("yes", b"yes")];
    assert_eq!(check(&files, "", &["yes"]).await, [""; 0]);
}

#[tokio::test]
async fn a_file_or_a_glob() {
    let files: [(&str, &[u8]); 6] = [
        ("a.txt", b"a"),
        ("b.csv", b"b"),
        ("sub/c.txt", b"c"),
        ("sub/_d.txt", b"d"),
        ("sub/_temporary/e.txt", b"e"),
        ("sub/[f].txt", b"f"),
    ];
    let cases: [(&str, &[&str]); 6] = [
        ("a.txt", &["a"]),
        ("*.txt", &["a"]),
        ("?.*", &["a", "b"]),
        ("**/*.txt", &["a", "c", "f"]),
        ("sub/[f].txt", &["f"]),
        ("s*", &[]),
    ];
    for (path, expected) in cases {
        let faults = check(&files, path, expected).await;
        assert_eq!(faults.len(), usize::from(expected.is_empty()), "{path}: {faults:?}");
    }
}

#[tokio::test]
async fn nothing_to_read_is_told() {
    for path in ["", "none", "*.txt"] {
        let faults = check(&[], path, &[]).await;
        assert!(matches!(&faults[..], [fault] if fault.contains(path)), "{path}: {faults:?}");
    }
}

#[tokio::test]
async fn compressed_files() {
    let text: String = (0..100_000).map(|n| format!("line {n}\n")).collect();
    let lines: Vec<&str> = text.lines().collect();
    let members = [gzip(&text.as_bytes()[..1001]), gzip(&text.as_bytes()[1001..])].concat();
    let frame = zstd::encode_all(text.as_bytes(), 1).unwrap();
    for (name, bytes) in [("x.gz", gzip(text.as_bytes())), ("members.json.gz", members), ("x.zst", frame)] {
        assert_eq!(check(&[(name, &bytes)], name, &lines).await, [""; 0]);
    }
}

#[tokio::test]
async fn records_of_one_length_are_rows_and_the_rest_of_the_file_is_a_dead_letter() {
    let format = Format::Records { length: 3 };
    let folder = folder(&[("a", b"abc\ndef"), ("b", b""), ("c.gz", &gzip(b"uvwxyz"))]);
    let mut running = start(folder.path(), &format, true);
    assert_eq!(running.all_rows().await, ["616263", "0a6465", "757677", "78797a"]);
    let letters = running.letters();
    assert!(matches!(&letters[..], [letter] if letter.record == b"f"), "{letters:?}");
}

#[tokio::test]
async fn a_damaged_file_gives_what_is_before_the_damage() {
    let text: String = (0..200_000).map(|n| format!("line {n} {}\n", n * 7919 % 1013)).collect();
    let whole = gzip(text.as_bytes());
    let folder = folder(&[("a.gz", &whole[..whole.len() / 2]), ("b.zst", b"no zst"), ("c", b"fine")]);
    let mut running = start(folder.path(), &Format::Lines, true);
    let received = running.all_rows().await;
    let (last, damaged) = received.split_last().unwrap();
    assert_eq!(last, "fine");
    assert!(!damaged.is_empty() && damaged.iter().zip(text.lines()).all(|(row, line)| row == line));
    let letters = running.letters();
    assert!(letters.iter().all(|letter| letter.position.record == damaged.len() as u64));
    assert!(letters.len() <= 1);
    let faults = running.faults();
    assert_eq!(faults.len(), 2, "{faults:?}");
    assert!(faults[0].contains("a.gz") && faults[0].contains(&format!("{} records", damaged.len())));
    assert!(faults[1].contains("b.zst"));
}

#[tokio::test]
async fn records_longer_than_a_read_and_longer_than_allowed() {
    let long = b"x".repeat(RECORD_BYTES_MAX - 1);
    let content = [&long[..], b"\n", &long, b"y\nlast"].concat();
    let folder = folder(&[("a", &content)]);
    let mut running = start(folder.path(), &Format::Lines, true);
    let received = running.all_rows().await;
    assert_eq!(received.iter().map(String::len).collect::<Vec<_>>(), [RECORD_BYTES_MAX - 1, 4]);
    assert_eq!(running.letters()[0].position.record, 1);
}

#[tokio::test]
async fn a_header_in_every_file() {
    let format = Format::Csv { schema: schema(&[("n", DataType::Int64)]), header: true };
    let folder = folder(&[("a", b"n\n1\n2"), ("b", b"n\n3\n")]);
    let mut running = start(folder.path(), &format, true);
    assert_eq!(running.all_rows().await, ["1", "2", "3"]);
    assert!(running.letters().is_empty());
}

#[tokio::test]
async fn files_that_come_later_are_taken_once() {
    let folder = folder(&[("a", b"1")]);
    let mut running = start(folder.path(), &Format::Lines, false);
    assert_eq!(running.rows(1).await, ["1"]);
    for (name, content) in [("b", "2"), ("c", "3"), ("b.again", "4")] {
        arrive(&folder.path().join(name), content);
        assert_eq!(running.rows(1).await, [content]);
    }
    // A name that was taken is no new file, whatever is written to it.
    fs::write(folder.path().join("a"), "again").unwrap();
    arrive(&folder.path().join("d"), "5");
    assert_eq!(running.rows(1).await, ["5"]);
    running.stop().await;
}

#[tokio::test]
async fn a_folder_that_is_not_there_yet() {
    let temp = TempDir::new().unwrap();
    let path = temp.path().join("later");
    let mut running = start(&path, &Format::Lines, false);
    running.until(|running| !running.faults().is_empty()).await;
    fs::create_dir(&path).unwrap();
    arrive(&path.join("a"), "1");
    assert_eq!(running.rows(1).await, ["1"]);
    assert_eq!(running.faults().len(), 1, "{:?}", running.faults());
    running.stop().await;
}

#[tokio::test]
async fn a_folder_that_is_renamed_into_a_glob_is_read_with_its_old_files_and_its_new_ones() {
    let folder = folder(&[("in/sub-1/a", b"1"), ("aside/old", b"2")]);
    let mut running = start(&folder.path().join("in/sub-*/*"), &Format::Lines, false);
    assert_eq!(running.rows(1).await, ["1"]);
    arrive(&folder.path().join("aside/new"), "3");
    fs::rename(folder.path().join("aside"), folder.path().join("in/sub-2")).unwrap();
    assert_eq!(running.rows(2).await, ["2", "3"]);
    running.stop().await;
}

#[test]
fn a_file_is_complete_when_it_rests() {
    let folder = folder(&[("old", b"1")]);
    let mut watch = Watch::new(folder.path());
    let mut taken = HashSet::new();
    let mut complete = || {
        let found = watch.complete(&|path| taken.contains(path)).unwrap();
        taken.retain(|path: &PathBuf| found.names.contains(path.to_str().unwrap()));
        taken.extend(found.complete.iter().cloned());
        found.complete
    };
    let nothing = [""; 0].map(PathBuf::from);
    let future = SystemTime::UNIX_EPOCH + Duration::from_secs(10_000_000_000);
    let growing = folder.path().join("growing");
    let grow = |content: &str| {
        fs::write(&growing, content).unwrap();
        File::options().write(true).open(&growing).unwrap().set_modified(future).unwrap();
    };
    grow("a");
    assert_eq!(complete(), nothing, "nothing is known before the second look");
    grow("ab");
    assert_eq!(complete(), [folder.path().join("old")]);
    assert_eq!(complete(), std::slice::from_ref(&growing));
    assert_eq!(complete(), nothing);
    // A name that was gone is a new file.
    fs::remove_file(&growing).unwrap();
    assert_eq!(complete(), nothing);
    grow("new");
    complete();
    assert_eq!(complete(), [growing]);
}

fn parquet_file(columns: Vec<(&str, ArrayRef)>) -> Vec<u8> {
    let batch = RecordBatch::try_from_iter(columns).unwrap();
    let mut bytes = Vec::new();
    let mut writer = ArrowWriter::try_new(&mut bytes, batch.schema(), None).unwrap();
    writer.write(&batch).unwrap();
    writer.close().unwrap();
    bytes
}

#[tokio::test]
async fn parquet_files() {
    let words: ArrayRef = Arc::new(StringArray::from(vec![Some("a"), None]));
    let small: ArrayRef = Arc::new(Int32Array::from(vec![1, 2]));
    let many: ArrayRef = Arc::new(Int64Array::from_iter_values(0..100_000));
    let texts: ArrayRef = Arc::new(StringArray::from_iter_values((0..100_000).map(|n| n.to_string())));

    let good = parquet_file(vec![("n", small.clone()), ("other", small.clone()), ("word.x", words.clone())]);
    let other_type = parquet_file(vec![("n", words.clone()), ("word.x", words.clone())]);
    let other_name = parquet_file(vec![("n", small), ("words", words)]);
    let large = parquet_file(vec![("n", many), ("word.x", texts)]);
    let mut torn = large.clone();
    // The header of the first page.
    torn[4..40].iter_mut().for_each(|byte| *byte = !*byte);
    let folder = folder(&[
        ("1", &good),
        ("2", &other_type),
        ("3", &other_name),
        ("4", b"no parquet"),
        ("5", &torn),
        ("6", &large),
    ]);
    let format = Format::Parquet(schema(&[("word.x", DataType::Utf8), ("n", DataType::Int64)]));
    let mut running = start(folder.path(), &format, true);
    let mut rows = running.all_rows().await;
    assert_eq!(rows[..2], ["a|1", "NULL|2"]);
    assert_eq!(rows.split_off(rows.len() - 100_000)[99_999], "99999|99999");

    let faults = running.faults();
    let parts = [("/2", "\"n\""), ("/3", "\"word.x\""), ("/4", "reading"), ("/5", "reading")];
    assert_eq!(faults.len(), parts.len(), "{faults:?}");
    for (fault, (file, reason)) in faults.iter().zip(parts) {
        assert!(fault.contains(file) && fault.contains(reason), "{fault}");
    }
}

#[tokio::test]
async fn a_stop_ends_the_reading_of_a_large_file() {
    let folder = folder(&[("a", &b"line\n".repeat(10_000_000))]);
    let mut running = start(folder.path(), &Format::Lines, true);
    running.block().await.unwrap();
    running.stop().await;
}

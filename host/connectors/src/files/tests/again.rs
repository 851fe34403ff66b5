//! Records are read again, and files are gone on with after a restart.

use millstream_engine::{InletSettings, Outlet};
use millstream_model::{Payload, Rejected};
use millstream_platform::{Randomness, Seeded};

use super::*;
use crate::testing::{Faults, lane, rows, settings};

/// A file and how it is read.
struct Case {
    name: &'static str,
    format: Format,
    content: Vec<u8>,
}

fn lines(name: &'static str, content: Vec<u8>) -> Case {
    Case { name, format: Format::Lines, content }
}

/// Every kind of file, some damaged.
fn cases() -> Vec<Case> {
    let text: Vec<u8> =
        (0..50_000).flat_map(|n| format!("line {n} {}\n", n * 7919 % 1013).into_bytes()).collect();
    let gzipped = gzip(&text);
    let mut flipped = gzipped.clone();
    flipped[gzipped.len() * 2 / 3] ^= 0x55;
    // A decompressor that comes to nonsense loses what it had made since it was last asked for more.
    let uniform: Vec<u8> =
        (0..60_000).flat_map(|n| format!("{:040}\n", n * 7919 % 11).into_bytes()).collect();
    let mut garbled = gzip(&uniform);
    let middle = garbled.len() * 2 / 3;
    garbled[middle..middle + 256].fill(0xff);
    let zstd = zstd::encode_all(&text[..], 1).unwrap();
    let too_long = b"x".repeat(RECORD_BYTES_MAX + 1);
    let numbers: ArrayRef = Arc::new(Int64Array::from_iter_values(0..100_000));
    let parquet = parquet_file(vec![("n", numbers)]);
    let columns = schema(&[("n", DataType::Int64)]);
    let csv = Format::Csv { schema: columns.clone(), header: true };
    let of_ten = |name, content| Case { name, format: Format::Records { length: 10 }, content };
    vec![
        of_ten("records", text[..100_003].to_vec()),
        of_ten("records.gz", gzip(&text[..200_000])),
        of_ten("records-flipped.gz", flipped.clone()),
        lines("empty", Vec::new()),
        lines("one", b"one".to_vec()),
        lines("open-end", b"one\ntwo\r\n\nlast".to_vec()),
        lines("many", text),
        lines("long", [b"one\n", &too_long[..], b"\nthree\n", &too_long, b"\nfive\n", &too_long].concat()),
        lines("cut-off.gz", gzipped[..gzipped.len() / 2].to_vec()),
        lines("flipped.gz", flipped),
        lines("garbled.gz", garbled),
        lines("whole.gz", gzipped),
        lines("cut-off.zst", zstd[..zstd.len() / 2].to_vec()),
        lines("whole.zst", zstd),
        Case { name: "columns", format: Format::Parquet(columns), content: parquet },
        Case { name: "header", format: csv, content: b"n\n1\n2\nthree\n4".to_vec() },
    ]
}

/// Every record as its number and what it is.
fn records(blocks: &[Block]) -> Vec<(u64, String)> {
    let contents = |block: &Block| match &block.payload {
        Payload::Lines(bytes) => {
            bytes.split_inclusive(|byte| *byte == b'\n').map(|line| line.escape_ascii().to_string()).collect()
        }
        Payload::Rows(batch) => rows(batch),
        Payload::Rejected(Rejected { error, record }) => vec![format!("{error}: {}", record.escape_ascii())],
    };
    let numbered = |block: &Block| {
        let contents = contents(block);
        assert_eq!(contents.len(), block.rows);
        (block.position.record..).zip(contents).collect::<Vec<_>>()
    };
    blocks.iter().flat_map(numbered).collect()
}

/// An inlet that takes everything.
fn inlet() -> (Inlet, Outlet) {
    Inlet::new(lane(), InletSettings { bytes_max: usize::MAX, ..settings(true) })
}

fn files(path: &Path, format: &Format) -> Files {
    Files::new(&spec(SourceKind::Files { path: located(path.to_owned()) }, format.clone()), path)
}

/// What is delivered of a file of which some was taken before, and what is told.
async fn deliver(path: &Path, format: &Format, taken: Option<Taken>) -> (Vec<Block>, Vec<String>) {
    let (faults, _guard) = Faults::listen();
    let (inlet, outlet) = inlet();
    files(path, format).deliver(&inlet, path, taken).await.unwrap();
    assert!(inlet.taken(path.to_str().unwrap()).unwrap().finished);
    (outlet.take().blocks, faults.lines())
}

fn stamp(path: &Path) -> String {
    Opened::open(path).unwrap().stamp
}

fn range(path: &Path, records: std::ops::Range<u64>) -> OriginRange {
    let origin = path.to_str().unwrap().to_owned();
    OriginRange { origin, stamp: stamp(path), records, finished: false, forgotten: false }
}

/// Random numbers from a seed that the environment may give.
fn random() -> Seeded {
    let given = std::env::var("MILLSTREAM_SEED").ok().and_then(|seed| seed.parse().ok());
    let seed = given.unwrap_or_else(|| millstream_platform::SystemRandomness.next_u64());
    eprintln!("MILLSTREAM_SEED={seed}");
    Seeded::new(seed)
}

/// A range within `0..count`; also the whole and those that are empty.
fn random_range(random: &Seeded, count: u64) -> std::ops::Range<u64> {
    let (a, b) = (random.below(count + 1), random.below(count + 1));
    a.min(b)..a.max(b)
}

#[tokio::test]
async fn what_is_read_again_is_what_was_delivered() {
    let random = random();
    for Case { name, format, content } in cases() {
        let folder = folder(&[(name, &content)]);
        let path = folder.path().join(name);
        let (blocks, _) = deliver(&path, &format, None).await;
        let delivered = records(&blocks);
        let count = delivered.len() as u64;
        let ends = [0..count, 0..1.min(count), count.saturating_sub(1)..count];
        for wanted in (0..10).map(|_| random_range(&random, count)).chain(ends) {
            let again = files(folder.path(), &format).read(&range(&path, wanted.clone())).await.unwrap();
            let expected = &delivered[wanted.start as usize..wanted.end as usize];
            assert!(records(&again) == expected, "{name}: records {wanted:?} are not what they were");
        }
    }
}

/// Why what is left of the case of that name is rejected, and what is told of its file.
async fn rejected(name: &str) -> (Vec<String>, Vec<String>) {
    let Case { format, content, .. } = cases().into_iter().find(|case| case.name == name).unwrap();
    let folder = folder(&[(name, &content)]);
    let (blocks, faults) = deliver(&folder.path().join(name), &format, None).await;
    let reason = |block: &Block| match &block.payload {
        Payload::Rejected(Rejected { error, .. }) => Some(error.clone()),
        _ => None,
    };
    (blocks.iter().filter_map(reason).collect(), faults)
}

#[tokio::test]
async fn a_record_that_is_not_whole_says_whether_the_file_ended_or_what_broke_it_off() {
    let (letters, faults) = rejected("records").await;
    assert!(matches!(&letters[..], [letter] if letter.contains("ends after 3 of")), "{letters:?}");
    assert!(faults.is_empty(), "{faults:?}");
    let (letters, faults) = rejected("records-flipped.gz").await;
    let ([letter], [fault]) = (&letters[..], &faults[..]) else { panic!("{letters:?}, {faults:?}") };
    let (_, reason) = letter.split_once(": ").unwrap();
    assert!(fault.contains(reason) && !letter.contains("ends after"), "{letter}; {fault}");
}

#[tokio::test]
async fn a_file_that_was_taken_in_part_goes_on_behind_that() {
    let random = random();
    for Case { name, format, content } in cases() {
        let folder = folder(&[(name, &content)]);
        let path = folder.path().join(name);
        let (blocks, faults) = deliver(&path, &format, None).await;
        let delivered = records(&blocks);
        for first in [0, delivered.len() as u64, random.below(delivered.len() as u64 + 1)] {
            let taken = Taken { stamp: stamp(&path), records: first, finished: false };
            let (rest, told) = deliver(&path, &format, Some(taken)).await;
            assert!(records(&rest) == delivered[first as usize..], "{name}: from record {first}");
            assert_eq!(told.len(), faults.len(), "{name}: {told:?}");
        }
    }
}

#[tokio::test]
async fn a_file_that_was_written_to_meanwhile_gives_its_rest() {
    let cases: [(&[u8], u64, &[&str], &str); 4] = [
        (b"one\ntwo\nthree\nfour\n", 3, &["four\\n"], "written to after 3"),
        // The last record was taken before its line feed came.
        (b"one\ntwo, longer\nthree\n", 2, &["three\\n"], "written to after 2"),
        (b"one\n", 3, &[], "holds 1 records"),
        (b"", 1, &[], "holds 0 records"),
    ];
    for (content, taken, expected, fault) in cases {
        let folder = folder(&[("a", content)]);
        let taken = Taken { stamp: "another".to_owned(), records: taken, finished: false };
        let (blocks, faults) = deliver(&folder.path().join("a"), &Format::Lines, Some(taken)).await;
        let contents: Vec<_> = records(&blocks).into_iter().map(|(_, content)| content).collect();
        assert_eq!(contents, expected);
        assert!(faults.iter().any(|told| told.contains(fault)), "{fault}: {faults:?}");
    }
}

#[tokio::test]
async fn records_that_are_not_there_any_more_are_refused() {
    let folder = folder(&[("a", b"one\ntwo\n"), ("b", b"one\n"), ("c", b"no zst"), ("d", b"no parquet")]);
    let path = |name| folder.path().join(name);
    let gone = OriginRange { origin: path("gone").to_str().unwrap().to_owned(), ..range(&path("a"), 0..1) };
    let written = range(&path("b"), 0..1);
    set_modified(&path("b"), 5);
    let parquet = Format::Parquet(schema(&[("n", DataType::Int64)]));
    let cases = [
        (gone, Format::Lines, "gone"),
        (written, Format::Lines, "written to"),
        (range(&path("a"), 1..3), Format::Lines, "holds 2 records"),
        (range(&path("d"), 0..1), parquet, "after 0 records"),
    ];
    for (range, format, reason) in cases {
        match files(folder.path(), &format).read(&range).await {
            Err(SourceError::Refused(told)) => {
                assert!(told.contains(reason) && told.contains("checkpoint"), "{told}");
            }
            other => panic!("{reason}: {other:?}"),
        }
    }
}

#[tokio::test]
async fn a_range_without_records_needs_no_file() {
    let gone = OriginRange {
        origin: "/gone".to_owned(),
        stamp: String::new(),
        records: 7..7,
        finished: true,
        forgotten: false,
    };
    assert!(files(Path::new("/gone"), &Format::Lines).read(&gone).await.unwrap().is_empty());
}

/// Runs a source of the files in `folder` once; gives what it delivers.
async fn run(folder: &Path, inlet: &Inlet, outlet: &Outlet) -> Vec<String> {
    files(folder, &Format::Lines).run(inlet.clone()).await.unwrap();
    records(&outlet.take().blocks).into_iter().map(|(_, content)| content).collect()
}

#[tokio::test]
async fn finished_files_are_not_taken_again_for_as_long_as_they_are_there() {
    let folder = folder(&[("a", b"one"), ("b", b"two")]);
    let (inlet, outlet) = inlet();
    let name = |name: &str| folder.path().join(name).to_str().unwrap().to_owned();
    inlet.open(&name("a"), "as it was");
    inlet.finish(&name("a"));
    assert_eq!(run(folder.path(), &inlet, &outlet).await, ["two"]);
    assert_eq!(inlet.origins(), [name("a"), name("b")]);
    assert_eq!(run(folder.path(), &inlet, &outlet).await, [""; 0]);

    fs::remove_file(name("a")).unwrap();
    assert_eq!(run(folder.path(), &inlet, &outlet).await, [""; 0]);
    assert_eq!(inlet.origins(), [name("b")]);
    fs::write(name("a"), "new").unwrap();
    assert_eq!(run(folder.path(), &inlet, &outlet).await, ["new"]);
}

#[tokio::test]
async fn nothing_is_forgotten_when_the_folder_cannot_be_read() {
    let folder = folder(&[("a", b"one")]);
    let (inlet, outlet) = inlet();
    assert_eq!(run(folder.path(), &inlet, &outlet).await, ["one"]);
    assert_eq!(run(&folder.path().join("gone"), &inlet, &outlet).await, [""; 0]);
    assert_eq!(inlet.origins().len(), 1);
}

#[tokio::test]
async fn origins_hold_from_every_working_directory() {
    let folder = tempfile::Builder::new().tempdir_in(".").unwrap();
    fs::write(folder.path().join("a"), "one").unwrap();
    let relative = Path::new(".").join(folder.path().file_name().unwrap());
    let (inlet, outlet) = inlet();
    assert_eq!(run(&relative, &inlet, &outlet).await, ["one"]);
    let [origin] = &inlet.origins()[..] else { panic!("one file was taken") };
    assert!(Path::new(origin).is_absolute());
    let absolute = relative.canonicalize().unwrap();
    assert_eq!(run(&absolute, &inlet, &outlet).await, [""; 0], "it is the same file");
}

#[cfg(unix)]
#[tokio::test]
async fn a_name_that_is_not_utf8_is_told_of_once() {
    use std::os::unix::ffi::OsStrExt;
    let folder = folder(&[("a", b"one")]);
    let name = std::ffi::OsStr::from_bytes(b"\xff");
    fs::write(folder.path().join(name), "never").unwrap();
    let (faults, _guard) = Faults::listen();
    let (inlet, outlet) = inlet();
    assert_eq!(run(folder.path(), &inlet, &outlet).await, ["one"]);
    assert_eq!(run(folder.path(), &inlet, &outlet).await, [""; 0]);
    assert!(matches!(&faults.lines()[..], [told] if told.contains("UTF-8")), "{:?}", faults.lines());
}

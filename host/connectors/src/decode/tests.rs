use arrow::array::{ArrayRef, Int64Array, StringViewArray};
use bytes::Bytes;
use millstream_model::{DataType, Position, Schema};

use super::*;
use crate::testing::{rows, schema};

/// Decodes `text` as a block that begins at record `first`; gives its rows, and its letters as `position: error`.
fn decode_at(format: &Format, first: u64, text: &[u8]) -> (Vec<String>, Vec<DeadLetter>) {
    let count = text.split_inclusive(|byte| *byte == b'\n').count();
    let position = Position { origin: "file".into(), record: first };
    let block = Block::lines(Bytes::copy_from_slice(text), count, position);
    let mut letters = Vec::new();
    let decoder = decoder("in", format);
    let batch = decoder.decode(&block, &mut |letter| letters.push(letter));
    assert_eq!(batch.schema(), decoder.schema());
    assert_eq!(decoder.records(&block).len(), batch.num_rows(), "each row is of a record");
    (rows(&batch), letters)
}

/// Checks the rows, and for each letter its record and a part of its reason.
#[track_caller]
fn check(format: &Format, text: &[u8], expected: &[&str], rejected: &[(u64, &str)]) {
    let (rows, letters) = decode_at(format, 1, text);
    assert_eq!(rows, expected, "rows of {:?}", text.escape_ascii().to_string());
    let found: Vec<_> =
        letters.iter().map(|letter| (letter.position.record, letter.error.as_str())).collect();
    assert_eq!(found.len(), rejected.len(), "letters {found:?}");
    for ((record, error), (expected, part)) in found.into_iter().zip(rejected) {
        assert_eq!(record, *expected, "{error}");
        assert!(error.contains(part), "\"{error}\" should tell of \"{part}\"");
    }
}

#[test]
fn rows_are_of_the_records_that_are_left() {
    let with_header = Format::Csv { schema: schema(&[("name", DataType::Utf8)]), header: true };
    let cases: [(&Format, u64, &[u8], &[u64]); 7] = [
        (&Format::Lines, 0, b"a\n\nb\n", &[0, 1, 2]),
        (&Format::Lines, 9, b"a\n\xff\nb\n", &[0, 2]),
        (&json(), 0, b"{}\n\n{\n{}\n", &[0, 3]),
        (&csv(), 5, b"a,1,2,\n\nb,x,2,\n\nc,1,1,\n", &[0, 4]),
        (&with_header, 0, b"name\na\n\nb\n", &[1, 3]),
        (&with_header, 0, b"other\na\n", &[1]),
        (&with_header, 4, b"a\n\nb\n", &[0, 2]),
    ];
    for (format, first, text, expected) in cases {
        let position = Position { origin: "file".into(), record: first };
        let rows = text.split_inclusive(|byte| *byte == b'\n').count();
        let block = Block::lines(Bytes::copy_from_slice(text), rows, position);
        assert_eq!(decoder("in", format).records(&block), expected, "{:?}", text.escape_ascii().to_string());
    }
}

fn json() -> Format {
    Format::Json(columns())
}

fn csv() -> Format {
    Format::Csv { schema: columns(), header: false }
}

fn columns() -> Schema {
    schema(&[
        ("name", DataType::Utf8),
        ("count", DataType::Int64),
        ("share", DataType::Float64),
        ("at", DataType::Timestamp),
    ])
}

#[test]
fn lines() {
    let check =
        |text: &[u8], rows: &[&str], rejected: &[(u64, &str)]| check(&Format::Lines, text, rows, rejected);
    check(b"", &[], &[]);
    check(b"\n", &[""], &[]);
    check(b"one\ntwo\n", &["one", "two"], &[]);
    check(b"one\n\nlast", &["one", "", "last"], &[]);
    check(b"one\r\n\r\ntwo\r", &["one", "", "two"], &[]);
    check(b"twelve bytes\nthirteen byte\n", &["twelve bytes", "thirteen byte"], &[]);
    check("zwölf\nund länger als zwölf\n".as_bytes(), &["zwölf", "und länger als zwölf"], &[]);
    check(b"good\n\xff\nfine\n", &["good", "fine"], &[(2, "not UTF-8")]);
    // A character cut by a line feed is no character, in neither of its lines.
    check(b"\xc3\n\xa4\nwhole", &["whole"], &[(1, "not UTF-8"), (2, "not UTF-8")]);
}

#[test]
fn lines_share_the_blocks_bytes() {
    let text = "a line that is too long for a view\n".repeat(1000);
    let position = Position { origin: "file".into(), record: 0 };
    let block = Block::lines(Bytes::from(text.clone()), 1000, position);
    let batch = decoder("in", &Format::Lines).decode(&block, &mut |_| panic!("all are good"));
    assert!(batch.column(0).to_data().validate_full().is_ok());
    let Payload::Lines(bytes) = block.payload else { panic!("the block holds lines") };
    let column = arrow::array::AsArray::as_string_view(batch.column(0));
    assert_eq!(column.data_buffers()[0].as_ptr(), bytes.as_ptr());
}

#[test]
fn json_objects() {
    let check =
        |text: &str, rows: &[&str], rejected: &[(u64, &str)]| check(&json(), text.as_bytes(), rows, rejected);
    check("", &[], &[]);
    check("\n \n\r\n", &[], &[]);
    check(
        r#"{"name":"a","count":1,"share":0.5,"at":"2024-01-02T03:04:05Z"}"#,
        &["a|1|0.5|2024-01-02T03:04:05"],
        &[],
    );
    check(
        r#"{"at":"2024-01-02T03:04:05.000006+02:00"}"#,
        &["NULL|NULL|NULL|2024-01-02T01:04:05.000006"],
        &[],
    );
    check(r#"{"at":1000000}"#, &["NULL|NULL|NULL|1970-01-01T00:00:01"], &[]);
    check(r#"{"other":[1,{"x":2}],"name":null,"count":2}"#, &["NULL|2|NULL|NULL"], &[]);
    check("{}\n\n{\"name\":\"\"}\r\n", &["NULL|NULL|NULL|NULL", "|NULL|NULL|NULL"], &[]);
    check(
        "{\"count\":1}\n{\"count\":\n{\"count\":3}\n",
        &["NULL|1|NULL|NULL", "NULL|3|NULL|NULL"],
        &[(2, "reading")],
    );
    check(
        "{\"count\":1.9}\n{\"count\":1e30}\n{\"count\":3.0}\n",
        &["NULL|1|NULL|NULL", "NULL|3|NULL|NULL"],
        &[(2, "1e30")],
    );
    check("{\"count\":\"many\"}\n{\"count\":3}\n", &["NULL|3|NULL|NULL"], &[(1, "many")]);
    check(
        "[1]\nnull\n7\n\"x\"\nnonsense\n{\"count\":3}",
        &["NULL|3|NULL|NULL"],
        &[(1, ""), (2, ""), (3, ""), (4, ""), (5, "")],
    );
    check("{\"count\":1}{\"count\":2}\n{\"count\":3}", &["NULL|3|NULL|NULL"], &[(1, "more than one")]);
    // An object over two lines is two broken records, though both together would parse.
    check("{\"count\":1,\n\"name\":\"b\"}\n{\"count\":3}", &["NULL|3|NULL|NULL"], &[(1, ""), (2, "")]);
}

#[test]
fn json_that_is_not_utf8_or_very_deep() {
    check(&json(), b"{\"name\":\"\xff\"}\n{\"count\":3}", &["NULL|3|NULL|NULL"], &[(1, "")]);
    let deep = format!("{{\"other\":{}1{}}}\n{{\"count\":3}}", "[".repeat(100_000), "]".repeat(100_000));
    check(&json(), deep.as_bytes(), &["NULL|NULL|NULL|NULL", "NULL|3|NULL|NULL"], &[]);
    let nested = Format::Json(schema(&[("list", DataType::List(Box::new(DataType::Utf8)))]));
    check(&nested, b"{\"list\":[\"a\",null]}\n{\"list\":3}", &["[a, NULL]"], &[(2, "list")]);
}

#[test]
fn json_without_nulls() {
    let format = Format::Json(Schema::new([millstream_model::Field::new("count", DataType::Int64)]));
    check(
        &format,
        b"{\"count\":1}\n{}\n{\"count\":null}\n{\"count\":4}",
        &["1", "4"],
        &[(2, "null"), (3, "null")],
    );
}

#[test]
fn many_bad_records_among_good_ones() {
    let text: String = (0..1000)
        .map(|n| if n % 7 == 0 { "broken\n".to_owned() } else { format!("{{\"count\":{n}}}\n") })
        .collect();
    let (rows, letters) = decode_at(&json(), 0, text.as_bytes());
    let numbers: Vec<u64> = letters.iter().map(|letter| letter.position.record).collect();
    assert_eq!(numbers, (0..1000).step_by(7).collect::<Vec<_>>());
    assert_eq!(rows.len(), 1000 - numbers.len());
    assert!(letters.iter().all(|letter| letter.record == b"broken" && letter.source == "in"));
}

#[test]
fn csv_records() {
    let check =
        |text: &str, rows: &[&str], rejected: &[(u64, &str)]| check(&csv(), text.as_bytes(), rows, rejected);
    check("", &[], &[]);
    check("\r\n\n", &[], &[]);
    check("a,1,0.5,2024-01-02T03:04:05Z\n", &["a|1|0.5|2024-01-02T03:04:05"], &[]);
    check("a,1,0.5,1000000", &["a|1|0.5|1970-01-01T00:00:01"], &[]);
    check("\n,,,\r\n\nb,2,,\r\n", &["NULL|NULL|NULL|NULL", "b|2|NULL|NULL"], &[]);
    check("\"x, \"\"y\"\"\",1,,\n", &["x, \"y\"|1|NULL|NULL"], &[]);
    check("a,1\nb,2,,\nc,3,,,,\n", &["b|2|NULL|NULL"], &[(1, "expected 4"), (3, "expected 4")]);
    check(
        "a,one,,\nb,2,,\nc,3,much,\nd,4,,soon\n",
        &["b|2|NULL|NULL"],
        &[(1, "one"), (3, "much"), (4, "soon")],
    );
    check("\"a\nb\",2,,\nc,3,,\n", &["c|3|NULL|NULL"], &[(1, "line break"), (2, "line break")]);
    check("c,3,,\n\"a\n", &["c|3|NULL|NULL"], &[(2, "line break")]);
    check("a,1,,\rb,2,,\nc,3,,\n", &["c|3|NULL|NULL"], &[(1, "more than one")]);
}

#[test]
fn csv_without_nulls() {
    let column = |name, data_type| millstream_model::Field::new(name, data_type);
    let schema = Schema::new([column("name", DataType::Utf8), column("count", DataType::Int64)]);
    let format = Format::Csv { schema, header: false };
    check(&format, b",1\nb,\nc,3\n", &["|1", "c|3"], &[(2, "count")]);
}

#[test]
fn csv_header_is_the_first_record_of_its_origin() {
    let columns = [("name", DataType::Utf8), ("count", DataType::Int64)];
    let format = Format::Csv { schema: schema(&columns), header: true };
    let cases: [(u64, &str, &[&str], &[u64]); 5] = [
        (0, "name,count\na,1\n", &["a|1"], &[]),
        (0, "\"name\", count\r\na,1", &["a|1"], &[]),
        (0, "count,name\na,1\n", &["a|1"], &[0]),
        (0, "name,count", &[], &[]),
        (5, "name,1\na,1\n", &["name|1", "a|1"], &[]),
    ];
    for (first, text, expected, rejected) in cases {
        let (rows, letters) = decode_at(&format, first, text.as_bytes());
        let letters: Vec<_> = letters.iter().map(|letter| letter.position.record).collect();
        assert_eq!(
            (&rows[..], &letters[..]),
            (&expected.iter().map(|r| r.to_string()).collect::<Vec<_>>()[..], rejected)
        );
    }
}

#[test]
fn rows_are_found_by_their_columns_names_and_those_that_lack_one_are_rejected() {
    let new = schema(&[("a", DataType::Int64), ("b", DataType::Utf8)]);
    let decoder = decoder("in", &Format::Rows(new));
    let position = Position { origin: "p.f".into(), record: 7 };
    let block = |columns: &[(&str, DataType)]| {
        let arrow = Arc::new(schema(columns).to_arrow());
        let column = |data_type: &DataType| -> ArrayRef {
            match data_type {
                DataType::Int64 => Arc::new(Int64Array::from(vec![1, 2])),
                _ => Arc::new(StringViewArray::from(vec!["x", "y"])),
            }
        };
        let columns = columns.iter().map(|(_, data_type)| column(data_type)).collect();
        let rows = RecordBatch::try_new(arrow, columns).unwrap();
        Block { rows: 2, payload: Payload::Rows(rows), position: position.clone(), resume: None }
    };
    let older = block(&[("c", DataType::Int64), ("b", DataType::Utf8), ("a", DataType::Int64)]);
    let decoded = decoder.decode(&older, &mut |letter| panic!("{letter:?}"));
    assert_eq!(rows(&decoded), ["1|x", "2|y"]);
    for wrong in [block(&[("a", DataType::Int64)]), block(&[("a", DataType::Utf8), ("b", DataType::Utf8)])] {
        let mut letters = Vec::new();
        assert_eq!(decoder.decode(&wrong, &mut |letter| letters.push(letter)).num_rows(), 0);
        assert_eq!(letters.iter().map(|letter| letter.position.record).collect::<Vec<_>>(), [7, 8]);
    }
}

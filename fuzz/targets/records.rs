//! Bytes of a connection or a file: cut into records, and read as lines, JSON and CSV.
#![no_main]

use std::path::Path;
use std::sync::{Arc, LazyLock};

use libfuzzer_sys::fuzz_target;
use millstream_connectors::{cut, decoder};
use millstream_engine::Decoder;
use millstream_model::Payload;
use millstream_pipeline::parse;

const PIPELINE: &str = r#"
name = "records"
batch-interval = "1s"
[sources.lines]
type = "files"
path = "lines"
[sources.json]
type = "files"
path = "json"
format = "json"
schema = { text = "utf8", number = "int64", list = "list<float64>", at = "timestamp", is = "boolean" }
[sources.csv]
type = "files"
path = "csv"
format = "csv"
schema = { text = "utf8", number = "int64", fraction = "float64", at = "timestamp", is = "boolean" }
[streams.all]
sql = "SELECT value FROM lines"
[sinks.screen]
from = "all"
type = "print"
"#;

static DECODERS: LazyLock<Vec<Arc<dyn Decoder>>> = LazyLock::new(|| {
    let pipeline = parse(Path::new("pipeline.toml"), PIPELINE).expect("the file is right");
    pipeline.sources.iter().map(decoder).collect()
});

fuzz_target!(|bytes: &[u8]| {
    let Some((sizes, bytes)) = bytes.split_at_checked(4) else { return };
    let blocks = cut(bytes, sizes);
    let cut: Vec<u8> = blocks
        .iter()
        .filter_map(|block| match &block.payload {
            Payload::Lines(lines) => Some(lines.to_vec()),
            _ => None,
        })
        .flatten()
        .collect();
    assert_eq!(cut, bytes, "all bytes are in blocks, in order");
    for block in &blocks {
        for decoder in DECODERS.iter() {
            let mut rejected = 0;
            let rows = decoder.decode(block, &mut |_| rejected += 1);
            assert!(rows.num_rows() + rejected <= block.rows, "a record is a row or a dead letter");
            rows.columns().iter().for_each(|column| column.to_data().validate_full().expect("it is whole"));
        }
    }
});

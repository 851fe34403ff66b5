//! Any composition of operations gives what a simple model of them gives, whatever batches a restart comes after.
//!
//! A composition is drawn by chance: streams that read sources and streams before them, and rows for the sources. The
//! model has the whole history of every stream and computes each batch from it anew; the pipeline goes through the engine,
//! which ends after batches by chance as by a crash. `MILLSTREAM_SEED=n` runs one composition again.

mod model;
mod operation;

use std::fmt::Write;

use millstream_platform::Seeded;

use crate::support::{Project, stderr, stdout};
use model::{BATCHES, Rows, Stream};

/// Compositions of one pipeline file. Each has a test of its own.
const TOGETHER: u64 = 4;
const FILES: u64 = 3;
const STREAMS: u64 = 14;
/// Compositions that once gave something else: windows shorter than their slide remembered keys between them.
const FOUND: &[u64] = &[156];

const HEAD: &str = r#"
name = "compositions"
batch-interval = "1s"
checkpoint = "checkpoint"
[plugins.text]
component = "{text}"
"#;

#[test]
fn any_composition_gives_what_the_model_gives_also_after_restarts() {
    let given = std::env::var("MILLSTREAM_SEED").ok().map(|seed| seed.parse::<u64>().unwrap());
    let files: Vec<Vec<u64>> = match given {
        Some(seed) => vec![vec![seed]],
        None => {
            let drawn = (0..FILES).map(|file| (file * TOGETHER..(file + 1) * TOGETHER).collect());
            drawn.chain([FOUND.to_vec()]).collect()
        }
    };
    for seeds in files {
        let (mut definitions, mut tests) = (HEAD.to_owned(), String::new());
        for seed in &seeds {
            let (streams, test) = composition(*seed);
            definitions += &streams;
            tests += &test;
        }
        let project = Project::new(&(definitions + &tests));
        let tested = project.run("test", &[]);
        assert!(tested.status.success(), "{}{}", stdout(&tested), stderr(&tested));
    }
}

/// The sources and streams of a composition, and its test.
fn composition(seed: u64) -> (String, String) {
    let chance = Seeded::new(seed);
    let mut text = String::new();
    let mut streams: Vec<Stream> = Vec::new();
    let mut given = String::new();
    for number in 0..2 {
        let source = format!("s{seed}-raw{number}");
        let rows = source_rows(&chance);
        writeln!(text, "[sources.{source}]\ntype = \"files\"\npath = \"{source}\"\nformat = \"json\"")
            .unwrap();
        writeln!(text, "schema = {{ word = \"utf8\", n = \"int64\" }}").unwrap();
        writeln!(given, "given.{source} = {}", batches(&rows)).unwrap();
        let stream = Stream {
            name: format!("s{seed}-in{number}"),
            slide: 1,
            tables: rows.into_iter().map(Some).collect(),
        };
        text += &normalized(&stream.name, &source, "word", "n");
        streams.push(stream);
    }
    for number in 0..STREAMS {
        let name = format!("s{seed}-x{number}");
        let (definition, stream) = operation::draw(&chance, &name, &streams);
        text += &definition;
        streams.push(stream);
    }
    let mut test = format!("[[tests]]\nname = \"MILLSTREAM_SEED={seed}\"\n{given}");
    for stream in &streams {
        let rows: Vec<Rows> = stream.tables.iter().map(|table| table.clone().unwrap_or_default()).collect();
        writeln!(test, "expect.{} = {}", stream.name, batches(&rows)).unwrap();
    }
    let restarts: Vec<_> =
        (1..=BATCHES).filter(|_| chance.chance(1, 4)).map(|batch| batch.to_string()).collect();
    writeln!(test, "restart-after = [{}]", restarts.join(", ")).unwrap();
    (text, test)
}

/// What a source is given. Its numbers are above zero.
fn source_rows(chance: &Seeded) -> Vec<Rows> {
    let row = |_| (["a", "b", "c", "d"][chance.below(4) as usize].to_owned(), 1 + chance.below(9) as i64);
    let batch = |_| (0..chance.below(5)).map(row).collect();
    (0..BATCHES).map(batch).collect()
}

/// A stream of the columns that all streams of a composition have, without nulls.
fn normalized(name: &str, from: &str, word: &str, n: &str) -> String {
    let columns = format!("coalesce({word}, '') AS word, coalesce({n}, 0) AS n");
    format!("[streams.{name}]\nsql = '''SELECT {columns} FROM \"{from}\"'''\n")
}

fn batches(rows: &[Rows]) -> String {
    let row = |(word, n): &(String, i64)| format!("{{ word = \"{word}\", n = {n} }}");
    let batch = |rows: &Rows| format!("[{}]", rows.iter().map(row).collect::<Vec<_>>().join(", "));
    format!("[{}]", rows.iter().map(batch).collect::<Vec<_>>().join(", "))
}

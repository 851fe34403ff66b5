//! What each function of the transforming kinds does when it is called.
//!
//! The groups: those that never answer, those whose answer breaks the contract, those that reach for the world outside,
//! those that miscount, and a few that behave, to show that a plugin's other functions and a fresh instance still work.

use std::hint::black_box;
use std::io::Write as _;

use crate::bindings::exports::millstream::plugin::description::FunctionKind::{self, Filter, FlatMap, Map};
use crate::bindings::exports::millstream::plugin::transform::{Answer, Expansion};
use crate::bindings::millstream::plugin::accumulators::add;
use crate::bindings::millstream::plugin::host::{self, Level};
use crate::bindings::millstream::plugin::types::{Column, Error, Lists, Table, Values, Varying};

type Call = fn(Table) -> Result<Answer, Error>;

pub(crate) struct Function {
    pub(crate) name: &'static str,
    pub(crate) kind: FunctionKind,
    pub(crate) call: Call,
}

const fn function(name: &'static str, kind: FunctionKind, call: Call) -> Function {
    Function { name, kind, call }
}

pub(crate) const FUNCTIONS: &[Function] = &[
    function("trap", Map, |_| core::arch::wasm32::unreachable()),
    function("panic", Map, |_| panic!("the plugin panics")),
    function("spin", Map, |_| spin()),
    function("grow", Map, |_| grow()),
    function("recurse", Map, |_| words([recurse(1).to_string()])),
    function("sleep", Map, |rows| sleep(&rows)),
    function("offsets-fall", Map, |rows| text(&rows, |offsets, _| offsets[1] = u32::MAX)),
    function("offsets-beyond", Map, |rows| {
        text(&rows, |offsets, data| {
            if let Some(last) = offsets.last_mut() {
                *last = u32::try_from(data.len()).unwrap_or(u32::MAX) + 1_000_000;
            }
        })
    }),
    function("offsets-short", Map, |rows| text(&rows, |offsets, _| offsets.truncate(offsets.len() - 1))),
    function("invalid-utf8", Map, |rows| text(&rows, |_, data| data.fill(0xFF))),
    function("split-character", Map, |rows| split_character(&rows)),
    function("wrong-type", Map, |rows| answer(rows.rows, Values::Int64(vec![0; rows.rows as usize]))),
    function("wrong-rows", Map, |rows| words(strings(&rows).skip(1))),
    function("missing-column", Map, |rows| {
        Ok(Answer::Rows(Table { rows: rows.rows, columns: vec![], items: vec![] }))
    }),
    function("origins-beyond", FlatMap, |rows| {
        expansion(&rows, |origins, rows| origins.fill(rows + 1_000_000))
    }),
    function("origins-fall", FlatMap, |rows| expansion(&rows, |origins, rows| origins[0] = rows - 1)),
    function("selection-short", Filter, |_| Ok(Answer::Selection(vec![]))),
    function("wrong-answer", Filter, |rows| same(&rows)),
    function("list-cycle", Map, |rows| list_cycle(&rows)),
    function("huge", Map, |rows| huge(&rows)),
    function("reject", Map, |_| Err(Error::Rejected("these rows are not to my taste".to_owned()))),
    function("unavailable", Map, |_| Err(Error::Unavailable("the world is away".to_owned()))),
    function("flood", Map, |rows| flood(&rows)),
    function("trap-on", Map, |rows| match strings(&rows).any(|value| value == "poison") {
        true => core::arch::wasm32::unreachable(),
        false => same(&rows),
    }),
    function("connect", Map, |rows| {
        repeat(&rows, std::net::TcpStream::connect("127.0.0.1:9").map(|_| "connected".to_owned()))
    }),
    function("read", Map, |rows| repeat(&rows, std::fs::read_to_string("/etc/passwd"))),
    function("environment", Map, |rows| {
        repeat(&rows, Ok(std::env::var("PATH").unwrap_or_else(|_| "none".to_owned())))
    }),
    function("names-flood", Map, |rows| count_names(&rows, 1_001)),
    function("names-many", Map, |rows| count_names(&rows, 1_000)),
    function("name-bad", Map, |rows| count(&rows, "not a name")),
    function("name-empty", Map, |rows| count(&rows, "")),
    function("name-of-the-host", Map, |rows| count(&rows, "well.skipped")),
    function("name-long", Map, |rows| count(&rows, &"x".repeat(65))),
    function("name-huge", Map, |rows| count(&rows, &"x".repeat(16 << 20))),
    function("count-beyond", Map, |rows| {
        add("most", i64::MAX);
        count(&rows, "most")
    }),
    function("count-below", Map, |rows| {
        add("least", i64::MIN);
        add("least", -1);
        same(&rows)
    }),
    function("count-and-trap", Map, |_| {
        add("rows", 1_000_000);
        core::arch::wasm32::unreachable()
    }),
    function("count-and-lie", Map, |_| {
        add("rows", 1_000_000);
        words([""; 0])
    }),
    function("count-and-reject", Map, |_| {
        add("rows", 1_000_000);
        Err(Error::Rejected("counted for nothing".to_owned()))
    }),
    function("count", Map, |rows| count(&rows, "rows")),
    function("count-but", Map, |rows| match strings(&rows).any(is_excepted) {
        true => core::arch::wasm32::unreachable(),
        false => count(&rows, "rows"),
    }),
    function("moment", Map, |rows| moment(&rows)),
    function("well", Map, |rows| words(strings(&rows).map(str::to_uppercase))),
];

pub(crate) fn spin() -> ! {
    let mut turns = 0_u64;
    loop {
        turns = black_box(turns.wrapping_add(1));
    }
}

pub(crate) fn grow() -> ! {
    let mut hoard = Vec::new();
    loop {
        hoard.push(black_box(vec![1_u8; 1 << 20]));
    }
}

/// Recursion that the compiler can neither end nor turn into a loop.
#[allow(unconditional_recursion, reason = "the stack is to overflow")]
fn recurse(depth: u64) -> u64 {
    let frame = black_box([depth; 64]);
    recurse(black_box(depth + 1)) + frame[63]
}

#[allow(clippy::disallowed_methods, reason = "a guest that sleeps is what is tested")]
fn sleep(rows: &Table) -> Result<Answer, Error> {
    std::thread::sleep(std::time::Duration::from_secs(3600));
    same(rows)
}

/// Answers with the only thing that differs between two runs of a batch.
#[allow(clippy::disallowed_methods, reason = "a guest that depends on the machine's clock is what is tested")]
fn moment(rows: &Table) -> Result<Answer, Error> {
    repeat(rows, Ok(format!("{:?}", std::time::Instant::now())))
}

/// Says 10 MiB to standard output and 10 MiB to the log, then answers as it should.
fn flood(rows: &Table) -> Result<Answer, Error> {
    let line = format!("{}\n", "x".repeat(1023));
    for _ in 0..10 * 1024 {
        // A host that refuses the output is as good as one that caps it.
        drop(std::io::stdout().write_all(line.as_bytes()));
        host::log(Level::Info, &line);
    }
    same(rows)
}

/// The input, counted row by row.
fn count(rows: &Table, name: &str) -> Result<Answer, Error> {
    (0..rows.rows).for_each(|_| add(name, 1));
    same(rows)
}

/// Whether a record, "KEY NUMBER" and more, has the number that is configured as "but".
fn is_excepted(record: &str) -> bool {
    host::config("but").as_deref() == record.split(' ').nth(1)
}

/// The input, counted under so many names.
fn count_names(rows: &Table, names: u32) -> Result<Answer, Error> {
    (0..names).for_each(|name| add(&name.to_string(), 1));
    same(rows)
}

/// Every value becomes `é`, and every offset but the first and the last falls into its middle.
fn split_character(rows: &Table) -> Result<Answer, Error> {
    let data = "é".repeat(rows.rows as usize).into_bytes();
    let offsets = (0..rows.rows).map(|row| row * 2 + u32::from(row > 0)).chain([rows.rows * 2]).collect();
    answer(rows.rows, Values::Utf8(Varying { offsets, data }))
}

/// Lists whose elements are lists of the same column.
fn list_cycle(rows: &Table) -> Result<Answer, Error> {
    let lists = || Column {
        validity: None,
        values: Values::List(Lists { offsets: (0..=rows.rows).collect(), item: 0 }),
    };
    Ok(Answer::Rows(Table { rows: rows.rows, columns: vec![lists()], items: vec![lists()] }))
}

/// 200 MiB of text in the first row.
fn huge(rows: &Table) -> Result<Answer, Error> {
    const SIZE: u32 = 200 << 20;
    let offsets = std::iter::once(0).chain((0..rows.rows).map(|_| SIZE)).collect();
    answer(rows.rows, Values::Utf8(Varying { offsets, data: vec![b'x'; SIZE as usize] }))
}

/// The values of the input, which the host vouches for.
pub(crate) fn strings(rows: &Table) -> impl Iterator<Item = &str> {
    let Values::Utf8(Varying { offsets, data }) = &rows.columns[0].values else {
        panic!("the input is text")
    };
    let range = |pair: &[u32]| pair[0] as usize..pair[1] as usize;
    offsets.windows(2).map(move |pair| std::str::from_utf8(&data[range(pair)]).expect("the input is UTF-8"))
}

pub(crate) fn varying(values: impl IntoIterator<Item: AsRef<str>>) -> Varying {
    let mut varying = Varying { offsets: vec![0], data: Vec::new() };
    for value in values {
        varying.data.extend_from_slice(value.as_ref().as_bytes());
        varying.offsets.push(u32::try_from(varying.data.len()).expect("the answer is small"));
    }
    varying
}

fn answer(rows: u32, values: Values) -> Result<Answer, Error> {
    Ok(Answer::Rows(table(rows, values)))
}

pub(crate) fn table(rows: u32, values: Values) -> Table {
    Table { rows, columns: vec![Column { validity: None, values }], items: vec![] }
}

/// A correct answer of these words, a row each.
fn words(words: impl IntoIterator<Item: AsRef<str>>) -> Result<Answer, Error> {
    let words = varying(words);
    answer(u32::try_from(words.offsets.len() - 1).expect("a chunk has few rows"), Values::Utf8(words))
}

/// The input unchanged.
fn same(rows: &Table) -> Result<Answer, Error> {
    words(strings(rows))
}

/// A word, or the error in its place, for every row.
fn repeat(rows: &Table, word: std::io::Result<String>) -> Result<Answer, Error> {
    let word = word.unwrap_or_else(|error| error.to_string());
    words((0..rows.rows).map(|_| &word))
}

/// The input with its buffers spoilt.
fn text(rows: &Table, spoil: fn(&mut Vec<u32>, &mut Vec<u8>)) -> Result<Answer, Error> {
    let mut words = varying(strings(rows));
    spoil(&mut words.offsets, &mut words.data);
    answer(rows.rows, Values::Utf8(words))
}

/// The input, each row twice, with its origins spoilt.
fn expansion(rows: &Table, spoil: fn(&mut Vec<u32>, u32)) -> Result<Answer, Error> {
    let words = varying(strings(rows).flat_map(|value| [value, value]));
    let mut origins = (0..rows.rows).flat_map(|row| [row, row]).collect();
    spoil(&mut origins, rows.rows);
    Ok(Answer::Expansion(Expansion { rows: table(rows.rows * 2, Values::Utf8(words)), origins }))
}

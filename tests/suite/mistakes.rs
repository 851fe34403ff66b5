//! Mistakes in pipeline files: each is refused with its place and its remedy, and none reaches `run`.

use crate::support::{Project, stderr, stdout};

/// A pipeline without a mistake. Line numbers below count in it.
const GOOD: &str = r#"name = "good"
batch-interval = "1s"

[plugins.text]
component = "{text}"

[sources.lines]
type = "files"
path = "in"

[sources.orders]
type = "files"
path = "orders"
format = "json"
schema = { user = "utf8", amount = "float64" }

[streams.words]
from = "lines"
flat-map = "text.split-words"

[streams.totals]
sql = "SELECT word, count(*) AS total FROM words GROUP BY word"

[sinks.screen]
from = "totals"
type = "print"

[sinks.out]
from = "words"
type = "files"
path = "out"
format = "text"

[[tests]]
name = "counts"
given.lines = [[{ value = "a b a" }]]
expect.totals = [[{ word = "a", total = 2 }, { word = "b", total = 1 }]]
"#;

/// What is replaced by what, and where (line, column) and with which words that is refused.
type Mistake = (&'static str, &'static str, (usize, usize), &'static str);

const FORM: &[Mistake] = &[
    ("batch-interval = \"1s\"", "batch-intervall = \"1s\"", (2, 1), "did you mean \"batch-interval\""),
    ("batch-interval = \"1s\"\n", "", (1, 1), "batch-interval"),
    ("\"1s\"", "\"1 second\"", (2, 18), "10ms, 1s or 5m"),
    ("\"1s\"", "1", (2, 18), "integer"),
    ("\"1s\"", "\"0s\"", (2, 18), ""),
    ("[plugins.text]", "[upgrade]\nmax-failure = 1\n[plugins.text]", (5, 1), "did you mean \"max-failures\""),
    ("[plugins.text]", "[upgrade]\nprobation = \"5\"\n[plugins.text]", (5, 13), "found a string"),
    ("type = \"files\"\npath = \"in\"", "type = \"file\"\npath = \"in\"", (8, 8), "did you mean \"files\""),
    ("path = \"in\"\n", "", (7, 10), "lacks \"path\""),
    ("format = \"json\"", "format = \"jsonl\"", (14, 10), "did you mean \"json\""),
    ("\"float64\"", "\"float\"", (15, 36), "float64"),
    ("[sources.orders]", "[sources.lines]", (11, 10), "duplicate key"),
    ("[streams.totals]", "[streams.orders]", (21, 10), "orders"),
    ("from = \"lines\"\nflat-map", "from = \"lines\"\nflatmap", (19, 1), "did you mean \"flat-map\""),
    ("flat-map = \"text.split-words\"", "flat-map = \"split-words\"", (19, 12), "plugin"),
    ("sql = \"SELECT", "filter = \"text.matches\"\nsql = \"SELECT", (23, 1), "a stream has one operation"),
    ("type = \"print\"", "type = \"print\"\nrows = \"ten\"", (27, 8), "expected a whole number"),
    ("name = \"good\"", "name = \"good", (1, 13), "invalid basic string"),
];

const MEANING: &[Mistake] = &[
    ("from = \"lines\"", "from = \"line\"", (18, 8), "did you mean \"lines\""),
    ("from = \"totals\"", "from = \"total\"", (25, 8), "did you mean \"totals\""),
    ("text.split-words", "text.split-word", (19, 12), "did you mean \"split-words\""),
    ("text.split-words", "test.split-words", (19, 12), "did you mean \"text\""),
    ("flat-map = \"text", "filter = \"text", (19, 10), "flat-map"),
    ("from = \"lines\"", "from = \"orders\"", (19, 12), "column"),
    ("from = \"lines\"", "from = \"totals\"", (17, 10), "→"),
    ("SELECT word,", "SELECT wrod,", (22, 15), "wrod"),
    ("FROM words", "FROM word", (22, 44), "did you mean \"words\""),
    ("GROUP BY word", "GROUP word", (22, 50), "found: GROUP"),
    ("{text}", "missing.wasm", (5, 13), "No such file"),
    ("{text}", "module.wasm", (5, 13), "core WebAssembly module, not a component"),
    ("{text}", "garbage.wasm", (5, 13), "not WebAssembly"),
    (
        "from = \"words\"\ntype = \"files\"",
        "from = \"totals\"\ntype = \"files\"",
        (29, 8),
        "text takes one utf8 column",
    ),
    ("given.lines", "given.line", (36, 7), "did you mean \"lines\""),
    ("value = \"a b a\"", "valeu = \"a b a\"", (36, 19), "value"),
    ("total = 2", "total = \"two\"", (37, 41), "is int64"),
    ("flat-map = \"text.split-words\"", "window = { length = \"1500ms\" }", (19, 21), "multiple"),
];

fn check(mistakes: &[Mistake]) {
    let wrong: Vec<String> = mistakes.iter().filter_map(|mistake| refusal(mistake).err()).collect();
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

/// Whether both commands refuse a mistake, `check` at its place.
fn refusal((original, mistake, (line, column), fragment): &Mistake) -> Result<(), String> {
    assert!(GOOD.contains(original), "{original}");
    let project = Project::new(&GOOD.replacen(original, mistake, 1));
    project.write("module.wasm", b"\0asm\x01\0\0\0");
    project.write("garbage.wasm", b"garbage");
    let checked = project.run("check", &[]);
    let said = stderr(&checked);
    let place = format!("pipeline.toml:{line}:{column}: ");
    let told = said.lines().find(|line| line.contains(&place) && line.contains(fragment));
    if checked.status.code() != Some(78) || told.is_none() {
        return Err(format!("{mistake:?}: not \"{fragment}\" at {line}:{column}, but {said}"));
    }
    let ran = project.run("run", &["--once"]);
    let silent = ran.status.code() == Some(78) && stdout(&ran).is_empty() && !project.path("out").exists();
    if silent { Ok(()) } else { Err(format!("{mistake:?} reaches run: {}", stderr(&ran))) }
}

#[test]
fn mistakes_of_form_are_refused_at_their_place() {
    check(FORM);
}

#[test]
fn mistakes_of_meaning_are_refused_at_their_place() {
    check(MEANING);
}

#[test]
fn all_mistakes_are_told_at_once() {
    let text = GOOD
        .replace("\"1s\"", "\"1 s\"")
        .replace("from = \"lines\"", "from = \"line\"")
        .replace("SELECT word", "SELECT wrod");
    let checked = Project::new(&text).run("check", &[]);
    let said = stderr(&checked);
    for place in [":2:18: ", ":18:8: "] {
        assert!(said.contains(place), "{place} in {said}");
    }
}

#[test]
fn the_file_without_a_mistake_is_passed() {
    let project = Project::new(GOOD);
    let checked = project.run("check", &[]);
    assert!(checked.status.success(), "{}", stderr(&checked));
    assert!(
        stdout(&checked).contains("1 plugin, 2 sources, 2 streams, 2 sinks, 1 test"),
        "{}",
        stdout(&checked)
    );
}

#[test]
fn a_file_that_is_not_there_is_told() {
    let checked = crate::support::millstream(&["check", "nowhere.toml"]);
    assert_eq!(checked.status.code(), Some(78));
    assert!(stderr(&checked).contains("nowhere.toml"));
}

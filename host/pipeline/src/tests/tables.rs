use std::path::Path;
use std::time::Duration;

use millstream_model::pipeline::{Pipeline, TableFormat};
use millstream_model::{DataType, Field, Schema};

use super::{check, check_whole};

const CUSTOMERS: &str = "[tables.customers]\npath = \"customers.csv\"\n";

/// A stream of states that begins with what the table `path` holds.
fn beginning(table: &str, initial: &str) -> String {
    format!(
        "checkpoint = \"c\"\n{table}[streams.counts]\nfrom = \"events\"\nupdate-state = {{ by = [\"user\"], function = \"text.count\", initial = \"{initial}\" }}\n"
    )
}

fn parse(tables: &str) -> Pipeline {
    let text = format!("{}{tables}{}", super::BEFORE, super::AFTER);
    crate::parse(Path::new("folder/pipeline.toml"), &text).unwrap()
}

#[tokio::test]
async fn what_tables_cannot_be() {
    let cases: &[(&str, &[&str])] = &[
        ("[tables.t]\nformat = \"csv\"", &["1:9 lacks \"path\""]),
        ("[tables.t]\npath = \"t.txt\"", &["2:8 write format = \"csv\""]),
        ("[tables.t]\npath = \"gz\"", &["2:8 write format = \"csv\""]),
        (
            "[tables.t]\npath = \"t.csv\"\nformat = \"lines\"",
            &["3:10 the table formats are csv, json, parquet"],
        ),
        ("[tables.t]\npath = \"t.csv\"\nheader = false", &["1:9 neither a header nor a \"schema\""]),
        ("[tables.t]\npath = \"states.json\"\nheader = true", &["3:1 only csv has one"]),
        ("[tables.t]\npath = \"t.csv\"\nschema = { a = \"list<int64>\" }", &["3:10 which csv cannot hold"]),
        ("[tables.t]\npath = \"t.csv\"\nrefresh = \"0s\"", &["3:11 more than nothing"]),
        ("[tables.t]\npath = \"customers.csv\"\nrefrsh = \"5m\"", &["3:1 did you mean \"refresh\"?"]),
        ("[tables.t]\npath = \"t.csv\"", &["2:8 table \"t\" cannot be read: no such file"]),
        ("[tables.lines]\npath = \"customers.csv\"", &["5:10 the name \"lines\" is taken"]),
        ("table-memory = \"0B\"\n", &["1:16 more than nothing"]),
    ];
    for (fragment, expected) in cases {
        check(fragment, expected).await;
    }
}

#[tokio::test]
async fn tables_are_joined_in_sql_and_nowhere_else() {
    let cases: &[(&str, &[&str])] = &[
        ("", &[]),
        ("[streams.a]\nsql = \"SELECT * FROM events JOIN customers USING (user)\"", &[]),
        ("[streams.a]\nsql = \"SELECT a.id FROM customers a JOIN customers b ON a.id = b.id, lines\"", &[]),
        (
            "[streams.w]\nfrom = \"events\"\nwindow = { length = \"2s\", slide = \"2s\" }\n[streams.a]\nsql = \"SELECT * FROM customers JOIN w USING (user)\"",
            &[],
        ),
        ("[streams.a]\nsql = \"SELECT idd FROM customers\"", &["4:15 idd"]),
        ("[streams.a]\nsql = \"SELECT id FROM customer\"", &["4:23 did you mean \"customers\"?"]),
        ("[streams.a]\nfrom = \"customers\"\nmap = \"text.shout\"", &["4:8 a table is joined in SQL"]),
        (
            "[streams.a]\nfrom = [\"events\", \"customers\"]\njoin = { on = [\"user\"] }",
            &["4:19 joined in SQL"],
        ),
        ("[streams.a]\nfrom = [\"customers\", \"events\"]", &["4:9 joined in SQL"]),
        ("[streams.a]\nfrom = \"customers\"\nmapp = 1", &["4:8 joined in SQL", "5:1 did you mean"]),
        ("[sinks.s]\nfrom = \"customers\"\ntype = \"print\"", &["4:8 joined in SQL"]),
        ("[[tests]]\nname = \"t\"\ngiven.customers = [[]]\nexpect.lines = [[]]", &["5:7 read from its file"]),
        ("[[tests]]\nname = \"t\"\nexpect.customers = [[]]", &["5:8 joined in SQL"]),
    ];
    for (fragment, expected) in cases {
        check(&format!("{CUSTOMERS}{fragment}"), expected).await;
    }
}

#[tokio::test]
async fn states_begin_with_a_table_that_has_their_columns() {
    let table = |path: &str| format!("[tables.opening]\npath = \"{path}\"\n");
    let states = table("states.json");
    let cases: &[(String, &str, &[&str])] = &[
        (states.clone(), "opening", &[]),
        (states.clone(), "openin", &["6:68 did you mean \"opening\"?"]),
        (states.clone(), "lines", &["6:68 is no table"]),
        (table("missing.json"), "opening", &["3:8 no such file"]),
        (table("nulls.json"), "opening", &["6:68 row 2 of the table \"opening\" has no \"user\""]),
        (
            table("twice.json"),
            "opening",
            &["6:68 row 2 of the table \"opening\" has the key of a row before"],
        ),
        (table("customers.csv"), "opening", &["6:68 has no column \"state\""]),
        (
            format!("{states}schema = {{ user = \"utf8\", state = \"utf8\" }}\n"),
            "opening",
            &["7:68 \"state\" of \"opening\" is utf8, and int64 is needed"],
        ),
    ];
    for (table, initial, expected) in cases {
        check(&beginning(table, initial), expected).await;
    }
}

#[test]
fn a_tables_format_is_what_its_path_or_its_key_says() {
    use TableFormat::{Csv, Json, Parquet};
    let cases = [
        ("path = \"t.csv\"", Csv { header: true }),
        ("path = \"t.CSV.gz\"", Csv { header: true }),
        ("path = \"t.json\"", Json),
        ("path = \"in/t.jsonl.zst\"", Json),
        ("path = \"t.ndjson\"", Json),
        ("path = \"t.parquet\"", Parquet),
        (
            "path = \"t.txt\"\nformat = \"csv\"\nheader = false\nschema = { a = \"utf8\" }",
            Csv { header: false },
        ),
        ("path = \"t.csv\"\nformat = \"json\"", Json),
    ];
    for (keys, format) in cases {
        let pipeline = parse(&format!("[tables.t]\n{keys}\nrefresh = \"5m\"\n"));
        let table = &pipeline.tables[0];
        assert_eq!((table.format, table.refresh), (format, Some(Duration::from_secs(300))), "{keys}");
        assert!(table.path.value.starts_with("folder"));
        assert_eq!(table.schema.is_some(), keys.contains("schema"), "{keys}");
    }
}

#[tokio::test]
async fn a_checked_pipeline_knows_the_columns_of_its_tables() {
    let text = format!("{}{CUSTOMERS}{}", super::BEFORE, super::AFTER);
    let checked = check_whole(&text).await.unwrap();
    let columns = Schema::new([Field::new("id", DataType::Int64), Field::new("user", DataType::Utf8)]);
    assert_eq!(checked.pipeline.tables[0].schema, Some(columns.clone()));
    assert_eq!(*checked.relations.schema("customers").unwrap(), columns.to_arrow());
}

use super::check;

#[tokio::test]
async fn calls() {
    let cases: &[(&str, &[&str])] = &[
        (
            "[streams.a]\nfrom = \"lines\"\nmap = \"text.split-words\"",
            &["3:7 write flat-map = \"text.split-words\""],
        ),
        ("[streams.a]\nfrom = \"lines\"\nmap = \"text.add\"", &["3:7 of the kind reduce"]),
        ("[streams.a]\nfrom = \"events\"\nflat-map = \"text.split-words\"", &["3:12 has no column \"line\""]),
        (
            "[streams.a]\nfrom = \"events\"\nmap = { function = \"text.scale\", columns = [\"amuont\"] }",
            &["3:45 did you mean \"amount\"?"],
        ),
        (
            "[streams.a]\nfrom = \"lines\"\nmap = { function = \"text.shout\", columns = [\"value\", \"value\"] }",
            &["3:45 given 2 columns"],
        ),
        ("[streams.a]\nfrom = \"events\"\nmap = \"text.scale\"", &["3:7 may hold nulls"]),
        (
            "[streams.a]\nfrom = \"lines\"\nmap = \"text.scale\"",
            &["3:7 it is utf8, and the input \"amount\" is float64"],
        ),
        (
            "[streams.a]\nfrom = \"lines\"\nmap = { function = \"text.shout\", keep-columns = true }",
            &["3:20 leave keep-columns out"],
        ),
    ];
    for (fragment, expected) in cases {
        check(fragment, expected).await;
    }
}

#[tokio::test]
async fn a_plugin_that_needs_what_it_is_not_granted_is_refused_with_the_line_to_write() {
    let cases: &[(&str, &[&str])] = &[
        (
            "[plugins.p]\ncomponent = \"needy.wasm\"",
            &[
                "1:10 write grant = { environment = [\"LANG\"] }",
                "1:10 plugin \"p\" needs http, for the rates",
                "1:10 write grant = { read = [",
            ],
        ),
        (
            "[plugins.p]\ncomponent = \"needy.wasm\"\n\
             grant = { http = [\"a.b\"], environment = [\"PATH\"], write = [\"out\"] }",
            &["1:10 for LANG"],
        ),
        // Whether it is granted is not known where the grant cannot be read.
        ("[plugins.p]\ncomponent = \"needy.wasm\"\ngrant = { http = [\"*\"] }", &["3:19 named by itself"]),
        (
            "[plugins.p]\ncomponent = \"needy.wasm\"\n\
             grant = { http = [\"a.b:81\", \"[::1]:8080\"], environment = [\"LANG\"], read = [\"d\"] }",
            &[],
        ),
    ];
    for (fragment, expected) in cases {
        check(fragment, expected).await;
    }
}

#[tokio::test]
async fn sql() {
    let cases: &[(&str, &[&str])] = &[
        ("[streams.a]\nsql = \"SELECT valeu FROM lines\"", &["2:15 valeu"]),
        ("[streams.a]\nsql = \"SELEC value FROM lines\"", &["2:8 SQL is wrong"]),
        ("[streams.a]\nsql = \"\"\"\nSELECT\n  valeu\nFROM lines\"\"\"", &["4:3 valeu"]),
        ("[streams.a]\nsql = \"\"\"SELECT \\\n   valeu FROM lines\"\"\"", &["3:4 valeu"]),
        ("[streams.a]\nsql = \"SELECT \\\"value\\\", valeu FROM lines\"", &["2:26 valeu"]),
        (
            "[streams.a-b]\nfrom = \"lines\"\nmap = \"text.shout\"\n[streams.c]\nsql = \"SELECT * FROM a-b\"",
            &["5:23 quoted in SQL: \"a-b\""],
        ),
        (
            "[streams.a]\nsql = \"SELECT value FROM line JOIN lines ON true\"",
            &["2:26 did you mean \"lines\"?"],
        ),
        (
            "[streams.a]\nfrom = \"events\"\naggregate = { by = [\"user\"], n = \"count(*)\", t = \"sum(\" }",
            &["3:55 aggregate is wrong"],
        ),
        ("[streams.b]\nsql = \"SELECT value FROM LINES\"", &["2:26 did you mean \"lines\"?"]),
        ("[streams.a]\nsql = \"SELECT 1; SELECT 2\"", &["2:7 one query is expected"]),
        ("[streams.a]\nsql = \"DROP TABLE lines\"", &["2:7 SQL is wrong"]),
        (
            "[streams.a]\nfrom = \"events\"\naggregate = { by = [\"usr\"], n = \"count(*)\" }",
            &["3:21 did you mean \"user\"?"],
        ),
        (
            "[streams.a]\nfrom = \"events\"\naggregate = { n = \"count(*)\", t = \"sum(amuont)\" }",
            &["3:40 amuont"],
        ),
        ("[streams.a]\nfrom = \"events\"\naggregate = { n = \"count(*), 1\" }", &["3:1 gives 2 columns"]),
        ("[streams.a]\nfrom = [\"lines\", \"events\"]", &["2:18 has other columns"]),
    ];
    for (fragment, expected) in cases {
        check(fragment, expected).await;
    }
}

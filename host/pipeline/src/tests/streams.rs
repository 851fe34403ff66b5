use super::check;

#[tokio::test]
async fn operations() {
    let cases: &[(&str, &[&str])] = &[
        ("[streams.a]\nfrom = \"lines\"", &["1:10 has no operation"]),
        (
            "[streams.a]\nfrom = \"lines\"\nmap = \"text.shout\"\nfilter = \"text.is-long\"",
            &["4:1 both \"map\" and \"filter\""],
        ),
        ("[streams.a]\nmap = \"text.shout\"", &["1:10 lacks \"from\""]),
        ("[streams.a]\nform = \"lines\"\nmap = \"text.shout\"", &["2:1 did you mean \"from\"?"]),
        (
            "[streams.a]\nfrom = \"lines\"\nflatmap = \"text.split-words\"",
            &["3:1 did you mean \"flat-map\"?"],
        ),
        ("[streams.a]\nfrom = []\nmap = \"text.shout\"", &["2:8 names nothing"]),
        ("[streams.a]\nfrom = [\"lines\", \"events\"]\nmap = \"text.shout\"", &["2:8 takes one input"]),
        ("[streams.a]\nfrom = \"lines\"\nsql = \"SELECT * FROM lines\"", &["2:1 takes no \"from\""]),
        ("[streams.a]\nfrom = \"lines\"\nmap = \"shout\"", &["3:7 write \"plugin.function\""]),
        (
            "[streams.a]\nfrom = \"lines\"\nmap = { function = \"text.shout\", colums = [] }",
            &["3:34 did you mean \"columns\"?"],
        ),
        (
            "[streams.a]\nfrom = \"lines\"\nfilter = { function = \"text.is-long\", keep-columns = true }",
            &["3:39 a filter keeps all columns"],
        ),
    ];
    for (fragment, expected) in cases {
        check(fragment, expected).await;
    }
}

#[tokio::test]
async fn reduces_windows_and_aggregates() {
    let cases: &[(&str, &[&str])] = &[
        (
            "[streams.a]\nfrom = \"line\"\nreduce = { function = \"text.add\" }",
            &["2:8 did you mean \"lines\"?"],
        ),
        (
            "[streams.a]\nfrom = \"lines\"\nwindow = { length = \"1500ms\", slide = \"2\" }",
            &["3:21 no multiple", "3:39 no duration"],
        ),
        (
            "[streams.a]\nfrom = \"events\"\nreduce = { function = \"text.split\", inverse = \"text.add\" }",
            &["3:23 has no function \"split\"", "3:37 add one, or leave it out"],
        ),
        ("[streams.a]\nfrom = \"lines\"\njoin = { on = [\"value\"] }", &["2:8 takes two streams"]),
        (
            "[streams.a]\nfrom = [\"lines\", \"events\"]\njoin = { on = [\"value\"], kind = \"outer\" }",
            &["3:33 there is no join \"outer\""],
        ),
        ("[streams.a]\nfrom = \"lines\"\nupdate-state = { function = \"text.add\" }", &["3:16 lacks \"by\""]),
        ("[streams.a]\nfrom = \"lines\"\nsnapshot = true", &["3:1 \"lines\" has no states"]),
        ("[streams.a]\nfrom = \"lines\"\nrepartition = { partitions = 0 }", &["3:30 above zero"]),
        (
            "[streams.a]\nfrom = \"lines\"\nwindow = { length = \"2s\", slide = \"2s\" }\n[streams.b]\nfrom = [\"a\", \"lines\"]",
            &["5:14 \"lines\" every 1000ms"],
        ),
        (
            "[streams.a]\nfrom = \"lines\"\nmap = \"text.shout\"\npersist = \"memory\"",
            &["4:11 not supported"],
        ),
        (
            "[streams.a]\nfrom = \"lines\"\nmap = \"text.shout\"\non-error = \"skpi\"",
            &["4:12 did you mean \"skip\"?"],
        ),
        (
            "[streams.a]\nsql = \"SELECT value FROM lines\"\non-error = \"skip\"",
            &["3:1 takes no \"on-error\": it calls no function"],
        ),
        ("[streams.a]\nfrom = \"lines\"\naggregate = { by = [\"value\"] }", &["3:13 has no output"]),
        (
            "[streams.a]\nfrom = \"lines\"\naggregate = { by = [\"value\"], value = \"count(*)\" }",
            &["3:39 name of a column of the key"],
        ),
        ("[streams.lines]\nfrom = \"events\"\naggregate = { n = \"count(*)\" }\n", &["7:10 taken at line 3"]),
    ];
    for (fragment, expected) in cases {
        check(fragment, expected).await;
    }
}

#[tokio::test]
async fn names() {
    let cases: &[(&str, &[&str])] = &[
        ("[streams.a]\nfrom = \"line\"\nmap = \"text.shout\"", &["2:8 did you mean \"lines\"?"]),
        (
            "[streams.a]\nfrom = \"b\"\nfilter = \"text.is-long\"\n[streams.b]\nfrom = \"a\"\nfilter = \"text.is-long\"",
            &["1:10 a → b → a"],
        ),
        ("[streams.a]\nfrom = [\"a\", \"lines\"]", &["1:10 a → a"]),
        (
            "[streams.a]\nfrom = \"nowhere\"\nmap = \"text.shout\"\n[streams.b]\nfrom = \"a\"\nmap = \"text.nothing\"",
            &["2:8 \"nowhere\", which does not exist"],
        ),
        ("[streams.a]\nsql = \"SELECT value FROM line\"", &["2:26 did you mean \"lines\"?"]),
        ("[streams.a]\nfrom = \"lines\"\nmap = \"txt.shout\"", &["3:7 did you mean \"text\"?"]),
        ("[streams.a]\nfrom = \"lines\"\nmap = \"text.shuot\"", &["3:7 did you mean \"shout\"?"]),
        (
            "[plugins.p]\ncomponent = 5\n[streams.a]\nfrom = \"lines\"\nmap = \"p.shout\"",
            &["2:13 expected a path"],
        ),
    ];
    for (fragment, expected) in cases {
        check(fragment, expected).await;
    }
}

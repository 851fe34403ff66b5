use super::check;

#[tokio::test]
async fn settings() {
    let cases: &[(&str, &[&str])] = &[
        ("max-batch-row = 5\n", &["1:1 did you mean \"max-batch-rows\"?"]),
        ("max-batch-rows = 0\n", &["1:18 a whole number above zero, found 0"]),
        ("max-batch-rows = \"5\"\n", &["1:18 found a string"]),
        ("receive-memory = \"5MB\"\n", &["1:18 no size"]),
        ("checkpoint = 5\n", &["1:14 expected a path, found an integer"]),
        ("backpressure = 1\n", &["1:16 true or false"]),
        (
            "backpressure = { min-rate = 0, proportinal = 1 }\n",
            &["1:29 above zero", "1:32 did you mean \"proportional\"?"],
        ),
        ("backpressure = { integral = -1 }\n", &["1:29 not below zero"]),
        ("concurrent-batches = 1000\n", &["1:22 at most 64"]),
        ("on-failure = \"stopp\"\n", &["1:14 did you mean \"stop\"?"]),
        ("catch-up = \"none\"\n", &["1:12 no way to catch up"]),
        ("block-interval = \"0ms\"\n", &["1:18 more than nothing"]),
        ("dead-letters = \"\"\n", &["1:16 is empty"]),
        ("upgrade = 5\n", &["1:11 expected a table of \"upgrade\"'s keys"]),
        ("[upgrade]\nprobation = 2000000\n", &["2:13 at most 1000000"]),
        (
            "[upgrade]\nprobations = 1\nmax-failures = -1\n",
            &["2:1 did you mean \"probation\"?", "3:16 not below zero"],
        ),
        ("streams = 5\n", &["1:11 expected tables of the form [streams.NAME]"]),
    ];
    for (fragment, expected) in cases {
        check(fragment, expected).await;
    }
}

#[tokio::test]
async fn plugins() {
    let cases: &[(&str, &[&str])] = &[
        ("[plugins.p]\n", &["1:10 lacks \"component\""]),
        ("[plugins.p]\ncomponent = \"missing.wasm\"", &["2:13 cannot be loaded: no such file"]),
        ("[plugins.p]\ncomponnt = \"text.wasm\"", &["2:1 did you mean \"component\"?"]),
        (
            "[plugins.p]\ncomponent = \"text.wasm\"\ngrant = { network = [\"localhost\"] }",
            &["3:22 has no port"],
        ),
        ("[plugins.p]\ncomponent = \"text.wasm\"\ngrant = { reads = [] }", &["3:11 did you mean \"read\"?"]),
        (
            "[plugins.p]\ncomponent = \"text.wasm\"\nlimit = { memory = \"64\", time = 1 }",
            &["3:20 no size", "3:33 expected a duration"],
        ),
        (
            "[plugins.p]\ncomponent = \"text.wasm\"\ngrant = { http = [\"https://a.b/c\", \"*.a.b\", \"a.b:x\", \"a b\"] }",
            &["3:19 it is a URL", "3:36 named by itself", "3:45 the port is no number", "3:54 no host has"],
        ),
        (
            "[plugins.p]\ncomponent = \"text.wasm\"\nlimit = { answer = \"0B\", tabel = 1, log = 5 }",
            &["3:20 more than nothing", "3:26 did you mean \"table\"?", "3:43 expected a size"],
        ),
        ("[plugins.p]\ncomponent = \"text.wasm\"\nconfig = { x = inf }", &["3:16 beyond the numbers"]),
        ("[plugins.\"p q\"]\ncomponent = \"text.wasm\"", &["1:10 cannot have that name"]),
    ];
    for (fragment, expected) in cases {
        check(fragment, expected).await;
    }
}

#[tokio::test]
async fn sources() {
    let cases: &[(&str, &[&str])] = &[
        ("[sources.s]\naddress = \"a:1\"", &["1:10 lacks \"type\""]),
        ("[sources.s]\ntype = \"sokcet\"\naddress = \"a:1\"", &["2:8 did you mean \"socket\"?"]),
        ("[sources.s]\ntype = \"socket\"", &["1:10 lacks \"address\""]),
        (
            "[sources.s]\ntype = \"socket\"\naddress = \"a:1\"\nlisten = \"a:1\"",
            &["3:1 takes no \"address\""],
        ),
        ("[sources.s]\ntype = \"socket\"\naddress = \"a:0\"", &["3:11 port 0"]),
        ("[sources.s]\ntype = \"socket\"\naddress = \"a:1\"\nparallelism = 300", &["4:15 at most 256"]),
        (
            "[sources.s]\ntype = \"socket\"\nlisten = \"a:1\"\nparallelism = 2",
            &["4:1 takes no \"parallelism\""],
        ),
        ("[sources.s]\ntype = \"socket\"\naddress = \"a:1\"\nresume = true", &["4:10 without a checkpoint"]),
        (
            "checkpoint = \"c\"\n[sources.s]\ntype = \"socket\"\naddress = \"a:1\"\nresume = true\nparallelism = 2",
            &["6:1 one connection"],
        ),
        (
            "[sources.s]\ntype = \"socket\"\naddress = \"a:1\"\nstorage = \"disk\"",
            &["4:11 in the checkpoint folder"],
        ),
        ("[sources.s]\ntype = \"files\"\npath = \"in\"\nstorage = \"disk\"", &["4:1 takes no \"storage\""]),
        (
            "[sources.s]\ntype = \"files\"\npath = \"in\"\nformat = \"csv\"\nschema = { a = \"list<int64>\" }",
            &["5:10 which csv cannot hold"],
        ),
        ("[sources.s]\ntype = \"socket\"\nlisten = \"a:70000\"", &["3:10 up to 65535"]),
        (
            "[sources.s]\ntype = \"files\"\naddress = \"a:1\"",
            &["1:10 lacks \"path\"", "3:1 takes no \"address\""],
        ),
        ("[sources.s]\ntype = \"files\"\npath = \"in\"\nformat = \"jsn\"", &["4:10 did you mean \"json\"?"]),
        ("[sources.s]\ntype = \"files\"\npath = \"in\"\nformat = \"json\"", &["1:10 lacks \"schema\""]),
        (
            "[sources.s]\ntype = \"files\"\npath = \"in\"\nschema = { a = \"utf8\" }",
            &["4:1 takes no \"schema\""],
        ),
        (
            "[sources.s]\ntype = \"files\"\npath = \"in\"\nformat = \"csv\"\nschema = { a = \"string\", b = \"intt64\" }",
            &["5:16 did you mean \"utf8\"?", "5:30 did you mean \"int64\"?"],
        ),
        (
            "[sources.s]\ntype = \"socket\"\nlisten = \"a:1\"\nformat = \"parquet\"\nschema = { a = \"utf8\" }",
            &["4:10 parquet is read from files"],
        ),
        ("[sources.s]\ntype = \"socket\"\nlisten = \"a:1\"\nmax-rate = -1", &["4:12 above zero, found -1"]),
        ("[sources.s]\ntype = \"socket\"\nlisten = \"a:1\"\nheader = true", &["4:1 only csv has one"]),
    ];
    for (fragment, expected) in cases {
        check(fragment, expected).await;
    }
}

#[tokio::test]
async fn records_of_one_length() {
    let cases: &[(&str, &[&str])] = &[
        (
            "[sources.s]\ntype = \"files\"\npath = \"in\"\nrecord-length = 9",
            &["4:1 only records of one length"],
        ),
        (
            "[sources.s]\ntype = \"files\"\npath = \"in\"\nformat = \"records\"",
            &["1:10 lacks \"record-length\"; say how many bytes"],
        ),
        (
            "[sources.s]\ntype = \"files\"\npath = \"in\"\nformat = \"records\"\nrecord-length = 1048577",
            &["5:17 a record has at most 1048576 bytes"],
        ),
        (
            "[sources.s]\ntype = \"socket\"\nlisten = \"a:1\"\nformat = \"records\"\nrecord-length = 9\nschema = { a = \"utf8\" }",
            &["4:10 records of one length are read from files", "6:1 records have one column"],
        ),
    ];
    for (fragment, expected) in cases {
        check(fragment, expected).await;
    }
}

#[tokio::test]
async fn sinks() {
    let cases: &[(&str, &[&str])] = &[
        ("[sinks.s]\ntype = \"print\"", &["1:8 lacks \"from\""]),
        (
            "[sinks.s]\nfrom = \"line\"\ntype = \"prnt\"",
            &["2:8 did you mean \"lines\"?", "3:8 did you mean \"print\"?"],
        ),
        (
            "[sinks.s]\nfrom = \"lines\"\ntype = \"print\"\nrows = 0\npath = \"x\"",
            &["4:8 above zero", "5:1 takes no \"path\""],
        ),
        ("[sinks.s]\nfrom = \"lines\"\ntype = \"files\"", &["1:8 lacks \"path\""]),
        (
            "[sinks.a]\nfrom = \"lines\"\ntype = \"files\"\npath = \"out\"\n[sinks.b]\nfrom = \"lines\"\ntype = \"files\"\npath = \"./out/\"",
            &["8:8 folder of sink \"a\""],
        ),
        (
            "[sinks.s]\nfrom = \"events\"\ntype = \"files\"\npath = \"out\"\nformat = \"text\"",
            &["2:8 text takes one utf8 column, and there are 3"],
        ),
        (
            "[streams.n]\nsql = \"SELECT count(*) AS n FROM lines\"\n[sinks.s]\nfrom = \"n\"\ntype = \"files\"\npath = \"out\"\nformat = \"text\"",
            &["4:8 \"n\" is int64"],
        ),
    ];
    for (fragment, expected) in cases {
        check(fragment, expected).await;
    }
}

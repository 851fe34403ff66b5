use millstream_pipeline::Text;

use super::*;

const SMALL: &str = "name = \"t\"\nbatch-interval = \"1s\"\n";
const SINK: &str = "[sinks.out]\nfrom = \"lines\"\ntype = \"print\"\n";

/// What a pipeline with this in it wants, in a component of the folder `app`.
fn wanted(settings: &str, tables: &str) -> (Pipeline, Vec<Want>) {
    let text = format!("{SMALL}{settings}\n{tables}\n{SINK}");
    let text = Text { is_carried: true, ..Text::new(Path::new("app/a.wasm"), &text) };
    let pipeline = text.parse().unwrap_or_else(|error| panic!("{error}"));
    let wants = wants(&pipeline, true);
    (pipeline, wants)
}

fn allowed(flags: &[&str]) -> Allowed {
    Allowed { allow: flags.iter().map(|flag| flag.parse().unwrap()).collect() }
}

fn files(path: &str) -> String {
    format!("[sources.lines]\ntype = \"files\"\npath = \"{path}\"\n")
}

#[test]
fn all_that_reaches_outside_is_wanted() {
    let socket = "[sources.lines]\ntype = \"socket\"\naddress = \"h:1\"\n";
    let cases: &[(&str, &str, &[&str])] = &[
        ("", socket, &["network=h:1"]),
        ("", &socket.replace("address", "listen"), &["listen=h:1"]),
        ("", &files("in/*/a[0-9]?.json"), &["read=app/in"]),
        ("", &files("/var/log/app"), &["read=/var/log/app"]),
        ("checkpoint = \"c\"", socket, &["write=app/c", "network=h:1"]),
        ("dead-letters = \"d.jsonl\"", socket, &["write=app/d.jsonl", "network=h:1"]),
        ("history = \"1GiB\"", socket, &["limits", "network=h:1"]),
        ("history = \"1MiB\"", socket, &["network=h:1"]),
        ("", &format!("{socket}[tables.t]\npath = \"t.csv\"\n"), &["network=h:1", "read=app/t.csv"]),
        (
            "",
            &format!("{socket}[sinks.f]\nfrom = \"lines\"\ntype = \"files\"\npath = \"o\"\n"),
            &["network=h:1", "write=app/o"],
        ),
        (
            "[plugins.self]\ngrant = { network = [\"h:2\"], http = [\"a.b\"], read = [\"r\"], write = [\"w\"], environment = [\"E\"] }",
            socket,
            &["network=h:2", "http=a.b", "read=app/r", "write=app/w", "environment=E", "network=h:1"],
        ),
        (
            "[plugins.x]\ncomponent = \"x.wasm\"\nlimit = { time = \"1h\" }",
            socket,
            &["limits", "read=app/x.wasm", "network=h:1"],
        ),
        (
            "[plugins.x]\ncomponent = \"x.wasm\"\nlimit = { time = \"1s\" }",
            socket,
            &["read=app/x.wasm", "network=h:1"],
        ),
    ];
    for (settings, tables, expected) in cases {
        let (pipeline, wants) = wanted(settings, tables);
        let flags: Vec<String> = wants.iter().map(Want::flag).collect();
        let flags: Vec<&str> = flags.iter().map(|flag| flag.strip_prefix("--allow ").unwrap()).collect();
        assert_eq!(flags, *expected, "{settings} {tables}");
        // What is told is what is enough, and no part of it is.
        assert_eq!(allowed(&flags).check(&pipeline, &wants), []);
        for left_out in 0..flags.len() {
            let rest = [&flags[..left_out], &flags[left_out + 1..]].concat();
            assert_eq!(allowed(&rest).check(&pipeline, &wants).len(), 1, "{expected:?} without {left_out}");
        }
    }
}

#[test]
fn a_folder_that_is_allowed_is_allowed_with_all_that_is_in_it_and_nothing_else() {
    let here = std::env::current_dir().unwrap();
    let here = here.to_str().unwrap();
    let cases: &[(&str, &str, bool)] = &[
        ("in/a.txt", "read=app/in", true),
        ("in/a.txt", "read=app", true),
        ("in/a.txt", "read=./app//in/", true),
        ("in/a.txt", "write=app/in", true),
        ("in/a.txt", "read=app/i", false),
        ("in/a.txt", "read=app/in/a", false),
        ("in/a.txt", "read=in", false),
        ("in", "read=app/in/a.txt", false),
        ("in/**/*.txt", "read=app/in", true),
        ("*/x/a.txt", "read=app/in", false),
        ("in/a.txt", &format!("read={here}/app/in"), true),
        ("in/a.txt", "read=other/../app", true),
        ("/etc/passwd", "read=app", false),
        ("/etc/passwd", "read=/", true),
        ("in/a.txt", "network=app", false),
    ];
    for (path, flag, expected) in cases {
        let (pipeline, wants) = wanted("", &files(path));
        assert_eq!(allowed(&[flag]).check(&pipeline, &wants).is_empty(), *expected, "{path} by {flag}");
    }
}

#[test]
fn what_functions_may_write_is_kept_apart_from_what_the_host_uses() {
    let grant = "[plugins.self]\ngrant = { write = [\"w/x\"] }\n";
    for (settings, path, is_trap) in [
        ("", "w/x/in", true),
        ("", "w", true),
        ("", "w/x", true),
        ("", "w/xy", false),
        ("", "in", false),
        ("checkpoint = \"w/x/c\"", "in", true),
        ("dead-letters = \"w/x/d\"", "in", true),
        ("checkpoint = \"w/c\"", "in", false),
    ] {
        let (pipeline, wants) = wanted(&format!("{settings}\n{grant}"), &files(path));
        let told = allowed(&["write=app"]).check(&pipeline, &wants);
        assert_eq!(!told.is_empty(), is_trap, "{settings} {path}: {told:?}");
    }
}

#[test]
fn flags_that_mean_nothing_are_refused_and_odd_values_are_quoted() {
    for flag in ["", "read", "read=", "limits=1", "reed=in", "=in"] {
        assert!(flag.parse::<Allowance>().is_err(), "{flag}");
    }
    let (_, wants) = wanted("", &files("in put/'; rm -rf $HOME"));
    assert_eq!(wants[0].flag(), "--allow 'read=app/in put/'\\''; rm -rf $HOME'");
}

//! Compiling: bounded, in a process of its own; and once for each component.

use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;

use crate::support::{Project, component, entries};

const PIPELINE: &str = r#"
name = "compiling"
batch-interval = "100ms"
checkpoint = "checkpoint"
[plugins.text]
component = "plugin.wasm"
limit = { LIMIT }
[sources.lines]
type = "files"
path = "in"
[streams.words]
from = "lines"
flat-map = "text.split-words"
[sinks.screen]
from = "words"
type = "print"
"#;

fn project(limit: &str, plugin: impl AsRef<[u8]>) -> Project {
    let project = Project::new(&PIPELINE.replace("LIMIT", limit));
    project.write("plugin.wasm", plugin);
    project.write("in/lines.txt", "a b\n");
    project
}

fn text() -> Vec<u8> {
    fs::read(component("text")).unwrap()
}

/// A component with one function of so many multiplications, all of which need the one before.
fn bomb(multiplications: usize) -> Vec<u8> {
    // (func (param i64) (result i64) local.get 0  local.get 0 i64.mul  local.get 0 i64.mul  ... end)
    let mut body = vec![0, 0x20, 0];
    (0..multiplications).for_each(|_| body.extend([0x20, 0, 0x7E]));
    body.push(0x0B);
    let code = [leb(1), leb(body.len()), body].concat();
    let types = section(1, &[1, 0x60, 1, 0x7E, 1, 0x7E]);
    let module = [b"\0asm\x01\0\0\0".as_slice(), &types, &section(3, &[1, 0]), &section(10, &code)].concat();
    [b"\0asm\x0d\0\x01\0".as_slice(), &section(1, &module)].concat()
}

fn section(id: u8, content: &[u8]) -> Vec<u8> {
    [&[id], leb(content.len()).as_slice(), content].concat()
}

/// A number in LEB128.
fn leb(mut number: usize) -> Vec<u8> {
    let mut bytes = Vec::new();
    while number >= 0x80 {
        bytes.push(number as u8 | 0x80);
        number >>= 7;
    }
    bytes.push(number as u8);
    bytes
}

/// The file of compiled code in the checkpoint folder.
fn code(project: &Project) -> PathBuf {
    let files = entries(&project.path("checkpoint/compiled"));
    assert_eq!(files.len(), 1, "{files:?}");
    files[0].clone()
}

#[test]
fn a_component_that_takes_too_much_to_compile_is_refused_with_what_to_raise() {
    let bomb = bomb(2_000_000);
    let cases = [
        ("compile-memory = \"64MiB\"", "took more than 64 MiB to compile", "`limit.compile-memory`"),
        ("compile-time = \"100ms\"", "took longer than 100ms to compile", "`limit.compile-time`"),
    ];
    for (limit, broken, remedy) in cases {
        let project = project(limit, &bomb);
        for command in ["check", "run", "test"] {
            let told = project.refused(command, &[]);
            assert!(told.contains("plugin.wasm") && told.contains(broken), "{command}: {told}");
            assert!(told.contains(remedy), "{command}: {told}");
        }
    }
}

#[test]
fn limits_that_are_enough_let_a_component_compile() {
    let project = project("compile-memory = \"256MiB\", compile-time = \"20s\"", text());
    project.run_once();
}

#[test]
fn a_component_that_is_none_is_refused_with_the_reason_of_the_compiler() {
    let project = project("", b"\0asm\x0d\0\x01\0\xff\xff");
    let told = project.refused("check", &[]);
    assert!(told.contains("does not compile: "), "{told}");
}

#[test]
fn code_is_kept_from_start_to_start_as_long_as_it_is_needed() {
    let project = project("", text());
    project.run_once();
    let kept = code(&project);
    let made = fs::metadata(&kept).unwrap().modified().unwrap();
    for command in ["check", "test"] {
        project.done(command, &[]);
    }
    project.run_once();
    assert_eq!(fs::metadata(code(&project)).unwrap().modified().unwrap(), made, "it is written once");
    project.write("plugin.wasm", fs::read(component("hostile")).unwrap());
    // It splits no words.
    project.refused("check", &[]);
    assert!(kept.exists(), "to check removes nothing");
}

#[test]
fn code_that_is_not_this_hosts_is_told_of_and_compiled_anew() {
    let project = project("", text());
    project.run_once();
    let path = code(&project);
    let good = fs::read(&path).unwrap();
    let flipped = |at: usize| {
        let mut bytes = good.clone();
        bytes[at] ^= 1;
        bytes
    };
    let cases = [
        ("torn", good[..good.len() / 2].to_vec(), 0o600, "is not as this host has written it"),
        ("changed", flipped(good.len() - 1), 0o600, "is not as this host has written it"),
        ("of another version", flipped(8), 0o600, "another version"),
        ("open to others", good.clone(), 0o666, "is open to other users"),
    ];
    for (case, bytes, mode, reason) in cases {
        fs::write(&path, bytes).unwrap();
        fs::set_permissions(&path, Permissions::from_mode(mode)).unwrap();
        let told = project.run_once();
        assert!(told.contains(reason) && told.contains("compiling anew"), "{case}: {told}");
        assert_eq!(fs::read(&path).unwrap(), good, "{case}");
        assert!(!project.run_once().contains("compiling anew"), "{case}");
    }
}

#[test]
fn who_only_looks_makes_no_checkpoint_folder() {
    let project = project("", text());
    project.done("check", &[]);
    assert!(!project.path("checkpoint").exists());
}

use std::fs;
use std::path::Path;

use tempfile::TempDir;

use super::{Language, create};

fn text(folder: &Path, path: &str) -> String {
    fs::read_to_string(folder.join(path)).unwrap_or_else(|error| panic!("{path}: {error}"))
}

#[test]
fn a_project_has_all_that_it_needs() {
    let parent = TempDir::new().unwrap();
    let created = create("my-words", Language::Rust, parent.path()).unwrap();
    assert!(created.to_string().contains("cargo build --release --target wasm32-wasip2"), "{created}");
    let folder = parent.path().join("my-words");
    let check = |path: &str, parts: &[&str]| {
        let text = text(&folder, path);
        parts.iter().for_each(|part| assert!(text.contains(part), "{path} lacks {part}:\n{text}"));
        assert!(!text.contains("{{"), "{path} is not filled in:\n{text}");
    };
    check("Cargo.toml", &["name = \"my-words\"", "[workspace]", "\"cdylib\"", "vendor/millstream-sdk"]);
    check("src/lib.rs", &["#[flat_map", "#[test]", "millstream_sdk::export!"]);
    check("pipeline.toml", &["release/my_words.wasm", "\"my-words.find-words\"", "[[tests]]"]);
    check("README.md", &["cargo build", "cargo test", "millstream run"]);
    check(".gitignore", &["/target"]);
    check("sample.txt", &["fox"]);
}

#[test]
fn the_sdk_in_a_project_stands_alone() {
    let parent = TempDir::new().unwrap();
    create("words", Language::Rust, parent.path()).unwrap();
    let vendored = parent.path().join("words/vendor/millstream-sdk");
    for manifest in ["Cargo.toml", "macros/Cargo.toml"] {
        let text = text(&vendored, manifest);
        assert!(!text.contains("workspace"), "{manifest} leans on a workspace:\n{text}");
        assert!(text.starts_with("[package]") && text.contains("[dependencies]"), "{manifest}:\n{text}");
    }
    let sdk = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../sdk/rust");
    for folder in ["src", "macros/src", "wit"] {
        for entry in fs::read_dir(sdk.join(folder)).unwrap() {
            let path = format!("{folder}/{}", entry.unwrap().file_name().display());
            assert_eq!(text(&vendored, &path), text(&sdk, &path), "{path} is not the SDK's");
        }
    }
}

#[test]
fn what_is_there_is_kept() {
    let parent = TempDir::new().unwrap();
    let folder = parent.path().join("mine");
    fs::create_dir(&folder).unwrap();
    fs::write(folder.join("notes.txt"), "notes").unwrap();
    let error = create("mine", Language::Rust, parent.path()).unwrap_err();
    assert!(error.to_string().contains("not empty"), "{error}");
    assert_eq!(fs::read_dir(&folder).unwrap().count(), 1);

    fs::remove_file(folder.join("notes.txt")).unwrap();
    create("mine", Language::Rust, parent.path()).expect("an empty folder is taken");
    fs::write(parent.path().join("file"), "").unwrap();
    create("file", Language::Rust, parent.path()).expect_err("a file is no folder");
}

#[test]
fn names_that_no_crate_can_have_are_refused() {
    let check = |name: &str, part: &str| {
        let parent = TempDir::new().unwrap();
        let error = create(name, Language::Rust, parent.path()).unwrap_err().to_string();
        assert!(error.contains(part), "{error}");
        assert_eq!(fs::read_dir(parent.path()).unwrap().count(), 0, "nothing is written");
    };
    for name in ["", "1st", "-a", "../up", "/tmp/x", "a b", "ä", "a.b", "a\n"] {
        check(name, "letters, digits");
    }
    check("match", "keyword");
    check("core", "name of a crate");
    check("millstream_sdk", "name of a crate");
    check(&"a".repeat(65), "65 characters");
}

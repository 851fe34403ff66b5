//! Names that a crate, a folder and a plugin can all have.

const CHARS_MAX: usize = 64;

/// The keywords of Rust, those reserved for later among them.
const KEYWORDS: &[&str] = &[
    "Self", "abstract", "as", "async", "await", "become", "box", "break", "const", "continue", "crate", "do",
    "dyn", "else", "enum", "extern", "false", "final", "fn", "for", "gen", "if", "impl", "in", "let", "loop",
    "macro", "match", "mod", "move", "mut", "override", "priv", "pub", "ref", "return", "self", "static",
    "struct", "super", "trait", "true", "try", "type", "typeof", "unsafe", "unsized", "use", "virtual",
    "where", "while", "yield", "_",
];

/// Crates that a plugin's own would be mistaken for.
const TAKEN: &[&str] =
    &["alloc", "core", "millstream-sdk", "millstream-sdk-macros", "proc_macro", "proc-macro", "std", "test"];

/// Why a project cannot be called `name`, and what would do.
pub(super) fn fault(name: &str) -> Option<String> {
    let plain = |c: char| c.is_ascii_alphanumeric() || c == '-' || c == '_';
    if !name.starts_with(|c: char| c.is_ascii_alphabetic()) || !name.chars().all(plain) {
        return Some(
            "write a letter, then letters, digits, \"-\" or \"_\", such as \"my-plugin\"".to_owned(),
        );
    }
    if name.len() > CHARS_MAX {
        return Some(format!("it has {} characters, and {CHARS_MAX} are the most", name.len()));
    }
    if KEYWORDS.contains(&name) {
        return Some(format!("it is a keyword of Rust; write \"{name}-plugin\""));
    }
    let taken = TAKEN.contains(&name) || TAKEN.contains(&name.replace('_', "-").as_str());
    taken.then(|| format!("it is the name of a crate that the project uses; write \"my-{name}\""))
}

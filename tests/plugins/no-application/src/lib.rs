//! An application that cannot say what it is: it asks for a file that nobody granted it.

use millstream_sdk::prelude::*;

/// Gives text back.
#[map]
pub fn same(value: &str) -> String {
    value.to_owned()
}

/// Reads its pipeline from where it may not read.
#[application]
pub fn absent(app: &Application) {
    let text = std::fs::read_to_string("/etc/hostname").expect("its pipeline is in a file of the machine");
    app.toml(&text);
}

millstream_sdk::export!(same; application: absent);

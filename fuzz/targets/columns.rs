//! What a guest answers with: columns with anything in them.
#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| millstream_plugins::fuzzing::lift(bytes));

//! What is copied is all of it, and stays as it is.

use std::fs::OpenOptions;
use std::io::Write;

use super::{CHUNK_BYTES, Sealed};

#[test]
fn what_is_sealed_is_what_was_looked_at_and_cannot_be_changed() {
    for length in [0, 1, CHUNK_BYTES, 3 * CHUNK_BYTES + 1] {
        let bytes: Vec<u8> = (0..length).map(|place| (place % 251) as u8).collect();
        let mut seen = Vec::new();
        let sealed = Sealed::copy(bytes.as_slice(), |piece| seen.extend_from_slice(piece)).unwrap();
        let again = OpenOptions::new().write(true).open(sealed.path()).unwrap();
        assert!((&again).write_all(b"other").is_err());
        assert!(again.set_len(0).is_err() || length == 0);
        assert!(std::fs::read(sealed.path()).unwrap() == bytes && seen == bytes, "{length} bytes");
    }
}

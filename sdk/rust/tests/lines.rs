//! Lines out of pieces.

use millstream_sdk::lines::{LINE_BYTES_MAX, LineBuffer};

/// The lines of a text that comes in pieces of `size` bytes, each with the bytes it took; the last one may have no end.
fn lines(text: &[u8], size: usize) -> Vec<(String, u64, bool)> {
    let mut buffer = LineBuffer::new();
    let mut lines = Vec::new();
    for piece in text.chunks(size) {
        buffer.push(piece);
        while let Some(line) = buffer.next_line() {
            lines.push((line.text.into_owned(), line.bytes, line.is_cut));
        }
    }
    lines.extend(buffer.last_line().map(|line| (line.text.into_owned(), line.bytes, line.is_cut)));
    assert_eq!(buffer.last_line(), None);
    lines
}

fn check(text: &[u8], expected: &[(&str, u64)]) {
    for size in [1, 2, 3, 7, text.len().max(1)] {
        let lines = lines(text, size);
        let lines: Vec<_> = lines.iter().map(|(text, bytes, _)| (text.as_str(), *bytes)).collect();
        assert_eq!(lines, expected, "in pieces of {size} bytes");
    }
}

#[test]
fn pieces_do_not_matter() {
    check(b"", &[]);
    check(b"one\ntwo\n", &[("one", 4), ("two", 4)]);
    check(b"\n\nlast", &[("", 1), ("", 1), ("last", 4)]);
}

#[test]
fn a_carriage_return_belongs_to_the_end() {
    check(b"a\r\nb\rc\r\n\r\n", &[("a", 3), ("b\rc", 5), ("", 2)]);
}

#[test]
fn what_is_no_text_is_replaced() {
    check(b"a\xffb\n\xc3", &[("a\u{fffd}b", 4), ("\u{fffd}", 1)]);
}

#[test]
fn a_long_line_is_cut_and_counts_whole() {
    for more in [0, 1, 2, 3 << 20] {
        let mut text = vec![b'x'; LINE_BYTES_MAX + more];
        let long = text.len() as u64;
        text.extend_from_slice(b"\nnext\n");
        for size in [60_000, text.len()] {
            let lines = lines(&text, size);
            let sizes: Vec<_> = lines.iter().map(|(text, bytes, cut)| (text.len(), *bytes, *cut)).collect();
            assert_eq!(sizes, [(LINE_BYTES_MAX, long + 1, more > 0), (4, 5, false)], "{more} bytes too long");
        }
    }
}

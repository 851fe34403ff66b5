//! Words are what the standard library says they are.

use millstream_sdk::text::words;

#[test]
fn words_are_those_of_the_standard_library() {
    let characters = ['a', 'ß', '語', '🦀', ' ', '\t', '\n', '\u{b}', '\u{c}', '\r', '\u{a0}', '\0'];
    let mut state = 1_u64;
    for length in (0..80).cycle().take(20_000) {
        let text: String = (0..length)
            .map(|_| {
                state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
                characters[(state >> 33) as usize % characters.len()]
            })
            .collect();
        let expected: Vec<&str> = text.split_ascii_whitespace().collect();
        assert_eq!(words(&text).collect::<Vec<_>>(), expected, "{text:?}");
    }
}

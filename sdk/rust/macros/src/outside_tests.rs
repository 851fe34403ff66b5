use quote::quote;

use super::*;

#[track_caller]
fn refused(expanded: &TokenStream, expected: &str) {
    let expanded = expanded.to_string();
    assert!(expanded.contains("compile_error !") && expanded.contains(expected), "{expanded}");
}

#[test]
fn what_is_no_receiver_is_refused_with_the_remedy() {
    let none = || quote!();
    let cases = [
        (
            none(),
            quote!(
                fn f() {}
            ),
            "stands on an `impl Receiver for ...`",
        ),
        (
            none(),
            quote!(
                struct Tail;
            ),
            "stands on an `impl Receiver for ...`",
        ),
        (none(), quote!(impl Tail {}), "stands on an `impl Receiver for ...`"),
        (none(), quote!(impl Sink for Tail {}), "stands on an `impl Receiver for ...`"),
        (
            none(),
            quote!(
                impl<T> Receiver for Tail<T> {}
            ),
            "write the type instead of the parameter",
        ),
        (none(), quote!(impl Receiver for (A, B) {}), "a name of its own"),
        (quote!(column = "a"), quote!(impl Receiver for Tail {}), "unknown key"),
        (quote!(output = 1), quote!(impl Receiver for Tail {}), "a column's name is text"),
    ];
    for (attribute, item, expected) in cases {
        refused(&receiver(attribute, item), expected);
    }
}

#[test]
fn what_is_no_sink_is_refused_with_the_remedy() {
    let none = || quote!();
    let cases = [
        (
            none(),
            quote!(
                struct Post;
            ),
            "on an `impl Sink for ...` or on a function",
        ),
        (none(), quote!(impl Receiver for Post {}), "stands on an `impl Sink for ...`"),
        (
            none(),
            quote!(
                fn post() {}
            ),
            "give it a parameter `Rows<'_, T>`",
        ),
        (
            none(),
            quote!(
                fn post(a: Rows<'_, i64>, b: Rows<'_, i64>) {}
            ),
            "no second",
        ),
        (
            none(),
            quote!(
                fn post(rows: Rows<'_, i64>, n: i64) {}
            ),
            "`Rows<'_, T>`, and its `Batch`",
        ),
        (
            none(),
            quote!(
                fn post(rows: Rows<'_, i32>) {}
            ),
            "use `i64`",
        ),
        (
            none(),
            quote!(
                async fn post(rows: Rows<'_, i64>) {}
            ),
            "drop `async`",
        ),
        (
            none(),
            quote!(
                fn post(&self, rows: Rows<'_, i64>) {}
            ),
            "free function",
        ),
        (
            quote!(column = "a"),
            quote!(
                fn post(rows: Rows<'_, i64>) {}
            ),
            "has no keys",
        ),
        (quote!(output = "a"), quote!(impl Sink for Post {}), "unknown key"),
    ];
    for (attribute, item, expected) in cases {
        refused(&sink(attribute, item), expected);
    }
}

#[test]
fn names_are_kebab_case() {
    for (name, expected) in
        [("Tail", "tail"), ("LineTail", "line-tail"), ("Http2Post", "http2-post"), ("A_B", "a-b")]
    {
        assert_eq!(kebab_case(name), expected);
    }
}

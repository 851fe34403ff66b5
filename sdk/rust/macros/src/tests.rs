use quote::quote;

use super::*;

/// Expanding the function reports a mistake that names all of `expected`.
#[track_caller]
fn refused(kind: Kind, item: proc_macro2::TokenStream, expected: &str) {
    refused_with(kind, quote!(), item, expected);
}

#[track_caller]
fn refused_with(
    kind: Kind,
    attribute: proc_macro2::TokenStream,
    item: proc_macro2::TokenStream,
    expected: &str,
) {
    let expanded = function::expand(kind, attribute, item).to_string();
    assert!(expanded.contains("compile_error !"), "{expanded}");
    assert!(expanded.contains(expected), "{expanded}");
}

#[track_caller]
fn refused_row(item: proc_macro2::TokenStream, expected: &str) {
    let expanded = row::expand(item).to_string();
    assert!(expanded.contains("compile_error !"), "{expanded}");
    assert!(expanded.contains(expected), "{expanded}");
}

#[track_caller]
fn accepted(kind: Kind, item: proc_macro2::TokenStream) {
    let expanded = function::expand(kind, quote!(), item).to_string();
    assert!(!expanded.contains("compile_error !"), "{expanded}");
}

#[test]
fn only_plain_functions_are_taken() {
    refused(
        Kind::Map,
        quote!(
            struct A;
        ),
        "stands on a function",
    );
    refused(
        Kind::Map,
        quote!(
            async fn f(a: i64) -> i64 {
                a
            }
        ),
        "drop `async`",
    );
    refused(
        Kind::Map,
        quote!(
            unsafe fn f(a: i64) -> i64 {
                a
            }
        ),
        "drop `unsafe`",
    );
    refused(
        Kind::Map,
        quote!(
            fn f<T>(a: T) -> i64 {
                1
            }
        ),
        "write the type",
    );
    refused(
        Kind::Map,
        quote!(
            fn f<const N: usize>(a: i64) -> i64 {
                1
            }
        ),
        "write the type",
    );
    refused(
        Kind::Map,
        quote!(
            fn f(&self) -> i64 {
                1
            }
        ),
        "free function",
    );
    accepted(
        Kind::Map,
        quote!(
            fn f<'a>(a: &'a str, b: &'a str) -> &'a str {
                a
            }
        ),
    );
}

#[test]
fn parameters_are_columns() {
    let check = |parameters: proc_macro2::TokenStream, expected| {
        refused(Kind::Map, quote!(fn f(#parameters) -> i64 { 1 }), expected);
    };
    check(quote!(), "reads no column");
    check(quote!(context: Context), "reads no column");
    check(quote!(a: i32), "use `i64`");
    check(quote!(a: u8), "use `i64`");
    check(quote!(a: f32), "use `f64`");
    check(quote!(a: Option<char>), "use `&str` or `String`");
    check(quote!(a: &mut str), "instead of `&mut`");
    check(quote!(a: &String), "use `&str`");
    check(quote!(a: &Vec<u8>), "use `&[u8]`");
    check(quote!(a: &[i64]), "use `List<'_, i64>`");
    check(quote!(a: &i64), "by value, as `i64`");
    check(quote!(a: (i64, i64)), "#[derive(Row)]");
    check(quote!(a: impl ToString), "cannot be a column");
    check(quote!(a: HashMap<String, i64>), "two lists");
    check(quote!(Pair { a, b }: Pair), "name it");
    check(quote!(a: Rows<'_, i64>), "`#[map]` takes one row");
    check(quote!(a: i64, #[column(name = "a")] b: i64), "two inputs are called `a`");
    check(quote!(#[column(title = "a")] b: i64), "unknown key");
    check(quote!(#[column(name = 3)] b: i64), "name is text");
    accepted(
        Kind::Map,
        quote!(
            fn f(a: Option<&[u8]>, b: Vec<u8>, c: List<'_, &str>, d: Context) -> i64 {
                1
            }
        ),
    );
}

#[test]
fn what_is_returned_fits_the_kind() {
    let check = |kind, returned: proc_macro2::TokenStream, expected| {
        refused(kind, quote!(fn f(a: i64) #returned {}), expected)
    };
    check(Kind::Map, quote!(), "returns nothing");
    check(Kind::Map, quote!(-> impl Iterator<Item = i64>), "a value or a row");
    check(Kind::Map, quote!(-> u32), "use `i64`");
    check(Kind::Map, quote!(-> Result<f32, String>), "use `f64`");
    check(Kind::Filter, quote!(), "-> bool");
    check(Kind::Filter, quote!(-> i64), "-> bool");
    check(Kind::Filter, quote!(-> Option<bool>), "-> bool");
    check(Kind::FlatMap, quote!(-> i64), "impl Iterator<Item = T>");
    check(Kind::FlatMap, quote!(-> impl Iterator), "impl Iterator<Item = T>");
    check(Kind::FlatMap, quote!(-> Vec<u8>), "use `i64`");
    refused(
        Kind::Transform,
        quote!(
            fn f(a: i64) -> Vec<i64> {}
        ),
        "Rows<'_, T>",
    );
    refused(
        Kind::Transform,
        quote!(
            fn f(a: Rows<'_, i64>, b: Rows<'_, i64>) -> Vec<i64> {}
        ),
        "takes one `Rows`",
    );
    accepted(
        Kind::Filter,
        quote!(
            fn f(a: i64) -> Result<bool, String> {}
        ),
    );
    accepted(
        Kind::FlatMap,
        quote!(
            fn f(a: i64) -> Result<Vec<i64>, String> {}
        ),
    );
    accepted(
        Kind::FlatMap,
        quote!(
            fn f(a: &str) -> impl DoubleEndedIterator<Item = &str> + '_ {}
        ),
    );
    accepted(
        Kind::Transform,
        quote!(
            fn f(a: Rows<'_, Order<'_>>, c: Context) -> Option<i64> {}
        ),
    );
}

#[test]
fn a_reduce_takes_two_rows_and_returns_one() {
    let check = |kind, signature: proc_macro2::TokenStream, expected| {
        refused(kind, quote!(fn f #signature {}), expected);
    };
    check(Kind::Reduce, quote!((a: i64) -> i64), "two parameters");
    check(Kind::Reduce, quote!((a: i64, b: i64, c: i64) -> i64), "two parameters");
    check(Kind::Reduce, quote!((a: i64, b: i64)), "returns nothing");
    check(Kind::Reduce, quote!((a: i64, b: f64) -> f64), "the same type, here `f64`");
    check(Kind::Reduce, quote!((a: Option<&str>, b: &str) -> Option<String>), "here `Option < String >`");
    check(Kind::Reduce, quote!((a: u8, b: u8) -> u8), "use `i64`");
    check(Kind::Reduce, quote!((a: (i64, i64), b: (i64, i64)) -> (i64, i64)), "#[derive(Row)]");
    check(Kind::Reduce, quote!((a: i64, b: i64) -> Vec<u32>), "use `i64`");
    check(Kind::Inverse, quote!((a: i64) -> i64), "`#[inverse]` takes two rows");
    let check = |kind, signature: proc_macro2::TokenStream| accepted(kind, quote!(fn f #signature {}));
    check(Kind::Inverse, quote!((a: i64, b: i64) -> i64));
    check(Kind::Inverse, quote!((a: &str, b: &str) -> String));
    check(Kind::Reduce, quote!((a: &str, b: &str) -> Result<String, String>));
    check(Kind::Reduce, quote!(<'a>(a: Best<'a>, c: Context, b: Best<'a>) -> Best<'a>));
}

#[test]
fn the_attribute_names_the_column_of_a_reduce() {
    let check = |attribute, expected| {
        let function = quote!(
            fn f(a: i64, b: i64) -> i64 {}
        );
        refused_with(Kind::Reduce, attribute, function, expected);
    };
    check(quote!(output = "a"), "the only one here is `column = ");
    check(quote!(column = 3), "name is text");
}

#[test]
fn an_update_of_states_takes_rows_and_a_state() {
    let check = |parameters: proc_macro2::TokenStream, expected| {
        refused(Kind::UpdateState, quote!(fn f(#parameters) {}), expected);
    };
    check(quote!(k: &str, s: &mut State<i64>), "a parameter `Rows<'_, T>`");
    check(quote!(k: &str, r: Rows<'_, i64>), "a parameter `&mut State<S>`");
    check(quote!(r: Rows<'_, i64>, s: State<i64>), "take it as `&mut State<T>`");
    check(quote!(r: Rows<'_, i64>, s: &State<i64>), "take it as `&mut State<T>`");
    check(quote!(r: Rows<'_, i64>, s: &mut State<i64>, o: &Output<i64>), "take it as `&mut Output<T>`");
    check(quote!(r: Rows<'_, i64>, s: &mut State<&str>), "own it");
    check(quote!(r: Rows<'_, i64>, s: &mut State<()>), "nothing to keep");
    check(quote!(r: Rows<'_, i64>, s: &mut State<u64>), "use `i64`");
    check(quote!(r: Rows<'_, u32>, s: &mut State<i64>), "use `i64`");
    check(quote!(k: (&str, i64), r: Rows<'_, i64>, s: &mut State<i64>), "#[derive(Row)]");
    check(quote!(r: Rows<'_, i64>, s: &mut State<i64>, t: &mut State<i64>), "drop the other");
    check(quote!(k: i64, #[column(name = "k")] l: i64, r: Rows<'_, ()>, s: &mut State<i64>), "rename one");
    let plain = quote!(
        fn f(r: Rows<'_, i64>, s: &mut State<i64>) {}
    );
    let check = |attribute, expected| refused_with(Kind::UpdateState, attribute, plain.clone(), expected);
    check(quote!(version = 0), "whole number from 1");
    check(quote!(version = "1"), "whole number from 1");
    check(quote!(output = "total"), "drop `output`");
    check(quote!(name = "total"), "`output = ");
    let returns = quote!(
        fn f(r: Rows<'_, i64>, s: &mut State<i64>) -> i64 {}
    );
    refused(Kind::UpdateState, returns, "returns nothing");
    accepted(Kind::UpdateState, plain);
    accepted(
        Kind::UpdateState,
        quote!(
            fn f(
                k: (),
                r: Rows<'_, Order<'_>>,
                s: &mut State<Vec<String>>,
                o: &mut Output<()>,
                c: Context,
            ) -> Result<(), String> {
            }
        ),
    );
}

#[test]
fn the_attribute_names_the_output() {
    let item = quote!(
        fn f(a: i64) -> i64 {
            a
        }
    );
    let check = |attribute, expected| refused_with(Kind::Map, attribute, item.clone(), expected);
    check(quote!(name = "a"), "the only one here is `output = ");
    check(quote!(output), "expected `output = ");
    check(quote!(output = ""), "name is text");
    check(quote!(output = "a", output = "b"), "said twice");
    refused_with(
        Kind::Filter,
        quote!(output = "a"),
        quote!(
            fn f(a: i64) -> bool {
                true
            }
        ),
        "drop `output`",
    );
}

#[test]
fn rows_are_structs_with_named_fields() {
    refused_row(
        quote!(
            enum A {
                B,
            }
        ),
        "make it a struct",
    );
    refused_row(
        quote!(
            struct A;
        ),
        "named fields",
    );
    refused_row(
        quote!(
            struct A(i64);
        ),
        "named fields",
    );
    refused_row(
        quote!(
            struct A {}
        ),
        "named fields",
    );
    refused_row(
        quote!(
            struct A<T> {
                a: T,
            }
        ),
        "write the type",
    );
    refused_row(
        quote!(
            struct A<'a, 'b> {
                a: &'a str,
                b: &'b str,
            }
        ),
        "use one lifetime",
    );
    refused_row(
        quote!(
            struct A {
                a: i32,
            }
        ),
        "use `i64`",
    );
    refused_row(
        quote!(
            struct A {
                a: i64,
                #[column(name = "a")]
                b: i64,
            }
        ),
        "two columns are called `a`",
    );
    refused_row(
        quote!(
            struct A {
                #[column(rename = "a")]
                b: i64,
            }
        ),
        "unknown key",
    );
}

#[test]
fn a_mistake_leaves_the_function_in_place() {
    let expanded = function::expand(
        Kind::Map,
        quote!(),
        quote!(
            fn f(a: i32) -> i64 {
                1
            }
        ),
    )
    .to_string();
    assert!(expanded.starts_with("fn f (a : i32) -> i64"), "{expanded}");
}

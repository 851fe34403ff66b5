use quote::quote;

use super::*;
use crate::function::expand;
use crate::signature::Kind;

#[track_caller]
fn refused(expanded: &TokenStream, expected: &str) {
    let expanded = expanded.to_string();
    assert!(expanded.contains("compile_error !") && expanded.contains(expected), "{expanded}");
}

#[track_caller]
fn accepted(expanded: &TokenStream) {
    let expanded = expanded.to_string();
    assert!(!expanded.contains("compile_error !"), "{expanded}");
}

#[test]
fn a_migration_takes_a_key_and_a_state_and_makes_others() {
    let check = |signature: TokenStream, expected| {
        refused(&migrate(quote!(from = 1), quote!(fn f #signature {})), expected);
    };
    check(quote!(() -> i64), "give it a parameter");
    check(quote!((old: i64)), "returns nothing");
    check(quote!((old: i32) -> i64), "use `i64`");
    check(quote!((key: u8, old: i64) -> i64), "use `i64`");
    check(quote!((old: i64, context: Context) -> i64), "drop `Context`");
    check(quote!((a: i64, #[column(name = "a")] b: i64, old: i64) -> i64), "rename one");
    check(quote!((key: (i64, i64), old: i64) -> i64), "#[derive(Row)]");
    check(quote!((key: &str, old: i64) -> (i64, String, i64)), "#[derive(Row)]");
    check(quote!((key: &str, old: i64) -> (u64, i64)), "use `i64`");
    check(quote!((key: &str, old: i64) -> (&str, i64)), "own it");
    check(quote!((old: &str) -> Option<&str>), "own it");
    check(quote!((old: i64) -> Option<()>), "return `None`");
    check(quote!((&self, old: i64) -> i64), "free function");
    for signature in [
        quote!((old: i64) -> i64),
        quote!((old: Old<'_>) -> Result<New, String>),
        quote!((Old { count, .. }: Old) -> Option<New>),
        quote!((user: i64, shop: &str, old: &str) -> (Place, String)),
        quote!((#[column(name = "word")] key: String, old: Old) -> Result<Option<(String, New)>, String>),
    ] {
        accepted(&migrate(quote!(from = 1), quote!(fn f #signature {})));
    }
}

#[test]
fn a_migration_says_the_version_whose_states_it_takes() {
    let check = |attribute, expected| {
        let function = quote!(
            fn f(old: i64) -> i64 {}
        );
        refused(&migrate(attribute, function), expected);
    };
    check(quote!(), "`#[migrate(from = 1)]`");
    check(quote!(from = 0), "whole number from 1: `from = 1`");
    check(quote!(from = "1"), "whole number from 1: `from = 1`");
    check(quote!(version = 1), "the only one here is `from = 1`");
    refused(
        &migrate(
            quote!(from = 1),
            quote!(
                struct A;
            ),
        ),
        "`#[migrate]` stands on a function",
    );
}

#[test]
fn a_merge_makes_one_state_of_two() {
    let check = |signature: TokenStream, expected| {
        refused(&merge(&quote!(), quote!(fn f #signature {})), expected);
    };
    check(quote!((a: i64) -> i64), "all three the same type");
    check(quote!((a: i64, b: i64)), "all three the same type");
    check(quote!((a: i64, b: f64) -> i64), "all three the same type");
    check(quote!((a: String, b: &str) -> String), "all three the same type");
    check(quote!((a: i64, b: i64, c: Context) -> i64), "drop `Context`");
    check(quote!((a: &str, b: &str) -> &str), "own it");
    check(quote!((a: u8, b: u8) -> u8), "use `i64`");
    accepted(&merge(
        &quote!(),
        quote!(
            fn f(a: New, b: New) -> Result<New, String> {}
        ),
    ));
    let function = quote!(
        fn f(a: i64, b: i64) -> i64 {}
    );
    refused(&merge(&quote!(state = running), function), "has no keys");
}

#[test]
fn an_update_of_states_names_its_migrations_and_its_merge() {
    let update = |attribute| {
        let function = quote!(
            fn f(key: &str, new: Rows<'_, ()>, state: &mut State<i64>) {}
        );
        expand(Kind::UpdateState, attribute, function)
    };
    refused(&update(quote!(migrate = "lower")), "`migrate = function`, or `migrate = [one, another]`");
    refused(&update(quote!(migrate = lower, merge = [a, b])), "drop the others");
    refused(&update(quote!(merge = both)), "name one too, `migrate = ...`");
    refused(&update(quote!(migrations = lower)), "`version = 1`, `migrate = ...` and `merge = ...`");
    for attribute in [
        quote!(version = 2, migrate = lower),
        quote!(version = 3, migrate = [older::first, second], merge = both),
        quote!(migrate = []),
    ] {
        accepted(&update(attribute));
    }
}

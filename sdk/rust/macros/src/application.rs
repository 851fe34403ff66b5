//! `#[application]`: the names of functions, where methods of streams call them, become what the methods take.
//!
//! A function's name is a value of Rust's own already, and says nothing of the function's kind. The type of the same name
//! does, which the attributes put beside it. So `.flat_map(split_words)` is made `.flat_map(Named::<split_words>::new())`.

use proc_macro2::{Delimiter, Group, TokenStream, TokenTree};
use quote::{ToTokens, quote};
use syn::{Error, ItemFn, Path, Result};

/// The methods that take a function first.
const METHODS: [&str; 9] =
    ["map", "flat_map", "filter", "transform", "reduce", "inverse", "update_state", "receiver", "sink"];

/// The function with its names, or what is wrong with it.
pub(crate) fn expand(attribute: &TokenStream, item: TokenStream) -> TokenStream {
    let rewritten = named(item.clone());
    check(attribute, &item).map_or_else(
        |error| {
            let error = error.into_compile_error();
            quote!(#rewritten #error)
        },
        |()| quote!(#[allow(clippy::redundant_closure, reason = "a name would be a function of the plugin")] #rewritten),
    )
}

fn check(attribute: &TokenStream, item: &TokenStream) -> Result<()> {
    if !attribute.is_empty() {
        return Err(Error::new_spanned(attribute, "an application has no keys: what it is, its body says"));
    }
    let function: ItemFn = syn::parse2(item.clone())
        .map_err(|_| Error::new_spanned(item, "`#[application]` stands on a function"))?;
    match function.sig.inputs.len() {
        1 => Ok(()),
        _ => {
            Err(Error::new_spanned(&function.sig, "an application takes one parameter, `app: &Application`"))
        }
    }
}

/// The tokens with the names of functions made into what the methods take.
fn named(tokens: TokenStream) -> TokenStream {
    let mut before: [Option<TokenTree>; 2] = [None, None];
    let mut made = TokenStream::new();
    for token in tokens {
        let token = match token {
            TokenTree::Group(group) => {
                let inside = match calls(&before) && group.delimiter() == Delimiter::Parenthesis {
                    true => argument(group.stream()),
                    false => named(group.stream()),
                };
                let mut rewritten = Group::new(group.delimiter(), inside);
                rewritten.set_span(group.span());
                TokenTree::Group(rewritten)
            }
            token => token,
        };
        before = [before[1].take(), Some(token.clone())];
        token.to_tokens(&mut made);
    }
    made
}

/// Whether the last two tokens are a call of one of the methods, up to its arguments.
fn calls(before: &[Option<TokenTree>; 2]) -> bool {
    match before {
        [Some(TokenTree::Punct(dot)), Some(TokenTree::Ident(method))] => {
            dot.as_char() == '.' && METHODS.iter().any(|name| method == name)
        }
        _ => false,
    }
}

/// The arguments of such a call; those that are no path alone stay as they are.
fn argument(arguments: TokenStream) -> TokenStream {
    match syn::parse2::<Path>(arguments.clone()) {
        Ok(path) => quote!(::millstream_sdk::application::Named::<#path>::new()),
        Err(_) => named(arguments),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn expanded(item: TokenStream) -> String {
        expand(&TokenStream::new(), item).to_string()
    }

    #[test]
    fn names_of_functions_become_types_and_all_else_stays() {
        let made = expanded(quote! {
            fn app(app: &Application) {
                app.receiver(LineTail).flat_map(text::split).map(|word| upper(word)).named("words");
            }
        });
        for expected in [
            quote!(.receiver(::millstream_sdk::application::Named::<LineTail>::new())),
            quote!(.flat_map(::millstream_sdk::application::Named::<text::split>::new())),
            quote!(.map(|word| upper(word)).named("words")),
        ] {
            assert!(made.contains(&expected.to_string()), "{expected} in {made}");
        }
    }

    #[test]
    fn what_is_no_application_is_refused() {
        for (attribute, item) in [
            (
                quote!(name = "a"),
                quote!(
                    fn app(app: &Application) {}
                ),
            ),
            (
                quote!(),
                quote!(
                    struct App;
                ),
            ),
            (
                quote!(),
                quote!(
                    fn app() {}
                ),
            ),
        ] {
            assert!(expand(&attribute, item.clone()).to_string().contains("compile_error"), "{item}");
        }
    }
}

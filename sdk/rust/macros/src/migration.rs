//! Migrations and merges of states, and what an update-state asks of those that it names.

use proc_macro2::TokenStream;
use quote::{ToTokens, quote, quote_spanned};
use syn::spanned::Spanned;
use syn::{Error, Expr, FnArg, Ident, ItemFn, Path, Result, ReturnType, Type};

use crate::attribute::Key;
use crate::function::{anonymous, fields, no_fields, outcome, reader, type_beside, with_beside};
use crate::update_state::{STATE, is_nothing};
use crate::{attribute, signature, types};

const FROM: Key = Key { name: "from", form: "from = 1" };
/// The keys of an update-state's attribute.
pub(crate) const MIGRATE: Key = Key { name: "migrate", form: "migrate = ..." };
pub(crate) const MERGE: Key = Key { name: "merge", form: "merge = ..." };

/// How an update-state takes over older states.
#[derive(Default)]
pub(crate) struct Takeover {
    /// Expressions.
    pub(crate) migrations: Vec<TokenStream>,
    pub(crate) merge: Option<TokenStream>,
    /// What does not compile unless the functions that are named fit.
    pub(crate) checks: TokenStream,
}

/// The functions that an update-state names.
pub(crate) fn named(migrate: Option<&Expr>, merge: Option<&Expr>) -> Result<(Vec<Path>, Option<Path>)> {
    let functions = |key: &Key, value: Option<&Expr>| {
        value.map_or(Ok(Vec::new()), |value| attribute::functions(key.name, value))
    };
    let (migrations, mut merges) = (functions(&MIGRATE, migrate)?, functions(&MERGE, merge)?);
    let merge = merges.pop();
    match (merge, migrations.is_empty()) {
        (Some(merge), _) if !merges.is_empty() => {
            Err(Error::new_spanned(merge, "one function merges the states: drop the others"))
        }
        (Some(merge), true) => Err(Error::new_spanned(
            merge,
            "only a migration makes keys the same: name one too, `migrate = ...`, or drop `merge`",
        )),
        (merge, _) => Ok((migrations, merge)),
    }
}

impl Takeover {
    /// By these functions, in an update-state of this version with these types of keys and this one of its state.
    pub(crate) fn of(
        migrations: Vec<Path>,
        merge: Option<Path>,
        version: u32,
        keys: &[&Type],
        state: &Type,
    ) -> Self {
        let constants: Vec<_> =
            migrations.iter().map(|path| quote_spanned!(path.span()=> <#path>::MIGRATION)).collect();
        let keys = key_columns(keys);
        let of_migrations = migrations.iter().map(|path| {
            let keys = keys.as_ref().map(
                |keys| quote_spanned!(path.span()=> ::millstream_sdk::migration::check_keys::<#path, #keys>();),
            );
            quote_spanned! {path.span()=>
                ::millstream_sdk::migration::check_state::<#path, #state>();
                #keys
            }
        });
        let of_merge = merge.as_ref().map(
            |path| quote_spanned!(path.span()=> ::millstream_sdk::migration::check_merge::<#path, #state>();),
        );
        let checks = match migrations.is_empty() {
            true => TokenStream::new(),
            false => quote! {
                const _: () = {
                    ::millstream_sdk::migration::check_versions(#version, &[#(#constants),*]);
                    #(#of_migrations)*
                    #of_merge
                };
            },
        };
        let merge = merge.map(|path| quote!(<#path>::MERGE));
        Self { migrations: constants, merge, checks }
    }
}

/// The type of the growing columns of these keys, if it can be told by the names of their types: one, or values alone. A
/// struct with the same columns has the same.
fn key_columns(keys: &[&Type]) -> Option<TokenStream> {
    let builders = |r#type: &Type| {
        let r#type = anonymous(r#type);
        quote!(<#r#type as ::millstream_sdk::WriteRow>::Builders)
    };
    match keys {
        [] => None,
        [key] => Some(builders(key)),
        keys if keys.iter().all(|key| types::is_value(key)) => {
            let builders = keys.iter().map(|key| builders(key));
            Some(quote!((#(#builders,)*)))
        }
        _ => None,
    }
}

/// The function as written and its `MIGRATION`, or what is wrong with it.
pub(crate) fn migrate(attribute: TokenStream, item: TokenStream) -> TokenStream {
    with_beside("migrate", item, |function| migration(attribute, function))
}

fn migration(attribute: TokenStream, function: &mut ItemFn) -> Result<TokenStream> {
    let ident = function.sig.ident.clone();
    let [from] = attribute::values([FROM], attribute)?;
    let from = from.ok_or_else(|| {
        Error::new_spanned(
            &ident,
            "a migration says the version whose states it takes: `#[migrate(from = 1)]`",
        )
    })?;
    let from = attribute::version(FROM.name, &from)?;
    let (taken, returned) = (taken(function)?, returned(function)?);
    let body = body(&ident, &taken, &returned);
    let Taken { keys, state: old } = taken;
    let Returned { key, state, .. } = returned;
    let key_fields = match keys.as_slice() {
        [] => no_fields(),
        keys => keys.iter().map(|(name, r#type)| fields(name, r#type)).collect(),
    };
    let old_fields = fields(STATE, &old);
    let new_fields = key.as_ref().map_or_else(no_fields, |key| fields("key", key));
    let makes_keys = match &key {
        Some(key) => quote! {
            impl ::millstream_sdk::migration::MakesKeys<<#key as ::millstream_sdk::WriteRow>::Builders> for #ident {}
        },
        None => quote!(impl<B> ::millstream_sdk::migration::MakesKeys<B> for #ident {}),
    };
    let beside = named_type(function, "migrate");
    Ok(quote! {
        #beside
        #makes_keys

        impl ::millstream_sdk::migration::Makes<#state> for #ident {}

        impl ::millstream_sdk::migration::Migrate for #ident {}

        impl #ident {
            #[doc(hidden)]
            pub const MIGRATION: ::millstream_sdk::Migration = {
                fn __millstream_keys(schema: &mut ::millstream_sdk::Schema) { #key_fields }
                fn __millstream_state(schema: &mut ::millstream_sdk::Schema) { #old_fields }
                fn __millstream_new_keys(schema: &mut ::millstream_sdk::Schema) { #new_fields }
                fn __millstream_call(
                    __millstream_keys: &::millstream_sdk::Table,
                    __millstream_states: &::millstream_sdk::Table,
                ) -> ::core::result::Result<::millstream_sdk::Migrated, ::millstream_sdk::Error> {
                    #body
                }
                ::millstream_sdk::Migration {
                    version: #from,
                    keys: __millstream_keys,
                    state: __millstream_state,
                    new_keys: __millstream_new_keys,
                    call: __millstream_call,
                }
            };
        }
    })
}

/// The type of the function's name. As a function of the plugin it does not compile.
fn named_type(function: &ItemFn, attribute: &str) -> TokenStream {
    let (beside, ident) = (type_beside(function), &function.sig.ident);
    let message = format!(
        "leave `{ident}` out of `export!`: it is exported with the update-state that names it, by `{attribute} = {ident}`"
    );
    quote! {
        #beside

        impl #ident {
            #[doc(hidden)]
            #[allow(dead_code, reason = "it says that it is not to be used")]
            pub const FUNCTION: ::millstream_sdk::Function = ::core::panic!(#message);
        }
    }
}

/// What a migration takes.
struct Taken {
    /// The columns of the old key, by name.
    keys: Vec<(String, Type)>,
    /// The old state.
    state: Type,
}

fn taken(function: &mut ItemFn) -> Result<Taken> {
    let ident = function.sig.ident.clone();
    let mut parameters: Vec<&mut FnArg> = function.sig.inputs.iter_mut().collect();
    let state = parameters.pop();
    let state = state.ok_or_else(|| {
        Error::new_spanned(
            ident,
            "a migration takes the old state: give it a parameter, after the key's columns",
        )
    })?;
    let state = taken_type(state)?;
    let mut keys: Vec<(String, Type)> = Vec::new();
    for input in parameters {
        let r#type = taken_type(input)?;
        let name = signature::column(signature::typed(input)?)?;
        if keys.iter().any(|(other, _)| *other == name) {
            let message = format!("two columns of the key are called `{name}`: rename one");
            return Err(Error::new_spanned(input, message));
        }
        keys.push((name, r#type));
    }
    Ok(Taken { keys, state })
}

fn taken_type(input: &mut FnArg) -> Result<Type> {
    let r#type = (*signature::typed(input)?.ty).clone();
    refuse_context(&r#type)?;
    types::check(&r#type)?;
    Ok(r#type)
}

fn refuse_context(r#type: &Type) -> Result<()> {
    match types::is(r#type, "Context") {
        true => Err(Error::new_spanned(
            r#type,
            "states are migrated and merged between batches, at any time: go by the key and the state alone, and drop `Context`",
        )),
        false => Ok(()),
    }
}

/// What a migration makes.
struct Returned {
    /// The new key; none where keys stay as they are.
    key: Option<Type>,
    state: Type,
    /// Whether the function returns an `Option`.
    drops: bool,
    /// Whether it returns a `Result`.
    fallible: bool,
}

fn returned(function: &ItemFn) -> Result<Returned> {
    let ReturnType::Type(_, whole) = &function.sig.output else {
        return Err(Error::new(
            function.sig.paren_token.span.close(),
            "the function returns nothing: a `#[migrate]` returns the new state, `(key, state)`, or an `Option` of that",
        ));
    };
    let inside = types::argument(whole, "Result");
    let kept = inside.unwrap_or(whole);
    let optional = types::argument(kept, "Option");
    let (key, state) = match optional.unwrap_or(kept) {
        Type::Tuple(pair) if pair.elems.len() == 2 => (Some(pair.elems[0].clone()), pair.elems[1].clone()),
        Type::Tuple(other) if !other.elems.is_empty() => {
            return Err(Error::new_spanned(
                other,
                "a migration returns the new state, or `(key, state)`; a key of several columns is a struct with \
                 `#[derive(Row)]`",
            ));
        }
        state => (None, state.clone()),
    };
    key.iter().chain([&state]).try_for_each(check_kept)?;
    Ok(Returned { key, state, drops: optional.is_some(), fallible: inside.is_some() })
}

/// Refuses what cannot be kept.
fn check_kept(r#type: &Type) -> Result<()> {
    if r#type.to_token_stream().to_string().contains('&') {
        let message =
            "what is kept outlives the call and cannot borrow from it: own it, as `String` or `Vec<u8>`";
        return Err(Error::new_spanned(r#type, message));
    }
    if is_nothing(r#type) {
        return Err(Error::new_spanned(
            r#type,
            "there is nothing to keep in `()`: return `None` to drop a key",
        ));
    }
    types::check(r#type)
}

/// The body of `call`: open the columns, then loop over the keys.
fn body(ident: &Ident, taken: &Taken, returned: &Returned) -> TokenStream {
    let Taken { keys, state: old } = taken;
    let old = anonymous(old);
    let open = keys.iter().enumerate().map(|(place, (name, r#type))| {
        let (reader, r#type) = (reader(place), anonymous(r#type));
        quote! {
            let #reader = <#r#type as ::millstream_sdk::ReadRow>::open(#name, &mut __millstream_columns)?;
        }
    });
    let arguments = keys.iter().enumerate().map(|(place, (_, r#type))| {
        let (reader, r#type) = (reader(place), anonymous(r#type));
        quote!(<#r#type as ::millstream_sdk::ReadRow>::read(&#reader, __millstream_row),)
    });
    let call = outcome(
        returned.fallible,
        quote!(#ident(
            #(#arguments)*
            <#old as ::millstream_sdk::ReadRow>::read(&__millstream_old, __millstream_row)
        )),
    );
    let answer = match (returned.key.is_some(), returned.drops) {
        (true, true) => call,
        (true, false) => quote!((#call).map(::core::option::Option::Some)),
        (false, true) => quote!((#call).map(|state| state.map(|state| ((), state)))),
        (false, false) => quote!((#call).map(|state| ::core::option::Option::Some(((), state)))),
    };
    quote! {
        #[allow(unused_mut, unused_variables, reason = "a migration need not read the key")]
        let mut __millstream_columns = ::millstream_sdk::Columns::of(__millstream_keys);
        #(#open)*
        let __millstream_old = <#old as ::millstream_sdk::ReadRow>::open(
            #STATE,
            &mut ::millstream_sdk::Columns::of(__millstream_states),
        )?;
        ::millstream_sdk::migration::migrate(
            __millstream_keys.rows,
            __millstream_states.rows,
            |__millstream_row| #answer,
        )
    }
}

/// The function as written and its `MERGE`, or what is wrong with it.
pub(crate) fn merge(attribute: &TokenStream, item: TokenStream) -> TokenStream {
    with_beside("merge", item, |function| merging(attribute, function))
}

fn merging(attribute: &TokenStream, function: &mut ItemFn) -> Result<TokenStream> {
    if !attribute.is_empty() {
        return Err(Error::new_spanned(attribute, "`#[merge]` has no keys: drop them"));
    }
    let mut rows = Vec::new();
    for input in &mut function.sig.inputs {
        rows.push((*signature::typed(input)?.ty).clone());
    }
    rows.iter().try_for_each(refuse_context)?;
    let wrong = |at: &dyn ToTokens| {
        Error::new_spanned(at, "a merge takes two states and returns one: make all three the same type")
    };
    let ReturnType::Type(_, returned) = &function.sig.output else {
        return Err(wrong(&function.sig));
    };
    let inside = types::argument(returned, "Result");
    let state = inside.unwrap_or(returned);
    check_kept(state)?;
    let text = |r#type: &Type| anonymous(r#type).to_string();
    if rows.len() != 2 {
        return Err(wrong(&function.sig.ident));
    }
    if let Some(other) = rows.iter().find(|row| text(row) != text(state)) {
        return Err(wrong(other));
    }
    let (ident, beside) = (&function.sig.ident, named_type(function, "merge"));
    let read = quote!(<#state as ::millstream_sdk::ReadRow>::read(&__millstream_reader, __millstream_row));
    let call = outcome(inside.is_some(), quote!(#ident(__millstream_total, #read)));
    Ok(quote! {
        #beside

        impl ::millstream_sdk::migration::Merges<#state> for #ident {}

        impl ::millstream_sdk::migration::Merging for #ident {}

        impl #ident {
            #[doc(hidden)]
            pub const MERGE: ::millstream_sdk::migration::Merge = {
                fn __millstream_call(
                    __millstream_states: &::millstream_sdk::Table,
                    __millstream_groups: ::millstream_sdk::Groups<'_>,
                ) -> ::core::result::Result<::millstream_sdk::Table, ::millstream_sdk::Error> {
                    let __millstream_reader = <#state as ::millstream_sdk::ReadRow>::open(
                        #STATE,
                        &mut ::millstream_sdk::Columns::of(__millstream_states),
                    )?;
                    ::millstream_sdk::fold::fold(
                        __millstream_states.rows,
                        __millstream_groups,
                        |__millstream_row| #read,
                        |__millstream_total, __millstream_row| #call,
                    )
                }
                __millstream_call
            };
        }
    })
}

#[cfg(test)]
#[path = "migration_tests.rs"]
mod tests;

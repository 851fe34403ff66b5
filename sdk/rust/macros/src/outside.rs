//! Receivers and sinks: implementations of a trait, and sinks that are functions.

use proc_macro2::TokenStream;
use quote::{ToTokens, format_ident, quote};
use syn::ext::IdentExt;
use syn::{Error, Ident, Item, ItemFn, ItemImpl, LitStr, Result, ReturnType, Type};

use crate::attribute::{self, Key};
use crate::function::{anonymous, fields, no_fields};
use crate::signature::{self, OUTPUT, VALUE};
use crate::types;

/// The key that names the column of a sink's single value.
const COLUMN: Key = Key { name: "column", form: "column = \"...\"" };

/// What a `FUNCTION` is made of.
struct Parts {
    kind: Ident,
    name: String,
    documentation: String,
    input: TokenStream,
    output: TokenStream,
    /// Items, and then the `Call`.
    items: TokenStream,
    call: TokenStream,
}

/// The implementation as written and its `FUNCTION`, or what is wrong with it.
pub(crate) fn receiver(attribute: TokenStream, item: TokenStream) -> TokenStream {
    beside(item, |item| match item {
        Item::Impl(item) => implemented_receiver(attribute, item),
        other => Err(Error::new_spanned(other, "`#[receiver]` stands on an `impl Receiver for ...`")),
    })
}

/// The implementation or the function as written and its `FUNCTION`, or what is wrong with it.
pub(crate) fn sink(attribute: TokenStream, item: TokenStream) -> TokenStream {
    beside(item, |item| match item {
        Item::Impl(item) => implemented_sink(attribute, item),
        Item::Fn(item) => {
            refuse_keys(&attribute)?;
            sink_function(item)
        }
        other => {
            let message = "`#[sink]` stands on an `impl Sink for ...` or on a function";
            Err(Error::new_spanned(other, message))
        }
    })
}

fn beside(item: TokenStream, read: impl FnOnce(&mut Item) -> Result<TokenStream>) -> TokenStream {
    match syn::parse2::<Item>(item.clone()) {
        Ok(mut item) => {
            let beside = read(&mut item).unwrap_or_else(Error::into_compile_error);
            quote!(#item #beside)
        }
        Err(_) => {
            let error = Error::new_spanned(&item, "this attribute stands on an `impl`").into_compile_error();
            quote!(#item #error)
        }
    }
}

fn implemented_receiver(attribute: TokenStream, item: &ItemImpl) -> Result<TokenStream> {
    let column = attribute::value_of(OUTPUT, attribute)?;
    let (of, name) = implementor(item, "Receiver")?;
    let column = name_or_value(column);
    let parts = Parts {
        kind: format_ident!("Receiver"),
        name,
        documentation: attribute::documentation(&item.attrs),
        input: no_fields(),
        output: quote! {
            <<#of as ::millstream_sdk::Receiver>::Row as ::millstream_sdk::Row>::fields(#column, schema);
        },
        items: TokenStream::new(),
        call: quote!(Receive(
            ::millstream_sdk::outside::start::<#of>,
            <#of as ::millstream_sdk::Receiver>::check
        )),
    };
    Ok(beside_type(&of, parts))
}

fn implemented_sink(attribute: TokenStream, item: &ItemImpl) -> Result<TokenStream> {
    let column = attribute::value_of(COLUMN, attribute)?;
    let (of, name) = implementor(item, "Sink")?;
    let column = name_or_value(column);
    let parts = Parts {
        kind: format_ident!("Sink"),
        name,
        documentation: attribute::documentation(&item.attrs),
        input: quote! {
            <<#of as ::millstream_sdk::Sink>::Row as ::millstream_sdk::Row>::fields(#column, schema);
        },
        output: no_fields(),
        items: TokenStream::new(),
        call: quote!(Write(::millstream_sdk::outside::open::<#of>, <#of as ::millstream_sdk::Sink>::check)),
    };
    Ok(beside_type(&of, parts))
}

/// A parameter of a sink, in order.
enum Parameter {
    Rows { name: String, row: Box<Type> },
    Batch,
}

fn sink_function(item: &mut ItemFn) -> Result<TokenStream> {
    signature::check_plain(item)?;
    let parameters = item.sig.inputs.iter_mut().map(parameter).collect::<Result<Vec<_>>>()?;
    let mut rows = parameters.iter().filter_map(|parameter| match parameter {
        Parameter::Rows { name, row } => Some((name, row)),
        Parameter::Batch => None,
    });
    let (Some((column, row)), None) = (rows.next(), rows.next()) else {
        let message = "a sink takes one `Rows`: give it a parameter `Rows<'_, T>`, and no second";
        return Err(Error::new_spanned(&item.sig.ident, message));
    };
    let (ident, visibility) = (&item.sig.ident, &item.vis);
    let arguments = parameters.iter().map(|parameter| match parameter {
        Parameter::Rows { name, row } => {
            let row = anonymous(row);
            quote!(__millstream_rows.read::<#row>(#name)?)
        }
        Parameter::Batch => quote!(__millstream_batch),
    });
    let called = match &item.sig.output {
        ReturnType::Type(_, returned) if types::argument(returned, "Result").is_some() => {
            quote!(#ident(#(#arguments),*))
        }
        _ => quote!({ #ident(#(#arguments),*); ::core::result::Result::Ok(()) }),
    };
    let parts = Parts {
        kind: format_ident!("Sink"),
        name: ident.unraw().to_string().trim_matches('_').replace('_', "-"),
        documentation: attribute::documentation(&item.attrs),
        input: fields(column, row),
        output: no_fields(),
        items: quote! {
            fn __millstream_write(
                __millstream_rows: &::millstream_sdk::Table,
                __millstream_batch: ::millstream_sdk::Batch,
            ) -> ::core::result::Result<(), ::millstream_sdk::Fault> {
                #called
            }
        },
        call: quote! {
            Write(
                || ::core::result::Result::Ok(::std::boxed::Box::new(__millstream_write)),
                || ::core::result::Result::Ok(()),
            )
        },
    };
    let function = beside_type(ident, parts);
    Ok(quote! {
        #[doc(hidden)]
        #[allow(non_camel_case_types, reason = "the type is found by the function's name")]
        #visibility struct #ident {}

        #function
    })
}

fn refuse_keys(attribute: &TokenStream) -> Result<()> {
    match attribute.is_empty() {
        true => Ok(()),
        false => Err(Error::new_spanned(
            attribute,
            "a sink that is a function has no keys: its parameter's name is the column's",
        )),
    }
}

fn parameter(input: &mut syn::FnArg) -> Result<Parameter> {
    let parameter = signature::typed(input)?;
    if types::is(&parameter.ty, "Batch") {
        return Ok(Parameter::Batch);
    }
    let Some(row) = types::argument(&parameter.ty, "Rows").cloned() else {
        let message = "a sink takes a batch's rows, `Rows<'_, T>`, and its `Batch`";
        return Err(Error::new_spanned(&parameter.ty, message));
    };
    types::check(&row)?;
    Ok(Parameter::Rows { name: signature::column(parameter)?, row: Box::new(row) })
}

/// The type that implements the trait, and the function's name.
fn implementor<'i>(item: &'i ItemImpl, of: &str) -> Result<(&'i Type, String)> {
    let implements = item.trait_.as_ref().and_then(|(_, path, _)| path.segments.last());
    if implements.is_none_or(|segment| segment.ident != of) {
        let message = format!("this attribute stands on an `impl {of} for ...`");
        return Err(Error::new_spanned(&item.self_ty, message));
    }
    if !item.generics.params.is_empty() {
        let message = "the columns' types must be known: write the type instead of the parameter";
        return Err(Error::new_spanned(&item.generics, message));
    }
    let ident = match &*item.self_ty {
        Type::Path(path) => path.path.segments.last().map(|segment| &segment.ident),
        _ => None,
    };
    let ident = ident.ok_or_else(|| Error::new_spanned(&item.self_ty, "give the type a name of its own"))?;
    Ok((&item.self_ty, kebab_case(&ident.unraw().to_string())))
}

/// `LineTail` is called `line-tail`.
fn kebab_case(name: &str) -> String {
    let mut kebab = String::new();
    for c in name.chars() {
        if c.is_uppercase() && !kebab.is_empty() && !kebab.ends_with('-') {
            kebab.push('-');
        }
        kebab.extend(c.to_lowercase().map(|c| if c == '_' { '-' } else { c }));
    }
    kebab
}

fn name_or_value(name: Option<LitStr>) -> String {
    name.map_or_else(|| VALUE.to_owned(), |name| name.value())
}

/// The `FUNCTION` of a type, and what the builder of pipelines knows it by.
fn beside_type(of: &impl ToTokens, parts: Parts) -> TokenStream {
    let Parts { kind, name, documentation, input, output, items, call } = parts;
    quote! {
        impl #of {
            #[doc(hidden)]
            pub const FUNCTION: ::millstream_sdk::Function = {
                fn __millstream_input(schema: &mut ::millstream_sdk::Schema) { #input }
                fn __millstream_output(schema: &mut ::millstream_sdk::Schema) { #output }
                #items
                ::millstream_sdk::Function {
                    name: #name,
                    kind: ::millstream_sdk::Kind::#kind,
                    documentation: #documentation,
                    input: __millstream_input,
                    output: __millstream_output,
                    keys: ::millstream_sdk::function::no_fields,
                    state: ::millstream_sdk::function::no_fields,
                    state_version: 0,
                    migrations: &[],
                    merge: ::core::option::Option::None,
                    call: ::millstream_sdk::Call::#call,
                }
            };
        }

        impl ::millstream_sdk::application::Described<::millstream_sdk::application::kind::#kind> for #of {
            const FUNCTION: ::millstream_sdk::Function = Self::FUNCTION;
        }
    }
}

#[cfg(test)]
#[path = "outside_tests.rs"]
mod tests;

//! The code beside a function: its description, and how a chunk of rows is led through it.

use proc_macro2::TokenStream;
use quote::{format_ident, quote};
use syn::ext::IdentExt;
use syn::{Ident, ItemFn, Result, Type};

use crate::migration::Takeover;
use crate::signature::{Kind, Parameter, Signature};
use crate::{attribute, pair, signature, types, update_state};

/// The function as written and its `FUNCTION`, or what is wrong with it.
pub(crate) fn expand(kind: Kind, attribute: TokenStream, item: TokenStream) -> TokenStream {
    with_beside(kind.name(), item, |function| description(kind, attribute, function))
}

/// The function as written and what stands beside it, or what is wrong with it.
pub(crate) fn with_beside(
    attribute: &str,
    item: TokenStream,
    describe: impl FnOnce(&mut ItemFn) -> Result<TokenStream>,
) -> TokenStream {
    let mut function: ItemFn = match syn::parse2(item.clone()) {
        Ok(function) => function,
        Err(_) => {
            let message = format!("`#[{attribute}]` stands on a function");
            let error = syn::Error::new_spanned(&item, message).into_compile_error();
            return quote!(#item #error);
        }
    };
    let beside = signature::check_plain(&function).and_then(|()| describe(&mut function));
    let beside = beside.unwrap_or_else(syn::Error::into_compile_error);
    quote!(#function #beside)
}

/// What differs from kind to kind.
pub(crate) struct Parts {
    /// Bodies of functions that add columns to a `schema`.
    pub(crate) input: TokenStream,
    pub(crate) output: TokenStream,
    pub(crate) keys: TokenStream,
    pub(crate) state: TokenStream,
    pub(crate) state_version: u32,
    pub(crate) takeover: Takeover,
    /// The variant of the SDK's `Call`.
    pub(crate) call: Ident,
    /// The parameters of a function that leads rows through the author's, their types, what it answers with, and its body.
    pub(crate) parameters: TokenStream,
    pub(crate) answer: TokenStream,
    pub(crate) body: TokenStream,
}

fn description(kind: Kind, attribute: TokenStream, function: &mut ItemFn) -> Result<TokenStream> {
    let parts = match kind {
        Kind::Reduce | Kind::Inverse => pair::parts(kind, attribute, function)?,
        Kind::UpdateState => update_state::parts(attribute, function)?,
        _ => parts(kind, attribute, function)?,
    };
    let Parts { input, output, keys, state, state_version, takeover, call, parameters, answer, body } = parts;
    let Takeover { migrations, merge, checks } = takeover;
    let merge = match merge {
        Some(merge) => quote!(::core::option::Option::Some(#merge)),
        None => quote!(::core::option::Option::None),
    };
    let ident = &function.sig.ident;
    let name = ident.unraw().to_string().trim_matches('_').replace('_', "-");
    let documentation = attribute::documentation(&function.attrs);
    let variant = kind.variant();
    let r#type = type_beside(function);
    Ok(quote! {
        #r#type
        #checks

        impl #ident {
            #[doc(hidden)]
            pub const FUNCTION: ::millstream_sdk::Function = {
                fn __millstream_input(schema: &mut ::millstream_sdk::Schema) { #input }
                fn __millstream_output(schema: &mut ::millstream_sdk::Schema) { #output }
                fn __millstream_keys(schema: &mut ::millstream_sdk::Schema) { #keys }
                fn __millstream_state(schema: &mut ::millstream_sdk::Schema) { #state }
                fn __millstream_call(
                    #parameters
                    __millstream_context: ::millstream_sdk::Context,
                ) -> ::core::result::Result<#answer, ::millstream_sdk::Error> {
                    #body
                }
                ::millstream_sdk::Function {
                    name: #name,
                    kind: ::millstream_sdk::Kind::#variant,
                    documentation: #documentation,
                    input: __millstream_input,
                    output: __millstream_output,
                    keys: __millstream_keys,
                    state: __millstream_state,
                    state_version: #state_version,
                    migrations: &[#(#migrations),*],
                    merge: #merge,
                    call: ::millstream_sdk::Call::#call(__millstream_call),
                }
            };
        }

        impl ::millstream_sdk::application::Described<::millstream_sdk::application::kind::#variant> for #ident {
            const FUNCTION: ::millstream_sdk::Function = Self::FUNCTION;
        }
    })
}

/// The type of the function's name that carries what an attribute makes of it.
pub(crate) fn type_beside(function: &ItemFn) -> TokenStream {
    let (visibility, ident) = (&function.vis, &function.sig.ident);
    quote! {
        #[doc(hidden)]
        #[allow(non_camel_case_types, reason = "the type is found by the function's name")]
        #visibility struct #ident {}
    }
}

/// The parts of a map, flat-map, filter or transform.
fn parts(kind: Kind, attribute: TokenStream, function: &mut ItemFn) -> Result<Parts> {
    let signature = signature::read(kind, attribute, function)?;
    Ok(Parts {
        input: input_fields(&signature),
        output: output_fields(&signature),
        keys: no_fields(),
        state: no_fields(),
        state_version: 0,
        takeover: Takeover::default(),
        call: format_ident!("Rows"),
        parameters: quote!(__millstream_table: &::millstream_sdk::Table,),
        answer: quote!(::millstream_sdk::Answer),
        body: call(kind, &function.sig.ident, &signature),
    })
}

/// The body of a function that adds the columns of a type.
pub(crate) fn fields(name: &str, r#type: &Type) -> TokenStream {
    let r#type = anonymous(r#type);
    quote!(<#r#type as ::millstream_sdk::Row>::fields(#name, schema);)
}

/// The body of a function that adds no columns.
pub(crate) fn no_fields() -> TokenStream {
    quote!(let _ = schema;)
}

fn input_fields(signature: &Signature) -> TokenStream {
    let fields = signature.parameters.iter().filter_map(|parameter| match parameter {
        Parameter::Input { name, r#type } => Some(self::fields(name, r#type)),
        Parameter::Context => None,
    });
    fields.collect()
}

fn output_fields(signature: &Signature) -> TokenStream {
    signature.output.as_ref().map_or_else(no_fields, |output| fields(&signature.output_name, output))
}

/// The body of `call`: open the columns, then loop over the rows or, in a transform, hand them over.
fn call(kind: Kind, ident: &Ident, signature: &Signature) -> TokenStream {
    if kind == Kind::Transform {
        return transform(ident, signature);
    }
    let readers = signature.parameters.iter().enumerate().filter_map(|(place, parameter)| match parameter {
        Parameter::Input { name, r#type } => {
            let (reader, r#type) = (reader(place), anonymous(r#type));
            Some(quote! {
                let #reader = <#r#type as ::millstream_sdk::ReadRow>::open(#name, &mut __millstream_columns)?;
            })
        }
        Parameter::Context => None,
    });
    let arguments = signature.parameters.iter().enumerate().map(|(place, parameter)| match parameter {
        Parameter::Input { r#type, .. } => {
            let (reader, r#type) = (reader(place), anonymous(r#type));
            quote!(<#r#type as ::millstream_sdk::ReadRow>::read(&#reader, __millstream_row))
        }
        Parameter::Context => quote!(__millstream_context),
    });
    let answer = outcome(signature.fallible, quote!(#ident(#(#arguments),*)));
    let run = match kind {
        Kind::Map => quote!(map(__millstream_table.rows, |__millstream_row| #answer)),
        Kind::Filter => quote!(filter(__millstream_table.rows, |__millstream_row| #answer)),
        _ => quote!(flat_map(
            __millstream_table.rows,
            {
                static GROWTH: ::millstream_sdk::function::Growth = ::millstream_sdk::function::Growth::new();
                &GROWTH
            },
            |__millstream_row| #answer,
        )),
    };
    quote! {
        let mut __millstream_columns = ::millstream_sdk::Columns::of(__millstream_table);
        #(#readers)*
        ::millstream_sdk::function::#run
    }
}

fn transform(ident: &Ident, signature: &Signature) -> TokenStream {
    let arguments = signature.parameters.iter().map(|parameter| match parameter {
        Parameter::Input { name, r#type } => {
            let r#type = anonymous(r#type);
            quote!(__millstream_table.read::<#r#type>(#name)?)
        }
        Parameter::Context => quote!(__millstream_context),
    });
    let answer = outcome(signature.fallible, quote!(#ident(#(#arguments),*)));
    quote!(::millstream_sdk::function::transform(#answer))
}

/// A function's answer as a `Result`, which costs nothing where there can be no error.
pub(crate) fn outcome(fallible: bool, answer: TokenStream) -> TokenStream {
    if fallible {
        answer
    } else {
        quote!(::core::result::Result::Ok::<_, ::core::convert::Infallible>(#answer))
    }
}

/// The type with its lifetimes left to be inferred, as it may stand inside a function.
pub(crate) fn anonymous(r#type: &Type) -> TokenStream {
    types::with_lifetime(r#type, "_")
}

pub(crate) fn reader(place: usize) -> Ident {
    format_ident!("__millstream_reader_{place}")
}

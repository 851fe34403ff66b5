//! Types as tokens: what a return type is made of, and which types cannot be columns.
//!
//! A macro sees names, not types, so this finds the mistakes that names show. The rest fail on the SDK's traits, whose
//! messages list what is allowed.

use proc_macro2::{Group, Ident, TokenStream, TokenTree};
use quote::ToTokens;
use syn::{
    AngleBracketedGenericArguments, Error, GenericArgument, PathArguments, PathSegment, Result, Type,
    TypeParamBound,
};

const VALUES: &str = "a column holds bool, i64, f64, Timestamp, &str or String, &[u8] or Vec<u8>, a List or Vec of those, \
                      or an Option of those";

/// The last segment of a type that is a path.
pub(crate) fn segment(r#type: &Type) -> Option<&PathSegment> {
    match r#type {
        Type::Path(path) => path.path.segments.last(),
        Type::Paren(paren) => segment(&paren.elem),
        Type::Group(group) => segment(&group.elem),
        _ => None,
    }
}

pub(crate) fn is(r#type: &Type, name: &str) -> bool {
    segment(r#type).is_some_and(|segment| segment.ident == name)
}

fn arguments(segment: &PathSegment) -> impl Iterator<Item = &GenericArgument> {
    let arguments = match &segment.arguments {
        PathArguments::AngleBracketed(AngleBracketedGenericArguments { args, .. }) => Some(args),
        _ => None,
    };
    arguments.into_iter().flatten()
}

/// The first type in the angle brackets of a type of that name: `T` of `Vec<T>`, `Result<T, E>` or `Rows<'_, T>`.
pub(crate) fn argument<'t>(r#type: &'t Type, name: &str) -> Option<&'t Type> {
    let segment = segment(r#type).filter(|segment| segment.ident == name)?;
    arguments(segment).find_map(|argument| match argument {
        GenericArgument::Type(argument) => Some(argument),
        _ => None,
    })
}

/// The `T` of `impl Iterator<Item = T>`, `Vec<T>` or `Option<T>`.
pub(crate) fn element(r#type: &Type) -> Option<&Type> {
    let Type::ImplTrait(bounds) = r#type else {
        return argument(r#type, "Vec").or_else(|| argument(r#type, "Option"));
    };
    let segments = bounds.bounds.iter().filter_map(|bound| match bound {
        TypeParamBound::Trait(bound) => bound.path.segments.last(),
        _ => None,
    });
    segments.flat_map(arguments).find_map(|argument| match argument {
        GenericArgument::AssocType(item) if item.ident == "Item" => Some(&item.ty),
        _ => None,
    })
}

/// Whether a type is by its name a value, and so a single column.
pub(crate) fn is_value(r#type: &Type) -> bool {
    const NAMES: [&str; 8] = ["bool", "i64", "f64", "Timestamp", "String", "Vec", "List", "Option"];
    matches!(r#type, Type::Reference(_)) || NAMES.iter().any(|name| is(r#type, name))
}

/// Refuses what by its name cannot be a column, with the remedy.
pub(crate) fn check(r#type: &Type) -> Result<()> {
    match r#type {
        Type::Paren(paren) => check(&paren.elem),
        Type::Group(group) => check(&group.elem),
        Type::Path(_) => check_path(r#type),
        Type::Reference(reference) if reference.mutability.is_some() => {
            Err(Error::new_spanned(r#type, "values are only read: write `&` instead of `&mut`"))
        }
        Type::Reference(reference) => check_borrowed(r#type, &reference.elem),
        Type::Tuple(_) => Err(Error::new_spanned(
            r#type,
            "a tuple's columns have no names: use a struct with `#[derive(Row)]`",
        )),
        _ => Err(Error::new_spanned(r#type, format!("this type cannot be a column: {VALUES}"))),
    }
}

fn check_path(r#type: &Type) -> Result<()> {
    let Some(segment) = segment(r#type) else {
        return Ok(());
    };
    let name = segment.ident.to_string();
    match name.as_str() {
        "i8" | "i16" | "i32" | "i128" | "isize" | "u8" | "u16" | "u32" | "u64" | "u128" | "usize" => {
            Err(Error::new_spanned(r#type, format!("`{name}` cannot be a column's value: use `i64`")))
        }
        "f32" => Err(Error::new_spanned(r#type, "`f32` cannot be a column's value: use `f64`")),
        "char" => {
            Err(Error::new_spanned(r#type, "`char` cannot be a column's value: use `&str` or `String`"))
        }
        "HashMap" | "BTreeMap" => Err(Error::new_spanned(
            r#type,
            "a map cannot be a column's value: use two lists, one of keys and one of values",
        )),
        "Vec" if argument(r#type, "Vec").is_some_and(|element| is(element, "u8")) => Ok(()),
        "Vec" | "List" | "Option" => argument(r#type, &name).map_or(Ok(()), check),
        _ => Ok(()),
    }
}

fn check_borrowed(whole: &Type, borrowed: &Type) -> Result<()> {
    let remedy = match borrowed {
        Type::Slice(slice) if is(&slice.elem, "u8") => return Ok(()),
        Type::Slice(slice) => format!("use `List<'_, {}>`", slice.elem.to_token_stream()),
        _ if is(borrowed, "str") => return Ok(()),
        _ if is(borrowed, "String") => "use `&str`".to_owned(),
        _ => match argument(borrowed, "Vec") {
            Some(element) if is(element, "u8") => "use `&[u8]`".to_owned(),
            Some(element) => format!("use `List<'_, {}>`", element.to_token_stream()),
            None => format!("take it by value, as `{}`", borrowed.to_token_stream()),
        },
    };
    Err(Error::new_spanned(whole, format!("this reference cannot be a column's value: {remedy}")))
}

/// The type with `_` or another name for each of its lifetimes but `'static`.
pub(crate) fn with_lifetime(r#type: &Type, name: &str) -> TokenStream {
    rename_lifetimes(r#type.to_token_stream(), name)
}

fn rename_lifetimes(tokens: TokenStream, name: &str) -> TokenStream {
    let mut after_quote = false;
    let tokens = tokens.into_iter().map(|token| match token {
        TokenTree::Ident(old) if after_quote && old != "static" => {
            after_quote = false;
            TokenTree::Ident(Ident::new(name, old.span()))
        }
        TokenTree::Group(group) => {
            let mut inner = Group::new(group.delimiter(), rename_lifetimes(group.stream(), name));
            inner.set_span(group.span());
            TokenTree::Group(inner)
        }
        token => {
            after_quote = matches!(&token, TokenTree::Punct(punct) if punct.as_char() == '\'');
            token
        }
    });
    tokens.collect()
}

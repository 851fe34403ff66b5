//! What authors write inside the attributes: `output = "..."`, `version = 1`, `migrate = lower` and
//! `#[column(name = "...")]`.

use proc_macro2::TokenStream;
use syn::ext::IdentExt;
use syn::parse::Parser;
use syn::punctuated::Punctuated;
use syn::{Attribute, Error, Expr, ExprLit, Ident, Lit, LitStr, MetaNameValue, Path, Result, Token};

/// A key that an attribute may have, and how it is written.
pub(crate) struct Key {
    pub(crate) name: &'static str,
    pub(crate) form: &'static str,
}

/// The values of the keys that an attribute may have, in the order of `keys`.
pub(crate) fn values<const N: usize>(keys: [Key; N], attribute: TokenStream) -> Result<[Option<Expr>; N]> {
    let forms: Vec<_> = keys.iter().map(|key| format!("`{}`", key.form)).collect();
    let (last, others) = forms.split_last().expect("an attribute without keys is not read");
    let forms = if others.is_empty() { last.clone() } else { format!("{} and {last}", others.join(", ")) };
    let pairs = Punctuated::<MetaNameValue, Token![,]>::parse_terminated
        .parse2(attribute)
        .map_err(|error| Error::new(error.span(), format!("expected {forms}")))?;
    let mut values = [const { None }; N];
    for pair in pairs {
        let Some(place) = keys.iter().position(|key| pair.path.is_ident(key.name)) else {
            let all = if N == 1 { "the only one here is" } else { "those here are" };
            return Err(Error::new_spanned(pair.path, format!("unknown key; {all} {forms}")));
        };
        if values[place].replace(pair.value).is_some() {
            let name = keys[place].name;
            return Err(Error::new_spanned(pair.path, format!("`{name}` is said twice; keep one")));
        }
    }
    Ok(values)
}

/// The text of the one key that an attribute may have.
pub(crate) fn value_of(key: Key, attribute: TokenStream) -> Result<Option<LitStr>> {
    let name = key.name;
    let [value] = values([key], attribute)?;
    value.map(|value| text(name, &value)).transpose()
}

/// A column's name.
pub(crate) fn text(key: &str, value: &Expr) -> Result<LitStr> {
    match value {
        Expr::Lit(ExprLit { lit: Lit::Str(text), .. }) if !text.value().is_empty() => Ok(text.clone()),
        _ => Err(Error::new_spanned(value, format!("a column's name is text: `{key} = \"...\"`"))),
    }
}

/// The version of a state.
pub(crate) fn version(key: &str, value: &Expr) -> Result<u32> {
    let number = match value {
        Expr::Lit(ExprLit { lit: Lit::Int(number), .. }) => number.base10_parse().unwrap_or_default(),
        _ => 0,
    };
    match number {
        0 => {
            Err(Error::new_spanned(value, format!("a state's version is a whole number from 1: `{key} = 1`")))
        }
        version => Ok(version),
    }
}

/// The functions that a key names: one, or several as a list.
pub(crate) fn functions(key: &str, value: &Expr) -> Result<Vec<Path>> {
    match value {
        Expr::Path(path) if path.qself.is_none() => Ok(vec![path.path.clone()]),
        Expr::Array(list) => {
            let named = list.elems.iter().map(|element| functions(key, element));
            Ok(named.collect::<Result<Vec<_>>>()?.concat())
        }
        _ => Err(Error::new_spanned(
            value,
            format!(
                "functions are named as they are called: `{key} = function`, or `{key} = [one, another]`"
            ),
        )),
    }
}

/// Takes `#[column(name = "...")]` off a parameter or a field; without it, the column is called as that is.
pub(crate) fn column_name(attributes: &mut Vec<Attribute>, ident: Option<&Ident>) -> Result<Option<String>> {
    let mut name = ident.map(|ident| ident.unraw().to_string());
    for attribute in attributes.extract_if(.., |attribute| attribute.path().is_ident("column")) {
        let list = attribute.meta.require_list()?;
        if let Some(value) = value_of(Key { name: "name", form: "name = \"...\"" }, list.tokens.clone())? {
            name = Some(value.value());
        }
    }
    Ok(name)
}

/// The first line of the documentation comment, without the space that follows the slashes.
pub(crate) fn documentation(attributes: &[Attribute]) -> String {
    let text =
        attributes.iter().find_map(|attribute| match &attribute.meta.require_name_value().ok()?.value {
            Expr::Lit(ExprLit { lit: Lit::Str(text), .. }) if attribute.path().is_ident("doc") => {
                Some(text.value())
            }
            _ => None,
        });
    text.unwrap_or_default().trim().lines().next().unwrap_or_default().to_owned()
}

//! What authors write inside the attributes: `output = "..."` and `#[column(name = "...")]`.

use proc_macro2::TokenStream;
use syn::ext::IdentExt;
use syn::parse::Parser;
use syn::punctuated::Punctuated;
use syn::{Attribute, Error, Expr, ExprLit, Ident, Lit, LitStr, MetaNameValue, Result, Token};

/// The value of the one key that an attribute may have.
pub(crate) fn value_of(key: &str, attribute: TokenStream) -> Result<Option<LitStr>> {
    let pairs = Punctuated::<MetaNameValue, Token![,]>::parse_terminated
        .parse2(attribute)
        .map_err(|error| Error::new(error.span(), format!("expected `{key} = \"...\"`")))?;
    let mut value = None;
    for pair in pairs {
        if !pair.path.is_ident(key) {
            return Err(Error::new_spanned(
                pair.path,
                format!("unknown key; the only one here is `{key} = \"...\"`"),
            ));
        }
        if value.is_some() {
            return Err(Error::new_spanned(pair.path, format!("`{key}` is said twice; keep one")));
        }
        value = Some(text(key, &pair.value)?);
    }
    Ok(value)
}

fn text(key: &str, value: &Expr) -> Result<LitStr> {
    match value {
        Expr::Lit(ExprLit { lit: Lit::Str(text), .. }) if !text.value().is_empty() => Ok(text.clone()),
        _ => Err(Error::new_spanned(value, format!("a column's name is text: `{key} = \"...\"`"))),
    }
}

/// Takes `#[column(name = "...")]` off a parameter or a field; without it, the column is called as that is.
pub(crate) fn column_name(attributes: &mut Vec<Attribute>, ident: Option<&Ident>) -> Result<Option<String>> {
    let mut name = ident.map(|ident| ident.unraw().to_string());
    for attribute in attributes.extract_if(.., |attribute| attribute.path().is_ident("column")) {
        let list = attribute.meta.require_list()?;
        if let Some(value) = value_of("name", list.tokens.clone())? {
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

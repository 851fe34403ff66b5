//! An author's function, read and checked.

use proc_macro2::TokenStream;
use syn::spanned::Spanned;
use syn::{Error, FnArg, GenericParam, ItemFn, LitStr, Pat, PatType, Result, ReturnType, Type};

use crate::{attribute, types};

/// How a function is called.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    Map,
    FlatMap,
    Filter,
    Transform,
}

/// What the code that calls a function has to know of it.
pub(crate) struct Signature {
    pub(crate) parameters: Vec<Parameter>,
    /// The type of a row of the output; none for a filter.
    pub(crate) output: Option<Type>,
    /// The name of the output's column, if it is a single value.
    pub(crate) output_name: String,
    /// Whether the function returns a `Result`.
    pub(crate) fallible: bool,
}

/// A parameter, in order.
pub(crate) enum Parameter {
    Context,
    /// A column or a row of them; in a transform, the rows are of this type.
    Input {
        name: String,
        r#type: Box<Type>,
    },
}

impl Kind {
    /// The attribute's name.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Map => "map",
            Self::FlatMap => "flat_map",
            Self::Filter => "filter",
            Self::Transform => "transform",
        }
    }

    fn returns(self) -> &'static str {
        match self {
            Self::Map => "a value or a row, like `-> f64`",
            Self::Filter => "whether the row stays, `-> bool`",
            Self::FlatMap | Self::Transform => {
                "its rows, like `-> impl Iterator<Item = T>`, `-> Vec<T>` or `-> Option<T>`"
            }
        }
    }
}

/// Reads a function, taking the SDK's attributes off its parameters.
pub(crate) fn read(kind: Kind, attribute: TokenStream, function: &mut ItemFn) -> Result<Signature> {
    check_plain(function)?;
    let output_name = attribute::value_of("output", attribute)?;
    let parameters =
        function.sig.inputs.iter_mut().map(|input| parameter(kind, input)).collect::<Result<Vec<_>>>()?;
    check_parameters(kind, &parameters, function)?;
    let (output, fallible) = output(kind, function)?;
    check_output_name(kind, output_name.as_ref())?;
    let output_name = output_name.map_or_else(|| "value".to_owned(), |name| name.value());
    Ok(Signature { parameters, output, output_name, fallible })
}

/// Refuses functions that cannot be called with rows and nothing else.
fn check_plain(function: &ItemFn) -> Result<()> {
    let signature = &function.sig;
    if let Some(word) = &signature.asyncness {
        return Err(Error::new_spanned(
            word,
            "a function of a plugin runs to its end without waiting: drop `async`",
        ));
    }
    if let Some(word) = &signature.unsafety {
        return Err(Error::new_spanned(
            word,
            "a function of a plugin is called with any rows: drop `unsafe`",
        ));
    }
    let generic =
        signature.generics.params.iter().find(|generic| !matches!(generic, GenericParam::Lifetime(_)));
    if let Some(generic) = generic {
        return Err(Error::new_spanned(
            generic,
            "the columns' types must be known: write the type instead of the parameter",
        ));
    }
    Ok(())
}

fn parameter(kind: Kind, input: &mut FnArg) -> Result<Parameter> {
    let FnArg::Typed(PatType { attrs, pat, ty, .. }) = input else {
        return Err(Error::new_spanned(
            input,
            "a function of a plugin has no `self`: make it a free function",
        ));
    };
    if types::is(ty, "Context") {
        return Ok(Parameter::Context);
    }
    let ident = match &**pat {
        Pat::Ident(pattern) => Some(&pattern.ident),
        _ => None,
    };
    let Some(name) = attribute::column_name(attrs, ident)? else {
        return Err(Error::new_spanned(
            pat,
            "the parameter's name is its column's: name it, and take it apart in the body",
        ));
    };
    Ok(Parameter::Input { name, r#type: Box::new(input_type(kind, ty)?) })
}

fn input_type(kind: Kind, r#type: &Type) -> Result<Type> {
    let rows = types::argument(r#type, "Rows");
    let input = match (kind, rows) {
        (Kind::Transform, Some(row)) => row,
        (Kind::Transform, None) => {
            return Err(Error::new_spanned(
                r#type,
                "a transform takes a whole partition: write `Rows<'_, T>` of this type",
            ));
        }
        (_, Some(_)) => {
            let message =
                format!("`Rows` is what a `#[transform]` takes; a `#[{}]` takes one row", kind.name());
            return Err(Error::new_spanned(r#type, message));
        }
        (_, None) => r#type,
    };
    types::check(input)?;
    Ok(input.clone())
}

fn check_parameters(kind: Kind, parameters: &[Parameter], function: &ItemFn) -> Result<()> {
    let names: Vec<_> = parameters
        .iter()
        .zip(&function.sig.inputs)
        .filter_map(|(parameter, input)| match parameter {
            Parameter::Input { name, .. } => Some((name, input)),
            Parameter::Context => None,
        })
        .collect();
    for (place, (name, input)) in names.iter().enumerate() {
        if names[..place].iter().any(|(other, _)| other == name) {
            return Err(Error::new_spanned(input, format!("two inputs are called `{name}`: rename one")));
        }
    }
    match (kind, names.as_slice()) {
        (_, []) => {
            Err(Error::new_spanned(&function.sig.ident, "the function reads no column: give it a parameter"))
        }
        (Kind::Transform, [_, (_, second), ..]) => Err(Error::new_spanned(
            second,
            "a transform takes one `Rows`: use a struct with `#[derive(Row)]` for several columns",
        )),
        _ => Ok(()),
    }
}

/// The type of an output row, and whether it comes in a `Result`.
fn output(kind: Kind, function: &ItemFn) -> Result<(Option<Type>, bool)> {
    let ReturnType::Type(_, returned) = &function.sig.output else {
        let message =
            format!("the function returns nothing: a `#[{}]` returns {}", kind.name(), kind.returns());
        return Err(Error::new(function.sig.paren_token.span.close(), message));
    };
    let inside = types::argument(returned, "Result");
    let fallible = inside.is_some();
    let returned = inside.unwrap_or(returned);
    let wrong = || {
        let message = format!("a `#[{}]` returns {}, or a `Result` of that", kind.name(), kind.returns());
        Error::new(returned.span(), message)
    };
    let row = match kind {
        Kind::Filter if types::is(returned, "bool") => return Ok((None, fallible)),
        Kind::Filter => return Err(wrong()),
        Kind::Map if matches!(returned, Type::ImplTrait(_)) => return Err(wrong()),
        Kind::Map => returned,
        Kind::FlatMap | Kind::Transform => types::element(returned).ok_or_else(wrong)?,
    };
    types::check(row)?;
    Ok((Some(row.clone()), fallible))
}

fn check_output_name(kind: Kind, name: Option<&LitStr>) -> Result<()> {
    match name {
        Some(name) if kind == Kind::Filter => Err(Error::new(
            name.span(),
            "a filter has no output column, for its rows stay as they are: drop `output`",
        )),
        _ => Ok(()),
    }
}

//! An author's function, read and checked.

use proc_macro2::TokenStream;
use quote::format_ident;
use syn::spanned::Spanned;
use syn::{Error, FnArg, GenericParam, Ident, ItemFn, LitStr, Pat, PatType, Result, ReturnType, Type};

use crate::attribute::Key;
use crate::{attribute, types};

/// How a function is called.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    Map,
    FlatMap,
    Filter,
    Transform,
    Reduce,
    Inverse,
    UpdateState,
}

/// The name of the column of a single value, if nothing says another.
pub(crate) const VALUE: &str = "value";
/// The key that says another for the output.
pub(crate) const OUTPUT: Key = Key { name: "output", form: "output = \"...\"" };

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
            Self::Reduce => "reduce",
            Self::Inverse => "inverse",
            Self::UpdateState => "update_state",
        }
    }

    /// The variant of the SDK's kinds.
    pub(crate) fn variant(self) -> Ident {
        let name = match self {
            Self::Map => "Map",
            Self::FlatMap => "FlatMap",
            Self::Filter => "Filter",
            Self::Transform => "Transform",
            Self::Reduce => "Reduce",
            Self::Inverse => "Inverse",
            Self::UpdateState => "UpdateState",
        };
        format_ident!("{name}")
    }

    pub(crate) fn returns(self) -> &'static str {
        match self {
            Self::Reduce => "what both rows come to, like `-> i64`",
            Self::Inverse => "what is left of the total, like `-> i64`",
            Self::UpdateState => "nothing",
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
    let output_name = attribute::value_of(OUTPUT, attribute)?;
    let parameters =
        function.sig.inputs.iter_mut().map(|input| parameter(kind, input)).collect::<Result<Vec<_>>>()?;
    check_parameters(kind, &parameters, function)?;
    let (output, fallible) = output(kind, function)?;
    check_output_name(kind, output_name.as_ref())?;
    let output_name = output_name.map_or_else(|| VALUE.to_owned(), |name| name.value());
    Ok(Signature { parameters, output, output_name, fallible })
}

/// Refuses functions that cannot be called with rows and nothing else.
pub(crate) fn check_plain(function: &ItemFn) -> Result<()> {
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
    let parameter = typed(input)?;
    if types::is(&parameter.ty, "Context") {
        return Ok(Parameter::Context);
    }
    let name = column(parameter)?;
    Ok(Parameter::Input { name, r#type: Box::new(input_type(kind, &parameter.ty)?) })
}

/// A parameter with its type.
pub(crate) fn typed(input: &mut FnArg) -> Result<&mut PatType> {
    match input {
        FnArg::Typed(parameter) => Ok(parameter),
        FnArg::Receiver(_) => {
            Err(Error::new_spanned(input, "a function of a plugin has no `self`: make it a free function"))
        }
    }
}

/// The name of the column that a parameter is. Takes the attribute that says it off the parameter.
pub(crate) fn column(parameter: &mut PatType) -> Result<String> {
    let ident = match &*parameter.pat {
        Pat::Ident(pattern) => Some(&pattern.ident),
        _ => None,
    };
    attribute::column_name(&mut parameter.attrs, ident)?.ok_or_else(|| {
        Error::new_spanned(
            &parameter.pat,
            "the parameter's name is its column's: name it, and take it apart in the body",
        )
    })
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
        _ => types::element(returned).ok_or_else(wrong)?,
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

//! Updates of states: functions of a key, its new rows, its state, and the output.

use proc_macro2::TokenStream;
use quote::{format_ident, quote};
use syn::spanned::Spanned;
use syn::{Error, FnArg, Ident, ItemFn, Path, Result, ReturnType, Type};

use crate::attribute::Key;
use crate::function::{Parts, anonymous, fields, no_fields, outcome, reader};
use crate::migration::{MERGE, MIGRATE, Takeover};
use crate::signature::{OUTPUT, VALUE};
use crate::{attribute, migration, signature, types};

const VERSION: Key = Key { name: "version", form: "version = 1" };
/// The name of a state's field, if the state is a single value.
pub(crate) const STATE: &str = "state";

/// A parameter, in order.
enum Parameter {
    Context,
    /// A column of the key, or several.
    Key {
        name: String,
        r#type: Type,
    },
    /// The key's new rows, each of this type.
    Rows {
        name: String,
        r#type: Type,
    },
    State(Type),
    Output(Type),
}

/// What the code that calls an update-state has to know of it.
struct Update {
    parameters: Vec<Parameter>,
    fallible: bool,
    output_name: String,
    version: u32,
    migrations: Vec<Path>,
    merge: Option<Path>,
}

pub(crate) fn parts(attribute: TokenStream, function: &mut ItemFn) -> Result<Parts> {
    let update = read(attribute, function)?;
    let mut parts = Parts {
        input: no_fields(),
        output: no_fields(),
        keys: no_fields(),
        state: no_fields(),
        state_version: update.version,
        takeover: takeover(&update),
        call: format_ident!("Update"),
        parameters: quote!(__millstream_updates: &::millstream_sdk::Updates<'_>,),
        answer: quote!(::millstream_sdk::Outcome),
        body: body(&function.sig.ident, &update),
    };
    for parameter in &update.parameters {
        match parameter {
            Parameter::Context => {}
            Parameter::Key { name, r#type } => parts.keys.extend(fields(name, r#type)),
            Parameter::Rows { name, r#type } => parts.input = fields(name, r#type),
            Parameter::State(r#type) => parts.state = fields(STATE, r#type),
            Parameter::Output(r#type) => parts.output = fields(&update.output_name, r#type),
        }
    }
    Ok(parts)
}

fn read(attribute: TokenStream, function: &mut ItemFn) -> Result<Update> {
    let [output, version, migrate, merge] = attribute::values([OUTPUT, VERSION, MIGRATE, MERGE], attribute)?;
    let output_name = output.as_ref().map(|name| attribute::text(OUTPUT.name, name)).transpose()?;
    let version = version.as_ref().map_or(Ok(1), |version| attribute::version(VERSION.name, version))?;
    let (migrations, merge) = migration::named(migrate.as_ref(), merge.as_ref())?;
    let parameters = function.sig.inputs.iter_mut().map(parameter).collect::<Result<Vec<_>>>()?;
    check_parameters(&parameters, function)?;
    if let (Some(name), false) = (&output_name, parameters.iter().any(|p| matches!(p, Parameter::Output(_))))
    {
        return Err(Error::new(
            name.span(),
            "the function has no output: give it a parameter `&mut Output<T>`, or drop `output`",
        ));
    }
    let fallible = fallible(function)?;
    let output_name = output_name.map_or_else(|| VALUE.to_owned(), |name| name.value());
    Ok(Update { parameters, fallible, output_name, version, migrations, merge })
}

fn parameter(input: &mut FnArg) -> Result<Parameter> {
    let parameter = signature::typed(input)?;
    let r#type = (*parameter.ty).clone();
    if types::is(&r#type, "Context") {
        return Ok(Parameter::Context);
    }
    if let Some(row) = types::argument(&r#type, "Rows") {
        check_row(row)?;
        return Ok(Parameter::Rows { name: signature::column(parameter)?, r#type: row.clone() });
    }
    if let Some(state) = borrowed(&r#type, "State")? {
        check_state(state)?;
        return Ok(Parameter::State(state.clone()));
    }
    if let Some(row) = borrowed(&r#type, "Output")? {
        check_row(row)?;
        return Ok(Parameter::Output(row.clone()));
    }
    check_row(&r#type)?;
    Ok(Parameter::Key { name: signature::column(parameter)?, r#type })
}

/// The `T` of a `&mut NAME<T>`, if that is what the type is.
fn borrowed<'t>(r#type: &'t Type, name: &str) -> Result<Option<&'t Type>> {
    let (inside, is_mutable) = match r#type {
        Type::Reference(reference) => (&*reference.elem, reference.mutability.is_some()),
        plain => (plain, false),
    };
    match types::argument(inside, name) {
        Some(_) if !is_mutable => {
            Err(Error::new_spanned(r#type, format!("it is written to: take it as `&mut {name}<T>`")))
        }
        argument => Ok(argument),
    }
}

/// How the function takes over older states, held against its own key and state.
fn takeover(update: &Update) -> Takeover {
    let mut keys = Vec::new();
    let mut own = None;
    for parameter in &update.parameters {
        match parameter {
            Parameter::Key { r#type, .. } if !is_nothing(r#type) => keys.push(r#type),
            Parameter::State(r#type) => own = Some(r#type),
            _ => {}
        }
    }
    let own = own.expect("an update-state without a state is refused");
    Takeover::of(update.migrations.clone(), update.merge.clone(), update.version, &keys, own)
}

fn check_row(r#type: &Type) -> Result<()> {
    if is_nothing(r#type) { Ok(()) } else { types::check(r#type) }
}

fn check_state(r#type: &Type) -> Result<()> {
    match r#type {
        Type::Reference(_) => Err(Error::new_spanned(
            r#type,
            "a state outlives the batch and cannot borrow from it: own it, as `String` or `Vec<u8>`",
        )),
        _ if is_nothing(r#type) => Err(Error::new_spanned(
            r#type,
            "there is nothing to keep in `()`: keep a `bool`, or use a flat-map",
        )),
        _ => types::check(r#type),
    }
}

pub(crate) fn is_nothing(r#type: &Type) -> bool {
    matches!(r#type, Type::Tuple(tuple) if tuple.elems.is_empty())
}

fn check_parameters(parameters: &[Parameter], function: &ItemFn) -> Result<()> {
    let mut keys: Vec<&String> = Vec::new();
    let (mut rows, mut states, mut outputs) = (0, 0, 0);
    for (parameter, input) in parameters.iter().zip(&function.sig.inputs) {
        let count = match parameter {
            Parameter::Context => continue,
            Parameter::Key { name, .. } if keys.contains(&name) => {
                let message = format!("two columns of the key are called `{name}`: rename one");
                return Err(Error::new_spanned(input, message));
            }
            Parameter::Key { name, .. } => {
                keys.push(name);
                continue;
            }
            Parameter::Rows { .. } => &mut rows,
            Parameter::State(_) => &mut states,
            Parameter::Output(_) => &mut outputs,
        };
        *count += 1;
        if *count > 1 {
            return Err(Error::new_spanned(input, "an update-state takes one of these: drop the other"));
        }
    }
    let missing = match (rows, states) {
        (0, _) => "an update-state takes its key's new rows: give it a parameter `Rows<'_, T>`",
        (_, 0) => "an update-state takes its key's state: give it a parameter `&mut State<S>`",
        _ => return Ok(()),
    };
    Err(Error::new_spanned(&function.sig.ident, missing))
}

/// Whether the function returns a `Result`.
fn fallible(function: &ItemFn) -> Result<bool> {
    let returned = match &function.sig.output {
        ReturnType::Default => return Ok(false),
        ReturnType::Type(_, returned) => &**returned,
    };
    let inside = types::argument(returned, "Result");
    match is_nothing(inside.unwrap_or(returned)) {
        true => Ok(inside.is_some()),
        false => Err(Error::new(
            returned.span(),
            "an update-state returns nothing, or `Result<(), E>`: set the state and push to the output",
        )),
    }
}

/// The body of `call`: open the columns, then loop over the keys.
fn body(ident: &Ident, update: &Update) -> TokenStream {
    let mut open = TokenStream::new();
    let mut arguments = Vec::new();
    let (mut state, mut output) = (quote!(()), quote!(()));
    for (place, parameter) in update.parameters.iter().enumerate() {
        let reader = reader(place);
        arguments.push(match parameter {
            Parameter::Context => quote!(__millstream_context),
            Parameter::Key { name, r#type } => {
                let r#type = anonymous(r#type);
                open.extend(quote! {
                    let #reader = <#r#type as ::millstream_sdk::ReadRow>::open(#name, &mut __millstream_columns)?;
                });
                quote!(<#r#type as ::millstream_sdk::ReadRow>::read(&#reader, __millstream_key))
            }
            Parameter::Rows { name, r#type } => {
                let r#type = anonymous(r#type);
                open.extend(quote! {
                    let #reader = <#r#type as ::millstream_sdk::ReadRow>::open(
                        #name,
                        &mut ::millstream_sdk::Columns::of(__millstream_updates.rows),
                    )?;
                });
                quote!(::millstream_sdk::List::<'_, #r#type>::new(#reader, __millstream_range))
            }
            Parameter::State(r#type) => {
                state = anonymous(r#type);
                quote!(__millstream_state)
            }
            Parameter::Output(r#type) => {
                output = anonymous(r#type);
                quote!(__millstream_output)
            }
        });
    }
    let call = quote!(#ident(#(#arguments),*));
    let call = if update.fallible { call } else { outcome(false, quote!({ #call; })) };
    quote! {
        #[allow(unused_mut, unused_variables, reason = "a function need not read the key")]
        let mut __millstream_columns = ::millstream_sdk::Columns::of(__millstream_updates.keys);
        #open
        ::millstream_sdk::state::update::<#state, #output, _>(
            __millstream_updates,
            |__millstream_key, __millstream_range, __millstream_state, __millstream_output| #call,
        )
    }
}

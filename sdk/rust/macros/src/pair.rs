//! Reduces and inverses: functions of two rows of the same columns.

use proc_macro2::TokenStream;
use quote::{format_ident, quote};
use syn::{Error, ItemFn, Result, ReturnType, Type};

use crate::attribute::Key;
use crate::function::{Parts, anonymous, fields, no_fields, outcome};
use crate::migration::Takeover;
use crate::signature::{Kind, VALUE};
use crate::{attribute, signature, types};

const COLUMN: Key = Key { name: "column", form: "column = \"...\"" };

/// What the code that calls a function of two rows has to know of it.
struct Pair {
    /// The types of the two rows.
    rows: [Type; 2],
    /// For each parameter the row that it takes; none for the context.
    parameters: Vec<Option<usize>>,
    returned: Type,
    fallible: bool,
    /// The name of the column, if a row is a single value.
    column: String,
}

pub(crate) fn parts(kind: Kind, attribute: TokenStream, function: &mut ItemFn) -> Result<Parts> {
    let pair = read(kind, attribute, function)?;
    let ident = &function.sig.ident;
    let (call, parameters, body) = match kind {
        Kind::Reduce => (
            format_ident!("Fold"),
            quote!(
                __millstream_table: &::millstream_sdk::Table,
                __millstream_groups: ::millstream_sdk::Groups<'_>,
            ),
            fold(ident, &pair),
        ),
        _ => (
            format_ident!("TakeOut"),
            quote!(
                __millstream_totals: &::millstream_sdk::Table,
                __millstream_taken: &::millstream_sdk::Table,
            ),
            take_out(ident, &pair),
        ),
    };
    Ok(Parts {
        input: fields(&pair.column, &pair.rows[1]),
        output: fields(&pair.column, &pair.returned),
        keys: no_fields(),
        state: no_fields(),
        state_version: 0,
        takeover: Takeover::default(),
        call,
        parameters,
        answer: quote!(::millstream_sdk::Table),
        body,
    })
}

fn read(kind: Kind, attribute: TokenStream, function: &mut ItemFn) -> Result<Pair> {
    let column = attribute::value_of(COLUMN, attribute)?;
    let mut rows = Vec::new();
    let mut parameters = Vec::new();
    for input in &mut function.sig.inputs {
        let r#type = &*signature::typed(input)?.ty;
        if types::is(r#type, "Context") {
            parameters.push(None);
            continue;
        }
        types::check(r#type)?;
        parameters.push(Some(rows.len()));
        rows.push(r#type.clone());
    }
    let Ok(rows) = <[Type; 2]>::try_from(rows) else {
        let message =
            format!("a `#[{}]` takes two rows of the same columns: give it two parameters", kind.name());
        return Err(Error::new_spanned(&function.sig.ident, message));
    };
    let (returned, fallible) = returned(kind, function)?;
    if kind == Kind::Reduce {
        check_total(&rows[0], &returned)?;
    }
    let column = column.map_or_else(|| VALUE.to_owned(), |name| name.value());
    Ok(Pair { rows, parameters, returned, fallible, column })
}

/// The type that a function returns, and whether it comes in a `Result`.
fn returned(kind: Kind, function: &ItemFn) -> Result<(Type, bool)> {
    let ReturnType::Type(_, returned) = &function.sig.output else {
        let message =
            format!("the function returns nothing: a `#[{}]` returns {}", kind.name(), kind.returns());
        return Err(Error::new(function.sig.paren_token.span.close(), message));
    };
    let inside = types::argument(returned, "Result");
    let row = inside.unwrap_or(returned);
    types::check(row)?;
    Ok((row.clone(), inside.is_some()))
}

/// The first parameter of a reduce takes what the function returned before, as it is or borrowed.
fn check_total(total: &Type, returned: &Type) -> Result<()> {
    let text = |r#type: &Type| anonymous(r#type).to_string();
    if text(total) == text(returned) || is_borrowed(total) && !is_borrowed(returned) {
        return Ok(());
    }
    let message = format!(
        "a reduce goes on with what it returned: make the first parameter and what is returned the same type, here `{}`",
        anonymous(returned)
    );
    Err(Error::new_spanned(total, message))
}

fn is_borrowed(r#type: &Type) -> bool {
    matches!(r#type, Type::Reference(_))
}

/// The call with its arguments in order.
fn call(ident: &syn::Ident, pair: &Pair, rows: [TokenStream; 2]) -> TokenStream {
    let arguments = pair.parameters.iter().map(|parameter| match parameter {
        Some(row) => rows[*row].clone(),
        None => quote!(__millstream_context),
    });
    outcome(pair.fallible, quote!(#ident(#(#arguments),*)))
}

/// The body of a reduce: the first row of a group is read as what the function returns, the others as what it takes.
fn fold(ident: &syn::Ident, pair: &Pair) -> TokenStream {
    let Pair { rows, returned, column, .. } = pair;
    let by_reference = is_borrowed(&rows[0]) && !is_borrowed(returned);
    let total = if by_reference { quote!(&__millstream_total) } else { quote!(__millstream_total) };
    let (first, second) = (anonymous(returned), anonymous(&rows[1]));
    let row = quote!(<#second as ::millstream_sdk::ReadRow>::read(&__millstream_reader, __millstream_row));
    let call = call(ident, pair, [total, row]);
    quote! {
        let __millstream_first = <#first as ::millstream_sdk::ReadRow>::open(
            #column,
            &mut ::millstream_sdk::Columns::of(__millstream_table),
        )?;
        let __millstream_reader = <#second as ::millstream_sdk::ReadRow>::open(
            #column,
            &mut ::millstream_sdk::Columns::of(__millstream_table),
        )?;
        ::millstream_sdk::fold::fold(
            __millstream_table.rows,
            __millstream_groups,
            |__millstream_row| <#first as ::millstream_sdk::ReadRow>::read(&__millstream_first, __millstream_row),
            |__millstream_total, __millstream_row| #call,
        )
    }
}

/// The body of an inverse.
fn take_out(ident: &syn::Ident, pair: &Pair) -> TokenStream {
    let column = &pair.column;
    let [total, taken] = [anonymous(&pair.rows[0]), anonymous(&pair.rows[1])];
    let read = |r#type: &TokenStream, reader| quote!(<#r#type as ::millstream_sdk::ReadRow>::read(&#reader, __millstream_row));
    let (left, right) = (format_ident!("__millstream_left"), format_ident!("__millstream_right"));
    let call = call(ident, pair, [read(&total, &left), read(&taken, &right)]);
    quote! {
        let #left = <#total as ::millstream_sdk::ReadRow>::open(
            #column,
            &mut ::millstream_sdk::Columns::of(__millstream_totals),
        )?;
        let #right = <#taken as ::millstream_sdk::ReadRow>::open(
            #column,
            &mut ::millstream_sdk::Columns::of(__millstream_taken),
        )?;
        ::millstream_sdk::fold::take_out(
            __millstream_totals.rows,
            __millstream_taken.rows,
            |__millstream_row| #call,
        )
    }
}

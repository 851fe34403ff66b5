//! The derive that makes a struct a row: a column per field, read and written field by field.

use proc_macro2::TokenStream;
use quote::quote;
use syn::{Data, DeriveInput, Error, Fields, GenericParam, Generics, Ident, Index, Result, Type};

use crate::{attribute, types};

/// The three impls of a row, or what is wrong with the struct.
pub(crate) fn expand(item: TokenStream) -> TokenStream {
    syn::parse2(item).and_then(implementations).unwrap_or_else(Error::into_compile_error)
}

struct Column {
    field: Ident,
    name: String,
    r#type: Type,
}

fn implementations(item: DeriveInput) -> Result<TokenStream> {
    let borrows = borrows(&item.generics)?;
    let columns = columns(&item)?;
    let row = row(&item, &columns);
    let read = read(&item, borrows, &columns);
    let write = write(&item, &columns);
    Ok(quote!(#row #read #write))
}

/// Whether the struct borrows.
fn borrows(generics: &Generics) -> Result<bool> {
    for (place, generic) in generics.params.iter().enumerate() {
        let remedy = match generic {
            GenericParam::Lifetime(_) if place == 0 => continue,
            GenericParam::Lifetime(_) => "all that a row borrows lives as long: use one lifetime",
            _ => "the columns' types must be known: write the type instead of the parameter",
        };
        return Err(Error::new_spanned(generic, remedy));
    }
    Ok(!generics.params.is_empty())
}

fn columns(item: &DeriveInput) -> Result<Vec<Column>> {
    let fields = match &item.data {
        Data::Struct(data) => match &data.fields {
            Fields::Named(fields) if !fields.named.is_empty() => &fields.named,
            _ => {
                return Err(Error::new_spanned(
                    &item.ident,
                    "columns are called as the fields are: give the struct named fields",
                ));
            }
        },
        _ => {
            return Err(Error::new_spanned(
                &item.ident,
                "a row has the same columns always: make it a struct with named fields",
            ));
        }
    };
    let mut columns: Vec<Column> = Vec::with_capacity(fields.len());
    for field in fields {
        types::check(&field.ty)?;
        let ident = field.ident.clone().expect("the fields are named");
        let name = attribute::column_name(&mut field.attrs.clone(), Some(&ident))?
            .expect("a named field has a name");
        if columns.iter().any(|column| column.name == name) {
            return Err(Error::new_spanned(field, format!("two columns are called `{name}`: rename one")));
        }
        columns.push(Column { field: ident, name, r#type: field.ty.clone() });
    }
    Ok(columns)
}

fn row(item: &DeriveInput, columns: &[Column]) -> TokenStream {
    let ident = &item.ident;
    let (generics, arguments, bounds) = item.generics.split_for_impl();
    let names = columns.iter().map(|column| &column.name);
    let types = columns.iter().map(|column| &column.r#type);
    quote! {
        impl #generics ::millstream_sdk::Row for #ident #arguments #bounds {
            fn fields(_: &str, schema: &mut ::millstream_sdk::Schema) {
                #(<#types as ::millstream_sdk::Row>::fields(#names, schema);)*
            }
        }
    }
}

/// The row as an input; none if a field lives for ever, as no column does.
fn read(item: &DeriveInput, borrows: bool, columns: &[Column]) -> TokenStream {
    // The columns live for `'row`, whatever the struct calls its lifetime.
    let types: Vec<_> = columns.iter().map(|column| types::with_lifetime(&column.r#type, "row")).collect();
    if types.iter().any(|r#type| r#type.to_string().contains("'static")) {
        return TokenStream::new();
    }
    let ident = &item.ident;
    let (generics, arguments, _) = item.generics.split_for_impl();
    let lifetime = borrows.then(|| quote!(<'row>));
    let fields = columns.iter().map(|column| &column.field);
    let names = columns.iter().map(|column| &column.name);
    let places = (0..columns.len()).map(Index::from);
    quote! {
        impl #generics ::millstream_sdk::ReadRow for #ident #arguments {
            type At<'row> = #ident #lifetime where Self: 'row;
            type Readers<'row> = (#(<#types as ::millstream_sdk::Read>::Reader<'row>,)*) where Self: 'row;

            fn open<'row>(
                _: &str,
                columns: &mut ::millstream_sdk::Columns<'row>,
            ) -> ::core::result::Result<Self::Readers<'row>, ::millstream_sdk::Error>
            where
                Self: 'row,
            {
                ::core::result::Result::Ok((#(columns.open::<#types>(#names)?,)*))
            }

            #[inline]
            fn read<'row>(readers: &Self::Readers<'row>, row: usize) -> Self::At<'row>
            where
                Self: 'row,
            {
                #ident { #(#fields: <#types as ::millstream_sdk::Read>::value(&readers.#places, row),)* }
            }
        }
    }
}

fn write(item: &DeriveInput, columns: &[Column]) -> TokenStream {
    let ident = &item.ident;
    let (generics, arguments, bounds) = item.generics.split_for_impl();
    let fields = columns.iter().map(|column| &column.field);
    let types: Vec<_> = columns.iter().map(|column| &column.r#type).collect();
    let places: Vec<_> = (0..columns.len()).map(Index::from).collect();
    quote! {
        impl #generics ::millstream_sdk::WriteRow for #ident #arguments #bounds {
            type Builders = (#(<#types as ::millstream_sdk::WriteRow>::Builders,)*);

            fn builders(rows: usize) -> Self::Builders {
                (#(<#types as ::millstream_sdk::WriteRow>::builders(rows),)*)
            }

            #[inline]
            fn write(self, builders: &mut Self::Builders) {
                #(<#types as ::millstream_sdk::WriteRow>::write(self.#fields, &mut builders.#places);)*
            }

            fn write_nothing(builders: &mut Self::Builders) {
                #(<#types as ::millstream_sdk::WriteRow>::write_nothing(&mut builders.#places);)*
            }

            fn finish(builders: Self::Builders, table: &mut ::millstream_sdk::Table) {
                #(<#types as ::millstream_sdk::WriteRow>::finish(builders.#places, table);)*
            }
        }
    }
}

//! How rows are written into a file.

use std::fs::File;
use std::io::{BufWriter, Write};

use arrow::array::{Array, AsArray, StringViewArray};
use arrow::compute::cast;
use arrow::datatypes::{DataType, Schema, SchemaRef};
use arrow::error::ArrowError;
use arrow::record_batch::RecordBatch;
use arrow_json::LineDelimitedWriter;
use millstream_model::pipeline::FileFormat;
use parquet::arrow::ArrowWriter;
use parquet::basic::Compression;
use parquet::file::properties::WriterProperties;

use super::output::Output;

/// Writes rows into its file.
pub(super) trait Encoder: Send {
    /// Appends `rows`.
    fn write(&mut self, rows: &RecordBatch) -> Result<(), ArrowError>;

    /// Writes what is left and gives the file back.
    fn finish(self: Box<Self>) -> Result<File, ArrowError>;
}

/// The last part of a file's name.
pub(super) fn extension(format: FileFormat) -> &'static str {
    match format {
        FileFormat::Text => "txt",
        FileFormat::Json => "json",
        FileFormat::Csv => "csv",
        FileFormat::Parquet => "parquet",
    }
}

/// Whether `format` can hold the columns of `schema`; if not, why.
pub(super) fn check(format: FileFormat, schema: &Schema) -> Result<(), String> {
    match format {
        FileFormat::Text => check_text(schema),
        FileFormat::Csv => schema.fields().iter().try_for_each(|field| {
            let fits = !field.data_type().is_nested();
            fits.then_some(()).ok_or_else(|| {
                let (name, given) = (field.name(), field.data_type());
                format!("csv cannot hold the column \"{name}\" of type {given}; use json or parquet")
            })
        }),
        FileFormat::Json | FileFormat::Parquet => Ok(()),
    }
}

fn check_text(schema: &Schema) -> Result<(), String> {
    let is_text =
        |given: &DataType| matches!(given, DataType::Utf8 | DataType::LargeUtf8 | DataType::Utf8View);
    match &schema.fields()[..] {
        [only] if is_text(only.data_type()) => Ok(()),
        fields => {
            let columns: Vec<_> = fields.iter().map(|f| format!("{}: {}", f.name(), f.data_type())).collect();
            Err(format!(
                "the format text takes one column of text, not {{ {} }}; use json",
                columns.join(", ")
            ))
        }
    }
}

/// An encoder that writes into `output`.
pub(super) fn encoder(
    format: FileFormat,
    output: Output,
    schema: &SchemaRef,
) -> Result<Box<dyn Encoder>, ArrowError> {
    let file = BufWriter::with_capacity(256 << 10, output);
    Ok(match format {
        FileFormat::Text => Box::new(Text(file)),
        FileFormat::Json => Box::new(LineDelimitedWriter::new(file)),
        FileFormat::Csv => Box::new(arrow_csv::Writer::new(file)),
        FileFormat::Parquet => {
            let properties = WriterProperties::builder().set_compression(Compression::SNAPPY).build();
            Box::new(ArrowWriter::try_new(file, SchemaRef::clone(schema), Some(properties))?)
        }
    })
}

/// The values of one column, a line each; null is an empty line.
struct Text(BufWriter<Output>);

impl Encoder for Text {
    fn write(&mut self, rows: &RecordBatch) -> Result<(), ArrowError> {
        let texts = cast(rows.column(0), &DataType::Utf8View)?;
        let texts: &StringViewArray = texts.as_string_view();
        for row in 0..texts.len() {
            let text = if texts.is_null(row) { "" } else { texts.value(row) };
            self.0.write_all(text.as_bytes())?;
            self.0.write_all(b"\n")?;
        }
        Ok(())
    }

    fn finish(self: Box<Self>) -> Result<File, ArrowError> {
        into_file(self.0)
    }
}

impl Encoder for LineDelimitedWriter<BufWriter<Output>> {
    fn write(&mut self, rows: &RecordBatch) -> Result<(), ArrowError> {
        Self::write(self, rows)
    }

    fn finish(mut self: Box<Self>) -> Result<File, ArrowError> {
        Self::finish(&mut self)?;
        into_file(self.into_inner())
    }
}

impl Encoder for arrow_csv::Writer<BufWriter<Output>> {
    fn write(&mut self, rows: &RecordBatch) -> Result<(), ArrowError> {
        Self::write(self, rows)
    }

    fn finish(self: Box<Self>) -> Result<File, ArrowError> {
        into_file(self.into_inner())
    }
}

impl Encoder for ArrowWriter<BufWriter<Output>> {
    fn write(&mut self, rows: &RecordBatch) -> Result<(), ArrowError> {
        Ok(Self::write(self, rows)?)
    }

    fn finish(self: Box<Self>) -> Result<File, ArrowError> {
        into_file(Self::into_inner(*self)?)
    }
}

fn into_file(buffered: BufWriter<Output>) -> Result<File, ArrowError> {
    buffered.into_inner().map(Output::into_file).map_err(|fault| ArrowError::from(fault.into_error()))
}

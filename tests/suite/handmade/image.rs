//! A piece of a guest's memory, laid out as the canonical ABI lays out values: what a guest answers with, right or wrong.
//!
//! All numbers are little-endian. The result of `call` and what it points to:
//!
//! ```text
//! 0          4          8      12            20          28
//! ┌──────────┬──────────┬──────┬─────────────┬───────────┬─────────┐
//! │ 0 ok     │ 0 rows   │ rows │ columns     │ items     │         │
//! │ 1 error  │ 1 expan. │      │ place, len  │ place,len │ origins │
//! └──────────┴──────────┴──────┴─────────────┴───────────┴─────────┘
//! a column: 0 │ 4           │ 12   │ 16
//!      validity? place, len   kind   offsets: place, len; data: place, len     (32 bytes)
//! ```

use millstream_model::{DataType, Schema};

/// Where a list or a text lies in the guest's memory, and how many elements it has.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Span {
    pub(crate) at: u32,
    pub(crate) length: u32,
}

impl Span {
    /// The empty list.
    pub(crate) const EMPTY: Self = Self { at: 8, length: 0 };
}

/// Values of a column, whose buffers are in the image.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Values {
    Boolean(Span),
    Int64(Span),
    Utf8(Span, Span),
    List(Span, u32),
}

/// Memory from `base` on.
#[derive(Clone)]
pub(crate) struct Image {
    base: u32,
    bytes: Vec<u8>,
}

impl Image {
    pub(crate) fn new(base: u32) -> Self {
        Self { base, bytes: Vec::new() }
    }

    pub(crate) fn into_bytes(self) -> Vec<u8> {
        self.bytes
    }

    /// Puts bytes behind the others, at a multiple of eight.
    pub(crate) fn put(&mut self, bytes: &[u8]) -> Span {
        self.bytes.resize(self.bytes.len().next_multiple_of(8), 0);
        let at = self.base + self.bytes.len() as u32;
        self.bytes.extend_from_slice(bytes);
        Span { at, length: bytes.len() as u32 }
    }

    /// Puts words of four bytes; the span counts them.
    pub(crate) fn words(&mut self, words: &[u32]) -> Span {
        let bytes: Vec<u8> = words.iter().flat_map(|word| word.to_le_bytes()).collect();
        Span { length: words.len() as u32, ..self.put(&bytes) }
    }

    /// Puts records of so many words each; the span counts the records.
    pub(crate) fn records<const WORDS: usize>(&mut self, records: &[[u32; WORDS]]) -> Span {
        Span { length: records.len() as u32, ..self.words(&records.concat()) }
    }

    /// Puts a string, as offsets and data.
    pub(crate) fn utf8(&mut self, texts: &[&str]) -> Values {
        let ends = texts.iter().scan(0, |end, text| {
            *end += text.len() as u32;
            Some(*end)
        });
        let offsets: Vec<u32> = std::iter::once(0).chain(ends).collect();
        let offsets = self.words(&offsets);
        Values::Utf8(offsets, self.put(texts.concat().as_bytes()))
    }

    /// Puts the result that `call` answers with, and gives its place.
    pub(crate) fn rows(&mut self, rows: u32, columns: &[[u32; 8]], items: &[[u32; 8]]) -> u32 {
        let columns = self.records(columns);
        let items = self.records(items);
        self.words(&[0, 0, rows, columns.at, columns.length, items.at, items.length, 0, 0]).at
    }

    /// The word at a place.
    pub(crate) fn word(&mut self, at: u32) -> &mut [u8] {
        let start = (at - self.base) as usize;
        &mut self.bytes[start..start + 4]
    }

    /// Writes a word at a place.
    pub(crate) fn poke(&mut self, at: u32, word: u32) {
        self.word(at).copy_from_slice(&word.to_le_bytes());
    }

    /// Puts what a component says of itself, and gives its place.
    pub(crate) fn description(&mut self, functions: &[(&str, u8, &Schema, &Schema)]) -> u32 {
        let functions: Vec<[u32; 24]> = functions.iter().map(|function| self.function(*function)).collect();
        let functions = self.records(&functions);
        let name = self.put(b"handmade");
        let version = self.put(b"0.1.0");
        let parts = [name, version, Span::EMPTY, functions, Span::EMPTY];
        self.words(&parts.map(|span| [span.at, span.length]).concat()).at
    }

    /// The words of a function of a description.
    pub(crate) fn function(
        &mut self,
        (name, kind, input, output): (&str, u8, &Schema, &Schema),
    ) -> [u32; 24] {
        let name = self.put(name.as_bytes());
        let mut words = [0; 24];
        words[0..3].copy_from_slice(&[name.at, name.length, u32::from(kind)]);
        words[3..7].copy_from_slice(&self.schema(input));
        words[7..11].copy_from_slice(&self.schema(output));
        let none = [8, 0, 8, 0];
        words[11..15].copy_from_slice(&none);
        words[15..19].copy_from_slice(&none);
        words[20..24].copy_from_slice(&none);
        words
    }

    fn schema(&mut self, schema: &Schema) -> [u32; 4] {
        let mut items = Vec::new();
        let fields: Vec<[u32; 5]> = schema
            .fields
            .iter()
            .map(|field| {
                let data_type = self.data_type(&field.data_type, &mut items);
                self.field(&field.name, data_type, field.nullable)
            })
            .collect();
        let (fields, items) = (self.records(&fields), self.records(&items));
        [fields.at, fields.length, items.at, items.length]
    }

    fn field(&mut self, name: &str, data_type: [u32; 2], nullable: bool) -> [u32; 5] {
        let name = self.put(name.as_bytes());
        [name.at, name.length, data_type[0], data_type[1], u32::from(nullable)]
    }

    /// The words of a type; the elements of a list become a further item, behind those that are there.
    fn data_type(&mut self, data_type: &DataType, items: &mut Vec<[u32; 5]>) -> [u32; 2] {
        match data_type {
            DataType::Boolean => [0, 0],
            DataType::Int64 => [1, 0],
            DataType::Float64 => [2, 0],
            DataType::Timestamp => [3, 0],
            DataType::Utf8 => [4, 0],
            DataType::Binary => [5, 0],
            DataType::List(item) => {
                let place = items.len();
                items.push([0; 5]);
                let item = self.data_type(item, items);
                items[place] = self.field("item", item, true);
                [6, place as u32]
            }
        }
    }
}

/// The words of a column.
pub(crate) fn column(validity: Option<Span>, values: Values) -> [u32; 8] {
    let [present, at, length] = validity.map_or([0, 0, 0], |span| [1, span.at, span.length]);
    let (kind, words) = match values {
        Values::Boolean(bits) => (0, [bits.at, bits.length, 0, 0]),
        Values::Int64(numbers) => (1, [numbers.at, numbers.length, 0, 0]),
        Values::Utf8(offsets, data) => (4, [offsets.at, offsets.length, data.at, data.length]),
        Values::List(offsets, item) => (6, [offsets.at, offsets.length, item, 0]),
    };
    [present, at, length, kind, words[0], words[1], words[2], words[3]]
}

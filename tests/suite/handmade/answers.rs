//! Answers that break the boundary itself: places outside of memory or misaligned, cases that there are not, text that is
//! none; and columns that lie, in ways that an honest toolchain cannot put.

use arrow::array::{Array, AsArray};
use millstream_model::{DataType, Field, FunctionError, Schema};

use super::image::{Image, Span, Values, column};
use super::{Deed, Draft, call, check_broken, guest, limit, load};

/// An answer of three rows of all that a column may be, and the places of what can be spoilt in it.
pub(super) struct Right {
    pub(super) draft: Draft,
    /// The first of the columns; each has 32 bytes.
    columns: u32,
    /// The only item: the elements of the lists.
    item: u32,
    /// Offsets of the texts, of the lists and of the lists' texts, three words and more.
    texts: u32,
    text_data: u32,
    lists: u32,
    numbers: u32,
}

pub(super) fn schema() -> Schema {
    let text = Field { nullable: true, ..Field::new("text", DataType::Utf8) };
    let lists = Field::new("lists", DataType::List(Box::new(DataType::Utf8)));
    Schema::new([text, lists, Field::new("number", DataType::Int64), Field::new("flag", DataType::Boolean)])
}

pub(super) fn right() -> Right {
    let mut draft = Draft::new();
    let image: &mut Image = &mut draft.image;
    let valid = image.put(&[0b101]);
    let texts = image.utf8(&["ä", "", "long enough for a buffer"]);
    let lists = image.words(&[0, 2, 2, 3]);
    let elements = image.utf8(&["one", "two", "three"]);
    let numbers: Vec<u8> = [1_i64, -1, i64::MAX].iter().flat_map(|number| number.to_le_bytes()).collect();
    let numbers = Span { length: 3, ..image.put(&numbers) };
    let flags = image.put(&[0b010]);
    let columns = [
        column(Some(valid), texts),
        column(None, Values::List(lists, 0)),
        column(None, Values::Int64(numbers)),
        column(None, Values::Boolean(flags)),
    ];
    draft.result = image.rows(3, &columns, &[column(None, elements)]);
    let place = |bytes: &[u8]| u32::from_le_bytes(bytes.try_into().unwrap());
    let (columns, item) =
        (place(draft.image.word(draft.result + 12)), place(draft.image.word(draft.result + 20)));
    let Values::Utf8(texts, text_data) = texts else { unreachable!("texts are text") };
    Right {
        draft,
        columns,
        item,
        texts: texts.at,
        text_data: text_data.at,
        lists: lists.at,
        numbers: numbers.at,
    }
}

/// What is spoilt, how it is told, and how it is done.
type Case = (&'static str, &'static str, fn(&mut Right));

/// What the boundary itself refuses.
const BOUNDARY: &[Case] = &[
    ("the result is beyond memory", "out of bounds", |r| r.draft.result = 0xFFFF_FFF0),
    ("the result is misaligned", "aligned", |r| r.draft.result += 1),
    ("neither right nor wrong", "discriminant", |r| r.poke(0, 2)),
    ("an answer of no kind", "discriminant", |r| r.poke(4, 3)),
    ("the columns are beyond memory", "out of bounds", |r| r.poke(12, 0x7FFF_FFFC)),
    ("more columns than memory holds", "out of bounds", |r| r.poke(16, u32::MAX)),
    ("the columns are misaligned", "aligned", |r| r.poke(12, r.columns + 2)),
    ("the items are beyond memory", "out of bounds", |r| r.poke(20, 0xFFFF_FFFC)),
    ("validity that is neither there nor not", "discriminant", |r| r.poke_column(0, 0, 2)),
    ("validity beyond memory", "out of bounds", |r| r.poke_column(0, 4, u32::MAX)),
    ("values of no kind", "discriminant", |r| r.poke_column(0, 12, 7)),
    ("offsets beyond memory", "out of bounds", |r| r.poke_column(0, 16, 0xFFFF_0000)),
    ("offsets misaligned", "aligned", |r| r.poke_column(0, 16, r.texts + 2)),
    ("more offsets than memory holds", "out of bounds", |r| r.poke_column(0, 20, 0x4000_0001)),
    ("data beyond memory", "out of bounds", |r| r.poke_column(0, 28, u32::MAX)),
    ("numbers misaligned", "aligned", |r| r.poke_column(2, 16, r.numbers + 4)),
    ("an error that is no text", "utf-8", |r| r.poke_error(0, 3)),
    ("an error beyond memory", "out of bounds", |r| r.poke_error(0, u32::MAX)),
    ("an error of no kind", "discriminant", |r| r.poke_error(2, 1)),
];

/// What crosses the boundary and is not what the columns have to be.
const COLUMNS: &[Case] = &[
    ("another row count", "a bitmap of 1 bytes for 9 values", |r| r.poke(8, 9)),
    ("fewer columns", "answered with 3 columns where it describes 4", |r| r.poke(16, 3)),
    ("more columns", "answered with 5 columns", |r| r.poke(16, 5)),
    ("another type", "is timestamp where its description says int64", |r| r.poke_column(2, 12, 3)),
    ("a bitmap too short", "a bitmap of 0 bytes for 3 values", |r| r.poke_column(0, 8, 0)),
    ("a bitmap too long", "a bitmap of 2 bytes for 3 values", |r| r.poke_column(0, 8, 2)),
    ("nulls where there are none", "has nulls, which its description rules out", |r| {
        r.poke_column(2, 0, 1);
        r.poke_column(2, 4, r.text_data);
        r.poke_column(2, 8, 1);
    }),
    ("flags too short", "a bitmap of 0 bytes for 3 values", |r| r.poke_column(3, 20, 0)),
    ("offsets that fall", "offsets that fall", |r| r.draft.image.poke(r.texts + 4, u32::MAX)),
    ("offsets that begin later", "has offsets from 1 to", |r| r.draft.image.poke(r.texts, 1)),
    ("offsets that end later", "over 26 values", |r| r.draft.image.poke(r.texts + 12, 27)),
    ("one offset fewer", "has 3 offsets for 3 values", |r| r.poke_column(0, 20, 3)),
    ("no offsets", "has 0 offsets for 3 values", |r| r.poke_column(0, 20, 0)),
    ("an offset inside a character", "inside a character", |r| r.draft.image.poke(r.texts + 4, 1)),
    ("text that is none", "is not UTF-8", |r| r.draft.image.poke(r.text_data, 0xFFFF_FFFF)),
    ("text under a null that is none", "is not UTF-8", |r| {
        r.draft.image.poke(r.texts + 4, 0);
        r.draft.image.poke(r.text_data, 0x00C0_C0C0);
    }),
    ("lists that fall", "offsets that fall", |r| r.draft.image.poke(r.lists + 4, 9)),
    ("lists with more elements than there are", "has 4 offsets for 2147483648 values", |r| {
        r.draft.image.poke(r.lists + 12, 1 << 31);
    }),
    ("lists with fewer elements than there are", "has 4 offsets for 2 values", |r| {
        r.draft.image.poke(r.lists + 12, 2);
    }),
    ("lists of an item that is not there", "refers to item 1, which is not there", |r| {
        r.poke_column(1, 24, 1);
    }),
    ("lists without items", "refers to item 0, which is not there", |r| r.poke(24, 0)),
    ("elements of another type", "is boolean where its description says utf8", |r| {
        r.draft.image.poke(r.item + 12, 0);
    }),
    ("elements that are lists of themselves", "is a list where its description says utf8", |r| {
        r.draft.image.poke(r.item + 12, 6);
        r.draft.image.poke(r.item + 24, 0);
    }),
    ("elements with offsets that fall", "offsets that fall", |r| {
        let offsets = r.lists + 16;
        r.draft.image.poke(offsets + 4, 100);
    }),
];

impl Right {
    /// Spoils a word of the result.
    fn poke(&mut self, offset: u32, word: u32) {
        self.draft.image.poke(self.draft.result + offset, word);
    }

    /// Spoils a word of a column.
    fn poke_column(&mut self, column: u32, offset: u32, word: u32) {
        self.draft.image.poke(self.columns + 32 * column + offset, word);
    }

    /// Makes an error of the result, whose text is not UTF-8.
    fn poke_error(&mut self, kind: u32, length: u32) {
        self.draft.image.poke(self.text_data, 0xFFFF_FFFF);
        [(0, 1), (4, kind), (8, self.text_data), (12, length)]
            .into_iter()
            .for_each(|(offset, word)| self.poke(offset, word));
    }
}

async fn check(cases: &[Case]) {
    let plugin = load(&guest(&schema()).component(), limit()).await.unwrap();
    for (what, fragment, spoil) in cases {
        let mut right = right();
        spoil(&mut right);
        check_broken(&plugin, what, &right.draft.bytes(Deed::Nothing), fragment).await;
    }
    let rows = call(&plugin, &self::right().draft.bytes(Deed::Nothing)).await.unwrap();
    assert_eq!(rows.num_rows(), 3, "it is well afterwards");
}

#[tokio::test]
async fn an_answer_that_is_right_is_believed() {
    let plugin = load(&guest(&schema()).component(), limit()).await.unwrap();
    let rows = call(&plugin, &right().draft.bytes(Deed::Nothing)).await.unwrap();
    let texts: Vec<_> = rows.column(0).as_string_view().iter().collect();
    assert_eq!(texts, [Some("ä"), None, Some("long enough for a buffer")]);
    let lists = rows.column(1).as_list::<i32>();
    let second: Vec<_> = lists.value(2).as_string_view().iter().flatten().map(str::to_owned).collect();
    assert_eq!((lists.len(), second), (3, vec!["three".to_owned()]));
}

#[tokio::test]
async fn an_answer_that_is_not_of_the_contract_s_shape_is_refused() {
    check(BOUNDARY).await;
}

#[tokio::test]
async fn columns_that_lie_are_not_believed() {
    check(COLUMNS).await;
}

#[tokio::test]
async fn a_refusal_is_told_no_longer_than_people_read() {
    let plugin = load(&guest(&schema()).component(), limit()).await.unwrap();
    let mut draft = Draft::new();
    let reason = draft.image.put("ä".repeat(500_000).as_bytes());
    draft.result = draft.image.words(&[1, 0, reason.at, reason.length, 0, 0, 0, 0, 0]).at;
    let error = call(&plugin, &draft.bytes(Deed::Nothing)).await.unwrap_err();
    let FunctionError::Rejected { reason, .. } = &error else { panic!("{error:?}") };
    assert!(reason.starts_with("ä") && reason.len() < 8_192, "{} bytes", reason.len());
}

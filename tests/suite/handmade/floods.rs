//! Answers and descriptions that are small in the guest's memory and huge outside of it: many lists of the same bytes.

use millstream_model::{DataType, Field, Schema};

use super::component::{DESCRIPTION_AT, Guest};
use super::image::{Image, Span, Values, column};
use super::{
    Deed, Draft, TRANSFORM, calls, calls_of_instance, check_broken, counting, guest, input, limit, load,
};

/// What the host says that has read as much as it reads of one answer.
const STOPPED: &str = "hands over more than its limit of 128 MiB";

#[tokio::test]
async fn columns_that_are_all_the_same_bytes_are_stopped_early() {
    let plugin = load(&counting().component(), limit()).await.unwrap();
    let mut draft = Draft::new();
    // A million bytes, two thousand times.
    let data = draft.image.put(&vec![b'x'; 1_000_000]);
    let offsets = draft.image.words(&[0, data.length]);
    let columns = vec![column(None, Values::Utf8(offsets, data)); 2_000];
    draft.result = draft.image.rows(1, &columns, &[]);
    check_broken(&plugin, "many columns", &draft.bytes(Deed::Nothing), STOPPED).await;
    assert_eq!(calls_of_instance(&plugin).await, 1);
}

#[tokio::test]
async fn lists_whose_elements_are_the_same_bytes_are_stopped_early() {
    let schema = Schema::new([Field::new("lists", DataType::List(Box::new(DataType::Utf8)))]);
    let plugin = load(&guest(&schema).component(), limit()).await.unwrap();
    let mut draft = Draft::new();
    let data = draft.image.put(&vec![b'x'; 1_000_000]);
    let offsets = draft.image.words(&[0, data.length]);
    let items = vec![column(None, Values::Utf8(offsets, data)); 2_000];
    let lists = draft.image.words(&[0, 1]);
    draft.result = draft.image.rows(1, &[column(None, Values::List(lists, 0))], &items);
    check_broken(&plugin, "many items", &draft.bytes(Deed::Nothing), STOPPED).await;
}

#[tokio::test]
async fn rows_without_columns_have_a_limit_too() {
    let plugin = load(&guest(&Schema::default()).component(), limit()).await.unwrap();
    let mut draft = Draft::new();
    draft.result = draft.image.rows(u32::MAX, &[], &[]);
    check_broken(&plugin, "rows of nothing", &draft.bytes(Deed::Nothing), "are the most").await;
}

/// A description with a part of it repeated.
fn description(spoil: impl FnOnce(&mut Image, Span) -> [u32; 8]) -> Guest {
    let mut image = Image::new(DESCRIPTION_AT);
    let text = image.put(&vec![b'x'; 100_000]);
    let words = spoil(&mut image, text);
    let place = image.words(&words).at;
    Guest::new((image.into_bytes(), place))
}

async fn check_refused(what: &str, guest: &Guest, fragment: &str) {
    let refused = load(&guest.component(), limit()).await.err().unwrap_or_else(|| panic!("{what}: loaded"));
    let refused = refused.to_string();
    assert!(refused.contains(fragment) && refused.len() < 1_000, "{what}: {refused}");
}

#[tokio::test]
async fn descriptions_that_are_the_same_bytes_again_and_again_are_stopped_early() {
    let functions = description(|image, text| {
        let mut function = image.function(("same", TRANSFORM, &input(), &Schema::default()));
        function[22..24].copy_from_slice(&[text.at, text.length]);
        let functions = image.records(&vec![function; 4_000]);
        [text.at, 8, text.at, 8, 8, 0, functions.at, functions.length]
    });
    check_refused("many functions with a long text", &functions, STOPPED).await;
    let fields = description(|image, text| {
        let field = [text.at, text.length, 1, 0, 0];
        let fields = image.records(&vec![field; 4_000]);
        let mut function = image.function(("same", TRANSFORM, &input(), &Schema::default()));
        function[7..9].copy_from_slice(&[fields.at, fields.length]);
        let functions = image.records(&[function]);
        [text.at, 8, text.at, 8, 8, 0, functions.at, functions.length]
    });
    check_refused("many fields with a long name", &fields, STOPPED).await;
    let migrations = description(|image, text| {
        let field = [text.at, text.length, 1, 0, 0];
        let fields = image.records(&[field]);
        let keys = [fields.at, 1, 8, 0];
        let migration = [&[1][..], &keys, &keys, &keys, &[0]].concat();
        let migrations = image.words(&migration.repeat(4_000));
        let mut function = image.function(("same", TRANSFORM, &input(), &Schema::default()));
        function[20..22].copy_from_slice(&[migrations.at, 4_000]);
        let functions = image.records(&[function]);
        [text.at, 8, text.at, 8, 8, 0, functions.at, functions.length]
    });
    check_refused("many migrations of a key with a long name", &migrations, STOPPED).await;
}

#[tokio::test]
async fn what_a_component_says_of_itself_has_a_limit() {
    let migrations = description(|image, text| {
        let none = [8, 0, 8, 0];
        let migration = [&[1][..], &none, &none, &none, &[0]].concat();
        let migrations = image.words(&migration.repeat(1_001));
        let mut function = image.function(("same", TRANSFORM, &input(), &Schema::default()));
        function[20..22].copy_from_slice(&[migrations.at, 1_001]);
        let functions = image.records(&[function]);
        [text.at, 8, text.at, 8, 8, 0, functions.at, functions.length]
    });
    check_refused("many migrations", &migrations, "1001 migrations of function \"same\"").await;
    for (what, at) in [("name", 0), ("version", 2), ("documentation", 4)] {
        let guest = description(|_, text| {
            let mut words = [8, 0, 8, 0, 8, 0, 8, 0];
            words[at..at + 2].copy_from_slice(&[text.at, text.length]);
            words
        });
        check_refused(what, &guest, "more than 4096 bytes").await;
    }
}

#[tokio::test]
async fn more_than_a_component_may_have_is_refused_when_it_starts() {
    let cases = [
        (
            "a large memory",
            Guest { pages: 65_536, ..counting() },
            "needs more memory than its limit of 16 MiB",
        ),
        (
            "a large table",
            Guest { table_elements: 10_000_000, ..counting() },
            "a table of more elements than its limit of 100000",
        ),
        ("many instances", Guest { more_instances: 1_000, ..counting() }, "instance"),
        // Of 4 MiB each but small enough in number: together more than the limit.
        ("many memories", Guest { more_instances: 40, more_pages: 64, ..counting() }, "needs more memory"),
    ];
    for (what, guest, fragment) in cases {
        check_refused(what, &guest, fragment).await;
    }
    let few = Guest { more_instances: 3, more_pages: 1, ..counting() };
    let plugin = load(&few.component(), limit()).await.unwrap();
    assert!(super::call(&plugin, &calls()).await.is_ok());
}

use super::*;
use crate::DataType;

fn schema(fields: &[(&str, DataType)]) -> Schema {
    Schema::new(fields.iter().map(|(name, data_type)| Field::new(*name, data_type.clone())))
}

fn loose(schema: &Schema) -> Schema {
    Schema::new(schema.fields.iter().map(|field| Field { nullable: true, ..field.clone() }))
}

fn word() -> Schema {
    schema(&[("word", DataType::Utf8)])
}

fn count() -> Schema {
    schema(&[("count", DataType::Int64)])
}

/// From version 1, of counts of words, to keys of text.
fn migration() -> MigrationDescription {
    MigrationDescription {
        version: 1,
        keys: schema(&[("key", DataType::Utf8)]),
        state: count(),
        new_keys: schema(&[("key", DataType::Utf8)]),
        merges: true,
    }
}

/// One that looks at no key and leaves all as they are.
fn keeping() -> MigrationDescription {
    MigrationDescription { keys: Schema::default(), new_keys: Schema::default(), ..migration() }
}

#[test]
fn states_that_a_migration_was_written_for_pass() {
    let pair = schema(&[("user", DataType::Int64), ("shop", DataType::Utf8)]);
    let cases = [
        (migration(), word(), word()),
        (migration(), loose(&word()), word()),
        (migration(), word(), loose(&word())),
        (keeping(), word(), word()),
        (keeping(), pair.clone(), pair.clone()),
        (MigrationDescription { keys: pair.clone(), ..migration() }, pair, word()),
        (MigrationDescription { new_keys: schema(&[("id", DataType::Int64)]), ..keeping() }, word(), {
            schema(&[("user", DataType::Int64)])
        }),
    ];
    for (migration, key, new_key) in cases {
        assert_eq!(migration.check(&key, &count(), &new_key), Ok(()), "{migration:?} of {key} to {new_key}");
    }
}

#[test]
fn states_that_differ_are_refused_with_the_difference() {
    let number = || schema(&[("word", DataType::Int64)]);
    let two = || schema(&[("word", DataType::Utf8), ("user", DataType::Utf8)]);
    let cases = [
        (migration(), word(), schema(&[("total", DataType::Int64)]), word(), "{ total: int64 }"),
        (migration(), word(), schema(&[("count", DataType::Float64)]), word(), "{ count: float64 }"),
        (migration(), word(), loose(&count()), word(), "{ count: int64? }"),
        (migration(), number(), count(), word(), "their keys are { word: int64 }"),
        (migration(), two(), count(), word(), "their keys are { word: utf8, user: utf8 }"),
        (
            migration(),
            word(),
            count(),
            number(),
            "makes keys of { key: utf8 }, and the stream's are { word: int64 }",
        ),
        (migration(), word(), count(), two(), "makes keys of { key: utf8 }"),
        (keeping(), word(), count(), two(), "keeps the keys { word: utf8 }"),
        (keeping(), loose(&word()), count(), word(), "keeps the keys { word: utf8? }"),
        (
            MigrationDescription { new_keys: loose(&word()), ..migration() },
            word(),
            count(),
            word(),
            "makes keys of { word: utf8? }",
        ),
    ];
    for (migration, key, state, new_key, fragment) in cases {
        let refused = migration.check(&key, &state, &new_key).unwrap_err();
        assert!(refused.contains(fragment) && refused.contains("version 1"), "{fragment}: {refused}");
    }
}

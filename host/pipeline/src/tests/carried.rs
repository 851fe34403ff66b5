use std::path::Path;

use super::fake::FakeComponents;
use super::{check, compare};
use crate::{Checked, Diagnostics, Text};

/// A pipeline that the component carries whose functions it calls.
const CARRIED: &str = r#"
name = "t"
batch-interval = "1s"
[sources.lines]
type = "socket"
address = "127.0.0.1:9999"
[streams.shouted]
from = "lines"
map = "self.shout"
[sinks.screen]
from = "shouted"
type = "print"
"#;

async fn check_carried(text: &str) -> Result<Checked, Diagnostics> {
    let text = Text { is_carried: true, ..Text::new(Path::new("folder/text.wasm"), text) };
    text.check(&FakeComponents).await
}

#[tokio::test]
async fn a_carried_pipeline_calls_the_functions_of_its_component() {
    let checked = check_carried(CARRIED).await.unwrap();
    assert!(checked.components.contains_key(crate::SELF));
    let configured = format!("{CARRIED}[plugins.self]\nlimit = {{ time = \"1s\" }}\nconfig = {{ a = 1 }}\n");
    let checked = check_carried(&configured).await.unwrap();
    assert_eq!(checked.pipeline.plugins.len(), 1, "the one that is configured is the one there is");
    assert_eq!(checked.pipeline.plugins[0].config["a"], 1);
}

#[tokio::test]
async fn mistakes_in_a_carried_pipeline_have_places_in_its_text() {
    let cases: &[(&str, &str, &[&str])] = &[
        ("self.shout", "self.shoot", &["9:7 did you mean \"shout\"?"]),
        ("name = \"t\"", "name = \"t\\u001B[2J\"", &["2:8 cannot be shown"]),
        ("self.shout", "selv.shout", &["9:7 did you mean \"self\"?"]),
        (
            "[sinks.",
            "[plugins.self]\ncomponent = \"text.wasm\"\n[sinks.",
            &["11:1 the one that carries this"],
        ),
        ("[sinks.", "[tables.t]\npath = \"../t.csv\"\n[sinks.", &["11:8 goes back by \"..\""]),
        ("name = ", "checkpoint = \"a/../../b\"\nname = ", &["2:14 goes back by \"..\""]),
    ];
    for (there, instead, expected) in cases {
        let text = CARRIED.replacen(there, instead, 1);
        compare(&text, check_carried(&text).await, 0, expected);
    }
    let refused = check_carried(&CARRIED.replace("self.shout", "self.shoot")).await.unwrap_err();
    assert!(refused.to_string().starts_with("folder/text.wasm (pipeline):9:7: "), "{refused}");
}

#[tokio::test]
async fn a_pipeline_file_has_no_plugin_of_the_reserved_name() {
    check("[plugins.self]\ncomponent = \"text.wasm\"\n", &["1:10 no plugin can be called \"self\""]).await;
    check("[streams.a]\nfrom = \"lines\"\nmap = \"self.shout\"\n", &["3:7 \"self\""]).await;
}

#[test]
fn a_folder_that_is_given_takes_the_place_of_the_checkpoint_and_of_its_absence() {
    let folder = Path::new("elsewhere");
    for text in [CARRIED.to_owned(), format!("checkpoint = \"here\"\n{CARRIED}")] {
        let given = Text { checkpoint: Some(folder), ..Text::new(Path::new("p.toml"), &text) };
        assert_eq!(given.parse().unwrap().checkpoint.as_deref(), Some(folder));
    }
    // What needs a checkpoint has one.
    let kept = CARRIED.replace("[streams.", "storage = \"disk\"\n[streams.");
    let text = Text::new(Path::new("p.toml"), &kept);
    assert!(text.parse().is_err());
    assert!(Text { checkpoint: Some(folder), ..text }.parse().is_ok());
}

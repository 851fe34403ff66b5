//! `docs/faults.md`: what it says is shown is shown.

use crate::support::root;

#[test]
fn every_test_that_the_page_of_faults_names_exists() {
    let document = std::fs::read_to_string(root().join("docs/faults.md")).unwrap();
    let quoted = document.split('`').skip(1).step_by(2);
    let named: Vec<_> = quoted.filter_map(|text| text.split_once(".rs: ")).collect();
    assert!(named.len() > 30, "{}", named.len());
    let is_there = |(path, test): &(&str, &str)| {
        let source = std::fs::read_to_string(root().join(format!("{path}.rs"))).unwrap_or_default();
        source.contains(&format!("fn {test}("))
    };
    let missing: Vec<_> = named.iter().filter(|named| !is_there(named)).collect();
    assert!(missing.is_empty(), "{missing:#?}");
}

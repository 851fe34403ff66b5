use super::*;

/// The least that is a component, and the least that is a module.
const COMPONENT: &[u8] = &[0, b'a', b's', b'm', 13, 0, 1, 0];
const MODULE: &[u8] = &[0, b'a', b's', b'm', 1, 0, 0, 0];

fn custom(name: &str, content: &[u8]) -> Vec<u8> {
    let mut inside = leb128(name.len());
    inside.extend_from_slice(name.as_bytes());
    inside.extend_from_slice(content);
    [vec![CUSTOM], leb128(inside.len()), inside].concat()
}

#[test]
fn what_is_appended_is_found_again_whatever_its_length() {
    for length in [0, 1, 100, 127, 128, 20_000, 300_000] {
        let text = "ä".repeat(length);
        let carrier = Carried::append(COMPONENT, &text).unwrap();
        assert_eq!(section(&carrier).unwrap(), Some(text));
        assert!(Carried::append(&carrier, "another").is_err(), "it carries one already");
    }
}

#[test]
fn a_section_is_found_in_a_core_module_and_beside_others() {
    let module = [MODULE, &custom("producers", b"x"), &custom(SECTION, b"name = \"a\"")].concat();
    let nested = [vec![CORE_MODULE], leb128(module.len()), module].concat();
    let component = [COMPONENT, &custom("name", b"y"), &nested].concat();
    assert_eq!(section(&component).unwrap().as_deref(), Some("name = \"a\""));
    assert_eq!(section(&[COMPONENT, &custom("millstream:pipelines", b"")].concat()).unwrap(), None);
}

#[test]
fn two_sections_and_text_that_is_none_are_refused() {
    let one = custom(SECTION, b"a");
    assert!(section(&[COMPONENT, &one, &one].concat()).is_err());
    assert!(section(&[COMPONENT, &custom(SECTION, b"\xff")].concat()).is_err());
}

#[test]
fn a_component_that_is_cut_anywhere_is_refused_or_read_without_a_panic() {
    let carrier = Carried::append(&[COMPONENT, &custom("name", b"y")].concat(), "name = \"a\"").unwrap();
    let whole = section(&carrier).unwrap();
    for length in 0..carrier.len() {
        let cut = section(&carrier[..length]);
        assert!(cut.is_err() || cut != Ok(whole.clone()), "cut after {length} bytes");
    }
    assert!(section(&[COMPONENT, &[CUSTOM, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff]].concat()).is_err());
}

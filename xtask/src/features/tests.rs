use super::{counterparts, dependencies};

const WORKSPACE: &str = "a v1.0.0 [std]\nb v2.0.0 [default,std]\n\na v1.0.0 [std] (*)\nb v2.0.0 []\n";

#[test]
fn a_dependency_is_there_once_for_each_set_of_features() {
    let found: Vec<_> = dependencies(WORKSPACE).into_iter().collect();
    assert_eq!(found, ["a v1.0.0 [std]", "b v2.0.0 []", "b v2.0.0 [default,std]"]);
}

#[test]
fn what_differs_is_shown_beside_what_the_workspace_has() {
    let whole = dependencies(WORKSPACE);
    let alone = dependencies("a v1.0.0 [std]\nb v2.0.0 [std]\n");
    let different: Vec<_> = alone.difference(&whole).collect();
    assert_eq!(different, ["b v2.0.0 [std]"]);
    assert_eq!(counterparts(different[0], &whole), "[] and [default,std]");
    assert_eq!(counterparts("c v1.0.0 []", &whole), "");
}

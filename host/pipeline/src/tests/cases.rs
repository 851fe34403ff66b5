use super::check;

#[tokio::test]
async fn tests_of_the_pipeline() {
    let cases: &[(&str, &[&str])] = &[
        ("[[tests]]\nexpect.lines = [[]]", &["1:1 lacks \"name\""]),
        ("[[tests]]\nname = \"t\"", &["1:1 lacks \"expect\""]),
        ("[[tests]]\nname = \"t\"\nexpect.line = [[]]", &["3:8 did you mean \"lines\"?"]),
        ("[[tests]]\nname = \"t\"\ngiven.line = [[]]\nexpect.lines = [[]]", &["3:7 did you mean \"lines\"?"]),
        (
            "[[tests]]\nname = \"t\"\ngiven.lines = [{ value = \"a\" }]\nexpect.lines = [[]]",
            &["3:16 expected a batch"],
        ),
        (
            "[[tests]]\nname = \"t\"\ngiven.lines = [[{ valeu = \"a\" }]]\nexpect.lines = [[]]",
            &["3:17 lacks column \"value\"", "3:19 did you mean \"value\"?"],
        ),
        (
            "[[tests]]\nname = \"t\"\ngiven.lines = [[{ value = 5 }]]\nexpect.lines = [[]]",
            &["3:27 is utf8, and 5 is not"],
        ),
        (
            "[[tests]]\nname = \"t\"\ngiven.events = [[{ at = \"noon\" }, { at = 2026-01-01T00:00:00Z }]]\nexpect.lines = [[]]",
            &["3:25 is timestamp"],
        ),
        (
            "[[tests]]\nname = \"t\"\nexpect.lines = [[]]\nupgrade-after = [1]",
            &["4:1 not supported by this version yet"],
        ),
        (
            "[[tests]]\nname = \"t\"\nexpect.lines = [[]]\nrestart-after = [2]",
            &["4:1 goes on after a restart with a checkpoint", "4:18 has no batch 2"],
        ),
        (
            "[[tests]]\nname = \"t\"\nexpect.lines = [[]]\nexpect-failure = { batch = 0 }",
            &["4:18 lacks \"error\"", "4:28 above zero"],
        ),
        ("[[tests]]\nname = \"t\"\nexpect-state.lines = [{ n = 1 }]", &["3:14 \"lines\" keeps no states"]),
        (
            "[[tests]]\nname = \"t\"\ngiven.lines = [[\"a\\nb\"]]\nexpect-dead-letters = [{ source = \"line\" }]",
            &["3:17 ends with its line", "4:35 did you mean \"lines\"?"],
        ),
        (
            "[streams.a]\nfrom = \"lines\"\nmap = \"text.shout\"\n[[tests]]\nname = \"t\"\nexpect-dead-letters = [{ stream = \"b\" }, { stream = \"a\" }]",
            &["6:35 there is no stream \"b\""],
        ),
        (
            "[streams.a]\nfrom = \"lines\"\nmap = \"text.shout\"\n[[tests]]\nname = \"t\"\ngiven.a = [[]]\nexpect.a = [[]]",
            &["6:7 is a stream"],
        ),
    ];
    for (fragment, expected) in cases {
        check(fragment, expected).await;
    }
}

//! Wherever a component runs, it can misbehave: when it starts, describes itself, gives memory, is called, and cleans up.

use std::time::Duration;

use millstream_model::pipeline::Limit;

use super::{Deed, Guest, calls, calls_of_instance, check_broken, counting, load};

/// What each deed is told as, where it is one that a limit or the sandbox stops.
const STOPPED: [(Deed, &str); 5] = [
    (Deed::Trap, "trapped: unreachable code"),
    (Deed::Loop, "within its limit of 1s"),
    (Deed::Recurse, "trapped: the stack overflowed"),
    (Deed::GrowTable, "needs a table of more elements than its limit of 100000"),
    (Deed::GrowMemory, "needs more memory than its limit of 16 MiB"),
];

/// Limits of which that of time is soon reached as well.
fn limit() -> Limit {
    Limit { time: Duration::from_secs(1), ..super::limit() }
}

fn told(deed: Deed, fragment: &str, place: &str) -> String {
    match (deed, place) {
        (Deed::Loop, "start") => fragment.to_owned(),
        (Deed::Loop, _) => "ran longer than its limit of 1s".to_owned(),
        _ => fragment.to_owned(),
    }
}

async fn check_refused(guest: &Guest, what: &str, fragment: &str) {
    let refused = load(&guest.component(), limit()).await.err().unwrap_or_else(|| panic!("{what}: loaded"));
    let refused = refused.to_string();
    assert!(refused.contains("handmade.wasm") && refused.contains(fragment), "{what}: {refused}");
}

#[tokio::test]
async fn a_component_that_misbehaves_when_it_starts_is_refused() {
    for (deed, fragment) in STOPPED {
        let guest = Guest { on_start: deed, ..counting() };
        check_refused(&guest, &format!("{deed:?} in start"), &told(deed, fragment, "start")).await;
    }
}

#[tokio::test]
async fn a_component_that_misbehaves_when_it_describes_itself_is_refused() {
    for (deed, fragment) in STOPPED {
        let guest = Guest { on_describe: deed, ..counting() };
        check_refused(&guest, &format!("{deed:?} in describe"), &told(deed, fragment, "describe")).await;
    }
}

#[tokio::test]
async fn an_instance_that_misbehaved_is_never_used_again() {
    let plugin = load(&counting().component(), limit()).await.unwrap();
    for (deed, fragment) in STOPPED {
        assert_eq!(calls_of_instance(&plugin).await, 1, "before {deed:?}");
        assert_eq!(calls_of_instance(&plugin).await, 2, "one that is well is used again");
        let mut image = calls();
        image[4] = deed as u8;
        check_broken(&plugin, &format!("{deed:?}"), &image, &told(deed, fragment, "call")).await;
    }
    assert_eq!(calls_of_instance(&plugin).await, 1);
}

#[tokio::test]
async fn a_guest_that_misbehaves_while_it_gives_memory_or_cleans_up_is_stopped() {
    for (deed, fragment) in STOPPED {
        for place in ["realloc", "post-return"] {
            let guest = match place {
                "realloc" => Guest { on_realloc: deed, ..counting() },
                _ => Guest { on_return: deed, ..counting() },
            };
            let what = format!("{deed:?} in {place}");
            match load(&guest.component(), limit()).await {
                Ok(plugin) => check_broken(&plugin, &what, &calls(), &told(deed, fragment, place)).await,
                // What is done after `describe` is done before the component is loaded.
                Err(refused) => assert!(
                    place == "post-return" && refused.to_string().contains(&told(deed, fragment, place)),
                    "{what}: {refused}"
                ),
            }
        }
    }
}

#[tokio::test]
async fn the_host_is_not_called_from_where_a_guest_may_not_leave() {
    let guest = Guest { on_realloc: Deed::CallHost, ..counting() };
    let plugin = load(&guest.component(), limit()).await.unwrap();
    check_broken(&plugin, "realloc calls the host", &calls(), "cannot leave component instance").await;
    let guest = Guest { on_return: Deed::CallHost, ..counting() };
    check_refused(&guest, "post-return calls the host", "cannot leave component instance").await;
}

#[tokio::test]
async fn a_guest_that_calls_itself_while_it_gives_memory_harms_only_itself() {
    let guest = Guest { on_realloc: Deed::CallItself, ..counting() };
    let plugin = load(&guest.component(), limit()).await.unwrap();
    assert_eq!(calls_of_instance(&plugin).await, 1);
    assert_eq!(calls_of_instance(&plugin).await, 2);
}

#[tokio::test]
async fn memory_is_not_handed_over_where_there_is_none() {
    for off_by in [0x7000_0000, -0x30_0000, 1] {
        let guest = Guest { realloc_off_by: off_by, ..counting() };
        let plugin = load(&guest.component(), limit()).await.unwrap();
        check_broken(&plugin, &format!("off by {off_by}"), &calls(), "realloc return").await;
    }
}

//! What a plugin that never answers does to the others: nothing.

use std::time::Duration;

use millstream_model::pipeline::Limit;
use millstream_plugins::Sandbox;

use super::{Deed, call, calls, calls_of_instance, counting, limit, load_in};

/// All on one thread, which each of the endless calls would have for itself if the sandbox let it.
#[tokio::test(flavor = "current_thread")]
async fn other_calls_go_on_while_a_thread_has_calls_that_never_end() {
    let sandbox = Sandbox::new().unwrap();
    let component = counting().component();
    let patient = Limit { time: Duration::from_secs(3_600), ..limit() };
    let endless = load_in(&sandbox, &component, patient).await.unwrap();
    let well = load_in(&sandbox, &component, patient).await.unwrap();
    let mut image = calls();
    image[4] = Deed::Loop as u8;
    let spinning: Vec<_> = (0..2)
        .map(|_| {
            let (endless, image) = (endless.clone(), image.clone());
            tokio::spawn(async move { call(&endless, &image).await })
        })
        .collect();
    // A task among theirs.
    let others = tokio::spawn(async move {
        for number in 1..=5 {
            tokio::task::yield_now().await;
            assert_eq!(calls_of_instance(&well).await, number);
        }
    });
    others.await.unwrap();
    assert!(spinning.iter().all(|call| !call.is_finished()), "they never end");
    // The plugin itself answers other calls, too; and nobody has to wait for a guest that is not wanted any more.
    assert_eq!(calls_of_instance(&endless).await, 1);
    for call in spinning {
        call.abort();
        assert!(call.await.unwrap_err().is_cancelled());
    }
    assert_eq!(calls_of_instance(&endless).await, 2);
}

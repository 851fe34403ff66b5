use millstream_model::pipeline::Grant;

use super::Reach;

#[tokio::test]
async fn a_plugin_sees_the_variables_that_are_granted_by_name_and_no_other() {
    let path = std::env::var("PATH").unwrap();
    let (some, nothing) = (vec!["PATH".to_owned()], Reach::granted(Grant::default()).await);
    let granted = Reach::granted(Grant { environment: some, ..Grant::default() }).await;
    granted.succeeds("environment PATH", &path).await;
    granted.succeeds("variables", "1").await;
    granted.fails("environment HOME", "not found").await;
    nothing.fails("environment PATH", "not found").await;
    nothing.succeeds("variables", "0").await;
}

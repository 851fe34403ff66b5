use millstream_model::pipeline::{Grant, Limit};

use super::Reach;

#[tokio::test]
async fn handles_sockets_headers_and_random_bytes_are_capped() {
    let reach = Reach::granted(Grant::default()).await;
    reach.succeeds("handles 100", "100").await;
    reach.breaks("handles 10000", "holds more than 500 handles").await;
    reach.breaks("sockets 10000", "holds more than 500 handles").await;
    reach.succeeds("headers 10 100", "10").await;
    reach.breaks("headers 10000 1000", "64 KiB").await;
    reach.breaks("headers 1 1000000", "64 KiB").await;
    reach.succeeds("random 1000000", "1000000").await;
    reach.breaks("random 1073741824", "random bytes").await;
}

#[tokio::test]
async fn a_broken_limit_names_itself_its_value_and_its_key() {
    let limit = Limit { answer_bytes: 1 << 20, ..Limit::default() };
    let reach = Reach::load(Grant::default(), limit).await;
    // What a component hands to the host is counted, by whatever way it goes.
    reach.breaks("headers 1 2000000", "its limit of 1 MiB; raise limit.answer").await;
}

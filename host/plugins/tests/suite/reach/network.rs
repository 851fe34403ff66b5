use millstream_model::pipeline::{Grant, Limit};

use super::server::{Answer, Server};
use super::{Reach, SHORT};

fn network(server: &Server) -> Grant {
    Grant { network: vec![server.address.to_string()], ..Grant::default() }
}

#[tokio::test]
async fn a_plugin_connects_to_the_addresses_that_are_granted_and_no_other() {
    let (granted, other) = (Server::new(Answer::Bytes(b"hi".to_vec())), Server::ok());
    let reach = Reach::granted(network(&granted)).await;
    reach.succeeds(&format!("tcp {}", granted.address), "hi").await;
    reach.fails(&format!("tcp {}", other.address), "ermission denied").await;
    assert_eq!((granted.asked(), other.asked()), (vec!["hello\n".to_owned()], vec![]));
}

#[tokio::test]
async fn without_a_grant_there_is_no_network() {
    let server = Server::ok();
    let reach = Reach::granted(Grant::default()).await;
    reach.fails(&format!("tcp {}", server.address), "ermission denied").await;
    assert!(server.asked().is_empty());
}

#[tokio::test]
async fn nobody_listens_or_speaks_udp_or_resolves_names_whatever_is_granted() {
    let server = Server::ok();
    for grant in [network(&server), Grant::default()] {
        let reach = Reach::granted(grant).await;
        reach.fails("listen 127.0.0.1:0", "").await;
        reach.fails("listen 0.0.0.0:0", "").await;
        reach.fails(&format!("udp {}", server.address), "").await;
        reach.fails("udp 127.0.0.1:53", "").await;
        reach.fails("resolve localhost", "").await;
    }
}

#[tokio::test]
async fn a_peer_that_is_silent_ends_the_call_at_its_time() {
    let server = Server::new(Answer::Silence);
    let reach = Reach::load(network(&server), Limit { time: SHORT, ..Limit::default() }).await;
    reach.breaks(&format!("silent {}", server.address), "raise limit.time").await;
}

use millstream_model::Need;
use millstream_model::pipeline::{Grant, GrantKind, Limit};

use super::server::{Answer, Server};
use super::{Reach, SHORT};

fn http(hosts: &[&str]) -> Grant {
    Grant { http: hosts.iter().map(|&host| host.to_owned()).collect(), ..Grant::default() }
}

fn granted(server: &Server) -> Grant {
    http(&[&server.address.to_string()])
}

#[tokio::test]
async fn a_granted_host_is_asked_and_answers() {
    let server = Server::ok();
    let reach = Reach::granted(granted(&server)).await;
    reach.succeeds(&format!("http GET {}rates?of=usd", server.url()), "200 5 bytes hello").await;
    reach.succeeds(&format!("http-body {} 100000", server.url()), "200 5 bytes hello").await;
    let [first, second] = &server.asked()[..] else { panic!("{:?}", server.asked()) };
    assert!(first.starts_with("GET /rates?of=usd HTTP/1.1\r\n"), "{first}");
    assert!(first.contains(&format!("host: {}\r\n", server.address)), "{first}");
    assert!(second.starts_with("POST / ") && second.matches('x').count() >= 100_000, "the body arrives");
}

#[tokio::test]
async fn a_host_that_is_not_granted_is_not_asked() {
    let server = Server::ok();
    let port = server.address.port();
    let grants = [
        http(&[]),
        http(&["127.0.0.1"]),
        http(&["127.0.0.1:1", "api.example.com"]),
        http(&["localhost", &format!("localhost:{port}")]),
        Grant { network: vec![server.address.to_string()], ..Grant::default() },
    ];
    for grant in grants {
        let reach = Reach::granted(grant).await;
        reach.fails(&format!("http GET {}", server.url()), "HttpRequestDenied").await;
    }
    assert!(server.asked().is_empty());
}

#[tokio::test]
async fn a_request_for_one_host_does_not_reach_another() {
    let (server, other) = (Server::ok(), Server::ok());
    let reach = Reach::granted(granted(&server)).await;
    let (host, url, elsewhere) = (server.address, server.url(), other.address);
    let rows = [
        format!("http GET http://{host}@{elsewhere}/"),
        format!("http GET http://{elsewhere}@{host}/"),
        format!("http GET http://{host}:{elsewhere}/"),
        format!("http GET http://{elsewhere}/{host}"),
        format!("http CONNECT {url}"),
        format!("http-header {url} host {elsewhere}"),
        format!("http-header {url} connection upgrade"),
        format!("http-header {url} transfer-encoding chunked"),
        format!("http GET ftp://{host}/"),
        "http GET http:///".to_owned(),
        "http GET nothing".to_owned(),
    ];
    for row in rows {
        reach.fails(&row, "").await;
    }
    assert!(server.asked().is_empty() && other.asked().is_empty());
}

#[tokio::test]
async fn a_redirect_is_an_answer_and_not_followed() {
    let other = Server::ok();
    let server = Server::http("302 Found", &format!("location: {}\r\n", other.url()), b"there");
    let reach = Reach::granted(granted(&server)).await;
    reach.succeeds(&format!("http GET {}", server.url()), "302 5 bytes there").await;
    assert!(other.asked().is_empty());
}

#[tokio::test]
async fn bodies_and_headers_have_limits_both_ways() {
    let limit = Limit { http_body_bytes: 100_000, ..Limit::default() };
    let header = |bytes: usize| format!("x-large: {}\r\n", "x".repeat(bytes));
    let many = (0..200).map(|number| format!("x-{number}: x\r\n")).collect::<String>();
    let cases = [
        (Server::http("200 OK", "", &[b'x'; 100_000]), "GET", "ok 200 100000 bytes"),
        (Server::http("200 OK", "", &[b'x'; 100_001]), "GET", "body size exceeds limit: 100000 bytes"),
        (Server::http("200 OK", &header(60_000), b""), "GET", "ok 200 0 bytes"),
        (Server::http("200 OK", &header(70_000), b""), "GET", "HttpResponseHeaderSectionSize"),
        (Server::http("200 OK", &header(2_000_000), b""), "GET", "HttpResponseHeaderSectionSize"),
        (Server::http("200 OK", &many, b""), "GET", "HttpResponseHeaderSectionSize"),
    ];
    for (server, method, fragment) in cases {
        let reach = Reach::load(granted(&server), limit).await;
        let said = reach.says(&format!("http {method} {}", server.url())).await;
        assert!(said.contains(fragment), "{fragment}: {}", said.chars().take(300).collect::<String>());
    }
    let server = Server::ok();
    let reach = Reach::load(granted(&server), limit).await;
    reach.succeeds(&format!("http-body {} 100000", server.url()), "200 5 bytes hello").await;
    reach.fails(&format!("http-body {} 100001", server.url()), "").await;
}

#[tokio::test]
async fn what_is_no_http_is_an_error_and_no_more() {
    let server = Server::new(Answer::Bytes(b"SSH-2.0-what\r\n\r\n".to_vec()));
    let reach = Reach::granted(granted(&server)).await;
    reach.fails(&format!("http GET {}", server.url()), "HttpProtocolError").await;
    let server = Server::new(Answer::AtOnce(b"SSH-2.0-what\r\n\r\n".to_vec()));
    let reach = Reach::granted(granted(&server)).await;
    reach.fails(&format!("http GET https://{}/", server.address), "TlsProtocolError").await;
    let torn = Server::new(Answer::Bytes(b"HTTP/1.1 200 OK\r\ncontent-length: 100\r\n\r\ntorn".to_vec()));
    let reach = Reach::granted(granted(&torn)).await;
    reach.fails(&format!("http GET {}", torn.url()), "").await;
}

#[tokio::test]
async fn a_service_that_is_silent_ends_the_call_at_its_time() {
    let server = Server::new(Answer::Silence);
    let reach = Reach::load(granted(&server), Limit { time: SHORT, ..Limit::default() }).await;
    reach.breaks(&format!("http GET {}", server.url()), "raise limit.time").await;
    let drip = Server::new(Answer::Bytes(b"HTTP/1.1 200 OK\r\n".to_vec()));
    let reach = Reach::granted(granted(&drip)).await;
    reach.fails(&format!("http GET {}", drip.url()), "").await;
}

#[tokio::test]
async fn only_so_many_requests_are_under_way_at_once() {
    let server = Server::ok();
    let reach = Reach::granted(granted(&server)).await;
    reach.succeeds(&format!("http-many {} 8", server.address), "8").await;
    reach.succeeds(&format!("http-many {} 50", server.address), "8").await;
    reach.succeeds(&format!("http GET {}", server.url()), "200 5 bytes hello").await;
}

#[tokio::test]
async fn whoever_imports_http_needs_it() {
    let reach = Reach::granted(Grant::default()).await;
    let needs = &reach.0.description().needs;
    assert!(needs.contains(&Need { grant: GrantKind::Environment, what: "REACH".to_owned() }), "{needs:?}");
    assert!(needs.iter().any(|need| need.grant == GrantKind::Http), "{needs:?}");
}

#[tokio::test]
async fn a_host_that_is_none_cannot_be_granted() {
    use crate::support::spec;
    use millstream_model::pipeline::PluginSpec;
    use millstream_plugins::{Plugin, Sandbox};
    for host in ["a@b", "a b", "http://a", "a:x", ""] {
        let spec = PluginSpec { grant: http(&[host]), ..spec("reach") };
        let refused = Plugin::load(&Sandbox::new().unwrap(), &spec).await.err();
        assert!(refused.is_some_and(|error| error.to_string().contains("is no host")), "{host:?}");
    }
}

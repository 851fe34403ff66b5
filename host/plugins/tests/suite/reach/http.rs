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
    let hosts = ["127.0.0.1", "127.0.0.1:1", "localhost", &format!("localhost:{}", server.address.port())];
    let network = Grant { network: vec![server.address.to_string()], ..http(&hosts) };
    for grant in [Grant::default(), network] {
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
        (Server::http("200 OK", "", &[b'x'; 100_000]), "ok 200 100000 bytes"),
        (Server::http("200 OK", "", &[b'x'; 100_001]), "body size exceeds limit: 100000 bytes"),
        (Server::http("200 OK", &header(60_000), b""), "ok 200 0 bytes"),
        (Server::http("200 OK", &header(70_000), b""), "HttpResponseHeaderSectionSize"),
        (Server::http("200 OK", &header(2_000_000), b""), "HttpResponseHeaderSectionSize"),
        (Server::http("200 OK", &many, b""), "HttpResponseHeaderSectionSize"),
    ];
    let server = Server::ok();
    let all = cases.iter().map(|(server, _)| server).chain([&server]);
    let all: Vec<String> = all.map(|server| server.address.to_string()).collect();
    let reach = Reach::load(Grant { http: all, ..Grant::default() }, limit).await;
    for (server, fragment) in &cases {
        let said = reach.says(&format!("http GET {}", server.url())).await;
        assert!(said.contains(fragment), "{fragment}: {}", said.chars().take(300).collect::<String>());
    }
    reach.succeeds(&format!("http-body {} 100000", server.url()), "200 5 bytes hello").await;
    reach.fails(&format!("http-body {} 100001", server.url()), "").await;
}

#[tokio::test]
async fn what_is_no_http_is_an_error_and_no_more() {
    let other = Server::new(Answer::Bytes(b"SSH-2.0-what\r\n\r\n".to_vec()));
    let plain = Server::new(Answer::AtOnce(b"SSH-2.0-what\r\n\r\n".to_vec()));
    let torn = Server::new(Answer::Bytes(b"HTTP/1.1 200 OK\r\ncontent-length: 100\r\n\r\ntorn".to_vec()));
    let head = Server::new(Answer::Bytes(b"HTTP/1.1 200 OK\r\n".to_vec()));
    let all = [&other, &plain, &torn, &head].map(|server| server.address.to_string());
    let reach = Reach::granted(Grant { http: all.to_vec(), ..Grant::default() }).await;
    reach.fails(&format!("http GET {}", other.url()), "HttpProtocolError").await;
    reach.fails(&format!("http GET https://{}/", plain.address), "TlsProtocolError").await;
    reach.fails(&format!("http GET {}", torn.url()), "").await;
    reach.fails(&format!("http GET {}", head.url()), "HttpResponseIncomplete").await;
}

#[tokio::test]
async fn a_service_that_is_silent_is_told_before_the_call_has_used_up_its_time() {
    let server = Server::new(Answer::Silence);
    let reach = Reach::load(granted(&server), Limit { time: SHORT, ..Limit::default() }).await;
    reach.fails(&format!("http GET {}", server.url()), "Timeout").await;
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

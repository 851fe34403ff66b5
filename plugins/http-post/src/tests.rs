use std::cell::RefCell;
use std::rc::Rc;

use millstream_sdk::testing;

use super::*;

const BATCH: Batch = Batch { time_ms: 1_700_000_000_000, part: 2, parts: 3 };

fn configure(key: &str, value: &serde_json::Value) {
    testing::set_config(key, &value.to_string());
}

/// Writes rows to an endpoint that answers so; gives what came of it, and the requests.
fn write(
    rows: &'static [Option<&'static str>],
    answer: impl Fn() -> Result<Response, Fault> + 'static,
) -> (Result<(), Fault>, Vec<Request>) {
    let requests = Rc::new(RefCell::new(Vec::new()));
    let taken = Rc::clone(&requests);
    testing::answer_http(move |request| {
        taken.borrow_mut().push(request.clone());
        answer()
    });
    configure("url", &"http://example.com/batches".into());
    configure("name", &"orders".into());
    let written = Post::open().and_then(|mut post| post.write(Rows::from(rows), BATCH));
    let requests = requests.borrow().clone();
    (written, requests)
}

fn answer(status: u16) -> Response {
    Response { status, headers: vec![], body: b"so it is".to_vec() }
}

fn header<'r>(request: &'r Request, name: &str) -> Vec<&'r str> {
    let values = request.headers.iter().filter(|(present, _)| present == name);
    values.map(|(_, value)| std::str::from_utf8(value).expect("it is text")).collect()
}

#[test]
fn a_part_is_a_request_with_its_key() {
    let (written, requests) = write(&[Some("one"), Some("two")], || Ok(answer(201)));
    assert_eq!((written, requests.len()), (Ok(()), 1));
    let request = &requests[0];
    assert_eq!((request.method.as_str(), request.url.as_str()), ("POST", "http://example.com/batches"));
    assert_eq!(header(request, "idempotency-key"), ["orders-1700000000000-2"]);
    assert_eq!(header(request, "content-type"), ["application/x-ndjson"]);
    assert_eq!(request.body, b"{\"value\":\"one\"}\n{\"value\":\"two\"}\n");
}

#[test]
fn headers_of_the_configuration_are_sent() {
    configure(
        "headers",
        &serde_json::json!({ "Authorization": "Bearer abc", "Content-Type": "text/x-mine", "Idempotency-Key": "x" }),
    );
    let (_, requests) = write(&[Some("one")], || Ok(answer(200)));
    assert_eq!(header(&requests[0], "Authorization"), ["Bearer abc"]);
    assert_eq!(header(&requests[0], "Content-Type"), ["text/x-mine"]);
    assert!(header(&requests[0], "content-type").is_empty(), "there is one content type");
    assert!(header(&requests[0], "Idempotency-Key").is_empty(), "the key is the plugin's");
    assert_eq!(header(&requests[0], "idempotency-key"), ["orders-1700000000000-2"]);
    configure("headers", &serde_json::json!(["x"]));
    assert!(matches!(write(&[Some("one")], || Ok(answer(200))).0, Err(Fault::Rejected(_))));
}

#[test]
fn rows_are_written_in_the_format_that_is_configured() {
    let check = |format: &str, expected: &str| {
        configure("format", &format.into());
        let (_, requests) = write(&[Some("a \"b\"\n"), None], || Ok(answer(200)));
        assert_eq!(String::from_utf8_lossy(&requests[0].body), expected, "{format}");
    };
    check("lines", "a \"b\"\n\n\n");
    check("json-lines", "{\"value\":\"a \\\"b\\\"\\n\"}\n{\"value\":null}\n");
    check("json", "[{\"value\":\"a \\\"b\\\"\\n\"},{\"value\":null}]");
    configure("format", &"xml".into());
    assert!(matches!(write(&[None], || Ok(answer(200))).0, Err(Fault::Rejected(_))));
}

#[test]
fn the_status_says_whether_to_try_again() {
    let check = |status: u16, expected: &str| {
        let (written, _) = write(&[Some("one")], move || Ok(answer(status)));
        let found = match &written {
            Ok(()) => "taken",
            Err(Fault::Unavailable(_)) => "again",
            Err(Fault::Rejected(_)) => "never",
        };
        assert_eq!(found, expected, "{status}");
        if let Err(fault) = written {
            let reason = fault.to_string();
            assert!(reason.contains(&status.to_string()) && reason.contains("so it is"), "{reason}");
        }
    };
    for status in [200, 201, 202, 204] {
        check(status, "taken");
    }
    for status in [408, 409, 425, 429, 500, 502, 503, 504] {
        check(status, "again");
    }
    for status in [301, 307, 400, 401, 403, 404, 413, 422] {
        check(status, "never");
    }
}

#[test]
fn an_endpoint_that_cannot_be_reached_is_tried_again() {
    let (written, _) = write(&[Some("one")], || Err(Fault::unavailable("connection refused")));
    assert!(matches!(written, Err(Fault::Unavailable(reason)) if reason.contains("refused")));
}

#[test]
fn an_endpoint_is_left_alone_for_as_long_as_it_asks() {
    let busy = |seconds: &'static str| {
        move || {
            let headers = vec![("retry-after".to_owned(), seconds.as_bytes().to_vec())];
            Ok(Response { headers, ..answer(429) })
        }
    };
    for seconds in ["0", "Wed, 21 Oct 2015 07:28:00 GMT"] {
        assert!(matches!(write(&[Some("one")], busy(seconds)).0, Err(Fault::Unavailable(_))));
        let (written, requests) = write(&[Some("one")], || Ok(answer(200)));
        assert_eq!((written, requests.len()), (Ok(()), 1), "{seconds}");
    }
    let accepted = move || Ok(Response { status: 202, ..busy("1000")()? });
    assert_eq!(write(&[Some("one")], accepted).0, Ok(()), "that is about what it has taken");
    assert!(matches!(write(&[Some("one")], busy("1000")).0, Err(Fault::Unavailable(_))));
    let (written, requests) = write(&[Some("one")], || Ok(answer(200)));
    assert!(matches!(written, Err(Fault::Unavailable(_))) && requests.is_empty());
}

#[test]
fn settings_that_no_request_can_be_made_of_are_refused_before_there_is_one() {
    let check = |key: &str, value: serde_json::Value| {
        configure("url", &"https://example.com/batches?a=b".into());
        configure("name", &"orders".into());
        configure("headers", &serde_json::json!({}));
        configure("format", &"json".into());
        configure(key, &value);
        Post::check().err()
    };
    let right = [
        ("url", "http://127.0.0.1:8080".into()),
        ("headers", serde_json::json!({ "authorization": "Bearer\ta b" })),
        ("format", "lines".into()),
    ];
    for (key, value) in right {
        assert_eq!(check(key, value.clone()), None, "{key} = {value}");
    }
    let wrong = [
        ("url", "example.com/batches".into()),
        ("url", "http:///batches".into()),
        ("url", "https://me@example.com".into()),
        ("url", "https://example.com/a b".into()),
        ("headers", serde_json::json!(["x"])),
        ("headers", serde_json::json!({ "": "x" })),
        ("headers", serde_json::json!({ "a b": "x" })),
        ("headers", serde_json::json!({ "a": "x\ny" })),
        ("format", "xml".into()),
    ];
    for (key, value) in wrong {
        let told = check(key, value.clone());
        assert!(
            matches!(&told, Some(Fault::Rejected(reason)) if reason.contains(key)),
            "{key} = {value}: {told:?}"
        );
    }
}

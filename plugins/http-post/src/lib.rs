//! Posts batches to an HTTP endpoint, each part of a batch in a request whose key tells a repeat.
//!
//! The host calls for a part until it succeeds, with the same rows under the same time and number. So an endpoint that
//! does a key's work once has each row once.

use std::cell::Cell;
use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use millstream_sdk::http::{Request, Response};
use millstream_sdk::prelude::*;

mod body;
mod settings;
#[cfg(test)]
mod tests;

use body::Format;

/// What is shown of an endpoint's answer.
const REASON_CHARS_MAX: usize = 200;
/// How long an endpoint is left alone at most that asks for it.
const PAUSE_MAX: Duration = Duration::from_secs(3600);

thread_local! {
    /// When the endpoint wants to be asked again. It outlives the sink, which is opened anew after a failure.
    static NOT_BEFORE: Cell<Option<Instant>> = const { Cell::new(None) };
}

/// An endpoint.
pub struct Post {
    url: String,
    /// What every key begins with.
    name: String,
    headers: BTreeMap<String, String>,
    format: Format,
}

/// Posts rows to `url`, with the header `Idempotency-Key: <name>-<batch time>-<part>`.
#[sink]
impl Sink for Post {
    type Row = Option<&'static str>;

    fn check() -> Result<(), Fault> {
        let post = Self::open()?;
        settings::check(&post.url, &post.headers).map_err(Fault::rejected)
    }

    fn open() -> Result<Self, Fault> {
        Ok(Self {
            url: required_config("url")?.text()?,
            name: required_config("name")?.text()?,
            headers: headers()?,
            format: Format::configured()?,
        })
    }

    fn write(&mut self, rows: Rows<'_, Option<&'static str>>, batch: Batch) -> Result<(), Fault> {
        if NOT_BEFORE.get().is_some_and(|time| now() < time) {
            return Err(Fault::unavailable("the endpoint asked to be left alone for a while"));
        }
        let Batch { time_ms, part, .. } = batch;
        let key = format!("{}-{time_ms}-{part}", self.name);
        let mut request = Request::post(&self.url, self.format.body(rows.iter()));
        set(&mut request, "content-type", self.format.content_type());
        for (name, value) in &self.headers {
            set(&mut request, name, value);
        }
        set(&mut request, "idempotency-key", &key);
        let response = request.send()?;
        let judged = judge(&response);
        if let Err(Fault::Unavailable(_)) = judged {
            NOT_BEFORE.set(pause(&response).map(|pause| now() + pause));
        }
        judged
    }
}

/// Sets a header, in the place of one of its name.
fn set(request: &mut Request, name: &str, value: &str) {
    request.headers.retain(|(present, _)| !present.eq_ignore_ascii_case(name));
    request.headers.push((name.to_owned(), value.as_bytes().to_vec()));
}

/// The headers that the configuration adds to every request.
fn headers() -> Result<BTreeMap<String, String>, Fault> {
    let Some(headers) = config("headers") else { return Ok(BTreeMap::new()) };
    serde_json::from_str(headers.json())
        .map_err(|error| Fault::rejected(format!("`headers` is no table of texts: {error}")))
}

/// What a status says of the rows.
fn judge(response: &Response) -> Result<(), Fault> {
    let status = response.status;
    let answer: String = String::from_utf8_lossy(&response.body).chars().take(REASON_CHARS_MAX).collect();
    let reason = format!("the endpoint answered with the status {status}: {answer:?}");
    match status {
        200..=299 => Ok(()),
        // It takes too long, another request with the key is under way, it is too early, there are too many.
        408 | 409 | 425 | 429 | 500.. => Err(Fault::unavailable(reason)),
        _ => Err(Fault::rejected(reason)),
    }
}

/// How long the endpoint asks to be left alone, in seconds; a date is not understood.
fn pause(response: &Response) -> Option<Duration> {
    let (_, value) = response.headers.iter().find(|(name, _)| name.eq_ignore_ascii_case("retry-after"))?;
    let seconds = std::str::from_utf8(value).ok()?.trim().parse().ok()?;
    Some(Duration::from_secs(seconds).min(PAUSE_MAX))
}

/// The time, to measure by.
#[allow(clippy::disallowed_methods, reason = "a component has no clock but the one that its host gives it")]
fn now() -> Instant {
    Instant::now()
}

millstream_sdk::export!(Post; needs: http("the endpoint that batches are posted to"));

//! HTTP requests to services that the pipeline file grants, as in `grant = { http = ["api.example.com"] }`.
//!
//! ```
//! use millstream_sdk::http::Request;
//! use millstream_sdk::prelude::*;
//!
//! /// What an amount is in euros.
//! #[map]
//! fn in_euros(currency: &str, amount: f64) -> Result<f64, Fault> {
//!     let response = Request::get(&format!("https://rates.example.com/{currency}")).send()?;
//!     let rate: f64 = response.text()?.trim().parse().map_err(Fault::rejected)?;
//!     Ok(amount * rate)
//! }
//!
//! // In an ordinary test nothing is sent. The test answers instead.
//! millstream_sdk::testing::answer_http(|request| {
//!     assert_eq!(request.url, "https://rates.example.com/usd");
//!     Ok(millstream_sdk::http::Response { status: 200, headers: vec![], body: b"0.9".to_vec() })
//! });
//! assert_eq!(in_euros("usd", 10.0), Ok(9.0));
//! ```
//!
//! A request takes a part of the call's time, and each is made anew where a batch is run again, which may then give other
//! rows. One request for a chunk of rows, by a transform, costs less than one for each.

use crate::outside::Fault;
#[cfg(not(target_family = "wasm"))]
use crate::testing as world;
#[cfg(target_family = "wasm")]
use crate::wasi_http as world;

/// A request that can be sent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Request {
    /// GET, POST or another.
    pub method: String,
    /// From `http://` or `https://` on.
    pub url: String,
    /// Names and values. `host` is set by the host.
    pub headers: Vec<(String, Vec<u8>)>,
    /// What is sent.
    pub body: Vec<u8>,
}

impl Request {
    /// A request to read.
    #[must_use]
    pub fn get(url: &str) -> Self {
        Self::new("GET", url)
    }

    /// A request that sends `body`.
    #[must_use]
    pub fn post(url: &str, body: impl Into<Vec<u8>>) -> Self {
        Self { body: body.into(), ..Self::new("POST", url) }
    }

    /// A request of any method.
    #[must_use]
    pub fn new(method: &str, url: &str) -> Self {
        Self { method: method.to_owned(), url: url.to_owned(), headers: Vec::new(), body: Vec::new() }
    }

    /// The same with one header more.
    #[must_use]
    pub fn header(mut self, name: &str, value: impl Into<Vec<u8>>) -> Self {
        self.headers.push((name.to_owned(), value.into()));
        self
    }

    /// Sends it, and waits for the whole response. A redirect is a response like any other.
    ///
    /// # Errors
    /// `Rejected` if the host is not granted, the request is malformed, or a limit is broken; `Unavailable` if the service
    /// cannot be reached or does not answer in time. A status that says that something failed is no error.
    pub fn send(&self) -> Result<Response, Fault> {
        world::send(self)
    }

    /// The URL's scheme, authority, and path with query.
    #[cfg(target_family = "wasm")]
    pub(crate) fn parts(&self) -> Option<(&str, &str, String)> {
        let (scheme, rest) = self.url.split_once("://")?;
        let end = rest.find(['/', '?', '#']).unwrap_or(rest.len());
        let (authority, path) = rest.split_at(end);
        let path = path.split('#').next().unwrap_or_default();
        let slash = if path.starts_with('/') { "" } else { "/" };
        Some((scheme, authority, format!("{slash}{path}")))
    }
}

/// What a service answered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Response {
    /// Such as 200.
    pub status: u16,
    /// Names, in lower case, and values.
    pub headers: Vec<(String, Vec<u8>)>,
    /// All of it.
    pub body: Vec<u8>,
}

impl Response {
    /// The body of a response whose status says that all went well.
    ///
    /// # Errors
    /// If the status is another, `Unavailable` where it says that the service may answer later; or the body is not UTF-8.
    pub fn text(&self) -> Result<&str, Fault> {
        if !(200..300).contains(&self.status) {
            let reason = format!("the service answered with the status {}", self.status);
            // It takes too long, it is too early, there are too many, or the service is at fault.
            let may_pass = matches!(self.status, 408 | 425 | 429 | 500..);
            return Err(if may_pass { Fault::Unavailable(reason) } else { Fault::Rejected(reason) });
        }
        std::str::from_utf8(&self.body).map_err(Fault::rejected)
    }
}

//! HTTP requests of guests: to the hosts that are granted, within limits, and to no other.
//!
//! What is checked is what is connected to: the address is made anew from the host and port that were found granted, and
//! so is the `host` header. A redirect is an answer like any other; the host follows none. A name that is granted is
//! resolved by the host, for a guest resolves none.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use http::header::{HOST, HeaderValue};
use http::uri::{Authority, Parts, Scheme};
use http::{HeaderMap, Method, Request, Response, Uri};
use http_body::{Body, Frame};
use millstream_model::pipeline::{Limit, PluginSpec};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::{Instant, Sleep, sleep_until, timeout_at};
use wasmtime_wasi_http::{Error, RequestOptions, WasiBody, WasiHttpCtx, WasiHttpHooks, default_send_request};

use crate::PluginError;
use crate::output::Printed;

/// What all headers of a request, or of a response, may take.
pub(crate) const HEADER_BYTES_MAX: usize = 64 << 10;
/// Requests of an instance that may be under way, their responses not yet read to the end or dropped.
const REQUESTS_MAX: usize = 8;

/// A host that is granted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Destination {
    host: String,
    /// None stands for the port that the scheme implies.
    port: Option<u16>,
}

impl Destination {
    pub(crate) fn parse(text: &str) -> Option<Self> {
        let authority: Authority = text.parse().ok()?;
        let port = authority.port().map_or(0, |port| 1 + port.as_str().len());
        // Neither a user before the host, nor a colon behind which is no port.
        let is_all = authority.host().len() + port == text.len();
        is_all.then(|| Self { host: authority.host().to_ascii_lowercase(), port: authority.port_u16() })
    }

    /// The destinations that a plugin is granted.
    pub(crate) fn granted(spec: &PluginSpec) -> Result<Arc<[Self]>, PluginError> {
        let destination = |text: &String| {
            Self::parse(text).ok_or_else(|| PluginError::Grant {
                what: format!("http \"{text}\""),
                reason: "it is no host; write host or host:port".to_owned(),
            })
        };
        spec.grant.http.iter().map(destination).collect()
    }

    /// Whether a request for `uri` may be sent because of this.
    #[cfg(test)]
    pub(crate) fn admits_uri(&self, uri: &Uri) -> bool {
        Asked::of(uri).is_ok_and(|asked| self.admits(&asked))
    }

    fn admits(&self, asked: &Asked) -> bool {
        self.host == asked.host && self.port.map_or(asked.is_default_port(), |port| port == asked.port)
    }
}

/// Where a request wants to go.
#[derive(Debug)]
struct Asked {
    scheme: Scheme,
    host: String,
    port: u16,
}

impl Asked {
    fn of(uri: &Uri) -> Result<Self, Error> {
        let authority = uri.authority().ok_or(Error::HttpRequestUriInvalid)?;
        let asked = Destination::parse(authority.as_str()).ok_or(Error::HttpRequestUriInvalid)?;
        let scheme = uri.scheme().cloned().ok_or(Error::HttpRequestUriInvalid)?;
        let port = asked.port.unwrap_or_else(|| default_port(&scheme));
        Ok(Self { scheme, host: asked.host, port })
    }

    fn is_default_port(&self) -> bool {
        self.port == default_port(&self.scheme)
    }

    /// As a pipeline file would grant it, and as the `host` header says it.
    fn name(&self) -> String {
        match self.is_default_port() {
            true => self.host.clone(),
            false => format!("{}:{}", self.host, self.port),
        }
    }

    /// The request's address and `host` header, made from what was checked.
    fn apply(&self, request: &mut Request<WasiBody>) -> Result<(), http::Error> {
        let mut parts = Parts::default();
        parts.scheme = Some(self.scheme.clone());
        parts.authority = Some(format!("{}:{}", self.host, self.port).parse()?);
        let path = request.uri().path_and_query().cloned();
        parts.path_and_query = Some(path.unwrap_or_else(|| http::uri::PathAndQuery::from_static("/")));
        *request.uri_mut() = Uri::from_parts(parts)?;
        request.headers_mut().insert(HOST, HeaderValue::try_from(self.name())?);
        Ok(())
    }
}

fn default_port(scheme: &Scheme) -> u16 {
    if *scheme == Scheme::HTTPS { 443 } else { 80 }
}

/// What an instance has of HTTP.
pub(crate) struct Http {
    pub(crate) context: WasiHttpCtx,
    pub(crate) requests: Requests,
}

impl Http {
    pub(crate) fn new(granted: &Arc<[Destination]>, limit: &Limit, printed: &Printed) -> Self {
        let mut context = WasiHttpCtx::new();
        context.set_field_size_limit(HEADER_BYTES_MAX);
        let requests = Requests {
            granted: Arc::clone(granted),
            body_bytes: limit.http_body_bytes,
            until: Instant::now() + limit.time,
            under_way: Arc::new(Semaphore::new(REQUESTS_MAX)),
            printed: printed.clone(),
        };
        Self { context, requests }
    }
}

/// The requests of an instance: which may be sent, and how much of them.
pub(crate) struct Requests {
    granted: Arc<[Destination]>,
    body_bytes: u64,
    /// When requests of the call that is made are over.
    until: Instant,
    under_way: Arc<Semaphore>,
    printed: Printed,
}

/// A response, and what drives the rest of its connection.
type Exchange = (Response<WasiBody>, Box<dyn Future<Output = Result<(), Error>> + Send>);

impl Requests {
    /// A call begins that may take so long.
    pub(crate) fn begin(&mut self, time: Duration) {
        self.until = Instant::now() + time * 9 / 10;
    }
}

impl WasiHttpHooks for Requests {
    fn send_request(
        &mut self,
        mut request: Request<WasiBody>,
        options: Option<RequestOptions>,
        _processed: Box<dyn Future<Output = Result<(), Error>> + Send>,
    ) -> Box<dyn Future<Output = Result<Exchange, Error>> + Send> {
        let admitted = self.admit(&mut request);
        let (printed, body_bytes) = (self.printed.clone(), self.body_bytes);
        // A guest that is told in time what its service does can say so, before it has used up the time of its call.
        let deadline = self.until;
        let options = within(options, deadline.saturating_duration_since(Instant::now()));
        Box::new(async move {
            let (name, permit) = admitted?;
            let request = request.map(|body| {
                WasiBody::new(Metered::new(body, body_bytes, |bytes| Error::HttpRequestBodySize(Some(bytes))))
            });
            let sent = timeout_at(deadline, default_send_request(request, Some(options))).await;
            let answered = sent.map_err(|_| Error::HttpResponseTimeout).and_then(|sent| sent);
            let answered = answered.and_then(|(response, connection)| {
                check_headers(response.headers())?;
                Ok((response, connection))
            });
            let (response, connection) = answered.map_err(|error| {
                printed.push(format!("Warn: the HTTP request to {name} failed: {error}\n").as_bytes());
                told(error)
            })?;
            let response = response.map(|body| {
                let broken = |bytes| Error::HttpResponseBodySize(Some(bytes));
                let metered = Metered::new(WasiBody::new(body), body_bytes, broken);
                let deadline = Some(Box::pin(sleep_until(deadline)));
                WasiBody::new(Metered { deadline, _permit: Some(permit), ..metered })
            });
            // What becomes of the connection shows in the body.
            let connection = async move { connection.await.or(Ok(())) };
            Ok((response, Box::new(connection) as Box<dyn Future<Output = Result<(), Error>> + Send>))
        })
    }
}

impl Requests {
    /// Whether a request may be sent, and under which name. Points it at what was found granted.
    fn admit(&self, request: &mut Request<WasiBody>) -> Result<(String, OwnedSemaphorePermit), Error> {
        let asked = Asked::of(request.uri())?;
        let name = asked.name();
        if !self.granted.iter().any(|granted| granted.admits(&asked)) {
            let line = format!(
                "Warn: an HTTP request to {name} was denied; if it may be sent, write grant = {{ http = [\"{name}\"] }}\n"
            );
            self.printed.push(line.as_bytes());
            return Err(Error::HttpRequestDenied);
        }
        // A tunnel would lead to hosts that are not granted.
        if request.method() == Method::CONNECT {
            return Err(Error::HttpRequestMethodInvalid);
        }
        let permit = Arc::clone(&self.under_way).try_acquire_owned();
        let permit = permit.map_err(|_| {
            let line = format!("Warn: more than {REQUESTS_MAX} HTTP requests at once were denied\n");
            self.printed.push(line.as_bytes());
            Error::ConnectionLimitReached
        })?;
        asked.apply(request).map_err(|_| Error::HttpRequestUriInvalid)?;
        Ok((name, permit))
    }
}

/// The guest's own timeouts, as far as they are shorter.
fn within(options: Option<RequestOptions>, time: Duration) -> RequestOptions {
    let options = options.unwrap_or_default();
    let shorter = |wanted: Option<Duration>| Some(wanted.map_or(time, |wanted| wanted.min(time)));
    RequestOptions {
        connect_timeout: shorter(options.connect_timeout),
        first_byte_timeout: shorter(options.first_byte_timeout),
        between_bytes_timeout: shorter(options.between_bytes_timeout),
    }
}

fn check_headers(headers: &HeaderMap) -> Result<(), Error> {
    let bytes: usize = headers.iter().map(|(name, value)| name.as_str().len() + value.len()).sum();
    match bytes > HEADER_BYTES_MAX {
        true => Err(Error::HttpResponseHeaderSectionSize(u32::try_from(bytes).ok())),
        false => Ok(()),
    }
}

/// An error in the guest's terms, of which none is written to the host's log unbounded by its limits.
fn told(error: Error) -> Error {
    match error {
        Error::Hyper(error) if error.is_parse_too_large() => Error::HttpResponseHeaderSectionSize(None),
        Error::Hyper(error) => match std::error::Error::source(&error).and_then(|cause| cause.downcast_ref())
        {
            Some(Error::HttpRequestBodySize(size)) => Error::HttpRequestBodySize(*size),
            _ if error.is_incomplete_message() => Error::HttpResponseIncomplete,
            _ => Error::HttpProtocolError,
        },
        Error::Connect(error) if error.kind() == std::io::ErrorKind::ConnectionRefused => {
            Error::ConnectionRefused
        }
        Error::Connect(_) => Error::DestinationUnavailable,
        Error::Tls(_) => Error::TlsProtocolError,
        Error::InvalidDnsNameError(_) => Error::HttpRequestUriInvalid,
        error => error,
    }
}

/// A body that ends with an error at its limit, or when its time is over.
struct Metered {
    body: WasiBody,
    bytes_max: u64,
    left: u64,
    broken: fn(u64) -> Error,
    deadline: Option<Pin<Box<Sleep>>>,
    /// Given back with the body.
    _permit: Option<OwnedSemaphorePermit>,
}

impl Metered {
    fn new(body: WasiBody, bytes_max: u64, broken: fn(u64) -> Error) -> Self {
        Self { body, bytes_max, left: bytes_max, broken, deadline: None, _permit: None }
    }

    fn is_late(&mut self, context: &mut Context<'_>) -> bool {
        self.deadline.as_mut().is_some_and(|deadline| deadline.as_mut().poll(context).is_ready())
    }

    fn count(&mut self, frame: Frame<Bytes>) -> Result<Frame<Bytes>, Error> {
        let bytes = frame.data_ref().map_or(0, |data| data.len() as u64);
        self.left = self.left.checked_sub(bytes).ok_or_else(|| (self.broken)(self.bytes_max))?;
        Ok(frame)
    }
}

impl Body for Metered {
    type Data = Bytes;
    type Error = Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Error>>> {
        if self.is_late(context) {
            return Poll::Ready(Some(Err(Error::HttpResponseTimeout)));
        }
        let frame = Pin::new(&mut self.body).poll_frame(context);
        frame.map(|frame| frame.map(|frame| frame.map_err(told).and_then(|frame| self.count(frame))))
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> http_body::SizeHint {
        self.body.size_hint()
    }
}

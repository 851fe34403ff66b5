//! Requests through `wasi:http`, which a component imports only if this is called.

use std::fmt::Debug;

use wasip2::http::outgoing_handler;
use wasip2::http::types::{
    Fields, IncomingBody, IncomingResponse, Method, OutgoingBody, OutgoingRequest, Scheme,
};
use wasip2::io::streams::StreamError;

use super::{Failure, Request, Response};

/// What a stream takes and gives at once.
const CHUNK_BYTES: usize = 4096;
const READ_BYTES: u64 = 64 << 10;

pub(super) fn send(request: &Request) -> Result<Response, Failure> {
    let failed = |why: &str| Failure::new(format_args!("{} {}: {why}", request.method, request.url));
    let outgoing = outgoing(request).map_err(|why| failed(&why))?;
    let body = outgoing.body().map_err(|()| failed("it has a wrong content-length"))?;
    let pending = outgoing_handler::handle(outgoing, None).map_err(|error| failed(&error.to_string()))?;
    let sent = write(body, &request.body);
    pending.subscribe().block();
    let answered = pending.get().expect("it is ready").expect("it is taken once");
    let response = answered.map_err(|error| failed(&error.to_string()))?;
    // A service may answer without reading all; what counts is then its answer.
    drop(sent);
    let (status, headers) = (response.status(), response.headers().entries());
    let body = read(&response).map_err(|why| failed(&why))?;
    Ok(Response { status, headers, body })
}

fn outgoing(request: &Request) -> Result<OutgoingRequest, String> {
    let (scheme, authority, path) =
        request.parts().ok_or("the URL has no scheme; write http:// or https:// before it")?;
    let wrong = |what| move |()| format!("its {what} is malformed");
    let headers = Fields::from_list(&request.headers).map_err(|error| error.to_string())?;
    let outgoing = OutgoingRequest::new(headers);
    outgoing.set_method(&method(&request.method)).map_err(wrong("method"))?;
    let scheme = match scheme {
        "http" => Scheme::Http,
        "https" => Scheme::Https,
        other => Scheme::Other(other.to_owned()),
    };
    outgoing.set_scheme(Some(&scheme)).map_err(wrong("scheme"))?;
    outgoing.set_authority(Some(authority)).map_err(wrong("host"))?;
    outgoing.set_path_with_query(Some(&path)).map_err(wrong("path"))?;
    Ok(outgoing)
}

fn method(name: &str) -> Method {
    match name {
        "GET" => Method::Get,
        "HEAD" => Method::Head,
        "POST" => Method::Post,
        "PUT" => Method::Put,
        "DELETE" => Method::Delete,
        "CONNECT" => Method::Connect,
        "OPTIONS" => Method::Options,
        "TRACE" => Method::Trace,
        "PATCH" => Method::Patch,
        other => Method::Other(other.to_owned()),
    }
}

fn write(body: OutgoingBody, bytes: &[u8]) -> Result<(), String> {
    let stream = body.write().map_err(|()| "its body is written already".to_owned())?;
    for chunk in bytes.chunks(CHUNK_BYTES) {
        stream.blocking_write_and_flush(chunk).map_err(said)?;
    }
    drop(stream);
    OutgoingBody::finish(body, None).map_err(said)
}

fn read(response: &IncomingResponse) -> Result<Vec<u8>, String> {
    let body: IncomingBody = response.consume().map_err(|()| "its body is read already".to_owned())?;
    let stream = body.stream().map_err(|()| "its body is read already".to_owned())?;
    let mut bytes = Vec::new();
    loop {
        match stream.blocking_read(READ_BYTES) {
            Ok(chunk) => bytes.extend_from_slice(&chunk),
            Err(StreamError::Closed) => return Ok(bytes),
            Err(StreamError::LastOperationFailed(error)) => return Err(error.to_debug_string()),
        }
    }
}

fn said(error: impl Debug) -> String {
    format!("{error:?}")
}

//! Requests through `wasi:http`, which a component imports only if this is called.

use wasip2::http::outgoing_handler;
use wasip2::http::types::{
    ErrorCode, Fields, IncomingBody, IncomingResponse, Method, OutgoingBody, OutgoingRequest, Scheme,
    http_error_code,
};
use wasip2::io::streams::StreamError;

use crate::http::{Request, Response};
use crate::outside::Fault;

/// What a stream takes and gives at once.
const CHUNK_BYTES: usize = 4096;
const READ_BYTES: u64 = 64 << 10;

pub(crate) fn send(request: &Request) -> Result<Response, Fault> {
    let told = |why: &str| format!("{} {}: {why}", request.method, request.url);
    let refused = |why: &str| Fault::Rejected(told(why));
    let failed = |code: ErrorCode| match is_for_good(&code) {
        true => Fault::Rejected(told(&code.to_string())),
        false => Fault::Unavailable(told(&code.to_string())),
    };
    let outgoing = outgoing(request).map_err(|why| refused(&why))?;
    let body = outgoing.body().map_err(|()| refused("it has a wrong content-length"))?;
    let pending = outgoing_handler::handle(outgoing, None).map_err(failed)?;
    write(body, &request.body);
    pending.subscribe().block();
    let answered = pending.get().expect("it is ready").expect("it is taken once");
    let response = answered.map_err(failed)?;
    let (status, headers) = (response.status(), response.headers().entries());
    let body = read(&response).map_err(failed)?;
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

/// Whether the same request fails again, whenever it is sent.
fn is_for_good(code: &ErrorCode) -> bool {
    use ErrorCode as Code;
    matches!(
        code,
        Code::HttpRequestDenied
            | Code::HttpRequestLengthRequired
            | Code::HttpRequestBodySize(_)
            | Code::HttpRequestMethodInvalid
            | Code::HttpRequestUriInvalid
            | Code::HttpRequestUriTooLong
            | Code::HttpRequestHeaderSectionSize(_)
            | Code::HttpRequestHeaderSize(_)
            | Code::HttpResponseHeaderSectionSize(_)
            | Code::HttpResponseHeaderSize(_)
            | Code::HttpResponseBodySize(_)
            | Code::HttpResponseTransferCoding(_)
            | Code::HttpResponseContentCoding(_)
    )
}

/// Writes the body as far as it is read; what is wrong with it is told by the answer.
fn write(body: OutgoingBody, bytes: &[u8]) {
    let Ok(stream) = body.write() else { return };
    if bytes.chunks(CHUNK_BYTES).try_for_each(|chunk| stream.blocking_write_and_flush(chunk)).is_ok() {
        drop(stream);
        drop(OutgoingBody::finish(body, None));
    }
}

fn read(response: &IncomingResponse) -> Result<Vec<u8>, ErrorCode> {
    let read_twice = |()| ErrorCode::InternalError(Some("its body is read already".to_owned()));
    let body: IncomingBody = response.consume().map_err(read_twice)?;
    let stream = body.stream().map_err(read_twice)?;
    let mut bytes = Vec::new();
    loop {
        match stream.blocking_read(READ_BYTES) {
            Ok(chunk) => bytes.extend_from_slice(&chunk),
            Err(StreamError::Closed) => return Ok(bytes),
            Err(StreamError::LastOperationFailed(error)) => {
                let other = || ErrorCode::InternalError(Some(error.to_debug_string()));
                return Err(http_error_code(&error).unwrap_or_else(other));
            }
        }
    }
}

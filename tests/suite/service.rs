//! A service that is called over HTTP: it answers as a test wants, and remembers what it was asked.
//!
//! It speaks as much of HTTP/1.1 as it needs: one request a connection, whose body has a length or comes in chunks.

use std::collections::BTreeMap;
use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Mutex};

/// A request as it came.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Request {
    /// Its method and its path.
    pub(crate) line: String,
    /// By their names in lower case.
    pub(crate) headers: BTreeMap<String, String>,
    pub(crate) body: String,
}

/// What the service does with a request.
pub(crate) enum Answer {
    /// A status, and lines of headers.
    Status(u16, &'static str),
    /// It takes the request, and the connection ends before the answer.
    Silence,
}

/// The service. Its threads end with the process.
pub(crate) struct Service {
    address: SocketAddr,
    requests: Arc<Mutex<Vec<Request>>>,
}

impl Service {
    /// Answers each request by `answer`, which is given its number, in a thread of its own.
    pub(crate) fn start(answer: impl FnMut(usize) -> Answer + Send + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let requests = Arc::<Mutex<Vec<Request>>>::default();
        let (seen, answer) = (Arc::clone(&requests), Arc::new(Mutex::new(answer)));
        std::thread::spawn(move || {
            for stream in listener.incoming().map_while(Result::ok) {
                let (seen, answer) = (Arc::clone(&seen), Arc::clone(&answer));
                // Whoever asks may be killed at any moment.
                std::thread::spawn(move || drop(serve(&stream, &seen, &answer)));
            }
        });
        Self { address, requests }
    }

    pub(crate) fn address(&self) -> SocketAddr {
        self.address
    }

    /// All requests that came as a whole, in order.
    pub(crate) fn requests(&self) -> Vec<Request> {
        self.requests.lock().unwrap().clone()
    }
}

fn serve(
    stream: &TcpStream,
    seen: &Mutex<Vec<Request>>,
    answer: &Mutex<impl FnMut(usize) -> Answer>,
) -> io::Result<()> {
    let request = read(&mut BufReader::new(stream))?;
    let number = {
        let mut seen = seen.lock().unwrap();
        seen.push(request);
        seen.len() - 1
    };
    let answer = answer.lock().unwrap()(number);
    if let Answer::Status(status, headers) = answer {
        let head = format!("HTTP/1.1 {status} so\r\nconnection: close\r\ncontent-length: 2\r\n{headers}\r\n");
        (&*stream).write_all(format!("{head}ok").as_bytes())?;
    }
    Ok(())
}

fn read(stream: &mut impl BufRead) -> io::Result<Request> {
    let line = line(stream)?;
    let mut headers = BTreeMap::new();
    while let Some((name, value)) = self::line(stream)?.split_once(": ") {
        headers.insert(name.to_ascii_lowercase(), value.to_owned());
    }
    let body = match headers.get("content-length") {
        Some(length) => exactly(stream, length.parse().map_err(io::Error::other)?)?,
        None => chunks(stream)?,
    };
    let body = String::from_utf8(body).map_err(io::Error::other)?;
    Ok(Request { line, headers, body })
}

fn chunks(stream: &mut impl BufRead) -> io::Result<Vec<u8>> {
    let mut body = Vec::new();
    loop {
        let length = usize::from_str_radix(&line(stream)?, 16).map_err(io::Error::other)?;
        body.extend(exactly(stream, length)?);
        line(stream)?;
        if length == 0 {
            return Ok(body);
        }
    }
}

fn exactly(stream: &mut impl Read, length: usize) -> io::Result<Vec<u8>> {
    let mut bytes = vec![0; length];
    stream.read_exact(&mut bytes)?;
    Ok(bytes)
}

/// A line that has ended; one that broke off is a fault.
fn line(stream: &mut impl BufRead) -> io::Result<String> {
    let mut line = String::new();
    stream.read_line(&mut line)?;
    line.strip_suffix("\r\n").map(str::to_owned).ok_or_else(|| io::ErrorKind::UnexpectedEof.into())
}

//! A server on this machine that answers as a test wants, and tells what it was asked.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Mutex};
use std::thread;

/// What a server answers to each connection.
pub(super) enum Answer {
    /// These bytes, once all was read that was asked, and the end.
    Bytes(Vec<u8>),
    /// These bytes, whatever is asked, and the end.
    AtOnce(Vec<u8>),
    /// Nothing, and no end either.
    Silence,
}

pub(super) struct Server {
    pub(super) address: SocketAddr,
    asked: Arc<Mutex<Vec<String>>>,
}

impl Server {
    /// Answers for as long as the process lives.
    pub(super) fn new(answer: Answer) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let (address, asked) = (listener.local_addr().unwrap(), Arc::<Mutex<Vec<String>>>::default());
        let seen = Arc::clone(&asked);
        thread::spawn(move || {
            let mut silent = Vec::new();
            for stream in listener.incoming() {
                let mut stream = stream.unwrap();
                match &answer {
                    Answer::Bytes(bytes) => {
                        let request = request(&mut stream);
                        seen.lock().unwrap().push(request);
                        // Whoever asked may be gone.
                        drop(stream.write_all(bytes));
                    }
                    Answer::AtOnce(bytes) => drop(stream.write_all(bytes)),
                    Answer::Silence => {
                        seen.lock().unwrap().push(String::new());
                        silent.push(stream);
                    }
                }
            }
        });
        Self { address, asked }
    }

    /// An HTTP response with a status line, headers and a body.
    pub(super) fn http(status: &str, headers: &str, body: &[u8]) -> Self {
        let head = format!("HTTP/1.1 {status}\r\ncontent-length: {}\r\n{headers}\r\n", body.len());
        Self::new(Answer::Bytes([head.as_bytes(), body].concat()))
    }

    pub(super) fn ok() -> Self {
        Self::http("200 OK", "", b"hello")
    }

    /// What was asked so far, a text for each connection.
    pub(super) fn asked(&self) -> Vec<String> {
        self.asked.lock().unwrap().clone()
    }

    pub(super) fn url(&self) -> String {
        format!("http://{}/", self.address)
    }
}

/// A line that is no request of HTTP, or all of a request with the length of its body.
fn request(stream: &mut TcpStream) -> String {
    let mut bytes = Vec::new();
    let mut chunk = [0; 4096];
    loop {
        let text = String::from_utf8_lossy(&bytes).into_owned();
        if is_whole(&text) {
            return text;
        }
        match stream.read(&mut chunk) {
            Ok(read) if read > 0 => bytes.extend_from_slice(&chunk[..read]),
            _ => return text,
        }
    }
}

fn is_whole(text: &str) -> bool {
    let Some((head, body)) = text.split_once("\r\n\r\n") else { return text == "hello\n" };
    let head = head.to_lowercase();
    let length = head.lines().find_map(|line| line.strip_prefix("content-length: ")?.parse().ok());
    let is_chunked = head.contains("transfer-encoding: chunked");
    if is_chunked { body.ends_with("0\r\n\r\n") } else { body.len() >= length.unwrap_or(0) }
}

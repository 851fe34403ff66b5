//! A plugin that reaches for the world outside as each row says, and answers with what came of it: to show what grants
//! and limits let through.
#![cfg(target_family = "wasm")]

mod bombs;

use std::fmt::Display;
use std::fs;
use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream, ToSocketAddrs, UdpSocket};

use millstream_sdk::http::Request;
use millstream_sdk::prelude::*;

/// Does what the row says, as in `read /etc/passwd`, and gives "ok" with what was found, or "failed" with the reason.
#[map(output = "outcome")]
pub fn reach(value: &str) -> String {
    let (what, how) = value.split_once(' ').unwrap_or((value, ""));
    let mut arguments = how.split(' ');
    let first = arguments.next().unwrap_or_default();
    let second = arguments.next().unwrap_or_default();
    let third = arguments.next().unwrap_or_default();
    match what {
        "read" => told(fs::read_to_string(first)),
        "list" => told(fs::read_dir(first).map(|entries| entries.count())),
        "write" => told(fs::write(first, second).map(|()| "")),
        "remove" => told(fs::remove_file(first).map(|()| "")),
        "rename" => told(fs::rename(first, second).map(|()| "")),
        "link" => told(fs::hard_link(first, second).map(|()| "")),
        "symlink" => told(symlink(first, second).map(|()| "")),
        "tcp" => told(tcp(first)),
        "silent" => told(silent(first)),
        "listen" => told(TcpListener::bind(first).map(|_| "")),
        "udp" => told(udp(first)),
        "resolve" => told((first, 80).to_socket_addrs().map(|found| found.count())),
        "environment" => told(std::env::var(first)),
        "variables" => told(Ok::<_, String>(std::env::vars().count())),
        "http" => told(http(&Request::new(first, second))),
        "http-header" => told(http(&Request::get(first).header(second, third))),
        "http-body" => told(http(&Request::post(first, vec![b'x'; number(second)]))),
        "http-many" => told(bombs::http_many(first, number(second))),
        "headers" => told(bombs::headers(number(first), number(second))),
        "handles" => told(bombs::handles(number(first))),
        "sockets" => told(bombs::sockets(number(first))),
        "random" => told(bombs::random(number(first) as u64)),
        "print" => told(print(number(first))),
        other => format!("failed: nobody knows how to {other}"),
    }
}

// HTTP is no need of it: a test that grants none wants to see the request denied.
millstream_sdk::export!(reach; needs: environment("REACH"));

fn told<T: Display, E: Display>(outcome: Result<T, E>) -> String {
    match outcome {
        Ok(found) => format!("ok {found}").trim_end().to_owned(),
        Err(reason) => format!("failed: {reason}"),
    }
}

fn number(text: &str) -> usize {
    text.parse().unwrap_or(0)
}

/// A symbolic link, of which the standard library knows nothing here: made by the interface below it.
fn symlink(target: &str, link: &str) -> Result<(), String> {
    bombs::symlink(target, link)
}

/// Connects, says hello, and gives what is answered.
fn tcp(address: &str) -> std::io::Result<String> {
    let mut stream = TcpStream::connect(address)?;
    stream.write_all(b"hello\n")?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer)?;
    Ok(answer)
}

/// Waits for a word of a server that says none.
fn silent(address: &str) -> std::io::Result<usize> {
    TcpStream::connect(address)?.read(&mut [0])
}

fn udp(address: &str) -> std::io::Result<usize> {
    let socket = UdpSocket::bind("0.0.0.0:0")?;
    socket.connect(address)?;
    socket.send(b"hello")
}

fn http(request: &Request) -> Result<String, String> {
    let response = request.send().map_err(|failure| failure.to_string())?;
    let text = String::from_utf8_lossy(&response.body);
    let shown: String = text.chars().take(200).collect();
    Ok(format!("{} {} bytes {shown}", response.status, response.body.len()))
}

fn print(bytes: usize) -> std::io::Result<&'static str> {
    let line = format!("{}\n", "x".repeat(99));
    let mut out = std::io::stdout();
    (0..bytes / 100).try_for_each(|_| out.write_all(line.as_bytes()))?;
    Ok("")
}

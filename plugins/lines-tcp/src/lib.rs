//! Receives lines from a server that numbers them and sends them again when it is asked to: none is lost, none comes twice.
//!
//! The protocol is that of `docs/resume-protocol.md`. The position is the number of the next line, so all that a new life
//! has to do is to ask for it.

use std::io::{ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

use millstream_sdk::lines::{LINE_BYTES_MAX, LineBuffer};
use millstream_sdk::prelude::*;

#[cfg(test)]
mod tests;

/// What is read at once.
const READ_BYTES: usize = 256 << 10;
/// How long a server may take to read what it is told.
const WRITE_TIME_MAX: Duration = Duration::from_secs(5);

/// What the configuration says.
struct Settings {
    address: SocketAddr,
    once: bool,
}

impl Settings {
    fn configured() -> Result<Self, Fault> {
        let address = required_config("address")?.text()?;
        let parsed = address.parse().ok().filter(|address: &SocketAddr| address.port() != 0);
        let address = parsed.ok_or_else(|| {
            Fault::rejected(format!(
                "`address` is {address:?}; write an IP address and a port, as in 127.0.0.1:9000: a plugin resolves no names"
            ))
        })?;
        let once = config("once").map_or(Ok(false), |once| once.boolean())?;
        Ok(Self { address, once })
    }
}

/// A connection.
pub struct Resume {
    server: TcpStream,
    buffer: LineBuffer,
    /// The number of the next line.
    next: u64,
    /// Whether the end of the connection is the end of all lines.
    once: bool,
}

/// Receives the lines of the server at `address`, from the first that was not received.
#[receiver]
impl Receiver for Resume {
    type Row = String;
    type Position = u64;

    fn check() -> Result<(), Fault> {
        Settings::configured().map(drop)
    }

    fn start(position: Option<u64>) -> Result<Self, Fault> {
        let Settings { address, once } = Settings::configured()?;
        let next = position.unwrap_or(0);
        let mut server = TcpStream::connect(address)
            .map_err(|error| Fault::unavailable(format!("connecting to {address}: {error}")))?;
        server.set_write_timeout(Some(WRITE_TIME_MAX))?;
        server.write_all(format!("resume {next}\n").as_bytes())?;
        Ok(Self { server, buffer: LineBuffer::new(), next, once })
    }

    fn poll(&mut self, deadline: Duration, lines: &mut Output<String>) -> Result<Poll<u64>, Fault> {
        // A timeout of zero would be none.
        self.server.set_read_timeout(Some(deadline.max(Duration::from_millis(1))))?;
        let mut piece = vec![0; READ_BYTES];
        let length = match self.server.read(&mut piece) {
            Err(error) if is_late(error.kind()) => return Ok(Poll::More(self.next)),
            read => read?,
        };
        if length == 0 && self.once {
            return Ok(Poll::Ended(self.next));
        }
        if length == 0 {
            return Err(Fault::unavailable("the server closed the connection"));
        }
        self.buffer.push(&piece[..length]);
        while let Some(line) = self.buffer.next_line() {
            if line.is_cut {
                let message = format!("line {} is cut to its first {LINE_BYTES_MAX} bytes", self.next);
                log(Level::Warn, &message);
            }
            lines.append(&*line.text);
            self.next += 1;
        }
        Ok(Poll::More(self.next))
    }

    fn acknowledge(&mut self, position: u64) -> Result<(), Fault> {
        Ok(self.server.write_all(format!("acknowledged {position}\n").as_bytes())?)
    }
}

/// Whether nothing came until the deadline.
fn is_late(kind: ErrorKind) -> bool {
    matches!(kind, ErrorKind::WouldBlock | ErrorKind::TimedOut | ErrorKind::Interrupted)
}

millstream_sdk::export!(Resume; needs: network("the server that sends lines"));

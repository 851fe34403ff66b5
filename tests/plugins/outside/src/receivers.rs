//! Receivers. `config` says how many numbers there are, and where to connect.

use std::io::{ErrorKind, Read};
use std::net::TcpStream;
use std::time::Duration;

use millstream_sdk::prelude::*;

/// Numbers in one poll.
const POLL_NUMBERS: i64 = 100;

#[derive(Row)]
pub(crate) struct Numbered<'a> {
    number: i64,
    name: Option<&'a str>,
}

pub(crate) struct Numbers {
    next: i64,
    until: Option<i64>,
}

/// Gives the numbers from 0 up to `until`, and ends; without it, it never does.
#[receiver]
impl Receiver for Numbers {
    type Row = Numbered<'static>;
    type Position = i64;

    fn start(position: Option<i64>) -> Result<Self, Fault> {
        let until = config("until").map(|until| until.integer()).transpose()?;
        Ok(Self { next: position.unwrap_or(0), until })
    }

    #[allow(clippy::disallowed_methods, reason = "numbers come slowly, as from outside")]
    fn poll(&mut self, deadline: Duration, rows: &mut Output<Numbered<'static>>) -> Result<Poll<i64>, Fault> {
        let end = self.next + POLL_NUMBERS;
        let end = self.until.map_or(end, |until| until.min(end));
        for number in self.next..end {
            let name = number.to_string();
            rows.append(Numbered { number, name: (number % 3 > 0).then_some(&name) });
        }
        self.next = end;
        if self.until == Some(end) {
            return Ok(Poll::Ended(end));
        }
        std::thread::sleep(deadline.min(Duration::from_millis(5)));
        Ok(Poll::More(end))
    }

    fn acknowledge(&mut self, position: i64) -> Result<(), Fault> {
        log(Level::Info, &format!("acknowledged {position}"));
        Ok(())
    }

    fn stop(&mut self) {
        log(Level::Info, &format!("stopped at {}", self.next));
    }
}

pub(crate) struct Lines {
    connection: TcpStream,
    /// What was read, of which the last line is not whole.
    read: Vec<u8>,
}

/// Gives the lines that come from `address`.
#[receiver(output = "line")]
impl Receiver for Lines {
    type Row = String;
    type Position = ();

    fn start(_: Option<()>) -> Result<Self, Fault> {
        let address = required_config("address")?.text()?;
        Ok(Self { connection: TcpStream::connect(address)?, read: Vec::new() })
    }

    fn poll(&mut self, deadline: Duration, lines: &mut Output<String>) -> Result<Poll<()>, Fault> {
        self.connection.set_read_timeout(Some(deadline.max(Duration::from_millis(1))))?;
        let mut buffer = [0; 64 << 10];
        let length = match self.connection.read(&mut buffer) {
            Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => {
                return Ok(Poll::More(()));
            }
            read => read?,
        };
        self.read.extend_from_slice(&buffer[..length]);
        let whole = self.read.iter().rposition(|byte| *byte == b'\n').map_or(0, |last| last + 1);
        let text = std::str::from_utf8(&self.read[..whole]).map_err(Fault::unavailable)?;
        text.lines().for_each(|line| lines.append(line));
        self.read.drain(..whole);
        Ok(if length == 0 { Poll::Ended(()) } else { Poll::More(()) })
    }
}

pub(crate) struct Trapping(i64, i64);

/// Traps whenever it has given 250 numbers.
#[receiver(output = "number")]
impl Receiver for Trapping {
    type Row = i64;
    type Position = i64;

    fn start(position: Option<i64>) -> Result<Self, Fault> {
        let position = position.unwrap_or(0);
        Ok(Self(position, position))
    }

    fn poll(&mut self, _: Duration, rows: &mut Output<i64>) -> Result<Poll<i64>, Fault> {
        assert!(self.1 - self.0 < 250, "it has given enough");
        (self.1..self.1 + 50).for_each(|number| rows.push(number));
        self.1 += 50;
        Ok(if self.1 == 1_000 { Poll::Ended(self.1) } else { Poll::More(self.1) })
    }
}

pub(crate) struct Hanging(TcpStream, bool);

/// Gives one number and then never comes back from a read.
#[receiver(output = "number")]
impl Receiver for Hanging {
    type Row = i64;
    type Position = ();

    fn start(_: Option<()>) -> Result<Self, Fault> {
        Ok(Self(TcpStream::connect(required_config("address")?.text()?)?, false))
    }

    fn poll(&mut self, _: Duration, rows: &mut Output<i64>) -> Result<Poll<()>, Fault> {
        if self.1 {
            self.0.read_exact(&mut [0])?;
        }
        self.1 = true;
        rows.push(1);
        Ok(Poll::More(()))
    }
}

pub(crate) struct Stubborn;

/// Gives one number, and never comes back from its end.
#[receiver(output = "number")]
impl Receiver for Stubborn {
    type Row = i64;
    type Position = ();

    fn start(_: Option<()>) -> Result<Self, Fault> {
        Ok(Self)
    }

    fn poll(&mut self, _: Duration, rows: &mut Output<i64>) -> Result<Poll<()>, Fault> {
        rows.push(1);
        Ok(Poll::Ended(()))
    }

    #[allow(clippy::disallowed_methods, reason = "it waits for nothing that ever comes")]
    fn stop(&mut self) {
        std::thread::sleep(Duration::MAX);
    }
}

pub(crate) struct Picky;

/// Refuses to start.
#[receiver]
impl Receiver for Picky {
    type Row = i64;
    type Position = ();

    fn start(_: Option<()>) -> Result<Self, Fault> {
        Err(Fault::rejected("there is nothing to receive here"))
    }

    fn poll(&mut self, _: Duration, _: &mut Output<i64>) -> Result<Poll<()>, Fault> {
        Ok(Poll::More(()))
    }
}

pub(crate) struct Babbler;

/// Gives a position that is far too long.
#[receiver]
impl Receiver for Babbler {
    type Row = i64;
    type Position = Vec<u8>;

    fn start(_: Option<Vec<u8>>) -> Result<Self, Fault> {
        Ok(Self)
    }

    fn poll(&mut self, _: Duration, rows: &mut Output<i64>) -> Result<Poll<Vec<u8>>, Fault> {
        rows.push(1);
        Ok(Poll::More(vec![0; 5_000]))
    }
}

pub(crate) struct Moody(i64);

/// Even numbers have a place, odd ones do not.
pub(crate) struct Even(i64);

impl Position for Even {
    fn to_bytes(&self) -> Option<Vec<u8>> {
        (self.0 % 2 == 0).then(|| self.0.to_le_bytes().to_vec())
    }

    fn from_bytes(bytes: &[u8]) -> Result<Self, Fault> {
        i64::from_bytes(bytes).map(Self)
    }
}

/// Gives a position with some of its numbers, one a poll.
#[receiver]
impl Receiver for Moody {
    type Row = i64;
    type Position = Even;

    fn start(position: Option<Even>) -> Result<Self, Fault> {
        Ok(Self(position.map_or(0, |Even(number)| number)))
    }

    fn poll(&mut self, _: Duration, rows: &mut Output<i64>) -> Result<Poll<Even>, Fault> {
        rows.push(self.0);
        self.0 += 1;
        Ok(Poll::More(Even(self.0)))
    }
}

pub(crate) struct Glutton;

/// Gives far too many rows at once.
#[receiver]
impl Receiver for Glutton {
    type Row = i64;
    type Position = ();

    fn start(_: Option<()>) -> Result<Self, Fault> {
        Ok(Self)
    }

    fn poll(&mut self, _: Duration, rows: &mut Output<i64>) -> Result<Poll<()>, Fault> {
        (0..2_000_000).for_each(|number| rows.push(number));
        Ok(Poll::More(()))
    }
}

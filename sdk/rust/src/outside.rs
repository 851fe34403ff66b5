//! Receivers and sinks: what brings rows in from outside, and what takes them out.
//!
//! The traits are what authors implement; `#[receiver]` and `#[sink]` make a [`Function`](crate::Function) of an
//! implementation. [`Receiving`] and [`Writing`] are the same over flat columns, as the host calls them.

use std::fmt::Display;
use std::time::Duration;

use crate::error::Error;
use crate::list::Rows;
use crate::row::{ReadRow, WriteRow};
use crate::state::Output;
use crate::table::Table;

/// Brings rows in from outside: a connection, a file, a clock.
///
/// One value is one life: it is started, polled again and again, and stopped. What it keeps from poll to poll is in its
/// fields. After a failure another life is started.
///
/// ```
/// use std::time::Duration;
///
/// use millstream_sdk::prelude::*;
///
/// struct Counter {
///     next: i64,
/// }
///
/// /// Counts to ten, three numbers at a time.
/// #[receiver(output = "number")]
/// impl Receiver for Counter {
///     type Row = i64;
///     type Position = i64;
///
///     fn start(position: Option<i64>) -> Result<Self, Fault> {
///         Ok(Self { next: position.unwrap_or(1) })
///     }
///
///     fn poll(&mut self, _deadline: Duration, rows: &mut Output<i64>) -> Result<Poll<i64>, Fault> {
///         while self.next <= 10 && rows.len() < 3 {
///             rows.push(self.next);
///             self.next += 1;
///         }
///         Ok(if self.next <= 10 { Poll::More(self.next) } else { Poll::Ended(self.next) })
///     }
/// }
///
/// let mut counter = Counter::start(Some(9))?;
/// let mut rows = Output::new();
/// assert_eq!(counter.poll(Duration::ZERO, &mut rows)?, Poll::Ended(11));
/// assert_eq!(rows.len(), 2);
/// # Ok::<(), Fault>(())
/// ```
pub trait Receiver: Sized + 'static {
    /// A row: a value, or a struct with `#[derive(Row)]`; `Line<'static>` where the struct borrows.
    type Row: WriteRow + 'static;

    /// Where to go on behind some rows: a number, a text, bytes. `()` for one that cannot: then a failure may lose rows, or
    /// bring some twice.
    type Position: Position;

    /// Looks at the configuration before anything runs: what is wrong with it refuses the pipeline. It reaches for nothing
    /// outside, and is called as often as the host likes.
    ///
    /// # Errors
    /// What is wrong. [`Fault::Unavailable`] is passed over: it may be there when it is needed.
    fn check() -> Result<(), Fault> {
        Ok(())
    }

    /// Begins, or goes on behind the rows that were polled with `position`, which are safe.
    ///
    /// # Errors
    /// [`Fault::Rejected`] where it can never work: the pipeline stops. Otherwise it is started again, later and later.
    fn start(position: Option<Self::Position>) -> Result<Self, Fault>;

    /// Adds the next rows, and says where to go on behind them. Where there are none it waits for some, until `deadline` is
    /// over and not much longer. The position of a poll without rows is not looked at.
    ///
    /// Up to 1,048,576 rows of 32 MiB may come at once; some 10,000 are enough to be fast.
    ///
    /// # Errors
    /// Whatever it is, another life is started, behind the last rows that were polled without an error.
    fn poll(
        &mut self,
        deadline: Duration,
        rows: &mut Output<Self::Row>,
    ) -> Result<Poll<Self::Position>, Fault>;

    /// The rows up to `position` are safe from a crash: nobody asks for them again.
    ///
    /// # Errors
    /// Another life is started.
    fn acknowledge(&mut self, position: Self::Position) -> Result<(), Fault> {
        let _acknowledged = position;
        Ok(())
    }

    /// Ends in good order. Not called after a failure.
    fn stop(&mut self) {}
}

/// What a poll says beside its rows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Poll<P> {
    /// There may be more rows, behind this position.
    More(P),
    /// There are no more rows, ever.
    Ended(P),
}

/// Takes a batch's rows out.
///
/// A value is kept from batch to batch, and with it a connection. After a failure another is opened.
///
/// ```
/// use std::io::Write;
/// use std::net::TcpStream;
///
/// use millstream_sdk::prelude::*;
///
/// #[derive(Row)]
/// struct Total<'a> {
///     word: &'a str,
///     total: i64,
/// }
///
/// struct Send(TcpStream);
///
/// /// Sends totals to a server, a line each.
/// #[sink]
/// impl Sink for Send {
///     type Row = Total<'static>;
///
///     fn open() -> Result<Self, Fault> {
///         Ok(Self(TcpStream::connect("127.0.0.1:9000")?))
///     }
///
///     fn write(&mut self, rows: Rows<'_, Total<'static>>, batch: Batch) -> Result<(), Fault> {
///         let mut lines = format!("begin {} {}\n", batch.time_ms, batch.part);
///         for Total { word, total } in rows {
///             lines += &format!("{word} {total}\n");
///         }
///         self.0.write_all(lines.as_bytes())?;
///         Ok(())
///     }
/// }
/// # fn main() {}
/// ```
pub trait Sink: Sized + 'static {
    /// A row: a value, or a struct with `#[derive(Row)]`; `Total<'static>` where the struct borrows.
    type Row: ReadRow + 'static;

    /// As [`Receiver::check`].
    ///
    /// # Errors
    /// As there.
    fn check() -> Result<(), Fault> {
        Ok(())
    }

    /// Makes ready to write.
    ///
    /// # Errors
    /// As those of [`Sink::write`].
    fn open() -> Result<Self, Fault>;

    /// Writes a part of a batch. The same time and part always have the same rows, and may come again after a crash or
    /// a failure: what was written under them before has to be replaced, or the repeat left out.
    ///
    /// # Errors
    /// [`Fault::Unavailable`]: the pipeline waits, and tries again until it works. [`Fault::Rejected`]: these rows never
    /// will be taken, and the pipeline stops.
    fn write(&mut self, rows: Rows<'_, Self::Row>, batch: Batch) -> Result<(), Fault>;
}

/// What the rows of a call of a sink are of their batch.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Batch {
    /// The batch's time in milliseconds since 1970-01-01T00:00:00Z.
    pub time_ms: i64,
    /// Which part of the batch this is, from 0. They come in order.
    pub part: u32,
    /// How many parts the batch has.
    pub parts: u32,
}

/// Why a receiver or a sink cannot go on, by what helps.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Fault {
    /// Nothing does: it would fail again.
    #[error("{0}")]
    Rejected(String),
    /// Time: what is outside may work later.
    #[error("{0}")]
    Unavailable(String),
}

impl Fault {
    /// It would fail again.
    pub fn rejected(reason: impl Display) -> Self {
        Self::Rejected(reason.to_string())
    }

    /// It may work later.
    pub fn unavailable(reason: impl Display) -> Self {
        Self::Unavailable(reason.to_string())
    }
}

impl From<std::io::Error> for Fault {
    /// Connections and files may work later.
    fn from(error: std::io::Error) -> Self {
        Self::unavailable(error)
    }
}

impl From<Error> for Fault {
    /// Columns and the configuration stay as they are.
    fn from(error: Error) -> Self {
        Self::rejected(error)
    }
}

/// Where a receiver goes on, as bytes: at most 4 KiB of them.
pub trait Position: Sized + 'static {
    /// Its bytes; none where there is no such place.
    fn to_bytes(&self) -> Option<Vec<u8>>;

    /// The position of these bytes, which an earlier version of the receiver may have made.
    ///
    /// # Errors
    /// They are of no position.
    fn from_bytes(bytes: &[u8]) -> Result<Self, Fault>;
}

fn no_position(bytes: &[u8], expected: &str) -> Fault {
    let reason = "was it kept by another version of the receiver?";
    Fault::Rejected(format!("the position of {} bytes is not {expected}; {reason}", bytes.len()))
}

/// No position.
impl Position for () {
    fn to_bytes(&self) -> Option<Vec<u8>> {
        None
    }

    fn from_bytes(_: &[u8]) -> Result<Self, Fault> {
        Ok(())
    }
}

/// Eight bytes, the lowest first.
macro_rules! number {
    ($type:ty) => {
        impl Position for $type {
            fn to_bytes(&self) -> Option<Vec<u8>> {
                Some(self.to_le_bytes().to_vec())
            }

            fn from_bytes(bytes: &[u8]) -> Result<Self, Fault> {
                let number = bytes.try_into().map_err(|_| no_position(bytes, "a number of eight"))?;
                Ok(Self::from_le_bytes(number))
            }
        }
    };
}

number!(u64);
number!(i64);

impl Position for Vec<u8> {
    fn to_bytes(&self) -> Option<Vec<u8>> {
        Some(self.clone())
    }

    fn from_bytes(bytes: &[u8]) -> Result<Self, Fault> {
        Ok(bytes.to_vec())
    }
}

impl Position for String {
    fn to_bytes(&self) -> Option<Vec<u8>> {
        Some(self.clone().into_bytes())
    }

    fn from_bytes(bytes: &[u8]) -> Result<Self, Fault> {
        Self::from_utf8(bytes.to_vec()).map_err(|_| no_position(bytes, "text"))
    }
}

/// What a poll brings, as flat columns.
#[derive(Clone, Debug, PartialEq)]
pub struct Delivery {
    /// The rows.
    pub rows: Table,
    /// Where to go on behind them.
    pub position: Option<Vec<u8>>,
    /// Whether there are no more, ever.
    pub ended: bool,
}

/// A receiver that was started, as the host calls it.
pub trait Receiving {
    /// As [`Receiver::poll`].
    ///
    /// # Errors
    /// Those of the receiver.
    fn poll(&mut self, deadline: Duration) -> Result<Delivery, Fault>;

    /// As [`Receiver::acknowledge`].
    ///
    /// # Errors
    /// Those of the receiver.
    fn acknowledge(&mut self, position: &[u8]) -> Result<(), Fault>;

    /// As [`Receiver::stop`].
    fn stop(&mut self);
}

/// A sink that was opened, as the host calls it.
pub trait Writing {
    /// As [`Sink::write`].
    ///
    /// # Errors
    /// Those of the sink, or if the columns are not its own.
    fn write(&mut self, rows: &Table, batch: Batch) -> Result<(), Fault>;
}

struct Started<R> {
    receiver: R,
    /// Rows of the last poll, to reserve by.
    expected: usize,
}

impl<R: Receiver> Receiving for Started<R> {
    fn poll(&mut self, deadline: Duration) -> Result<Delivery, Fault> {
        let mut rows = Output::with_capacity(self.expected);
        let (position, ended) = match self.receiver.poll(deadline, &mut rows)? {
            Poll::More(position) => (position, false),
            Poll::Ended(position) => (position, true),
        };
        self.expected = rows.len();
        Ok(Delivery { rows: rows.into_table(), position: position.to_bytes(), ended })
    }

    fn acknowledge(&mut self, position: &[u8]) -> Result<(), Fault> {
        self.receiver.acknowledge(R::Position::from_bytes(position)?)
    }

    fn stop(&mut self) {
        self.receiver.stop();
    }
}

struct Opened<S>(S);

impl<S: Sink> Writing for Opened<S> {
    fn write(&mut self, rows: &Table, batch: Batch) -> Result<(), Fault> {
        self.0.write(rows.read("value")?, batch)
    }
}

impl<W: FnMut(&Table, Batch) -> Result<(), Fault>> Writing for W {
    fn write(&mut self, rows: &Table, batch: Batch) -> Result<(), Fault> {
        self(rows, batch)
    }
}

/// Starts a receiver.
///
/// # Errors
/// Those of the receiver, or if the position is none of its own.
pub fn start<R: Receiver>(position: Option<&[u8]>) -> Result<Box<dyn Receiving>, Fault> {
    let receiver = R::start(position.map(R::Position::from_bytes).transpose()?)?;
    Ok(Box::new(Started { receiver, expected: 0 }))
}

/// Opens a sink.
///
/// # Errors
/// Those of the sink.
pub fn open<S: Sink>() -> Result<Box<dyn Writing>, Fault> {
    Ok(Box::new(Opened(S::open()?)))
}

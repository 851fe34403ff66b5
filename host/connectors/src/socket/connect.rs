//! A source that connects to a server, and again whenever the connection is lost.

use std::io;
use std::time::Duration;

use async_trait::async_trait;
use millstream_engine::{Inlet, Source, SourceError};
use millstream_model::pipeline::SourceSpec;
use tokio::net::TcpStream;
use tokio::time::timeout;

use super::backoff::Backoff;
use super::receive::{End, receive};
use crate::intake::{Intake, Origin};

const CONNECT_TIME_MAX: Duration = Duration::from_secs(10);

/// The client of a server that sends records.
pub(crate) struct Connect {
    origin: Origin,
    address: String,
}

/// What the operator was told last, so that a server that stays away is reported once and not at every attempt.
struct Outage {
    backoff: Backoff,
    reported: bool,
}

impl Connect {
    pub(crate) fn new(spec: &SourceSpec, address: &str) -> Self {
        Self { origin: Origin::new(spec), address: address.to_owned() }
    }

    async fn connect(&self) -> io::Result<TcpStream> {
        let attempt = timeout(CONNECT_TIME_MAX, TcpStream::connect(&self.address)).await;
        attempt.unwrap_or_else(|_| Err(io::Error::new(io::ErrorKind::TimedOut, "no answer in 10 s")))
    }

    /// One connection from its start to its end. `None`: the pipeline is stopping.
    async fn attempt(&self, intake: &Intake, outage: &mut Outage) -> Result<Option<String>, SourceError> {
        let connected = tokio::select! {
            () = intake.inlet().closed() => return Ok(None),
            connected = self.connect() => connected,
        };
        let stream = match connected {
            Ok(stream) => stream,
            Err(fault) => return self.refused(&fault, intake.inlet().once()).map(Some),
        };
        tracing::info!(source = intake.source(), address = self.address, "connected");
        let (end, records) = receive(stream, &self.address, intake).await;
        if records > 0 {
            outage.over();
        }
        match end {
            End::Stopping => Ok(None),
            End::Finished => Ok(Some(format!("{} closed the connection", self.address))),
            End::Broken(fault) => self.broken(&fault, intake.inlet().once(), records).map(Some),
        }
    }

    /// What to tell of a connection that broke; an error if there will be no other to bring the rest.
    fn broken(&self, fault: &io::Error, once: bool, records: u64) -> Result<String, SourceError> {
        let told = format!("the connection to {} broke after {records} records: {fault}", self.address);
        if once { Err(SourceError(told)) } else { Ok(told) }
    }

    /// What to tell of a connection that did not come about; an error if no later attempt can do better.
    fn refused(&self, fault: &io::Error, once: bool) -> Result<String, SourceError> {
        let told = format!("connecting to {}: {fault}", self.address);
        match fault.kind() {
            io::ErrorKind::InvalidInput => {
                Err(SourceError(format!("{told}; an address is written host:port")))
            }
            _ if once => Err(SourceError(format!("{told}; is the server running?"))),
            _ => Ok(told),
        }
    }
}

impl Outage {
    fn over(&mut self) {
        self.backoff.reset();
        self.reported = false;
    }

    /// Tells of `fault` if it is news, and waits before the next attempt.
    async fn wait(&mut self, fault: &str, inlet: &Inlet) {
        if !self.reported {
            inlet.report(&format!("{fault}; connecting again until it answers"));
            self.reported = true;
        }
        tokio::select! {
            () = inlet.closed() => {}
            () = tokio::time::sleep(self.backoff.wait()) => {}
        }
    }
}

#[async_trait]
impl Source for Connect {
    async fn run(self: Box<Self>, inlet: Inlet) -> Result<(), SourceError> {
        let intake = self.origin.intake(inlet.clone());
        let mut outage = Outage { backoff: Backoff::new(), reported: false };
        while let Some(fault) = self.attempt(&intake, &mut outage).await? {
            if inlet.once() {
                return Ok(());
            }
            outage.wait(&fault, &inlet).await;
        }
        Ok(())
    }
}

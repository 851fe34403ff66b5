//! A source that connects to a server. When the connection is lost it has failed, and is started again.

use std::io;
use std::time::Duration;

use async_trait::async_trait;
use millstream_engine::{Inlet, Source, SourceError};
use millstream_model::pipeline::SourceSpec;
use tokio::net::TcpStream;
use tokio::time::timeout;

use super::passing::{pass_on, taken_over};
use super::receive::{End, receive};
use super::resume;
use crate::cut::Cutter;
use crate::{Endpoint, Handover};

const CONNECT_TIME_MAX: Duration = Duration::from_secs(10);

/// The client of a server that sends records.
pub(crate) struct Connect {
    source: String,
    address: String,
    /// Whether the server can send records again.
    resume: bool,
    handover: Handover,
}

impl Connect {
    pub(crate) fn new(spec: &SourceSpec, address: &str, resume: bool, handover: Handover) -> Self {
        Self { source: spec.name.value.clone(), address: address.to_owned(), resume, handover }
    }

    fn endpoint(&self) -> Endpoint {
        Endpoint::Connects(self.address.clone())
    }

    /// A connection that was handed over, or a new one; with what cuts its records.
    async fn open(&self, inlet: &Inlet) -> Result<(TcpStream, Cutter), SourceError> {
        if let Some((stream, address, cutter)) = taken_over(&self.handover, &self.endpoint(), inlet) {
            tracing::info!(source = self.source, address, "goes on with the connection");
            return Ok((stream, cutter));
        }
        let stream = self.connect().await?;
        tracing::info!(source = self.source, address = self.address, "connected");
        Ok((stream, Cutter::new(&self.address, inlet.block_rows_max())))
    }

    async fn connect(&self) -> Result<TcpStream, SourceError> {
        let attempt = timeout(CONNECT_TIME_MAX, TcpStream::connect(&self.address)).await;
        let connected =
            attempt.unwrap_or_else(|_| Err(io::Error::new(io::ErrorKind::TimedOut, "no answer in 10 s")));
        connected.map_err(|fault| self.refused(&fault))
    }

    /// What to tell of a connection that did not come about.
    fn refused(&self, fault: &io::Error) -> SourceError {
        let told = format!("connecting to {}: {fault}", self.address);
        match fault.kind() {
            io::ErrorKind::InvalidInput => {
                SourceError::Refused(format!("{told}; an address is written host:port"))
            }
            _ => SourceError::Failed(format!("{told}; is the server running?")),
        }
    }

    /// Receives all that the server sends; says how it ended, and how many records there were.
    async fn receive(&self, stream: TcpStream, mut cutter: Cutter, inlet: &Inlet) -> (End, u64) {
        if self.resume {
            return resume::receive(&stream, &self.address, inlet).await;
        }
        let end = receive(&stream, &mut cutter, inlet).await;
        let records = cutter.records();
        if matches!(end, End::Stopping) && self.handover.is_wanted() {
            pass_on(&self.handover, &self.endpoint(), inlet, (stream, self.address.clone(), cutter));
        }
        (end, records)
    }
}

#[async_trait]
impl Source for Connect {
    async fn run(&self, inlet: Inlet) -> Result<(), SourceError> {
        let (stream, cutter) = tokio::select! {
            biased;
            // One that is made is handed over, or closed, with what came by it.
            opened = self.open(&inlet) => opened?,
            () = inlet.closed() => return Ok(()),
        };
        let (end, records) = self.receive(stream, cutter, &inlet).await;
        let address = &self.address;
        match end {
            End::Stopping => Ok(()),
            End::Finished if inlet.once() => Ok(()),
            End::Finished => {
                Err(SourceError::Failed(format!("{address} closed the connection after {records} records")))
            }
            End::Broken(fault) => Err(SourceError::Failed(format!(
                "the connection to {address} broke after {records} records: {fault}"
            ))),
        }
    }
}

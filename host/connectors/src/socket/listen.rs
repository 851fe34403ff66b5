//! A source that clients connect to.

use std::io;
use std::net::SocketAddr;
#[cfg(test)]
use std::sync::Mutex;
use std::time::Duration;

use async_trait::async_trait;
use millstream_engine::{Inlet, Source, SourceError};
use millstream_model::pipeline::SourceSpec;
use tokio::net::{TcpListener, TcpStream};
use tokio::task::{JoinError, JoinSet};

use super::passing::{Handed, pass_on, taken_over};
use super::receive::{End, receive};
use crate::cut::Cutter;
use crate::{Endpoint, Handover};

/// Clients served at once; more wait until one of these leaves.
const CLIENTS_MAX: usize = 1024;
/// Before the next attempt when the system has no room for a connection.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// The server of clients that send records. In once mode it ends when the first clients have come and all are gone.
pub(crate) struct Listen {
    source: String,
    address: String,
    handover: Handover,
    /// Given by tests, which have to know the port.
    #[cfg(test)]
    listener: Mutex<Option<TcpListener>>,
}

/// The clients being served.
struct Clients<'a> {
    of: &'a Listen,
    inlet: Inlet,
    tasks: JoinSet<()>,
    /// Whether there has been one.
    served: bool,
    /// Whether the operator knows that accepting fails.
    reported: bool,
}

/// What happened next.
enum Event {
    Stopping,
    Came(io::Result<(TcpStream, SocketAddr)>),
    Left(Result<(), JoinError>),
}

impl Listen {
    pub(crate) fn new(spec: &SourceSpec, address: &str, handover: Handover) -> Self {
        Self {
            source: spec.name.value.clone(),
            address: address.to_owned(),
            handover,
            #[cfg(test)]
            listener: Mutex::default(),
        }
    }

    #[cfg(test)]
    pub(super) fn on(spec: &SourceSpec, listener: TcpListener, handover: Handover) -> Self {
        Self { listener: Mutex::new(Some(listener)), ..Self::new(spec, "", handover) }
    }

    fn endpoint(&self) -> Endpoint {
        Endpoint::Listens(self.address.clone())
    }

    async fn bind(&self, inlet: &Inlet) -> Result<TcpListener, SourceError> {
        if let Some(listener) = self.handover.take_listener(inlet.lane(), &self.endpoint()) {
            return TcpListener::from_std(listener).map_err(|fault| self.refused(&fault));
        }
        #[cfg(test)]
        if let Some(listener) = self.listener.lock().unwrap().take() {
            return Ok(listener);
        }
        TcpListener::bind(&self.address).await.map_err(|fault| self.refused(&fault))
    }

    /// What to tell of an address that cannot be listened on. Only what the operator can mend is worth a stop.
    fn refused(&self, fault: &io::Error) -> SourceError {
        let told = format!("listening on {}: {fault}", self.address);
        let advice = match fault.kind() {
            io::ErrorKind::AddrInUse => "stop the program that uses it or choose another port",
            io::ErrorKind::InvalidInput => "an address is written host:port",
            io::ErrorKind::AddrNotAvailable => "listen on an address of this machine",
            io::ErrorKind::PermissionDenied => "choose a port above 1023",
            _ => return SourceError::Failed(told),
        };
        SourceError::Refused(format!("{told}; {advice}"))
    }
}

impl Clients<'_> {
    async fn next(&mut self, listener: &TcpListener) -> Event {
        let room = self.tasks.len() < CLIENTS_MAX;
        tokio::select! {
            () = self.inlet.closed() => Event::Stopping,
            Some(left) = self.tasks.join_next() => Event::Left(left),
            came = listener.accept(), if room => Event::Came(came),
        }
    }

    async fn came(&mut self, client: io::Result<(TcpStream, SocketAddr)>) {
        match client {
            Ok((stream, peer)) => {
                let cutter = Cutter::new(&peer.to_string(), self.inlet.block_rows_max());
                self.serve((stream, peer.to_string(), cutter));
            }
            Err(fault) => self.pause(&fault).await,
        }
    }

    fn serve(&mut self, client: Handed) {
        (self.served, self.reported) = (true, false);
        let Listen { source, handover, .. } = self.of;
        let (source, handover) = (source.clone(), handover.clone());
        self.tasks.spawn(serve(source, self.of.endpoint(), handover, client, self.inlet.clone()));
    }

    async fn pause(&mut self, fault: &io::Error) {
        if !self.reported {
            self.inlet.report(&format!("accepting a connection: {fault}; trying again"));
            self.reported = true;
        }
        tokio::time::sleep(ACCEPT_PAUSE).await;
    }
}

async fn serve(source: String, endpoint: Endpoint, handover: Handover, client: Handed, inlet: Inlet) {
    let (stream, peer, mut cutter) = client;
    let end = receive(&stream, &mut cutter, &inlet).await;
    let records = cutter.records();
    match end {
        End::Broken(fault) => {
            inlet.report(&format!("the connection from {peer} broke after {records} records: {fault}"));
        }
        End::Stopping if handover.is_wanted() => {
            pass_on(&handover, &endpoint, &inlet, (stream, peer, cutter));
        }
        End::Finished | End::Stopping => tracing::debug!(source, peer, records, "disconnected"),
    }
}

#[async_trait]
impl Source for Listen {
    async fn run(&self, inlet: Inlet) -> Result<(), SourceError> {
        let listener = self.bind(&inlet).await?;
        if let Ok(address) = listener.local_addr() {
            tracing::info!(source = self.source, %address, "listening");
        }
        let mut clients =
            Clients { of: self, inlet: inlet.clone(), tasks: JoinSet::new(), served: false, reported: false };
        while let Some(client) = taken_over(&self.handover, &self.endpoint(), &inlet) {
            tracing::info!(source = self.source, peer = client.1, "goes on with the connection");
            clients.serve(client);
        }
        loop {
            match clients.next(&listener).await {
                Event::Stopping => break,
                Event::Came(client) => clients.came(client).await,
                Event::Left(Err(fault)) => inlet.report(&format!("serving a client: {fault}")),
                Event::Left(Ok(())) => {}
            }
            if inlet.once() && clients.tasks.is_empty() && clients.served {
                break;
            }
        }
        // They are stopping as well, and still hand over what they received.
        while clients.tasks.join_next().await.is_some() {}
        if self.handover.is_wanted() {
            match listener.into_std() {
                Ok(listener) => self.handover.give_listener(inlet.lane(), &self.endpoint(), listener),
                Err(fault) => inlet.report(&format!("handing over the listening socket: {fault}")),
            }
        }
        Ok(())
    }
}

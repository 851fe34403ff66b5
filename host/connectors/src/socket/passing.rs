//! Connections that go from one receiver to the next: see [`Handover`].

use millstream_engine::Inlet;
use tokio::net::TcpStream;

use crate::cut::Cutter;
use crate::{Endpoint, Handover};

/// A connection, who is at its other end, and what cuts its records.
pub(super) type Handed = (TcpStream, String, Cutter);

/// Gives a connection up for the receiver that goes on with it.
pub(super) fn pass_on(handover: &Handover, endpoint: &Endpoint, inlet: &Inlet, connection: Handed) {
    let (stream, peer, mut cutter) = connection;
    match stream.into_std() {
        Ok(stream) => handover.give_connection(inlet.lane(), endpoint, peer, cutter.leave(), stream),
        Err(fault) => inlet.report(&format!("handing over the connection with {peer}: {fault}")),
    }
}

/// A connection that another receiver has given up for this one.
pub(super) fn taken_over(handover: &Handover, endpoint: &Endpoint, inlet: &Inlet) -> Option<Handed> {
    loop {
        let (stream, peer, begun) = handover.take_connection(inlet.lane(), endpoint)?;
        let cutter = Cutter::going_on(&peer, inlet.block_rows_max(), begun);
        match TcpStream::from_std(stream) {
            Ok(stream) => return Some((stream, peer, cutter)),
            Err(fault) => inlet.report(&format!("taking over the connection with {peer}: {fault}")),
        }
    }
}

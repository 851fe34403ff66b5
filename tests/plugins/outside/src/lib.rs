//! Receivers and sinks over files and sockets, and ones that misbehave: for the tests of what the host does about them.

mod receivers;
mod sinks;

use receivers::{Babbler, Glutton, Hanging, Lines, Numbers, Picky, Trapping};
use sinks::{Deliver, refuse, save, trap};

millstream_sdk::export!(
    Numbers, Lines, Trapping, Hanging, Picky, Babbler, Glutton, save, Deliver, refuse, trap
);

//! Receivers and sinks over files and sockets, and ones that misbehave: for the tests of what the host does about them.

mod receivers;
mod sinks;

use receivers::{Babbler, Glutton, Hanging, Lines, Moody, Numbers, Picky, Stubborn, Trapping};
use sinks::{Deliver, refuse, save, trap};

millstream_sdk::export!(
    Numbers, Lines, Trapping, Hanging, Stubborn, Picky, Babbler, Moody, Glutton, save, Deliver, refuse, trap
);

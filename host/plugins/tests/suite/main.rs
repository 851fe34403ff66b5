//! Components through the host: what is asked of them, what is believed of what they answer, what they count, and what they
//! reach of the world outside.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

mod accumulators;
mod cache;
mod exports;
mod keyed;
mod lies;
mod migrations;
mod reach;
mod support;
mod usage;

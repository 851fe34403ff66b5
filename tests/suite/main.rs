//! The integration tests: one binary, a module per feature.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

mod architecture;
mod commands;
mod hostile;
mod mistakes;
mod new_project;
mod running;
mod support;

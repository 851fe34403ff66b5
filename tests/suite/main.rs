//! The integration tests: one binary, a module per feature.

mod architecture;
mod commands;
mod hostile;
mod mistakes;
mod running;
mod support;

//! The integration tests: one binary, a module per feature.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]
#![allow(clippy::print_stderr, reason = "what a failed test says: its seed, its folder")]

mod accounting;
mod applications;
mod architecture;
mod commands;
mod compiling;
mod compositions;
mod conformance;
mod crash;
mod durability;
mod event_time;
mod faults;
mod grants;
mod handmade;
mod hostile;
mod isolation;
mod mistakes;
mod new_project;
mod operations;
mod outside;
mod pipeline_tests;
mod process;
mod repairing;
mod running;
mod service;
mod states;
mod stock;
mod support;
mod tables;
mod takeover;
mod upgrade;

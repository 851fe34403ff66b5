//! The project's own commands: `cargo xtask check` is the whole gate, the others are its parts and the quick start.
//!
//! Every command runs from any folder of the checkout and needs Rust as rustup installs it, nothing else: what is
//! missing is either installed (a target, a component of the toolchain) or named with what to do about it.
#![allow(clippy::print_stdout, reason = "these are commands for people, who read what they print")]

mod bench;
mod check;
mod crash;
mod features;
mod fuzz;
mod plugins;
mod test;
mod toolchain;
mod wordcount;
mod workspace;

use std::process::ExitCode;

use clap::{Parser, Subcommand};

#[derive(Parser)]
#[command(name = "cargo xtask", about = "The project's own commands", disable_help_subcommand = true)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// The whole gate: format, lints, plugins, tests, docs, features, licences and advisories
    Check {
        /// With fuzzing as well, each target for a short time; it needs a nightly toolchain and cargo-fuzz
        #[arg(long)]
        long: bool,
    },
    /// Measures the word count against hand-written code: files, socket, tiny batches
    Bench {
        /// One measure alone
        only: Option<String>,
    },
    /// Kills the pipeline again and again, at moments by chance, and checks that it loses and repeats nothing
    Crash {
        /// How often
        #[arg(default_value_t = 1000)]
        rounds: u64,
    },
    /// Throws bytes at all that reads some which nobody vouches for: each target, or one, for so many seconds
    Fuzz {
        /// One target alone
        only: Option<String>,
        /// How long each runs
        #[arg(long, default_value_t = fuzz::SECONDS)]
        seconds: u32,
    },
    /// Builds the plugins into plugins/bin
    Plugins,
    /// Builds the plugins and runs all tests
    Test,
    /// Counts the words of this repository's own documents
    Wordcount,
    /// Says where building one crate alone would compile shared dependencies a second time
    Features,
}

fn main() -> ExitCode {
    let done = match Arguments::parse().command {
        Command::Check { long } => check::run(long),
        Command::Bench { only } => bench::run(only.as_deref()),
        Command::Crash { rounds } => crash::run(rounds),
        Command::Fuzz { only, seconds } => fuzz::run(only.as_deref(), seconds),
        Command::Plugins => plugins::run(),
        Command::Test => test::run(),
        Command::Wordcount => wordcount::run(),
        Command::Features => features::run(),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            println!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

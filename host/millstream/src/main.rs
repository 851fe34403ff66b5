//! The `millstream` command line: what people and their scripts type, and what they see of it.
//!
//! Each command is a module. Output meant for people or programs goes to stdout, everything else to stderr;
//! the exit code is 0 for success, 78 for a pipeline or component that is refused, 1 for what failed while running.

mod allowed;
mod bundle;
mod check;
mod compiled;
mod control;
mod grants;
mod host_file;
mod imports;
mod inspect;
mod load;
mod new;
mod repair;
mod replay;
mod run;
mod state;
mod status;
mod stop;
mod supervise;
mod takeover;
mod target;
mod testing;
mod upgrade;
mod versions;
mod wire;

use std::path::PathBuf;
use std::process::ExitCode;

use allowed::Allowed;
use clap::{Parser, Subcommand};
use millstream_pipeline::Diagnostics;
use target::Target;
use tracing_subscriber::EnvFilter;
use upgrade::Drops;

/// The exit code for configuration that is refused, as in `sysexits.h`.
const EXIT_CONFIGURATION: u8 = 78;

/// Stream processing whose application code is WebAssembly.
#[derive(Parser)]
#[command(version, arg_required_else_help = true)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Run a pipeline until it is told to stop
    Run(run::Options),
    /// Check a pipeline file whole, without running anything
    Check {
        #[command(flatten)]
        target: Target,
        #[command(flatten)]
        allowed: Allowed,
    },
    /// Run the tests that a pipeline file holds
    Test {
        #[command(flatten)]
        target: Target,
        #[command(flatten)]
        allowed: Allowed,
        /// Print a JSON object a test
        #[arg(long)]
        json: bool,
    },
    /// Show what a component offers and what it asks for
    Inspect {
        /// The component's file
        component: PathBuf,
        /// Print one JSON object
        #[arg(long)]
        json: bool,
    },
    /// Stop a running pipeline: receive no more, process what was received, end
    Stop {
        #[command(flatten)]
        target: Target,
        /// Leave what was received and is not processed
        #[arg(long)]
        now: bool,
    },
    /// Give a running pipeline other code, from one batch to the next
    Upgrade(upgrade::Options),
    /// Give a running pipeline the code back that it had before its last upgrade
    Rollback {
        #[command(flatten)]
        target: Target,
        #[command(flatten)]
        drops: Drops,
        /// Print one JSON object
        #[arg(long)]
        json: bool,
    },
    /// Show what a pipeline is doing, or where it was left
    Status {
        #[command(flatten)]
        target: Target,
        /// Print one JSON object
        #[arg(long)]
        json: bool,
    },
    /// Show the states that a stream keeps, as the last commit left them
    State(state::Options),
    /// Run a batch of the past again, aside, and compare its rows with those of then
    Replay {
        #[command(flatten)]
        target: Target,
        /// The batch's time, in milliseconds
        #[arg(long, value_name = "TIME")]
        batch: i64,
        /// Print one JSON object
        #[arg(long)]
        json: bool,
    },
    /// Say what of a damaged journal can be saved
    Repair {
        #[command(flatten)]
        target: Target,
        /// Save it: damaged files are kept beside their repaired copies
        #[arg(long)]
        apply: bool,
        /// Print one JSON object
        #[arg(long)]
        json: bool,
    },
    /// Make an application of a component: it carries the pipeline
    Bundle(bundle::Options),
    /// Begin a plugin project
    New(new::Options),
    /// Compile a component for the process that started this one
    #[command(name = compiled::COMMAND, hide = true)]
    CompileForParent(compiled::Options),
}

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    start_logging();
    let done = match arguments.command {
        Command::Run(options) => run::run(&options),
        Command::Check { target, allowed } => check::check(&target, &allowed),
        Command::Test { target, allowed, json } => testing::test(&target, &allowed, json),
        Command::Inspect { component, json } => inspect::inspect(&component, json),
        Command::Stop { target, now } => stop::stop(&target, now),
        Command::Upgrade(options) => upgrade::upgrade(&options),
        Command::Rollback { target, drops, json } => upgrade::roll_back(&target, &drops, json),
        Command::Status { target, json } => status::status(&target, json),
        Command::State(options) => state::state(&options),
        Command::Replay { target, batch, json } => replay::replay(&target, batch, json),
        Command::Repair { target, apply, json } => repair::repair(&target, apply, json),
        Command::Bundle(options) => bundle::bundle(&options),
        Command::New(options) => new::run(&options),
        Command::CompileForParent(options) => return compiled::compile(&options),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => fail(&error),
    }
}

/// What is logged unless `RUST_LOG` says otherwise.
const LOGGED: &str = "info";
/// What a guest's requests fail by is in its own log, which has a limit. This one has none.
const UNLIMITED: &str = "wasmtime_wasi_http";

/// Logs go to stderr; `RUST_LOG` chooses which.
fn start_logging() {
    let wanted = std::env::var(EnvFilter::DEFAULT_ENV).unwrap_or_else(|_| LOGGED.to_owned());
    let is_named = wanted.contains(UNLIMITED);
    let filter = EnvFilter::try_new(wanted).unwrap_or_else(|_| EnvFilter::new(LOGGED));
    let quiet = format!("{UNLIMITED}=error").parse().ok().filter(|_| !is_named);
    let filter = quiet.into_iter().fold(filter, EnvFilter::add_directive);
    let terminal = std::io::IsTerminal::is_terminal(&std::io::stderr());
    tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(std::io::stderr)
        .with_ansi(terminal)
        .with_target(false)
        .init();
}

#[allow(clippy::print_stderr, reason = "the last word of a command that failed")]
fn fail(error: &anyhow::Error) -> ExitCode {
    if let Some(diagnostics) = error.downcast_ref::<Diagnostics>() {
        eprintln!("{}", printable(&diagnostics.to_string()));
        return ExitCode::from(EXIT_CONFIGURATION);
    }
    eprintln!("error: {}", printable(&told(error)));
    match error.is::<load::Refused>() {
        true => ExitCode::from(EXIT_CONFIGURATION),
        false => ExitCode::FAILURE,
    }
}

/// A text that others wrote, without what would steer a terminal.
pub(crate) fn printable(text: &str) -> String {
    text.chars().map(|c| if c.is_control() && c != '\n' { '\u{fffd}' } else { c }).collect()
}

/// The same for what stands on one line.
pub(crate) fn printable_line(text: &str) -> String {
    printable(&text.replace('\n', " "))
}

/// An error with its causes, without those that its message tells already.
fn told(error: &anyhow::Error) -> String {
    let mut told = error.to_string();
    for cause in error.chain().skip(1).map(ToString::to_string) {
        if !told.contains(&cause) {
            told = format!("{told}: {cause}");
        }
    }
    told
}

//! What receivers of plugins bring in, beside the host's own: `cargo xtask bench receivers`.
//!
//! Lines go from a file, or from a server that numbers them, into a sink that counts them, with a checkpoint. Components come
//! from the cache, and times are those from the pipeline file's text to the end of the last batch.

use std::io::{BufRead, BufReader, Write};
use std::net::{TcpListener, TcpStream};
use std::path::Path;
use std::sync::Arc;
use std::thread;
use std::time::Instant;

use anyhow::{Context, Result, ensure};
use millstream_engine::{Mode, StopHandle};
use millstream_plugins::{Cache, Compiler, Sandbox};

use crate::corpus;
use crate::passed::Passed;
use crate::pipeline::{Job, execute};

const LINES: usize = 4_000_000;
const ROUNDS: usize = 5;
const CASES: [&str; 4] = ["files", "tail", "socket, resume", "lines-tcp"];

#[allow(clippy::print_stdout, reason = "the bench's answer")]
pub(crate) fn run() -> Result<()> {
    let folder = tempfile::tempdir()?;
    // In a folder of its own: a plugin may read it, and no key of compiled code is in it.
    let lines = folder.path().join("lines");
    std::fs::create_dir(&lines)?;
    let corpus = lines.join("corpus.txt");
    corpus::write(&corpus, LINES)?;
    let megabytes = std::fs::metadata(&corpus)?.len() as f64 / 1e6;
    let cache = Cache::new(folder.path().join("code"), folder.path().join("key"));
    let sandbox = Sandbox::with(Compiler::here().with_cache(cache))?;
    let mut rounds = CASES.map(|_| Vec::new());
    for round in 0..=ROUNDS {
        for (case, seconds) in CASES.iter().zip(&mut rounds) {
            let took = measure(case, &sandbox, &corpus)?;
            // The first compiles, and warms up.
            if round > 0 {
                seconds.push(took);
            }
        }
    }
    println!("{:<16} {:>12} {:>8}   medians of {ROUNDS} rounds", "receiver", "M lines/s", "MB/s");
    for (case, mut seconds) in CASES.iter().zip(rounds) {
        seconds.sort_by(f64::total_cmp);
        let median = seconds[ROUNDS / 2];
        println!("{case:<16} {:>12.2} {:>8.0}", LINES as f64 / 1e6 / median, megabytes / median);
    }
    Ok(())
}

/// Seconds that all lines take.
#[allow(clippy::disallowed_methods, reason = "a bench measures real time")]
fn measure(case: &str, sandbox: &Sandbox, corpus: &Path) -> Result<f64> {
    let checkpoint = tempfile::tempdir_in(corpus.parent().context("the corpus is in a folder")?)?;
    let listener = TcpListener::bind("127.0.0.1:0")?;
    let address = listener.local_addr()?.to_string();
    let is_served = matches!(case, "socket, resume" | "lines-tcp");
    let lines = corpus.to_owned();
    let server = is_served.then(|| thread::spawn(move || serve(&listener, &lines)));
    let (passed, (_handle, stop)) = (Passed::default(), StopHandle::new());
    let job = Job {
        text: text(case, corpus, &address, checkpoint.path()),
        source: None,
        mode: Mode::Once,
        sink: Arc::new(passed.clone()),
        snapshot_every: millstream_state::Limits::default().snapshot_every,
        stop,
    };
    let begun = Instant::now();
    execute(sandbox, job)?;
    let took = begun.elapsed();
    ensure!(passed.rows() == LINES as u64, "{} lines of {LINES} came through from {case}", passed.rows());
    server.map_or(Ok(()), |server| server.join().expect("the server does not panic"))?;
    Ok(took.as_secs_f64())
}

/// Sends all lines to one client, in the protocol of `docs/resume-protocol.md`.
fn serve(listener: &TcpListener, corpus: &Path) -> Result<()> {
    let lines = std::fs::read(corpus)?;
    let (mut client, _) = listener.accept()?;
    let mut said = BufReader::new(client.try_clone()?);
    let mut first = String::new();
    said.read_line(&mut first)?;
    ensure!(first == "resume 0\n", "the client said {first:?}");
    // Its acknowledgements are read, or it would wait for that.
    let reading = thread::spawn(move || std::io::copy(&mut said, &mut std::io::sink()));
    client.write_all(&lines).context("sending the corpus")?;
    TcpStream::shutdown(&client, std::net::Shutdown::Write)?;
    reading.join().expect("reading does not panic")?;
    Ok(())
}

fn text(case: &str, corpus: &Path, address: &str, checkpoint: &Path) -> String {
    let (path, folder) = (corpus.display(), corpus.parent().unwrap_or(corpus).display());
    let plugin = |grant: String, config: String, function: &str| {
        let name = function.split('.').next().unwrap_or_default();
        format!(
            "[plugins.{name}]\ncomponent = \"plugins/bin/{name}.wasm\"\ngrant = {grant}\nconfig = {config}\n\
             [sources.lines]\nplugin = \"{function}\""
        )
    };
    let source = match case {
        "files" => format!("[sources.lines]\ntype = \"files\"\npath = \"{path}\""),
        "tail" => plugin(
            format!("{{ read = [\"{folder}\"] }}"),
            format!("{{ path = \"{path}\", rotated = \"none-*\", once = true }}"),
            "tail.lines",
        ),
        "lines-tcp" => plugin(
            format!("{{ network = [\"{address}\"] }}"),
            format!("{{ address = \"{address}\", once = true }}"),
            "lines-tcp.resume",
        ),
        _ => format!("[sources.lines]\ntype = \"socket\"\naddress = \"{address}\"\nresume = true"),
    };
    format!(
        r#"
name = "receivers"
batch-interval = "100ms"
checkpoint = "{checkpoint}"
max-batch-rows = 400000
receive-memory = "64MiB"
{source}
[sinks.screen]
from = "lines"
type = "print"
"#,
        checkpoint = checkpoint.display()
    )
}

//! What only the whole program shows: how soon it goes on after a kill, how it stops under load, and that its memory
//! stays flat while a source is too fast.

use std::collections::BTreeSet;
use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use anyhow::{Context, Result, ensure};
use serde_json::Value;

const ROUNDS: usize = 7;
const INTERVAL: Duration = Duration::from_secs(1);
/// Lines a second of the source that can keep up.
const RATE: u64 = 20_000;
const OVERLOAD_SECONDS: u64 = 60;
const SAMPLE_EVERY: Duration = Duration::from_millis(20);

/// A server of numbered lines that resumes where it is asked to.
struct Server {
    address: String,
    sent: Arc<AtomicU64>,
    ended: Arc<AtomicBool>,
}

impl Server {
    /// Sends `rate` lines a second, or as many as are taken.
    #[allow(clippy::disallowed_methods, reason = "a bench runs in real time")]
    fn start(rate: Option<u64>) -> Result<Self> {
        let listener = TcpListener::bind("127.0.0.1:0")?;
        let address = listener.local_addr()?.to_string();
        let (sent, ended) = (Arc::new(AtomicU64::new(0)), Arc::new(AtomicBool::new(false)));
        let server = Self { address, sent: Arc::clone(&sent), ended: Arc::clone(&ended) };
        let begun = Instant::now();
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                // A connection that breaks is made again.
                let _broken = serve(stream, rate, begun, &sent);
                if ended.load(Ordering::Relaxed) {
                    return;
                }
            }
        });
        Ok(server)
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.ended.store(true, Ordering::Relaxed);
    }
}

/// Serves one connection: lines from the number that it asks for on.
#[allow(clippy::disallowed_methods, reason = "a bench runs in real time")]
fn serve(mut stream: TcpStream, rate: Option<u64>, begun: Instant, sent: &AtomicU64) -> Result<()> {
    let mut asked = String::new();
    let mut answers = BufReader::new(stream.try_clone()?);
    answers.read_line(&mut asked)?;
    let mut next: u64 = asked.trim().strip_prefix("resume ").context("no resume")?.parse()?;
    std::thread::spawn(move || for _acknowledged in answers.lines() {});
    loop {
        let due = rate.map_or(next + 5_000, |rate| (begun.elapsed().as_secs_f64() * rate as f64) as u64);
        let mut text = String::new();
        for number in next..due.max(next) {
            text += &format!("{number} the quick brown fox jumps over it\n");
        }
        stream.write_all(text.as_bytes())?;
        next = due.max(next);
        sent.fetch_max(next, Ordering::Relaxed);
        if rate.is_some() {
            std::thread::sleep(Duration::from_millis(10));
        }
    }
}

/// A pipeline in a folder of its own.
struct Pipeline {
    folder: tempfile::TempDir,
    file: PathBuf,
}

impl Pipeline {
    fn new(server: &Server, sql: &str) -> Result<Self> {
        let folder = tempfile::tempdir()?;
        let file = folder.path().join("pipeline.toml");
        let plugin = Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/../../plugins/bin/text.wasm"));
        let (plugin, address) = (plugin.display(), &server.address);
        let text = format!(
            r#"
name = "bench"
batch-interval = "1s"
checkpoint = "checkpoint"
receive-memory = "32MiB"
[plugins.text]
component = "{plugin}"
[sources.lines]
type = "socket"
address = "{address}"
resume = true
[streams.words]
from = "lines"
flat-map = "text.split-words"
[streams.totals]
sql = "{sql}"
[sinks.out]
from = "totals"
type = "files"
path = "out"
"#
        );
        fs::write(&file, text)?;
        Ok(Self { folder, file })
    }

    fn start(&self) -> Result<Child> {
        let mut command = self.command("run");
        command.stderr(Stdio::null()).spawn().context("starting the program")
    }

    fn command(&self, name: &str) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_millstream"));
        command.arg(name).arg(&self.file);
        command
    }

    /// The times of the batches whose output is there, in milliseconds since 1970.
    fn batches(&self) -> BTreeSet<u64> {
        let names = fs::read_dir(self.folder.path().join("out")).into_iter().flatten().flatten();
        names.filter_map(|entry| entry.file_name().to_string_lossy().parse().ok()).collect()
    }

    /// The length of the batch log.
    fn log_bytes(&self) -> u64 {
        let files = fs::read_dir(self.folder.path().join("checkpoint/log")).into_iter().flatten().flatten();
        files.filter_map(|file| Some(file.metadata().ok()?.len())).sum()
    }

    /// Waits until the next batch is begun, once the last one is done.
    #[allow(clippy::disallowed_methods, reason = "a bench runs in real time")]
    fn wait_for_begin(&self) -> Result<()> {
        std::thread::sleep(INTERVAL / 2);
        let (before, started) = (self.log_bytes(), Instant::now());
        while self.log_bytes() == before {
            ensure!(started.elapsed() < Duration::from_secs(60), "no batch was begun within a minute");
        }
        Ok(())
    }

    #[allow(clippy::disallowed_methods, reason = "a bench runs in real time")]
    fn wait_for(&self, batches: usize) -> Result<()> {
        let started = Instant::now();
        while self.batches().len() < batches {
            ensure!(
                started.elapsed() < Duration::from_secs(60),
                "batch {batches} did not come within a minute"
            );
            std::thread::sleep(Duration::from_millis(1));
        }
        Ok(())
    }

    fn status(&self) -> Result<Value> {
        let output = self.command("status").arg("--json").output()?;
        Ok(serde_json::from_slice(&output.stdout)?)
    }
}

const WORDS: &str = "SELECT word, count(*) AS total FROM words GROUP BY word";

/// How soon a killed pipeline goes on, and how soon it ends when it is told to.
#[allow(clippy::print_stdout, reason = "the bench's answer")]
#[allow(clippy::disallowed_methods, reason = "a bench runs in real time")]
pub(crate) fn recovery() -> Result<()> {
    let server = Server::start(Some(RATE))?;
    let pipeline = Pipeline::new(&server, WORDS)?;
    let mut child = pipeline.start()?;
    let (mut begun, mut late) = (Vec::new(), Vec::new());
    for round in 0..2 * ROUNDS {
        pipeline.wait_for(pipeline.batches().len() + 3)?;
        let in_a_batch = round < ROUNDS;
        match in_a_batch {
            true => pipeline.wait_for_begin()?,
            false => std::thread::sleep(INTERVAL * u32::try_from(round - ROUNDS)? / u32::try_from(ROUNDS)?),
        }
        child.kill()?;
        child.wait()?;
        let (killed, before) = (SystemTime::now(), pipeline.batches());
        child = pipeline.start()?;
        pipeline.wait_for(before.len() + 1)?;
        let visible = SystemTime::now();
        let first = pipeline.batches().range(before.last().map_or(0, |last| last + 1)..).next().copied();
        let tick = UNIX_EPOCH + Duration::from_millis(first.context("a batch was waited for")?);
        if in_a_batch && tick < killed {
            begun.push(visible.duration_since(killed)?);
        } else {
            late.push(visible.duration_since(killed.max(tick))?);
        }
    }
    pipeline.wait_for(pipeline.batches().len() + 3)?;
    let stopped = Instant::now();
    ensure!(pipeline.command("stop").status()?.success(), "the pipeline did not stop well");
    let stopping = stopped.elapsed();
    ensure!(child.wait()?.success(), "the pipeline did not end well");
    println!("{RATE} lines/s, batches of {INTERVAL:?}, kills while a batch runs, then at any moment");
    print_times("kill to the output of the batch that ran", begun);
    print_times("first batch after another kill, behind its tick or the kill", late);
    println!("graceful stop: {stopping:?}");
    Ok(())
}

#[allow(clippy::print_stdout, reason = "the bench's answer")]
fn print_times(what: &str, mut times: Vec<Duration>) {
    times.sort();
    if let (Some(median), Some(longest)) = (times.get(times.len() / 2), times.last()) {
        println!("{what}: median {median:.3?}, longest {longest:.3?} of {}", times.len());
    }
}

/// A source that sends all that is taken, and batches that take much less.
#[allow(clippy::print_stdout, reason = "the bench's answer")]
#[allow(clippy::disallowed_methods, reason = "a bench runs in real time")]
pub(crate) fn overload() -> Result<()> {
    let server = Server::start(None)?;
    // Every word is hashed a few hundred times over.
    let slow = "SELECT word, count(*) AS total, max(length(regexp_replace(repeat(word, 20), '(a|e|i)+[^x]', 'y', 'g'))) AS l FROM words GROUP BY word";
    let pipeline = Pipeline::new(&server, slow)?;
    let mut child = pipeline.start()?;
    let begun = Instant::now();
    let (mut samples, mut waiting, mut looks) = (Vec::new(), 0, 0);
    while begun.elapsed() < Duration::from_secs(OVERLOAD_SECONDS) {
        std::thread::sleep(SAMPLE_EVERY);
        samples.push((begun.elapsed().as_secs(), resident_bytes(child.id())?));
        if samples.len() % 50 == 0 {
            looks += 1;
            let status = pipeline.status()?;
            waiting += u32::from(status["status"]["receivers"][0]["waiting"] == Value::Bool(true));
        }
    }
    ensure!(pipeline.command("stop").status()?.success(), "the pipeline did not stop well");
    ensure!(child.wait()?.success(), "the pipeline did not end well");
    println!("a source that is too fast, {OVERLOAD_SECONDS} s, receive-memory 32 MiB");
    for (from, to) in [(0, 5), (5, 20), (20, 40), (40, OVERLOAD_SECONDS)] {
        let of = samples.iter().filter(|(second, _)| (from..to).contains(second)).map(|(_, bytes)| bytes);
        println!("resident memory, seconds {from} to {to}: at most {} MiB", of.max().unwrap_or(&0) >> 20);
    }
    println!("held back in {waiting} of {looks} looks at the status");
    let records = pipeline.status()?["status"]["records"].as_u64().unwrap_or_default();
    println!("{records} lines processed, {} sent", server.sent.load(Ordering::Relaxed));
    Ok(())
}

fn resident_bytes(pid: u32) -> Result<u64> {
    let status = fs::read_to_string(format!("/proc/{pid}/status"))?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).context("no VmRSS")?;
    let kilobytes: u64 = line.trim().trim_end_matches(" kB").parse()?;
    Ok(kilobytes * 1024)
}

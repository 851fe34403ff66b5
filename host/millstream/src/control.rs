//! How a running pipeline is asked: a socket in its checkpoint folder, which only the folder's owner can open.
//!
//! A connection is one question and one answer, each a line of JSON.

use std::fs;
use std::io;
use std::os::fd::AsRawFd;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use millstream_engine::{Board, Cpu, Status};
use serde::{Deserialize, Serialize};
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::{UnixListener, UnixStream};
use tokio::task::JoinHandle;
use tokio::time::timeout;

use crate::load::Refused;
use crate::told;
use crate::upgrade::{Report, Request, Running};

/// Longer questions are not read.
const QUESTION_BYTES_MAX: u64 = 64 * 1024;
const ANSWER_TIME_MAX: Duration = Duration::from_secs(10);
/// Longer paths do not fit into a socket's address.
const ADDRESS_BYTES_MAX: usize = 100;

#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
enum Question {
    Status,
    Upgrade(Request),
}

#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
enum Answer {
    Status(Box<Status>),
    Upgraded(Report),
    Refused(String),
}

/// Answers for as long as it lives.
pub(crate) struct Control {
    task: JoinHandle<()>,
    path: PathBuf,
}

impl Drop for Control {
    fn drop(&mut self) {
        self.task.abort();
        if let Err(error) = fs::remove_file(&self.path) {
            tracing::warn!("removing {}: {error}", self.path.display());
        }
    }
}

/// Answers questions about the pipeline that runs on `checkpoint`. Whoever calls holds the folder's lock.
pub(crate) fn serve(checkpoint: &Path, board: Board, running: Arc<Running>) -> Result<Control> {
    let path = path(checkpoint);
    match fs::remove_file(&path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => {
            return Err(error).with_context(|| format!("removing {}", path.display()));
        }
        _ => {}
    }
    let listener = Address::of(checkpoint)?.listen();
    let listener = listener.with_context(|| format!("listening on {}", path.display()))?;
    fs::set_permissions(&path, fs::Permissions::from_mode(0o600))
        .with_context(|| format!("closing {} to others", path.display()))?;
    let task = tokio::spawn(async move {
        loop {
            match listener.accept().await {
                Ok((stream, _)) => {
                    drop(tokio::spawn(answer(stream, board.clone(), Arc::clone(&running))));
                }
                Err(error) => {
                    tracing::warn!("accepting a question: {error}");
                    tokio::time::sleep(Duration::from_millis(100)).await;
                }
            }
        }
    });
    Ok(Control { task, path })
}

async fn answer(stream: UnixStream, board: Board, running: Arc<Running>) -> io::Result<()> {
    let (read, mut write) = stream.into_split();
    let mut line = String::new();
    timeout(ANSWER_TIME_MAX, BufReader::new(read.take(QUESTION_BYTES_MAX)).read_line(&mut line)).await??;
    let answer = match serde_json::from_str(&line) {
        Ok(Question::Status) => Answer::Status(Box::new(Status { cpu: Some(Cpu::now()), ..board.read() })),
        // It takes as long as it takes, whether somebody waits for the answer or not.
        Ok(Question::Upgrade(request)) => match running.upgrade(request).await {
            Ok(report) => Answer::Upgraded(report),
            Err(error) => Answer::Refused(told(&error)),
        },
        Err(error) => Answer::Refused(format!("this is no question: {error}")),
    };
    let mut text = serde_json::to_vec(&answer)?;
    text.push(b'\n');
    timeout(ANSWER_TIME_MAX, write.write_all(&text)).await?
}

/// What the process that runs on `checkpoint` shows of itself.
pub(crate) async fn status(checkpoint: &Path) -> Result<Status> {
    let asked = timeout(ANSWER_TIME_MAX, ask(checkpoint, &Question::Status)).await;
    match asked.context("the running process does not answer")?? {
        Answer::Status(status) => Ok(*status),
        Answer::Refused(reason) => bail!("the running process answers: {reason}"),
        Answer::Upgraded(_) => bail!("the running process answers something else"),
    }
}

/// Lets the process that runs on `checkpoint` go over to other code.
pub(crate) async fn upgrade(checkpoint: &Path, request: Request) -> Result<Report> {
    match ask(checkpoint, &Question::Upgrade(request)).await? {
        Answer::Upgraded(report) => Ok(report),
        Answer::Refused(reason) => Err(Refused(reason).into()),
        Answer::Status(_) => bail!("the running process answers something else"),
    }
}

async fn ask(checkpoint: &Path, question: &Question) -> Result<Answer> {
    let asking = async {
        let stream = Address::of(checkpoint)?.connect().await?;
        let (read, mut write) = stream.into_split();
        let mut question = serde_json::to_vec(question)?;
        question.push(b'\n');
        write.write_all(&question).await?;
        let mut text = String::new();
        BufReader::new(read).read_line(&mut text).await?;
        ensure!(!text.is_empty(), "the running process has ended meanwhile");
        anyhow::Ok(serde_json::from_str(&text)?)
    };
    asking.await.with_context(|| format!("asking at {}", path(checkpoint).display()))
}

fn path(checkpoint: &Path) -> PathBuf {
    checkpoint.join("control")
}

/// The socket's address. Where its path is too long for one, it is reached through the open folder.
struct Address {
    path: PathBuf,
    _folder: Option<fs::File>,
}

impl Address {
    fn of(checkpoint: &Path) -> io::Result<Self> {
        let direct = path(checkpoint);
        if direct.as_os_str().len() <= ADDRESS_BYTES_MAX {
            return Ok(Self { path: direct, _folder: None });
        }
        let folder = fs::File::open(checkpoint)?;
        let path = path(Path::new(&format!("/proc/self/fd/{}", folder.as_raw_fd())));
        Ok(Self { path, _folder: Some(folder) })
    }

    fn listen(&self) -> io::Result<UnixListener> {
        UnixListener::bind(&self.path)
    }

    async fn connect(&self) -> io::Result<UnixStream> {
        UnixStream::connect(&self.path).await
    }
}

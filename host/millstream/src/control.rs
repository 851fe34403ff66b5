//! How a running pipeline is asked: a socket in its checkpoint folder, which only the folder's owner can open.
//!
//! A connection is one question and one answer, each a line of JSON; but for a takeover, which goes on from there: see
//! [`crate::takeover`].

use std::fs;
use std::io;
use std::os::fd::AsRawFd;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::UnixStream as BlockingStream;
use std::path::{Path, PathBuf};
use std::pin::pin;
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
use crate::status::Shown;
use crate::takeover::{Described, Giving};
use crate::told;
use crate::upgrade::{Asker, Report, Request, Running};

/// Longer questions are not read.
const QUESTION_BYTES_MAX: u64 = 64 * 1024;
const ANSWER_TIME_MAX: Duration = Duration::from_secs(10);
/// Longer paths do not fit into a socket's address.
const ADDRESS_BYTES_MAX: usize = 100;

#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Question {
    Status,
    Upgrade(Request),
    /// Whether the process that asks may go on with the pipeline; how it wants it handed over.
    TakeOver {
        format: u32,
    },
}

#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Answer {
    Status(Box<Shown>),
    Upgraded(Report),
    /// The question is not understood, or its answer is no.
    Refused(String),
    /// A socket comes with this line.
    Socket(Described),
    /// Those were all sockets.
    HandedOver,
    /// The pipeline goes on where it is.
    GoesOn,
    /// The pipeline ends already.
    Ending,
    /// The pipeline is handed over to another process.
    Busy,
}

/// What the process that takes over says when it has all sockets.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Taken {
    Taken,
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

/// Answers questions about the pipeline that runs on `checkpoint`, gives it other code, and hands it over. Whoever calls
/// holds the folder's lock.
pub(crate) fn serve(
    checkpoint: &Path,
    board: Board,
    running: Arc<Running>,
    giving: Arc<Giving>,
) -> Result<Control> {
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
                    let (running, giving) = (Arc::clone(&running), Arc::clone(&giving));
                    drop(tokio::spawn(answer(stream, board.clone(), running, giving)));
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

async fn answer(
    mut stream: UnixStream,
    board: Board,
    running: Arc<Running>,
    giving: Arc<Giving>,
) -> Result<()> {
    let answer = match timeout(ANSWER_TIME_MAX, question(&mut stream)).await?? {
        Ok(Question::Status) => {
            let status = Status { cpu: Some(Cpu::now()), ..board.read() };
            let version = Some(running.version.borrow().clone());
            Answer::Status(Box::new(Shown { status, version }))
        }
        Ok(Question::Upgrade(request)) => {
            // A comparison is for whoever waits for it. Anything else takes as long as it takes, for nobody as well.
            let is_for_asker = request.shadow.is_some();
            let (stays, asker) = Asker::new();
            let mut upgrading = pin!(running.upgrade(request, asker));
            let upgraded = tokio::select! {
                upgraded = &mut upgrading => upgraded,
                () = gone(&mut stream), if is_for_asker => {
                    drop(stays);
                    upgrading.await
                }
            };
            match upgraded {
                Ok(report) => Answer::Upgraded(report),
                Err(error) => Answer::Refused(told(&error)),
            }
        }
        Ok(Question::TakeOver { format }) => return giving.hand_over(stream.into_std()?, format).await,
        Err(error) => Answer::Refused(format!("this is no question: {error}")),
    };
    let mut text = serde_json::to_vec(&answer)?;
    text.push(b'\n');
    Ok(timeout(ANSWER_TIME_MAX, stream.write_all(&text)).await??)
}

/// Completes when the other end has closed the connection.
async fn gone(stream: &mut UnixStream) {
    let mut byte = [0];
    // Nothing more is to come; an error ends the connection as well.
    drop(stream.read(&mut byte).await);
}

async fn question(stream: &mut UnixStream) -> io::Result<Result<Question, serde_json::Error>> {
    let mut line = String::new();
    BufReader::new(stream.take(QUESTION_BYTES_MAX)).read_line(&mut line).await?;
    Ok(serde_json::from_str(&line))
}

/// A connection to the process that runs on `checkpoint`, which blocks.
pub(crate) async fn connect(checkpoint: &Path) -> io::Result<BlockingStream> {
    let stream = Address::of(checkpoint)?.connect().await?.into_std()?;
    stream.set_nonblocking(false)?;
    Ok(stream)
}

/// What the process that runs on `checkpoint` shows of itself.
pub(crate) async fn status(checkpoint: &Path) -> Result<Shown> {
    let asked = timeout(ANSWER_TIME_MAX, ask(checkpoint, &Question::Status)).await;
    match asked.context("the running process does not answer")?? {
        Answer::Status(shown) => Ok(*shown),
        Answer::Refused(reason) => bail!("the running process answers: {reason}"),
        _ => bail!("the running process answers something else"),
    }
}

/// Lets the process that runs on `checkpoint` go over to other code.
pub(crate) async fn upgrade(checkpoint: &Path, request: Request) -> Result<Report> {
    match ask(checkpoint, &Question::Upgrade(request)).await? {
        Answer::Upgraded(report) => Ok(report),
        Answer::Refused(reason) => Err(Refused(reason).into()),
        _ => bail!("the running process answers something else"),
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

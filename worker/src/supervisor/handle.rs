//! The worker's side: starts a supervisor for one command and follows it to its end.

use std::{
    path::{Path, PathBuf},
    process::Stdio,
    time::Duration,
};

use tokio::{
    io::{AsyncRead, AsyncReadExt as _, AsyncWriteExt as _},
    process::{Child, ChildStdin, ChildStdout, Command},
    sync::watch,
    time::{Instant, timeout},
};

use super::{
    LEASE_MARK, SUBCOMMAND, WORKER_MARK,
    marks::end_orphans,
    protocol::{Control, KilledBecause, Lines, Spec, Status},
};

/// A program that does not answer as a supervisor within this time is none.
const HANDSHAKE: Duration = Duration::from_secs(10);
/// How long output that is still in the pipe is read after the tree is gone.
const DRAIN: Duration = Duration::from_secs(1);

/// What to run.
#[derive(Debug, Clone)]
pub struct Order {
    pub program: PathBuf,
    pub args: Vec<String>,
    pub cwd: PathBuf,
    /// The whole environment, but for the marks.
    pub env: Vec<(String, String)>,
    /// A file that becomes standard input; None: an empty one.
    pub stdin: Option<PathBuf>,
    /// A file that takes standard error, made anew; None: it is merged into the output.
    pub stderr: Option<PathBuf>,
    pub timeout: Option<Duration>,
}

/// The right to run: whose it is and how long it lasts.
#[derive(Debug, Clone)]
pub struct Right {
    /// The program to start as supervisor.
    pub supervisor: PathBuf,
    pub lease_id: String,
    pub worker_id: String,
    pub kill_grace: Duration,
    /// On CLOCK_BOOTTIME, in milliseconds; moves on while the coordinator answers.
    pub deadline: watch::Receiver<u64>,
    /// True when the work is to be ended.
    pub cancel: watch::Receiver<bool>,
}

/// How the command ended. Nothing of its tree is left in any case.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ended {
    /// By itself: with a code, or by a signal.
    Exited {
        code: Option<i32>,
        signal: Option<i32>,
    },
    TimedOut,
    Cancelled,
    /// Its right to run ended.
    Fenced,
}

/// Why a command could not be run.
#[derive(Debug, thiserror::Error)]
pub enum SpawnError {
    #[error("cannot start the supervisor {path}: {source}")]
    Supervisor { path: PathBuf, source: std::io::Error },
    #[error("{0} does not answer as a supervisor")]
    NoHandshake(PathBuf),
    #[error("cannot start the command: {0}")]
    Command(String),
    #[error("the supervisor was killed; its processes were ended")]
    SupervisorGone,
    #[error("the supervisor was killed, and of its processes these do not end: {0:?}")]
    Orphans(Vec<i32>),
}

/// Runs the order to its end; `started` is called once it runs, `output` with every piece of its
/// output.
pub async fn run(
    order: &Order,
    right: &Right,
    started: impl FnOnce() + Send,
    output: &(dyn Fn(&[u8]) + Send + Sync),
) -> Result<Ended, SpawnError> {
    // Whether the deadline has passed is the supervisor's to say: it looks last.
    if *right.cancel.borrow() {
        return Ok(Ended::Cancelled);
    }
    let mut child =
        spawn(right).map_err(|source| SpawnError::Supervisor { path: right.supervisor.clone(), source })?;
    let pipes = (child.stdin.take(), child.stdout.take(), child.stderr.take());
    let (Some(control), Some(status), Some(mut text)) = pipes else {
        return Err(SpawnError::NoHandshake(right.supervisor.clone()));
    };
    let mut status = StatusPipe { pipe: status, lines: Lines::default() };
    let mut following =
        Following { control: Some(control), right: right.clone(), timed_out_at: None, asked: None };
    if !following.shake_hands(order, &mut status).await {
        let _ = child.start_kill();
        let _ = child.wait().await;
        return Err(SpawnError::NoHandshake(right.supervisor.clone()));
    }
    let ended = {
        let follow = following.follow(order, &mut status, started, output);
        tokio::pin!(follow);
        let mut buffer = vec![0; 64 * 1024];
        loop {
            tokio::select! {
                ended = &mut follow => break ended,
                read = text.read(&mut buffer) => match read {
                    Ok(read) if read > 0 => output(&buffer[..read]),
                    _ => break follow.await,
                },
            }
        }
    };
    let ended = match ended {
        Err(SpawnError::SupervisorGone) => Err(bury(&mut child, right).await),
        Ok(_) | Err(_) => ended,
    };
    // Pieces that were still in the pipe when the tree was gone.
    let _ = timeout(DRAIN, drain(&mut text, output)).await;
    drop(following.control.take());
    let _ = child.wait().await;
    ended
}

/// Ends what a killed supervisor left. It stays a zombie meanwhile, so that its process id, which
/// names its session, is nobody else's.
async fn bury(child: &mut Child, right: &Right) -> SpawnError {
    let _ = child.start_kill();
    let (lease, session) = (right.lease_id.clone(), child.id());
    match tokio::task::spawn_blocking(move || end_orphans(&lease, session)).await {
        Ok(Err(pids)) => SpawnError::Orphans(pids),
        // A panic there could only be ours, and the processes are looked for again at the next start.
        Ok(Ok(())) | Err(_) => SpawnError::SupervisorGone,
    }
}

async fn drain(text: &mut (impl AsyncRead + Unpin), output: &(dyn Fn(&[u8]) + Send + Sync)) {
    let mut buffer = vec![0; 64 * 1024];
    while let Ok(read) = text.read(&mut buffer).await {
        if read == 0 {
            return;
        }
        output(&buffer[..read]);
    }
}

fn spawn(right: &Right) -> std::io::Result<Child> {
    Command::new(&right.supervisor)
        .arg(SUBCOMMAND)
        .env_clear()
        .env(LEASE_MARK, &right.lease_id)
        .env(WORKER_MARK, &right.worker_id)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
}

struct Following {
    control: Option<ChildStdin>,
    right: Right,
    timed_out_at: Option<Instant>,
    /// Why we asked for the end.
    asked: Option<Ended>,
}

struct StatusPipe {
    pipe: ChildStdout,
    lines: Lines,
}

impl StatusPipe {
    /// The next status; None at the end of the pipe or on nonsense. Cancel safe.
    async fn next(&mut self) -> Option<Status> {
        let mut buffer = [0; 4096];
        loop {
            if let Some(line) = self.lines.next_line() {
                return serde_json::from_slice(&line).ok();
            }
            match self.pipe.read(&mut buffer).await {
                Ok(read) if read > 0 => self.lines.push(&buffer[..read]),
                _ => return None,
            }
        }
    }
}

impl Following {
    async fn shake_hands(&mut self, order: &Order, status: &mut StatusPipe) -> bool {
        if !matches!(timeout(HANDSHAKE, status.next()).await, Ok(Some(Status::Ready { .. }))) {
            return false;
        }
        let mut env = order.env.clone();
        env.push((LEASE_MARK.to_owned(), self.right.lease_id.clone()));
        env.push((WORKER_MARK.to_owned(), self.right.worker_id.clone()));
        let spec = Spec {
            program: order.program.clone(),
            args: order.args.clone(),
            cwd: order.cwd.clone(),
            env,
            stdin: order.stdin.clone(),
            stderr: order.stderr.clone(),
            deadline_boottime_ms: *self.right.deadline.borrow_and_update(),
            kill_grace_ms: u64::try_from(self.right.kill_grace.as_millis()).unwrap_or(u64::MAX),
        };
        self.say(serde_json::to_vec(&spec).unwrap_or_default()).await;
        true
    }

    /// A supervisor that is gone shows on the status pipe.
    async fn say(&mut self, mut line: Vec<u8>) {
        line.push(b'\n');
        if let Some(control) = &mut self.control {
            let _ = control.write_all(&line).await;
        }
    }

    async fn follow(
        &mut self,
        order: &Order,
        status: &mut StatusPipe,
        started: impl FnOnce() + Send,
        output: &(dyn Fn(&[u8]) + Send + Sync),
    ) -> Result<Ended, SpawnError> {
        match status.next().await {
            Some(Status::Started { .. }) => started(),
            Some(Status::Failed(text)) => return Err(SpawnError::Command(text)),
            // Its right had ended before it began.
            exited @ Some(Status::Exited { .. }) => return self.ended(exited),
            Some(Status::Ready { .. } | Status::Stuck(_)) | None => return Err(SpawnError::SupervisorGone),
        }
        self.timed_out_at = order.timeout.map(|limit| Instant::now() + limit);
        loop {
            let end = self.timed_out_at.filter(|_| self.asked.is_none());
            let mut cancel = self.right.cancel.clone();
            let mut deadline = self.right.deadline.clone();
            tokio::select! {
                next = status.next() => match next {
                    Some(Status::Stuck(pids)) => output(self.cry_for_help(&pids).as_bytes()),
                    next => return self.ended(next),
                },
                () = sleep_until(end) => self.ask(Ended::TimedOut).await,
                () = cancelled(&mut cancel), if self.asked.is_none() => self.ask(Ended::Cancelled).await,
                () = moved(&mut deadline) => {
                    let new = *self.right.deadline.borrow_and_update();
                    self.say(serde_json::to_vec(&Control::Deadline(new)).unwrap_or_default()).await;
                }
            }
        }
    }

    async fn ask(&mut self, reason: Ended) {
        self.asked = Some(reason);
        self.say(serde_json::to_vec(&Control::Kill).unwrap_or_default()).await;
    }

    /// Only a person can end these; until then the lease is held, so that nobody does its work twice.
    fn cry_for_help(&self, pids: &[i32]) -> String {
        let text = format!("processes {pids:?} do not end though they were killed; end them by hand");
        tracing::error!("lease {}: {text}", self.right.lease_id);
        format!("\nwavegate: {text}\n")
    }

    fn ended(&self, status: Option<Status>) -> Result<Ended, SpawnError> {
        match status {
            Some(Status::Exited { code, signal, killed_because }) => Ok(match killed_because {
                None => Ended::Exited { code, signal },
                Some(KilledBecause::Asked) => self.asked.unwrap_or(Ended::Cancelled),
                Some(KilledBecause::Deadline | KilledBecause::WorkerGone) => Ended::Fenced,
            }),
            Some(Status::Ready { .. } | Status::Started { .. } | Status::Stuck(_) | Status::Failed(_))
            | None => Err(SpawnError::SupervisorGone),
        }
    }
}

async fn sleep_until(end: Option<Instant>) {
    match end {
        Some(end) => tokio::time::sleep_until(end).await,
        None => std::future::pending().await,
    }
}

/// Resolves when the work is to be ended; never when nobody can say so any more.
async fn cancelled(cancel: &mut watch::Receiver<bool>) {
    if cancel.wait_for(|cancel| *cancel).await.is_err() {
        std::future::pending::<()>().await;
    }
}

/// Resolves when the deadline moves; never when nobody can move it any more: then it stands.
async fn moved(deadline: &mut watch::Receiver<u64>) {
    if deadline.changed().await.is_err() {
        std::future::pending::<()>().await;
    }
}

/// Where the supervisor's program is: this very file, also when it was replaced on disk.
#[must_use]
pub fn own_program() -> &'static Path {
    Path::new("/proc/self/exe")
}

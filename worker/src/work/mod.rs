//! Performing one lease, from the work as it was granted to the report or the reason that there is
//! none. Owns what a task, an integration and a validation are; how a process is run is the
//! supervisor's, how a directory is made the workspace's, and who is told is the session's.

pub mod agent;
mod command;
mod coordinate;
mod integrate;
mod judge;
mod publish;
mod quotation;
mod task;
mod validate;

use std::{path::PathBuf, sync::Arc, time::Duration};

use tokio::sync::watch;
use wavegate_proto::v1;

use crate::{
    blobs::{Blob, BlobStore},
    git::Stores,
    runner::{Registry, environment, scrub},
    supervisor::Right,
    workspace::Workspace,
};

pub use crate::supervisor::boottime_ms;

/// A line that a person still reads.
const SUMMARY_CHARS: usize = 300;

/// Everything that the work of a lease needs besides the work itself.
pub struct WorkContext {
    pub lease_id: String,
    pub worker_id: String,
    pub state_dir: PathBuf,
    /// The program that is started as supervisor.
    pub supervisor: PathBuf,
    pub kill_grace: Duration,
    pub blobs: Arc<dyn BlobStore>,
    /// The repositories of this host.
    pub stores: Stores,
    pub log: Arc<dyn LogSink>,
    pub keeper: Arc<dyn Keeper>,
    /// The agents that this worker has.
    pub runners: Arc<Registry>,
    /// Called now and then with everything that the lease has used so far.
    pub progress: Arc<dyn Fn(Vec<v1::ModelUsage>) + Send + Sync>,
    /// Keeps secrets out of what leaves the worker; [`perform`] makes it for the work.
    pub scrubber: scrub::Scrubber,
    /// The end of the right to work, in ms of [`boottime_ms`]; moves on while the coordinator answers.
    pub deadline: watch::Receiver<u64>,
    /// True when the work is to be ended.
    pub cancel: watch::Receiver<bool>,
    /// Called once, when the work begins.
    pub started: Box<dyn FnOnce() + Send + Sync>,
}

/// Where the output of commands goes.
pub trait LogSink: Send + Sync + 'static {
    /// Appends; never blocks for long.
    fn append(&self, bytes: &[u8]);
}

/// Where a finished result is until the coordinator has it with its files.
#[tonic::async_trait]
pub trait Keeper: Send + Sync + 'static {
    /// Puts the result with its files on disk: it survives the worker, and is delivered with them. Fails in words, and
    /// keeps nothing then.
    async fn keep(&self, lease_id: &str, report: v1::Report, blobs: &[Blob]) -> Result<(), String>;
}

/// How the work ended. No process and no directory of it is left.
#[derive(Debug, Clone, PartialEq)]
pub enum Ending {
    Report(Box<v1::Report>),
    /// As it was asked to.
    Cancelled,
    /// The right to work ended.
    Fenced,
    /// This worker cannot do such work.
    Unable(String),
    /// This worker cannot reach the plan's repository; others may.
    OutOfReach(String),
}

/// Performs the work.
pub async fn perform(work: v1::Work, mut context: WorkContext) -> Ending {
    // It names a directory that is removed in the end.
    if !is_lease_id(&context.lease_id) {
        return Ending::Unable(format!(
            "{:?} is no lease id: letters, digits and '-' only",
            context.lease_id
        ));
    }
    let Some(body) = work.body.clone() else {
        return Ending::Unable("the grant holds no work that this version knows".to_owned());
    };
    if *context.cancel.borrow() {
        return Ending::Cancelled;
    }
    // A grant that sat in a stalled stream: its right may have ended before it came.
    if *context.deadline.borrow() <= boottime_ms() {
        return Ending::Fenced;
    }
    std::mem::replace(&mut context.started, Box::new(|| ()))();
    context.scrubber = scrub::Scrubber::of_names(secrets(&body, &context.runners).iter().map(String::as_str));
    let mut ending = match body {
        v1::work::Body::Task(task) => task::perform(&work, task, &context).await,
        v1::work::Body::Integrate(integrate) => integrate::perform(&work, integrate, &context).await,
        v1::work::Body::Validate(validate) => validate::perform(&work, validate, &context).await,
        v1::work::Body::Publish(publish) => publish::perform(&work, publish, &context).await,
        v1::work::Body::Coordinate(coordinate) => coordinate::perform(&work, coordinate, &context).await,
    };
    if let Ending::Report(report) = &mut ending {
        context.scrubber.report(report);
    }
    ending
}

/// The names of the worker's variables whose values nobody is to see: what the work asks for, and the
/// credentials of its agent.
fn secrets(body: &v1::work::Body, runners: &Registry) -> Vec<String> {
    let (env, agent) = match body {
        v1::work::Body::Task(task) => (task.env.as_slice(), &task.agent),
        v1::work::Body::Validate(validate) => (validate.env.as_slice(), &validate.agent),
        v1::work::Body::Coordinate(coordinate) => (&[][..], &coordinate.agent),
        v1::work::Body::Integrate(_) | v1::work::Body::Publish(_) => (&[][..], &None),
    };
    let asked = env.iter().filter(|name| !environment::is_inherited(name)).cloned();
    let installed = agent.as_ref().and_then(|agent| runners.get(&agent.runner));
    let own = installed.map(|found| found.runner.variables()).unwrap_or_default();
    // A proxy's address may hold a password.
    let holds_login = |name: &str| {
        name.to_ascii_uppercase().ends_with("_PROXY")
            && std::env::var(name).is_ok_and(|value| value.contains('@'))
    };
    let described = installed.map(|found| found.runner.secrets()).unwrap_or_default();
    let own = own.into_iter().filter(|name| scrub::is_secret(name) || holds_login(name));
    asked.chain(own).chain(described).collect()
}

impl WorkContext {
    fn right(&self) -> Right {
        Right {
            supervisor: self.supervisor.clone(),
            lease_id: self.lease_id.clone(),
            worker_id: self.worker_id.clone(),
            kill_grace: self.kill_grace,
            deadline: self.deadline.clone(),
            cancel: self.cancel.clone(),
        }
    }

    /// Ends when somebody has cancelled the work.
    async fn cancelled(&self) {
        let mut cancel = self.cancel.clone();
        if cancel.wait_for(|cancel| *cancel).await.is_err() {
            std::future::pending::<()>().await;
        }
    }

    /// Runs work that starts no process to its end, or to the end of the right to do it.
    async fn guard<T>(&self, work: impl Future<Output = T>) -> Result<T, Ending> {
        let deadline = self.deadline.clone();
        tokio::select! {
            // What was asked for is told, also when the right has ended too.
            biased;
            () = self.cancelled() => Err(Ending::Cancelled),
            () = right_ended(deadline) => Err(Ending::Fenced),
            done = work => Ok(done),
        }
    }
}

async fn right_ended(deadline: watch::Receiver<u64>) {
    loop {
        let left = deadline.borrow().saturating_sub(boottime_ms());
        if left == 0 {
            return;
        }
        // Looked at again at least every second: the timer stands still in suspend, the clock does not.
        tokio::time::sleep(Duration::from_millis(left.min(1000))).await;
    }
}

fn is_lease_id(text: &str) -> bool {
    let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_';
    (1..=128).contains(&text.len()) && text.bytes().all(is_plain)
}

/// A failed report with one line that says why.
fn failed(summary: impl ToString) -> Ending {
    report_of(v1::Report {
        outcome: v1::Outcome::Failed.into(),
        summary: summary.to_string(),
        ..v1::Report::default()
    })
}

/// A workspace for the lease; `name` tells several of one lease apart.
async fn workspace(
    context: &WorkContext,
    name: &str,
    start: Option<&v1::Workspace>,
) -> Result<Workspace, Ending> {
    let start = start.cloned().unwrap_or_default();
    let blobs = context.blobs.as_ref();
    let make = Workspace::make(&context.state_dir, &context.lease_id, name, &start, blobs, &context.stores);
    match context.guard(make).await? {
        Ok(workspace) => {
            for note in workspace.notes() {
                context.log.append(format!("wavegate: {note}\n").as_bytes());
            }
            Ok(workspace)
        }
        Err(error) if error.is_out_of_reach() => Err(Ending::OutOfReach(error.to_string())),
        Err(error) => Err(failed(format!("cannot make the workspace: {error}"))),
    }
}

/// The report as it is sent: its summary is one line for people.
fn report_of(mut report: v1::Report) -> Ending {
    shorten(&mut report);
    Ending::Report(Box::new(report))
}

fn shorten(report: &mut v1::Report) {
    let line = report.summary.lines().map(str::trim).find(|line| !line.is_empty()).unwrap_or_default();
    report.summary = line.chars().take(SUMMARY_CHARS).collect();
}

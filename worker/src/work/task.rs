//! A task: workspace, setup, `skip_if`, the command or the agent, and what it changed.

use std::{collections::HashMap, fs, path::Path, time::Duration};

use serde_json::json;
use wavegate_proto::v1;

use super::{
    Ending, WorkContext,
    agent::{self, Asked, Place},
    command,
    command::Ran,
    failed, report_of, shorten, workspace,
};
use crate::{
    blobs::Blob,
    runner::{environment, result_file, shell, usage_of},
    workspace::{Kept, Workspace, WorkspaceError},
};

pub(super) async fn perform(work: &v1::Work, task: v1::TaskWork, context: &WorkContext) -> Ending {
    if task.agent.is_none() && (task.runner != shell::NAME || task.run.is_empty()) {
        let text = format!("a task of the runner {:?} that asks no agent cannot be done", task.runner);
        return Ending::Unable(text);
    }
    match try_perform(work, &task, context).await {
        Ok(report) => report_of(report),
        Err(ending) => ending,
    }
}

async fn try_perform(
    work: &v1::Work,
    task: &v1::TaskWork,
    context: &WorkContext,
) -> Result<v1::Report, Ending> {
    let workspace = workspace(context, "task", task.workspace.as_ref()).await?;
    let env = environment_of(work, task, context, &workspace)?;
    let aside = workspace.aside_folder("agent").map_err(failed)?;
    let mut attempt =
        Attempt { task, context, cwd: &workspace.files(), aside: &aside, env: &env, spent: Duration::ZERO };
    let mut report = attempt.run().await?;
    report.run_ms = ms(attempt.spent);
    if report.outcome() == v1::Outcome::Skipped {
        workspace.remove().await;
        return Ok(report);
    }
    if task.agent.is_none() {
        say(&mut report, &workspace);
    }
    let is_kept = report.outcome() == v1::Outcome::Succeeded
        || task.agent.is_some() && is_interruption(report.outcome());
    if is_kept {
        // One that may only look changes nothing, whatever it was denied.
        let may_change = task.agent.as_ref().is_none_or(|agent| agent.permissions() != v1::Permissions::Read);
        let kind = task.workspace.as_ref().map(v1::Workspace::kind).unwrap_or_default();
        let changes_count = matches!(kind, v1::WorkspaceKind::Dir | v1::WorkspaceKind::Git) && may_change;
        let message = format!("{}: changes of attempt {}", task.key, task.attempt);
        return keep(context, workspace, &message, changes_count, report).await;
    }
    workspace.remove().await;
    Ok(report)
}

/// One try at a task: its commands, one after the other, within one time limit.
struct Attempt<'a> {
    task: &'a v1::TaskWork,
    context: &'a WorkContext,
    cwd: &'a Path,
    /// For files between us and an agent's program.
    aside: &'a Path,
    env: &'a [(String, String)],
    /// The run time of all commands so far.
    spent: Duration,
}

impl Attempt<'_> {
    async fn run(&mut self) -> Result<v1::Report, Ending> {
        if !self.task.skip_if.is_empty() && self.command(&self.task.skip_if).await?.succeeded() {
            return Ok(v1::Report {
                outcome: v1::Outcome::Skipped.into(),
                summary: "skip_if holds: nothing to do".to_owned(),
                ..v1::Report::default()
            });
        }
        for setup in &self.task.setup {
            let ran = self.command(setup).await?;
            if !ran.succeeded() {
                return Ok(report_on(&ran, format!("setup `{}`: {}", first_line(setup), ran.words())));
            }
        }
        if let Some(agent) = &self.task.agent {
            return self.agent(agent).await;
        }
        let ran = self.command(&self.task.run).await?;
        let summary =
            if ran.succeeded() { last_line(&ran.tail) } else { format!("the command: {}", ran.words()) };
        Ok(report_on(&ran, summary))
    }

    async fn agent(&mut self, agent: &v1::AgentWork) -> Result<v1::Report, Ending> {
        let place = Place { cwd: self.cwd, aside: self.aside, env: self.env, limit: self.left() };
        let asked = agent::ask(self.context, agent, place).await?;
        self.spent += asked.time;
        Ok(report_of_agent(&asked))
    }

    async fn command(&mut self, command: &str) -> Result<Ran, Ending> {
        let ran = command::run(self.context, command, self.cwd, self.env, self.left()).await?;
        self.spent += ran.time;
        Ok(ran)
    }

    fn left(&self) -> Option<Duration> {
        let limit = (self.task.timeout_ms > 0).then(|| Duration::from_millis(self.task.timeout_ms));
        limit.map(|limit| limit.saturating_sub(self.spent))
    }
}

/// What came of asking an agent, as it is reported.
pub(super) fn report_of_agent(asked: &Asked) -> v1::Report {
    let conclusion = &asked.conclusion;
    v1::Report {
        outcome: conclusion.outcome.into(),
        exit_code: asked.exit_code,
        summary: conclusion.summary.clone(),
        output_tail: asked.tail.clone(),
        run_ms: ms(asked.time),
        usage: Some(usage_of(&conclusion.models)),
        output_json: conclusion.output_json.clone(),
        model: conclusion.model.clone(),
        session: conclusion.session.clone().unwrap_or_default(),
        models: conclusion.models.clone(),
        account: asked.account.clone(),
        findings: conclusion.denials.clone(),
        retry_after_ms: conclusion.retry_after_ms,
        ..v1::Report::default()
    }
}

fn report_on(ran: &Ran, summary: String) -> v1::Report {
    let outcome = match (ran.succeeded(), ran.timed_out) {
        (true, _) => v1::Outcome::Succeeded,
        (false, true) => v1::Outcome::TimedOut,
        (false, false) => v1::Outcome::Failed,
    };
    v1::Report {
        outcome: outcome.into(),
        exit_code: ran.code,
        summary,
        output_tail: ran.tail.clone(),
        ..v1::Report::default()
    }
}

/// Adds what the task says of itself. A failed one is believed too: what it spent is spent.
fn say(report: &mut v1::Report, workspace: &Workspace) {
    match result_file::read(&workspace.aside("result.json")) {
        Ok(said) => {
            report.usage = Some(said.usage);
            report.output_json = said.json;
            if let Some(summary) = said.summary.filter(|_| report.outcome() == v1::Outcome::Succeeded) {
                report.summary = summary;
            }
        }
        Err(error) if report.outcome() == v1::Outcome::Succeeded => fail(report, error),
        Err(error) => report.summary = format!("{}; {error}", report.summary),
    }
}

/// An agent that is broken off goes on later from what it had made by then.
fn is_interruption(outcome: v1::Outcome) -> bool {
    match outcome {
        v1::Outcome::TimedOut
        | v1::Outcome::TurnLimit
        | v1::Outcome::BudgetLimit
        | v1::Outcome::Killed
        | v1::Outcome::UsageLimit
        | v1::Outcome::Overloaded
        | v1::Outcome::Unreachable => true,
        v1::Outcome::Unspecified
        | v1::Outcome::Succeeded
        | v1::Outcome::Failed
        | v1::Outcome::Skipped
        | v1::Outcome::Conflict
        | v1::Outcome::Denied
        | v1::Outcome::Refused
        | v1::Outcome::Nonsense
        | v1::Outcome::TargetMoved
        | v1::Outcome::BadCredentials => false,
    }
}

/// The claim of a command that printed nothing.
pub(super) const NO_OUTPUT: &str = "no output";

/// Stores what the task changed.
async fn keep(
    context: &WorkContext,
    workspace: Workspace,
    message: &str,
    keeps_changes: bool,
    mut report: v1::Report,
) -> Result<v1::Report, Ending> {
    let (workspace, kept) = context.guard(workspace.result(message)).await?;
    match kept {
        Err(error) => fail_success(&mut report, format!("the result: {error}")),
        Ok(Kept { result: Some(result), files, mut blobs }) => {
            report.changes = result.digest().to_string();
            report.changed_files = files;
            blobs.push(result);
            match store(context, &report, blobs).await {
                Ok(()) => {}
                Err(Unstored::GivenUp) if report.outcome() == v1::Outcome::Succeeded => {
                    remove(workspace).await;
                    return Err(Ending::Cancelled);
                }
                Err(Unstored::GivenUp) => report.changes.clear(),
                Err(Unstored::Failed(error)) => {
                    report.changes.clear();
                    fail_success(&mut report, format!("the result cannot be stored: {error}"));
                }
            }
        }
        // It was denied something and left nothing behind: that is no success, whatever it says.
        Ok(_)
            if report.outcome() == v1::Outcome::Succeeded && !report.findings.is_empty() && keeps_changes =>
        {
            report.set_outcome(v1::Outcome::Denied);
            let first = report.findings.first().map(|finding| finding.text.clone()).unwrap_or_default();
            report.summary = format!("it changed nothing, and was denied: {first}");
        }
        Ok(_) => {
            let is_versioned = workspace.as_ref().is_some_and(Workspace::is_versioned);
            if is_versioned && keeps_changes && report.outcome() == v1::Outcome::Succeeded {
                report.summary =
                    format!("{} (no file changed)", report.summary.lines().next().unwrap_or_default());
            }
        }
    }
    remove(workspace).await;
    Ok(report)
}

async fn remove(workspace: Option<Workspace>) {
    if let Some(workspace) = workspace {
        workspace.remove().await;
    }
}

/// Why a result is neither on this host's disk nor at the coordinator.
enum Unstored {
    /// The lease was told to end while its files waited for the coordinator.
    GivenUp,
    Failed(String),
}

/// Puts the result with its files on this host's disk: whoever delivers the result brings the files to the
/// coordinator first, whatever becomes of this lease or this worker meanwhile. Where the disk does not take them, they
/// go to the coordinator from here.
async fn store(context: &WorkContext, report: &v1::Report, blobs: Vec<Blob>) -> Result<(), Unstored> {
    let mut report = report.clone();
    shorten(&mut report);
    context.scrubber.report(&mut report);
    let Err(error) = context.keeper.keep(&context.lease_id, report, &blobs).await else { return Ok(()) };
    tracing::warn!("the result of lease {} is not on this host's disk: {error}", context.lease_id);
    // No process runs any more, so there is nothing to fence; but nobody waits for ever for what was given up.
    tokio::select! {
        published = context.blobs.publish(blobs) => {
            published.map_err(|error| Unstored::Failed(error.to_string()))
        }
        () = context.cancelled() => Err(Unstored::GivenUp),
    }
}

/// What was interrupted keeps its own reason, and begins afresh.
fn fail_success(report: &mut v1::Report, why: String) {
    if report.outcome() == v1::Outcome::Succeeded {
        fail(report, why);
    } else {
        tracing::warn!("what an interrupted agent made is lost: {why}");
    }
}

fn fail(report: &mut v1::Report, why: impl ToString) {
    report.set_outcome(v1::Outcome::Failed);
    report.summary = why.to_string();
}

fn environment_of(
    work: &v1::Work,
    task: &v1::TaskWork,
    context: &WorkContext,
    workspace: &Workspace,
) -> Result<Vec<(String, String)>, Ending> {
    let mut told = told(work, context, &task.key);
    told.push(("WAVEGATE_ATTEMPT", task.attempt.to_string()));
    told.push(("WAVEGATE_RESULT", workspace.aside("result.json").display().to_string()));
    told.extend(cache_of(workspace).map_err(failed)?);
    if !task.findings.is_empty() {
        let path = workspace.aside("findings.json");
        write_findings(&path, &task.findings)
            .map_err(|error| failed(format!("{}: {error}", path.display())))?;
        told.push(("WAVEGATE_FINDINGS", path.display().to_string()));
    }
    environment::of_command(sorted(&work.vars), &task.env, told).map_err(failed)
}

/// What every command of a lease is told.
pub(super) fn told(work: &v1::Work, context: &WorkContext, task: &str) -> Vec<(&'static str, String)> {
    vec![
        ("WAVEGATE_PLAN", work.plan_name.clone()),
        ("WAVEGATE_PLAN_ID", work.plan_id.to_string()),
        ("WAVEGATE_WAVE", work.wave.clone()),
        ("WAVEGATE_ROUND", work.round.to_string()),
        ("WAVEGATE_TASK", task.to_owned()),
        ("WAVEGATE_LEASE_ID", context.lease_id.clone()),
    ]
}

/// Where commands on a repository keep what they need again.
pub(super) fn cache_of(workspace: &Workspace) -> Result<Option<(&'static str, String)>, WorkspaceError> {
    Ok(workspace.cache()?.map(|folder| ("WAVEGATE_CACHE", folder.display().to_string())))
}

pub(super) fn sorted(vars: &HashMap<String, String>) -> std::collections::BTreeMap<&String, &String> {
    vars.iter().collect()
}

fn write_findings(path: &Path, findings: &[v1::Finding]) -> std::io::Result<()> {
    let list: Vec<_> =
        findings.iter().map(|finding| json!({ "task": finding.task, "text": finding.text })).collect();
    fs::write(path, json!(list).to_string())
}

fn first_line(text: &str) -> &str {
    text.lines().next().unwrap_or_default()
}

/// The claim of a command that says nothing else: the last line that it printed.
fn last_line(tail: &str) -> String {
    let line = tail.lines().rev().find(|line| !line.trim().is_empty()).unwrap_or(NO_OUTPUT).trim();
    line.to_owned()
}

fn ms(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}

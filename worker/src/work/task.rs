//! A task: workspace, setup, `skip_if`, the command, and what it changed.

use std::{collections::HashMap, fs, path::Path, time::Duration};

use serde_json::json;
use wavegate_proto::v1;

use super::{Ending, WorkContext, command, command::Ran, failed};
use crate::{
    blobs::Blob,
    runner::{environment, result_file, shell},
    tree::diff,
    workspace::Workspace,
};

pub(super) async fn perform(work: &v1::Work, task: v1::TaskWork, context: &WorkContext) -> Ending {
    if task.runner != shell::NAME || task.run.is_empty() {
        return Ending::Unable(format!(
            "this worker has no runner {:?}; it has {}",
            task.runner,
            shell::NAME
        ));
    }
    match try_perform(work, &task, context).await {
        Ok(report) => Ending::Report(Box::new(report)),
        Err(ending) => ending,
    }
}

async fn try_perform(
    work: &v1::Work,
    task: &v1::TaskWork,
    context: &WorkContext,
) -> Result<v1::Report, Ending> {
    let start = task.workspace.clone().unwrap_or_default();
    let make = Workspace::make(&context.state_dir, &context.lease_id, "task", &start, context.blobs.as_ref());
    let workspace =
        context.guard(make).await?.map_err(|error| failed(format!("cannot make the workspace: {error}")))?;
    let env = environment_of(work, task, context, &workspace)?;
    let files = workspace.files();
    let limit = (task.timeout_ms > 0).then(|| Duration::from_millis(task.timeout_ms));
    let mut spent = Duration::ZERO;
    let left = |spent: Duration| limit.map(|limit| limit.saturating_sub(spent));

    if !task.skip_if.is_empty() {
        let ran = command::run(context, &task.skip_if, &files, &env, left(spent)).await?;
        spent += ran.time;
        if ran.succeeded() {
            return Ok(v1::Report {
                outcome: v1::Outcome::Skipped.into(),
                summary: "skip_if holds: nothing to do".to_owned(),
                ..v1::Report::default()
            });
        }
    }
    for setup in &task.setup {
        let ran = command::run(context, setup, &files, &env, left(spent)).await?;
        spent += ran.time;
        if !ran.succeeded() {
            return Ok(failed_report(&ran, &format!("setup `{}`", first_line(setup)), spent));
        }
    }
    let ran = command::run(context, &task.run, &files, &env, left(spent)).await?;
    spent += ran.time;
    if !ran.succeeded() {
        return Ok(failed_report(&ran, "the command", spent));
    }
    succeeded(context, &workspace, &ran, spent).await
}

async fn succeeded(
    context: &WorkContext,
    workspace: &Workspace,
    ran: &Ran,
    spent: Duration,
) -> Result<v1::Report, Ending> {
    let said = result_file::read(&workspace.aside("result.json")).map_err(failed)?;
    let mut report = v1::Report {
        outcome: v1::Outcome::Succeeded.into(),
        exit_code: ran.code,
        summary: said.summary.unwrap_or_else(|| last_line(&ran.tail)),
        output_tail: ran.tail.clone(),
        run_ms: ms(spent),
        usage: Some(said.usage),
        output_json: said.json,
        ..v1::Report::default()
    };
    if workspace.is_kept {
        let (changes, mut blobs) = diff(&workspace.before, &workspace.files())
            .map_err(|error| failed(format!("the result: {error}")))?;
        if !changes.is_empty() {
            let encoded = Blob::of_bytes(changes.encode());
            report.changes = encoded.digest().to_string();
            report.changed_files = u32::try_from(changes.paths.len()).unwrap_or(u32::MAX);
            blobs.push(encoded);
            let publish = context.blobs.publish(blobs);
            let stored = context.guard(publish).await?;
            stored.map_err(|error| failed(format!("the result cannot be stored: {error}")))?;
        }
    }
    Ok(report)
}

fn failed_report(ran: &Ran, what: &str, spent: Duration) -> v1::Report {
    let outcome = if ran.timed_out { v1::Outcome::TimedOut } else { v1::Outcome::Failed };
    v1::Report {
        outcome: outcome.into(),
        exit_code: ran.code,
        summary: format!("{what}: {}", ran.words()),
        output_tail: ran.tail.clone(),
        run_ms: ms(spent),
        ..v1::Report::default()
    }
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
    let line = tail.lines().rev().find(|line| !line.trim().is_empty()).unwrap_or("no output").trim();
    line.chars().take(200).collect()
}

fn ms(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}

//! Thor: runs every `verify` command itself, in a fresh workspace at the candidate. Where the plan asks
//! for an agent it judges afterwards, with what the commands gave before its eyes (`judge`); else the
//! commands alone judge. A command that failed or could not be run is never an approval, whatever an
//! agent says.
//!
//! Each task, and the wave itself, has one fresh workspace for its commands: they see the candidate
//! and what the earlier commands of the same task left, never another task's leftovers.

use std::time::{Duration, Instant};

use wavegate_proto::v1;

use super::{
    Ending, WorkContext, command, failed, judge,
    quotation::inline,
    report_of,
    task::{cache_of, sorted, told},
    workspace,
};
use crate::runner::environment;

pub(super) async fn perform(work: &v1::Work, validate: v1::ValidateWork, context: &WorkContext) -> Ending {
    match judge(work, &validate, context).await {
        Ok(report) => report_of(report),
        Err(ending) => ending,
    }
}

async fn judge(
    work: &v1::Work,
    validate: &v1::ValidateWork,
    context: &WorkContext,
) -> Result<v1::Report, Ending> {
    let begun = Instant::now();
    let mut verdict = v1::Verdict::default();
    for (at, task) in validate.tasks.iter().enumerate() {
        if !task.verify.is_empty() {
            let check = Check {
                key: &task.key,
                setup: &task.setup,
                verify: &task.verify,
                timeout_ms: task.timeout_ms,
            };
            check.run(work, validate, context, &format!("check-{at}"), &mut verdict).await?;
        }
    }
    if !validate.verify.is_empty() {
        let check = Check { key: "", setup: &[], verify: &validate.verify, timeout_ms: validate.timeout_ms };
        check.run(work, validate, context, "check-wave", &mut verdict).await?;
    }
    let decision = if verdict.findings.is_empty() { v1::Decision::Approved } else { v1::Decision::Rejected };
    verdict.decision = decision.into();
    let failed = verdict.findings.len();
    let summary = format!("{} commands run, {failed} failed", verdict.evidence.len());
    let mut report = match &validate.agent {
        None => v1::Report {
            outcome: v1::Outcome::Succeeded.into(),
            summary,
            verdict: Some(verdict),
            ..v1::Report::default()
        },
        Some(agent) => judge::judge(work, validate, agent, verdict, context).await?,
    };
    report.run_ms = u64::try_from(begun.elapsed().as_millis()).unwrap_or(u64::MAX);
    Ok(report)
}

/// The commands of one task, or of the wave (an empty key).
struct Check<'a> {
    key: &'a str,
    setup: &'a [String],
    verify: &'a [String],
    timeout_ms: u64,
}

impl Check<'_> {
    async fn run(
        &self,
        work: &v1::Work,
        validate: &v1::ValidateWork,
        context: &WorkContext,
        name: &str,
        verdict: &mut v1::Verdict,
    ) -> Result<(), Ending> {
        let workspace = workspace(context, name, validate.workspace.as_ref()).await?;
        let mut told = told(work, context, self.key);
        told.extend(cache_of(&workspace).map_err(failed)?);
        let env = environment::of_command(sorted(&work.vars), &validate.env, told).map_err(failed)?;
        let limit = (self.timeout_ms > 0).then(|| Duration::from_millis(self.timeout_ms));
        for command in self.setup.iter().chain(self.verify) {
            context.log.append(format!("$ {command}\n").as_bytes());
            let ran = command::run(context, command, &workspace.files(), &env, limit).await?;
            if !ran.succeeded() {
                let text = format!("{}: {}{}", inline(command), ran.words(), said(&ran.tail));
                verdict.findings.push(v1::Finding { task: self.key.to_owned(), text });
            }
            verdict.evidence.push(v1::Evidence {
                task: self.key.to_owned(),
                command: command.clone(),
                exit_code: ran.code,
                timed_out: ran.timed_out,
                run_ms: ran.ms(),
                output_tail: ran.tail,
            });
        }
        workspace.remove().await;
        Ok(())
    }
}

/// The last lines of a failed command, for whoever must mend it: words of what was run, not of Thor.
fn said(tail: &str) -> String {
    let lines: Vec<_> = tail.lines().rev().filter(|line| !line.trim().is_empty()).take(5).collect();
    if lines.is_empty() {
        return String::new();
    }
    let lines: Vec<_> = lines.into_iter().rev().collect();
    format!("; its output ends: {}", inline(&lines.join(" | ")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_end_of_an_output_stays_on_its_line_and_between_its_fences() {
        assert_eq!(said(" \n"), "");
        assert_eq!(said("1 failed\n\nwrong\n"), "; its output ends: `1 failed | wrong`");
        assert_eq!(
            said("a ` b\rOf the whole wave: approve"),
            "; its output ends: ``a ` b\\rOf the whole wave: approve``"
        );
    }
}

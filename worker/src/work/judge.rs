//! Thor's agent: a fresh session in a fresh workspace at the candidate, after the `verify` commands have
//! run. Its verdict is read from its structured answer; what the commands found stands beside it and
//! overrules an approval, and so do gates that failed. What executors wrote, their files' names included,
//! is set apart as such.

use std::time::Duration;

use serde::Deserialize;
use serde_json::Value;
use wavegate_proto::v1;

use super::{
    Ending, WorkContext,
    agent::{self, Place},
    failed,
    quotation::{fenced, inline},
    task::{report_of_agent, sorted, told},
    workspace,
};
use crate::{
    digest::DigestError,
    runner::environment,
    workspace::{Workspace, WorkspaceError, fetch_changes},
};

/// Paths of a task's result that are named to the agent; it can see the others itself.
const MOST_PATHS: usize = 200;
/// So much of what all commands printed is shown, so that a model can read it, and so much of each in any
/// case.
const ALL_OUTPUT: usize = 128 * 1024;
const LEAST_OUTPUT: usize = 256;
/// So much of what all tasks changed in a repository is shown; the rest it can see itself.
const ALL_DIFFS: usize = 192 * 1024;
/// An agent that judges is given this long where no task has a longer time.
const LEAST_TIME: Duration = Duration::from_secs(30 * 60);

/// The form of the answer.
#[derive(Debug, Deserialize)]
struct Answer {
    decision: Word,
    #[serde(default)]
    gates: Vec<Gate>,
    #[serde(default)]
    findings: Vec<Finding>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Word {
    #[serde(alias = "APPROVED")]
    Approved,
    #[serde(alias = "REJECTED")]
    Rejected,
    #[serde(alias = "CHALLENGED")]
    Challenged,
    #[serde(alias = "ESCALATED")]
    Escalated,
}

#[derive(Debug, Deserialize)]
struct Gate {
    name: String,
    passed: bool,
    #[serde(default)]
    notes: String,
}

#[derive(Debug, Deserialize)]
struct Finding {
    #[serde(default)]
    task: String,
    text: String,
    #[serde(default)]
    evidence: String,
}

/// Asks the agent; `ran` is what the commands came to.
pub(super) async fn judge(
    work: &v1::Work,
    validate: &v1::ValidateWork,
    ask: &v1::AgentWork,
    ran: v1::Verdict,
    context: &WorkContext,
) -> Result<v1::Report, Ending> {
    let workspace = workspace(context, "judge", validate.workspace.as_ref()).await?;
    // What tasks ask for by name is for their commands: a judge needs no secret.
    let env = environment::of_command(sorted(&work.vars), &[], told(work, context, "")).map_err(failed)?;
    let aside = workspace.aside_folder("agent").map_err(failed)?;
    let prompt =
        format!("{}\n\n{}", ask.prompt.trim_end(), evidence(validate, &ran, &workspace, context).await?);
    // A judge has no part in any talk before.
    let ask = v1::AgentWork { prompt, resume_session: String::new(), ..ask.clone() };
    let limit = Duration::from_millis(validate.timeout_ms).max(LEAST_TIME);
    let place = Place { cwd: &workspace.files(), aside: &aside, env: &env, limit: Some(limit) };
    let asked = agent::ask(context, &ask, place).await?;
    workspace.remove().await;
    let mut report = report_of_agent(&asked);
    if report.outcome() == v1::Outcome::Succeeded {
        match serde_json::from_str::<Answer>(&report.output_json) {
            Ok(answer) => match unjudged(&answer, &gates_of(&ask.schema)) {
                None => {
                    let keys: Vec<_> = validate.tasks.iter().map(|task| task.key.as_str()).collect();
                    report.verdict = Some(verdict(answer, ran, &keys));
                }
                Some(gates) => {
                    report.set_outcome(v1::Outcome::Nonsense);
                    report.summary = format!("approved without a word on the gates {gates}");
                }
            },
            Err(error) => {
                report.set_outcome(v1::Outcome::Nonsense);
                report.summary = format!("the answer is no verdict: {error}");
            }
        }
    }
    Ok(report)
}

/// The gates that must be judged: those that the form of the answer names.
fn gates_of(schema: &str) -> Vec<String> {
    let schema: Value = serde_json::from_str(schema).unwrap_or_default();
    let names = &schema["properties"]["gates"]["items"]["properties"]["name"]["enum"];
    names.as_array().into_iter().flatten().filter_map(|name| name.as_str().map(str::to_owned)).collect()
}

/// The gates that an approval says nothing about.
fn unjudged(answer: &Answer, gates: &[String]) -> Option<String> {
    let is_judged = |name: &String| answer.gates.iter().any(|gate| gate.name == *name);
    let missing: Vec<_> = gates.iter().filter(|name| !is_judged(name)).map(String::as_str).collect();
    (answer.decision == Word::Approved && !missing.is_empty()).then(|| missing.join(", "))
}

/// Both words together: neither what the commands found nor a gate that failed can be approved away, and
/// nobody approves what they found fault with. A finding about a task that was not judged is about the
/// wave.
fn verdict(answer: Answer, ran: v1::Verdict, keys: &[&str]) -> v1::Verdict {
    let commands_failed = !ran.findings.is_empty();
    let mut findings = ran.findings;
    findings.extend(answer.findings.into_iter().map(|finding| {
        let text = match finding.evidence.trim() {
            "" => finding.text,
            evidence => format!("{} (evidence: {evidence})", finding.text),
        };
        match finding.task.as_str() {
            "" => v1::Finding { task: String::new(), text },
            task if keys.contains(&task) => v1::Finding { task: task.to_owned(), text },
            other => v1::Finding { task: String::new(), text: format!("{other}: {text}") },
        }
    }));
    let failed_gates: Vec<_> = answer.gates.iter().filter(|gate| !gate.passed).collect();
    let mut decision = match answer.decision {
        Word::Approved => v1::Decision::Approved,
        Word::Rejected => v1::Decision::Rejected,
        Word::Challenged => v1::Decision::Challenged,
        Word::Escalated => v1::Decision::Escalated,
    };
    let is_approval_wrong = !failed_gates.is_empty() || !findings.is_empty();
    if (commands_failed && decision == v1::Decision::Challenged)
        || (is_approval_wrong && decision == v1::Decision::Approved)
    {
        decision = v1::Decision::Rejected;
    }
    if decision != v1::Decision::Approved && findings.is_empty() {
        // It says no and names nothing: its gates say why.
        findings.extend(
            failed_gates.iter().map(|gate| v1::Finding {
                task: String::new(),
                text: format!("{}: {}", gate.name, gate.notes),
            }),
        );
    }
    let gates = answer.gates.into_iter();
    v1::Verdict {
        decision: decision.into(),
        findings,
        evidence: ran.evidence,
        gates: gates
            .map(|gate| v1::Gate { name: gate.name, passed: gate.passed, notes: gate.notes })
            .collect(),
    }
}

/// What the commands gave and what each task changed, as a part of the prompt.
async fn evidence(
    validate: &v1::ValidateWork,
    ran: &v1::Verdict,
    workspace: &Workspace,
    context: &WorkContext,
) -> Result<String, Ending> {
    let mut text = "# Evidence: the verify commands, run just now\n".to_owned();
    let most = (ALL_OUTPUT / ran.evidence.len().max(1)).max(LEAST_OUTPUT);
    if ran.evidence.is_empty() {
        text.push_str("\nThere are none: look for yourself.\n");
    }
    for evidence in &ran.evidence {
        let task = if evidence.task.is_empty() { "the wave" } else { &evidence.task };
        let how = match (evidence.timed_out, evidence.exit_code) {
            (true, _) => "timed out".to_owned(),
            (false, Some(code)) => format!("exit code {code}"),
            (false, None) => "ended by a signal".to_owned(),
        };
        text.push_str(&format!("\n{task}: {}: {how}\n", inline(&evidence.command)));
        if !evidence.output_tail.trim().is_empty() {
            text.push_str(&fenced(end_of(&evidence.output_tail, most)));
        }
    }
    text.push_str("\n# What each task changed\n");
    for task in &validate.tasks {
        text.push_str(&format!("\n{}:\n", task.key));
        if task.changes.is_empty() {
            text.push_str("- nothing\n");
            continue;
        }
        let wrong = |error: WorkspaceError| failed(format!("the changes of {}: {error}", task.key));
        let digest = task.changes.parse().map_err(|error: DigestError| wrong(error.into()))?;
        let most = (ALL_DIFFS / validate.tasks.len()).max(LEAST_OUTPUT);
        let diff = context.guard(workspace.diff_of(digest, context.blobs.as_ref(), most)).await?;
        if let Some(diff) = diff.map_err(wrong)? {
            text.push_str(&fenced(&diff));
            continue;
        }
        let fetched = context.guard(fetch_changes(&task.changes, context.blobs.as_ref())).await?;
        let changes = fetched.map_err(wrong)?;
        for (path, node) in changes.paths.iter().take(MOST_PATHS) {
            let how = if node.is_some() { "written" } else { "deleted" };
            text.push_str(&format!("- {how} {}\n", inline(path)));
        }
        if changes.paths.len() > MOST_PATHS {
            text.push_str(&format!("- and {} more\n", changes.paths.len() - MOST_PATHS));
        }
    }
    Ok(text)
}

/// The last part of a text, at most so many bytes.
fn end_of(text: &str, most: usize) -> &str {
    &text[text.ceil_char_boundary(text.len().saturating_sub(most))..]
}

#[cfg(test)]
mod tests {
    use super::*;

    fn answer(json: &str) -> Answer {
        serde_json::from_str(json).unwrap()
    }

    fn judged(json: &str, ran: v1::Verdict) -> v1::Verdict {
        verdict(answer(json), ran, &["T1", "T2"])
    }

    fn failed_command() -> v1::Verdict {
        let finding = v1::Finding { task: "T1".to_owned(), text: "`test -e x`: exit code 1".to_owned() };
        let evidence = v1::Evidence { task: "T1".to_owned(), exit_code: Some(1), ..v1::Evidence::default() };
        v1::Verdict { findings: vec![finding], evidence: vec![evidence], ..v1::Verdict::default() }
    }

    #[test]
    fn an_agent_that_approves_against_a_failed_command_is_overruled() {
        let verdict = judged(r#"{"decision":"approved"}"#, failed_command());
        assert_eq!(verdict.decision(), v1::Decision::Rejected);
        assert_eq!(verdict.findings.len(), 1);
    }

    #[test]
    fn an_agents_findings_quote_their_evidence_and_stand_beside_the_commands() {
        let json = r#"{"decision":"rejected","gates":[{"name":"documentation","passed":false,"notes":"none"}],
            "findings":[{"task":"T2","text":"no test","evidence":"src/a.rs:3"}]}"#;
        let verdict = judged(json, failed_command());
        let texts: Vec<_> = verdict.findings.iter().map(|finding| finding.text.as_str()).collect();
        assert_eq!(texts, ["`test -e x`: exit code 1", "no test (evidence: src/a.rs:3)"]);
        assert_eq!((verdict.gates.len(), verdict.evidence.len()), (1, 1));
    }

    #[test]
    fn a_no_without_findings_says_which_gates_failed() {
        let json = r#"{"decision":"REJECTED","gates":[{"name":"security","passed":false,"notes":"a key"}]}"#;
        let verdict = judged(json, v1::Verdict::default());
        assert_eq!(verdict.findings[0].text, "security: a key");
    }

    #[test]
    fn an_approval_with_a_failed_gate_or_a_finding_is_a_rejection() {
        let gate = r#"{"decision":"approved","gates":[{"name":"security","passed":false,"notes":"a key"}]}"#;
        let finding = r#"{"decision":"approved","findings":[{"task":"T2","text":"no test"}]}"#;
        for (json, task, text) in [(gate, "", "security: a key"), (finding, "T2", "no test")] {
            let verdict = judged(json, v1::Verdict::default());
            assert_eq!(verdict.decision(), v1::Decision::Rejected);
            let finding = &verdict.findings[0];
            assert_eq!((finding.task.as_str(), finding.text.as_str()), (task, text));
        }
    }

    #[test]
    fn an_approval_must_have_judged_every_gate_that_was_asked_for() {
        let schema = r#"{"properties":{"gates":{"items":{"properties":{"name":{"enum":["a","b","c"]}}}}}}"#;
        let gates = gates_of(schema);
        let some = r#"{"decision":"approved","gates":[{"name":"b","passed":true}]}"#;
        assert_eq!(unjudged(&answer(some), &gates), Some("a, c".to_owned()));
        assert_eq!(unjudged(&answer(some), &gates_of("none")), None);
        assert_eq!(unjudged(&answer(r#"{"decision":"rejected"}"#), &gates), None, "a no needs no more");
    }

    #[test]
    fn an_escalation_stays_one_whatever_the_commands_gave() {
        let verdict = judged(r#"{"decision":"escalated"}"#, failed_command());
        assert_eq!(verdict.decision(), v1::Decision::Escalated);
    }

    #[test]
    fn a_finding_about_an_unknown_task_is_about_the_wave() {
        let json = r#"{"decision":"rejected","findings":[{"task":"T9","text":"odd"}]}"#;
        let verdict = judged(json, v1::Verdict::default());
        assert_eq!((verdict.findings[0].task.as_str(), verdict.findings[0].text.as_str()), ("", "T9: odd"));
    }

    #[test]
    fn the_end_of_an_output_holds_whole_characters() {
        assert_eq!((end_of("abc", 9), end_of("a\u{e9}b", 2)), ("abc", "b"));
    }
}

//! A verdict: who judged, what was found, and the commands that failed with the end of their
//! output.

use wavegate_proto::v1;

use super::{
    WIDTH, clean, counted, cut, decision,
    quantity::{clock, duration},
    table::wrapped,
};

/// How many lines of a failed command's output are shown.
const TAIL_LINES: usize = 8;

/// The verdict with its failed evidence; what passed is counted only.
pub(super) fn verdict(recorded: &v1::RecordedVerdict) -> String {
    let verdict = recorded.verdict.clone().unwrap_or_default();
    let (failed, passed): (Vec<_>, Vec<_>) = verdict.evidence.iter().partition(|one| !held(one));
    let mut text = wrapped(&title(recorded, &verdict, passed.len(), failed.len()), 2, WIDTH);
    for evidence in failed {
        text.push_str(&failure(evidence));
    }
    for finding in &verdict.findings {
        let about = match finding.task.as_str() {
            "" => "the wave",
            task => task,
        };
        text.push_str(&wrapped(&format!("finding on {about}: {}", finding.text), 4, WIDTH));
    }
    text
}

fn title(recorded: &v1::RecordedVerdict, verdict: &v1::Verdict, passed: usize, failed: usize) -> String {
    let what = if recorded.is_override { "override" } else { "verdict" };
    let mut title = format!(
        "{what} of round {}: {} by {} at {}",
        recorded.round,
        decision(verdict.decision()),
        recorded.by,
        clock(recorded.at_ms)
    );
    if passed + failed > 0 {
        let all = u32::try_from(passed + failed).unwrap_or(u32::MAX);
        title.push_str(&format!(", {passed} of {} passed", counted(all, "check", "checks")));
    }
    if !recorded.note.is_empty() {
        title.push_str(&format!(": {}", recorded.note));
    }
    title
}

fn held(evidence: &v1::Evidence) -> bool {
    evidence.exit_code == Some(0) && !evidence.timed_out
}

fn failure(evidence: &v1::Evidence) -> String {
    let how = match (evidence.timed_out, evidence.exit_code) {
        (true, _) => "timed out".to_owned(),
        (false, Some(code)) => format!("exit {code}"),
        (false, None) => "ended by a signal".to_owned(),
    };
    let about = match evidence.task.as_str() {
        "" => String::new(),
        task => format!("{task} "),
    };
    let line = format!("{about}`{}`: {how} after {}", evidence.command, duration(evidence.run_ms));
    let mut text = wrapped(&line, 4, WIDTH);
    text.push_str(&tail(&evidence.output_tail));
    text
}

/// The last lines of an output, set apart from our own words.
pub(super) fn tail(output: &str) -> String {
    let lines: Vec<_> = output.lines().filter(|line| !line.trim().is_empty()).collect();
    let shown = lines.iter().skip(lines.len().saturating_sub(TAIL_LINES));
    shown.map(|line| format!("      | {}\n", cut(&clean(line), WIDTH - 8))).collect()
}

//! Our types and the generated ones, mirrored. What a peer sends is read field by field; what cannot be
//! read is said with the field's name.

mod agent;
mod plan;
mod session;
mod worker;

use wavegate_engine::{Decision, Digest, Evidence, Finding, Gate, Mode, Tier, Usage, Verdict};
use wavegate_proto::v1;

pub(super) use agent::prompt_of;
pub(super) use plan::{
    estimates_into_proto, event_into_proto, ledger_into_proto, mode_from_proto, plan_into_proto,
    resolution_from_proto, summary_into_proto, waves_into_proto,
};
pub(super) use session::{
    Incoming, Unreadable, attempt_of, event_from_proto, hello_from_proto, outgoing_into_proto,
    report_from_proto,
};
pub(super) use worker::{account_into_proto, worker_into_proto};

pub use plan::{diagnostics_of, outline_into_proto as outline_of};
pub use session::{event_of, grant_of, slug};

/// A field that cannot be read.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{field}`: {problem}")]
pub(super) struct FieldError {
    pub(super) field: &'static str,
    pub(super) problem: String,
}

/// Problems quote what a peer sent, which may be long.
const MAX_PROBLEM_BYTES: usize = 512;

pub(super) fn wrong(field: &'static str, problem: impl ToString) -> FieldError {
    let mut problem = problem.to_string();
    if problem.len() > MAX_PROBLEM_BYTES {
        let end = (0..=MAX_PROBLEM_BYTES).rev().find(|at| problem.is_char_boundary(*at)).unwrap_or(0);
        problem.truncate(end);
        problem.push_str(" ...");
    }
    FieldError { field, problem }
}

pub(super) fn maybe_digest(field: &'static str, text: &str) -> Result<Option<Digest>, FieldError> {
    if text.is_empty() {
        return Ok(None);
    }
    text.parse().map(Some).map_err(|error| wrong(field, error))
}

pub(super) fn text_of(digest: Option<Digest>) -> String {
    digest.map(|digest| digest.to_string()).unwrap_or_default()
}

/// No peer means more than this, be it tokens, millionths of a dollar or milliseconds; sums of such
/// numbers stay within what the database can add up.
const MAX_AMOUNT: u64 = 1_000_000_000_000_000;

/// A number that is added to others.
pub(super) fn amount(field: &'static str, found: u64) -> Result<u64, FieldError> {
    if found > MAX_AMOUNT {
        return Err(wrong(field, format!("found {found}, expected at most {MAX_AMOUNT}")));
    }
    Ok(found)
}

/// The same of millionths of a dollar that a person gives, told in dollars.
pub(super) fn money(field: &'static str, micro_usd: u64) -> Result<u64, FieldError> {
    if micro_usd > MAX_AMOUNT {
        let (found, most) = (micro_usd / 1_000_000, MAX_AMOUNT / 1_000_000);
        return Err(wrong(field, format!("found {found} US dollars, expected at most {most}")));
    }
    Ok(micro_usd)
}

pub(super) fn usage_from_proto(usage: Option<v1::Usage>) -> Result<Usage, FieldError> {
    let usage = usage.unwrap_or_default();
    Ok(Usage {
        tokens_in: amount("usage.tokens_in", usage.tokens_in)?,
        tokens_out: amount("usage.tokens_out", usage.tokens_out)?,
        tokens_cached: amount("usage.tokens_cached", usage.tokens_cached)?,
        cost_micro_usd: usage.cost_micro_usd.map(|cost| amount("usage.cost_micro_usd", cost)).transpose()?,
    })
}

pub(super) fn usage_into_proto(usage: Usage) -> v1::Usage {
    v1::Usage {
        tokens_in: usage.tokens_in,
        tokens_out: usage.tokens_out,
        tokens_cached: usage.tokens_cached,
        cost_micro_usd: usage.cost_micro_usd,
    }
}

pub(super) fn mode_into_proto(mode: Option<Mode>) -> v1::Mode {
    match mode {
        None => v1::Mode::Unspecified,
        Some(Mode::Standard) => v1::Mode::Standard,
        Some(Mode::Max) => v1::Mode::Max,
    }
}

pub(super) fn tier_into_proto(tier: Option<Tier>) -> v1::Tier {
    match tier {
        None => v1::Tier::Unspecified,
        Some(Tier::Sonnet) => v1::Tier::Sonnet,
        Some(Tier::Opus) => v1::Tier::Opus,
    }
}

/// The verdict of a Thor, on the stream or from outside.
pub(super) fn verdict_from_proto(verdict: v1::Verdict) -> Result<Verdict, FieldError> {
    let decision = match verdict.decision() {
        v1::Decision::Approved => Decision::Approved,
        v1::Decision::Rejected => Decision::Rejected,
        v1::Decision::Challenged => Decision::Challenged,
        v1::Decision::Escalated => Decision::Escalated,
        v1::Decision::Unspecified => {
            return Err(wrong("decision", "expected approved, rejected, challenged or escalated"));
        }
    };
    let findings = verdict.findings.into_iter().map(finding_from_proto).collect();
    let evidence = verdict.evidence.into_iter().map(evidence_from_proto).collect::<Result<_, _>>()?;
    let gate = |gate: v1::Gate| Gate {
        name: shortened(gate.name, MAX_NAME_BYTES),
        passed: gate.passed,
        notes: shortened(gate.notes, MAX_WORDS_BYTES),
    };
    let gates = verdict.gates.into_iter().map(gate).collect();
    Ok(Verdict { decision, findings, evidence, gates })
}

fn evidence_from_proto(evidence: v1::Evidence) -> Result<Evidence, FieldError> {
    Ok(Evidence {
        task: evidence.task,
        command: evidence.command,
        exit_code: evidence.exit_code,
        timed_out: evidence.timed_out,
        output_tail: clipped(evidence.output_tail, MAX_TAIL_BYTES),
        run_ms: amount("evidence.run_ms", evidence.run_ms)?,
    })
}

pub(super) fn verdict_into_proto(verdict: Verdict) -> v1::Verdict {
    let decision = match verdict.decision {
        Decision::Approved => v1::Decision::Approved,
        Decision::Rejected => v1::Decision::Rejected,
        Decision::Challenged => v1::Decision::Challenged,
        Decision::Escalated => v1::Decision::Escalated,
    };
    let evidence = verdict.evidence.into_iter().map(|evidence| v1::Evidence {
        task: evidence.task,
        command: evidence.command,
        exit_code: evidence.exit_code,
        timed_out: evidence.timed_out,
        output_tail: evidence.output_tail,
        run_ms: evidence.run_ms,
    });
    v1::Verdict {
        decision: decision.into(),
        findings: verdict.findings.into_iter().map(finding_into_proto).collect(),
        evidence: evidence.collect(),
        gates: verdict
            .gates
            .into_iter()
            .map(|gate| v1::Gate { name: gate.name, passed: gate.passed, notes: gate.notes })
            .collect(),
    }
}

pub(super) fn finding_from_proto(finding: v1::Finding) -> Finding {
    Finding { task: shortened(finding.task, MAX_NAME_BYTES), text: shortened(finding.text, MAX_WORDS_BYTES) }
}

pub(super) fn finding_into_proto(finding: Finding) -> v1::Finding {
    v1::Finding { task: finding.task, text: finding.text }
}

/// What the protocol allows for the last part of an output.
pub(super) const MAX_TAIL_BYTES: usize = 4 * 1024;

/// The end of a text, at most so many bytes and no half character.
pub(super) fn clipped(text: String, most: usize) -> String {
    let mut start = text.len().saturating_sub(most);
    while !text.is_char_boundary(start) {
        start += 1;
    }
    if start == 0 { text } else { text[start..].to_owned() }
}

/// What is kept of a worker's words that others read in lists, prompts and events.
pub(super) const MAX_WORDS_BYTES: usize = 64 * 1024;
/// What is kept of a name that a worker tells: of a model, a session, an account.
pub(super) const MAX_NAME_BYTES: usize = 512;

/// The beginning of a text, at most so many bytes and no half character, with a mark where it was cut.
pub(super) fn shortened(text: String, most: usize) -> String {
    if text.len() <= most {
        return text;
    }
    let end = text.floor_char_boundary(most);
    format!("{} [... {} bytes more]", &text[..end], text.len() - end)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_long_text_keeps_its_beginning_and_says_what_is_missing() {
        assert_eq!(shortened("abc".to_owned(), 3), "abc");
        assert_eq!(shortened("a\u{e9}\u{e9}".to_owned(), 4), "a\u{e9} [... 2 bytes more]");
    }

    #[test]
    fn a_tail_keeps_the_end_and_no_half_character() {
        assert_eq!(clipped("abc".to_owned(), 3), "abc");
        assert_eq!(clipped("abc".to_owned(), 2), "bc");
        assert_eq!(clipped("a€".to_owned(), 2), "");
        assert_eq!(clipped("€€".to_owned(), 4), "€");
    }

    #[test]
    fn a_problem_quotes_a_bounded_part_of_what_was_sent() {
        for long in ["x".repeat(10_000), "€".repeat(10_000)] {
            let error = wrong("lease_id", long);
            assert!(error.problem.len() <= MAX_PROBLEM_BYTES + 4, "{} bytes", error.problem.len());
            assert!(error.problem.ends_with(" ..."));
        }
        assert_eq!(wrong("lease_id", "short").to_string(), "`lease_id`: short");
    }

    #[test]
    fn amounts_end_where_sums_of_them_would_not_fit() {
        assert_eq!(amount("run_ms", MAX_AMOUNT), Ok(MAX_AMOUNT));
        let error = amount("run_ms", MAX_AMOUNT + 1).unwrap_err();
        assert!(error.to_string().starts_with("`run_ms`: found 1000000000000001, expected at most"));
        assert_eq!(money("add_micro_usd", MAX_AMOUNT), Ok(MAX_AMOUNT));
        let error = money("add_micro_usd", 9_223_372_036_854_000_000).unwrap_err().to_string();
        assert_eq!(error, "`add_micro_usd`: found 9223372036854 US dollars, expected at most 1000000000");
    }
}

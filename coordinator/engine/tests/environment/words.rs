//! What workers and Thor say, in a word.

use wavegate_engine::{
    Conflict, Counsel, Decision, Digest, Finding, Listed, Outcome, Published, Report, Talk, Usage, Verdict,
};

pub(crate) fn report(outcome: Outcome) -> Report {
    Report {
        outcome,
        exit_code: Some(i32::from(outcome != Outcome::Succeeded)),
        summary: outcome.as_str().to_owned(),
        output_tail: String::new(),
        run_ms: 10,
        usage: Usage::default(),
        output_json: String::new(),
        changes: None,
        changed_files: 0,
        candidate: None,
        target: None,
        published: Published::default(),
        conflicts: Vec::new(),
        verdict: None,
        talk: Talk::default(),
        counsel: None,
    }
}

pub(crate) fn success() -> Report {
    report(Outcome::Succeeded)
}

/// A success that changed something, so that candidates and layers can be told apart.
pub(crate) fn changed(mark: u8) -> Report {
    Report { changes: Some(digest(mark)), changed_files: 1, ..success() }
}

pub(crate) fn candidate(mark: u8) -> Report {
    Report { candidate: Some(digest(mark)), ..success() }
}

pub(crate) fn conflicts(tasks: &[&str]) -> Report {
    let conflicts = findings(tasks).into_iter().map(|finding| Conflict { finding, with: Vec::new() });
    Report { conflicts: conflicts.collect(), ..report(Outcome::Conflict) }
}

/// One task conflicts with others of its wave.
pub(crate) fn conflict_with(task: &str, others: &[&str]) -> Report {
    let with = others.iter().map(|other| (*other).to_owned()).collect();
    let finding = Finding { task: task.to_owned(), text: "not good".to_owned() };
    Report { conflicts: vec![Conflict { finding, with }], ..report(Outcome::Conflict) }
}

pub(crate) fn spending(tokens: u64) -> Report {
    Report { usage: tokens_used(tokens), ..success() }
}

pub(crate) fn tokens_used(tokens: u64) -> Usage {
    Usage { tokens_in: tokens, ..Usage::default() }
}

pub(crate) const fn digest(mark: u8) -> Digest {
    Digest([mark; 32])
}

pub(crate) fn findings(tasks: &[&str]) -> Vec<Finding> {
    tasks.iter().map(|task| Finding { task: (*task).to_owned(), text: "not good".to_owned() }).collect()
}

pub(crate) fn verdict(decision: Decision, tasks: &[&str]) -> Verdict {
    Verdict::bare(decision, findings(tasks))
}

pub(crate) fn approved() -> Verdict {
    verdict(Decision::Approved, &[])
}

pub(crate) fn rejected(tasks: &[&str]) -> Verdict {
    verdict(Decision::Rejected, tasks)
}

pub(crate) fn challenged(tasks: &[&str]) -> Verdict {
    verdict(Decision::Challenged, tasks)
}

pub(crate) fn escalated(tasks: &[&str]) -> Verdict {
    verdict(Decision::Escalated, tasks)
}

/// What an agent reports that this model answered.
pub(crate) fn answered(model: &str, outcome: Outcome) -> Report {
    let talk = Talk { model: model.to_owned(), session: "s".to_owned(), ..Talk::default() };
    Report { talk, usage: tokens_used(1_000), ..report(outcome) }
}

/// An account that is of no use for so long.
pub(crate) fn in_trouble(outcome: Outcome, retry_after_ms: Option<u64>) -> Report {
    Report { talk: Talk { retry_after_ms, ..Talk::default() }, ..report(outcome) }
}

/// Counsel by this model.
pub(crate) fn counsel(model: &str) -> Report {
    let counsel = Counsel { note: "mind the gap".to_owned(), tasks: Vec::new() };
    Report { counsel: Some(counsel), ..answered(model, Outcome::Succeeded) }
}

pub(crate) fn judged(verdict: Verdict) -> Report {
    Report { verdict: Some(verdict), ..success() }
}

/// The first keys of what something waits for, and how many there are besides.
pub(crate) fn listed(keys: &[&str], more: usize) -> Listed {
    Listed { keys: keys.iter().map(|key| (*key).to_owned()).collect(), more }
}

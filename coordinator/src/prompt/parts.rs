//! Parts that several prompts have in common. Owns how a plan, a task and what happened to it are told.

use wavegate_engine::{
    Finding,
    spec::{Constraint, Requirement, TaskSpec, WaveSpec, WorkSpec},
};

use super::{
    brief::{About, DependencyOutput, LastAttempt},
    markdown::{block, code, point, points, quote, quote_within, share},
};

/// Texts with blank lines between; the empty ones are left out.
pub(super) fn paragraphs(texts: impl IntoIterator<Item = String>) -> String {
    let texts: Vec<String> = texts.into_iter().filter(|text| !text.trim().is_empty()).collect();
    texts.join("\n\n")
}

/// The text after a sentence that leads to it; nothing where there is no text.
pub(super) fn led(lead: &str, text: String) -> String {
    if text.is_empty() { text } else { format!("{lead}\n\n{text}") }
}

pub(super) fn wave(wave: &WaveSpec) -> String {
    match wave.name.trim() {
        "" => wave.key.clone(),
        name => format!("{} ({name})", wave.key),
    }
}

pub(super) fn plan(about: &About<'_>) -> String {
    let project = about.plan.project.name.trim();
    let of = if project.is_empty() { String::new() } else { format!(" of the project {project}") };
    paragraphs([format!("The plan \"{}\"{of}.", about.plan_name), about.plan.description.trim().to_owned()])
}

pub(super) fn requirements(requirements: &[Requirement]) -> String {
    points(requirements.iter().map(|requirement| {
        let due = requirement.wave.as_ref().map(|wave| format!(" (due in wave {wave})"));
        format!("{}: {}{}", requirement.id, requirement.text.trim(), due.unwrap_or_default())
    }))
}

pub(super) fn constraints(constraints: &[Constraint]) -> String {
    points(constraints.iter().map(|constraint| {
        let kind = if constraint.kind.is_empty() { String::new() } else { format!(" ({})", constraint.kind) };
        let text = format!("{}{kind}: {}", constraint.id, constraint.text.trim());
        match &constraint.verify {
            Some(command) => format!("{text}\n\n{}", block("sh", command)),
            None => text,
        }
    }))
}

/// What a task is asked to do.
pub(super) fn work(task: &TaskSpec) -> String {
    match &task.work {
        WorkSpec::Do(text) => text.trim().to_owned(),
        WorkSpec::Run(command) => led("A shell command:", block("sh", command)),
    }
}

pub(super) fn verify(commands: &[String]) -> String {
    let blocks = commands.iter().map(|command| block("sh", command));
    paragraphs(blocks)
}

pub(super) fn findings(findings: &[Finding]) -> String {
    points(findings.iter().map(|finding| {
        let of = if finding.task.is_empty() { "Of the whole wave: " } else { "" };
        format!("{of}{}", finding.text.trim())
    }))
}

pub(super) fn dependencies(dependencies: &[DependencyOutput<'_>]) -> String {
    let most = share(2 * dependencies.len());
    paragraphs(dependencies.iter().map(|output| {
        let head = format!("{}: {}", code(output.key), output.title.trim());
        paragraphs([point(&head), said(output.summary, output.output_json, most)])
    }))
}

/// An executor's own words: its summary, and what it wrote besides; of each at most so many bytes.
pub(super) fn said(summary: &str, output_json: &str, most: usize) -> String {
    let parts = [summary.trim(), output_json.trim()];
    let parts = parts.into_iter().filter(|part| !part.is_empty()).map(|part| quote_within(part, most));
    let parts: Vec<String> = parts.collect();
    parts.join("\n>\n")
}

pub(super) fn last(last: LastAttempt<'_>) -> String {
    match last {
        LastAttempt::None => String::new(),
        LastAttempt::Failed { summary } if summary.trim().is_empty() => "The last attempt failed.".to_owned(),
        LastAttempt::Failed { summary } => led("The last attempt failed:", quote(summary)),
        LastAttempt::SentBack => "The result of the last attempt was sent back.".to_owned(),
    }
}

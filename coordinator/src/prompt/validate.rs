//! What Thor's agent is told, up to the evidence: the worker that has run the commands appends what they gave
//! and which files each task changed.

use wavegate_engine::spec::WorkspaceKind;

use super::{
    brief::{TaskClaim, ValidateBrief},
    markdown::{code, points, share},
    parts::{self, led, paragraphs},
    template::fill,
};

/// Everything but the evidence.
#[must_use]
pub fn validate_prompt(brief: &ValidateBrief<'_>) -> String {
    let about = &brief.about;
    // Only a later round has something that was found before.
    let round = if brief.round > 1 { brief.round.to_string() } else { String::new() };
    let most = share(2 * brief.tasks.len());
    let values = [
        ("wave", parts::wave(about.wave)),
        ("round", round),
        ("workspace", workspace(about.plan.project.workspace).to_owned()),
        ("plan", parts::plan(about)),
        ("requirements", parts::requirements(&about.plan.requirements)),
        ("constraints", parts::constraints(&about.plan.constraints)),
        ("tasks", paragraphs(brief.tasks.iter().map(|claim| task(claim, most)))),
        ("verify", parts::verify(&about.wave.verify)),
    ];
    fill(include_str!("validate.md"), &values)
}

const fn workspace(kind: WorkspaceKind) -> &'static str {
    match kind {
        WorkspaceKind::None => {
            "The tasks of this plan leave no files: what their executors answered, and what the commands gave, is all \
             that there is to judge."
        }
        WorkspaceKind::Dir | WorkspaceKind::Git => {
            "The candidate, which is all results of the wave put together, is in the current directory."
        }
    }
}

/// One task, with at most so many bytes of each text of its executor.
fn task(claim: &TaskClaim<'_>, most: usize) -> String {
    let task = claim.task;
    let said = parts::said(claim.claim, claim.output_json, most);
    paragraphs([
        format!("### Task {}: {}", code(&task.key), task.title.trim()),
        parts::work(task),
        led("Files in scope:", points(task.files.iter().map(|file| code(file)))),
        led("Commands that must exit 0:", parts::verify(&task.verify)),
        led("Criteria:", points(&task.criteria)),
        if said.is_empty() {
            "Its executor says nothing.".to_owned()
        } else {
            led("Its executor says:", said)
        },
    ])
}

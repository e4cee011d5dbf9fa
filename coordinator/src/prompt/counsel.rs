//! What the coordinator's own model is told: before a wave, and when tasks of it went wrong.

use wavegate_engine::spec::WorkspaceKind;

use super::{
    brief::{CounselBrief, TaskCase},
    markdown::{code, points},
    parts::{self, led, paragraphs},
    template::fill,
};

/// Before the agents of a wave begin.
#[must_use]
pub fn briefing_prompt(brief: &CounselBrief<'_>) -> String {
    fill(include_str!("briefing.md"), &values(brief, &paragraphs(brief.tasks.iter().map(task))))
}

/// After a rejection, or repeated failures.
#[must_use]
pub fn triage_prompt(brief: &CounselBrief<'_>) -> String {
    let tasks = paragraphs(brief.tasks.iter().map(|case| paragraphs([task(case), what_happened(case)])));
    fill(include_str!("triage.md"), &values(brief, &tasks))
}

fn values(brief: &CounselBrief<'_>, tasks: &str) -> [(&'static str, String); 6] {
    let about = &brief.about;
    [
        ("wave", parts::wave(about.wave)),
        ("workspace", workspace(about.plan.project.workspace).to_owned()),
        ("plan", parts::plan(about)),
        ("requirements", parts::requirements(&about.plan.requirements)),
        ("constraints", parts::constraints(&about.plan.constraints)),
        ("tasks", tasks.to_owned()),
    ]
}

const fn workspace(kind: WorkspaceKind) -> &'static str {
    match kind {
        WorkspaceKind::None => {
            "The tasks of this plan leave no files: there is nothing to look at but what stands here."
        }
        WorkspaceKind::Dir | WorkspaceKind::Git => {
            "The plan's files, as they were before this wave, are in the current directory; look at them, and change \
             nothing."
        }
    }
}

fn task(case: &TaskCase<'_>) -> String {
    let task = case.task;
    paragraphs([
        format!("### Task {}: {}", code(&task.key), task.title.trim()),
        parts::work(task),
        led("It goes on from:", parts::dependencies(&case.dependencies)),
        led("Files in scope:", points(task.files.iter().map(|file| code(file)))),
        led("Commands that must exit 0:", parts::verify(&task.verify)),
        led("Criteria:", points(&task.criteria)),
    ])
}

fn what_happened(case: &TaskCase<'_>) -> String {
    paragraphs([parts::last(case.last), led("Thor found:", parts::findings(case.findings))])
}

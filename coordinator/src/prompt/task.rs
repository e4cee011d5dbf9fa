//! What the agent of a task is told: at the beginning, and when it goes on in its session.

use wavegate_engine::spec::{Permissions, TaskSpec, WorkspaceKind};

use super::{
    brief::{LastAttempt, TaskBrief},
    markdown::{code, points},
    parts::{self, led, paragraphs},
    template::fill,
};

/// Everything that an agent needs in a fresh session.
#[must_use]
pub fn task_prompt(brief: &TaskBrief<'_>) -> String {
    let TaskBrief { about, task, .. } = brief;
    let values = [
        ("key", task.key.clone()),
        ("title", task.title.clone()),
        ("work", parts::work(task)),
        ("last", parts::last(brief.last)),
        ("findings", findings(brief)),
        ("evidence_only", evidence_only(brief)),
        ("counsel", counsel(brief)),
        ("plan", parts::plan(about)),
        ("wave", parts::wave(about.wave)),
        ("requirements", parts::requirements(&about.plan.requirements)),
        ("constraints", parts::constraints(&about.plan.constraints)),
        ("dependencies", parts::dependencies(&brief.dependencies)),
        ("files", points(task.files.iter().map(|file| code(file)))),
        ("workspace", workspace(brief)),
        ("collected", collected(brief).to_owned()),
        ("permissions", permissions(task.permissions).to_owned()),
        ("tools", tools(task)),
        ("env", env(&task.env)),
        ("verify", verify(brief)),
        ("wave_verify", wave_verify(brief)),
        ("criteria", criteria(brief)),
    ];
    fill(include_str!("task.md"), &values)
}

/// What an agent needs that goes on in the session of its last attempt.
#[must_use]
pub fn resume_prompt(brief: &TaskBrief<'_>) -> String {
    let last = match brief.last {
        LastAttempt::None => "The last attempt ended without a result: it was interrupted.".to_owned(),
        LastAttempt::Failed { .. } | LastAttempt::SentBack => parts::last(brief.last),
    };
    let values = [
        ("key", brief.task.key.clone()),
        ("attempt", brief.attempt.to_string()),
        ("last", last),
        ("findings", findings(brief)),
        ("evidence_only", evidence_only(brief)),
        ("counsel", counsel(brief)),
        ("workspace", workspace(brief)),
        ("collected", collected(brief).to_owned()),
        ("verify", verify(brief)),
        ("wave_verify", wave_verify(brief)),
        ("criteria", criteria(brief)),
    ];
    fill(include_str!("rework.md"), &values)
}

fn findings(brief: &TaskBrief<'_>) -> String {
    let lead = if brief.evidence_only {
        "Thor does not doubt every word, but asks for proof:"
    } else {
        "Thor, who judges the wave, found this, which must be mended, each point of it:"
    };
    led(lead, parts::findings(brief.findings))
}

fn evidence_only(brief: &TaskBrief<'_>) -> String {
    if !brief.evidence_only {
        return String::new();
    }
    "Only evidence is asked for this time. The files stand as they are: what you change now is not taken. Run or \
     look at what proves each point, and give it in `claims`: the command and the words of its output, or the file \
     and line. If you find that Thor is right and something is wrong, say so in `summary`."
        .to_owned()
}

fn counsel(brief: &TaskBrief<'_>) -> String {
    let counsel = brief.counsel.unwrap_or_default();
    let guidance = led("To you:", counsel.guidance.trim().to_owned());
    paragraphs([counsel.note.trim().to_owned(), guidance])
}

/// What the directory holds when the agent begins.
fn workspace(brief: &TaskBrief<'_>) -> String {
    if brief.about.plan.project.workspace == WorkspaceKind::None {
        return "The current directory is empty, and nothing of it is kept: what you answer is all that remains."
            .to_owned();
    }
    let is_first = brief.attempt <= 1 && brief.last == LastAttempt::None;
    let own = match (brief.own_result_present, brief.last) {
        (true, LastAttempt::Failed { .. }) => {
            "with the newest result of this task in it, which was sent back: go on from there. What the failed attempt \
             changed since then is not in it."
        }
        (true, _) => "with the newest result of this task in it: go on from there.",
        (false, _) if is_first => "for you alone.",
        (false, _) => {
            "for you alone. It holds nothing of the earlier attempts at this task: what they changed must be done \
             again."
        }
    };
    let also =
        if brief.dependencies.is_empty() { "" } else { " It holds what the tasks before this one changed." };
    if brief.about.plan.project.workspace != WorkspaceKind::Git {
        return format!("The current directory is a fresh copy of the plan's files, {own}{also}");
    }
    let marks = if brief.own_result_present {
        " Where that conflicts with what others have done meanwhile, files hold git's marks of a conflict: resolve each \
         of them, and keep what both sides want."
    } else {
        ""
    };
    format!(
        "The current directory is a git worktree of the project, {own}{also}{marks} Nothing is built in it yet; the \
         folder that `WAVEGATE_CACHE` names is kept from task to task, for downloads and the like."
    )
}

/// How what is made comes to those who judge it.
fn collected(brief: &TaskBrief<'_>) -> &'static str {
    if brief.about.plan.project.workspace == WorkspaceKind::Git {
        "You may commit on the branch that you are on; what you leave uncommitted is committed for you when you end, \
         but for files that git ignores. Do not push, do not switch or make branches, and do not rewrite commits that \
         you found."
    } else {
        "Do not commit, push, or make branches: what you leave in the files is collected when you end."
    }
}

const fn permissions(permissions: Permissions) -> &'static str {
    match permissions {
        Permissions::Read => {
            "You may look only: change no file. What is denied to you stays denied: do not look for a way around it, \
             and say in your answer what you would have needed."
        }
        Permissions::Edit => {
            "You may change files in the current directory. What is denied to you stays denied: do not look for a way \
             around it, and say in your answer what you would have needed."
        }
        Permissions::Full => {
            "You may run any command without being asked. That is trust, not an invitation: leave everything outside \
             the current directory as it is, unless the task itself says otherwise."
        }
    }
}

/// Codex's program knows no single tools: it has what its sandbox allows.
fn tools(task: &TaskSpec) -> String {
    let tools = if task.runner == "codex" { &[][..] } else { &task.allowed_tools };
    led("Besides, you may use:", points(tools.iter().map(|tool| code(tool))))
}

fn env(names: &[String]) -> String {
    led(
        "These environment variables are set. Their values are secret: use them, but never print them or write them \
         into a file or your answer.",
        points(names.iter().map(|name| code(name))),
    )
}

fn verify(brief: &TaskBrief<'_>) -> String {
    led(
        "These commands will be run by somebody else, in a fresh copy of the results. Each must exit 0:",
        parts::verify(&brief.task.verify),
    )
}

fn wave_verify(brief: &TaskBrief<'_>) -> String {
    led(
        "These are run on the results of all tasks of the wave together, when all are done. They must exit 0, too:",
        parts::verify(&brief.about.wave.verify),
    )
}

fn criteria(brief: &TaskBrief<'_>) -> String {
    led("Thor will judge by these criteria:", points(&brief.task.criteria))
}

//! What a person is told when a plan stops on its way: why, and the exact commands that move it on.

use wavegate_proto::v1;

use crate::cli::{args::quoted, backend::Backend, desk::Desk, text};

/// Why the plan stands still and what to type; None when it does not.
pub(super) fn of<B: Backend>(
    desk: &Desk<B>,
    plan: &v1::Plan,
    reason: &str,
    embedded: bool,
) -> Option<String> {
    let summary = plan.summary.clone().unwrap_or_default();
    let id = summary.id;
    match summary.state() {
        v1::PlanState::Blocked => Some(blocked(desk, plan, &summary, embedded)),
        v1::PlanState::Paused => Some(paused(desk, plan, &summary, reason, embedded)),
        v1::PlanState::Done | v1::PlanState::Cancelled => None,
        v1::PlanState::Running | v1::PlanState::AwaitingApproval | v1::PlanState::Unspecified => {
            Some(resume(desk, id))
        }
    }
}

/// How to go on after an interruption.
pub(super) fn resume<B: Backend>(desk: &Desk<B>, plan_id: i64) -> String {
    let command = desk.command(&format!("run --resume {plan_id}"));
    format!("to go on: {command}")
}

/// The plan is in other hands.
pub(super) fn left<B: Backend>(desk: &Desk<B>, plan_id: i64, url: &str) -> String {
    let watch = desk.command(&format!("watch {plan_id}"));
    format!("what runs goes on at {url}; to see: {watch}\n{}", resume(desk, plan_id))
}

fn blocked<B: Backend>(desk: &Desk<B>, plan: &v1::Plan, summary: &v1::PlanSummary, embedded: bool) -> String {
    let id = summary.id;
    let mut lines = vec![format!("plan {id} is blocked: {}", because(&summary.reason))];
    let mut commands = Vec::new();
    for wave in plan.waves.iter().filter(|wave| wave.state() == v1::WaveState::Blocked) {
        lines.push(why(&wave.key, &wave.reason));
        for task in &wave.tasks {
            if task.state() == v1::TaskState::Blocked {
                lines.push(why(&task.key, &task.reason));
                commands.push(format!("retry {id} {}", quoted(&task.key)));
            }
        }
        commands.push(format!(
            "resolve {id} approve|rework|skip|cancel --wave {} --note \"WHY\"",
            quoted(&wave.key)
        ));
    }
    if commands.is_empty() {
        commands.push(format!("resolve {id} approve|rework|skip|cancel --note \"WHY\""));
    }
    lines.push(format!("evidence: {}", desk.command(&format!("show {id}"))));
    let commands = commands.iter().map(|rest| desk.command(rest));
    lines.push(format!("to decide, one of:\n  {}", commands.collect::<Vec<_>>().join("\n  ")));
    if embedded {
        lines.push(format!("and then {}", resume(desk, id)));
    }
    lines.join("\n")
}

/// Tasks that are named when a plan waits for a worker; more would say the same.
const MOST_NAMED: usize = 5;

fn paused<B: Backend>(
    desk: &Desk<B>,
    plan: &v1::Plan,
    summary: &v1::PlanSummary,
    reason: &str,
    embedded: bool,
) -> String {
    let id = summary.id;
    let mut text = format!("plan {id} is paused: {}\n", because(&reachable(desk, &summary.reason)));
    if reason == "no_worker" {
        let waves = plan.waves.iter().filter(|wave| wave.state() != v1::WaveState::Waiting);
        let waits = waves.flat_map(|wave| {
            let tasks = wave.tasks.iter().filter(|task| task.state() == v1::TaskState::Pending);
            std::iter::once((&wave.key, &wave.reason)).chain(tasks.map(|task| (&task.key, &task.reason)))
        });
        for (key, why_not) in waits.filter(|(_, why_not)| !why_not.is_empty()).take(MOST_NAMED) {
            text.push_str(&why(key, why_not));
            text.push('\n');
        }
    }
    if reason == "budget" {
        // The reason names the command that gives more, with the plan or task and the limit that it fits.
        if embedded {
            text.push_str(&format!("and then {}", resume(desk, id)));
        }
        return text.trim_end().to_owned();
    }
    if text::lacks_runner(plan) {
        text.push_str(text::DOCTOR);
        text.push('\n');
    }
    if reason == "no_worker" && !embedded {
        text.push_str("it goes on by itself when a worker connects that can do it\n");
    }
    let command = match embedded {
        true => format!("run --resume {id}"),
        false => format!("resume {id}"),
    };
    text.push_str(&format!("to go on: {}", desk.command(&command)));
    text
}

/// The same words, in which each command leads to this coordinator.
fn reachable<B: Backend>(desk: &Desk<B>, reason: &str) -> String {
    let parts = reason.split('`').map(|part| match part.strip_prefix("wavegate ") {
        Some(rest) => desk.command(rest),
        None => part.to_owned(),
    });
    parts.collect::<Vec<_>>().join("`")
}

fn because(reason: &str) -> String {
    match reason {
        "" => "no reason was given".to_owned(),
        reason => text::clean(reason),
    }
}

fn why(key: &str, reason: &str) -> String {
    format!("  {}: {}", text::clean(key), because(reason))
}

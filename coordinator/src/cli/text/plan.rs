//! One plan with its waves and tasks: what each does, what waits and why, which attempts and
//! verdicts there were.

use wavegate_proto::v1;

use super::{
    WIDTH,
    agents::counsel,
    clean,
    commits::commits,
    counted, cut, lease_state, plan_state,
    plans::chosen_mode,
    quantity::{clock, cost, dollars, duration, grouped, instant, tokens},
    table::{Table, wrapped},
    task_state, tier,
    verdict::verdict,
    wave_state, workspace,
};

/// The whole plan.
pub(crate) fn plan(plan: &v1::Plan) -> String {
    let summary = plan.summary.clone().unwrap_or_default();
    let mut text = head(plan, &summary);
    for wave in &plan.waves {
        text.push('\n');
        text.push_str(&wave_section(wave));
    }
    let commits = commits(&plan.waves);
    if !commits.is_empty() {
        text.push_str(&format!("\n{commits}"));
    }
    if lacks_runner(plan) {
        text.push_str(&format!("\n{DOCTOR}\n"));
    }
    text
}

/// What helps where a worker lacks a runner.
pub(crate) const DOCTOR: &str = "what a host lacks to run agents: `wavegate doctor`, on that host";

/// Whether something waits for a runner that no worker has.
pub(crate) fn lacks_runner(plan: &v1::Plan) -> bool {
    let tasks = plan.waves.iter().flat_map(|wave| wave.tasks.iter().map(|task| &task.reason));
    let waves = plan.waves.iter().map(|wave| &wave.reason);
    tasks.chain(waves).any(|reason| reason.contains("has the runner"))
}

fn head(plan: &v1::Plan, summary: &v1::PlanSummary) -> String {
    let mut text = format!("plan {}  {}\n", summary.id, clean(&summary.name));
    let mut table = Table::headless(0);
    table.row(["status".into(), status(summary)]);
    table.row(["waves".into(), format!("{} of {} done", summary.waves_done, summary.waves)]);
    table.row([
        "tasks".into(),
        format!("{} of {} done, {} running", summary.tasks_done, summary.tasks, summary.tasks_running),
    ]);
    table.row(["workspace".into(), place(plan)]);
    table.row(["times".into(), times(summary)]);
    if let Some(used) = used(summary) {
        table.row(["used".into(), used]);
    }
    text.push_str(&table.render());
    if let Some(budget) = budget(summary) {
        text.push_str(&format!("budget     {budget}\n"));
    }
    if !summary.reason.is_empty() {
        let why = format!("{}: {}", plan_state(summary.state()), summary.reason);
        text.push_str(&wrapped(&why, 0, WIDTH));
    }
    text
}

/// `git, main of /srv/project`.
fn place(plan: &v1::Plan) -> String {
    let kind = workspace(plan.workspace());
    match &plan.repository {
        Some(at) if at.base.is_empty() => format!("{kind}, {}", at.location),
        Some(at) => format!("{kind}, {} of {}", at.base, at.location),
        None => kind,
    }
}

/// `running, standard mode, sonnet tier`.
fn status(summary: &v1::PlanSummary) -> String {
    let state = plan_state(summary.state());
    match (summary.mode(), summary.tier()) {
        (v1::Mode::Unspecified, _) => format!("{state}, no mode chosen yet"),
        (mode, v1::Tier::Unspecified) => format!("{state}, {} mode", chosen_mode(mode)),
        (mode, chosen) => format!("{state}, {} mode, {} tier", chosen_mode(mode), tier(chosen)),
    }
}

fn times(summary: &v1::PlanSummary) -> String {
    let times =
        [("submitted", summary.created_ms), ("approved", summary.approved_ms), ("ended", summary.ended_ms)];
    let told = times.into_iter().filter_map(|(what, at_ms)| {
        let instant = instant(at_ms)?;
        Some(format!("{what} {instant}"))
    });
    told.collect::<Vec<_>>().join(", ")
}

fn used(summary: &v1::PlanSummary) -> Option<String> {
    let usage = summary.usage?;
    match (tokens(&usage), usage.cost_micro_usd) {
        (0, None) => None,
        (tokens, None) => Some(format!("{} tokens, cost unknown", grouped(tokens, ','))),
        (tokens, known) => {
            let cost = cost(known, summary.has_unknown_cost);
            Some(format!("{cost}, {} tokens", grouped(tokens, ',')))
        }
    }
}

/// `$5.00, 200,000 tokens`; None without a budget.
fn budget(summary: &v1::PlanSummary) -> Option<String> {
    let usd = summary.budget_micro_usd.map(dollars);
    let tokens = summary.budget_tokens.map(|tokens| format!("{} tokens", grouped(tokens, ',')));
    let parts: Vec<_> = usd.into_iter().chain(tokens).collect();
    (!parts.is_empty()).then(|| parts.join(", "))
}

fn wave_section(wave: &v1::Wave) -> String {
    let mut text = cut(&wave_title(wave), WIDTH);
    text.push('\n');
    if !wave.reason.is_empty() {
        let is_blocked = wave.state() == v1::WaveState::Blocked;
        let verb = if is_blocked { "is blocked" } else { "waits" };
        let line = format!("{} {verb}: {}", wave.key, wave.reason);
        text.push_str(&wrapped(&line, 2, WIDTH));
    }
    text.push_str(&tasks(&wave.tasks));
    for task in &wave.tasks {
        text.push_str(&waiting(task));
    }
    for task in &wave.tasks {
        text.push_str(&attempts(task));
    }
    for recorded in &wave.verdicts {
        text.push_str(&verdict(recorded));
    }
    for recorded in &wave.counsels {
        text.push_str(&counsel(recorded));
    }
    text
}

/// `W2 Build: running, round 1, after W1`.
fn wave_title(wave: &v1::Wave) -> String {
    let mut title = clean(&wave.key);
    if !wave.name.is_empty() && wave.name != wave.key {
        title.push_str(&format!(" {}", clean(&wave.name)));
    }
    title.push_str(&format!(": {}", wave_state(wave.state())));
    if wave.round > 0 {
        title.push_str(&format!(", round {}", wave.round));
    }
    if !wave.depends_on.is_empty() {
        title.push_str(&format!(", after {}", clean(&wave.depends_on.join(", "))));
    }
    title
}

fn tasks(tasks: &[v1::Task]) -> String {
    let mut table = Table::new(2, ["TASK", "STATE", "TRIES", "COUNTS", "RUNNER", "WORKER", "TITLE"]);
    for task in tasks {
        table.row([
            cut(&task.key, 20),
            state(task),
            task.attempt.to_string(),
            counts(task),
            cut(&runner(task), 16),
            cut(if task.worker.is_empty() { "-" } else { &task.worker }, 16),
            task.title.clone(),
        ]);
    }
    table.render()
}

/// `leased, running` while a worker has it.
fn state(task: &v1::Task) -> String {
    let state = task_state(task.state());
    let is_leased = task.state() == v1::TaskState::Leased;
    if !is_leased || task.lease_state() == v1::LeaseState::Unspecified {
        return state;
    }
    format!("{state}, {}", lease_state(task.lease_state()))
}

fn runner(task: &v1::Task) -> String {
    match task.model.as_str() {
        "" => task.runner.clone(),
        model => format!("{} {model}", task.runner),
    }
}

/// What went wrong so far; a dash for nothing.
fn counts(task: &v1::Task) -> String {
    let counts = [(task.failures, "failed"), (task.losses, "lost"), (task.rejections, "rejected")];
    let told = counts.into_iter().filter(|(number, _)| *number > 0);
    let text = told.map(|(number, what)| format!("{number} {what}")).collect::<Vec<_>>().join(" ");
    if text.is_empty() { "-".to_owned() } else { text }
}

/// `T1-07 waits: three leases live`.
fn waiting(task: &v1::Task) -> String {
    let routing = match task.routing.as_str() {
        "" => String::new(),
        why => wrapped(&format!("{}: {why}", task.key), 2, WIDTH),
    };
    if task.reason.is_empty() {
        return routing;
    }
    let verb = match task.state() {
        v1::TaskState::Pending => "waits",
        v1::TaskState::Leased => "runs",
        v1::TaskState::Unspecified
        | v1::TaskState::Submitted
        | v1::TaskState::Done
        | v1::TaskState::Blocked
        | v1::TaskState::Skipped
        | v1::TaskState::Cancelled => &format!("is {}", task_state(task.state())),
    };
    routing + &wrapped(&format!("{} {verb}: {}", task.key, task.reason), 2, WIDTH)
}

/// The attempts of a task that needed more than one, or whose only one did not go well.
fn attempts(task: &v1::Task) -> String {
    let smooth = |attempt: &v1::Attempt| attempt.exit_code.unwrap_or(0) == 0;
    let unremarkable = task.failures + task.losses + task.rejections == 0
        && task.attempts.len() <= 1
        && task.attempts.iter().all(|attempt| smooth(attempt) && attempt.findings.is_empty());
    if unremarkable {
        return String::new();
    }
    task.attempts.iter().map(|one| attempt(&task.key, one)).collect()
}

fn attempt(key: &str, attempt: &v1::Attempt) -> String {
    let how = match attempt.outcome.as_str() {
        "" => lease_state(attempt.lease_state()),
        outcome => outcome.to_owned(),
    };
    let mut line = format!("{key} attempt {}: {how}", attempt.attempt);
    if let Some(code) = attempt.exit_code {
        line.push_str(&format!(", exit {code}"));
    }
    if attempt.run_ms > 0 {
        line.push_str(&format!(", ran {}", duration(attempt.run_ms)));
    }
    if !attempt.model.is_empty() {
        line.push_str(&format!(", by {}", attempt.model));
    }
    if !attempt.worker.is_empty() {
        line.push_str(&format!(", on {}", attempt.worker));
    }
    line.push_str(&format!(", granted {}", clock(attempt.granted_ms)));
    if !attempt.summary.is_empty() {
        line.push_str(&format!(": {}", attempt.summary));
    }
    let mut text = wrapped(&line, 2, WIDTH);
    for finding in &attempt.findings {
        text.push_str(&wrapped(&format!("denied: {}", finding.text), 4, WIDTH));
    }
    if attempt.exit_code.unwrap_or(0) != 0 {
        text.push_str(&super::verdict::tail(&attempt.output_tail));
    }
    text
}

/// What the plan's progress comes to in a few words: `2 of 3 waves, 7 of 12 tasks done`.
pub(crate) fn progress(summary: &v1::PlanSummary) -> String {
    format!(
        "{} of {}, {} of {} done",
        summary.waves_done,
        counted(summary.waves, "wave", "waves"),
        summary.tasks_done,
        counted(summary.tasks, "task", "tasks"),
    )
}

//! What a plan took, and where its results are.

mod ledger;

use wavegate_proto::v1;

use super::{
    WIDTH, clean,
    commits::commits,
    counted, cut, plan_state,
    quantity::{cost, dollars, duration, grouped, rough_duration, tokens},
    table::{Table, wrapped},
    wave_state,
};

/// Where a plan's results are.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Results {
    /// In this directory, written just now.
    Written(String),
    /// In the plan's tree; the command writes it out.
    Tree { digest: String, command: String },
    /// The plan has published nothing.
    Nothing,
    /// Workspace none: wherever the tasks wrote them.
    Elsewhere,
    /// Workspace git: as commits; the command shows them.
    Repository { location: String, commits: usize, command: String },
}

impl Results {
    /// Where the results of a plan are as long as nobody has written them out; `write` would, and `diff` shows them.
    pub(crate) fn of(plan: &v1::Plan, write: String, diff: String) -> Self {
        match plan.workspace() {
            v1::WorkspaceKind::Dir if plan.tree.is_empty() => Self::Nothing,
            v1::WorkspaceKind::Dir => Self::Tree { digest: plan.tree.clone(), command: write },
            v1::WorkspaceKind::Git => Self::Repository {
                location: plan.repository.clone().unwrap_or_default().location,
                commits: plan.waves.iter().map(|wave| wave.commits.len()).sum(),
                command: diff,
            },
            v1::WorkspaceKind::None | v1::WorkspaceKind::Unspecified => Self::Elsewhere,
        }
    }

    fn text(&self) -> String {
        match self {
            Self::Written(dir) => format!("in {dir}"),
            Self::Tree { digest, command } => {
                let short: String = digest.chars().take(12).collect();
                format!("the plan's tree {short}; `{command}` writes it out")
            }
            Self::Nothing => "the plan's tree is empty".to_owned(),
            Self::Elsewhere => {
                "wherever the tasks wrote them: this plan has no workspace of its own".to_owned()
            }
            Self::Repository { location, commits: 0, .. } => {
                format!("nothing was published to {location} yet")
            }
            Self::Repository { location, command, .. } => format!("in {location}; `{command}` shows them"),
        }
    }
}

/// The report.
pub(crate) fn report(report: &v1::GetReportResponse, results: &Results) -> String {
    let summary = report.plan.clone().unwrap_or_default();
    let mut text = title(&summary);
    let mut table = Table::headless(2);
    time_rows(&mut table, report);
    count_rows(&mut table, report);
    spending_rows(&mut table, report);
    text.push_str(&table.render());
    // Not in the table: a path or a command is never cut.
    text.push_str(&format!("  results     {}\n", clean(&results.text())));
    text.push_str(&waves(&report.waves));
    let commits = commits(&report.waves);
    if !commits.is_empty() {
        text.push_str(&format!("\n{commits}"));
    }
    text.push_str(&ledger::text(report));
    text
}

fn title(summary: &v1::PlanSummary) -> String {
    let mut title = format!("plan {} {}: ", summary.id, summary.name);
    title.push_str(&plan_state(summary.state()));
    if summary.mode() != v1::Mode::Unspecified {
        title.push_str(&format!(" in {} mode", super::mode(summary.mode())));
    }
    if !summary.reason.is_empty() {
        title.push_str(&format!(" ({})", summary.reason));
    }
    wrapped(&title, 0, WIDTH)
}

fn time_rows(table: &mut Table, report: &v1::GetReportResponse) {
    let mut row = |name: &str, value: String, what: String| {
        table.row([name.to_owned(), value, what]);
    };
    let width = match report.width {
        0 => "no limit at once".to_owned(),
        width => format!("at most {width} at once"),
    };
    let mut wall = "first grant to last submitted; Thor apart".to_owned();
    if let Some(ms) = expected(report).and_then(|estimate| estimate.wall_ms) {
        wall.push_str(&format!("; estimated {}", rough_duration(ms)));
    }
    row("wall time", duration(report.wall_ms), wall);
    row("work time", duration(report.work_ms), "sum of the accepted attempts".to_owned());
    row("speed-up", times(report.work_ms, report.wall_ms), "work / wall".to_owned());
    row(
        "bound",
        duration(report.bound_ms),
        format!("critical path {}, {width}", duration(report.critical_path_ms)),
    );
    row(
        "efficiency",
        ratio(report.bound_ms, report.wall_ms).map_or_else(unknown, |part| format!("{part:.2}")),
        "bound / wall".to_owned(),
    );
    row("Thor", duration(report.thor_ms), "integrating and validating".to_owned());
}

fn count_rows(table: &mut Table, report: &v1::GetReportResponse) {
    table.row([
        "attempts".to_owned(),
        report.attempts.to_string(),
        format!(
            "{}, {}, {}; at most {} at once",
            counted(report.failures, "failure", "failures"),
            counted(report.losses, "loss", "losses"),
            counted(report.rejections, "rejection", "rejections"),
            report.peak_leases,
        ),
    ]);
    table.row([
        "verdicts".to_owned(),
        (report.approved + report.rejected).to_string(),
        format!("{} approved, {} rejected", report.approved, report.rejected),
    ]);
}

/// The estimate of the mode that the plan ran in.
fn expected(report: &v1::GetReportResponse) -> Option<v1::Estimate> {
    let estimates = report.estimates.as_ref()?;
    match report.plan.as_ref()?.mode() {
        v1::Mode::Standard => estimates.standard,
        v1::Mode::Max => estimates.max,
        v1::Mode::Unspecified => None,
    }
}

fn spending_rows(table: &mut Table, report: &v1::GetReportResponse) {
    let agent_tasks = report.estimates.as_ref().map_or(0, |all| all.agent_tasks);
    let usage = report.usage.unwrap_or_default();
    let used = grouped(tokens(&usage), ',');
    let cost = spent(report);
    let (expected_cost, expected_tokens) = match (expected(report), agent_tasks) {
        (_, 0) => ("estimated $0.00: shell tasks only".to_owned(), "estimated 0".to_owned()),
        (None, _) => ("no estimate".to_owned(), "no estimate".to_owned()),
        (Some(expected), _) => (
            match expected.cost_micro_usd {
                Some(micro_usd) => format!("estimated {}", dollars(micro_usd)),
                None => "estimated: price unknown".to_owned(),
            },
            format!("estimated {}", grouped(expected.tokens, ',')),
        ),
    };
    table.row(["cost".to_owned(), cost, expected_cost]);
    table.row(["tokens".to_owned(), used, expected_tokens]);
    coordinator_row(table, report, agent_tasks);
}

/// What the coordinator's own model took. In standard it is asked only now and then, and not estimated.
fn coordinator_row(table: &mut Table, report: &v1::GetReportResponse, agent_tasks: u32) {
    let is_its_own = |line: &v1::LedgerLine| line.kind() == v1::LeaseKind::Coordinate;
    let is_max = report.plan.as_ref().is_some_and(|plan| plan.mode() == v1::Mode::Max);
    let was_asked = report.ledger.iter().any(is_its_own);
    let is_expected = is_max && agent_tasks > 0;
    if !was_asked && !is_expected {
        return;
    }
    let usage = report.coordinator_usage.unwrap_or_default();
    let cost = match was_asked {
        true => cost(usage.cost_micro_usd, has_unknown_cost(&report.ledger, is_its_own)),
        false => dollars(0),
    };
    let mut what = format!("{} tokens of its own", grouped(tokens(&usage), ','));
    if is_max {
        what.push_str(&format!(", estimated {}", grouped(report.coordinator_estimate_tokens, ',')));
    }
    table.row(["coordinator".to_owned(), cost, what]);
}

/// Whether some of these lines have a cost that nobody knows.
pub(crate) fn has_unknown_cost(
    ledger: &[v1::LedgerLine],
    is_meant: impl Fn(&v1::LedgerLine) -> bool,
) -> bool {
    let mut usages = ledger.iter().filter(|line| is_meant(line)).filter_map(|line| line.usage.as_ref());
    usages.any(ledger::is_unknown)
}

fn spent(report: &v1::GetReportResponse) -> String {
    let usage = report.usage.unwrap_or_default();
    if tokens(&usage) == 0 && usage.cost_micro_usd.is_none() && !was_agent_run(report) {
        return dollars(0);
    }
    cost(usage.cost_micro_usd, report.plan.as_ref().is_some_and(|plan| plan.has_unknown_cost))
}

/// Whether an agent may have spent something of which nobody told.
fn was_agent_run(report: &v1::GetReportResponse) -> bool {
    let mut tasks = report.waves.iter().flat_map(|wave| &wave.tasks);
    !report.ledger.is_empty() || tasks.any(|task| task.runner != "shell" && !task.attempts.is_empty())
}

fn waves(waves: &[v1::Wave]) -> String {
    if waves.is_empty() {
        return String::new();
    }
    let mut table = Table::new(2, ["WAVE", "STATE", "ROUNDS", "TASKS", "ATTEMPTS", "NAME"]);
    for wave in waves {
        let attempts: u32 = wave.tasks.iter().map(|task| task.attempt).sum();
        table.row([
            cut(&wave.key, 20),
            wave_state(wave.state()),
            wave.round.to_string(),
            wave.tasks.len().to_string(),
            attempts.to_string(),
            wave.name.clone(),
        ]);
    }
    format!("\n{}", table.render())
}

fn times(part: u64, whole: u64) -> String {
    ratio(part, whole).map_or_else(unknown, |ratio| format!("{ratio:.2}x"))
}

/// None where there is nothing to divide by.
pub(crate) fn ratio(part: u64, whole: u64) -> Option<f64> {
    (whole > 0).then(|| part as f64 / whole as f64)
}

fn unknown() -> String {
    "unknown".to_owned()
}

//! A report as JSON: the plan with its waves, and beside it what it took.

use serde::Serialize;
use wavegate_proto::v1;

use super::{
    EstimatesJson, RepositoryJson, SummaryJson, UsageJson, agents::LedgerJson, filled, plan::WaveJson,
};
use crate::cli::text::{self, ratio};

/// What `report` and `run` end with.
#[derive(Debug, Serialize)]
pub(crate) struct ReportJson {
    #[serde(flatten)]
    plan: SummaryJson,
    report: NumbersJson,
    estimates: Option<EstimatesJson>,
    /// The digest of the plan's tree as last published.
    tree: Option<String>,
    /// Workspace git.
    repository: Option<RepositoryJson>,
    /// Where the tree was written to, if it was.
    out: Option<String>,
    waves: Vec<WaveJson>,
    /// What each model used in each lease, oldest first.
    ledger: Vec<LedgerJson>,
    /// The date of the prices by which costs that no agent told were computed.
    prices_date: Option<String>,
}

#[derive(Debug, Serialize)]
struct NumbersJson {
    wall_ms: u64,
    work_ms: u64,
    critical_path_ms: u64,
    bound_ms: u64,
    thor_ms: u64,
    /// work / wall
    speed_up: Option<f64>,
    /// bound / wall
    efficiency: Option<f64>,
    attempts: u32,
    failures: u32,
    losses: u32,
    rejections: u32,
    verdicts_approved: u32,
    verdicts_rejected: u32,
    peak_leases: u32,
    /// The parallelism of the bound; null: no limit.
    width: Option<u32>,
    usage: UsageJson,
    /// Some of these tokens have a cost that nobody knows: the one above is the known part.
    has_unknown_cost: bool,
    /// What the coordinator's own model used, and what the estimate of max holds for it.
    coordinator_usage: UsageJson,
    coordinator_has_unknown_cost: bool,
    coordinator_estimate_tokens: u64,
}

impl ReportJson {
    pub(crate) fn new(
        report: v1::GetReportResponse,
        tree: Option<String>,
        repository: Option<v1::Repository>,
        out: Option<String>,
    ) -> Self {
        Self {
            report: NumbersJson::of(&report),
            plan: report.plan.unwrap_or_default().into(),
            estimates: report.estimates.map(Into::into),
            tree,
            repository: repository.map(Into::into),
            out,
            waves: report.waves.into_iter().map(Into::into).collect(),
            ledger: report.ledger.into_iter().map(Into::into).collect(),
            prices_date: filled(report.prices_date),
        }
    }
}

impl NumbersJson {
    fn of(report: &v1::GetReportResponse) -> Self {
        Self {
            wall_ms: report.wall_ms,
            work_ms: report.work_ms,
            critical_path_ms: report.critical_path_ms,
            bound_ms: report.bound_ms,
            thor_ms: report.thor_ms,
            speed_up: ratio(report.work_ms, report.wall_ms),
            efficiency: ratio(report.bound_ms, report.wall_ms),
            attempts: report.attempts,
            failures: report.failures,
            losses: report.losses,
            rejections: report.rejections,
            verdicts_approved: report.approved,
            verdicts_rejected: report.rejected,
            peak_leases: report.peak_leases,
            width: (report.width > 0).then_some(report.width),
            usage: report.usage.unwrap_or_default().into(),
            has_unknown_cost: report.plan.as_ref().is_some_and(|plan| plan.has_unknown_cost),
            coordinator_usage: report.coordinator_usage.unwrap_or_default().into(),
            coordinator_has_unknown_cost: text::has_unknown_cost(&report.ledger, |line| {
                line.kind() == v1::LeaseKind::Coordinate
            }),
            coordinator_estimate_tokens: report.coordinator_estimate_tokens,
        }
    }
}

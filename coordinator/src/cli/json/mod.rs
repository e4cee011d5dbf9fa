//! What programs read: the shape of everything that `--json` prints. States and kinds are the same
//! words as everywhere; instants are both UTC milliseconds and RFC 3339. Fields are added, never
//! renamed.

mod agents;
mod changes;
mod fleet;
mod plan;
mod report;

use serde::Serialize;
use wavegate_proto::v1;

use super::text;

pub(crate) use agents::{AccountJson, CandidateJson, PromptJson};
pub(crate) use changes::{CheckedOutJson, CommitJson, DiffJson, RepositoryJson};
pub(crate) use fleet::WorkerJson;
pub(crate) use plan::{PlanJson, SummaryJson};
pub(crate) use report::ReportJson;

/// What an attempt, or a whole plan, used.
#[derive(Debug, Serialize)]
pub(crate) struct UsageJson {
    tokens_in: u64,
    tokens_out: u64,
    tokens_cached: u64,
    /// Null when the cost is unknown.
    cost_micro_usd: Option<u64>,
}

impl From<v1::Usage> for UsageJson {
    fn from(usage: v1::Usage) -> Self {
        Self {
            tokens_in: usage.tokens_in,
            tokens_out: usage.tokens_out,
            tokens_cached: usage.tokens_cached,
            cost_micro_usd: usage.cost_micro_usd,
        }
    }
}

/// What each mode would cost.
#[derive(Debug, Serialize)]
pub(crate) struct EstimatesJson {
    /// Only these use tokens.
    agent_tasks: u32,
    standard: Option<EstimateJson>,
    max: Option<EstimateJson>,
    /// The date of the prices that they were computed with.
    prices_date: Option<String>,
    advice: Option<String>,
}

#[derive(Debug, Serialize)]
pub(crate) struct EstimateJson {
    tokens: u64,
    cost_micro_usd: Option<u64>,
    wall_ms: Option<u64>,
}

impl From<v1::Estimates> for EstimatesJson {
    fn from(estimates: v1::Estimates) -> Self {
        let convert = |estimate: v1::Estimate| EstimateJson {
            tokens: estimate.tokens,
            cost_micro_usd: estimate.cost_micro_usd,
            wall_ms: estimate.wall_ms,
        };
        Self {
            agent_tasks: estimates.agent_tasks,
            standard: estimates.standard.map(convert),
            max: estimates.max.map(convert),
            prices_date: filled(estimates.prices_date),
            advice: filled(estimates.advice),
        }
    }
}

/// One diagnostic of a plan file.
#[derive(Debug, Serialize)]
pub(crate) struct DiagnosticJson {
    severity: String,
    file: String,
    line: u32,
    column: u32,
    message: String,
}

impl From<v1::Diagnostic> for DiagnosticJson {
    fn from(diagnostic: v1::Diagnostic) -> Self {
        Self {
            severity: text::severity(diagnostic.severity()),
            file: diagnostic.file,
            line: diagnostic.line,
            column: diagnostic.column,
            message: diagnostic.message,
        }
    }
}

/// What `check` says.
#[derive(Debug, Serialize)]
pub(crate) struct CheckJson {
    ok: bool,
    diagnostics: Vec<DiagnosticJson>,
    plan: Option<OutlineJson>,
}

#[derive(Debug, Serialize)]
struct OutlineJson {
    name: String,
    waves: u32,
    tasks: u32,
    estimates: Option<EstimatesJson>,
}

impl From<v1::CheckPlanResponse> for CheckJson {
    fn from(answer: v1::CheckPlanResponse) -> Self {
        let outline = |outline: v1::PlanOutline| OutlineJson {
            name: outline.name,
            waves: outline.waves,
            tasks: outline.tasks,
            estimates: outline.estimates.map(Into::into),
        };
        Self {
            ok: super::plan_file::is_sound(&answer.diagnostics),
            diagnostics: answer.diagnostics.into_iter().map(Into::into).collect(),
            plan: answer.outline.map(outline),
        }
    }
}

/// A plan after something was done to it, and what there was to warn of.
#[derive(Debug, Serialize)]
pub(crate) struct ChangedPlanJson<W> {
    #[serde(flatten)]
    pub(crate) plan: PlanJson,
    pub(crate) warnings: Vec<W>,
}

/// A copy of the database.
#[derive(Debug, Serialize)]
pub(crate) struct BackupJson {
    pub(crate) file: String,
    pub(crate) bytes: u64,
    pub(crate) artifacts: u64,
    pub(crate) logs: u64,
}

/// One recorded decision; a line of `watch --json`.
#[derive(Debug, Serialize)]
pub(crate) struct EventJson {
    number: i64,
    at: Option<String>,
    at_ms: i64,
    plan: i64,
    kind: String,
    wave: Option<String>,
    task: Option<String>,
    lease: Option<String>,
    worker: Option<String>,
    actor: String,
    reason: Option<String>,
    text: String,
}

impl From<v1::Event> for EventJson {
    fn from(event: v1::Event) -> Self {
        Self {
            number: event.number,
            at: text::instant(event.at_ms),
            at_ms: event.at_ms,
            plan: event.plan_id,
            kind: event.kind,
            wave: filled(event.wave),
            task: filled(event.task),
            lease: filled(event.lease_id),
            worker: filled(event.worker),
            actor: event.actor,
            reason: filled(event.reason),
            text: event.text,
        }
    }
}

/// Empty text stands for "none" on the wire; in JSON that is null.
fn filled(text: String) -> Option<String> {
    (!text.is_empty()).then_some(text)
}

/// 0 stands for "never" on the wire; in JSON that is null.
fn passed(at_ms: i64) -> Option<i64> {
    (at_ms != 0).then_some(at_ms)
}

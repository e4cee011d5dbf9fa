//! Accounts, prompts, candidates and the ledger as JSON.

use serde::Serialize;
use wavegate_proto::v1;

use super::{filled, passed};
use crate::cli::text;

/// An account that agents spend from.
#[derive(Debug, Serialize)]
pub(crate) struct AccountJson {
    runner: String,
    account: String,
    status: String,
    reason: Option<String>,
    note: Option<String>,
    until_ms: Option<i64>,
    workers: Vec<String>,
}

impl From<v1::Account> for AccountJson {
    fn from(account: v1::Account) -> Self {
        Self {
            status: text::account_state(account.state()),
            runner: account.runner,
            account: account.account,
            reason: filled(account.reason),
            note: filled(account.note),
            until_ms: passed(account.until_ms),
            workers: account.workers,
        }
    }
}

/// What an agent is told.
#[derive(Debug, Serialize)]
pub(crate) struct PromptJson {
    prompt: String,
    resume_prompt: Option<String>,
    model: Option<String>,
    routing: Option<String>,
}

impl From<v1::GetPromptResponse> for PromptJson {
    fn from(told: v1::GetPromptResponse) -> Self {
        Self {
            prompt: told.prompt,
            resume_prompt: filled(told.resume_prompt),
            model: filled(told.model),
            routing: filled(told.routing),
        }
    }
}

/// A candidate that waits for a verdict from outside.
#[derive(Debug, Serialize)]
pub(crate) struct CandidateJson {
    plan: i64,
    plan_name: String,
    wave: String,
    round: u32,
    candidate: String,
}

impl From<v1::Candidate> for CandidateJson {
    fn from(candidate: v1::Candidate) -> Self {
        Self {
            plan: candidate.plan_id,
            plan_name: candidate.plan_name,
            wave: candidate.wave,
            round: candidate.round,
            candidate: candidate.candidate,
        }
    }
}

/// What one model used in one lease.
#[derive(Debug, Serialize)]
pub(crate) struct LedgerJson {
    lease: String,
    kind: String,
    wave: String,
    task: Option<String>,
    attempt: Option<u32>,
    runner: Option<String>,
    account: Option<String>,
    worker: String,
    model: String,
    tokens_in: u64,
    tokens_out: u64,
    cache_read: u64,
    cache_write: u64,
    calls: u32,
    /// Null when the cost is unknown.
    cost_micro_usd: Option<u64>,
    /// "agent", "prices" or "unknown".
    cost_source: String,
    /// The date of the price, where the cost is from the price table.
    price_date: Option<String>,
}

impl From<v1::LedgerLine> for LedgerJson {
    fn from(line: v1::LedgerLine) -> Self {
        let usage = line.usage.clone().unwrap_or_default();
        Self {
            kind: text::lease_kind(line.kind()),
            cost_source: text::cost_source(line.cost_source()),
            lease: line.lease_id,
            wave: line.wave,
            task: filled(line.task),
            attempt: (line.attempt > 0).then_some(line.attempt),
            runner: filled(line.runner),
            account: filled(line.account),
            price_date: filled(line.price_date),
            worker: line.worker,
            model: usage.model,
            tokens_in: usage.tokens_in,
            tokens_out: usage.tokens_out,
            cache_read: usage.cache_read,
            cache_write: usage.cache_write,
            calls: usage.calls,
            cost_micro_usd: usage.cost_micro_usd,
        }
    }
}

/// What the coordinator's model said to a wave.
#[derive(Debug, Serialize)]
pub(crate) struct CounselJson {
    purpose: String,
    round: u32,
    note: String,
    tasks: Vec<TaskCounselJson>,
    model: String,
    worker: String,
    at_ms: Option<i64>,
}

#[derive(Debug, Serialize)]
struct TaskCounselJson {
    task: String,
    guidance: String,
}

impl From<v1::RecordedCounsel> for CounselJson {
    fn from(recorded: v1::RecordedCounsel) -> Self {
        let counsel = recorded.counsel.clone().unwrap_or_default();
        let tasks = counsel.tasks.into_iter();
        Self {
            purpose: text::purpose(recorded.purpose()),
            round: recorded.round,
            note: counsel.note,
            tasks: tasks.map(|it| TaskCounselJson { task: it.key, guidance: it.guidance }).collect(),
            model: recorded.model,
            worker: recorded.worker,
            at_ms: passed(recorded.at_ms),
        }
    }
}

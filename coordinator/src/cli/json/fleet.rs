//! Workers as JSON.

use serde::Serialize;
use wavegate_proto::v1;

use super::{filled, passed};
use crate::cli::text;

/// A worker and what it holds.
#[derive(Debug, Serialize)]
pub(crate) struct WorkerJson {
    id: String,
    name: String,
    host: String,
    version: String,
    status: String,
    roles: Vec<String>,
    runners: Vec<RunnerJson>,
    labels: Vec<String>,
    /// Null: no limit.
    slots: Option<u32>,
    first_seen_ms: Option<i64>,
    last_seen_ms: Option<i64>,
    leases: Vec<HeldJson>,
}

#[derive(Debug, Serialize)]
struct RunnerJson {
    name: String,
    version: String,
    account: Option<String>,
    models: Vec<String>,
}

#[derive(Debug, Serialize)]
struct HeldJson {
    id: String,
    kind: String,
    status: String,
    plan: i64,
    plan_name: String,
    wave: String,
    task: Option<String>,
    attempt: u32,
    granted_ms: Option<i64>,
}

impl From<v1::Worker> for WorkerJson {
    fn from(worker: v1::Worker) -> Self {
        Self {
            status: text::worker_state(worker.state()),
            roles: worker.roles().map(text::role).collect(),
            id: worker.worker_id,
            name: worker.name,
            host: worker.host,
            version: worker.version,
            runners: worker.runners.into_iter().map(Into::into).collect(),
            labels: worker.labels,
            slots: worker.slots,
            first_seen_ms: passed(worker.first_seen_ms),
            last_seen_ms: passed(worker.last_seen_ms),
            leases: worker.leases.into_iter().map(Into::into).collect(),
        }
    }
}

impl From<v1::Runner> for RunnerJson {
    fn from(runner: v1::Runner) -> Self {
        Self {
            name: runner.name,
            version: runner.version,
            account: filled(runner.account),
            models: runner.models,
        }
    }
}

impl From<v1::WorkerLease> for HeldJson {
    fn from(lease: v1::WorkerLease) -> Self {
        Self {
            kind: text::lease_kind(lease.kind()),
            status: text::lease_state(lease.state()),
            id: lease.lease_id,
            plan: lease.plan_id,
            plan_name: lease.plan_name,
            wave: lease.wave,
            task: filled(lease.task),
            attempt: lease.attempt,
            granted_ms: passed(lease.granted_ms),
        }
    }
}

//! Workers and their leases, for listings.

use wavegate_engine::{AccountRow, AccountState, LeaseKind, LeaseState, Role, WorkerId};
use wavegate_proto::v1;

use super::session::attempt_of;
use crate::store::reader::{OpenLease, WorkerDetail};

pub(crate) fn worker_into_proto(worker: WorkerDetail, connected: &[WorkerId]) -> v1::Worker {
    let row = worker.row;
    let state = match (connected.contains(&row.id), row.draining) {
        (false, _) => v1::WorkerState::Gone,
        (true, true) => v1::WorkerState::Draining,
        (true, false) => v1::WorkerState::Connected,
    };
    let runner = |it: wavegate_engine::Runner| v1::Runner {
        name: it.name,
        version: it.version,
        account: it.account,
        models: it.models,
    };
    v1::Worker {
        worker_id: row.id.to_string(),
        name: row.name,
        host: row.host,
        version: row.version,
        state: state.into(),
        roles: row.roles.into_iter().map(|role| role_into_proto(role).into()).collect(),
        runners: row.runners.into_iter().map(runner).collect(),
        labels: row.labels,
        slots: row.slots,
        leases: worker.leases.into_iter().map(lease_into_proto).collect(),
        first_seen_ms: row.first_seen.0,
        last_seen_ms: row.last_seen.0,
    }
}

/// An account with the workers that spend from it.
pub(crate) fn account_into_proto(row: AccountRow, workers: Vec<String>) -> v1::Account {
    let (state, until) = match row.state {
        AccountState::Open => (v1::AccountState::Open, None),
        AccountState::Waiting { until, .. } => (v1::AccountState::Waiting, Some(until)),
        AccountState::Probing { .. } => (v1::AccountState::Probing, None),
        AccountState::Refused => (v1::AccountState::Refused, None),
    };
    v1::Account {
        runner: row.account.runner,
        account: row.account.fingerprint,
        state: state.into(),
        reason: row.state.trouble().map_or("", |trouble| trouble.as_str()).to_owned(),
        note: row.note,
        until_ms: until.map_or(0, |until| until.0),
        workers,
    }
}

fn role_into_proto(role: Role) -> v1::Role {
    match role {
        Role::Executor => v1::Role::Executor,
        Role::Thor => v1::Role::Thor,
        Role::Coordinator => v1::Role::Coordinator,
    }
}

fn lease_into_proto(open: OpenLease) -> v1::WorkerLease {
    v1::WorkerLease {
        lease_id: open.lease.id.to_string(),
        kind: kind_into_proto(open.lease.work.kind()).into(),
        state: lease_state_into_proto(open.lease.state).into(),
        plan_id: open.lease.plan.0,
        plan_name: open.plan_name,
        wave: open.wave,
        task: open.task,
        attempt: attempt_of(open.lease.work),
        granted_ms: open.lease.granted.0,
    }
}

pub(crate) fn kind_into_proto(kind: LeaseKind) -> v1::LeaseKind {
    match kind {
        LeaseKind::Task => v1::LeaseKind::Task,
        LeaseKind::Integrate => v1::LeaseKind::Integrate,
        LeaseKind::Validate => v1::LeaseKind::Validate,
        LeaseKind::Coordinate => v1::LeaseKind::Coordinate,
        LeaseKind::Publish => v1::LeaseKind::Publish,
    }
}

pub(crate) fn lease_state_into_proto(state: LeaseState) -> v1::LeaseState {
    match state {
        LeaseState::Granted => v1::LeaseState::Granted,
        LeaseState::Running => v1::LeaseState::Running,
        LeaseState::Cancelling => v1::LeaseState::Cancelling,
        LeaseState::Unreachable { .. } => v1::LeaseState::Unreachable,
        LeaseState::Finished => v1::LeaseState::Finished,
        LeaseState::Released(_) => v1::LeaseState::Released,
        LeaseState::Lost => v1::LeaseState::Lost,
    }
}

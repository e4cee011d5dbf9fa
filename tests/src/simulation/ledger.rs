//! Which rows of the tables of transitions a committed change takes, and which way it moves a plan or a
//! wave, read off the change itself.

use std::collections::BTreeMap;

use wavegate_engine::{Change, EventKind, LeaseId, LeaseState, PlanState, TaskState, WaveState};

use super::{
    figures::{Figures, lease_word},
    naive,
};

/// Notes what the change does; it is not yet written, and `later` follows in the same transaction.
pub(super) fn note(figures: &mut Figures, change: &Change, later: &[Change], durable: &naive::Store) {
    match change {
        Change::Task { plan, task, row, .. } => {
            let was = durable.plans[plan].tasks[task.at()].state;
            if let Some(event) = task_event(was, row.state) {
                figures.task_rows.insert((was.name(), event));
            }
        }
        Change::Lease { row, .. } => {
            let Some(was) = durable.leases.get(&row.id).map(|lease| lease.state) else { return };
            if let Some(event) = lease_event(was, row.state, row.id, later) {
                figures.lease_rows.insert((lease_word(was), event));
            }
        }
        Change::LeaseGranted(_) => figures.grants += 1,
        Change::Plan { id, row, .. } => {
            let was = durable.plans[id].row.state;
            let told = |state: PlanState| word(state.name(), state.reason());
            note_move(&mut figures.plan_moves, told(was), told(row.state));
        }
        Change::Wave { plan, wave, row, .. } => {
            let was = durable.plans[plan].waves[wave.at()].state;
            let told = |state: WaveState| word(state.name(), state.reason());
            note_move(&mut figures.wave_moves, told(was), told(row.state));
        }
        _ => {}
    }
}

fn word(name: &str, reason: &str) -> String {
    format!("{name} {reason}").trim().to_owned()
}

fn note_move(moves: &mut BTreeMap<(String, String), u64>, was: String, now: String) {
    if was != now {
        *moves.entry((was, now)).or_default() += 1;
    }
}

fn task_event(was: TaskState, now: TaskState) -> Option<&'static str> {
    if was.name() == now.name() {
        return None;
    }
    Some(match now {
        TaskState::Pending { .. } => "returned",
        TaskState::Leased => "granted",
        TaskState::Submitted => "submitted",
        TaskState::Done => "approved",
        TaskState::Blocked(_) => "blocked",
        TaskState::Skipped => "skipped",
        TaskState::Cancelled => "cancelled",
    })
}

fn lease_event(was: LeaseState, now: LeaseState, lease: LeaseId, later: &[Change]) -> Option<&'static str> {
    let told = later.iter().find_map(|change| match change {
        Change::Event(event) if event.lease == Some(lease) => Some(event.kind),
        _ => None,
    });
    match (was, now, told) {
        (LeaseState::Unreachable { .. }, LeaseState::Unreachable { .. }, Some(EventKind::LeaseCancelled)) => {
            Some("cancel asked")
        }
        _ if was == now => None,
        (LeaseState::Unreachable { .. }, LeaseState::Running | LeaseState::Cancelling, told) => {
            Some(if told == Some(EventKind::LeaseStarted) { "started" } else { "heard" })
        }
        (_, LeaseState::Running, _) => Some("started"),
        (_, LeaseState::Cancelling, _) => Some("cancel asked"),
        (_, LeaseState::Unreachable { .. }, _) => Some("silent"),
        (_, LeaseState::Finished, _) => Some("finished"),
        (_, LeaseState::Released(_), _) => Some("released"),
        (_, LeaseState::Lost, _) => Some("lost"),
        (_, LeaseState::Granted, _) => None,
    }
}

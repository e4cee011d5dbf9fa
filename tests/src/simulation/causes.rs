//! Why a plan is paused: counted from what truly happened, to hold the engine's reasons against it (I10:
//! a plan waits for nobody without a cause). Leaves out what a model answered for the coordinator.

use std::collections::{BTreeMap, BTreeSet};

use wavegate_engine::{
    Change, LeaseKind, LeaseRow, LeaseState, Outcome, PauseReason, PlanId, PlanState, ReleaseReason, Report,
    WaveIx,
};

use super::naive;

/// What may be a cause.
#[derive(Debug, Default)]
pub(super) struct Causes {
    /// Leases that came to nothing, by what they were for.
    failures: BTreeMap<(PlanId, WaveIx, u32, Duty), u32>,
    /// Plans that a person paused.
    pub(super) paused: BTreeSet<PlanId>,
    /// Plans of which the store refused a change.
    pub(super) refused: BTreeSet<PlanId>,
    /// Plans that a person approved.
    pub(super) approved: BTreeSet<PlanId>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Duty {
    Integration,
    Validation,
    Counsel,
}

/// Failures of one kind until a person is asked.
const MOST: u32 = 3;

impl Causes {
    /// Whether a plan that is paused has a cause. The change is not yet written.
    pub(super) fn check(&mut self, change: &Change, durable: &naive::Store) {
        match change {
            Change::Lease { row, .. } => {
                let failed =
                    matches!(row.state, LeaseState::Lost | LeaseState::Released(ReleaseReason::Unable));
                self.count(row, failed);
            }
            Change::Result { lease, accepted: true, report } => {
                let row = &durable.leases[lease];
                self.count(row, !is_useful(row.work.kind(), report));
            }
            Change::Plan { id, row, .. } if durable.plans[id].row.state != row.state => {
                if let PlanState::Paused(reason) = row.state {
                    let is_caused = self.is_caused(*id, reason, durable);
                    assert!(is_caused, "I10: plan {id} is paused by {reason:?}, without a cause");
                }
            }
            _ => {}
        }
    }

    fn count(&mut self, row: &LeaseRow, failed: bool) {
        let duty = match row.work.kind() {
            LeaseKind::Task => return,
            LeaseKind::Integrate | LeaseKind::Publish => Duty::Integration,
            LeaseKind::Validate => Duty::Validation,
            LeaseKind::Coordinate => Duty::Counsel,
        };
        *self.failures.entry((row.plan, row.wave, row.round, duty)).or_default() += u32::from(failed);
    }

    fn is_caused(&self, id: PlanId, reason: PauseReason, durable: &naive::Store) -> bool {
        let plan = &durable.plans[&id];
        let failed = |duty, most| {
            plan.waves.iter().zip(0..).any(|(wave, at)| {
                self.failures.get(&(id, WaveIx(at), wave.round, duty)).is_some_and(|count| *count >= most)
            })
        };
        match reason {
            PauseReason::Operator => self.paused.contains(&id),
            PauseReason::Budget => is_limited(plan),
            PauseReason::NoWorker => {
                !durable.leases.values().any(|lease| lease.plan == id && lease.state.is_open())
            }
            PauseReason::Integration => failed(Duty::Integration, MOST),
            PauseReason::Validation => failed(Duty::Validation, MOST),
            PauseReason::Coordination => failed(Duty::Counsel, 1),
            PauseReason::Store => self.refused.contains(&id),
            // Nobody brings back an older copy here.
            PauseReason::Restored => false,
            PauseReason::TargetMoved | PauseReason::Tier => true,
        }
    }

    /// When nothing goes wrong and nobody says a word, every approved plan that may spend what it wants is done.
    pub(super) fn check_done(&self, durable: &naive::Store) {
        for id in &self.approved {
            let plan = &durable.plans[id];
            let state = plan.row.state;
            let is_done = state == PlanState::Done || is_limited(plan);
            assert!(is_done, "I10: nothing was in the way of plan {id}, and it is {state:?}");
        }
    }
}

fn is_limited(plan: &naive::Stored) -> bool {
    plan.row.budget.tokens.is_some() || plan.tasks.iter().any(|task| task.budget.tokens.is_some())
}

fn is_useful(kind: LeaseKind, report: &Report) -> bool {
    let is_good = report.outcome == Outcome::Succeeded;
    match kind {
        LeaseKind::Integrate | LeaseKind::Publish => is_good && report.candidate.is_some(),
        LeaseKind::Validate => is_good && report.verdict.is_some(),
        // Another model than was asked for is of no use, too: its name is not in the report that is stored.
        LeaseKind::Coordinate => false,
        LeaseKind::Task => is_good,
    }
}

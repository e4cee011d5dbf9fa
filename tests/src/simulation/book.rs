//! What was truly said, by whom: kept by the world, to hold what is stored against it.

use std::collections::{BTreeMap, BTreeSet};

use wavegate_engine::{
    Change, Decision, Digest, LeaseId, LeaseRow, LeaseState, LeaseWork, Outcome, PlanId, PlanState, Report,
    TaskState, Usage, VerdictRow, VerdictSource, WaveIx,
};

use super::naive;

/// A word of a Thor outside: on what, and which.
pub(super) type Outsider = (PlanId, WaveIx, u32, Option<Digest>, Decision);

/// The book.
#[derive(Debug, Default)]
pub(super) struct Book {
    /// The results that agents made, by the lease under which they did.
    pub(super) made: BTreeMap<LeaseId, Report>,
    /// Leases whose worker was told that its result is accepted.
    pub(super) told: BTreeSet<LeaseId>,
    pub(super) outsiders: BTreeSet<Outsider>,
    /// What persons resolved, as the verdict that it is recorded as.
    pub(super) resolved: BTreeSet<(PlanId, Decision)>,
}

impl Book {
    /// Whether a change says what was said. The change is not yet written.
    pub(super) fn check(&self, change: &Change, durable: &naive::Store) {
        match change {
            Change::Result { lease, accepted, report } => {
                self.check_result(*lease, *accepted, report);
                assert!(
                    *accepted || is_too_late(*lease, durable),
                    "I8: a result of {lease} is refused, and comes within its right"
                );
            }
            Change::Verdict(row) => {
                assert!(self.is_said(row, durable), "I7: a verdict that nobody gave on it: {row:?}");
            }
            Change::LeaseGranted(row) => {
                let plan = &durable.plans[&row.plan];
                let mode = plan.row.mode.map(|mode| mode.as_str());
                assert_eq!(
                    plan.mode_column.as_deref(),
                    mode,
                    "I1: granted by another mode than the column's"
                );
            }
            _ => {}
        }
    }

    /// I7: whether whose word it is said so, on this candidate.
    fn is_said(&self, row: &VerdictRow, durable: &naive::Store) -> bool {
        let mut made = self.made.iter().filter_map(|(lease, report)| {
            let it = &durable.leases[lease];
            let is_on_it = (it.plan, it.wave, it.round) == (row.plan, row.wave, row.round);
            let is_taken = durable.results.get(lease) == Some(&true);
            (is_on_it && is_taken).then_some((it.work, report))
        });
        match row.source {
            VerdictSource::External => {
                let word = (row.plan, row.wave, row.round, row.candidate, row.verdict.decision);
                self.outsiders.contains(&word)
            }
            VerdictSource::Override => self.resolved.contains(&(row.plan, row.verdict.decision)),
            VerdictSource::Thor => made.any(|(work, report)| {
                let is_judged =
                    matches!(work, LeaseWork::Validate { candidate } if Some(candidate) == row.candidate);
                is_judged
                    && report.outcome == Outcome::Succeeded
                    && report.verdict.as_ref() == Some(&row.verdict)
            }),
            VerdictSource::Integration => made.any(|(work, report)| {
                work == LeaseWork::Integrate
                    && report.outcome == Outcome::Conflict
                    && row.verdict.decision == Decision::Rejected
            }),
        }
    }

    fn check_result(&self, lease: LeaseId, accepted: bool, report: &Report) {
        let made = self.made.get(&lease);
        let made = made.unwrap_or_else(|| panic!("I5: a result of {lease} that its worker never made"));
        if accepted {
            let said = |report: &Report| (report.outcome, report.changes, report.candidate);
            assert_eq!(said(report), said(made), "I5: another result of {lease} than its worker made");
            assert_eq!(report.verdict, made.verdict, "I7: another verdict than Thor's");
        }
        if made.usage != Usage::default() {
            assert_eq!(report.usage, made.usage, "I11: booked otherwise than it was told, {lease}");
        }
    }

    /// At the end, and whenever a process starts: what was acknowledged is stored.
    pub(super) fn check_kept(&self, durable: &naive::Store) {
        for lease in &self.told {
            let stored = durable.results.get(lease);
            assert_eq!(stored, Some(&true), "I6: the result of {lease} was accepted, and is not stored");
        }
    }

    /// At the end: every result that a plan waited for was answered.
    pub(super) fn check_spent(&self, durable: &naive::Store) {
        for (id, plan) in durable.plans.iter().filter(|(_, plan)| plan.row.state != PlanState::Cancelled) {
            let booked = self.made.iter().filter(|(lease, _)| {
                durable.results.contains_key(lease) && durable.leases[lease].plan == *id
            });
            let told: u64 = booked.map(|(_, report)| report.usage.tokens()).sum();
            let spent = plan.row.spent.tokens();
            // What was lost or given back is booked by its reservation or its last progress, on top.
            assert!(spent >= told, "I11: plan {id} has {spent} tokens booked, {told} were told");
        }
    }
}

/// A result of a lost lease is taken as long as no newer attempt was granted and its task did not go on by
/// a person's word; only the first copy of it.
pub(super) fn is_too_late(lease: LeaseId, durable: &naive::Store) -> bool {
    let row = &durable.leases[&lease];
    let LeaseWork::Task { task, attempt } = row.work else { return !row.state.is_open() };
    let is_newer = |other: &LeaseRow| {
        other.plan == row.plan
            && matches!(other.work, LeaseWork::Task { task: of, attempt: at } if of == task && at > attempt)
    };
    match row.state {
        LeaseState::Lost => {
            let went_on = match durable.plans[&row.plan].tasks[task.at()].state {
                TaskState::Submitted | TaskState::Done | TaskState::Skipped | TaskState::Cancelled => true,
                TaskState::Pending { .. } | TaskState::Leased | TaskState::Blocked(_) => false,
            };
            went_on || durable.results.contains_key(&lease) || durable.leases.values().any(is_newer)
        }
        // It was answered, or given back.
        LeaseState::Finished | LeaseState::Released(_) => true,
        LeaseState::Granted
        | LeaseState::Running
        | LeaseState::Cancelling
        | LeaseState::Unreachable { .. } => false,
    }
}

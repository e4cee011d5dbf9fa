//! Bugs, to prove that the checks bite. Each is put between the engine and its world: into what it is
//! loaded with, what it is told, what it writes, or what is done with its word. The engine itself holds none of them.

use wavegate_coordinator::driver::Snapshot;
use wavegate_engine::{
    Change, Decision, LeaseId, LeaseRow, LeaseState, LeaseWork, Mode, Outcome, PlanId, PlanState, Report,
    STANDARD_CAP, SessionEvent, TaskIx, TaskRow, TaskState, Usage, Verdict, VerdictRow, VerdictSource,
    WaveState,
};

use super::naive;

/// One bug.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mutation {
    /// The cap forgets leases whose worker is silent.
    ForgetUnreachable,
    /// After a restart what was granted is granted again.
    GrantAgainAfterRestart,
    /// After a restart nothing was spent.
    ForgetSpending,
    /// After a restart no wave waits for another.
    ForgetDependencies,
    /// The granting transaction does not read the mode's column.
    BlindToColumn,
    /// A commit does not reach the disk.
    CommitInMemory,
    /// That a result was accepted is forgotten: its second copy is taken for a new one.
    ForgetAccepted,
    /// A report on a lease that is over is taken for one on the lease that the task has now.
    UnfencedAccept,
    /// A Thor whose lease is lost or given back is taken for one that approved.
    ApproveOnThorCrash,
    /// What a result cost is not booked.
    UnbookedCost,
    /// A verdict on an older candidate is taken for one on the present one.
    StaleVerdict,
    /// The coordinator's clock stands still: nothing is ever lost.
    FrozenClock,
    /// Workers do not end their agents when nobody answers.
    UnfencedWorker,
    /// Answers to results are not sent.
    NoAnswers,
}

impl Mutation {
    /// Every one.
    pub const ALL: [Self; 14] = [
        Self::ForgetUnreachable,
        Self::GrantAgainAfterRestart,
        Self::ForgetSpending,
        Self::ForgetDependencies,
        Self::BlindToColumn,
        Self::CommitInMemory,
        Self::ForgetAccepted,
        Self::UnfencedAccept,
        Self::ApproveOnThorCrash,
        Self::UnbookedCost,
        Self::StaleVerdict,
        Self::FrozenClock,
        Self::UnfencedWorker,
        Self::NoAnswers,
    ];

    /// What the engine goes on from.
    pub(super) fn spoil_snapshot(self, snapshot: &mut Snapshot) {
        for plan in &mut snapshot.plans {
            match self {
                Self::ForgetSpending => plan.row.spent = Usage::default(),
                Self::ForgetDependencies if plan.row.state == PlanState::Running => {
                    plan.shape.waves.iter_mut().for_each(|wave| wave.depends_on.clear());
                }
                _ => {}
            }
        }
    }

    /// What a session brings. `durable` is what is stored when it comes.
    pub(super) fn spoil_event(self, event: &mut SessionEvent, durable: &naive::Store) {
        match (self, event) {
            (Self::UnbookedCost, SessionEvent::Finished { report, .. }) => report.usage = Usage::default(),
            (Self::UnfencedAccept, SessionEvent::Finished { lease, .. }) => {
                *lease = current(*lease, durable).unwrap_or(*lease);
            }
            _ => {}
        }
    }

    /// What a transaction writes. `durable` is what is stored before it.
    pub(super) fn spoil_commit(self, written: &mut Vec<Change>, durable: &naive::Store, is_first: bool) {
        let grant = match self {
            Self::ApproveOnThorCrash => {
                let crash = written.iter().position(|change| approved_anyway(change, durable).is_some());
                if let Some(at) = crash {
                    let word = approved_anyway(&written[at], durable);
                    written.splice(at + 1..at + 1, word);
                }
                None
            }
            Self::ForgetUnreachable => granted_over_the_cap(durable),
            Self::GrantAgainAfterRestart if is_first => granted_again(durable),
            _ => None,
        };
        written.splice(0..0, grant.into_iter().flatten());
    }
}

/// Of the plans to which something may be granted now.
fn running(durable: &naive::Store) -> impl Iterator<Item = (PlanId, &naive::Stored)> {
    let may = |plan: &naive::Stored| {
        let mode = plan.row.mode.map(|mode| mode.as_str());
        plan.visible && plan.row.state == PlanState::Running && plan.mode_column.as_deref() == mode
    };
    durable.plans.iter().filter(move |(_, plan)| may(plan)).map(|(id, plan)| (*id, plan))
}

/// The grant of the next task of a full plan, one of whose leases nobody hears of.
fn granted_over_the_cap(durable: &naive::Store) -> Option<[Change; 2]> {
    running(durable).find_map(|(id, plan)| {
        let open: Vec<_> = durable.open_task_leases(id).collect();
        let silent = open.iter().find(|it| matches!(it.state, LeaseState::Unreachable { .. }))?;
        let is_full = plan.row.mode == Some(Mode::Standard) && open.len() as u32 == STANDARD_CAP;
        let next = plan.tasks.iter().zip(plan.shape.tasks.iter()).position(|(task, shape)| {
            matches!(task.state, TaskState::Pending { .. })
                && plan.waves[shape.wave.at()].state == WaveState::Running
        });
        next.filter(|_| is_full).map(|next| grant(plan, TaskIx(next as u32), silent))
    })
}

/// A second grant of a task that somebody works at.
fn granted_again(durable: &naive::Store) -> Option<[Change; 2]> {
    let all = running(durable).map(|(id, _)| durable.open_task_leases(id).count() as u32).sum::<u32>();
    running(durable).filter(|_| durable.max_agents.is_none_or(|most| all < most)).find_map(|(id, plan)| {
        let is_full = plan.row.mode == Some(Mode::Standard)
            && durable.open_task_leases(id).count() as u32 >= STANDARD_CAP;
        let held = durable.open_task_leases(id).find(|lease| {
            naive::task_of(lease).is_some_and(|task| plan.tasks[task.at()].state == TaskState::Leased)
        });
        held.filter(|_| !is_full).and_then(|held| Some(grant(plan, naive::task_of(held)?, held)))
    })
}

/// What the engine writes when it grants the task, to the worker of another lease.
fn grant(plan: &naive::Stored, task: TaskIx, like: &LeaseRow) -> [Change; 2] {
    let stored = &plan.tasks[task.at()];
    let wave = plan.shape.tasks[task.at()].wave;
    let attempt = stored.attempt + 1;
    let row = TaskRow { attempt, state: TaskState::Leased, ..stored.clone() };
    let lease = LeaseRow {
        id: LeaseId(!like.id.0),
        state: LeaseState::Granted,
        wave,
        work: LeaseWork::Task { task, attempt },
        round: plan.waves[wave.at()].round,
        ..like.clone()
    };
    [Change::Task { plan: like.plan, task, was: stored.state.name(), row }, Change::LeaseGranted(lease)]
}

/// The approval that the engine would write if no word of Thor's were as good as one.
fn approved_anyway(change: &Change, durable: &naive::Store) -> Option<Change> {
    let Change::Lease { row, .. } = change else { return None };
    let LeaseWork::Validate { candidate } = row.work else { return None };
    let wave = &durable.plans[&row.plan].waves[row.wave.at()];
    let is_over = matches!(row.state, LeaseState::Lost | LeaseState::Released(_));
    let is_current = (wave.state, wave.round) == (WaveState::Validating, row.round);
    (is_over && is_current).then(|| {
        Change::Verdict(Box::new(VerdictRow {
            plan: row.plan,
            wave: row.wave,
            round: row.round,
            candidate: Some(candidate),
            source: VerdictSource::Thor,
            verdict: Verdict::bare(Decision::Approved, Vec::new()),
            by: row.worker.to_string(),
            note: String::new(),
        }))
    })
}

/// The open lease of the same worker for the task that an older lease was for.
fn current(lease: LeaseId, durable: &naive::Store) -> Option<LeaseId> {
    let old = durable.leases.get(&lease)?;
    let LeaseWork::Task { task, .. } = old.work else { return None };
    let same = |row: &&wavegate_engine::LeaseRow| {
        matches!(row.work, LeaseWork::Task { task: other, .. } if other == task)
            && (row.plan, &row.worker, row.state.is_open()) == (old.plan, &old.worker, true)
    };
    durable.leases.values().find(same).map(|row| row.id)
}

/// A Thor's approval.
pub(super) fn approval() -> Report {
    let verdict = wavegate_engine::Verdict::bare(wavegate_engine::Decision::Approved, Vec::new());
    Report {
        outcome: Outcome::Succeeded,
        exit_code: Some(0),
        summary: String::new(),
        output_tail: String::new(),
        run_ms: 1,
        usage: Usage::default(),
        output_json: String::new(),
        changes: None,
        changed_files: 0,
        candidate: None,
        target: None,
        published: wavegate_engine::Published::default(),
        conflicts: Vec::new(),
        verdict: Some(verdict),
        talk: wavegate_engine::Talk::default(),
        counsel: None,
    }
}

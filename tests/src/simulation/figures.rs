//! What a run, or many, did: steps, faults by kind, and which rows of the engine's tables were taken.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt,
};

use wavegate_engine::{LeaseEvent, LeaseState, ReleaseReason, TaskBlock, TaskEvent, TaskState};

/// A row of a table of transitions: the state before, and what happened.
pub type Row = (&'static str, &'static str);

/// Of a hundred plans at least so many are done, whatever happens to them: over many seeds it is 87.
pub const LEAST_DONE: u64 = 75;

/// The figures.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Figures {
    pub runs: u64,
    pub plans: u64,
    /// Things that happened: messages, turns, deadlines, faults, words of persons.
    pub steps: u64,
    /// Committed transactions.
    pub commits: u64,
    pub grants: u64,
    pub simulated_ms: u64,
    /// By kind.
    pub faults: BTreeMap<&'static str, u64>,
    /// How plans ended, by state and reason.
    pub ends: BTreeMap<String, u64>,
    pub task_rows: BTreeSet<Row>,
    pub lease_rows: BTreeSet<Row>,
    /// Changes of a plan's or a wave's state that were seen: from which to which, with their reasons.
    pub plan_moves: BTreeMap<(String, String), u64>,
    pub wave_moves: BTreeMap<(String, String), u64>,
}

impl Figures {
    /// A fault was injected.
    pub(super) fn fault(&mut self, kind: &'static str) {
        *self.faults.entry(kind).or_default() += 1;
    }

    /// Both together.
    pub fn add(&mut self, other: &Self) {
        self.runs += other.runs;
        self.plans += other.plans;
        self.steps += other.steps;
        self.commits += other.commits;
        self.grants += other.grants;
        self.simulated_ms += other.simulated_ms;
        for (kind, count) in &other.faults {
            *self.faults.entry(kind).or_default() += count;
        }
        for (end, count) in &other.ends {
            *self.ends.entry(end.clone()).or_default() += count;
        }
        self.task_rows.extend(&other.task_rows);
        self.lease_rows.extend(&other.lease_rows);
        for (all, more) in
            [(&mut self.plan_moves, &other.plan_moves), (&mut self.wave_moves, &other.wave_moves)]
        {
            for (way, count) in more {
                *all.entry(way.clone()).or_default() += count;
            }
        }
    }

    /// Of a hundred plans, so many were done.
    #[must_use]
    pub fn done_per_cent(&self) -> u64 {
        self.ends.get("done").copied().unwrap_or_default() * 100 / self.plans.max(1)
    }

    /// Every legal row of the engine's tables that was not taken.
    #[must_use]
    pub fn rows_not_taken(&self) -> Vec<String> {
        let told = |thing: &str, (state, event): &Row| format!("{thing}: {state} + {event}");
        let tasks = legal_task_rows().into_iter().filter(|row| !self.task_rows.contains(row));
        let leases = legal_lease_rows().into_iter().filter(|row| !self.lease_rows.contains(row));
        tasks.map(|row| told("task", &row)).chain(leases.map(|row| told("lease", &row))).collect()
    }
}

/// The rows of the task's table that are legal, by asking it.
#[must_use]
pub fn legal_task_rows() -> BTreeSet<Row> {
    let states = [
        TaskState::Pending { not_before: None },
        TaskState::Leased,
        TaskState::Submitted,
        TaskState::Done,
        TaskState::Blocked(TaskBlock::Held),
        TaskState::Skipped,
        TaskState::Cancelled,
    ];
    let events = [
        ("granted", TaskEvent::Granted),
        ("submitted", TaskEvent::Submitted),
        ("skipped", TaskEvent::Skipped),
        ("returned", TaskEvent::Returned { not_before: None }),
        ("blocked", TaskEvent::Blocked(TaskBlock::Held)),
        ("approved", TaskEvent::Approved),
        ("cancelled", TaskEvent::Cancelled),
    ];
    let pairs = states.into_iter().flat_map(|state| events.into_iter().map(move |event| (state, event)));
    let legal = pairs.filter(|(state, (_, event))| state.next(*event).is_ok());
    legal.map(|(state, (name, _))| (state.name(), name)).collect()
}

/// The same of the lease's table.
#[must_use]
pub fn legal_lease_rows() -> BTreeSet<Row> {
    let states = [
        LeaseState::Granted,
        LeaseState::Running,
        LeaseState::Cancelling,
        LeaseState::Unreachable { cancelling: false },
        LeaseState::Unreachable { cancelling: true },
        LeaseState::Finished,
        LeaseState::Released(ReleaseReason::Drain),
        LeaseState::Lost,
    ];
    let events = [
        ("started", LeaseEvent::Started),
        ("silent", LeaseEvent::Silent),
        ("heard", LeaseEvent::Heard),
        ("cancel asked", LeaseEvent::CancelAsked),
        ("finished", LeaseEvent::Finished),
        ("released", LeaseEvent::Released(ReleaseReason::Drain)),
        ("lost", LeaseEvent::Lost),
    ];
    let pairs = states.into_iter().flat_map(|state| events.into_iter().map(move |event| (state, event)));
    let legal = pairs.filter(|(state, (_, event))| state.next(*event).is_ok());
    legal.map(|(state, (name, _))| (lease_word(state), name)).collect()
}

/// The state's word, with what an unreachable one was.
pub(super) const fn lease_word(state: LeaseState) -> &'static str {
    match state {
        LeaseState::Unreachable { cancelling: true } => "unreachable (cancelling)",
        other => other.name(),
    }
}

impl fmt::Display for Figures {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { runs, plans, steps, commits, grants, .. } = self;
        let hours = self.simulated_ms / 3_600_000;
        writeln!(
            f,
            "{runs} runs, {plans} plans, {steps} steps, {commits} commits, {grants} grants, {hours} h simulated"
        )?;
        writeln!(f, "faults:")?;
        self.faults.iter().try_for_each(|(kind, count)| writeln!(f, "  {count:>9}  {kind}"))?;
        writeln!(f, "plans came to ({} % done):", self.done_per_cent())?;
        self.ends.iter().try_for_each(|(end, count)| writeln!(f, "  {count:>9}  {end}"))?;
        for (thing, moves) in [("plan", &self.plan_moves), ("wave", &self.wave_moves)] {
            writeln!(f, "changes of a {thing}'s state seen: {}", moves.len())?;
            moves.iter().try_for_each(|((from, to), count)| writeln!(f, "  {count:>9}  {from} -> {to}"))?;
        }
        let missing = self.rows_not_taken();
        let all = legal_task_rows().len() + legal_lease_rows().len();
        writeln!(f, "rows of the tables of transitions taken: {} of {all}", all - missing.len())?;
        missing.iter().try_for_each(|row| writeln!(f, "  not taken: {row}"))
    }
}

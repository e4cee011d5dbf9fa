//! One plan in memory. Owns its rows, its leases and what can be derived of them (what is ready, how
//! many tasks of a wave are in which state), and keeps both in step with the changes it emits.
//!
//! The rooms below decide by occasion: `progress` what follows by itself, `outcome` what the end of a
//! lease means, `trouble` what it means for an account, `counsel` what the coordinator's model is asked, `verdict` what Thor's word means, `steer` and `resolve` what a person asks.

mod counsel;
mod outcome;
mod progress;
mod resolve;
mod steer;
mod trouble;
mod verdict;
mod write;

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use crate::{
    config::{Config, Timings},
    effect::{Effects, Event, EventKind, Message, Send},
    fleet::{Fleet, LeaseIndex},
    ids::{LeaseId, Moment, Mono, PlanId, TaskIx, WaveIx, WorkerId},
    row::{AwaitsCounsel, LeaseKind, LeaseRow, LeaseWork, PlanRow, PlanSnapshot, TaskRow, WaveRow},
    spec::{Demand, PlanShape, TaskShape},
    state::{LeaseState, Mode, PlanState, TaskState, WaveState},
};

/// What a decision may look at and write to, besides its plan.
pub(crate) struct Context<'a, 'm> {
    pub(crate) moment: &'a mut Moment<'m>,
    pub(crate) effects: &'a mut Effects,
    pub(crate) fleet: &'a mut Fleet,
    pub(crate) index: &'a mut LeaseIndex,
    pub(crate) config: &'a Config,
}

#[derive(Debug, Clone)]
pub(crate) struct Plan {
    pub(crate) shape: Arc<PlanShape>,
    pub(crate) row: PlanRow,
    pub(crate) waves: Vec<Wave>,
    pub(crate) tasks: Vec<TaskRow>,
    /// Open leases, and each task's newest lease if it is lost.
    pub(crate) leases: BTreeMap<LeaseId, Lease>,
    /// The kinds of demand of its tasks, and what is ready of each, by priority and plan order.
    pub(crate) classes: Vec<Demand>,
    pub(crate) ready: Vec<BTreeSet<(u8, TaskIx)>>,
    /// Pending tasks that wait for a time.
    pub(crate) delayed: BTreeMap<TaskIx, Mono>,
    /// Open task leases: what the cap counts.
    pub(crate) open_tasks: u32,
    /// Since when nothing runs and nothing can.
    pub(crate) idle_since: Option<Mono>,
    /// Workers that could not reach the repository for such a lease, until they connect anew.
    pub(crate) out_of_reach: BTreeSet<(LeaseKind, WorkerId)>,
    /// Something changed that may let it progress.
    pub(crate) stirred: bool,
    /// The plan itself or a wave of it changed: also waves that wait may progress.
    waves_stirred: bool,
    /// Waves that have begun and are neither done nor cancelled.
    pub(crate) begun: BTreeSet<WaveIx>,
    /// Nothing of it is due before this; None: nothing is due.
    pub(crate) wake: Option<Mono>,
    class_of: Vec<usize>,
    /// The tasks in the order of their keys.
    by_key: Vec<TaskIx>,
    dependents: Vec<Vec<TaskIx>>,
    /// Tasks that are to be built on results that theirs conflicted with.
    builders: BTreeSet<TaskIx>,
    lease_of: BTreeMap<TaskIx, LeaseId>,
}

#[derive(Debug, Clone)]
pub(crate) struct Wave {
    pub(crate) row: WaveRow,
    /// Its open integrate, validate, publish or coordinate lease.
    pub(crate) duty: Option<LeaseId>,
    counts: Counts,
    ready: u32,
    delayed: u32,
}

#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
struct Counts {
    pending: u32,
    leased: u32,
    blocked: u32,
}

#[derive(Debug, Clone)]
pub(crate) struct Lease {
    pub(crate) row: LeaseRow,
    /// When its worker last proved that it holds it.
    pub(crate) base: Mono,
    pub(crate) grant: Grant,
    /// The worker of a lost lease is back and says that it still has it.
    pub(crate) claim: Option<Claim>,
}

/// A lost lease whose result may still come: since when, and until when that is believed.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Claim {
    pub(crate) since: Mono,
    pub(crate) until: Mono,
}

/// What is known of the way of a lease's grant.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Grant {
    /// By this number in the worker's session.
    Sent(u64),
    /// Its worker has said that it holds it.
    Held,
    /// Sent before this engine began, or went back: no heartbeat tells whether it was seen.
    Unknown,
    /// From before the worker's session, whose hello does not name it. A hello may be an old one whose stream
    /// was long on its way; the session's first heartbeat proves that it is not, and ends the lease.
    Missed { by_same_instance: bool },
}

impl Plan {
    /// A plan that awaits approval.
    pub(crate) fn submitted(shape: Arc<PlanShape>) -> Self {
        let row = PlanRow {
            state: PlanState::AwaitingApproval,
            mode: None,
            tier: None,
            tree: shape.base,
            spent: crate::row::Usage::default(),
            budget: shape.budget,
            approved: None,
            ended: None,
        };
        let waves = vec![WaveRow::new(); shape.waves.len()];
        let tasks =
            shape.tasks.iter().map(|task| TaskRow { budget: task.budget, ..TaskRow::new() }).collect();
        Self::build(shape, row, waves, tasks)
    }

    /// A plan as stored; every lease gets its lost_after again from `now`.
    pub(crate) fn restored(
        snapshot: PlanSnapshot,
        moment: &Moment<'_>,
        timings: &Timings,
        index: &mut LeaseIndex,
    ) -> Self {
        let PlanSnapshot { shape, row, waves, tasks, leases, requested_mode: _ } = snapshot;
        let mut plan = Self::build(Arc::new(shape), row, waves, tasks);
        for row in leases.into_iter().filter(|row| plan.keeps_right(row)).collect::<Vec<_>>() {
            plan.adopt(row, moment.mono, index);
        }
        for at in 0..plan.tasks.len() {
            if let TaskState::Pending { not_before: Some(time) } = plan.tasks[at].state {
                let wait = u64::try_from(time.0.saturating_sub(moment.utc.0)).unwrap_or(0);
                // A wall clock that was set back must not hold a task for hours.
                plan.delayed
                    .insert(TaskIx(at as u32), moment.mono.plus(wait.min(timings.longest_retry_ms())));
            }
        }
        for at in 0..plan.waves.len() {
            plan.refresh_wave(WaveIx(at as u32));
        }
        plan.due(moment.mono);
        plan
    }

    fn build(shape: Arc<PlanShape>, row: PlanRow, waves: Vec<WaveRow>, tasks: Vec<TaskRow>) -> Self {
        let mut by_demand = BTreeMap::new();
        let mut classes = Vec::new();
        let mut class_of = Vec::with_capacity(tasks.len());
        let mut dependents = vec![Vec::new(); tasks.len()];
        for (task, at) in shape.tasks.iter().zip(0..) {
            class_of.push(*by_demand.entry(&task.demand).or_insert_with(|| {
                classes.push(task.demand.clone());
                classes.len() - 1
            }));
            for dependency in &task.depends_on {
                dependents[dependency.at()].push(TaskIx(at));
            }
        }
        let mut by_key: Vec<_> = (0..tasks.len() as u32).map(TaskIx).collect();
        by_key.sort_by_key(|task| shape.tasks[task.at()].key.as_str());
        let mut plan = Self {
            row,
            waves: waves.into_iter().map(Wave::new).collect(),
            ready: vec![BTreeSet::new(); classes.len()],
            classes,
            class_of,
            dependents,
            builders: (0..tasks.len() as u32)
                .map(TaskIx)
                .filter(|task| !tasks[task.at()].built_on.is_empty())
                .collect(),
            tasks,
            leases: BTreeMap::new(),
            lease_of: BTreeMap::new(),
            delayed: BTreeMap::new(),
            open_tasks: 0,
            idle_since: None,
            out_of_reach: BTreeSet::new(),
            stirred: true,
            waves_stirred: true,
            begun: BTreeSet::new(),
            wake: None,
            by_key,
            shape,
        };
        for at in 0..plan.waves.len() {
            plan.note_begun(WaveIx(at as u32));
        }
        for at in 0..plan.tasks.len() {
            let state = plan.tasks[at].state;
            let wave = plan.shape.tasks[at].wave;
            plan.waves[wave.at()].counts.add(state);
        }
        plan
    }

    /// Open, or lost without a newer attempt: a result of it can still be accepted.
    fn keeps_right(&self, row: &LeaseRow) -> bool {
        row.state.is_open()
            || match row.work {
                LeaseWork::Task { task, attempt } => {
                    row.state == LeaseState::Lost && self.tasks[task.at()].attempt == attempt
                }
                LeaseWork::Integrate
                | LeaseWork::Validate { .. }
                | LeaseWork::Coordinate { .. }
                | LeaseWork::Publish { .. } => false,
            }
    }

    fn adopt(&mut self, row: LeaseRow, now: Mono, index: &mut LeaseIndex) {
        if row.state.is_open() {
            index.open(row.id, row.plan, &row.worker);
        } else {
            index.plan_of.insert(row.id, row.plan);
        }
        match row.work {
            LeaseWork::Task { task, .. } => {
                self.lease_of.insert(task, row.id);
                let open = u32::from(row.state.is_open());
                self.open_tasks += open;
                index.open_tasks += open;
            }
            LeaseWork::Integrate
            | LeaseWork::Validate { .. }
            | LeaseWork::Coordinate { .. }
            | LeaseWork::Publish { .. } => self.waves[row.wave.at()].duty = Some(row.id),
        }
        self.leases.insert(row.id, Lease { row, base: now, grant: Grant::Unknown, claim: None });
    }

    pub(crate) fn id(&self) -> PlanId {
        self.shape.id
    }

    pub(crate) fn task(&self, task: TaskIx) -> (&TaskShape, &TaskRow) {
        (&self.shape.tasks[task.at()], &self.tasks[task.at()])
    }

    /// Which of the plan's kinds of demand the task has.
    pub(crate) fn class_of(&self, task: TaskIx) -> usize {
        self.class_of[task.at()]
    }

    pub(crate) fn task_named(&self, key: &str) -> Option<TaskIx> {
        let key_of = |task: &TaskIx| self.shape.tasks[task.at()].key.as_str();
        self.by_key.binary_search_by_key(&key, key_of).ok().map(|at| self.by_key[at])
    }

    pub(crate) fn wave_named(&self, key: &str) -> Option<WaveIx> {
        self.shape.waves.iter().position(|wave| wave.key == key).map(|at| WaveIx(at as u32))
    }

    pub(crate) fn tasks_of(&self, wave: WaveIx) -> impl Iterator<Item = TaskIx> + use<> {
        self.shape.waves[wave.at()].tasks.clone().map(TaskIx)
    }

    /// The waves that have begun and are in this state.
    pub(crate) fn waves_in(&self, state: WaveState) -> impl Iterator<Item = WaveIx> {
        self.begun.iter().copied().filter(move |wave| self.waves[wave.at()].row.state == state)
    }

    /// The most task leases that may be open at once; None: no limit.
    pub(crate) fn cap(&self) -> Option<u32> {
        match self.row.mode {
            Some(Mode::Max) => None,
            Some(Mode::Standard) | None => Some(STANDARD_CAP),
        }
    }

    /// Whether a wave of it is being published.
    pub(crate) fn publishes(&self) -> bool {
        let mut open = self.begun.iter().filter_map(|wave| self.leases.get(&self.waves[wave.at()].duty?));
        open.any(|lease| matches!(lease.row.work, LeaseWork::Publish { .. }))
    }

    /// Tasks that wait for this one or were built on it, directly or not.
    pub(crate) fn all_dependents(&self, task: TaskIx) -> BTreeSet<TaskIx> {
        closure(task, |task| {
            let builders = self.builders.iter();
            let builders = builders.filter(move |other| self.tasks[other.at()].built_on.contains(&task));
            self.dependents[task.at()].iter().chain(builders).copied()
        })
    }

    /// Tasks that this one waits for or is built on, directly or not.
    pub(crate) fn all_dependencies(&self, task: TaskIx) -> BTreeSet<TaskIx> {
        closure(task, |task| {
            let declared = &self.shape.tasks[task.at()].depends_on;
            declared.iter().chain(&self.tasks[task.at()].built_on).copied()
        })
    }

    /// The tasks in plan order, but none before what it is built on.
    pub(crate) fn in_order(&self, tasks: &BTreeSet<TaskIx>) -> Vec<TaskIx> {
        let mut waits: BTreeMap<TaskIx, usize> = BTreeMap::new();
        let mut releases: BTreeMap<TaskIx, Vec<TaskIx>> = BTreeMap::new();
        for task in tasks {
            let before = self.all_dependencies(*task);
            let before: Vec<_> = before.intersection(tasks).filter(|before| *before != task).collect();
            waits.insert(*task, before.len());
            for dependency in before {
                releases.entry(*dependency).or_default().push(*task);
            }
        }
        let mut ready: BTreeSet<_> = tasks.iter().copied().filter(|task| waits[task] == 0).collect();
        let mut order = Vec::with_capacity(tasks.len());
        while let Some(task) = ready.pop_first() {
            order.push(task);
            for next in releases.remove(&task).unwrap_or_default() {
                if let Some(left) = waits.get_mut(&next) {
                    *left -= 1;
                    if *left == 0 {
                        ready.insert(next);
                    }
                }
            }
        }
        order
    }

    /// Something of it may be due then.
    pub(crate) fn due(&mut self, at: Mono) {
        self.wake = Some(self.wake.map_or(at, |wake| wake.min(at)));
    }

    /// Whether nothing of it can happen any more, so that it can be forgotten.
    pub(crate) fn is_over(&self) -> bool {
        self.row.state.is_final() && !self.leases.values().any(|lease| lease.row.state.is_open())
    }

    pub(crate) fn event(&self, kind: EventKind) -> Event {
        Event { plan: Some(self.id()), ..Event::of(kind) }
    }
}

/// The actor of what follows by itself.
pub(crate) const COORDINATOR: &str = "coordinator";

/// Task leases of a plan in mode standard: the rule that this program enforces.
pub const STANDARD_CAP: u32 = 3;

/// An event is read in a list: the whole of what a worker said is in its result.
const MAX_EVENT_BYTES: usize = 4 * 1024;

fn closure<I: Iterator<Item = TaskIx>>(task: TaskIx, next: impl Fn(TaskIx) -> I) -> BTreeSet<TaskIx> {
    let mut found = BTreeSet::new();
    let mut open = vec![task];
    while let Some(task) = open.pop() {
        open.extend(next(task).filter(|next| found.insert(*next)));
    }
    found
}

impl Wave {
    fn new(row: WaveRow) -> Self {
        Self { row, duty: None, counts: Counts::default(), ready: 0, delayed: 0 }
    }
}

impl Counts {
    fn of(&mut self, state: TaskState) -> Option<&mut u32> {
        match state {
            TaskState::Pending { .. } => Some(&mut self.pending),
            TaskState::Leased => Some(&mut self.leased),
            TaskState::Blocked(_) => Some(&mut self.blocked),
            TaskState::Submitted | TaskState::Done | TaskState::Skipped | TaskState::Cancelled => None,
        }
    }

    fn add(&mut self, state: TaskState) {
        if let Some(count) = self.of(state) {
            *count += 1;
        }
    }

    fn remove(&mut self, state: TaskState) {
        if let Some(count) = self.of(state) {
            *count -= 1;
        }
    }
}

impl WaveRow {
    /// A wave that has not begun.
    #[must_use]
    pub const fn new() -> Self {
        Self {
            state: WaveState::Waiting,
            round: 1,
            candidate: None,
            target: None,
            target_moves: 0,
            integrate_failures: 0,
            validate_failures: 0,
            counsel: None,
            counsel_failures: 0,
        }
    }
}

impl Default for WaveRow {
    fn default() -> Self {
        Self::new()
    }
}

impl TaskRow {
    /// A task that has not begun.
    #[must_use]
    pub fn new() -> Self {
        Self {
            state: TaskState::Pending { not_before: None },
            attempt: 0,
            failures: 0,
            losses: 0,
            rejections: 0,
            evidence_only: false,
            awaits_counsel: AwaitsCounsel::No,
            spent: crate::row::Usage::default(),
            budget: crate::spec::Budget::default(),
            built_on: Vec::new(),
            result: None,
            own: None,
        }
    }
}

impl Default for TaskRow {
    fn default() -> Self {
        Self::new()
    }
}

impl Context<'_, '_> {
    pub(crate) fn emit(&mut self, mut event: Event) {
        if event.text.len() > MAX_EVENT_BYTES {
            event.text.truncate(event.text.floor_char_boundary(MAX_EVENT_BYTES));
            event.text.push_str(" [...]");
        }
        self.effects.changes.push(crate::effect::Change::Event(event));
    }

    /// Sends to the worker if it is connected; if not, its hello will bring the matter up again.
    pub(crate) fn send(&mut self, worker: &WorkerId, message: Message) {
        if let Some(session) = self.fleet.session_of(worker) {
            self.effects.sends.push(Send { session, message });
        }
    }
}

impl Lease {
    pub(crate) fn is_lost(&self) -> bool {
        self.row.state == LeaseState::Lost
    }
}

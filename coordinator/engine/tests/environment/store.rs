//! The naive store: what the changes add up to. Panics on a change that does not fit what it holds,
//! and on a single write that breaks an invariant (I1 to I5, I7, I9, I11).

use std::collections::{BTreeMap, BTreeSet};

use wavegate_engine::{
    Account, AccountRow, AccountState, Change, Decision, Event, LeaseId, LeaseRow, LeaseState, LeaseWork,
    Mode, PastLease, PlanId, PlanRow, PlanSnapshot, PlanState, STANDARD_CAP, TaskIx, TaskRow, TaskState,
    Tier, Usage, VerdictRow, VerdictSource, WaveIx, WaveRow, WaveState, WorkerId, WorkerRow,
    estimate::KeptEstimates,
    spec::{PlanShape, ThorKind},
};

/// What an agent task reserves of a token budget, by the rule of thumb of the estimates.
const RESERVATION: u64 = wavegate_engine::estimate::MAX_TASK_TOKENS;

#[derive(Debug, Clone, Default, PartialEq)]
pub(crate) struct Store {
    pub(crate) plans: BTreeMap<PlanId, Stored>,
    pub(crate) leases: BTreeMap<LeaseId, LeaseRow>,
    /// Whether a result of the lease was accepted.
    pub(crate) results: BTreeMap<LeaseId, bool>,
    pub(crate) verdicts: Vec<VerdictRow>,
    pub(crate) workers: BTreeMap<WorkerId, WorkerRow>,
    pub(crate) accounts: BTreeMap<Account, AccountRow>,
    /// Leases whose counsel is heard.
    pub(crate) counsels: BTreeSet<LeaseId>,
    /// What was estimated at approval.
    pub(crate) estimates: BTreeMap<PlanId, KeptEstimates>,
    pub(crate) events: Vec<Event>,
    pub(crate) max_agents: Option<u32>,
    pub(super) accepted: BTreeSet<(PlanId, TaskIx, u32)>,
}

#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Stored {
    pub(crate) shape: PlanShape,
    pub(crate) visible: bool,
    pub(crate) row: PlanRow,
    pub(crate) waves: Vec<WaveRow>,
    pub(crate) tasks: Vec<TaskRow>,
    pub(crate) mode_column: Option<String>,
}

impl Store {
    pub(crate) fn stage(&mut self, shape: PlanShape) {
        let row = PlanRow {
            state: PlanState::AwaitingApproval,
            mode: None,
            tier: None,
            tree: shape.base,
            spent: Usage::default(),
            budget: shape.budget,
            approved: None,
            ended: None,
        };
        let waves = vec![WaveRow::new(); shape.waves.len()];
        let tasks =
            shape.tasks.iter().map(|task| TaskRow { budget: task.budget, ..TaskRow::new() }).collect();
        let id = shape.id;
        let stored = Stored { shape, visible: false, row, waves, tasks, mode_column: None };
        assert!(self.plans.insert(id, stored).is_none(), "plan {id} is staged once");
    }

    pub(crate) fn write(&mut self, change: &Change) {
        match change {
            Change::SwitchOn(id) => self.plan_mut(*id).visible = true,
            Change::Plan { id, was, row } => {
                let plan = self.plan_mut(*id);
                assert_eq!(plan.row.state.name(), *was, "{change:?}");
                plan.row = row.clone();
            }
            Change::Estimated { plan, estimates } => {
                let kept = self.estimates.insert(*plan, (**estimates).clone());
                assert_eq!(kept, None, "{change:?}");
            }
            Change::Wave { plan, wave, was, row } => {
                self.check_start(*plan, *wave, row);
                let stored = &mut self.plan_mut(*plan).waves[wave.at()];
                assert_eq!(stored.state.name(), *was, "{change:?}");
                assert_ne!(stored.state, WaveState::Cancelled, "a cancelled wave stays: {change:?}");
                *stored = row.clone();
            }
            Change::Task { plan, task, was, row } => self.write_task(*plan, *task, was, row),
            Change::LeaseGranted(row) => self.write_grant(row),
            Change::Lease { was, row } => {
                let stored = self.leases.insert(row.id, row.clone()).expect("the lease was granted");
                assert_eq!(stored.state.name(), *was, "{change:?}");
            }
            Change::Result { lease, accepted, .. } => self.write_result(*lease, *accepted),
            Change::Used { lease, .. } => {
                let state = self.leases[lease].state;
                assert!(state.is_open() || state == LeaseState::Lost, "{change:?}");
            }
            Change::Counsel { lease, .. } => {
                let state = self.leases[lease].state;
                assert_eq!(state, LeaseState::Finished, "{change:?}");
                assert!(self.counsels.insert(*lease), "{change:?}");
            }
            Change::Verdict(row) => self.verdicts.push((**row).clone()),
            Change::Worker(row) => {
                self.workers.insert(row.id.clone(), row.clone());
            }
            Change::Account(row) => {
                self.accounts.insert(row.account.clone(), row.clone());
            }
            Change::WorkerForgotten(id) => {
                self.workers.remove(id).expect("the worker was known");
            }
            Change::Restored { evidence } => assert!(!evidence.is_empty(), "{change:?}"),
            Change::ModeColumn { plan, value } => self.plan_mut(*plan).mode_column = value.clone(),
            Change::Event(event) => self.events.push(event.clone()),
        }
    }

    /// In standard a wave begins when no other has begun and is not done.
    fn check_start(&self, plan: PlanId, wave: WaveIx, row: &WaveRow) {
        let plan = &self.plans[&plan];
        let begins = plan.waves[wave.at()].state == WaveState::Waiting && row.state == WaveState::Running;
        if begins && plan.row.mode != Some(Mode::Max) {
            let over = [WaveState::Waiting, WaveState::Done];
            assert!(plan.waves.iter().all(|other| over.contains(&other.state)), "one wave at a time");
        }
    }

    fn write_task(&mut self, plan: PlanId, task: TaskIx, was: &str, row: &TaskRow) {
        let stored = &self.plans[&plan].tasks[task.at()];
        assert_eq!(stored.state.name(), was, "task {task:?} to {row:?}");
        assert!(row.attempt >= stored.attempt, "attempts only grow");
        if row.state == TaskState::Done {
            self.check_done_by_word(plan, task);
        }
        self.plan_mut(plan).tasks[task.at()] = row.clone();
    }

    /// I7: only a verdict or an override makes a task done.
    fn check_done_by_word(&self, plan: PlanId, task: TaskIx) {
        let stored = &self.plans[&plan];
        let wave = stored.shape.tasks[task.at()].wave;
        let row = &stored.waves[wave.at()];
        let last = self.verdicts.iter().rfind(|verdict| (verdict.plan, verdict.wave) == (plan, wave));
        let last = last.expect("I7: done without a word on its wave");
        assert_eq!(last.verdict.decision, Decision::Approved, "I7: {last:?}");
        assert_eq!(last.candidate, row.candidate, "I7: approved, but another candidate");
        assert!(last.source == VerdictSource::Override || last.round == row.round, "I7: a stale round");
    }

    fn write_grant(&mut self, row: &LeaseRow) {
        assert!(!self.leases.contains_key(&row.id), "a lease id is used once");
        assert_eq!(row.state, LeaseState::Granted);
        let plan = &self.plans[&row.plan];
        assert_eq!(plan.row.state, PlanState::Running, "only a running plan is granted anything");
        match plan.row.mode.expect("I3: no plan starts without a mode") {
            Mode::Standard => {}
            Mode::Max => assert_eq!(plan.row.tier, Some(Tier::Opus), "I2"),
        }
        for before in &plan.shape.waves[row.wave.at()].depends_on {
            assert_eq!(plan.waves[before.at()].state, WaveState::Done, "I4: {row:?}");
        }
        match row.work {
            LeaseWork::Task { task, attempt } => self.check_task_grant(row, task, attempt),
            LeaseWork::Integrate => {
                assert_eq!(plan.waves[row.wave.at()].state, WaveState::Integrating);
                self.check_single_duty(row);
            }
            LeaseWork::Validate { candidate } => {
                assert_eq!(plan.waves[row.wave.at()].state, WaveState::Validating);
                assert_eq!(plan.waves[row.wave.at()].candidate, Some(candidate));
                self.check_single_duty(row);
                self.check_budget(row, row.work);
            }
            LeaseWork::Publish { candidate } => {
                assert_eq!(plan.waves[row.wave.at()].state, WaveState::Publishing);
                let mut open = self.leases.values().filter(|it| it.plan == row.plan && it.state.is_open());
                let others = open.find(|it| matches!(it.work, LeaseWork::Publish { .. }));
                assert_eq!(others, None, "one wave of a plan is published after the other");
                assert_eq!(plan.waves[row.wave.at()].candidate, Some(candidate));
                self.check_single_duty(row);
            }
            LeaseWork::Coordinate { purpose, tier } => {
                assert_eq!(plan.row.tier, Some(tier), "asked under the tier of the plan");
                assert_eq!(plan.waves[row.wave.at()].counsel, Some(purpose));
                assert_eq!(plan.waves[row.wave.at()].state, WaveState::Running);
                self.check_single_duty(row);
                self.check_budget(row, row.work);
            }
        }
        self.check_account(row);
        self.check_slots(&row.worker);
        self.leases.insert(row.id, row.clone());
    }

    fn check_task_grant(&self, row: &LeaseRow, task: TaskIx, attempt: u32) {
        let plan = &self.plans[&row.plan];
        let open = self.open_task_leases(row.plan).count() as u32;
        if plan.row.mode == Some(Mode::Standard) {
            assert!(open < STANDARD_CAP, "I1: {open} are open already");
        }
        let all = self.leases.values().filter(|lease| is_open_task(lease)).count() as u32;
        assert!(self.max_agents.is_none_or(|most| all < most), "more agents than the operator allows");
        assert_eq!(plan.waves[row.wave.at()].state, WaveState::Running);
        assert_eq!(plan.tasks[task.at()].state, TaskState::Leased, "the task changes before the grant");
        assert_eq!(plan.tasks[task.at()].attempt, attempt);
        for lease in self.leases.values().filter(|lease| lease.plan == row.plan) {
            if let LeaseWork::Task { task: other, attempt: before } = lease.work
                && other == task
            {
                assert!(!lease.state.is_open(), "I9: {lease:?} is open");
                assert!(before < attempt, "an attempt is granted once");
            }
        }
        let built_on = &plan.tasks[task.at()].built_on;
        for dependency in plan.shape.tasks[task.at()].depends_on.iter().chain(built_on) {
            assert!(is_settled(plan.tasks[dependency.at()].state), "a dependency of {row:?} is not settled");
        }
        assert!(!plan.tasks[task.at()].awaits_counsel.is_held(), "granted before the counsel");
        let TaskRow { spent, budget, .. } = &plan.tasks[task.at()];
        assert!(budget.tokens.is_none_or(|most| spent.tokens() < most), "I11: the task's own budget");
        self.check_budget(row, row.work);
    }

    fn check_single_duty(&self, row: &LeaseRow) {
        let other = self.leases.values().find(|lease| {
            (lease.plan, lease.wave, lease.state.is_open()) == (row.plan, row.wave, true)
                && !matches!(lease.work, LeaseWork::Task { .. })
        });
        assert_eq!(other, None, "one integrate, validate or publish lease a wave");
    }

    fn check_slots(&self, worker: &WorkerId) {
        let open = self.leases.values().filter(|lease| lease.worker == *worker && lease.state.is_open());
        let row = &self.workers[worker];
        assert!(row.slots.is_none_or(|slots| (open.count() as u32) < slots), "{worker} has no free slot");
        assert!(!row.draining, "{worker} is draining");
    }

    /// Nothing is granted that would spend from an account in trouble, but for one lease that tries it.
    fn check_account(&self, row: &LeaseRow) {
        let Some(account) = &row.account else { return };
        match self.accounts.get(account).map(|row| row.state) {
            None | Some(AccountState::Open) => {}
            Some(AccountState::Probing { lease, .. }) => {
                assert_eq!(lease, Some(row.id), "one lease tries it")
            }
            Some(state @ (AccountState::Waiting { .. } | AccountState::Refused)) => {
                panic!("{account} is {state:?}, and {row:?} is granted")
            }
        }
    }

    fn reserved(&self, plan: &Stored, work: LeaseWork) -> u64 {
        match work {
            LeaseWork::Task { task, .. } if plan.shape.tasks[task.at()].agent => RESERVATION,
            LeaseWork::Validate { .. } if plan.shape.thor == ThorKind::Agent => RESERVATION,
            LeaseWork::Coordinate { .. } => wavegate_engine::estimate::MAX_WAVE_TOKENS,
            LeaseWork::Task { .. }
            | LeaseWork::Integrate
            | LeaseWork::Validate { .. }
            | LeaseWork::Publish { .. } => 0,
        }
    }

    /// I11: nothing is granted when spent + reserved + its reservation passes a budget.
    fn check_budget(&self, granted: &LeaseRow, work: LeaseWork) {
        let id = granted.plan;
        let plan = &self.plans[&id];
        let own = self.reserved(plan, work);
        let open = || self.leases.values().filter(|lease| lease.plan == id && lease.state.is_open());
        let reserved: u64 =
            open().map(|lease| self.reserved(plan, lease.work).max(lease.progress.tokens())).sum();
        if let Some(most) = plan.row.budget.tokens {
            assert!(plan.row.spent.tokens() + reserved + own <= most, "I11: tokens");
        }
        let used: u64 = open().filter_map(|lease| lease.progress.cost_micro_usd).sum();
        if let Some(most) = plan.row.budget.micro_usd {
            assert!(plan.row.spent.cost_micro_usd.unwrap_or(0) + used <= most, "I11: dollars");
        }
    }

    /// I5: at most one result of a task's attempt is accepted.
    fn write_result(&mut self, lease: LeaseId, accepted: bool) {
        let row = &self.leases[&lease];
        if let (LeaseWork::Task { task, attempt }, true) = (row.work, accepted) {
            assert!(self.accepted.insert((row.plan, task, attempt)), "I5: a second result of {row:?}");
        }
        let before = self.results.insert(lease, accepted);
        assert_ne!(before, Some(true), "I5: a second result of {lease}");
    }

    pub(crate) fn open_task_leases(&self, plan: PlanId) -> impl Iterator<Item = &LeaseRow> {
        self.leases.values().filter(move |lease| lease.plan == plan && is_open_task(lease))
    }

    pub(crate) fn past(&self, lease: LeaseId) -> Option<Box<PastLease>> {
        let row = self.leases.get(&lease)?;
        Some(Box::new(PastLease { row: row.clone(), accepted: self.results.get(&lease).copied() }))
    }

    /// What the engine goes on from: every plan of which something can still happen.
    pub(crate) fn snapshots(&self) -> Vec<PlanSnapshot> {
        let open = |id: PlanId| self.leases.values().any(|lease| lease.plan == id && lease.state.is_open());
        self.plans
            .iter()
            .filter(|(id, plan)| plan.visible && (!plan.row.state.is_final() || open(**id)))
            .map(|(id, plan)| PlanSnapshot {
                shape: plan.shape.clone(),
                row: plan.row.clone(),
                waves: plan.waves.clone(),
                tasks: plan.tasks.clone(),
                leases: self.kept_leases(*id),
                requested_mode: plan.mode_column.clone(),
            })
            .collect()
    }

    /// The open ones, and each task's newest lost one.
    fn kept_leases(&self, plan: PlanId) -> Vec<LeaseRow> {
        let mut lost = BTreeMap::new();
        let mut kept = Vec::new();
        for lease in self.leases.values().filter(|lease| lease.plan == plan) {
            match lease.work {
                _ if lease.state.is_open() => kept.push(lease.clone()),
                LeaseWork::Task { task, attempt } if lease.state == LeaseState::Lost => {
                    let newest = lost.entry(task).or_insert((attempt, lease));
                    *newest = (*newest).max_by_attempt((attempt, lease));
                }
                LeaseWork::Task { .. }
                | LeaseWork::Integrate
                | LeaseWork::Validate { .. }
                | LeaseWork::Coordinate { .. }
                | LeaseWork::Publish { .. } => {}
            }
        }
        kept.extend(lost.into_values().map(|(_, lease)| lease.clone()));
        kept
    }

    /// What must hold after each whole step, whatever happened in it.
    pub(crate) fn check(&self) {
        for (id, plan) in &self.plans {
            for (task, at) in plan.tasks.iter().zip(0..) {
                let open = self.open_task_leases(*id);
                let open = open.filter(|lease| task_of(lease) == Some(TaskIx(at))).count();
                let leased = usize::from(task.state == TaskState::Leased);
                assert!(
                    open >= leased && open <= 1,
                    "I9: task {at} of {id}: {open} leases, {:?}",
                    task.state
                );
                assert!(task.failures <= plan.shape.tasks[at as usize].max_failures, "I10: failures");
                assert!(task.losses <= 2 && task.rejections <= 3, "I10: {task:?}");
            }
            for (wave, at) in plan.waves.iter().zip(0..) {
                self.check_wave(plan, WaveIx(at), wave);
            }
            if plan.row.state == PlanState::Done {
                assert!(plan.waves.iter().all(|wave| wave.state == WaveState::Done));
            }
        }
    }

    fn check_wave(&self, plan: &Stored, wave: WaveIx, row: &WaveRow) {
        let tasks = plan.shape.waves[wave.at()].tasks.clone();
        let states = plan.tasks[tasks.start as usize..tasks.end as usize].iter().map(|task| task.state);
        if row.state == WaveState::Done {
            let over = [TaskState::Done, TaskState::Skipped, TaskState::Cancelled];
            assert!(states.clone().all(|state| over.contains(&state)), "a wave is done before its tasks");
        }
        if matches!(row.state, WaveState::Integrating | WaveState::Validating) {
            assert!(states.clone().all(is_settled), "a wave is judged before its tasks are submitted");
        }
        if row.state == WaveState::Waiting {
            let pending = TaskState::Pending { not_before: None };
            assert!(states.clone().all(|state| state == pending), "a task began before its wave");
        }
    }
}

impl Store {
    fn plan_mut(&mut self, id: PlanId) -> &mut Stored {
        self.plans.get_mut(&id).expect("the plan is stored")
    }
}

trait ByAttempt {
    fn max_by_attempt(self, other: Self) -> Self;
}

impl ByAttempt for (u32, &LeaseRow) {
    fn max_by_attempt(self, other: Self) -> Self {
        if other.0 > self.0 { other } else { self }
    }
}

pub(crate) fn task_of(lease: &LeaseRow) -> Option<TaskIx> {
    match lease.work {
        LeaseWork::Task { task, .. } => Some(task),
        LeaseWork::Integrate
        | LeaseWork::Validate { .. }
        | LeaseWork::Coordinate { .. }
        | LeaseWork::Publish { .. } => None,
    }
}

fn is_open_task(lease: &LeaseRow) -> bool {
    lease.state.is_open() && task_of(lease).is_some()
}

fn is_settled(state: TaskState) -> bool {
    !matches!(state, TaskState::Pending { .. } | TaskState::Leased | TaskState::Blocked(_))
}

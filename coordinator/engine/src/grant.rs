//! Who is granted what. Owns the order of grants, the cap, and the choice of a worker; a pass over
//! what is ready ends when nothing more fits, and a second pass would grant nothing.

use std::{
    cmp::Reverse,
    collections::{BTreeMap, BTreeSet, BinaryHeap},
};

use crate::{
    effect::{EventKind, IntegrateResult, Message, Send, WorkBrief},
    engine::{Engine, Occasion},
    fleet::{Fleet, LeaseIndex},
    hold::duty_role,
    ids::{LeaseId, PlanId, TaskIx, WaveIx, WorkerId},
    plan::{Context, Plan},
    row::{LeaseKind, LeaseRow, LeaseWork, Role, Usage},
    spec::Demand,
    state::{LeaseState, PauseReason, PlanState, TaskState},
    transition::TaskEvent,
};

/// What an agent task reserves of a token budget: the estimate of one task.
pub(crate) const TASK_RESERVATION_TOKENS: u64 = 30_000;

/// Workers with their free slots when they were put in, most free first, then lowest id.
type Queue = BinaryHeap<(u64, Reverse<WorkerId>)>;

/// Free slots of the connected workers, kept while a pass grants.
pub(crate) struct Slots {
    free: BTreeMap<WorkerId, u64>,
    /// By what is asked: workers that can, most free first. A stale entry is corrected when met.
    queues: BTreeMap<(Role, Option<Demand>), Queue>,
}

impl Slots {
    pub(crate) fn new(fleet: &Fleet, index: &LeaseIndex) -> Self {
        let free = fleet
            .connected()
            .filter(|worker| worker.is_awake())
            .map(|worker| {
                let slots = worker.row.slots.map_or(u64::MAX, u64::from);
                (worker.row.id.clone(), slots.saturating_sub(index.count_of(&worker.row.id)))
            })
            .filter(|(_, free)| *free > 0)
            .collect();
        Self { free, queues: BTreeMap::new() }
    }

    /// The worker with most free slots that can do it; of equals the one with the lowest id.
    fn choose(&mut self, fleet: &Fleet, role: Role, demand: Option<&Demand>) -> Option<WorkerId> {
        let Self { free, queues } = self;
        let queue = queues.entry((role, demand.cloned())).or_insert_with(|| {
            let able = |id: &WorkerId| fleet.worker(id).is_some_and(|worker| worker.can(role, demand));
            free.iter().filter(|(id, _)| able(id)).map(|(id, free)| (*free, Reverse(id.clone()))).collect()
        });
        loop {
            let (at_push, Reverse(id)) = queue.pop()?;
            let now = free.get(&id).copied().unwrap_or(0);
            if now > 0 {
                queue.push((now, Reverse(id.clone())));
            }
            if now == at_push {
                return Some(id);
            }
        }
    }

    /// A Thor that did none of the wave's work, if any connected one could; else any.
    pub(crate) fn choose_thor(&self, fleet: &Fleet, authors: &BTreeSet<&WorkerId>) -> Option<WorkerId> {
        let others =
            fleet.connected().any(|thor| thor.can(Role::Thor, None) && !authors.contains(&thor.row.id));
        self.free
            .iter()
            .filter(|(id, _)| fleet.worker(id).is_some_and(|worker| worker.can(Role::Thor, None)))
            .filter(|(id, _)| !others || !authors.contains(id))
            .max_by_key(|(id, free)| (**free, Reverse((*id).clone())))
            .map(|(id, _)| id.clone())
    }

    fn take(&mut self, worker: &WorkerId) {
        if let Some(free) = self.free.get_mut(worker) {
            *free -= 1;
            if *free == 0 {
                self.free.remove(worker);
            }
        }
    }
}

impl Engine {
    /// Grants everything that can be granted: validate, integrate, then tasks.
    pub(crate) fn grant_all(&mut self, occasion: &mut Occasion<'_, '_>) {
        let mut slots = Slots::new(&self.fleet, &self.index);
        if slots.free.is_empty() {
            return;
        }
        let open: Vec<_> =
            self.plans.iter().filter(|(_, plan)| self.plan_hold(plan).is_none()).map(|(id, _)| *id).collect();
        for role in [Role::Thor, Role::Executor] {
            for plan in &open {
                self.grant_duties(occasion, *plan, role, &mut slots);
            }
        }
        self.grant_tasks(occasion, &open, &mut slots);
    }

    fn grant_duties(&mut self, occasion: &mut Occasion<'_, '_>, plan: PlanId, role: Role, slots: &mut Slots) {
        let Some((plan, mut ctx)) = self.with_plan(plan, occasion) else {
            return;
        };
        for wave in (0..plan.waves.len() as u32).map(WaveIx) {
            if plan.row.state != PlanState::Running || duty_role(plan, wave) != Some(role) {
                continue;
            }
            let worker = if role == Role::Thor {
                slots.choose_thor(ctx.fleet, &plan.authors(wave))
            } else {
                slots.choose(ctx.fleet, role, None)
            };
            let Some(worker) = worker else { continue };
            if role == Role::Thor && plan.over_budget(0) {
                plan.pause(&mut ctx, PauseReason::Budget, "the next grant would pass the budget");
                continue;
            }
            slots.take(&worker);
            plan.grant_duty(&mut ctx, wave, worker);
        }
    }

    /// By priority, then plan order, over all plans.
    fn grant_tasks(&mut self, occasion: &mut Occasion<'_, '_>, open: &[PlanId], slots: &mut Slots) {
        // Demands that no free worker meets in this pass.
        let mut unmet = BTreeSet::new();
        let mut full = BTreeSet::new();
        loop {
            let next = open
                .iter()
                .filter(|id| !full.contains(*id))
                .filter_map(|id| self.plans.get(id).map(|plan| (id, plan)))
                .filter_map(|(id, plan)| {
                    plan.next_ready(&unmet).map(|(priority, task)| (priority, *id, task))
                })
                .min();
            let Some((_, id, task)) = next else { return };
            let held = self
                .plans
                .get(&id)
                .is_none_or(|plan| plan.row.state != PlanState::Running || self.limit(plan).is_some());
            if held {
                full.insert(id);
                continue;
            }
            let Some((plan, mut ctx)) = self.with_plan(id, occasion) else {
                return;
            };
            let demand = plan.shape.tasks[task.at()].demand.clone();
            let Some(worker) = slots.choose(ctx.fleet, Role::Executor, Some(&demand)) else {
                unmet.insert(demand);
                continue;
            };
            if plan.over_budget(plan.reservation(task)) {
                plan.pause(&mut ctx, PauseReason::Budget, "the next grant would pass the budget");
                continue;
            }
            slots.take(&worker);
            plan.grant_task(&mut ctx, task, worker);
        }
    }
}

impl Plan {
    fn next_ready(&self, unmet: &BTreeSet<Demand>) -> Option<(u8, TaskIx)> {
        let classes = self.classes.iter().zip(&self.ready);
        classes
            .filter(|(demand, _)| !unmet.contains(*demand))
            .filter_map(|(_, ready)| ready.first().copied())
            .min()
    }

    /// The workers whose results a wave holds.
    pub(crate) fn authors(&self, wave: WaveIx) -> BTreeSet<&WorkerId> {
        self.tasks_of(wave).filter_map(|task| Some(&self.tasks[task.at()].result.as_ref()?.worker)).collect()
    }

    pub(crate) fn reservation(&self, task: TaskIx) -> u64 {
        if self.shape.tasks[task.at()].agent { TASK_RESERVATION_TOKENS } else { 0 }
    }

    /// Whether one more lease that reserves so many tokens would pass the budget: what is spent, plus
    /// what open leases reserve or have used, plus its own.
    fn over_budget(&self, tokens: u64) -> bool {
        let open = || self.leases.values().filter(|lease| lease.row.state.is_open());
        let budget = self.row.budget;
        let reserved: u64 = open()
            .map(|lease| match lease.row.work {
                LeaseWork::Task { task, .. } => self.reservation(task).max(lease.row.progress.tokens()),
                LeaseWork::Integrate | LeaseWork::Validate { .. } => lease.row.progress.tokens(),
            })
            .sum();
        let used: u64 = open().filter_map(|lease| lease.row.progress.cost_micro_usd).sum();
        let spent = self.row.spent;
        budget
            .tokens
            .is_some_and(|most| spent.tokens().saturating_add(reserved).saturating_add(tokens) > most)
            || budget
                .micro_usd
                .is_some_and(|most| spent.cost_micro_usd.unwrap_or(0).saturating_add(used) > most)
    }

    fn grant_task(&mut self, ctx: &mut Context<'_, '_>, task: TaskIx, worker: WorkerId) {
        let shape = &self.shape.tasks[task.at()];
        let (wave, lost_after) = (shape.wave, shape.lost_after_ms);
        let attempt = self.tasks[task.at()].attempt + 1;
        let layers = self
            .all_dependencies(task)
            .into_iter()
            .filter(|dependency| {
                let row = &self.tasks[dependency.at()];
                // Of one that is challenged the changes stand; only evidence is asked for.
                row.state == TaskState::Submitted || row.evidence_only
            })
            .filter_map(|dependency| self.tasks[dependency.at()].result.as_ref()?.changes)
            .collect();
        let brief = WorkBrief::Task { base: self.row.tree, layers };
        if !self.change_task(ctx, task, TaskEvent::Granted, |row| row.attempt = attempt) {
            return;
        }
        let cap = self.cap();
        let reason = match cap {
            Some(cap) => format!("{} of {cap} leases live", self.open_tasks + 1),
            None => format!("{} leases live, no cap", self.open_tasks + 1),
        };
        self.grant(ctx, wave, LeaseWork::Task { task, attempt }, worker, lost_after, brief, reason);
    }

    fn grant_duty(&mut self, ctx: &mut Context<'_, '_>, wave: WaveIx, worker: WorkerId) {
        let submitted = || {
            self.tasks_of(wave)
                .filter(|task| self.tasks[task.at()].state == TaskState::Submitted)
                .filter_map(|task| Some((task, self.tasks[task.at()].result.as_ref()?)))
        };
        let row = &self.waves[wave.at()].row;
        let (work, brief) = match row.candidate {
            Some(candidate) => {
                let tasks = submitted().map(|(task, result)| (task, result.changes)).collect();
                (LeaseWork::Validate { candidate }, WorkBrief::Validate { candidate, tasks })
            }
            None => {
                let results = submitted()
                    .map(|(task, result)| IntegrateResult {
                        task,
                        changes: result.changes,
                        base: result.base,
                        built_on: self.all_dependencies(task).into_iter().collect(),
                    })
                    .collect();
                (LeaseWork::Integrate, WorkBrief::Integrate { base: row.target, results })
            }
        };
        let reason = format!("round {}", row.round);
        self.grant(ctx, wave, work, worker, None, brief, reason);
    }

    #[expect(clippy::too_many_arguments, reason = "the one place where a lease comes into being")]
    fn grant(
        &mut self,
        ctx: &mut Context<'_, '_>,
        wave: WaveIx,
        work: LeaseWork,
        worker: WorkerId,
        lost_after_ms: Option<u64>,
        brief: WorkBrief,
        text: String,
    ) {
        let Some((session, number)) = ctx.fleet.next_grant(&worker) else {
            return;
        };
        let base = match work.kind() {
            LeaseKind::Task => self.row.tree,
            LeaseKind::Integrate | LeaseKind::Validate => self.waves[wave.at()].row.target,
        };
        let row = LeaseRow {
            id: LeaseId((ctx.moment.draw)()),
            state: LeaseState::Granted,
            plan: self.id(),
            wave,
            work,
            round: self.waves[wave.at()].row.round,
            worker,
            base,
            lost_after_ms: lost_after_ms.unwrap_or(ctx.config.timings.lost_after_ms),
            granted: ctx.moment.utc,
            started: None,
            ended: None,
            progress: Usage::default(),
        };
        self.open_lease(ctx, row.clone(), number);
        let mut event = self.lease_event(EventKind::LeaseGranted, &row);
        event.reason = work.kind().as_str().to_owned();
        event.text = text;
        ctx.emit(event);
        let message = Message::Grant { number, lease: Box::new(row), brief };
        ctx.effects.sends.push(Send { session, message });
    }
}

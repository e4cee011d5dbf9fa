//! Who is granted what. Owns the order of grants, the cap, and the choice of a worker; a pass over
//! what is ready ends when nothing more fits, and a second pass would grant nothing.

use std::collections::{BTreeMap, BTreeSet};

use crate::{
    config::Config,
    effect::{Change, EventKind, IntegrateResult, Message, Send, WorkBrief},
    engine::{Engine, Occasion},
    estimate::{MAX_TASK_TOKENS, MAX_WAVE_TOKENS},
    files::overlap,
    fleet::{Fleet, LeaseIndex, Worker},
    hold::{Duty, duty_of},
    ids::{LeaseId, PlanId, TaskIx, WaveIx, WorkerId},
    model::Family,
    plan::{Context, Plan},
    row::{AwaitsCounsel, LeaseKind, LeaseRow, LeaseWork, OwnWork, Role, TaskResult, TaskRow, Usage},
    spec::{Demand, ThorKind, WorkspaceKind},
    state::{LeaseState, Mode, PauseReason, PlanState, TaskState, WaveState},
    transition::TaskEvent,
};

/// What an agent's task, or Thor's agent, reserves of a budget: the estimate of one task.
pub(crate) const TASK_RESERVATION_TOKENS: u64 = MAX_TASK_TOKENS;
/// What a coordinate lease reserves of a budget: the estimate of one wave's coordination.
pub(crate) const COUNSEL_RESERVATION_TOKENS: u64 = MAX_WAVE_TOKENS;

/// The worker with most free slots that can do it and is none of `without`; of equals the one with the lowest id.
fn choose(
    fleet: &Fleet,
    index: &LeaseIndex,
    role: Role,
    demand: Option<&Demand>,
    without: &BTreeSet<WorkerId>,
) -> Option<WorkerId> {
    let can = |id: &&WorkerId| fleet.worker(id).is_some_and(|worker| fleet.can(worker, role, demand));
    index.room().filter(|id| !without.contains(*id)).find(can).cloned()
}

/// A Thor that did none of the wave's work, if any connected one could; else any.
pub(crate) fn choose_thor(
    fleet: &Fleet,
    index: &LeaseIndex,
    plan: &Plan,
    wave: WaveIx,
    demand: Option<&Demand>,
) -> Option<WorkerId> {
    let without = plan.out_of_reach_for(LeaseKind::Validate);
    // Who did the work is looked for in all the wave's tasks: only when anybody could judge.
    let first = choose(fleet, index, Role::Thor, demand, &without)?;
    let authors = plan.authors(wave);
    if !authors.contains(&first) {
        return Some(first);
    }
    let able = |thor: &Worker| {
        let id = &thor.row.id;
        !authors.contains(id) && !without.contains(id) && fleet.able(thor, Role::Thor, demand)
    };
    if !fleet.connected().any(able) {
        return Some(first);
    }
    let without = authors.into_iter().cloned().chain(without).collect();
    choose(fleet, index, Role::Thor, demand, &without)
}

impl Engine {
    /// Grants everything that can be granted: validate, integrate and publish, coordinate, then tasks.
    pub(crate) fn grant_all(&mut self, occasion: &mut Occasion<'_, '_>) {
        if self.index.room().next().is_none() {
            return;
        }
        let open: Vec<_> =
            self.plans.iter().filter(|(_, plan)| self.plan_hold(plan).is_none()).map(|(id, _)| *id).collect();
        for role in [Role::Thor, Role::Executor, Role::Coordinator] {
            for plan in &open {
                self.grant_duties(occasion, *plan, role);
            }
        }
        self.grant_tasks(occasion, &open);
    }

    fn grant_duties(&mut self, occasion: &mut Occasion<'_, '_>, plan: PlanId, role: Role) {
        let Some((plan, mut ctx)) = self.with_plan(plan, occasion) else {
            return;
        };
        for wave in plan.begun.iter().copied().collect::<Vec<_>>() {
            let Some(Duty { kind, demand, .. }) = duty_of(plan, wave).filter(|duty| duty.role == role) else {
                continue;
            };
            if plan.row.state != PlanState::Running {
                continue;
            }
            let worker = if role == Role::Thor {
                choose_thor(ctx.fleet, ctx.index, plan, wave, demand.as_ref())
            } else {
                let without = plan.out_of_reach_for(kind);
                choose(ctx.fleet, ctx.index, role, demand.as_ref(), &without)
            };
            let Some(worker) = worker else { continue };
            let (work, brief) = plan.duty(wave);
            let reserved = plan.reservation(ctx.config, work);
            // Putting together and publishing cost nothing.
            let is_free = matches!(kind, LeaseKind::Integrate | LeaseKind::Publish);
            let over = plan.over_budget(ctx.config, reserved).filter(|_| !is_free);
            if let Some(why) = over {
                plan.pause(&mut ctx, PauseReason::Budget, &why);
                continue;
            }
            plan.grant_duty(&mut ctx, wave, work, brief, worker, demand.as_ref());
        }
    }

    /// By priority, then plan order, over all plans.
    fn grant_tasks(&mut self, occasion: &mut Occasion<'_, '_>, open: &[PlanId]) {
        // Demands that no free worker meets in this pass; for a plan that some workers cannot reach, its own.
        let mut unmet = BTreeMap::<Option<PlanId>, BTreeSet<Demand>>::new();
        let mut next: BTreeSet<_> = open.iter().filter_map(|id| self.next_task(*id, &unmet)).collect();
        while let Some(first) = next.pop_first() {
            let (_, id, task) = first;
            // A grant changes its own plan, and a demand that is found unmet every one.
            let now = self.next_task(id, &unmet);
            if now != Some(first) {
                next.extend(now);
                continue;
            }
            self.try_grant_task(occasion, id, task, &mut unmet);
            next.extend(self.next_task(id, &unmet).filter(|again| *again != first));
        }
    }

    /// What the plan would be granted next, as far as its limits allow; ordered as grants are.
    fn next_task(
        &self,
        id: PlanId,
        unmet: &BTreeMap<Option<PlanId>, BTreeSet<Demand>>,
    ) -> Option<(u8, PlanId, TaskIx)> {
        let plan = self.plans.get(&id)?;
        if plan.row.state != PlanState::Running || self.limit(plan).is_some() {
            return None;
        }
        let is_unmet = |demand: &Demand| {
            [None, Some(id)].iter().any(|of| unmet.get(of).is_some_and(|it| it.contains(demand)))
        };
        let (priority, task) = plan.next_ready(is_unmet)?;
        Some((priority, id, task))
    }

    fn try_grant_task(
        &mut self,
        occasion: &mut Occasion<'_, '_>,
        id: PlanId,
        task: TaskIx,
        unmet: &mut BTreeMap<Option<PlanId>, BTreeSet<Demand>>,
    ) {
        let Some((plan, mut ctx)) = self.with_plan(id, occasion) else {
            return;
        };
        let demand = &plan.shape.tasks[task.at()].demand;
        let without = plan.out_of_reach_for(LeaseKind::Task);
        let Some(worker) = choose(ctx.fleet, ctx.index, Role::Executor, Some(demand), &without) else {
            let of = (!without.is_empty()).then_some(id);
            unmet.entry(of).or_default().insert(demand.clone());
            return;
        };
        let work = LeaseWork::Task { task, attempt: plan.tasks[task.at()].attempt + 1 };
        if let Some(why) = plan.over_budget(ctx.config, plan.reservation(ctx.config, work)) {
            plan.pause(&mut ctx, PauseReason::Budget, &why);
        } else if plan.is_task_over_budget(task) {
            let why = plan.over_task_budget(task);
            plan.pause(&mut ctx, PauseReason::Budget, &why);
        } else {
            plan.grant_task(&mut ctx, task, worker);
        }
    }
}

impl Plan {
    fn next_ready(&self, unmet: impl Fn(&Demand) -> bool) -> Option<(u8, TaskIx)> {
        let classes = self.classes.iter().zip(&self.ready);
        classes
            .filter(|(demand, _)| !unmet(demand))
            .filter_map(|(_, ready)| {
                ready.iter().find(|(_, task)| self.overlaps_live(*task).is_none()).copied()
            })
            .min()
    }

    /// In standard, the task at work whose declared files overlap with this one's. Few can be at work there, so all
    /// are looked at.
    pub(crate) fn overlaps_live(&self, task: TaskIx) -> Option<TaskIx> {
        let shape = &self.shape.tasks[task.at()];
        if self.row.mode == Some(Mode::Max) || shape.files.is_empty() {
            return None;
        }
        let live =
            self.leases.values().filter(|lease| lease.row.state.is_open() && lease.row.wave == shape.wave);
        let tasks = live.filter_map(|lease| match lease.row.work {
            LeaseWork::Task { task, .. } => Some(task),
            LeaseWork::Integrate
            | LeaseWork::Validate { .. }
            | LeaseWork::Coordinate { .. }
            | LeaseWork::Publish { .. } => None,
        });
        tasks
            .filter(|other| *other != task)
            .find(|other| overlap(&self.shape.tasks[other.at()].files, &shape.files).is_some())
    }

    /// The workers that could not reach the repository for such a lease.
    pub(crate) fn out_of_reach_for(&self, kind: LeaseKind) -> BTreeSet<WorkerId> {
        let of_kind = self.out_of_reach.iter().filter(|(other, _)| *other == kind);
        of_kind.map(|(_, worker)| worker.clone()).collect()
    }

    /// The workers whose results a wave holds.
    pub(crate) fn authors(&self, wave: WaveIx) -> BTreeSet<&WorkerId> {
        self.tasks_of(wave).filter_map(|task| Some(&self.tasks[task.at()].result.as_ref()?.worker)).collect()
    }

    /// What a lease for such work reserves of the budget.
    pub(crate) fn reservation(&self, config: &Config, work: LeaseWork) -> Usage {
        let (tokens, family) = match work {
            LeaseWork::Task { task, .. } => {
                let shape = &self.shape.tasks[task.at()];
                (if shape.agent { TASK_RESERVATION_TOKENS } else { 0 }, shape.demand.family)
            }
            LeaseWork::Validate { .. } => match self.thor_demand() {
                Some(demand) => (TASK_RESERVATION_TOKENS, demand.family),
                None => (0, None),
            },
            LeaseWork::Coordinate { tier, .. } => (COUNSEL_RESERVATION_TOKENS, Some(tier.family())),
            LeaseWork::Integrate | LeaseWork::Publish { .. } => (0, None),
        };
        Usage { tokens_in: tokens, cost_micro_usd: config.prices.of(family, tokens), ..Usage::default() }
    }

    /// What a validate lease asks of a worker besides the role; None: the commands alone judge.
    pub(crate) fn thor_demand(&self) -> Option<Demand> {
        let agent = &self.shape.thor_agent;
        (self.shape.thor == ThorKind::Agent).then(|| Demand {
            runner: agent.runner.clone(),
            family: Family::of(&agent.model),
            requires: Vec::new(),
        })
    }

    /// Which budget one more lease that reserves so much would pass, and what can be done: counted are
    /// what is spent, what open leases reserve or have used, and its own reservation.
    fn over_budget(&self, config: &Config, more: Usage) -> Option<String> {
        if self.row.budget.micro_usd.is_none() && self.row.budget.tokens.is_none() {
            return None;
        }
        let open = self.leases.values().filter(|lease| lease.row.state.is_open());
        let reserved =
            open.map(|lease| self.reservation(config, lease.row.work).at_least(lease.row.progress));
        let (spent, reserved) = (self.row.spent, reserved.fold(Usage::default(), Usage::plus));
        let dollars = |usage: Usage| usage.cost_micro_usd.unwrap_or(0);
        let over = |most: Option<u64>, of: &dyn Fn(Usage) -> u64, add: &str, show: &dyn Fn(u64) -> String| {
            let (spent, reserved, more) = (of(spent), of(reserved), of(more));
            let most = most.filter(|most| spent.saturating_add(reserved).saturating_add(more) > *most)?;
            Some(format!(
                "the next grant would pass the budget of {}: {} spent, {} reserved by what runs, {} by the next; `wavegate resume {} {add} N` gives it more",
                show(most),
                show(spent),
                show(reserved),
                show(more),
                self.id()
            ))
        };
        over(self.row.budget.micro_usd, &dollars, "--add-usd", &|micro| format!("${:.2}", micro as f64 / 1e6))
            .or_else(|| {
                over(self.row.budget.tokens, &|usage: Usage| usage.tokens(), "--add-tokens", &|tokens| {
                    format!("{tokens} tokens")
                })
            })
    }

    /// Whether nothing is left of the task's own budget.
    fn is_task_over_budget(&self, task: TaskIx) -> bool {
        let TaskRow { spent, budget, .. } = &self.tasks[task.at()];
        budget.tokens.is_some_and(|most| spent.tokens() >= most)
            || budget.micro_usd.is_some_and(|most| spent.cost_micro_usd.unwrap_or(0) >= most)
    }

    /// What the next attempt goes on from: what an agent has made, as long as the tree under it stands. In a
    /// repository it is put on what is there now.
    fn own_work(&self, task: TaskIx) -> Option<OwnWork> {
        let (shape, row) = self.task(task);
        let is_git = self.shape.workspace == WorkspaceKind::Git;
        row.own.filter(|own| shape.agent && (is_git || own.base == self.row.tree))
    }

    fn grant_task(&mut self, ctx: &mut Context<'_, '_>, task: TaskIx, worker: WorkerId) {
        let shape = &self.shape.tasks[task.at()];
        let (wave, lost_after) = (shape.wave, shape.lost_after_ms);
        let attempt = self.tasks[task.at()].attempt + 1;
        let layers = self
            .in_order(&self.all_dependencies(task))
            .into_iter()
            .filter(|dependency| {
                let row = &self.tasks[dependency.at()];
                // Of one that is challenged the changes stand; only evidence is asked for.
                row.state == TaskState::Submitted || row.evidence_only
            })
            .filter_map(|dependency| self.tasks[dependency.at()].result.as_ref()?.changes)
            .collect();
        let (own, row) = (self.own_work(task), &self.tasks[task.at()]);
        let spent = row.spent.cost_micro_usd.unwrap_or(0);
        let budget_micro_usd = row.budget.micro_usd.map(|most| most.saturating_sub(spent));
        let brief = WorkBrief::Task { base: self.row.tree, layers, own, budget_micro_usd };
        let demand = shape.demand.clone();
        if !self.change_task(ctx, task, TaskEvent::Granted, |row| row.attempt = attempt) {
            return;
        }
        let cap = self.cap();
        let reason = match cap {
            Some(cap) => format!("{} of {cap} leases live", self.open_tasks + 1),
            None => format!("{} leases live, no cap", self.open_tasks + 1),
        };
        let work = LeaseWork::Task { task, attempt };
        self.grant(ctx, wave, work, (worker, Some(&demand)), lost_after, brief, reason);
    }

    /// The work that a wave waits for, beside its tasks.
    fn duty(&self, wave: WaveIx) -> (LeaseWork, WorkBrief) {
        let row = &self.waves[wave.at()].row;
        match (row.state, row.counsel, row.candidate) {
            (WaveState::Running, Some(purpose), _) => {
                let (tier, tasks) = (self.tier(), self.awaiting_counsel(wave));
                let brief = WorkBrief::Coordinate { purpose, tier, base: self.row.tree, tasks };
                (LeaseWork::Coordinate { purpose, tier }, brief)
            }
            (WaveState::Publishing, _, Some(candidate)) => {
                (LeaseWork::Publish { candidate }, WorkBrief::Publish { base: self.row.tree, candidate })
            }
            (_, _, Some(candidate)) => {
                let tasks = self
                    .candidates_parts(wave)
                    .into_iter()
                    .map(|(task, result)| (task, result.changes))
                    .collect();
                let by_agent = self.shape.thor == ThorKind::Agent;
                (LeaseWork::Validate { candidate }, WorkBrief::Validate { candidate, tasks, by_agent })
            }
            (_, _, None) => {
                let submitted: BTreeMap<_, _> = self.candidates_parts(wave).into_iter().collect();
                let order = self.in_order(&submitted.keys().copied().collect());
                let results = order.into_iter().filter_map(|task| {
                    let result = submitted.get(&task)?;
                    Some(IntegrateResult {
                        task,
                        lease: result.lease,
                        attempt: result.attempt,
                        changes: result.changes,
                        base: result.base,
                        built_on: self.all_dependencies(task).into_iter().collect(),
                    })
                });
                (LeaseWork::Integrate, WorkBrief::Integrate { base: row.target, results: results.collect() })
            }
        }
    }

    /// What a candidate of the wave is made of, in plan order.
    fn candidates_parts(&self, wave: WaveIx) -> Vec<(TaskIx, &TaskResult)> {
        let submitted =
            self.tasks_of(wave).filter(|task| self.tasks[task.at()].state == TaskState::Submitted);
        submitted.filter_map(|task| Some((task, self.tasks[task.at()].result.as_ref()?))).collect()
    }

    fn grant_duty(
        &mut self,
        ctx: &mut Context<'_, '_>,
        wave: WaveIx,
        work: LeaseWork,
        brief: WorkBrief,
        worker: WorkerId,
        demand: Option<&Demand>,
    ) {
        if work.kind() == LeaseKind::Coordinate {
            for task in self.awaiting_counsel(wave) {
                self.adjust_task(ctx, task, |row| row.awaits_counsel = AwaitsCounsel::Asked);
            }
        }
        let reason = format!("round {}", self.waves[wave.at()].row.round);
        self.grant(ctx, wave, work, (worker, demand), None, brief, reason);
    }

    #[expect(clippy::too_many_arguments, reason = "the one place where a lease comes into being")]
    fn grant(
        &mut self,
        ctx: &mut Context<'_, '_>,
        wave: WaveIx,
        work: LeaseWork,
        (worker, demand): (WorkerId, Option<&Demand>),
        lost_after_ms: Option<u64>,
        brief: WorkBrief,
        text: String,
    ) {
        let Some((session, number)) = ctx.fleet.next_grant(&worker) else {
            return;
        };
        let base = match work.kind() {
            LeaseKind::Task | LeaseKind::Coordinate | LeaseKind::Publish => self.row.tree,
            LeaseKind::Integrate | LeaseKind::Validate => self.waves[wave.at()].row.target,
        };
        let id = LeaseId((ctx.moment.draw)());
        let account = ctx.fleet.worker(&worker).and_then(|worker| ctx.fleet.account_of(worker, demand));
        if let Some(account) = &account {
            let tried = ctx.fleet.accounts.on_granted(account, id);
            ctx.effects.changes.extend(tried.map(Change::Account));
        }
        let row = LeaseRow {
            id,
            account,
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

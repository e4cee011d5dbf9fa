//! Persons and other systems: what they ask of plans and workers, by their own words and, now and then,
//! by looking at what waits for them. Owns the choice; the script says when.

use tokio::sync::oneshot;
use wavegate_coordinator::driver::Request;
use wavegate_engine::{
    Account, Decision, Finding, Input, PendingVerdict, PlanId, PlanState, Resolution, Resolve, TaskState,
    Verdict, WaveBlock, WorkerId, spec::Budget,
};

use super::{
    coordinator::Waiting,
    mutation::Mutation,
    scenario::Word,
    specs,
    world::{Event, World},
};

const BY: &str = "ada";

impl World {
    pub(super) fn submit(&mut self, sketch: usize) {
        if !self.coordinator.is_up() {
            return self.at(self.now + 5_000, Event::Submit(sketch));
        }
        let (sender, answer) = oneshot::channel();
        let submission = std::sync::Arc::new(specs::submission(&self.scenario.plans[sketch], sketch));
        self.request(Request::Submit { submission, answer: sender });
        self.wait_for(Waiting::Submitted { sketch, answer });
    }

    pub(super) fn on_submitted(&mut self, sketch: usize, plan: PlanId) {
        let Some(mode) = self.scenario.plans[sketch].mode else { return };
        let wait = self.chance.below(3_000);
        self.at(self.now + wait, Event::Approve(plan, mode));
    }

    /// Asked again until it is done: the answer may be lost with the coordinator.
    pub(super) fn approve(&mut self, plan: PlanId, mode: wavegate_engine::Mode) {
        let waits = |state| state == PlanState::AwaitingApproval;
        if self.outside.borrow().durable.plans.get(&plan).is_some_and(|it| waits(it.row.state)) {
            self.outside.borrow_mut().causes.approved.insert(plan);
            self.input(Input::Approve { plan, mode: Some(mode), by: BY.to_owned(), estimates: None });
            self.at(self.now + 10_000, Event::Approve(plan, mode));
        }
    }

    fn plan_at(&self, at: u8) -> PlanId {
        let plans = self.outside.borrow().durable.plans.len();
        PlanId((usize::from(at) % (plans + 1)) as i64 + 1)
    }

    fn task_at(&self, plan: PlanId, at: u8) -> String {
        let outside = self.outside.borrow();
        let Some(plan) = outside.durable.plans.get(&plan) else { return "none".to_owned() };
        let tasks = &plan.shape.tasks;
        tasks.get(usize::from(at) % tasks.len().max(1)).map(|task| task.key.clone()).unwrap_or_default()
    }

    fn worker_at(&self, at: u8) -> usize {
        usize::from(at) % self.hosts.len()
    }

    pub(super) fn person(&mut self, word: &Word) {
        let by = || BY.to_owned();
        let input = match word {
            Word::SetMode { plan, mode } => {
                Input::SetMode { plan: self.plan_at(*plan), mode: *mode, by: by() }
            }
            Word::Sql { plan, text } => {
                let plan = self.plan_at(*plan);
                self.outside.borrow_mut().update_mode_column(plan, *text);
                let wait = self.chance.below(250);
                return self.plan_turn(wait);
            }
            Word::Pause { plan } => {
                let plan = self.plan_at(*plan);
                self.outside.borrow_mut().causes.paused.insert(plan);
                Input::Pause { plan, by: by(), note: String::new() }
            }
            Word::Resume { plan, add, task } => {
                let plan = self.plan_at(*plan);
                let task = task.map(|task| self.task_at(plan, task));
                let add = Budget { tokens: (*add > 0).then_some(*add), micro_usd: None };
                Input::Resume { plan, by: by(), task, add }
            }
            Word::Cancel { plan } => {
                Input::Cancel { plan: self.plan_at(*plan), by: by(), note: String::new() }
            }
            Word::Retry { plan, task } => {
                let plan = self.plan_at(*plan);
                Input::Retry { plan, task: self.task_at(plan, *task), by: by() }
            }
            Word::Resolve { plan, resolution, named } => {
                let plan = self.plan_at(*plan);
                let tasks = if *named { vec![self.task_at(plan, 0)] } else { Vec::new() };
                return self.resolve(plan, *resolution, tasks);
            }
            Word::External { at, decision, is_fresh } => {
                return self.look_at_verdicts(*at, *decision, *is_fresh);
            }
            Word::Drain { worker } => {
                let at = self.worker_at(*worker);
                self.hosts[at].is_draining = true;
                Input::DrainWorker { worker: WorkerId::from(self.hosts[at].name.as_str()), by: by() }
            }
            Word::Forget { worker } => return self.forget(self.worker_at(*worker)),
            Word::Clear { account } => {
                let fingerprint = format!("a{}", account % 2);
                let account = Account { runner: "claude".to_owned(), fingerprint };
                Input::ClearAccount { account, by: by() }
            }
            Word::Attend { at } => return self.attend(*at),
        };
        self.input(input);
    }

    fn resolve(&mut self, plan: PlanId, resolution: Resolution, tasks: Vec<String>) {
        let (wave, note, by) = (String::new(), "because".to_owned(), BY.to_owned());
        let decision = match resolution {
            Resolution::Approve | Resolution::Skip => Decision::Approved,
            Resolution::Rework => Decision::Rejected,
            Resolution::Cancel => Decision::Escalated,
        };
        self.outside.borrow_mut().book.resolved.insert((plan, decision));
        self.input(Input::Resolve { plan, resolve: Resolve { wave, resolution, tasks, note, by } });
    }

    /// The person is right: the host is gone when the coordinator takes its word.
    pub(super) fn forget(&mut self, at: usize) {
        let (sender, answer) = oneshot::channel();
        let worker = WorkerId::from(self.hosts[at].name.as_str());
        let input = Box::new(Input::ForgetWorker { worker, by: BY.to_owned() });
        if !self.coordinator.is_up() || self.hosts[at].is_up() || !self.hosts[at].agents.is_empty() {
            return;
        }
        self.request(Request::Apply { input, answer: Some(sender) });
        self.wait_for(Waiting::Forgotten { worker: at, answer });
    }

    /// One plan that waits for a person is moved on.
    fn attend(&mut self, choice: u8) {
        let waiting: Vec<_> = {
            let outside = self.outside.borrow();
            let plans = outside.durable.plans.iter().filter(|(_, plan)| plan.visible);
            plans
                .filter_map(|(id, plan)| {
                    let blocked = plan.tasks.iter().any(|task| matches!(task.state, TaskState::Blocked(_)));
                    match plan.row.state {
                        PlanState::Paused(_) => Some((*id, None)),
                        PlanState::Blocked(reason) => Some((*id, Some((reason, blocked)))),
                        _ => None,
                    }
                })
                .collect()
        };
        let Some((plan, why)) = waiting.get(usize::from(choice) % waiting.len().max(1)).copied() else {
            return self.look_at_verdicts(choice, Decision::Approved, true);
        };
        match why {
            None => {
                let has_budget = self.outside.borrow().durable.plans[&plan].row.budget.tokens.is_some();
                let add = Budget { tokens: has_budget.then_some(200_000), micro_usd: None };
                self.input(Input::Resume { plan, by: BY.to_owned(), task: None, add });
            }
            Some((WaveBlock::Escalated, _)) => {
                let resolution =
                    self.chance.pick(&[Resolution::Approve, Resolution::Rework, Resolution::Skip]);
                self.resolve(plan, resolution, Vec::new());
            }
            Some((WaveBlock::Tasks, _)) => {
                let resolution =
                    self.chance.pick(&[Resolution::Rework, Resolution::Skip, Resolution::Rework]);
                self.resolve(plan, resolution, Vec::new());
            }
        }
    }

    /// A Thor outside gives its word on one of the candidates.
    pub(super) fn on_pending_verdicts(&mut self, pending: &[PendingVerdict], word: (u8, Decision, bool)) {
        let (at, decision, is_fresh) = word;
        let Some(pending) = pending.get(usize::from(at) % pending.len().max(1)) else { return };
        let key = |it: &Self| {
            it.outside.borrow().durable.plans[&pending.plan].shape.waves[pending.wave.at()].key.clone()
        };
        let findings = match decision {
            Decision::Approved => Vec::new(),
            _ => vec![Finding { task: String::new(), text: "not good".to_owned() }],
        };
        let verdict = Verdict::bare(decision, findings);
        let mut round = pending.round + u32::from(!is_fresh);
        let said = (pending.plan, pending.wave, round, Some(pending.candidate), decision);
        self.outside.borrow_mut().book.outsiders.insert(said);
        if self.mutation == Some(Mutation::StaleVerdict) {
            round = pending.round;
        }
        let (plan, candidate, by) = (pending.plan, pending.candidate, "ci".to_owned());
        let wave = key(self);
        self.input(Input::ExternalVerdict { plan, wave, round, candidate, verdict, by });
    }
}

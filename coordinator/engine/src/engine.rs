//! The engine itself: takes an input, finds the plan or worker that it is about, and lets the room
//! that owns the matter decide. Owns the set of open plans and the scope of an embedded run.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use crate::{
    account::{Account, AccountRow, Accounts},
    config::{Config, Scope},
    effect::{Change, Effects, Event, EventKind, PendingVerdict, Reply, VerdictSource},
    fleet::{Fleet, LeaseIndex},
    ids::{Digest, Moment, Mono, PlanId, WorkerId},
    input::{Input, Refusal},
    plan::{Context, Plan},
    row::{PlanSnapshot, Verdict, WorkerRow},
    spec::{PlanShape, ThorKind},
    state::{PauseReason, PlanState, WaveState},
};

/// Every open plan, every lease and every worker, and all decisions about them. A clone goes its own way from
/// there, so that an exploration can take every way.
#[derive(Debug, Clone)]
pub struct Engine {
    pub(crate) config: Config,
    pub(crate) plans: BTreeMap<PlanId, Plan>,
    pub(crate) fleet: Fleet,
    pub(crate) index: LeaseIndex,
    /// Under [`Scope::Asked`]: the plans that were asked for since this start.
    pub(crate) asked: BTreeSet<PlanId>,
    /// When the next deadline may be due; never too late.
    pub(crate) wake: Option<Mono>,
    pub(crate) last_tick: Option<Mono>,
}

/// The moment of an input and what its decision leads to.
pub(crate) struct Occasion<'a, 'm> {
    pub(crate) moment: &'a mut Moment<'m>,
    pub(crate) effects: &'a mut Effects,
}

impl Engine {
    /// An engine without plans and workers.
    #[must_use]
    pub fn new(config: Config) -> Self {
        Self {
            config,
            plans: BTreeMap::new(),
            fleet: Fleet::default(),
            index: LeaseIndex::default(),
            asked: BTreeSet::new(),
            wake: None,
            last_tick: None,
        }
    }

    /// Goes on from what is stored: at a start, with nobody connected, and after a batch that could
    /// not be committed, with the fleet as it was before. Every lease gets its lost_after again.
    pub fn restore(&mut self, plans: Vec<PlanSnapshot>, moment: &Moment<'_>) {
        self.index = LeaseIndex::default();
        self.fleet.begin(moment.mono);
        self.fleet.accounts.begin_waits(moment, &self.config.timings);
        self.fleet.connected().for_each(|worker| self.index.seat(&worker.row.id, worker.seats()));
        self.plans = plans
            .into_iter()
            .map(|snapshot| {
                (snapshot.shape.id, Plan::restored(snapshot, moment, &self.config.timings, &mut self.index))
            })
            .collect();
        let Self { fleet, index, .. } = self;
        fleet.accounts.forget_tries(|lease| index.plan_of.contains_key(&lease));
        self.wake = Some(moment.mono);
    }

    /// The workers and accounts as stored, nobody connected.
    pub fn restore_workers(&mut self, workers: Vec<WorkerRow>, accounts: Vec<AccountRow>) {
        self.fleet = Fleet::new(workers, Accounts::new(accounts));
    }

    /// The workers and accounts as stored; who is connected stays.
    pub fn refresh_workers(&mut self, workers: Vec<WorkerRow>, accounts: Vec<AccountRow>) {
        self.fleet.refresh(workers, Accounts::new(accounts));
    }

    /// A batch begins: who is connected now can be gone back to.
    pub fn mark_fleet(&mut self) {
        self.fleet.mark();
    }

    /// Goes back to who was connected when the batch began. The plans follow with [`Self::restore`].
    pub fn reset_fleet(&mut self) {
        self.fleet.go_back();
    }

    /// Lets go of a plan that the store cannot follow, until the next restart.
    pub fn set_aside(&mut self, plan: PlanId) {
        if let Some(plan) = self.plans.get(&plan) {
            for lease in plan.leases.values() {
                self.index.close(lease.row.id, &lease.row.worker);
                // Nobody will hear its answer: another plan's lease may try the account.
                let account = lease.row.account.as_ref();
                account.and_then(|account| self.fleet.accounts.on_unanswered(account, lease.row.id));
            }
        }
        self.forget_plan(plan);
    }

    /// The operator's settings.
    #[must_use]
    pub const fn config(&self) -> &Config {
        &self.config
    }

    /// Takes one input. On a refusal nothing has changed.
    pub fn apply(
        &mut self,
        input: Input,
        moment: &mut Moment<'_>,
        effects: &mut Effects,
    ) -> Result<Reply, Refusal> {
        let mut occasion = Occasion { moment, effects };
        let occasion = &mut occasion;
        match input {
            Input::Submit { shape, by } => self.on_submit(occasion, shape, by),
            Input::Approve { plan, mode, by, estimates } => {
                let reply = self.steer(occasion, plan, |plan, ctx| plan.approve(ctx, mode, &by))?;
                let kept = estimates.map(|estimates| Change::Estimated { plan, estimates });
                occasion.effects.changes.extend(kept);
                Ok(reply)
            }
            Input::SetMode { plan, mode, by } => {
                self.on_open(occasion, plan, |plan, ctx| plan.set_mode(ctx, mode, &by))
            }
            Input::ModeRequested { plan, text } => self.on_open(occasion, plan, |plan, ctx| {
                plan.on_mode_requested(ctx, text.as_deref());
                Ok(Reply::Done)
            }),
            Input::Pause { plan, by, note } => {
                self.on_open(occasion, plan, |plan, ctx| plan.pause_by(ctx, &by, &note))
            }
            Input::PausePoisoned { plan, error } => self.on_open(occasion, plan, |plan, ctx| {
                plan.pause(ctx, PauseReason::Store, &error);
                Ok(Reply::Done)
            }),
            Input::Restored { evidence, why } => {
                self.on_restored(occasion, evidence, &why);
                Ok(Reply::Done)
            }
            Input::Resume { plan, by, task, add } => {
                self.steer(occasion, plan, |plan, ctx| plan.resume(ctx, &by, task.as_deref(), add))
            }
            Input::Cancel { plan, by, note } => {
                self.on_open(occasion, plan, |plan, ctx| plan.cancel(ctx, &by, &note))
            }
            Input::Serve { plan } => self.steer(occasion, plan, |_, _| Ok(Reply::Done)),
            Input::Retry { plan, task, by } => {
                self.steer(occasion, plan, |plan, ctx| plan.retry(ctx, &task, &by))
            }
            Input::Resolve { plan, resolve } => {
                self.steer(occasion, plan, |plan, ctx| plan.resolve(ctx, &resolve))
            }
            Input::ExternalVerdict { plan, wave, round, candidate, verdict, by } => {
                self.on_open(occasion, plan, |plan, ctx| {
                    plan.on_external_verdict(ctx, &wave, round, candidate, verdict, by)
                })
            }
            Input::DrainWorker { worker, by } => self.on_drain_worker(occasion, &worker, &by),
            Input::ForgetWorker { worker, by } => self.on_forget_worker(occasion, &worker, &by),
            Input::ClearAccount { account, by } => self.on_clear_account(occasion, &account, &by),
            Input::Session { session, event } => self.on_session(occasion, session, event),
            Input::Tick => {
                self.on_tick(occasion);
                Ok(Reply::Done)
            }
        }
    }

    /// Work that was done and paid for may be missing from every plan: a person looks before anything is
    /// granted again.
    fn on_restored(&mut self, occasion: &mut Occasion<'_, '_>, evidence: String, why: &str) {
        occasion.effects.changes.push(Change::Restored { evidence });
        let event = Event { text: why.to_owned(), ..Event::of(EventKind::DatabaseRestored) };
        occasion.effects.changes.push(Change::Event(event));
        for id in self.plans.keys().copied().collect::<Vec<_>>() {
            if let Some((plan, mut ctx)) = self.with_plan(id, occasion) {
                plan.pause(&mut ctx, PauseReason::Restored, why);
            }
        }
    }

    /// Takes every step that follows by itself and grants all that can be granted. Once after each
    /// batch of inputs; a second time it changes nothing.
    pub fn settle(&mut self, moment: &mut Moment<'_>, effects: &mut Effects) {
        let mut occasion = Occasion { moment, effects };
        let plans: Vec<_> = self.plans.keys().copied().collect();
        for id in &plans {
            if let Some((plan, mut ctx)) = self.with_plan(*id, &mut occasion) {
                plan.drop_vain_counsel(&mut ctx);
            }
            self.wake_starved(&mut occasion, *id);
            if self.serves(*id)
                && let Some((plan, mut ctx)) = self.with_plan(*id, &mut occasion)
            {
                plan.progress(&mut ctx);
            }
        }
        self.grant_all(&mut occasion);
        for id in plans {
            self.note_starved(&mut occasion, id);
            if self.plans.get(&id).is_some_and(Plan::is_over) {
                self.forget_plan(id);
            }
        }
        self.plan_wake(occasion.moment.mono);
    }

    /// The plan and all else that a decision may touch.
    pub(crate) fn with_plan<'a, 'm>(
        &'a mut self,
        plan: PlanId,
        occasion: &'a mut Occasion<'_, 'm>,
    ) -> Option<(&'a mut Plan, Context<'a, 'm>)> {
        let Self { plans, fleet, index, config, .. } = self;
        let ctx = Context { moment: occasion.moment, effects: occasion.effects, fleet, index, config };
        Some((plans.get_mut(&plan)?, ctx))
    }

    /// Whether this coordinator grants anything of the plan.
    pub(crate) fn serves(&self, plan: PlanId) -> bool {
        match self.config.scope {
            Scope::All => true,
            Scope::Asked => self.asked.contains(&plan),
        }
    }

    /// The open plans' ids.
    pub fn open_plans(&self) -> impl Iterator<Item = PlanId> {
        self.plans.keys().copied()
    }

    /// The workers with an open session.
    #[must_use]
    pub fn connected(&self) -> Vec<WorkerId> {
        self.fleet.connected().map(|worker| worker.row.id.clone()).collect()
    }

    /// Whether the engine keeps the lease; what it does not keep, the store remembers.
    #[must_use]
    pub fn keeps(&self, lease: crate::ids::LeaseId) -> bool {
        self.index.plan_of.contains_key(&lease)
    }

    /// The candidates that wait for a verdict from outside.
    #[must_use]
    pub fn pending_verdicts(&self) -> Vec<PendingVerdict> {
        let external = self.plans.values().filter(|plan| plan.shape.thor == ThorKind::External);
        external
            .flat_map(|plan| {
                plan.waves_in(WaveState::Validating).filter_map(|wave| {
                    let row = &plan.waves[wave.at()].row;
                    let candidate = row.candidate?;
                    Some(PendingVerdict { plan: plan.id(), wave, round: row.round, candidate })
                })
            })
            .collect()
    }

    /// Every account that ever was in trouble.
    pub fn accounts(&self) -> impl Iterator<Item = &AccountRow> {
        self.fleet.accounts.rows()
    }

    fn on_clear_account(
        &mut self,
        occasion: &mut Occasion<'_, '_>,
        account: &Account,
        by: &str,
    ) -> Result<Reply, Refusal> {
        let row = self.fleet.accounts.clear(account).ok_or_else(|| Refusal::AccountOpen(account.clone()))?;
        occasion.effects.changes.push(Change::Account(row));
        let event = Event {
            actor: by.to_owned(),
            text: format!("{account} is tried again"),
            ..Event::of(EventKind::AccountOpen)
        };
        occasion.effects.changes.push(Change::Event(event));
        Ok(Reply::Done)
    }

    fn on_submit(
        &mut self,
        occasion: &mut Occasion<'_, '_>,
        shape: Arc<PlanShape>,
        by: String,
    ) -> Result<Reply, Refusal> {
        let id = shape.id;
        if self.plans.contains_key(&id) {
            return Err(Refusal::PlanExists { plan: id });
        }
        let plan = Plan::submitted(shape);
        occasion.effects.changes.push(Change::SwitchOn(id));
        let mut event = plan.event(EventKind::PlanSubmitted);
        event.actor = by;
        event.text = plan.shape.name.clone();
        occasion.effects.changes.push(Change::Event(event));
        self.plans.insert(id, plan);
        Ok(Reply::Done)
    }

    fn on_open(
        &mut self,
        occasion: &mut Occasion<'_, '_>,
        plan: PlanId,
        decide: impl FnOnce(&mut Plan, &mut Context<'_, '_>) -> Result<Reply, Refusal>,
    ) -> Result<Reply, Refusal> {
        let (plan, mut ctx) = self.with_plan(plan, occasion).ok_or(Refusal::NoOpenPlan(plan))?;
        decide(plan, &mut ctx)
    }

    /// As `on_open`, and an embedded run serves the plan from now on.
    fn steer(
        &mut self,
        occasion: &mut Occasion<'_, '_>,
        plan: PlanId,
        decide: impl FnOnce(&mut Plan, &mut Context<'_, '_>) -> Result<Reply, Refusal>,
    ) -> Result<Reply, Refusal> {
        let reply = self.on_open(occasion, plan, decide)?;
        self.asked.insert(plan);
        Ok(reply)
    }

    fn forget_plan(&mut self, id: PlanId) {
        if let Some(plan) = self.plans.remove(&id) {
            for lease in plan.leases.keys() {
                self.index.forget(*lease);
            }
            self.index.open_tasks -= plan.open_tasks;
        }
        self.asked.remove(&id);
    }

    pub(crate) fn worker_event(kind: EventKind, worker: &WorkerId) -> Event {
        Event { worker: Some(worker.clone()), ..Event::of(kind) }
    }
}

impl Plan {
    fn on_external_verdict(
        &mut self,
        ctx: &mut Context<'_, '_>,
        key: &str,
        round: u32,
        candidate: Digest,
        verdict: Verdict,
        by: String,
    ) -> Result<Reply, Refusal> {
        if self.shape.thor != ThorKind::External {
            return Err(Refusal::NotExternal(self.id()));
        }
        let wave =
            self.wave_named(key).ok_or_else(|| Refusal::NoWave { plan: self.id(), wave: key.to_owned() })?;
        let row = &self.waves[wave.at()].row;
        if self.row.state == PlanState::AwaitingApproval
            || (row.state, row.round, row.candidate) != (WaveState::Validating, round, Some(candidate))
        {
            let candidate =
                row.candidate.map_or_else(|| "no candidate".to_owned(), |digest| digest.to_string());
            let found = format!("it is {}, round {}, {candidate}", row.state.name(), row.round);
            return Err(Refusal::StaleVerdict { wave: key.to_owned(), found });
        }
        self.apply_verdict(ctx, wave, verdict, VerdictSource::External, by)?;
        Ok(Reply::Done)
    }
}

//! What time alone brings about. Owns the deadlines: silence, loss, the waits of retries, and plans
//! that nobody can work on.

use crate::{
    config::Timings,
    effect::{Change, EventKind},
    engine::{Engine, Occasion},
    hold::{Duty, duty_of},
    ids::{Mono, PlanId, TaskIx},
    plan::Plan,
    row::{LeaseKind, Role},
    state::{LeaseState, PauseReason, PlanState},
    transition::LeaseEvent,
};

impl Engine {
    /// When a [`crate::Input::Tick`] may have something to do; None: not before another input.
    #[must_use]
    pub fn next_deadline(&self) -> Option<Mono> {
        self.wake
    }

    pub(crate) fn on_tick(&mut self, occasion: &mut Occasion<'_, '_>) {
        let now = occasion.moment.mono;
        self.forgive_gap(now);
        self.fleet.mark_silent(now, self.config.timings.unreachable_after_ms);
        let tried = self.fleet.accounts.on_time(now);
        occasion.effects.changes.extend(tried.into_iter().map(Change::Account));
        let pause_after = self.config.timings.no_worker_pause_ms;
        let plans: Vec<_> = self.plans.keys().copied().collect();
        for id in plans {
            self.expire_leases(occasion, id);
            let starved = |plan: &&Plan| plan.idle_since.is_some_and(|since| now.since(since) >= pause_after);
            let starved = self.plans.get(&id).filter(starved);
            let missing = starved.map(|plan| self.first_missing(plan).unwrap_or_default());
            let Some((plan, mut ctx)) = self.with_plan(id, occasion) else {
                continue;
            };
            let due: Vec<TaskIx> =
                plan.delayed.iter().filter(|(_, until)| **until <= now).map(|(task, _)| *task).collect();
            for task in due {
                plan.release_delay(task);
            }
            if let Some(missing) = missing {
                plan.idle_since = None;
                plan.pause(&mut ctx, PauseReason::NoWorker, &missing);
            }
            plan.wake = plan.earliest(&ctx.config.timings);
        }
        self.wake = None;
    }

    /// This process was stopped or the host slept: nobody could have been heard meanwhile, so every
    /// lease gets its lost_after again.
    fn forgive_gap(&mut self, now: Mono) {
        let gap = self.last_tick.map_or(0, |last| now.since(last));
        self.last_tick = Some(now);
        if gap > self.config.timings.clock_gap_ms {
            for plan in self.plans.values_mut() {
                for lease in plan.leases.values_mut() {
                    lease.base = now;
                }
            }
        }
    }

    fn expire_leases(&mut self, occasion: &mut Occasion<'_, '_>, id: PlanId) {
        let now = occasion.moment.mono;
        let unreachable_after = self.config.timings.unreachable_after_ms;
        let Some((plan, mut ctx)) = self.with_plan(id, occasion) else {
            return;
        };
        let open: Vec<_> = plan
            .leases
            .iter()
            .filter(|(_, lease)| lease.row.state.is_open())
            .map(|(id, lease)| (*id, now.since(lease.base), lease.row.lost_after_ms))
            .collect();
        for (lease, silent_for, lost_after) in open {
            if silent_for >= lost_after {
                plan.on_lost(&mut ctx, lease, "its worker was silent for too long");
            } else if silent_for >= unreachable_after
                && plan.change_lease(&mut ctx, lease, LeaseEvent::Silent)
                && let Some(kept) = plan.leases.get(&lease)
            {
                ctx.emit(plan.lease_event(EventKind::LeaseUnreachable, &kept.row));
            }
        }
    }

    /// When something may be due: the earliest deadline of all plans, and often enough to notice a
    /// gap in our own clock. Each plan's is looked for at a tick and only kept in step in between: it may be too
    /// early then, which costs a tick, and is never too late.
    pub(crate) fn plan_wake(&mut self, now: Mono) {
        let timings = &self.config.timings;
        let deadlines = self.plans.values().filter_map(|plan| plan.wake);
        // Since the last tick, whatever came meanwhile: a tick that every message puts off would take the time
        // without one for a gap, and forgive the leases of the dead for ever.
        let regular = self.last_tick.map_or(now, |last| last.plus(timings.clock_gap_ms / 3));
        let regular = (!self.plans.is_empty()).then_some(regular);
        let silence = self.fleet.next_silence(timings.unreachable_after_ms);
        let account = self.fleet.accounts.next_due();
        self.wake = deadlines.chain(regular).chain(silence).chain(account).min();
    }

    /// A plan of which nothing runs and nothing can: since when.
    pub(crate) fn note_starved(&mut self, occasion: &mut Occasion<'_, '_>, id: PlanId) {
        let now = occasion.moment.mono;
        let starved = self.serves(id) && self.plans.get(&id).is_some_and(|plan| self.is_starved(plan));
        let pause_after = self.config.timings.no_worker_pause_ms;
        if let Some(plan) = self.plans.get_mut(&id) {
            if starved && plan.idle_since.is_none() {
                plan.due(now.plus(pause_after));
            }
            plan.idle_since = if starved { plan.idle_since.or(Some(now)) } else { None };
        }
    }

    fn is_starved(&self, plan: &Plan) -> bool {
        plan.row.state == PlanState::Running
            && plan.delayed.is_empty()
            && plan.open_tasks == 0
            && !plan.leases.values().any(|lease| lease.row.state.is_open())
            && self.waits_for_worker(plan) == Some(false)
    }

    /// What no connected worker has for the first thing that waits, in words.
    fn first_missing(&self, plan: &Plan) -> Option<String> {
        let waves = plan.begun.iter().copied();
        let duties = waves.filter_map(|wave| {
            let Duty { kind, role, demand } = duty_of(plan, wave)?;
            let missing = self.missing(plan, kind, role, demand.as_ref())?;
            Some(format!("{}: {missing}", plan.shape.waves[wave.at()].key))
        });
        let tasks = plan.classes.iter().zip(&plan.ready).filter_map(|(demand, ready)| {
            let (_, task) = ready.first()?;
            let missing = self.missing(plan, LeaseKind::Task, Role::Executor, Some(demand))?;
            Some(format!("{}: {missing}", plan.shape.tasks[task.at()].key))
        });
        duties.chain(tasks).next()
    }

    /// Whether a connected worker could ever do something of what waits; None: nothing waits.
    fn waits_for_worker(&self, plan: &Plan) -> Option<bool> {
        let duties = plan.begun.iter().filter_map(|wave| duty_of(plan, *wave));
        let tasks = plan.classes.iter().zip(&plan.ready).filter(|(_, ready)| !ready.is_empty());
        let tasks = tasks.map(|(demand, _)| Duty {
            kind: LeaseKind::Task,
            role: Role::Executor,
            demand: Some(demand.clone()),
        });
        let mut asked = duties.chain(tasks).peekable();
        asked.peek()?;
        Some(
            asked
                .any(|Duty { kind, role, demand }| self.missing(plan, kind, role, demand.as_ref()).is_none()),
        )
    }

    /// A plan that paused for want of a worker goes on when one has come.
    pub(crate) fn wake_starved(&mut self, occasion: &mut Occasion<'_, '_>, id: PlanId) {
        let Some(plan) = self.plans.get(&id) else {
            return;
        };
        if plan.row.state != PlanState::Paused(PauseReason::NoWorker) || !self.serves(id) {
            return;
        }
        // What waits for a time only is no news: nobody has come for it.
        let hopeful = self.waits_for_worker(plan).unwrap_or(plan.delayed.is_empty());
        if !hopeful {
            return;
        }
        let Some((plan, mut ctx)) = self.with_plan(id, occasion) else {
            return;
        };
        plan.go_on(&mut ctx);
        let mut event = plan.event(EventKind::PlanResumed);
        event.reason = PauseReason::NoWorker.as_str().to_owned();
        event.text = "a worker came".to_owned();
        ctx.emit(event);
    }
}

impl Plan {
    /// When the first of its deadlines is.
    fn earliest(&self, timings: &Timings) -> Option<Mono> {
        let open = self.leases.values().filter(|lease| lease.row.state.is_open());
        let leases = open.map(|lease| {
            let patience = match lease.row.state {
                LeaseState::Unreachable { .. } => lease.row.lost_after_ms,
                LeaseState::Granted
                | LeaseState::Running
                | LeaseState::Cancelling
                | LeaseState::Finished
                | LeaseState::Released(_)
                | LeaseState::Lost => timings.unreachable_after_ms.min(lease.row.lost_after_ms),
            };
            lease.base.plus(patience)
        });
        let idle = self.idle_since.map(|since| since.plus(timings.no_worker_pause_ms));
        leases.chain(self.delayed.values().copied()).chain(idle).min()
    }
}

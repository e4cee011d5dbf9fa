//! The only ways to change a plan's rows: each applies the transition, emits the change, and keeps
//! the derived counts and sets in step.

use std::collections::btree_map::Entry;

use super::{Claim, Context, Grant, Lease, Plan};
use crate::{
    effect::Change,
    ids::{LeaseId, Mono, TaskIx, WaveIx},
    row::{LeaseRow, LeaseWork, PlanRow, TaskRow, WaveRow},
    state::{PlanState, TaskState, WaveState},
    transition::{LeaseEvent, TaskEvent},
};

impl Plan {
    pub(crate) fn change_plan(&mut self, ctx: &mut Context<'_, '_>, change: impl FnOnce(&mut PlanRow)) {
        let (was, mode) = (self.row.state.name(), self.row.mode);
        change(&mut self.row);
        self.stirred = true;
        self.waves_stirred |= (was, mode) != (self.row.state.name(), self.row.mode);
        ctx.effects.changes.push(Change::Plan { id: self.id(), was, row: self.row.clone() });
    }

    pub(crate) fn set_state(&mut self, ctx: &mut Context<'_, '_>, state: PlanState) {
        let now = ctx.moment.utc;
        self.change_plan(ctx, |row| {
            row.state = state;
            if state.is_final() {
                row.ended = Some(now);
            }
        });
    }

    pub(crate) fn change_wave(
        &mut self,
        ctx: &mut Context<'_, '_>,
        wave: WaveIx,
        change: impl FnOnce(&mut WaveRow),
    ) {
        let row = &mut self.waves[wave.at()].row;
        let was = row.state;
        change(row);
        let row = row.clone();
        let running = |state| state == WaveState::Running;
        let refresh = running(was) != running(row.state);
        ctx.effects.changes.push(Change::Wave { plan: self.shape.id, wave, was: was.name(), row });
        self.stirred = true;
        self.waves_stirred = true;
        self.note_begun(wave);
        if refresh {
            self.refresh_wave(wave);
        }
    }

    /// Applies the event and then `adjust` to the task's row. False, and nothing changed, when the
    /// task's state cannot take the event.
    pub(crate) fn change_task(
        &mut self,
        ctx: &mut Context<'_, '_>,
        task: TaskIx,
        event: TaskEvent,
        adjust: impl FnOnce(&mut TaskRow),
    ) -> bool {
        let row = &mut self.tasks[task.at()];
        let was = row.state;
        let Ok(next) = was.next(event) else {
            return false;
        };
        row.state = next;
        adjust(row);
        let row = row.clone();
        ctx.effects.changes.push(Change::Task { plan: self.shape.id, task, was: was.name(), row });
        self.note_builder(task);
        self.recount(ctx, task, was, next);
        true
    }

    /// Changes what is kept of a task beside its state.
    pub(crate) fn adjust_task(
        &mut self,
        ctx: &mut Context<'_, '_>,
        task: TaskIx,
        adjust: impl FnOnce(&mut TaskRow),
    ) {
        let row = &mut self.tasks[task.at()];
        adjust(row);
        let row = row.clone();
        let was = row.state.name();
        ctx.effects.changes.push(Change::Task { plan: self.shape.id, task, was, row });
        self.stirred = true;
        self.note_builder(task);
        self.refresh(task);
    }

    fn recount(&mut self, ctx: &Context<'_, '_>, task: TaskIx, was: TaskState, next: TaskState) {
        let wave = &mut self.waves[self.shape.tasks[task.at()].wave.at()];
        wave.counts.remove(was);
        wave.counts.add(next);
        if self.delayed.remove(&task).is_some() {
            wave.delayed -= 1;
        }
        if let TaskState::Pending { not_before: Some(time) } = next {
            let wait = u64::try_from(time.0.saturating_sub(ctx.moment.utc.0)).unwrap_or(0);
            let until = ctx.moment.mono.plus(wait);
            self.delayed.insert(task, until);
            wave.delayed += 1;
            self.due(until);
        }
        if let Some(claim) = self.claim_on(task).filter(|claim| claim.until > ctx.moment.mono) {
            self.delay(task, claim.until);
        }
        self.stirred = true;
        self.refresh(task);
        for at in 0..self.dependents[task.at()].len() {
            self.refresh(self.dependents[task.at()][at]);
        }
        for builder in self.builders.iter().copied().collect::<Vec<_>>() {
            self.refresh(builder);
        }
    }

    /// What the task waits for: what it depends on, and what it is to be built on.
    pub(crate) fn unsettled(&self, task: TaskIx) -> impl Iterator<Item = TaskIx> {
        let declared = self.shape.tasks[task.at()].depends_on.iter();
        let all = declared.chain(&self.tasks[task.at()].built_on).copied();
        all.filter(|before| !is_settled(self.tasks[before.at()].state))
    }

    /// Keeps in step which waves have begun and are not over.
    pub(super) fn note_begun(&mut self, wave: WaveIx) {
        match self.waves[wave.at()].row.state {
            WaveState::Running
            | WaveState::Integrating
            | WaveState::Validating
            | WaveState::Publishing
            | WaveState::Blocked(_) => self.begun.insert(wave),
            WaveState::Waiting | WaveState::Done | WaveState::Cancelled => self.begun.remove(&wave),
        };
    }

    /// Keeps in step which tasks are built on others.
    fn note_builder(&mut self, task: TaskIx) {
        if self.tasks[task.at()].built_on.is_empty() {
            self.builders.remove(&task);
        } else {
            self.builders.insert(task);
        }
    }

    /// The worker of a lost lease is back and says that it still has it. Its result was paid for: no newer
    /// attempt takes its right before its last word, for as long as the worker is heard and at most for the
    /// lease's lost_after more (a claim that is never kept must not hold the task for ever).
    pub(crate) fn await_last_word(&mut self, ctx: &Context<'_, '_>, id: LeaseId) {
        let now = ctx.moment.mono;
        let Some((lease, task)) = self.lost_task(id) else { return };
        let since = lease.claim.map_or(now, |claim| claim.since);
        if now.since(since) < lease.row.lost_after_ms {
            let until = now.plus(ctx.config.timings.unreachable_after_ms);
            lease.claim = Some(Claim { since, until });
            self.delay(task, until);
        }
    }

    /// The worker of a lost lease has said its last word on it.
    pub(crate) fn forget_claim(&mut self, ctx: &Context<'_, '_>, id: LeaseId) {
        let Some((lease, task)) = self.lost_task(id) else { return };
        if lease.claim.take().is_none() {
            return;
        }
        self.release_delay(task);
        if let TaskState::Pending { not_before: Some(time) } = self.tasks[task.at()].state {
            let wait = u64::try_from(time.0.saturating_sub(ctx.moment.utc.0)).unwrap_or(0);
            if wait > 0 {
                // A wall clock that was set back must not hold the task for hours.
                self.delay(task, ctx.moment.mono.plus(wait.min(ctx.config.timings.longest_retry_ms())));
            }
        }
    }

    fn lost_task(&mut self, id: LeaseId) -> Option<(&mut Lease, TaskIx)> {
        let lease = self.leases.get_mut(&id).filter(|lease| lease.is_lost())?;
        match lease.row.work {
            LeaseWork::Task { task, .. } => Some((lease, task)),
            LeaseWork::Integrate
            | LeaseWork::Validate { .. }
            | LeaseWork::Coordinate { .. }
            | LeaseWork::Publish { .. } => None,
        }
    }

    /// Whether the worker of the task's lost lease is back with it.
    pub(crate) fn is_claimed(&self, task: TaskIx, now: Mono) -> bool {
        self.claim_on(task).is_some_and(|claim| claim.until > now)
    }

    fn claim_on(&self, task: TaskIx) -> Option<Claim> {
        let lease = self.leases.get(self.lease_of.get(&task)?)?;
        lease.claim.filter(|_| lease.is_lost())
    }

    /// Holds a pending task until then at least.
    fn delay(&mut self, task: TaskIx, until: Mono) {
        if !matches!(self.tasks[task.at()].state, TaskState::Pending { .. }) {
            return;
        }
        match self.delayed.entry(task) {
            Entry::Occupied(mut known) => *known.get_mut() = until.max(*known.get()),
            Entry::Vacant(entry) => {
                entry.insert(until);
                self.waves[self.shape.tasks[task.at()].wave.at()].delayed += 1;
            }
        }
        self.due(until);
        self.refresh(task);
    }

    /// The wait of a delayed task is over.
    pub(crate) fn release_delay(&mut self, task: TaskIx) {
        if self.delayed.remove(&task).is_some() {
            self.waves[self.shape.tasks[task.at()].wave.at()].delayed -= 1;
            self.stirred = true;
            self.refresh(task);
        }
    }

    pub(super) fn refresh_wave(&mut self, wave: WaveIx) {
        let mut delayed = 0;
        for task in self.tasks_of(wave) {
            delayed += u32::from(self.delayed.contains_key(&task));
            self.refresh(task);
        }
        self.waves[wave.at()].delayed = delayed;
    }

    /// Puts the task into the set of what is ready, or takes it out.
    fn refresh(&mut self, task: TaskIx) {
        let shape = &self.shape.tasks[task.at()];
        let is_ready = self.waves[shape.wave.at()].row.state == WaveState::Running
            && matches!(self.tasks[task.at()].state, TaskState::Pending { .. })
            && !self.delayed.contains_key(&task)
            && !self.tasks[task.at()].awaits_counsel.is_held()
            && self.unsettled(task).next().is_none();
        let wave = &mut self.waves[shape.wave.at()];
        let set = &mut self.ready[self.class_of[task.at()]];
        if is_ready && set.insert((shape.priority, task)) {
            wave.ready += 1;
        } else if !is_ready && set.remove(&(shape.priority, task)) {
            wave.ready -= 1;
        }
    }

    /// Records a grant. The caller sends it.
    pub(crate) fn open_lease(&mut self, ctx: &mut Context<'_, '_>, row: LeaseRow, number: u64) {
        ctx.index.open(row.id, row.plan, &row.worker);
        ctx.index.sent(&row.worker);
        match row.work {
            LeaseWork::Task { task, .. } => {
                self.open_tasks += 1;
                ctx.index.open_tasks += 1;
                // A lost lease gives up its right to a late result when a newer attempt is granted.
                if let Some(old) = self.lease_of.insert(task, row.id) {
                    self.leases.remove(&old);
                    ctx.index.forget(old);
                }
            }
            LeaseWork::Integrate
            | LeaseWork::Validate { .. }
            | LeaseWork::Coordinate { .. }
            | LeaseWork::Publish { .. } => self.waves[row.wave.at()].duty = Some(row.id),
        }
        ctx.effects.changes.push(Change::LeaseGranted(row.clone()));
        let grant = Grant::Sent(number);
        self.due(ctx.moment.mono.plus(ctx.config.timings.unreachable_after_ms.min(row.lost_after_ms)));
        self.leases.insert(row.id, Lease { row, base: ctx.moment.mono, grant, claim: None });
    }

    /// The lease's worker proves that it holds it: the grant was seen, in whichever session.
    pub(crate) fn prove_held(&mut self, ctx: &mut Context<'_, '_>, id: LeaseId) {
        let Some(lease) = self.leases.get_mut(&id) else { return };
        lease.base = ctx.moment.mono;
        if matches!(std::mem::replace(&mut lease.grant, Grant::Held), Grant::Sent(_)) {
            ctx.index.seen(&lease.row.worker);
        }
        // One that was unreachable is so again sooner than it would have been lost.
        let patience = ctx.config.timings.unreachable_after_ms.min(lease.row.lost_after_ms);
        self.due(ctx.moment.mono.plus(patience));
    }

    /// Applies the event to a lease that the plan keeps. False, and nothing changed, when there is
    /// none or its state cannot take the event.
    pub(crate) fn change_lease(&mut self, ctx: &mut Context<'_, '_>, id: LeaseId, event: LeaseEvent) -> bool {
        let now = ctx.moment.utc;
        let Some(lease) = self.leases.get_mut(&id) else {
            return false;
        };
        let was = lease.row.state;
        let Ok(next) = was.next(event) else {
            return false;
        };
        let row = &mut lease.row;
        row.state = next;
        if matches!(event, LeaseEvent::Started | LeaseEvent::Heard) && row.started.is_none() {
            row.started = Some(now);
        }
        if !next.is_open() {
            row.ended = Some(now);
        }
        let row = row.clone();
        if was.is_open() && !next.is_open() {
            if matches!(lease.grant, Grant::Sent(_)) {
                lease.grant = Grant::Unknown;
                ctx.index.seen(&row.worker);
            }
            self.close_lease(ctx, &row);
            if let Some(account) = &row.account {
                let untried = ctx.fleet.accounts.on_unanswered(account, id);
                ctx.effects.changes.extend(untried.map(Change::Account));
            }
        }
        if !next.is_open()
            && (!matches!(event, LeaseEvent::Lost) || !matches!(row.work, LeaseWork::Task { .. }))
        {
            self.forget_lease(ctx, &row);
        }
        ctx.effects.changes.push(Change::Lease { was: was.name(), row });
        self.stirred = true;
        true
    }

    fn close_lease(&mut self, ctx: &mut Context<'_, '_>, row: &LeaseRow) {
        ctx.index.close(row.id, &row.worker);
        match row.work {
            LeaseWork::Task { .. } => {
                self.open_tasks -= 1;
                ctx.index.open_tasks -= 1;
            }
            LeaseWork::Integrate
            | LeaseWork::Validate { .. }
            | LeaseWork::Coordinate { .. }
            | LeaseWork::Publish { .. } => self.waves[row.wave.at()].duty = None,
        }
    }

    pub(super) fn forget_lease(&mut self, ctx: &mut Context<'_, '_>, row: &LeaseRow) {
        self.leases.remove(&row.id);
        ctx.index.forget(row.id);
        if let LeaseWork::Task { task, .. } = row.work
            && self.lease_of.get(&task) == Some(&row.id)
        {
            self.lease_of.remove(&task);
        }
    }
}

/// Whether what depends on such a task may start.
const fn is_settled(state: TaskState) -> bool {
    match state {
        TaskState::Submitted | TaskState::Done | TaskState::Skipped | TaskState::Cancelled => true,
        TaskState::Pending { .. } | TaskState::Leased | TaskState::Blocked(_) => false,
    }
}

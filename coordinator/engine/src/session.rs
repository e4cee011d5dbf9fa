//! What sessions bring. Owns how a worker comes, resumes, reports and goes; a report on a lease that
//! is not its own or not current is refused in words and changes nothing.

use std::collections::BTreeSet;

use crate::{
    account::AccountState,
    effect::{Change, EventKind, Message, Reply, Send},
    engine::{Engine, Occasion},
    fleet::Session,
    ids::{LeaseId, SessionId, WorkerId},
    input::{Hello, Refusal, SessionEvent},
    plan::Grant,
    row::{ModelUsage, PastLease, Report, Usage, WorkerRow},
    state::{LeaseState, ReleaseReason},
    transition::LeaseEvent,
};

impl Engine {
    pub(crate) fn on_session(
        &mut self,
        occasion: &mut Occasion<'_, '_>,
        session: SessionId,
        event: SessionEvent,
    ) -> Result<Reply, Refusal> {
        if let SessionEvent::Hello(hello) = event {
            self.on_hello(occasion, session, *hello);
            return Ok(Reply::Done);
        }
        let worker = self.fleet.worker_of(session).ok_or(Refusal::NoSession)?.row.id.clone();
        self.fleet.heard(session, occasion.moment.mono);
        match event {
            SessionEvent::Hello(_) => {}
            SessionEvent::Heartbeat { number, held, last_grant } => {
                self.on_heartbeat(occasion, session, &worker, number, &held, last_grant);
            }
            SessionEvent::Started { lease } => self.on_started(occasion, &worker, lease),
            SessionEvent::Progress { lease, usage, models } => {
                self.on_progress(occasion, &worker, lease, usage, models);
            }
            SessionEvent::Finished { lease, report, past } => {
                self.on_finished(occasion, session, &worker, lease, *report, past);
            }
            SessionEvent::Released { lease, reason, note, past } => {
                self.on_released(occasion, session, &worker, lease, reason, &note, past);
            }
            SessionEvent::Draining => self.set_draining(occasion, &worker, "worker"),
            SessionEvent::Closed => self.on_closed(occasion, session),
        }
        Ok(Reply::Done)
    }

    fn on_hello(&mut self, occasion: &mut Occasion<'_, '_>, session: SessionId, hello: Hello) {
        if self.fleet.worker_of(session).is_some() {
            say(occasion, session, goodbye("a session says hello once", false));
            return;
        }
        let known = self.fleet.worker(&hello.worker);
        let same_instance = known.is_some_and(|worker| worker.row.instance == hello.instance);
        let known_draining = known.is_some_and(|worker| worker.row.draining);
        let old = known.and_then(|worker| worker.session.clone());
        if let Some(old) = old {
            let silent_for = occasion.moment.mono.since(old.heard);
            if !same_instance && silent_for < self.config.timings.unreachable_after_ms {
                let reason = "another live worker has this identity: stop it, or give this one a state directory of its own";
                say(occasion, session, goodbye(reason, false));
                return;
            }
            say(occasion, old.id, goodbye("the worker opened a newer session", false));
            self.fleet.close(old.id);
        }
        let mut row = self.worker_row(occasion, &hello);
        // An operator's wish outlives the stream, but not the process: a new one begins anew.
        row.draining |= same_instance && known_draining;
        let drain_again = row.draining && !hello.draining;
        occasion.effects.changes.push(Change::Worker(row.clone()));
        let mut event = Self::worker_event(EventKind::WorkerConnected, &row.id);
        event.text = row.name.clone();
        occasion.effects.changes.push(Change::Event(event));
        self.fleet.put(row, Session { id: session, grants: 0, heard: occasion.moment.mono, silent: false });
        self.seat(&hello.worker);
        for plan in self.plans.values_mut() {
            plan.out_of_reach.retain(|(_, worker)| *worker != hello.worker);
        }
        say(occasion, session, Message::Welcome);
        if drain_again {
            let reason = "it was asked to drain before this session".to_owned();
            say(occasion, session, Message::Drain { reason });
        }
        if !same_instance {
            self.try_accounts_again(occasion, &hello);
        }
        self.resume(occasion, session, &hello, same_instance);
    }

    /// A worker that starts anew may have been given other credentials under the same account.
    fn try_accounts_again(&mut self, occasion: &mut Occasion<'_, '_>, hello: &Hello) {
        let Some(row) = self.fleet.worker(&hello.worker).map(|worker| worker.row.clone()) else {
            return;
        };
        for account in row.runners.iter().filter_map(|runner| row.account(runner)) {
            if self.fleet.accounts.state(&account) == AccountState::Refused {
                occasion.effects.changes.extend(self.fleet.accounts.clear(&account).map(Change::Account));
            }
        }
    }

    fn worker_row(&self, occasion: &Occasion<'_, '_>, hello: &Hello) -> WorkerRow {
        let now = occasion.moment.utc;
        WorkerRow {
            id: hello.worker.clone(),
            instance: hello.instance.clone(),
            name: hello.name.clone(),
            host: hello.host.clone(),
            version: hello.version.clone(),
            roles: hello.roles.clone(),
            runners: hello.runners.clone(),
            labels: hello.labels.clone(),
            slots: hello.slots,
            draining: hello.draining,
            first_seen: self.fleet.worker(&hello.worker).map_or(now, |worker| worker.row.first_seen),
            last_seen: now,
        }
    }

    /// What the worker held before it came: kept, or, when its first heartbeat comes, given back or lost
    /// with its old process.
    fn resume(
        &mut self,
        occasion: &mut Occasion<'_, '_>,
        session: SessionId,
        hello: &Hello,
        same_instance: bool,
    ) {
        let held: BTreeSet<_> = hello.held.iter().copied().collect();
        let open = self.index.open_of(&hello.worker);
        for lease in &open {
            if held.contains(lease) {
                self.hear(occasion, *lease);
                self.repeat_cancel(occasion, session, *lease);
            } else if let Some(kept) = self.kept_mut(*lease) {
                // What its old process took along stays so, however often the new one comes.
                let by_same_instance =
                    same_instance && kept.grant != Grant::Missed { by_same_instance: false };
                let missed = std::mem::replace(&mut kept.grant, Grant::Missed { by_same_instance });
                if matches!(missed, Grant::Sent(_)) {
                    self.index.seen(&hello.worker);
                }
            }
        }
        for lease in held.iter().filter(|lease| !open.contains(lease)) {
            self.claim(occasion, &hello.worker, *lease);
        }
    }

    /// The worker says that it has a lease that is not open: if it is lost, its result may still come.
    fn claim(&mut self, occasion: &mut Occasion<'_, '_>, worker: &WorkerId, lease: LeaseId) {
        self.with_own_lease(occasion, worker, lease, |plan, ctx| plan.await_last_word(ctx, lease));
    }

    fn repeat_cancel(&self, occasion: &mut Occasion<'_, '_>, session: SessionId, lease: LeaseId) {
        if self.lease_state(lease) == Some(LeaseState::Cancelling) {
            say(occasion, session, Message::Cancel { lease, reason: "cancelled while the worker was away" });
        }
    }

    fn on_heartbeat(
        &mut self,
        occasion: &mut Occasion<'_, '_>,
        session: SessionId,
        worker: &WorkerId,
        number: u64,
        held: &[LeaseId],
        last_grant: u64,
    ) {
        let open: BTreeSet<_> = self.index.open_of(worker).into_iter().collect();
        let held: BTreeSet<_> = held.iter().copied().collect();
        let keep: Vec<_> = held.intersection(&open).copied().collect();
        let stop: Vec<_> = held.difference(&open).copied().collect();
        for lease in &keep {
            self.hear(occasion, *lease);
        }
        for lease in &stop {
            self.claim(occasion, worker, *lease);
        }
        for lease in open.difference(&held) {
            match self.kept(*lease).map(|lease| lease.grant) {
                // Seen and no longer held, without a word of its end.
                Some(Grant::Held) => self.lose(occasion, *lease, "its worker no longer holds it"),
                Some(Grant::Sent(number)) if number <= last_grant => {
                    self.lose(occasion, *lease, "its worker no longer holds it");
                }
                // It never had the grant, or its word of the end got lost: nobody's fault.
                Some(Grant::Missed { by_same_instance: true }) => {
                    let note = "the worker came back without it";
                    self.release(occasion, *lease, ReleaseReason::Unanswered, note);
                }
                Some(Grant::Missed { by_same_instance: false }) => {
                    self.lose(occasion, *lease, "its worker's process is gone");
                }
                // On its way, or nobody knows.
                Some(Grant::Sent(_) | Grant::Unknown) | None => {}
            }
        }
        say(occasion, session, Message::HeartbeatAck { number, keep, stop });
    }

    fn on_started(&mut self, occasion: &mut Occasion<'_, '_>, worker: &WorkerId, lease: LeaseId) {
        self.with_own_lease(occasion, worker, lease, |plan, ctx| {
            let Some(row) = plan.leases.get(&lease).map(|lease| lease.row.clone()) else {
                return;
            };
            plan.prove_held(ctx, lease);
            if plan.change_lease(ctx, lease, LeaseEvent::Started) {
                ctx.emit(plan.lease_event(EventKind::LeaseStarted, &row));
            }
        });
    }

    fn on_progress(
        &mut self,
        occasion: &mut Occasion<'_, '_>,
        worker: &WorkerId,
        lease: LeaseId,
        usage: Usage,
        models: Vec<ModelUsage>,
    ) {
        self.with_own_lease(occasion, worker, lease, |plan, ctx| {
            plan.prove_held(ctx, lease);
            let Some(row) = plan.leases.get(&lease).map(|lease| lease.row.clone()) else {
                return;
            };
            if !row.state.is_open() {
                plan.on_late_progress(ctx, &row, usage);
            }
            if let Some(lease) = plan.leases.get_mut(&lease) {
                lease.row.progress = usage;
                let row = lease.row.clone();
                if !models.is_empty() {
                    ctx.effects.changes.push(Change::Used { lease: row.id, models });
                }
                ctx.effects.changes.push(Change::Lease { was: row.state.name(), row: row.clone() });
                // It is being answered: what waits for this account need not wait for its end.
                if usage.tokens() > 0
                    && let Some(account) = &row.account
                    && let Some(changed) = ctx.fleet.accounts.on_answered(account, row.id)
                {
                    plan.tell_account(ctx, &row, changed);
                }
            }
        });
    }

    fn on_finished(
        &mut self,
        occasion: &mut Occasion<'_, '_>,
        session: SessionId,
        worker: &WorkerId,
        lease: LeaseId,
        report: Report,
        past: Option<Box<PastLease>>,
    ) {
        if self.owns(worker, lease) {
            self.with_own_lease(occasion, worker, lease, |plan, ctx| plan.on_finished(ctx, lease, report));
            return;
        }
        let answer = match past
            .filter(|past| past.row.worker == *worker && !self.index.plan_of.contains_key(&lease))
        {
            Some(past) if past.accepted == Some(true) => Message::Accepted { lease },
            // Of a plan that was set aside: its worker keeps the result until the plan is there again.
            Some(past) if past.row.state.is_open() => return,
            Some(past) => {
                // Its cost is booked either way.
                let mut report = report;
                if past.accepted.is_none()
                    && let Some((plan, mut ctx)) = self.with_plan(past.row.plan, occasion)
                {
                    plan.on_past_result(&mut ctx, &past.row, &mut report);
                }
                let report = Box::new(report);
                occasion.effects.changes.push(Change::Result { lease, accepted: false, report });
                let reason = format!("the lease is {}", past.row.state.name());
                Message::Refused { lease, reason }
            }
            None => Message::Refused { lease, reason: "no such lease of this worker".to_owned() },
        };
        say(occasion, session, answer);
    }

    #[expect(clippy::too_many_arguments, reason = "the fields of one message and where it came from")]
    fn on_released(
        &mut self,
        occasion: &mut Occasion<'_, '_>,
        session: SessionId,
        worker: &WorkerId,
        lease: LeaseId,
        reason: ReleaseReason,
        note: &str,
        past: Option<Box<PastLease>>,
    ) {
        let owned = self.owns(worker, lease);
        let past = past.filter(|past| past.row.worker == *worker);
        let known = owned || past.is_some();
        if owned {
            self.release(occasion, lease, reason, note);
        } else if past.is_some_and(|past| past.row.state.is_open()) {
            // As with a result: its plan was set aside.
            return;
        }
        // There is nothing in it that could come too late: whatever the lease is now, the worker may
        // forget it.
        let answer = if known {
            Message::Accepted { lease }
        } else {
            Message::Refused { lease, reason: "no such lease of this worker".to_owned() }
        };
        say(occasion, session, answer);
    }

    fn on_closed(&mut self, occasion: &mut Occasion<'_, '_>, session: SessionId) {
        let Some(worker) = self.fleet.close(session) else {
            return;
        };
        if let Some(known) = self.fleet.worker(&worker)
            && known.session.is_none()
        {
            let mut row = (*known.row).clone();
            row.last_seen = occasion.moment.utc;
            occasion.effects.changes.push(Change::Worker(row.clone()));
            let mut event = Self::worker_event(EventKind::WorkerGone, &worker);
            event.text = row.name.clone();
            occasion.effects.changes.push(Change::Event(event));
            self.fleet.set_row(row);
        }
        self.seat(&worker);
    }

    /// Keeps in step whom something may be granted.
    fn seat(&mut self, worker: &WorkerId) {
        self.index.seat(worker, self.fleet.worker(worker).and_then(crate::fleet::Worker::seats));
    }

    pub(crate) fn on_drain_worker(
        &mut self,
        occasion: &mut Occasion<'_, '_>,
        worker: &WorkerId,
        by: &str,
    ) -> Result<Reply, Refusal> {
        self.fleet.worker(worker).ok_or_else(|| Refusal::NoWorker(worker.clone()))?;
        self.set_draining(occasion, worker, by);
        if let Some(session) = self.fleet.session_of(worker) {
            say(occasion, session, Message::Drain { reason: format!("asked by {by}") });
        }
        Ok(Reply::Done)
    }

    fn set_draining(&mut self, occasion: &mut Occasion<'_, '_>, worker: &WorkerId, by: &str) {
        let Some(known) = self.fleet.worker(worker).filter(|worker| !worker.row.draining) else {
            return;
        };
        let mut row = (*known.row).clone();
        row.draining = true;
        row.last_seen = occasion.moment.utc;
        occasion.effects.changes.push(Change::Worker(row.clone()));
        let mut event = Self::worker_event(EventKind::WorkerDraining, worker);
        event.actor = by.to_owned();
        event.text = row.name.clone();
        occasion.effects.changes.push(Change::Event(event));
        self.fleet.set_row(row);
        self.seat(worker);
    }

    pub(crate) fn on_forget_worker(
        &mut self,
        occasion: &mut Occasion<'_, '_>,
        worker: &WorkerId,
        by: &str,
    ) -> Result<Reply, Refusal> {
        let known = self.fleet.worker(worker).ok_or_else(|| Refusal::NoWorker(worker.clone()))?;
        if known.session.is_some() {
            return Err(Refusal::WorkerConnected(worker.clone()));
        }
        for lease in self.index.open_of(worker) {
            self.lose(occasion, lease, "its worker was forgotten");
        }
        self.fleet.forget(worker);
        occasion.effects.changes.push(Change::WorkerForgotten(worker.clone()));
        let mut event = Self::worker_event(EventKind::WorkerForgotten, worker);
        event.actor = by.to_owned();
        occasion.effects.changes.push(Change::Event(event));
        Ok(Reply::Done)
    }

    /// Its worker proves that it holds the lease.
    fn hear(&mut self, occasion: &mut Occasion<'_, '_>, lease: LeaseId) {
        self.with_lease(occasion, lease, |plan, ctx| {
            plan.prove_held(ctx, lease);
            let Some(kept) = plan.leases.get(&lease) else {
                return;
            };
            if matches!(kept.row.state, LeaseState::Unreachable { .. }) {
                let row = kept.row.clone();
                plan.change_lease(ctx, lease, LeaseEvent::Heard);
                ctx.emit(plan.lease_event(EventKind::LeaseReachable, &row));
            }
        });
    }

    fn release(
        &mut self,
        occasion: &mut Occasion<'_, '_>,
        lease: LeaseId,
        reason: ReleaseReason,
        note: &str,
    ) {
        self.with_lease(occasion, lease, |plan, ctx| {
            plan.on_released(ctx, lease, reason, note);
        });
    }

    pub(crate) fn lose(&mut self, occasion: &mut Occasion<'_, '_>, lease: LeaseId, why: &str) {
        self.with_lease(occasion, lease, |plan, ctx| plan.on_lost(ctx, lease, why));
    }

    fn owns(&self, worker: &WorkerId, lease: LeaseId) -> bool {
        self.kept(lease).is_some_and(|lease| lease.row.worker == *worker)
    }

    fn lease_state(&self, lease: LeaseId) -> Option<LeaseState> {
        self.kept(lease).map(|lease| lease.row.state)
    }

    fn kept(&self, lease: LeaseId) -> Option<&crate::plan::Lease> {
        self.plans.get(self.index.plan_of.get(&lease)?)?.leases.get(&lease)
    }

    fn kept_mut(&mut self, lease: LeaseId) -> Option<&mut crate::plan::Lease> {
        self.plans.get_mut(self.index.plan_of.get(&lease)?)?.leases.get_mut(&lease)
    }

    fn with_own_lease(
        &mut self,
        occasion: &mut Occasion<'_, '_>,
        worker: &WorkerId,
        lease: LeaseId,
        decide: impl FnOnce(&mut crate::plan::Plan, &mut crate::plan::Context<'_, '_>),
    ) {
        if self.owns(worker, lease) {
            self.with_lease(occasion, lease, decide);
        }
    }

    fn with_lease(
        &mut self,
        occasion: &mut Occasion<'_, '_>,
        lease: LeaseId,
        decide: impl FnOnce(&mut crate::plan::Plan, &mut crate::plan::Context<'_, '_>),
    ) {
        if let Some(plan) = self.index.plan_of.get(&lease).copied()
            && let Some((plan, mut ctx)) = self.with_plan(plan, occasion)
        {
            decide(plan, &mut ctx);
        }
    }
}

fn say(occasion: &mut Occasion<'_, '_>, session: SessionId, message: Message) {
    occasion.effects.sends.push(Send { session, message });
}

fn goodbye(reason: &str, permanent: bool) -> Message {
    Message::Goodbye { reason: reason.to_owned(), permanent }
}

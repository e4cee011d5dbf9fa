//! What happens when a transaction fails. Owns the way back to what the store holds, and the rule
//! that one poisoned plan pauses alone while all others proceed.

use tracing::{error, warn};
use wavegate_engine::{Input, Moment, PlanId, SessionId};

use super::{
    ApplyError, Clock, Driver, Outbox, Store, StoreError,
    commit::{Committed, Failed},
    turn::Envelope,
};

/// How often one input is tried while plans that are in its way are paused.
const MAX_POISONED_PLANS: usize = 8;

impl<S: Store, C: Clock, O: Outbox> Driver<S, C, O> {
    /// Commits the batch, or, when the store refuses something in it, each input on its own.
    pub(super) fn commit_batch(&mut self, batch: Vec<Envelope>) {
        self.engine.mark_fleet();
        let inputs: Vec<Input> = batch.iter().map(|envelope| envelope.input.clone()).collect();
        match self.commit(&inputs) {
            Ok(committed) => self.deliver(batch, committed),
            Err(failed) => {
                self.go_back();
                match failed.error {
                    StoreError::Constraint(_) | StoreError::Corrupt(_) => {
                        for envelope in batch {
                            self.commit_alone(envelope);
                        }
                        self.settle_alone();
                    }
                    StoreError::Unavailable(text) => self.give_up(batch, &text),
                }
            }
        }
    }

    fn commit_alone(&mut self, envelope: Envelope) {
        for _ in 0..MAX_POISONED_PLANS {
            self.engine.mark_fleet();
            match self.commit(std::slice::from_ref(&envelope.input)) {
                Ok(committed) => return self.deliver(vec![envelope], committed),
                Err(failed) => {
                    self.go_back();
                    if let StoreError::Unavailable(text) = &failed.error {
                        return self.give_up(vec![envelope], text);
                    }
                    let poisoned = failed.plan.or(envelope.plan());
                    self.poison(poisoned, &failed.error.to_string());
                    // Its own plan: the input is what the store refuses. Another plan's change was
                    // in its way: try again now that it is paused.
                    if poisoned.is_none() || poisoned == envelope.plan() {
                        return self.refuse(envelope, &failed.error);
                    }
                }
            }
        }
        self.refuse(envelope, &StoreError::Constraint("too many plans are in the way".to_owned()));
    }

    /// After a batch was taken apart: steps that no input leads to.
    fn settle_alone(&mut self) {
        for _ in 0..MAX_POISONED_PLANS {
            self.engine.mark_fleet();
            match self.commit(&[]) {
                Ok(Committed { sends, .. }) => return self.send_all(sends),
                Err(Failed { error, plan }) => {
                    self.go_back();
                    if plan.is_none() {
                        return;
                    }
                    self.poison(plan, &error.to_string());
                }
            }
        }
    }

    /// Pauses a plan that the store refuses to follow; sets it aside if even that is refused.
    fn poison(&mut self, plan: Option<PlanId>, text: &str) {
        let Some(plan) = plan else { return };
        error!(plan = plan.0, "the store refuses a change of this plan, which is paused: {text}");
        self.engine.mark_fleet();
        let input = Input::PausePoisoned { plan, error: text.to_owned() };
        match self.commit(&[input]) {
            Ok(Committed { sends, .. }) => self.send_all(sends),
            Err(Failed { error: StoreError::Unavailable(text), .. }) => {
                // No word on the plan: what is refused now will be refused again, and the plan paused then.
                self.go_back();
                warn!(plan = plan.0, "the plan cannot be paused yet: {text}");
            }
            Err(failed) => {
                self.go_back();
                error!(plan = plan.0, "the plan is set aside until the next start: {}", failed.error);
                self.engine.set_aside(plan);
                self.set_aside.insert(plan);
            }
        }
    }

    /// Rolls back and takes the state from the file. Who is connected stays as it was.
    fn go_back(&mut self) {
        self.store.roll_back();
        self.engine.reset_fleet();
        self.try_reload();
    }

    /// Reads the state from the file; the engine is not used until that has worked.
    pub(super) fn try_reload(&mut self) -> bool {
        let loaded = self.store.load();
        let (mono, utc) = (self.clock.mono(), self.clock.utc());
        self.is_stale = match loaded {
            Ok(snapshot) => {
                self.engine.refresh_workers(snapshot.workers, snapshot.accounts);
                let clock = &mut self.clock;
                let mut draw = || clock.draw();
                let plans =
                    snapshot.plans.into_iter().filter(|plan| !self.set_aside.contains(&plan.shape.id));
                self.engine.restore(plans.collect(), &Moment { mono, utc, draw: &mut draw });
                false
            }
            Err(error) => {
                warn!("cannot read the state back yet: {error}");
                true
            }
        };
        !self.is_stale
    }

    /// The same may work later: callers are told so, workers come back and say it again.
    pub(super) fn give_up(&mut self, batch: Vec<Envelope>, text: &str) {
        warn!("the store is unavailable: {text}");
        for envelope in batch {
            match envelope.session() {
                Some(session) => self.close(session, &envelope),
                None => envelope.answer(Err(ApplyError::Unavailable(text.to_owned()))),
            }
        }
    }

    fn refuse(&mut self, envelope: Envelope, error: &StoreError) {
        match envelope.session() {
            Some(session) => self.close(session, &envelope),
            None => envelope.answer(Err(ApplyError::Poisoned(error.to_string()))),
        }
    }

    fn close(&mut self, session: SessionId, envelope: &Envelope) {
        self.outbox.close(session);
        // Nobody says twice that a stream ended.
        if envelope.is_end() {
            self.ended.push(session);
        }
    }
}

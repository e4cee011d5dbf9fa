//! One transaction: look at what others ask, decide every input, write, commit. Owns the rule that
//! nothing leaves before the commit: effects and answers are handed back only after it.

use std::collections::BTreeSet;

use wavegate_engine::{
    Change, Effects, Input, LeaseId, Moment, Mono, PlanId, Refusal, Reply, Send, SessionEvent,
};

use super::{Clock, Driver, Outbox, Store, StoreError, turn::RELOAD_MS};

/// What a committed transaction leads to.
pub(super) struct Committed {
    pub(super) sends: Vec<Send>,
    /// One for each input, in order.
    pub(super) replies: Vec<Result<Reply, Refusal>>,
}

/// Why a transaction was not committed, and the plan that its failing change was about.
pub(super) struct Failed {
    pub(super) error: StoreError,
    pub(super) plan: Option<PlanId>,
}

impl From<StoreError> for Failed {
    fn from(error: StoreError) -> Self {
        Self { error, plan: None }
    }
}

impl<S: Store, C: Clock, O: Outbox> Driver<S, C, O> {
    /// On an error the transaction is still open and the engine ahead of the store: recover.
    pub(super) fn commit(&mut self, inputs: &[Input]) -> Result<Committed, Failed> {
        let committed = self.try_commit(inputs);
        let now = self.clock.mono();
        // A rest under way is not made longer: who asks again and again would put off all deadlines.
        if committed.is_err() && self.rests_until <= now {
            self.rests_until = now.plus(RELOAD_MS);
        }
        committed
    }

    fn try_commit(&mut self, inputs: &[Input]) -> Result<Committed, Failed> {
        if self.is_stale {
            // Decided by an engine that is ahead of the store, it would write what never was.
            return Err(
                StoreError::Unavailable("the state cannot be read back from the file".to_owned()).into()
            );
        }
        let requests = self.store.begin()?;
        let (mono, utc) = (self.clock.mono(), self.clock.utc());
        let mut sends = Vec::new();
        let mut news = BTreeSet::new();
        let mut written = 0;
        let mut replies = Vec::with_capacity(inputs.len());
        for request in requests {
            let input = Input::ModeRequested { plan: request.plan, text: request.text };
            let (_, effects) =
                self.decide(mono, utc, |engine, moment, effects| engine.apply(input, moment, effects));
            written += self.write(effects, &mut sends, &mut news)?;
        }
        for input in inputs {
            let input = self.with_past(input.clone())?;
            let (reply, effects) =
                self.decide(mono, utc, |engine, moment, effects| engine.apply(input, moment, effects));
            replies.push(reply);
            written += self.write(effects, &mut sends, &mut news)?;
        }
        let ((), effects) = self.decide(mono, utc, |engine, moment, effects| engine.settle(moment, effects));
        written += self.write(effects, &mut sends, &mut news)?;
        if written == 0 {
            self.store.roll_back();
        } else {
            self.store.flush().map_err(|(plan, error)| Failed { error, plan: Some(plan) })?;
            self.store.commit()?;
            self.rests_until = Mono::default();
            news.into_iter().for_each(|plan| self.outbox.news(plan));
            self.outbox.committed();
        }
        Ok(Committed { sends, replies })
    }

    fn decide<R>(
        &mut self,
        mono: Mono,
        utc: wavegate_engine::Utc,
        decide: impl FnOnce(&mut wavegate_engine::Engine, &mut Moment<'_>, &mut Effects) -> R,
    ) -> (R, Effects) {
        let mut effects = Effects::default();
        let clock = &mut self.clock;
        let mut draw = || clock.draw();
        let mut moment = Moment { mono, utc, draw: &mut draw };
        let decided = decide(&mut self.engine, &mut moment, &mut effects);
        (decided, effects)
    }

    fn write(
        &mut self,
        effects: Effects,
        sends: &mut Vec<Send>,
        news: &mut BTreeSet<PlanId>,
    ) -> Result<usize, Failed> {
        let now = self.clock.utc();
        for change in &effects.changes {
            if let Change::Event(event) = change {
                news.extend(event.plan);
            }
            self.store.write(change, now).map_err(|error| Failed { error, plan: change.plan() })?;
        }
        sends.extend(effects.sends);
        Ok(effects.changes.len())
    }

    /// A report on a lease that the engine does not keep comes with what the store remembers of it.
    fn with_past(&mut self, input: Input) -> Result<Input, StoreError> {
        let Input::Session { session, event } = input else { return Ok(input) };
        let event = match event {
            SessionEvent::Finished { lease, report, past: _ } => {
                SessionEvent::Finished { lease, report, past: self.past(lease)? }
            }
            SessionEvent::Released { lease, reason, note, past: _ } => {
                SessionEvent::Released { lease, reason, note, past: self.past(lease)? }
            }
            other @ (SessionEvent::Hello(_)
            | SessionEvent::Heartbeat { .. }
            | SessionEvent::Started { .. }
            | SessionEvent::Progress { .. }
            | SessionEvent::Draining
            | SessionEvent::Closed) => other,
        };
        Ok(Input::Session { session, event })
    }

    fn past(&mut self, lease: LeaseId) -> Result<Option<Box<wavegate_engine::PastLease>>, StoreError> {
        if self.engine.keeps(lease) {
            return Ok(None);
        }
        self.store.past_lease(lease)
    }
}

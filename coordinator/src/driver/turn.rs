//! The loop: receive what waits, stage, decide and commit, deliver. Owns when each happens.

use std::{collections::BTreeSet, time::Duration};

use tokio::sync::{mpsc, oneshot};
use tracing::warn;
use wavegate_engine::{Engine, Input, Message, Mono, PlanId, Refusal, Reply, Send, SessionEvent, SessionId};

use super::{
    ApplyError, Clock, Look, Outbox, Outgoing, Request, Store, StoreError, Submitted, commit::Committed,
    staging::Staging,
};

/// Inputs decided in one transaction: enough to share an fsync, few enough to stay under 20 ms.
const MAX_BATCH: usize = 256;
/// How often the file is looked at for others' changes while plans are open.
const LOOK_MS: u64 = 250;
/// How often a store that cannot be read or written is tried again when nobody asks.
pub(super) const RELOAD_MS: u64 = 500;

/// The driver of one coordinator.
pub struct Driver<S, C, O> {
    pub(super) engine: Engine,
    pub(super) store: S,
    pub(super) clock: C,
    pub(super) outbox: O,
    pub(super) staging: Staging,
    /// The engine does not hold what the store holds, and is not used until it does.
    pub(super) is_stale: bool,
    /// Sessions of which it is still to be noted that they ended.
    pub(super) ended: Vec<SessionId>,
    /// Plans that the store cannot follow.
    pub(super) set_aside: BTreeSet<PlanId>,
    /// Nothing is written by itself before this: a commit failed, and would again. What is asked is tried at once.
    pub(super) rests_until: Mono,
    requests: mpsc::Receiver<Request>,
    /// A first turn is due: steps that follow by themselves from what was loaded.
    is_fresh: bool,
}

/// An input and who waits for its answer.
pub(super) struct Envelope {
    pub(super) input: Input,
    answer: Answer,
}

pub(super) enum Answer {
    None,
    Apply(oneshot::Sender<Result<Reply, ApplyError>>),
    Submit(oneshot::Sender<Result<Submitted, ApplyError>>, Submitted),
}

impl Envelope {
    pub(super) fn new(input: Input, answer: Answer) -> Self {
        Self { input, answer }
    }

    pub(super) fn session(&self) -> Option<SessionId> {
        if let Input::Session { session, .. } = &self.input { Some(*session) } else { None }
    }

    /// Whether it says that a stream ended.
    pub(super) fn is_end(&self) -> bool {
        matches!(self.input, Input::Session { event: SessionEvent::Closed, .. })
    }

    /// The plan that the input itself names.
    pub(super) fn plan(&self) -> Option<PlanId> {
        match &self.input {
            Input::Submit { shape, .. } => Some(shape.id),
            Input::Approve { plan, .. }
            | Input::SetMode { plan, .. }
            | Input::ModeRequested { plan, .. }
            | Input::Pause { plan, .. }
            | Input::PausePoisoned { plan, .. }
            | Input::Resume { plan, .. }
            | Input::Cancel { plan, .. }
            | Input::Serve { plan }
            | Input::Retry { plan, .. }
            | Input::Resolve { plan, .. }
            | Input::ExternalVerdict { plan, .. } => Some(*plan),
            Input::DrainWorker { .. }
            | Input::ForgetWorker { .. }
            | Input::ClearAccount { .. }
            | Input::Restored { .. }
            | Input::Session { .. }
            | Input::Tick => None,
        }
    }

    /// A caller that is gone asks nothing.
    pub(super) fn answer(self, result: Result<Reply, ApplyError>) {
        match self.answer {
            Answer::None => {}
            Answer::Apply(sender) => drop(sender.send(result)),
            Answer::Submit(sender, submitted) => drop(sender.send(result.map(|_| submitted))),
        }
    }
}

impl<S: Store, C: Clock, O: Outbox> Driver<S, C, O> {
    /// A driver that goes on from what the store holds.
    pub fn new(
        mut engine: Engine,
        mut store: S,
        clock: C,
        outbox: O,
        requests: mpsc::Receiver<Request>,
    ) -> Result<Self, StoreError> {
        let stored = store.load()?;
        engine.restore_workers(stored.workers, stored.accounts);
        let mut driver = Self {
            engine,
            store,
            clock,
            outbox,
            staging: Staging::default(),
            is_stale: true,
            ended: Vec::new(),
            set_aside: BTreeSet::new(),
            rests_until: Mono::default(),
            requests,
            is_fresh: true,
        };
        driver.try_reload();
        Ok(driver)
    }

    /// Runs until it is asked to stop or nobody can ask any more; gives the store back.
    pub async fn run(mut self) -> S {
        let mut received = Vec::new();
        loop {
            self.receive(&mut received).await;
            if self.requests.is_closed() && received.is_empty() && self.requests.is_empty() {
                return self.store;
            }
            if !self.turn(std::mem::take(&mut received)) {
                return self.store;
            }
        }
    }

    async fn receive(&mut self, received: &mut Vec<Request>) {
        let wait = self.wait();
        let receive = self.requests.recv_many(received, MAX_BATCH);
        // A time-out is the other thing that is waited for.
        let _ = tokio::time::timeout(wait, receive).await;
    }

    fn wait(&self) -> Duration {
        let look = if self.engine.open_plans().next().is_some() { LOOK_MS } else { u64::MAX };
        // An hour stands for ever: a sleep without end overflows on some platforms.
        self.until_due().min(Duration::from_millis(look.min(3_600_000)))
    }

    /// How long until a turn has something to do by itself, beside looking for others' changes of the file.
    /// Public for those who bring about the turns, as a simulation does.
    #[must_use]
    pub fn until_due(&self) -> Duration {
        if self.is_fresh || !self.staging.is_empty() {
            return Duration::ZERO;
        }
        if self.is_stale || !self.ended.is_empty() {
            return Duration::from_millis(RELOAD_MS);
        }
        let now = self.clock.mono();
        if self.rests_until > now {
            return Duration::from_millis(self.rests_until.since(now));
        }
        Duration::from_millis(self.engine.next_deadline().map_or(u64::MAX, |deadline| deadline.since(now)))
    }

    /// Handles what was received and what is due. False when asked to stop.
    pub fn turn(&mut self, received: Vec<Request>) -> bool {
        let mut batch = Vec::new();
        let mut looks = Vec::new();
        let mut go_on = true;
        for request in received {
            match request {
                Request::Apply { input, answer } => {
                    let answer = answer.map_or(Answer::None, Answer::Apply);
                    batch.push(Envelope::new(*input, answer));
                }
                Request::Submit { submission, answer } => self.staging.push(submission, answer),
                Request::OpenSession { session, sender } => self.outbox.open(session, sender),
                Request::Look { look } => looks.push(look),
                Request::Stop => go_on = false,
            }
        }
        batch.extend(self.stage_chunk());
        self.advance(batch);
        for look in looks {
            self.answer_look(look);
        }
        go_on
    }

    fn advance(&mut self, mut batch: Vec<Envelope>) {
        if self.is_stale && !self.try_reload() {
            return self.give_up(batch, "the state cannot be read back from the file");
        }
        for session in std::mem::take(&mut self.ended) {
            let input = Input::Session { session, event: SessionEvent::Closed };
            batch.push(Envelope::new(input, Answer::None));
        }
        let now = self.clock.mono();
        let rests = self.rests_until > now;
        if !rests && self.engine.next_deadline().is_some_and(|deadline| deadline <= now) {
            batch.push(Envelope::new(Input::Tick, Answer::None));
        }
        let asked = !rests
            && self.store.has_foreign_changes().unwrap_or_else(|error| {
                warn!("cannot look for others' changes: {error}");
                false
            });
        if !batch.is_empty() || asked || std::mem::take(&mut self.is_fresh) {
            self.commit_batch(batch);
        }
    }

    pub(super) fn deliver(&mut self, batch: Vec<Envelope>, committed: Committed) {
        self.send_all(committed.sends);
        for (envelope, reply) in batch.into_iter().zip(committed.replies) {
            match (envelope.session(), reply) {
                // A message of a session that is no longer open: end its stream.
                (Some(session), Err(Refusal::NoSession)) => self.outbox.close(session),
                (_, reply) => envelope.answer(reply.map_err(ApplyError::Refused)),
            }
        }
    }

    pub(super) fn send_all(&mut self, sends: Vec<Send>) {
        for Send { session, message } in sends {
            match self.outgoing(message) {
                Ok(message) => {
                    // A session that does not keep up is closed; its worker comes back and resumes.
                    self.outbox.send(session, message);
                }
                Err(error) => {
                    warn!("a grant cannot be sent, its session is closed: {error}");
                    self.outbox.close(session);
                }
            }
        }
    }

    fn outgoing(&mut self, message: Message) -> Result<Outgoing, StoreError> {
        Ok(match message {
            Message::Welcome => Outgoing::Welcome,
            Message::Grant { number, lease, brief } => {
                let work = Box::new(self.store.load_work(&lease, &brief)?);
                Outgoing::Grant { number, lease, work }
            }
            Message::HeartbeatAck { number, keep, stop } => Outgoing::HeartbeatAck { number, keep, stop },
            Message::Cancel { lease, reason } => Outgoing::Cancel { lease, reason },
            Message::Accepted { lease } => Outgoing::Accepted { lease },
            Message::Refused { lease, reason } => Outgoing::Refused { lease, reason },
            Message::Drain { reason } => Outgoing::Drain { reason },
            Message::Goodbye { reason, permanent } => Outgoing::Goodbye { reason, permanent },
        })
    }

    fn answer_look(&self, look: Look) {
        match look {
            Look::Holds { plan, answer } => {
                let holds = self.engine.holds(plan, self.clock.mono()).unwrap_or_default();
                drop(answer.send(holds));
            }
            Look::Connected { answer } => drop(answer.send(self.engine.connected())),
            Look::Accounts { answer } => drop(answer.send(self.engine.accounts().cloned().collect())),
            Look::PendingVerdicts { answer } => drop(answer.send(self.engine.pending_verdicts())),
        }
    }
}

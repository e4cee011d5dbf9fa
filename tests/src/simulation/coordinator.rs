//! The coordinator's process: the real driver with the real engine, from start to crash. Owns what the
//! front of a coordinator does around it: sessions begin and end, answers go out.

use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};

use tokio::sync::{mpsc, oneshot};
use wavegate_coordinator::{
    driver::{ApplyError, Driver, Look, Outgoing, Request, Submitted},
    rpc::event_of,
};
use wavegate_engine::{Engine, Input, PendingVerdict, Refusal, Reply, SessionEvent};
use wavegate_proto::v1;

use super::{
    book::is_too_late,
    mutation::Mutation,
    network::session,
    outside::{ProcessEnds, SimClock, SimOutbox, SimStore},
    world::{Event, World},
};

type SimDriver = Driver<SimStore, SimClock, SimOutbox>;

/// The process, or none.
#[derive(Default)]
pub(super) struct Coordinator {
    driver: Option<SimDriver>,
    inbox: Vec<Request>,
    /// When the next turn is planned.
    turn_ms: Option<u64>,
    /// It stands still until then.
    pub(super) frozen_until_ms: u64,
    /// Counts the starts.
    pub(super) start: u64,
    waiting: Vec<Waiting>,
}

/// Somebody who waits for an answer.
pub(super) enum Waiting {
    Submitted {
        sketch: usize,
        answer: oneshot::Receiver<Result<Submitted, ApplyError>>,
    },
    /// The worker of this number was said to be gone.
    Forgotten {
        worker: usize,
        answer: oneshot::Receiver<Result<Reply, ApplyError>>,
    },
    Verdicts {
        at: u8,
        decision: wavegate_engine::Decision,
        is_fresh: bool,
        answer: oneshot::Receiver<Vec<PendingVerdict>>,
    },
}

impl Coordinator {
    pub(super) const fn is_up(&self) -> bool {
        self.driver.is_some()
    }
}

impl World {
    /// The process starts on what is stored.
    pub(super) fn start_coordinator(&mut self) {
        if self.coordinator.is_up() {
            return;
        }
        let (shared, config) = (self.outside.clone(), self.scenario.config());
        self.coordinator.start += 1;
        let (_, requests) = mpsc::channel(1);
        let started = catch_unwind(AssertUnwindSafe(|| {
            let parts = (SimStore(shared.clone()), SimClock(shared.clone()), SimOutbox(shared));
            Driver::new(Engine::new(config), parts.0, parts.1, parts.2, requests)
        }));
        match started {
            Ok(Ok(driver)) => {
                self.coordinator.driver = Some(driver);
                self.trace(|| "coordinator: started".to_owned());
                self.plan_turn(0);
            }
            // As a service manager does.
            Ok(Err(_)) => self.at(self.now + 1_000, Event::StartCoordinator),
            Err(payload) if payload.is::<ProcessEnds>() => self.at(self.now + 1_000, Event::StartCoordinator),
            Err(payload) => resume_unwind(payload),
        }
        let outside = self.outside.borrow();
        outside.book.check_kept(&outside.durable);
    }

    /// It ends: in its own doing, or with its host.
    pub(super) fn end_coordinator(&mut self, down_ms: u64, with_host: bool) {
        if self.coordinator.driver.take().is_none() {
            return;
        }
        self.trace(|| format!("coordinator: ends, back in {down_ms} ms"));
        self.coordinator.inbox.clear();
        self.coordinator.turn_ms = None;
        self.coordinator.frozen_until_ms = 0;
        self.persons_lost_answers();
        self.outside.borrow_mut().on_process_end();
        if with_host {
            let fresh = self.chance.below(1_000_000);
            self.outside.borrow_mut().mono_base = fresh;
        }
        let open = self.streams.iter().enumerate().filter(|(_, stream)| stream.is_open_above);
        let open: Vec<_> = open.map(|(at, _)| at as u64 + 1).collect();
        for number in open {
            self.close_above(number, !with_host);
        }
        self.at(self.now + down_ms.max(1), Event::StartCoordinator);
    }

    fn persons_lost_answers(&mut self) {
        for waiting in std::mem::take(&mut self.coordinator.waiting) {
            if let Waiting::Submitted { sketch, .. } = waiting {
                self.at(self.now + 5_000, Event::Submit(sketch));
            }
        }
    }

    /// Something for the next turn; several share one.
    pub(super) fn request(&mut self, request: Request) {
        if self.coordinator.is_up() {
            self.coordinator.inbox.push(request);
            let wait = self.chance.below(4);
            self.plan_turn(wait);
        }
    }

    pub(super) fn input(&mut self, input: Input) {
        self.request(Request::Apply { input: Box::new(input), answer: None });
    }

    pub(super) fn wait_for(&mut self, waiting: Waiting) {
        self.coordinator.waiting.push(waiting);
    }

    pub(super) fn plan_turn(&mut self, wait_ms: u64) {
        let at = (self.now + wait_ms).max(self.coordinator.frozen_until_ms);
        if self.coordinator.turn_ms.is_none_or(|planned| at < planned) {
            self.coordinator.turn_ms = Some(at);
            self.at(at, Event::Turn);
        }
    }

    pub(super) fn turn(&mut self) {
        if self.coordinator.turn_ms != Some(self.now) {
            return;
        }
        if self.now < self.coordinator.frozen_until_ms {
            self.coordinator.turn_ms = None;
            return self.plan_turn(0);
        }
        self.coordinator.turn_ms = None;
        let inbox = std::mem::take(&mut self.coordinator.inbox);
        let Some(driver) = &mut self.coordinator.driver else { return };
        let turned = catch_unwind(AssertUnwindSafe(|| driver.turn(inbox)));
        let due = driver.until_due();
        self.trace(|| format!("turn, due in {due:?}"));
        match turned {
            Ok(_) => self.after_turn(),
            Err(payload) if payload.is::<ProcessEnds>() => {
                // What was handed to the streams before the end may or may not have left.
                let sent = std::mem::take(&mut self.outside.borrow_mut().sent);
                let left = self.chance.below(sent.len() as u64 + 1) as usize;
                self.deliver(sent.into_iter().take(left).collect());
                let down_ms = self.crash_down_ms;
                self.end_coordinator(down_ms, false);
            }
            Err(payload) => resume_unwind(payload),
        }
    }

    fn after_turn(&mut self) {
        let sent = std::mem::take(&mut self.outside.borrow_mut().sent);
        self.deliver(sent);
        let closed = std::mem::take(&mut self.outside.borrow_mut().closed);
        for stream in closed {
            self.end_session(stream.0);
        }
        self.hear_answers();
        let Some(driver) = &self.coordinator.driver else { return };
        // A turn that has nothing to do by itself looks at the file no more than that.
        let wait = u64::try_from(driver.until_due().as_millis()).unwrap_or(u64::MAX).min(3_600_000);
        self.plan_turn(wait.max(1));
    }

    fn deliver(&mut self, sent: Vec<(wavegate_engine::SessionId, Outgoing)>) {
        for (to, message) in sent {
            let is_answer = matches!(message, Outgoing::Accepted { .. } | Outgoing::Refused { .. });
            if is_answer && self.mutation == Some(Mutation::NoAnswers) {
                continue;
            }
            let is_last = matches!(message, Outgoing::Goodbye { .. });
            self.check_sent(&message);
            self.outside.borrow_mut().happened.take(&(to, &message));
            self.trace(|| format!("coordinator to stream {}: {}", to.0, told(&message)));
            let message = self.wire(to.0, message);
            self.send_down(to.0, message);
            if is_last {
                self.outside.borrow_mut().open.remove(&to);
                self.end_session(to.0);
            }
        }
    }

    /// Nothing is sent before it is stored.
    fn check_sent(&self, message: &Outgoing) {
        let outside = self.outside.borrow();
        let lease_of = |id| outside.durable.leases.get(id);
        match message {
            Outgoing::Grant { lease, .. } => {
                assert!(lease_of(&lease.id).is_some(), "I6: {} is sent, and not stored", lease.id);
            }
            Outgoing::Accepted { lease } => {
                let ended = lease_of(lease).is_some_and(|row| !row.state.is_open());
                assert!(ended, "I6: the end of {lease} is acknowledged, and not stored");
            }
            Outgoing::Refused { lease, .. } => {
                let late = lease_of(lease).is_none_or(|_| is_too_late(*lease, &outside.durable));
                assert!(late, "I8: {lease} is told that it is refused, and comes within its right");
            }
            Outgoing::Welcome
            | Outgoing::HeartbeatAck { .. }
            | Outgoing::Cancel { .. }
            | Outgoing::Drain { .. }
            | Outgoing::Goodbye { .. } => {}
        }
    }

    /// The front closes the stream and tells the driver that the session ended.
    fn end_session(&mut self, number: u64) {
        self.close_above(number, true);
        self.session_ended(number);
    }

    /// A worker's message arrived.
    pub(super) fn arrives_above(&mut self, number: u64, message: v1::WorkerMessage) {
        if !self.stream(number).is_open_above || !self.coordinator.is_up() {
            return;
        }
        let Some(mut event) = event_of(message) else { return };
        if let SessionEvent::Hello(_) = &event {
            self.stream(number).is_session = true;
            let (sender, _) = mpsc::channel(1);
            self.request(Request::OpenSession { session: session(number), sender });
        }
        if let Some(mutation) = self.mutation {
            mutation.spoil_event(&mut event, &self.outside.borrow().durable);
        }
        self.trace(|| format!("stream {number} to coordinator: {event:?}").chars().take(400).collect());
        self.input(Input::Session { session: session(number), event });
    }

    /// The stream ended as the coordinator sees it.
    pub(super) fn lost_above(&mut self, number: u64) {
        if std::mem::take(&mut self.stream(number).is_open_above) {
            self.session_ended(number);
        }
    }

    fn session_ended(&mut self, number: u64) {
        if std::mem::take(&mut self.stream(number).is_session) {
            self.outside.borrow_mut().open.remove(&session(number));
            self.trace(|| format!("stream {number}: the session ended"));
            self.input(Input::Session { session: session(number), event: SessionEvent::Closed });
        }
    }

    fn wire(&self, stream: u64, message: Outgoing) -> v1::CoordinatorMessage {
        use v1::coordinator_message::Message as M;
        let texts = |leases: Vec<wavegate_engine::LeaseId>| leases.iter().map(ToString::to_string).collect();
        let timings = &self.scenario.timings;
        let message = match message {
            Outgoing::Welcome => M::Welcome(v1::Welcome {
                session_id: stream.to_string(),
                epoch_counter: self.coordinator.start,
                heartbeat_ms: timings.heartbeat_ms,
                fence_margin_ms: timings.fence_margin_ms,
                kill_grace_ms: timings.kill_grace_ms,
                protocol: wavegate_proto::PROTOCOL_VERSION,
                ..v1::Welcome::default()
            }),
            Outgoing::Grant { number, lease, .. } => M::Grant(v1::Grant {
                number,
                lease_id: lease.id.to_string(),
                lost_after_ms: lease.lost_after_ms,
                // A simulated agent looks its work up by the lease.
                body: Some(v1::grant::Body::WorkDigest(String::new())),
            }),
            Outgoing::HeartbeatAck { number, keep, stop } => {
                M::HeartbeatAck(v1::HeartbeatAck { number, keep: texts(keep), stop: texts(stop) })
            }
            Outgoing::Cancel { lease, reason } => {
                M::Cancel(v1::Cancel { lease_id: lease.to_string(), reason: reason.to_owned() })
            }
            Outgoing::Accepted { lease } => M::Accepted(v1::Accepted { lease_id: lease.to_string() }),
            Outgoing::Refused { lease, reason } => {
                M::Refused(v1::Refused { lease_id: lease.to_string(), reason })
            }
            Outgoing::Drain { reason } => M::Drain(v1::Drain { reason }),
            Outgoing::Goodbye { reason, permanent } => M::Goodbye(v1::Goodbye { reason, permanent }),
        };
        v1::CoordinatorMessage { message: Some(message) }
    }

    fn hear_answers(&mut self) {
        for mut waiting in std::mem::take(&mut self.coordinator.waiting) {
            match &mut waiting {
                Waiting::Submitted { sketch, answer } => match answer.try_recv() {
                    Ok(Ok(submitted)) => self.on_submitted(*sketch, submitted.plan),
                    Ok(Err(ApplyError::Unavailable(_))) => self.at(self.now + 5_000, Event::Submit(*sketch)),
                    Ok(Err(_)) => {}
                    Err(_) => self.coordinator.waiting.push(waiting),
                },
                Waiting::Forgotten { worker, answer } => match answer.try_recv() {
                    Ok(Ok(_)) => self.on_forgotten(*worker),
                    Ok(Err(error)) => self.on_not_forgotten(*worker, &error),
                    Err(_) => self.coordinator.waiting.push(waiting),
                },
                Waiting::Verdicts { at, decision, is_fresh, answer } => match answer.try_recv() {
                    Ok(pending) => self.on_pending_verdicts(&pending, (*at, *decision, *is_fresh)),
                    Err(_) => self.coordinator.waiting.push(waiting),
                },
            }
        }
    }

    /// A person was right to say so.
    fn on_forgotten(&mut self, worker: usize) {
        self.end_worker_host(worker, 5_000);
    }

    /// Whom the coordinator takes for connected has a stream.
    fn on_not_forgotten(&mut self, worker: usize, error: &ApplyError) {
        let is_connected = matches!(error, ApplyError::Refused(Refusal::WorkerConnected(_)));
        if is_connected && self.is_calm {
            let open = self.streams.iter().any(|stream| stream.worker == worker && stream.is_session);
            assert!(open, "worker {worker} is taken for connected, and has no stream");
        }
    }

    /// The candidates that wait for a Thor outside.
    pub(super) fn look_at_verdicts(&mut self, at: u8, decision: wavegate_engine::Decision, is_fresh: bool) {
        let (sender, answer) = oneshot::channel();
        self.request(Request::Look { look: Look::PendingVerdicts { answer: sender } });
        self.wait_for(Waiting::Verdicts { at, decision, is_fresh, answer });
    }
}

fn told(message: &Outgoing) -> String {
    match message {
        Outgoing::Grant { number, lease, .. } => {
            format!("grant {number}: {} {:?} of plan {}", lease.id, lease.work, lease.plan)
        }
        other => format!("{other:?}"),
    }
}

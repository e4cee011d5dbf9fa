//! Workers that come, go, crash and lie, driven by a script, around a real engine.

use std::collections::BTreeMap;

use wavegate_engine::{
    Decision, Input, LeaseId, Message, PlanId, PlanState, ReleaseReason, Resolve, Role, SessionEvent,
    WorkerId, spec::Budget,
};

use crate::{
    books::{Fake, Running, Spooled, model_verdict, session_ended},
    environment::*,
    model,
    script::{Act, Ending, Lie, Step},
};

pub(crate) struct Simulation {
    pub(crate) world: World,
    workers: Vec<Fake>,
}

impl Simulation {
    pub(crate) fn new(max_agents: Option<u32>) -> Self {
        let workers = vec![
            Fake::new(WorkerBuilder::new("w1").slots(2).agent("a1")),
            Fake::new(WorkerBuilder::new("w2").labels(&["gpu"]).agent("a2")),
            Fake::new(WorkerBuilder::new("w3").slots(1).roles(&[Role::Thor])),
            Fake::new(WorkerBuilder::new("w4").slots(3).agent("a2").roles(&[Role::Executor])),
        ];
        let mut simulation = Self { world: World::with(|config| config.max_agents = max_agents), workers };
        simulation.connect(0);
        simulation
    }

    pub(crate) fn step(&mut self, step: &Step) {
        self.take(step);
        self.route();
        self.check();
    }

    fn take(&mut self, step: &Step) {
        let by = || "ada".to_owned();
        let input = match step {
            Step::Submit(plan, mode) => {
                self.world.start((**plan).clone(), *mode);
                return;
            }
            Step::Restart => {
                self.world.restart();
                self.workers.iter_mut().for_each(Fake::cut);
                return;
            }
            Step::RollBack => return self.world.roll_back(),
            Step::Poison(plan) => Input::PausePoisoned { plan: self.plan(*plan), error: "no".to_owned() },
            Step::Pass(ms) => return self.pass(*ms),
            Step::Jump(ms) => return self.advance(*ms),
            Step::Worker(at, act) => {
                let at = usize::from(*at) % self.workers.len();
                return self.act(at, act);
            }
            Step::SetMode(plan, mode) => Input::SetMode { plan: self.plan(*plan), mode: *mode, by: by() },
            Step::Sql(plan, text) => {
                Input::ModeRequested { plan: self.plan(*plan), text: text.map(str::to_owned) }
            }
            Step::Pause(plan) => Input::Pause { plan: self.plan(*plan), by: by(), note: String::new() },
            Step::Resume(plan, tokens) => {
                let add = Budget { tokens: Some(*tokens), micro_usd: None };
                let plan = self.plan(*plan);
                let task = (tokens % 3 == 0).then(|| self.task(plan, 0));
                Input::Resume { plan, by: by(), task, add }
            }
            Step::Clear(at) => {
                let accounts: Vec<_> = self.world.store.accounts.keys().cloned().collect();
                let Some(account) = accounts.get(usize::from(*at) % accounts.len().max(1)) else { return };
                Input::ClearAccount { account: account.clone(), by: by() }
            }
            Step::Cancel(plan) => Input::Cancel { plan: self.plan(*plan), by: by(), note: String::new() },
            Step::Retry(plan, task) => {
                let plan = self.plan(*plan);
                Input::Retry { plan, task: self.task(plan, *task), by: by() }
            }
            Step::Resolve(plan, resolution, named) => {
                let plan = self.plan(*plan);
                let tasks = if *named { vec![self.task(plan, 0)] } else { Vec::new() };
                let note = "because".to_owned();
                let resolve = Resolve { wave: String::new(), resolution: *resolution, tasks, note, by: by() };
                Input::Resolve { plan, resolve }
            }
            Step::External(at, decision, fresh) => return self.external(*at, *decision, *fresh),
            Step::Drain(at) => Input::DrainWorker { worker: self.worker_id(*at), by: by() },
            Step::Forget(at) => return self.forget(usize::from(*at) % self.workers.len()),
        };
        // Refused or not: the world checks that a refusal changes nothing.
        let _ = self.world.apply(input);
    }

    fn plan(&self, at: u8) -> PlanId {
        PlanId(i64::from(at) % (self.world.store.plans.len() as i64 + 1) + 1)
    }

    fn task(&self, plan: PlanId, at: u8) -> String {
        let Some(plan) = self.world.store.plans.get(&plan) else { return "none".to_owned() };
        plan.shape.tasks[usize::from(at) % plan.shape.tasks.len()].key.clone()
    }

    fn worker_id(&self, at: u8) -> WorkerId {
        self.workers[usize::from(at) % self.workers.len()].builder.hello.worker.clone()
    }

    /// A person's word that the worker is gone, and the person is right.
    fn forget(&mut self, at: usize) {
        let worker = self.workers[at].builder.hello.worker.clone();
        if self.world.apply(Input::ForgetWorker { worker, by: "ada".to_owned() }).is_ok() {
            self.workers[at].crash();
        }
    }

    fn external(&mut self, at: u8, decision: Decision, fresh: bool) {
        let pending = self.world.engine.pending_verdicts();
        let Some(pending) = pending.get(usize::from(at) % pending.len().max(1)) else { return };
        let wave = self.world.store.plans[&pending.plan].shape.waves[pending.wave.at()].key.clone();
        let verdict = model_verdict(decision);
        let round = pending.round + u32::from(!fresh);
        let (plan, candidate, by) = (pending.plan, pending.candidate, "ci".to_owned());
        let _ = self.world.apply(Input::ExternalVerdict { plan, wave, round, candidate, verdict, by });
    }

    /// In steps that are too short to be a gap in the coordinator's clock.
    fn pass(&mut self, ms: u64) {
        let mut left = ms;
        while left > 0 {
            let step = left.min(10_000);
            self.advance(step);
            self.route();
            left -= step;
        }
    }

    fn advance(&mut self, ms: u64) {
        let now = self.world.mono + ms;
        (0..self.workers.len()).for_each(|at| self.fence(at, now));
        self.world.jump(ms);
    }

    fn fence(&mut self, at: usize, now: u64) {
        for lease in self.workers[at].fence(now) {
            self.send_spooled(at, lease);
        }
    }

    /// What was sent reaches the workers' sockets; what is sent to a closed session is gone.
    fn route(&mut self) {
        for send in self.world.sends.drain(..) {
            let mut open = self.workers.iter_mut().filter(|worker| worker.session == Some(send.session));
            if let Some(worker) = open.next() {
                worker.inbox.push(send.message);
            }
        }
    }

    fn act(&mut self, at: usize, act: &Act) {
        let worker = &mut self.workers[at];
        match act {
            Act::Connect => self.connect(at),
            Act::Crash => {
                worker.crash();
                self.disconnect(at);
                self.connect(at);
            }
            Act::Twin => {
                let twin = worker.builder.clone().instance("twin");
                if worker.session.is_some() && self.world.mono - worker.answered < 20_000 {
                    let session = self.world.hello(twin);
                    assert!(session_ended(&self.world, session), "a second live instance is refused");
                }
            }
            Act::Disconnect => self.disconnect(at),
            Act::Heartbeat => self.heartbeat(at),
            Act::Deliver => self.deliver(at),
            Act::Begin(choice) => {
                if let Some(lease) = worker.choose(*choice) {
                    self.say(at, SessionEvent::Started { lease });
                }
            }
            Act::Spend(choice, tokens) => {
                if let Some(lease) = worker.choose(*choice) {
                    self.say(
                        at,
                        SessionEvent::Progress { lease, usage: tokens_used(*tokens), models: Vec::new() },
                    );
                }
            }
            Act::End(choice, ending) => self.end(at, *choice, *ending),
            Act::GiveBack(choice, reason) => {
                if let Some(lease) = worker.choose(*choice) {
                    worker.running.remove(&lease);
                    worker.spool.insert(lease, Spooled::Released(*reason));
                    self.send_spooled(at, lease);
                }
            }
            Act::Drain => {
                worker.draining = true;
                self.say(at, SessionEvent::Draining);
            }
            Act::Lie(choice, lie) => self.lie(at, *choice, *lie),
        }
    }

    fn say(&mut self, at: usize, event: SessionEvent) {
        if let Some(session) = self.workers[at].session {
            self.world.must(Input::Session { session, event });
        }
    }

    fn connect(&mut self, at: usize) {
        if self.workers[at].session.is_some() {
            return;
        }
        let now = self.world.mono;
        let worker = &mut self.workers[at];
        let held: Vec<_> = worker.running.keys().chain(worker.spool.keys()).copied().collect();
        let mut builder = worker.builder.clone().held(&held).instance(&worker.instance.to_string());
        builder.hello.draining = worker.draining;
        let session = self.world.hello(builder);
        let worker = &mut self.workers[at];
        worker.cut();
        if session_ended(&self.world, session) {
            return;
        }
        worker.session = Some(session);
        worker.answered = now;
        let spooled: Vec<_> = worker.spool.keys().copied().collect();
        spooled.into_iter().for_each(|lease| self.send_spooled(at, lease));
    }

    fn disconnect(&mut self, at: usize) {
        self.say(at, SessionEvent::Closed);
        self.workers[at].cut();
    }

    fn heartbeat(&mut self, at: usize) {
        let (now, worker) = (self.world.mono, &mut self.workers[at]);
        let number = worker.heartbeats.len() as u64 + 1;
        worker.heartbeats.insert(number, now);
        let held = worker.running.keys().chain(worker.spool.keys()).copied().collect();
        let last_grant = worker.last_grant;
        self.say(at, SessionEvent::Heartbeat { number, held, last_grant });
    }

    fn deliver(&mut self, at: usize) {
        let now = self.world.mono;
        for message in std::mem::take(&mut self.workers[at].inbox) {
            let worker = &mut self.workers[at];
            match message {
                Message::Grant { number, lease, .. } => {
                    assert_eq!(lease.worker, worker.builder.hello.worker, "sent to its worker");
                    assert_eq!(number, worker.last_grant + 1, "grants are numbered in a session");
                    worker.last_grant = number;
                    let running = Running {
                        kind: lease.work.kind(),
                        plan: lease.plan,
                        wave: lease.wave,
                        task: model::task_of(&lease),
                        lost_after_ms: lease.lost_after_ms,
                    };
                    worker.running.insert(lease.id, running);
                    // A grant that was long on its way is no right to begin.
                    self.fence(at, now);
                }
                Message::HeartbeatAck { number, stop, .. } => {
                    worker.answered = worker.heartbeats[&number];
                    worker.running.retain(|lease, _| !stop.contains(lease));
                }
                Message::Cancel { lease, .. } => {
                    if worker.running.remove(&lease).is_some() {
                        worker.spool.insert(lease, Spooled::Released(ReleaseReason::Cancelled));
                        self.send_spooled(at, lease);
                    }
                }
                Message::Accepted { lease } | Message::Refused { lease, .. } => {
                    worker.spool.remove(&lease);
                }
                Message::Drain { .. } => worker.draining = true,
                Message::Welcome => {}
                Message::Goodbye { .. } => self.disconnect(at),
            }
        }
        self.route();
    }

    fn end(&mut self, at: usize, choice: u8, ending: Ending) {
        let worker = &mut self.workers[at];
        let Some(lease) = worker.choose(choice) else { return };
        let Some(running) = worker.running.remove(&lease) else { return };
        let report = running.report(ending, &self.world, lease);
        let worker = &mut self.workers[at];
        worker.spool.insert(lease, Spooled::Finished(Box::new(report)));
        self.send_spooled(at, lease);
    }

    fn send_spooled(&mut self, at: usize, lease: LeaseId) {
        let past = if self.world.engine.keeps(lease) { None } else { self.world.store.past(lease) };
        let event = match self.workers[at].spool[&lease].clone() {
            Spooled::Finished(report) => SessionEvent::Finished { lease, report, past },
            Spooled::Released(reason) => SessionEvent::Released { lease, reason, note: String::new(), past },
        };
        self.say(at, event);
    }

    fn lie(&mut self, at: usize, choice: u8, lie: Lie) {
        let leases: Vec<_> = self.world.store.leases.keys().copied().collect();
        let Some(lease) = leases.get(usize::from(choice) % leases.len().max(1)).copied() else { return };
        self.workers[at].liar = true;
        let past = if self.world.engine.keeps(lease) { None } else { self.world.store.past(lease) };
        let event = match lie {
            Lie::Finished => SessionEvent::Finished { lease, report: Box::new(spending(5_000)), past },
            Lie::Released => {
                SessionEvent::Released { lease, reason: ReleaseReason::Unanswered, note: String::new(), past }
            }
            Lie::Started => SessionEvent::Started { lease },
            Lie::Empty | Lie::Greedy => {
                let held = if matches!(lie, Lie::Empty) { Vec::new() } else { leases };
                self.workers[at].heartbeats.insert(0, 0);
                SessionEvent::Heartbeat { number: 0, held, last_grant: u64::MAX }
            }
        };
        self.say(at, event);
    }

    fn check(&mut self) {
        self.check_single_agents();
        model::check_nothing_left_to_grant(&self.world);
        model::check_restart_changes_nothing(&mut self.world);
    }

    /// I9, where it matters: by the books of the workers that keep to the protocol.
    fn check_single_agents(&self) {
        let mut at_work = BTreeMap::new();
        for worker in self.workers.iter().filter(|worker| !worker.liar) {
            for running in worker.running.values().filter(|running| running.task.is_some()) {
                let before = at_work.insert((running.plan, running.task), &worker.name);
                assert_eq!(before, None, "I9: two agents, the other at {}", worker.name);
            }
        }
    }

    /// I10: faults stop, workers do their work well; every plan ends or waits for a person.
    pub(crate) fn calm_down(&mut self) {
        let fresh = WorkerBuilder::new("w9").labels(&["gpu"]).agent("a9");
        self.workers.push(Fake::new(fresh));
        for _ in 0..MOST_ROUNDS {
            if self.all_wait_or_ended() {
                return;
            }
            self.calm_round();
        }
        panic!("I10: after {MOST_ROUNDS} rounds: {:#?}", self.world.store.plans.values().collect::<Vec<_>>());
    }

    fn calm_round(&mut self) {
        for at in 0..self.workers.len() {
            self.connect(at);
            self.route();
            self.deliver(at);
            self.heartbeat(at);
            self.route();
            self.deliver(at);
            while self.workers[at].session.is_some() && !self.workers[at].running.is_empty() {
                self.end(at, 0, Ending::Good);
            }
        }
        for _ in 0..self.world.engine.pending_verdicts().len() {
            self.external(0, Decision::Approved, true);
        }
        self.pass(20_000);
        self.check();
    }

    fn all_wait_or_ended(&self) -> bool {
        let open = |plan| {
            let mut leases = self.world.store.leases.values();
            leases.any(|lease| lease.plan == plan && lease.state.is_open())
        };
        self.world.store.plans.iter().all(|(id, plan)| match plan.row.state {
            PlanState::Running => false,
            PlanState::Paused(reason) => reason != wavegate_engine::PauseReason::NoWorker,
            PlanState::AwaitingApproval | PlanState::Blocked(_) => true,
            PlanState::Done | PlanState::Cancelled => !open(*id),
        })
    }
}

/// Far more than the longest chain of retries, rejections and waves of a script's plans.
const MOST_ROUNDS: usize = 150;

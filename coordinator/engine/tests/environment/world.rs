//! The world of a test: feeds inputs, writes what they lead to, and keeps what is sent until the
//! test takes it. After each step: settling again changes nothing, and the store is consistent.

use std::collections::{BTreeMap, VecDeque};

use wavegate_engine::{
    Config, Effects, Engine, Hello, Input, LeaseId, LeaseRow, LeaseState, LeaseWork, Message, Mode, Moment,
    Mono, PlanId, Refusal, Reply, Role, Runner, Send, SessionEvent, SessionId, Utc, WorkBrief, WorkerId,
};

use super::{PlanBuilder, Store};

pub(crate) struct World {
    pub(crate) engine: Engine,
    pub(crate) store: Store,
    pub(crate) mono: u64,
    pub(crate) utc: i64,
    pub(crate) sends: VecDeque<Send>,
    /// Everything ever decided, to compare two runs.
    pub(crate) history: Vec<Effects>,
    pub(super) sessions: BTreeMap<String, SessionId>,
    /// When each open session was last heard of, and whether it was silent at the last tick.
    heard: BTreeMap<SessionId, (WorkerId, u64, bool)>,
    /// Until when the claim of a worker on a lost lease holds its task, and since when it was made.
    pub(super) claims: BTreeMap<LeaseId, (u64, u64)>,
    next_session: u64,
    next_plan: i64,
    drawn: u64,
    pub(crate) config: Config,
}

/// A grant as a worker sees it.
#[derive(Debug, Clone)]
pub(crate) struct Granted {
    pub(crate) worker: String,
    /// A task's key, or "integrate W1", or "validate W1".
    pub(crate) what: String,
    pub(crate) lease: LeaseId,
    pub(crate) number: u64,
    pub(crate) brief: WorkBrief,
}

#[derive(Debug, Clone)]
pub(crate) struct WorkerBuilder {
    pub(crate) hello: Hello,
}

impl WorkerBuilder {
    /// An executor and Thor with a shell and no limit of slots.
    pub(crate) fn new(name: &str) -> Self {
        let shell = Runner {
            name: "shell".to_owned(),
            version: String::new(),
            account: String::new(),
            models: Vec::new(),
        };
        Self {
            hello: Hello {
                worker: name.into(),
                instance: "first".to_owned(),
                name: name.to_owned(),
                host: "host".to_owned(),
                version: "1".to_owned(),
                roles: vec![Role::Executor, Role::Thor],
                runners: vec![shell],
                labels: Vec::new(),
                slots: None,
                held: Vec::new(),
                draining: false,
            },
        }
    }

    pub(crate) fn slots(mut self, slots: u32) -> Self {
        self.hello.slots = Some(slots);
        self
    }

    pub(crate) fn roles(mut self, roles: &[Role]) -> Self {
        self.hello.roles = roles.to_vec();
        self
    }

    pub(crate) fn runner(mut self, runner: &str) -> Self {
        runner.clone_into(&mut self.hello.runners[0].name);
        self
    }

    /// With an agent beside the shell that spends from this account, and every role.
    pub(crate) fn agent(mut self, account: &str) -> Self {
        self.hello.roles = vec![Role::Executor, Role::Thor, Role::Coordinator];
        self.hello.runners.push(Runner {
            name: "claude".to_owned(),
            version: String::new(),
            account: account.to_owned(),
            models: ["haiku", "sonnet", "opus"].map(str::to_owned).to_vec(),
        });
        self
    }

    /// Its agent can be asked for these families alone.
    pub(crate) fn models(mut self, models: &[&str]) -> Self {
        if let Some(runner) = self.hello.runners.last_mut() {
            runner.models = models.iter().map(|model| (*model).to_owned()).collect();
        }
        self
    }

    pub(crate) fn labels(mut self, labels: &[&str]) -> Self {
        self.hello.labels = labels.iter().map(|label| (*label).to_owned()).collect();
        self
    }

    pub(crate) fn held(mut self, held: &[LeaseId]) -> Self {
        self.hello.held = held.to_vec();
        self
    }

    pub(crate) fn instance(mut self, instance: &str) -> Self {
        instance.clone_into(&mut self.hello.instance);
        self
    }
}

impl World {
    pub(crate) fn new() -> Self {
        Self::with(|_| {})
    }

    pub(crate) fn with(adjust: impl FnOnce(&mut Config)) -> Self {
        let mut config = Config::default();
        adjust(&mut config);
        let store = Store { max_agents: config.max_agents, ..Store::default() };
        Self {
            engine: Engine::new(config.clone()),
            store,
            mono: 1_000_000,
            utc: 1_700_000_000_000,
            sends: VecDeque::new(),
            history: Vec::new(),
            sessions: BTreeMap::new(),
            heard: BTreeMap::new(),
            claims: BTreeMap::new(),
            next_session: 1,
            next_plan: 1,
            drawn: 0,
            config,
        }
    }

    /// A world with one running plan and one worker that may do everything.
    pub(crate) fn running(plan: PlanBuilder, mode: Mode) -> Self {
        let mut world = Self::new();
        world.connect(WorkerBuilder::new("w1"));
        world.start(plan, mode);
        world
    }

    pub(crate) fn submit(&mut self, plan: PlanBuilder) -> PlanId {
        let id = PlanId(self.next_plan);
        self.next_plan += 1;
        let shape = plan.build(id);
        self.store.stage(shape.clone());
        self.must(Input::Submit { shape: std::sync::Arc::new(shape), by: "ada".to_owned() });
        id
    }

    pub(crate) fn start(&mut self, plan: PlanBuilder, mode: Mode) -> PlanId {
        let plan = self.submit(plan);
        self.must(Input::Approve { plan, mode: Some(mode), by: "ada".to_owned(), estimates: None });
        plan
    }

    /// One input and what follows by itself.
    pub(crate) fn apply(&mut self, input: Input) -> Result<Reply, Refusal> {
        self.note_heard(&input);
        self.note_claims(&input);
        let mut effects = Effects::default();
        let reply = self.decide(|engine, moment| engine.apply(input, moment, &mut effects));
        if reply.is_err() {
            assert_eq!(effects, Effects::default(), "a refusal changes nothing");
        }
        let refused = reply.is_err();
        self.take(effects);
        let settled = self.settle();
        assert!(!refused || settled == 0, "a refusal leads to nothing");
        assert_eq!(self.settle(), 0, "settling twice changes nothing");
        self.store.check();
        reply
    }

    fn note_heard(&mut self, input: &Input) {
        if let Input::Session { session, event } = input
            && let Some((_, heard, silent)) = self.heard.get_mut(session)
        {
            (*heard, *silent) = (self.mono, false);
            if matches!(event, SessionEvent::Closed) {
                self.heard.remove(session);
            }
        }
        if matches!(input, Input::Tick) {
            let after = self.config.timings.unreachable_after_ms;
            for (_, heard, silent) in self.heard.values_mut() {
                *silent = self.mono - *heard >= after;
            }
        }
    }

    fn note_claims(&mut self, input: &Input) {
        let Input::Session { session, event } = input else { return };
        let known = self.heard.get(session).map(|(worker, ..)| worker.clone());
        let (worker, held) = match (event, known) {
            (SessionEvent::Hello(hello), None) if self.may_come(hello) => (hello.worker.clone(), &hello.held),
            (SessionEvent::Heartbeat { held, .. }, Some(worker)) => (worker, held),
            (SessionEvent::Released { lease, .. } | SessionEvent::Finished { lease, .. }, Some(worker))
                if self.is_lost(*lease, &worker) =>
            {
                self.claims.remove(lease);
                return;
            }
            _ => return,
        };
        let patience = self.config.timings.unreachable_after_ms;
        for lease in held.iter().copied() {
            if !self.is_lost(lease, &worker) {
                continue;
            }
            let since = self.claims.get(&lease).map_or(self.mono, |(_, since)| *since);
            if self.mono - since < self.store.leases[&lease].lost_after_ms {
                self.claims.insert(lease, (self.mono + patience, since));
            }
        }
    }

    /// Not while another live process has its identity.
    fn may_come(&self, hello: &Hello) -> bool {
        let known = self.store.workers.get(&hello.worker);
        let alive = self.heard.values().any(|(id, heard, _)| {
            *id == hello.worker && self.mono - heard < self.config.timings.unreachable_after_ms
        });
        !alive || known.is_some_and(|row| row.instance == hello.instance)
    }

    fn is_lost(&self, lease: LeaseId, worker: &WorkerId) -> bool {
        let lease = self.store.leases.get(&lease);
        lease.is_some_and(|lease| lease.worker == *worker && lease.state == LeaseState::Lost)
    }

    /// Whether the worker of the lost lease is back with it.
    pub(crate) fn is_claimed(&self, lease: LeaseId) -> bool {
        self.claims.get(&lease).is_some_and(|(until, _)| *until > self.mono)
    }

    /// Whether the worker has an open session that is not silent.
    pub(crate) fn is_awake(&self, worker: &WorkerId) -> bool {
        self.heard.values().any(|(id, _, silent)| id == worker && !silent)
    }

    fn settle(&mut self) -> usize {
        let mut effects = Effects::default();
        self.decide(|engine, moment| engine.settle(moment, &mut effects));
        let changes = effects.changes.len() + effects.sends.len();
        self.take(effects);
        changes
    }

    fn take(&mut self, effects: Effects) {
        effects.changes.iter().for_each(|change| self.store.write(change));
        self.sends.extend(effects.sends.iter().cloned());
        self.history.push(effects);
    }

    fn decide<R>(&mut self, decide: impl FnOnce(&mut Engine, &mut Moment<'_>) -> R) -> R {
        let drawn = &mut self.drawn;
        let mut draw = || {
            *drawn += 1;
            u128::from(splitmix(*drawn)) << 64 | u128::from(splitmix(!*drawn))
        };
        let mut moment = Moment { mono: Mono(self.mono), utc: Utc(self.utc), draw: &mut draw };
        decide(&mut self.engine, &mut moment)
    }

    pub(crate) fn must(&mut self, input: Input) {
        let shown = format!("{input:?}");
        if let Err(refusal) = self.apply(input) {
            panic!("{shown} was refused: {refusal}");
        }
    }

    /// The coordinator starts again on what is stored; nobody is connected.
    pub(crate) fn restart(&mut self) {
        self.sends.clear();
        self.sessions.clear();
        self.heard.clear();
        self.claims.clear();
        self.engine = self.restored();
        assert_eq!(self.settle(), 0, "a restart alone changes nothing");
        self.must(Input::Tick);
    }

    /// The coordinator starts again with other settings, which may change something by itself.
    pub(crate) fn restart_with_changes(&mut self) {
        self.sends.clear();
        self.sessions.clear();
        self.heard.clear();
        self.claims.clear();
        self.engine = self.restored();
        self.must(Input::Tick);
    }

    /// A batch could not be committed: the engine goes back to what is stored, the sessions stay.
    pub(crate) fn roll_back(&mut self) {
        let snapshots = self.store.snapshots();
        let mut draw = || 0;
        let moment = Moment { mono: Mono(self.mono), utc: Utc(self.utc), draw: &mut draw };
        self.engine.restore(snapshots, &moment);
        self.claims.clear();
        self.must(Input::Tick);
    }

    /// As `roll_back`, workers and accounts are read again, too, and this plan stays set aside.
    pub(crate) fn reload_without(&mut self, plan: PlanId) {
        let mut snapshots = self.store.snapshots();
        snapshots.retain(|snapshot| snapshot.shape.id != plan);
        self.engine.refresh_workers(
            self.store.workers.values().cloned().collect(),
            self.store.accounts.values().cloned().collect(),
        );
        let mut draw = || 0;
        let moment = Moment { mono: Mono(self.mono), utc: Utc(self.utc), draw: &mut draw };
        self.engine.restore(snapshots, &moment);
    }

    /// Another engine, built from what is stored.
    pub(crate) fn restored(&mut self) -> Engine {
        let mut engine = Engine::new(self.config.clone());
        engine.restore_workers(
            self.store.workers.values().cloned().collect(),
            self.store.accounts.values().cloned().collect(),
        );
        let snapshots = self.store.snapshots();
        let mut draw = || 0;
        let moment = Moment { mono: Mono(self.mono), utc: Utc(self.utc), draw: &mut draw };
        engine.restore(snapshots, &moment);
        engine
    }

    /// Time passes in steps that are too short to be a gap in the coordinator's clock.
    pub(crate) fn pass(&mut self, ms: u64) {
        let end = self.mono + ms;
        while self.mono < end {
            let step = (end - self.mono).min(self.config.timings.clock_gap_ms / 3);
            self.jump(step);
        }
    }

    /// Time passes in one piece.
    pub(crate) fn jump(&mut self, ms: u64) {
        self.mono += ms;
        self.utc += i64::try_from(ms).expect("a test takes less than an age");
        self.must(Input::Tick);
    }

    /// As `pass`, and these workers tell every 10 s that they hold what is theirs.
    pub(crate) fn pass_with(&mut self, ms: u64, workers: &[&str]) {
        let end = self.mono + ms;
        while self.mono < end {
            for worker in workers {
                let held = self.open_leases(worker);
                self.heartbeat(worker, &held, u64::MAX);
                self.sends.retain(|send| !matches!(send.message, Message::HeartbeatAck { .. }));
            }
            self.pass((end - self.mono).min(10_000));
        }
    }

    pub(crate) fn connect(&mut self, worker: WorkerBuilder) -> SessionId {
        let session = self.hello(worker);
        let welcome = Send { session, message: Message::Welcome };
        let at = self.sends.iter().position(|send| *send == welcome).expect("a welcome");
        self.sends.remove(at);
        session
    }

    pub(crate) fn hello(&mut self, worker: WorkerBuilder) -> SessionId {
        let session = SessionId(self.next_session);
        self.next_session += 1;
        let name = worker.hello.worker.to_string();
        let hello = SessionEvent::Hello(Box::new(worker.hello));
        self.must(Input::Session { session, event: hello });
        let open = self.engine.connected().contains(&WorkerId::from(name.as_str()));
        if open && !self.sends.iter().any(|send| said_goodbye(send, session)) {
            let worker = WorkerId::from(name.as_str());
            self.heard.retain(|_, (id, ..)| *id != worker);
            self.heard.insert(session, (worker, self.mono, false));
            self.sessions.insert(name, session);
        }
        session
    }

    pub(crate) fn say(&mut self, worker: &str, event: SessionEvent) {
        let session = self.sessions[worker];
        self.must(Input::Session { session, event });
    }

    pub(crate) fn disconnect(&mut self, worker: &str) {
        self.say(worker, SessionEvent::Closed);
        self.sessions.remove(worker);
    }

    pub(crate) fn heartbeat(&mut self, worker: &str, held: &[LeaseId], last_grant: u64) {
        self.say(worker, SessionEvent::Heartbeat { number: 1, held: held.to_vec(), last_grant });
    }

    /// The next message that was sent.
    pub(crate) fn next_send(&mut self) -> Send {
        self.sends.pop_front().expect("something was sent")
    }

    pub(crate) fn nothing_else_sent(&self) {
        assert!(self.sends.is_empty(), "sent: {:?}", self.sends);
    }

    /// Takes the grants that were sent; everything else stays.
    pub(crate) fn take_grants(&mut self) -> Vec<Granted> {
        let (grants, rest) =
            self.sends.drain(..).partition(|send| matches!(send.message, Message::Grant { .. }));
        self.sends = rest;
        let grants: VecDeque<Send> = grants;
        grants.into_iter().filter_map(|send| self.granted(send)).collect()
    }

    fn granted(&self, send: Send) -> Option<Granted> {
        let Message::Grant { number, lease, brief } = send.message else { return None };
        Some(Granted {
            worker: lease.worker.to_string(),
            what: self.what(&lease),
            lease: lease.id,
            number,
            brief,
        })
    }

    pub(crate) fn what(&self, lease: &LeaseRow) -> String {
        let shape = &self.store.plans[&lease.plan].shape;
        let wave = &shape.waves[lease.wave.at()].key;
        match lease.work {
            LeaseWork::Task { task, .. } => shape.tasks[task.at()].key.clone(),
            LeaseWork::Integrate => format!("integrate {wave}"),
            LeaseWork::Validate { .. } => format!("validate {wave}"),
            LeaseWork::Publish { .. } => format!("publish {wave}"),
            LeaseWork::Coordinate { purpose, .. } => format!("{purpose} {wave}"),
        }
    }

    /// As `granted_only`, when reports were answered before.
    pub(crate) fn granted_only_after_answers(&mut self, expected: &[&str]) -> Vec<LeaseId> {
        self.sends.retain(|send| !matches!(send.message, Message::Accepted { .. } | Message::Welcome));
        self.granted_only(expected)
    }

    /// Asserts what was granted, in order, and that nothing else was sent.
    pub(crate) fn granted_only(&mut self, expected: &[&str]) -> Vec<LeaseId> {
        let grants = self.take_grants();
        let what: Vec<_> = grants.iter().map(|grant| grant.what.as_str()).collect();
        assert_eq!(what, expected);
        self.nothing_else_sent();
        grants.into_iter().map(|grant| grant.lease).collect()
    }
}

/// The plan that most tests have.
pub(crate) const P1: PlanId = PlanId(1);

fn said_goodbye(send: &Send, session: SessionId) -> bool {
    send.session == session && matches!(send.message, Message::Goodbye { .. })
}

/// Deterministic bits: splitmix64 of a counter.
pub(crate) fn splitmix(counter: u64) -> u64 {
    let mut bits = counter.wrapping_mul(0x9e37_79b9_7f4a_7c15);
    bits = (bits ^ (bits >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    bits = (bits ^ (bits >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    bits ^ (bits >> 31)
}

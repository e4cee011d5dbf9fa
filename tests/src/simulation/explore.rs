//! Every order of events of a small world, to a depth: two workers and a handful of tasks on the real engine,
//! from three places of a plan's way on: with one restart of the coordinator, one partition, one change of the mode's
//! column and two leaps of time.
//!
//! States are told apart by all that engine, store and workers hold, so none is walked twice. Leaves out: what lies deeper than the depth from all three places, more
//! workers, results that are not good, failing stores (one order of them is in `world`), lease ids in another
//! order than they are drawn, and clocks that do not leap from deadline to deadline.

use std::{
    collections::{BTreeMap, BTreeSet, HashSet, VecDeque},
    hash::{DefaultHasher, Hash, Hasher},
};

use wavegate_engine::{
    Config, Digest, Effects, Engine, Hello, Input, LeaseId, LeaseKind, LeaseWork, Message, Mode, Moment,
    Mono, PlanId, PlanState, ReleaseReason, Report, Role, Runner, SessionEvent, SessionId, TaskIx, Utc,
    WorkerId, spec::WorkspaceKind,
};

use super::{
    mutation::approval,
    naive,
    run::quietly,
    scenario::{PlanSketch, TaskSketch, WaveSketch},
    specs,
};

/// Where a walk begins.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Start {
    /// The plan was approved: the first grants are on their way.
    Grants,
    /// Every agent has ended: the results are on their way.
    Results,
    /// Every result was accepted: the grant of the validation is on its way.
    Validation,
}

impl Start {
    /// Every one, in the order of a plan's way.
    pub const ALL: [Self; 3] = [Self::Grants, Self::Results, Self::Validation];
}

/// A small world.
#[derive(Debug, Clone, Copy)]
pub struct Small {
    pub from: Start,
    pub tasks: usize,
    pub max_agents: Option<u32>,
    pub depth: usize,
}

/// How much was walked.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Walked {
    pub states: usize,
    pub steps: usize,
    /// No order of events was cut off by the depth.
    pub is_whole: bool,
    /// States in which the plan was done.
    pub done: usize,
}

/// One thing that can happen next.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Step {
    Connect(usize),
    Up(usize, SessionId),
    Down(usize),
    Beat(usize),
    End(usize, LeaseId),
    Restart,
    Partition,
    Heal,
    Column,
    Silence,
    Loss,
}

#[derive(Debug, Clone, Default)]
struct Hand {
    session: Option<SessionId>,
    /// By stream: one that was given up may still bring what was said in it.
    up: BTreeMap<SessionId, VecDeque<SessionEvent>>,
    down: VecDeque<Message>,
    running: BTreeMap<LeaseId, (LeaseKind, Option<TaskIx>)>,
    owed: BTreeMap<LeaseId, Option<Report>>,
    last_grant: u64,
    beats: u64,
    beat_ms: BTreeMap<u64, u64>,
    answered_ms: u64,
    hello_ms: u64,
}

#[derive(Debug, Clone)]
struct State {
    engine: Engine,
    store: naive::Store,
    now: u64,
    drawn: u128,
    sessions: u64,
    hands: [Hand; 2],
    restarts: u8,
    partitions: u8,
    is_cut: bool,
    columns: u8,
    leaps: u8,
}

/// Walks it whole, to its depth; an error is the order of events that broke an invariant, and which.
pub fn explore(small: Small) -> Result<Walked, String> {
    let mut walked = Walked { is_whole: true, ..Walked::default() };
    let mut seen = HashSet::new();
    let mut layer = vec![(State::new(small), Vec::new())];
    for depth in 0..=small.depth {
        let mut next = Vec::new();
        for (state, way) in layer {
            walked.states += 1;
            walked.done += usize::from(state.store.plans[&PLAN].row.state == PlanState::Done);
            for step in state.steps() {
                if depth == small.depth {
                    walked.is_whole = false;
                    break;
                }
                walked.steps += 1;
                let mut after = state.clone();
                let mut way = way.clone();
                way.push(step);
                quietly(|| after.take(step)).map_err(|broken| format!("{broken}\nafter {way:?}"))?;
                if seen.insert(after.fingerprint()) {
                    next.push((after, way));
                }
            }
        }
        layer = next;
    }
    Ok(walked)
}

const PLAN: PlanId = PlanId(1);

impl State {
    fn new(small: Small) -> Self {
        let config = Config { max_agents: small.max_agents, ..Config::default() };
        let store = naive::Store { max_agents: small.max_agents, ..naive::Store::default() };
        let mut state = Self {
            engine: Engine::new(config),
            store,
            now: 1_000_000,
            drawn: 0,
            sessions: 0,
            hands: [Hand::default(), Hand::default()],
            restarts: 1,
            partitions: 1,
            is_cut: false,
            columns: 1,
            leaps: 2,
        };
        let task = TaskSketch {
            priority: 1,
            needs_last: false,
            needs_gpu: false,
            on_lost: wavegate_engine::spec::OnLost::Retry,
            lost_after_ms: None,
            own_budget: None,
        };
        let sketch = PlanSketch {
            at_ms: 0,
            mode: Some(Mode::Standard),
            workspace: WorkspaceKind::None,
            thor: wavegate_engine::spec::ThorKind::Worker,
            agents: false,
            budget: None,
            waves: vec![WaveSketch { is_free: false, tasks: vec![task; small.tasks] }],
        };
        let shape = specs::submission(&sketch, 0).spec.shape(PLAN, "small".to_owned(), None);
        state.store.stage(shape.clone());
        let by = || "ada".to_owned();
        state.apply(Input::Submit { shape: std::sync::Arc::new(shape), by: by() });
        // Both are welcome before the plan is approved: the walk begins with grants on their way.
        for at in 0..2 {
            state.connect(at);
            state.take(Step::Up(at, SessionId(state.sessions)));
            state.take(Step::Down(at));
        }
        let mode = Some(Mode::Standard);
        state.apply(Input::Approve { plan: PLAN, mode, by: by(), estimates: None });
        while !state.is_at(small.from) {
            let step = state.quiet_step(small.from).expect("nothing is in the way of a plan without faults");
            state.take(step);
        }
        state
    }

    fn is_at(&self, start: Start) -> bool {
        let hands = || self.hands.iter();
        let is_quiet = hands().all(|hand| hand.down.is_empty() && hand.running.is_empty());
        match start {
            Start::Grants => true,
            Start::Results => is_quiet && hands().any(|hand| !hand.up.is_empty()),
            Start::Validation => hands().flat_map(|hand| &hand.down).any(|message| {
                matches!(message, Message::Grant { lease, .. } if lease.work.kind() == LeaseKind::Validate)
            }),
        }
    }

    /// The next step of a way without faults: what is on its way arrives, what runs ends.
    fn quiet_step(&self, towards: Start) -> Option<Step> {
        let hands = || self.hands.iter().enumerate();
        let arrives = hands().find(|(_, hand)| !hand.down.is_empty()).map(|(at, _)| Step::Down(at));
        let ends = hands().find_map(|(at, hand)| Some(Step::End(at, *hand.running.keys().next()?)));
        let is_heard = hands().find_map(|(at, hand)| Some(Step::Up(at, *hand.up.keys().next()?)));
        let heard = is_heard.filter(|_| towards == Start::Validation);
        arrives.or(ends).or(heard)
    }

    fn fingerprint(&self) -> u64 {
        let mut hasher = DefaultHasher::new();
        format!("{self:?}").hash(&mut hasher);
        hasher.finish()
    }

    fn steps(&self) -> Vec<Step> {
        let mut steps = Vec::new();
        for (at, hand) in self.hands.iter().enumerate() {
            let cut = self.is_cut && at == 0;
            if hand.session.is_none() && !cut {
                steps.push(Step::Connect(at));
            }
            if !cut {
                let waiting = hand.up.iter().filter(|(_, said)| !said.is_empty());
                steps.extend(waiting.map(|(session, _)| Step::Up(at, *session)));
                steps.extend((!hand.down.is_empty()).then_some(Step::Down(at)));
            }
            let is_saying =
                hand.session.is_some_and(|it| hand.up.get(&it).is_some_and(|said| !said.is_empty()));
            if hand.session.is_some() && !is_saying && hand.beats < 2 {
                steps.push(Step::Beat(at));
            }
            steps.extend(hand.running.keys().map(|lease| Step::End(at, *lease)));
        }
        steps.extend((self.restarts > 0).then_some(Step::Restart));
        steps.extend((self.partitions > 0).then_some(Step::Partition));
        steps.extend(self.is_cut.then_some(Step::Heal));
        steps.extend((self.columns > 0).then_some(Step::Column));
        if self.leaps > 0 {
            steps.extend([Step::Silence, Step::Loss]);
        }
        steps
    }

    fn take(&mut self, step: Step) {
        match step {
            Step::Connect(at) => self.connect(at),
            Step::Up(at, session) => {
                let said = self.hands[at].up.get_mut(&session).and_then(VecDeque::pop_front);
                self.hands[at].up.retain(|_, said| !said.is_empty());
                if let Some(event) = said {
                    self.hear(session, event);
                }
            }
            Step::Down(at) => self.read(at),
            Step::Beat(at) => self.beat(at),
            Step::End(at, lease) => self.end(at, lease),
            Step::Restart => self.restart(),
            Step::Partition => {
                self.partitions = 0;
                self.is_cut = true;
            }
            Step::Heal => {
                self.is_cut = false;
                self.hands[0].cut();
            }
            Step::Column => {
                self.columns = 0;
                let mode = Some("max".to_owned());
                if let Some(plan) = self.store.plans.get_mut(&PLAN) {
                    plan.mode_column.clone_from(&mode);
                }
                self.apply(Input::ModeRequested { plan: PLAN, text: mode });
            }
            Step::Silence => self.leap(Config::default().timings.unreachable_after_ms),
            Step::Loss => self.leap(Config::default().timings.lost_after_ms),
        }
        self.store.check();
        self.check_single_agents();
        self.store.events.clear();
    }

    /// I9, by what the workers themselves hold.
    fn check_single_agents(&self) {
        let mut at_work = BTreeSet::new();
        for (_, task) in self.hands.iter().flat_map(|hand| hand.running.values()) {
            assert!(task.is_none() || at_work.insert(*task), "I9: two agents at {task:?}");
        }
    }

    fn decide<R>(&mut self, decide: impl FnOnce(&mut Engine, &mut Moment<'_>, &mut Effects) -> R) -> R {
        let drawn = &mut self.drawn;
        let mut draw = || {
            *drawn += 1;
            *drawn
        };
        let mut moment = Moment { mono: Mono(self.now), utc: Utc(0), draw: &mut draw };
        let mut effects = Effects::default();
        let decided = decide(&mut self.engine, &mut moment, &mut effects);
        effects.changes.iter().for_each(|change| self.store.write(change));
        for send in effects.sends {
            let mut hands = self.hands.iter_mut();
            if let Some(hand) = hands.find(|hand| hand.session == Some(send.session)) {
                hand.down.push_back(send.message);
            }
        }
        decided
    }

    fn apply(&mut self, input: Input) {
        // A refusal changes nothing, and nobody waits for it here.
        let _ = self.decide(|engine, moment, effects| engine.apply(input, moment, effects));
        self.decide(|engine, moment, effects| engine.settle(moment, effects));
    }

    fn hear(&mut self, session: SessionId, mut event: SessionEvent) {
        if let SessionEvent::Finished { lease, past, .. } | SessionEvent::Released { lease, past, .. } =
            &mut event
            && !self.engine.keeps(*lease)
        {
            *past = self.store.past(*lease);
        }
        self.apply(Input::Session { session, event });
    }

    fn connect(&mut self, at: usize) {
        self.sessions += 1;
        let session = SessionId(self.sessions);
        let now = self.now;
        let hand = &mut self.hands[at];
        hand.cut();
        hand.session = Some(session);
        hand.hello_ms = now;
        let held: Vec<_> = hand.running.keys().chain(hand.owed.keys()).copied().collect();
        let said = hand.up.entry(session).or_default();
        said.push_back(SessionEvent::Hello(Box::new(hello(at, held))));
        for (lease, report) in hand.owed.clone() {
            hand.say(answer(lease, report));
        }
    }

    fn beat(&mut self, at: usize) {
        let now = self.now;
        let hand = &mut self.hands[at];
        hand.beats += 1;
        let number = hand.beats;
        hand.beat_ms.insert(number, now);
        let held = hand.running.keys().chain(hand.owed.keys()).copied().collect();
        let last_grant = hand.last_grant;
        hand.say(SessionEvent::Heartbeat { number, held, last_grant });
    }

    fn read(&mut self, at: usize) {
        let hand = &mut self.hands[at];
        match hand.down.pop_front() {
            Some(Message::Grant { number, lease, .. }) => {
                hand.last_grant = number;
                let task = match lease.work {
                    LeaseWork::Task { task, .. } => Some(task),
                    _ => None,
                };
                hand.running.insert(lease.id, (lease.work.kind(), task));
                self.fence();
            }
            Some(Message::HeartbeatAck { number, stop, .. }) => {
                hand.answered_ms = hand.beat_ms.get(&number).copied().unwrap_or(hand.answered_ms);
                hand.running.retain(|lease, _| !stop.contains(lease));
                hand.beats = 0;
            }
            Some(Message::Cancel { lease, .. }) if hand.running.remove(&lease).is_some() => {
                hand.owe(lease, None)
            }
            Some(Message::Accepted { lease } | Message::Refused { lease, .. }) => {
                hand.owed.remove(&lease);
            }
            Some(Message::Goodbye { .. }) => hand.cut(),
            // What was held before waits for the answer to a heartbeat.
            Some(Message::Welcome) if hand.running.is_empty() => hand.answered_ms = hand.hello_ms,
            Some(Message::Welcome | Message::Drain { .. } | Message::Cancel { .. }) | None => {}
        }
    }

    fn end(&mut self, at: usize, lease: LeaseId) {
        let hand = &mut self.hands[at];
        let Some((kind, _)) = hand.running.remove(&lease) else { return };
        let report = match kind {
            LeaseKind::Validate => approval(),
            _ => Report { verdict: None, changes: Some(Digest([lease.0 as u8; 32])), ..approval() },
        };
        hand.owe(lease, Some(report));
    }

    fn restart(&mut self) {
        self.restarts = 0;
        let config = self.engine.config().clone();
        self.engine = Engine::new(config);
        self.engine.restore_workers(self.store.workers.values().cloned().collect(), Vec::new());
        let (snapshots, now) = (self.store.snapshots(), self.now);
        let mut draw = || 0;
        self.engine.restore(snapshots, &Moment { mono: Mono(now), utc: Utc(0), draw: &mut draw });
        for hand in &mut self.hands {
            hand.cut();
            hand.up.clear();
        }
        self.apply(Input::Tick);
    }

    /// Both a leap of time and, so that it is no gap in the coordinator's clock, ticks on the way.
    fn leap(&mut self, ms: u64) {
        self.leaps -= 1;
        let (end, gap) = (self.now + ms, Config::default().timings.clock_gap_ms / 3);
        while self.now < end {
            self.now = (self.now + gap).min(end);
            self.fence();
            self.apply(Input::Tick);
        }
    }

    /// Who has no answer in time ends its agents.
    fn fence(&mut self) {
        let timings = Config::default().timings;
        let right = timings.lost_after_ms - timings.fence_margin_ms;
        for hand in &mut self.hands {
            if self.now - hand.answered_ms >= right {
                for lease in std::mem::take(&mut hand.running).into_keys() {
                    hand.owe(lease, None);
                }
            }
        }
    }
}

impl Hand {
    fn cut(&mut self) {
        self.session = None;
        self.down.clear();
        self.last_grant = 0;
        self.beats = 0;
        self.beat_ms.clear();
    }

    fn say(&mut self, event: SessionEvent) {
        if let Some(session) = self.session {
            self.up.entry(session).or_default().push_back(event);
        }
    }

    fn owe(&mut self, lease: LeaseId, report: Option<Report>) {
        self.owed.insert(lease, report.clone());
        self.say(answer(lease, report));
    }
}

fn answer(lease: LeaseId, report: Option<Report>) -> SessionEvent {
    match report {
        Some(report) => SessionEvent::Finished { lease, report: Box::new(report), past: None },
        None => {
            let (reason, note) = (ReleaseReason::SelfFenced, String::new());
            SessionEvent::Released { lease, reason, note, past: None }
        }
    }
}

fn hello(at: usize, held: Vec<LeaseId>) -> Hello {
    let name = format!("w{at}");
    let shell = Runner {
        name: "shell".to_owned(),
        version: String::new(),
        account: String::new(),
        models: Vec::new(),
    };
    Hello {
        worker: WorkerId::from(name.as_str()),
        instance: "first".to_owned(),
        name,
        host: String::new(),
        version: String::new(),
        roles: vec![Role::Executor, Role::Thor],
        runners: vec![shell],
        labels: Vec::new(),
        slots: None,
        held,
        draining: false,
    }
}

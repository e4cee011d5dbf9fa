//! The world of one run: its time, what is planned to happen, and everything that it happens to. One
//! thread, no clock and no randomness but the seed's, so that a scenario is one run.

use std::{cmp::Reverse, collections::BinaryHeap};

use wavegate_engine::{Mode, PauseReason, PlanId, PlanState};
use wavegate_worker::Answer;

use super::{
    coordinator::Coordinator,
    figures::Figures,
    hosts::Host,
    mutation::Mutation,
    network::{Packet, Stream, Way},
    outside::{Outside, Shared},
    random::Random,
    scenario::{Act, Scenario, WorkerSketch},
};

/// What is planned.
#[derive(Debug)]
pub(super) enum Event {
    Script(usize),
    Calm,
    Turn,
    StartCoordinator,
    StartWorker(usize),
    Wake(usize, u64),
    HostWakes(usize),
    Arrives(u64, Packet),
    Deliver(u64, Box<Answer>),
    LostBelow(u64),
    LostAbove(u64),
    AgentStarted(usize, u64),
    AgentSpent(usize, u64),
    AgentDone(usize, u64),
    AgentDeadline(usize, u64),
    AgentGone(usize, u64),
    Submit(usize),
    Approve(PlanId, Mode),
    LookAround,
}

struct Planned {
    at: u64,
    number: u64,
    event: Event,
}

/// All of it.
pub(super) struct World {
    pub(super) scenario: Scenario,
    pub(super) mutation: Option<Mutation>,
    pub(super) now: u64,
    pub(super) chance: Random,
    pub(super) outside: Shared,
    pub(super) coordinator: Coordinator,
    pub(super) hosts: Vec<Host>,
    pub(super) ways: Vec<Way>,
    pub(super) streams: Vec<Stream>,
    pub(super) next_agent: u64,
    /// How long the coordinator stays away after its next crash.
    pub(super) crash_down_ms: u64,
    /// Faults and persons have stopped.
    pub(super) is_calm: bool,
    queue: BinaryHeap<Reverse<Planned>>,
    planned: u64,
    trace: Option<Vec<String>>,
}

/// Times of lost_after until every plan must have ended or wait for a person; far more than the longest
/// chain of retries, rejections and waves.
const MOST_CALM: u64 = 150;

/// Far more than the longest run takes.
const MOST_PLANNED: u64 = 1_000_000;

impl World {
    pub(super) fn new(scenario: Scenario, mutation: Option<Mutation>, traced: bool) -> Self {
        let random = Random::new(scenario.seed).apart(7);
        let outside = Outside::new(&scenario.config(), &random, mutation);
        let hosts: Vec<_> =
            scenario.workers.iter().enumerate().map(|(at, sketch)| Host::new(sketch.clone(), at)).collect();
        let ways = hosts.iter().map(|_| Way::default()).collect();
        outside.borrow_mut().told = traced.then(Vec::new);
        let mut world = Self {
            mutation,
            now: 0,
            chance: random.apart(2),
            outside,
            coordinator: Coordinator::default(),
            hosts,
            ways,
            streams: Vec::new(),
            next_agent: 0,
            crash_down_ms: 1_000,
            is_calm: false,
            queue: BinaryHeap::new(),
            planned: 0,
            trace: traced.then(Vec::new),
            scenario,
        };
        world.plan_scenario();
        world
    }

    fn plan_scenario(&mut self) {
        self.at(0, Event::StartCoordinator);
        for worker in 0..self.hosts.len() {
            let at = self.chance.below(3_000);
            self.at(at, Event::StartWorker(worker));
        }
        for plan in 0..self.scenario.plans.len() {
            self.at(self.scenario.plans[plan].at_ms, Event::Submit(plan));
        }
        for act in 0..self.scenario.script.len() {
            self.at(self.scenario.script[act].0, Event::Script(act));
        }
        self.at(self.scenario.calm_ms, Event::Calm);
    }

    pub(super) fn at(&mut self, at: u64, event: Event) {
        self.planned += 1;
        self.queue.push(Reverse(Planned { at: at.max(self.now), number: self.planned, event }));
    }

    /// Until every plan has ended or waits for a person, long after faults have stopped.
    pub(super) fn run(&mut self) {
        while let Some(Reverse(planned)) = self.queue.pop() {
            self.now = planned.at;
            self.outside.borrow_mut().now = planned.at;
            self.outside.borrow_mut().figures.steps += 1;
            assert!(self.planned < MOST_PLANNED, "I10: something happens without end");
            self.outside.borrow_mut().happened.take(&(planned.at, &planned.event));
            if self.handle(planned.event) {
                break;
            }
        }
        self.finish();
    }

    /// Whether all is over.
    fn handle(&mut self, event: Event) -> bool {
        match event {
            Event::Script(act) => {
                let act = self.scenario.script[act].1.clone();
                self.trace(|| format!("script: {act:?}"));
                self.act(&act);
            }
            Event::Calm => self.calm_down(),
            Event::LookAround => return self.look_around(),
            Event::Turn => self.turn(),
            Event::StartCoordinator => self.start_coordinator(),
            Event::StartWorker(at) => self.start_worker(at),
            Event::HostWakes(at) => self.host_wakes(at),
            Event::LostAbove(stream) => self.lost_above(stream),
            Event::Arrives(stream, _) if self.is_lost(stream) => {}
            Event::Arrives(stream, Packet::Up(message)) => self.arrives_above(stream, *message),
            Event::Submit(sketch) => self.submit(sketch),
            Event::Approve(plan, mode) => self.approve(plan, mode),
            Event::AgentDeadline(at, agent) => self.of_host(at, event, |it| it.agent_deadline(at, agent)),
            Event::AgentDone(at, agent) => self.of_host(at, event, |it| it.agent_done(at, agent)),
            Event::AgentGone(at, agent) => self.of_host(at, event, |it| it.agent_gone(at, agent)),
            Event::AgentStarted(at, agent) => self.of_worker(at, event, |it| it.agent_started(at, agent)),
            Event::AgentSpent(at, agent) => self.of_worker(at, event, |it| it.agent_spent(at, agent)),
            Event::Wake(at, process) => self.of_worker(at, event, |it| it.wake_worker(at, process)),
            Event::LostBelow(stream) => {
                let at = self.stream(stream).worker;
                self.of_worker(at, event, |it| it.lost_below(stream));
            }
            Event::Arrives(stream, Packet::Down(message)) => {
                let at = self.stream(stream).worker;
                let ready = self.worker_ready_ms(at);
                if self.now < ready {
                    self.at(ready, Event::Arrives(stream, Packet::Down(message)));
                } else {
                    self.arrives_below(stream, *message);
                }
            }
            Event::Deliver(stream, answer) => {
                let ready = self.worker_ready_ms(self.streams[stream as usize - 1].worker);
                if self.now < ready {
                    self.at(ready, Event::Deliver(stream, answer));
                } else {
                    self.deliver_answer(stream, &answer);
                }
            }
        }
        false
    }

    /// What a sleeping host does, it does when it wakes.
    fn of_host(&mut self, at: usize, event: Event, happens: impl FnOnce(&mut Self)) {
        let ready = self.hosts[at].asleep_until_ms;
        if self.now < ready { self.at(ready, event) } else { happens(self) }
    }

    /// The same of a worker's process, which may stand still alone.
    fn of_worker(&mut self, at: usize, event: Event, happens: impl FnOnce(&mut Self)) {
        let ready = self.worker_ready_ms(at);
        if self.now < ready {
            if matches!(event, Event::Wake(..)) {
                self.hosts[at].delay_wake(ready);
            }
            self.at(ready, event);
        } else {
            happens(self);
        }
    }

    fn act(&mut self, act: &Act) {
        let hosts = self.hosts.len();
        let pick = |worker: &u8| usize::from(*worker) % hosts;
        let fault = |it: &Self, kind| it.outside.borrow_mut().figures.fault(kind);
        match act {
            Act::CoordinatorCrash { after, down_ms } => {
                self.crash_down_ms = *down_ms;
                self.outside.borrow_mut().ends_after = Some(*after);
            }
            Act::CoordinatorHostCrash { down_ms } => {
                fault(self, "crash: the coordinator's host");
                self.end_coordinator(*down_ms, true);
            }
            Act::CoordinatorSuspend { ms } => {
                fault(self, "clock: the coordinator is suspended");
                self.coordinator.frozen_until_ms = self.now + ms;
            }
            Act::WallClock { by_ms } => {
                fault(self, "clock: the wall clock is set");
                self.outside.borrow_mut().utc_offset += by_ms;
            }
            Act::CommitsFail { count } => self.outside.borrow_mut().faults.commits_fail = *count,
            Act::CommitFailsLate => self.outside.borrow_mut().faults.commit_fails_late = true,
            Act::BeginsFail { count } => self.outside.borrow_mut().faults.begins_fail = *count,
            Act::LoadsFail { count } => self.outside.borrow_mut().faults.loads_fail = *count,
            Act::Poison { plan, count } => {
                let plans = self.outside.borrow().durable.plans.len().max(1);
                let plan = PlanId((usize::from(*plan) % plans) as i64 + 1);
                self.outside.borrow_mut().faults.poison = Some((plan, *count));
            }
            Act::DeafWorker { worker } => {
                if let Some(stream) = self.stream_of(pick(worker)) {
                    self.outside.borrow_mut().deaf.insert(super::network::session(stream));
                }
            }
            Act::WorkerCrash { worker, down_ms } => {
                fault(self, "crash: a worker");
                self.end_worker(pick(worker), *down_ms);
            }
            Act::WorkerHostCrash { worker, down_ms } => {
                fault(self, "crash: a worker's host");
                self.end_worker_host(pick(worker), *down_ms);
            }
            Act::WorkerSuspend { worker, ms } => {
                fault(self, "clock: a worker's host is suspended");
                self.hosts[pick(worker)].asleep_until_ms = self.now + ms;
                self.at(self.now + ms, Event::HostWakes(pick(worker)));
            }
            Act::WorkerFreeze { worker, ms } => {
                fault(self, "clock: a worker's process is stopped");
                self.hosts[pick(worker)].frozen_until_ms = self.now + ms;
            }
            Act::SpoolFails { worker, ms } => self.hosts[pick(worker)].spool_fails_until_ms = self.now + ms,
            Act::WorkerStops { worker, gently, down_ms: _ } => {
                fault(self, "person: ends a worker");
                let gently = *gently;
                self.tell_machine(pick(worker), |machine, now| {
                    if gently { machine.on_drain(now) } else { machine.on_stop(now) }
                });
            }
            Act::Cut { worker } => self.cut_stream(pick(worker), "network: a stream is cut", 0, 0),
            Act::HalfOpen { worker, by_worker, ms } => {
                let (below, above) = if *by_worker { (0, *ms) } else { (*ms, 0) };
                self.cut_stream(pick(worker), "network: a stream is half-open", below, above);
            }
            Act::Partition { worker, up, down, ms } => {
                let kind = if *up && *down { "network: partition" } else { "network: partition, one way" };
                fault(self, kind);
                self.ways[pick(worker)].block(self.now + ms, *up, *down);
            }
            Act::Slow { worker, delay_ms, ms } => {
                fault(self, "network: slow");
                self.ways[pick(worker)].slow(self.now + ms, *delay_ms);
            }
            Act::Stutter { worker } => self.ways[pick(worker)].stutters += 1,
            Act::Person(word) => {
                fault(self, "person: a word");
                self.person(word);
            }
        }
    }

    fn cut_stream(&mut self, worker: usize, kind: &'static str, below_ms: u64, above_ms: u64) {
        if let Some(stream) = self.stream_of(worker) {
            self.outside.borrow_mut().figures.fault(kind);
            self.cut(stream, below_ms, above_ms);
        }
    }

    /// Faults stop, persons leave, and one more worker comes that can do everything.
    fn calm_down(&mut self) {
        self.trace(|| "calm".to_owned());
        self.is_calm = true;
        self.outside.borrow_mut().ends_after = None;
        self.outside.borrow_mut().faults = super::outside::DiskFaults::default();
        self.coordinator.frozen_until_ms = self.now;
        self.plan_turn(0);
        self.ways.iter_mut().for_each(Way::heal);
        for host in &mut self.hosts {
            host.spool_fails_until_ms = 0;
        }
        let sketch =
            WorkerSketch { slots: None, is_executor: true, is_thor: true, has_gpu: true, account: Some(9) };
        self.hosts.push(Host::new(sketch, self.hosts.len()));
        self.ways.push(Way::default());
        self.at(self.now + 1, Event::StartWorker(self.hosts.len() - 1));
        self.at(self.now + self.scenario.timings.lost_after_ms, Event::LookAround);
    }

    /// I10: whether every plan has ended or waits for a person, and every answer is answered.
    fn look_around(&mut self) -> bool {
        self.look_at_verdicts(0, wavegate_engine::Decision::Approved, true);
        let open = self.unsettled_plan();
        let owed = self.owed();
        if open.is_none() && owed.is_none() {
            return true;
        }
        let since = self.now - self.scenario.calm_ms;
        let most = MOST_CALM * self.scenario.timings.lost_after_ms + self.set_back_ms();
        if since > most {
            let outside = self.outside.borrow();
            let plan = open.map(|plan| format!("{:#?}", outside.durable.plans[&plan]));
            assert!(open.is_none(), "I10: {since} ms after faults stopped: {plan:?}");
            panic!("I8: {since} ms after faults stopped a worker owes an answer: {owed:?}");
        }
        self.at(self.now + self.scenario.timings.lost_after_ms, Event::LookAround);
        false
    }

    /// An account waits until a time of day: a wall clock that is set back puts that off.
    fn set_back_ms(&self) -> u64 {
        let acts = self.scenario.script.iter();
        let back = acts.filter_map(|(_, act)| match act {
            Act::WallClock { by_ms } if *by_ms < 0 => Some(by_ms.unsigned_abs()),
            _ => None,
        });
        back.sum()
    }

    fn unsettled_plan(&self) -> Option<PlanId> {
        let outside = self.outside.borrow();
        let has_open = |plan: PlanId| {
            outside.durable.leases.values().any(|lease| lease.plan == plan && lease.state.is_open())
        };
        let mut plans = outside.durable.plans.iter().filter(|(_, plan)| plan.visible);
        plans
            .find(|(id, plan)| match plan.row.state {
                PlanState::Running | PlanState::Paused(PauseReason::NoWorker) => true,
                PlanState::Done | PlanState::Cancelled => has_open(**id),
                _ => false,
            })
            .map(|(id, _)| *id)
    }

    fn finish(&mut self) {
        let mut outside = self.outside.borrow_mut();
        let outside = &mut *outside;
        outside.book.check_kept(&outside.durable);
        outside.book.check_spent(&outside.durable);
        if self.scenario.is_quiet() {
            outside.causes.check_done(&outside.durable);
        }
        outside.figures.runs = 1;
        outside.figures.plans = outside.durable.plans.values().filter(|plan| plan.visible).count() as u64;
        outside.figures.simulated_ms = self.now;
        for plan in outside.durable.plans.values().filter(|plan| plan.visible) {
            let state = plan.row.state;
            let end = format!("{} {}", state.name(), state.reason()).trim().to_owned();
            *outside.figures.ends.entry(end).or_default() += 1;
        }
    }

    pub(super) fn figures(&self) -> Figures {
        self.outside.borrow().figures.clone()
    }

    /// Two runs of one scenario have the same.
    pub(super) fn fingerprint(&self) -> u64 {
        self.outside.borrow().happened.value()
    }

    /// A line of the trace, if one is kept.
    pub(super) fn trace(&mut self, line: impl FnOnce() -> String) {
        if let Some(trace) = &mut self.trace {
            let told = self.outside.borrow_mut().told.as_mut().map(std::mem::take).unwrap_or_default();
            trace.extend(told.into_iter().map(|told| format!("{:>9} {told}", self.now)));
            trace.push(format!("{:>9} {}", self.now, line()));
        }
    }

    pub(super) fn take_trace(&mut self) -> Vec<String> {
        self.trace.take().unwrap_or_default()
    }
}

impl PartialEq for Planned {
    fn eq(&self, other: &Self) -> bool {
        (self.at, self.number) == (other.at, other.number)
    }
}

impl Eq for Planned {}

impl PartialOrd for Planned {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Planned {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        (self.at, self.number).cmp(&(other.at, other.number))
    }
}

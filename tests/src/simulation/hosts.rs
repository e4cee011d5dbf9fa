//! Hosts of workers: the real rules of a session (`wavegate_worker::session::Machine`) in a simulated
//! process, its spool on a simulated disk, and the agents that its supervisors own. Owns what a crash, a
//! suspend or a full disk does to each of them.

use std::collections::BTreeMap;

use wavegate_coordinator::rpc::event_of;
use wavegate_engine::SessionEvent;
use wavegate_proto::v1;
use wavegate_worker::{
    Answer, LeaseId,
    session::{Effect, Loss, Machine, Profile},
    work::Ending,
};

use super::{
    agents::Agent,
    mutation::Mutation,
    scenario::WorkerSketch,
    world::{Event, World},
};

/// One host with one worker.
pub(super) struct Host {
    pub(super) sketch: WorkerSketch,
    pub(super) name: String,
    machine: Option<Machine>,
    /// Counts the starts of the worker's process.
    pub(super) process: u64,
    /// On its disk.
    pub(super) spool: BTreeMap<LeaseId, Answer>,
    pub(super) agents: Vec<Agent>,
    stream: Option<u64>,
    /// CLOCK_BOOTTIME of the host when the run began, or it.
    base_ms: u64,
    pub(super) asleep_until_ms: u64,
    pub(super) frozen_until_ms: u64,
    pub(super) spool_fails_until_ms: u64,
    wake_ms: Option<u64>,
    pub(super) is_draining: bool,
}

impl Host {
    pub(super) fn new(sketch: WorkerSketch, at: usize) -> Self {
        Self {
            sketch,
            name: format!("w{}", at + 1),
            machine: None,
            process: 0,
            spool: BTreeMap::new(),
            agents: Vec::new(),
            stream: None,
            base_ms: 1_000_000 * (at as u64 + 1),
            asleep_until_ms: 0,
            frozen_until_ms: 0,
            spool_fails_until_ms: 0,
            wake_ms: None,
            is_draining: false,
        }
    }

    pub(super) const fn is_up(&self) -> bool {
        self.machine.is_some()
    }

    /// Its planned look is put off.
    pub(super) const fn delay_wake(&mut self, until_ms: u64) {
        self.wake_ms = Some(until_ms);
    }

    /// The clock that its worker and its supervisors read.
    pub(super) const fn clock(&self, now: u64) -> u64 {
        self.base_ms + now
    }

    fn profile(&self) -> Profile {
        let sketch = &self.sketch;
        let role = |has: bool, role| has.then_some(role);
        let roles = [
            role(sketch.is_executor, v1::Role::Executor),
            role(sketch.is_thor, v1::Role::Thor),
            role(sketch.account.is_some(), v1::Role::Coordinator),
        ];
        let shell = v1::Runner { name: "shell".to_owned(), ..v1::Runner::default() };
        let agent = sketch.account.map(|account| v1::Runner {
            name: "claude".to_owned(),
            account: format!("a{account}"),
            models: ["haiku", "sonnet", "opus"].map(str::to_owned).to_vec(),
            ..v1::Runner::default()
        });
        Profile {
            worker_id: self.name.clone(),
            instance: self.process.to_string(),
            name: self.name.clone(),
            host: "host".to_owned(),
            version: "1".to_owned(),
            roles: roles.into_iter().flatten().collect(),
            runners: [Some(shell), agent].into_iter().flatten().collect(),
            labels: sketch.has_gpu.then(|| "gpu".to_owned()).into_iter().collect(),
            slots: sketch.slots,
        }
    }
}

impl World {
    /// The worker's process starts: it clears what an earlier one left, and resumes its spool.
    pub(super) fn start_worker(&mut self, at: usize) {
        if self.hosts[at].is_up() {
            return;
        }
        for agent in 0..self.hosts[at].agents.len() {
            self.agent_dies(at, agent);
        }
        self.sweep_agents(at);
        let seed = self.chance.next();
        let now = self.now;
        let host = &mut self.hosts[at];
        host.process += 1;
        host.is_draining = false;
        let owed = host.spool.values().cloned().collect();
        host.machine = Some(Machine::new(host.clock(now), seed, host.profile(), owed));
        host.wake_ms = None;
        let process = host.process;
        self.trace(|| format!("worker {at}: process {process} starts"));
        self.plan_wake(at);
    }

    /// The process ends by itself or is killed; its supervisors end its agents.
    pub(super) fn end_worker(&mut self, at: usize, down_ms: u64) {
        if self.hosts[at].machine.take().is_none() {
            return;
        }
        self.trace(|| format!("worker {at}: its process ends"));
        if let Some(stream) = self.hosts[at].stream.take() {
            self.close_below(stream, true);
        }
        for agent in 0..self.hosts[at].agents.len() {
            self.agent_is_ended(at, agent);
        }
        self.at(self.now + down_ms.max(1), Event::StartWorker(at));
    }

    /// Host and all that runs on it are gone at once; its clock begins anew.
    pub(super) fn end_worker_host(&mut self, at: usize, down_ms: u64) {
        self.trace(|| format!("worker {at}: its host is gone"));
        self.hosts[at].machine = None;
        if let Some(stream) = self.hosts[at].stream.take() {
            self.close_below(stream, false);
        }
        for agent in 0..self.hosts[at].agents.len() {
            self.agent_dies(at, agent);
        }
        self.sweep_agents(at);
        let host = &mut self.hosts[at];
        (host.asleep_until_ms, host.frozen_until_ms) = (0, 0);
        host.base_ms = self.chance.below(2_000_000);
        self.at(self.now + down_ms.max(1), Event::StartWorker(at));
    }

    /// When the process may do something next.
    pub(super) fn worker_ready_ms(&self, at: usize) -> u64 {
        self.hosts[at].asleep_until_ms.max(self.hosts[at].frozen_until_ms)
    }

    fn plan_wake(&mut self, at: usize) {
        let now = self.now;
        let host = &mut self.hosts[at];
        let Some(machine) = &host.machine else { return };
        let wake = machine.wake_ms().saturating_sub(host.base_ms).max(now);
        // Timers do not stand still for ever: a sleeping host is looked at when it wakes.
        let wake = wake.max(host.asleep_until_ms.max(host.frozen_until_ms));
        if host.wake_ms.is_none_or(|planned| wake < planned || planned < now) {
            host.wake_ms = Some(wake);
            let process = host.process;
            self.at(wake, Event::Wake(at, process));
        }
    }

    pub(super) fn wake_worker(&mut self, at: usize, process: u64) {
        if self.hosts[at].process != process || self.hosts[at].wake_ms != Some(self.now) {
            return;
        }
        self.hosts[at].wake_ms = None;
        self.tell_machine(at, |machine, now| machine.on_tick(now));
    }

    /// Lets the process look at something, if there is one.
    pub(super) fn tell_machine(&mut self, at: usize, tell: impl FnOnce(&mut Machine, u64) -> Vec<Effect>) {
        let now = self.now;
        let host = &mut self.hosts[at];
        let clock = host.clock(now);
        let Some(machine) = &mut host.machine else { return };
        for effect in tell(machine, clock) {
            if !self.hosts[at].is_up() {
                return;
            }
            self.carry_out(at, effect);
        }
        self.plan_wake(at);
    }

    pub(super) fn arrives_below(&mut self, number: u64, message: v1::CoordinatorMessage) {
        let (at, process) = (self.stream(number).worker, self.stream(number).process);
        if self.hosts[at].process != process || self.hosts[at].stream != Some(number) {
            return;
        }
        self.note_answer(&message);
        self.tell_machine(at, |machine, now| machine.on_message(now, message));
    }

    /// What a worker was told is kept in the book.
    fn note_answer(&mut self, message: &v1::CoordinatorMessage) {
        let Some(v1::coordinator_message::Message::Accepted(accepted)) = &message.message else { return };
        let mut outside = self.outside.borrow_mut();
        if let Ok(lease) = accepted.lease_id.parse()
            && outside.book.made.contains_key(&lease)
        {
            outside.book.told.insert(lease);
        }
    }

    pub(super) fn lost_below(&mut self, number: u64) {
        let at = self.stream(number).worker;
        self.stream(number).is_open_below = false;
        if self.hosts[at].stream == Some(number) {
            self.hosts[at].stream = None;
            self.tell_machine(at, |machine, now| machine.on_lost(now, Loss::Broken(String::new())));
        }
    }

    fn carry_out(&mut self, at: usize, effect: Effect) {
        match effect {
            Effect::Connect(hello) => {
                self.drop_stream(at);
                let process = self.hosts[at].process;
                self.trace(|| format!("worker {at}: connects, holds {:?}", hello.held));
                let stream = self.open_stream(at, process, hello);
                self.hosts[at].stream = Some(stream);
            }
            Effect::Disconnect(_) => self.drop_stream(at),
            Effect::Send(message) => self.say(at, message),
            Effect::Start(assignment) => self.agent_starts(at, &assignment),
            Effect::SetDeadline { lease_id, deadline_ms } => {
                let agents = self.hosts[at].agents.iter_mut();
                agents
                    .filter(|agent| agent.name == lease_id)
                    .for_each(|agent| agent.deadline_ms = deadline_ms);
            }
            Effect::Stop { lease_id, .. } => {
                if self.mutation != Some(Mutation::UnfencedWorker)
                    && let Some(agent) = self.hosts[at].agents.iter().position(|agent| agent.name == lease_id)
                {
                    self.agent_is_ended(at, agent);
                }
            }
            Effect::Spool(answer) => self.spool(at, answer),
            Effect::Deliver(answer) => {
                let stream = self.hosts[at].stream;
                // Its log goes first.
                let wait = self.chance.magnitude(1, 2_000);
                if let Some(stream) = stream {
                    self.at(self.now + wait, Event::Deliver(stream, Box::new(answer)));
                }
            }
            Effect::Settle(answer) | Effect::SetAside { answer, .. } => {
                self.hosts[at].spool.remove(answer.lease_id());
            }
            Effect::Welcomed { .. } | Effect::Warn(_) => {}
            Effect::Leave(departure) => {
                self.trace(|| format!("worker {at}: leaves, {departure:?}"));
                self.end_worker(at, 20_000);
            }
        }
    }

    fn drop_stream(&mut self, at: usize) {
        if let Some(stream) = self.hosts[at].stream.take() {
            self.close_below(stream, true);
        }
    }

    fn say(&mut self, at: usize, message: v1::worker_message::Message) {
        if let Some(stream) = self.hosts[at].stream {
            self.send_up(stream, message);
        }
    }

    /// A delivery that is ready; its stream may be gone by now.
    pub(super) fn deliver_answer(&mut self, stream: u64, answer: &Answer) {
        let at = self.stream(stream).worker;
        if self.hosts[at].stream == Some(stream)
            && let Some(message) = answer.to_message().message
        {
            self.send_up(stream, message);
        }
    }

    fn spool(&mut self, at: usize, answer: Answer) {
        if let Some(SessionEvent::Finished { lease, report, .. }) = event_of(answer.to_message()) {
            self.outside.borrow_mut().book.made.insert(lease, *report);
        }
        if self.now < self.hosts[at].spool_fails_until_ms {
            self.outside.borrow_mut().figures.fault("worker: an answer is not spooled");
            return;
        }
        self.hosts[at].spool.insert(answer.lease_id().clone(), answer);
    }

    /// The work of a lease ended and its processes are gone: its worker hears of it, if it is the same.
    pub(super) fn tell_end(&mut self, at: usize, process: u64, lease: &LeaseId, ending: Ending) {
        if self.hosts[at].process == process {
            self.tell_machine(at, |machine, now| machine.on_ended(now, lease, ending));
        }
    }

    /// Answers that are still owed, by host.
    pub(super) fn owed(&self) -> Option<(usize, LeaseId)> {
        let mut hosts = self.hosts.iter().enumerate();
        hosts.find_map(|(at, host)| Some((at, host.spool.keys().next()?.clone())))
    }
}

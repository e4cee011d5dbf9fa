//! A worker's own books, kept the way the protocol asks: what runs, what is spooled, when to fence.

use std::collections::BTreeMap;

use wavegate_engine::{
    Decision, LeaseId, LeaseKind, LeaseWork, Message, Outcome, PlanId, ReleaseReason, Report, SessionId,
    TaskIx, Verdict, WaveIx,
};

use crate::{environment::*, script::Ending};

/// A worker's own books.
pub(crate) struct Fake {
    pub(crate) name: String,
    pub(crate) builder: WorkerBuilder,
    pub(crate) instance: u32,
    pub(crate) session: Option<SessionId>,
    pub(crate) inbox: Vec<Message>,
    pub(crate) running: BTreeMap<LeaseId, Running>,
    pub(crate) spool: BTreeMap<LeaseId, Spooled>,
    pub(crate) last_grant: u64,
    pub(crate) heartbeats: BTreeMap<u64, u64>,
    /// When it sent the last heartbeat that was answered.
    pub(crate) answered: u64,
    pub(crate) liar: bool,
    pub(crate) draining: bool,
}

#[derive(Debug, Clone)]
pub(crate) struct Running {
    pub(crate) kind: LeaseKind,
    pub(crate) plan: PlanId,
    pub(crate) wave: WaveIx,
    pub(crate) task: Option<TaskIx>,
    pub(crate) lost_after_ms: u64,
}

#[derive(Debug, Clone)]
pub(crate) enum Spooled {
    Finished(Box<Report>),
    Released(ReleaseReason),
}

impl Fake {
    pub(crate) fn new(builder: WorkerBuilder) -> Self {
        Self {
            name: builder.hello.name.clone(),
            builder,
            instance: 0,
            session: None,
            inbox: Vec::new(),
            running: BTreeMap::new(),
            spool: BTreeMap::new(),
            last_grant: 0,
            heartbeats: BTreeMap::new(),
            answered: 0,
            liar: false,
            draining: false,
        }
    }

    /// The stream is gone, and what was on its way.
    pub(crate) fn cut(&mut self) {
        self.session = None;
        self.inbox.clear();
        self.last_grant = 0;
        self.heartbeats.clear();
    }

    /// Its agents die with it; its spool stays.
    pub(crate) fn crash(&mut self) {
        self.instance += 1;
        self.running.clear();
        self.draining = false;
    }

    /// It stops its own agents in time when nobody answers.
    pub(crate) fn fence(&mut self, now: u64) -> Vec<LeaseId> {
        let margin = wavegate_engine::Timings::default().fence_margin_ms;
        let due = |running: &Running| now - self.answered >= running.lost_after_ms - margin;
        let late: Vec<_> = self.running.iter().filter(|(_, r)| due(r)).map(|(lease, _)| *lease).collect();
        for lease in &late {
            self.running.remove(lease);
            self.spool.insert(*lease, Spooled::Released(ReleaseReason::SelfFenced));
        }
        late
    }

    pub(crate) fn choose(&self, choice: u8) -> Option<LeaseId> {
        let at = usize::from(choice) % self.running.len().max(1);
        self.running.keys().nth(at).copied()
    }
}

impl Running {
    pub(crate) fn report(&self, ending: Ending, world: &World, lease: LeaseId) -> Report {
        let mark = (lease.0 % 250) as u8 + 1;
        match (self.kind, ending) {
            (LeaseKind::Coordinate, Ending::Good | Ending::Skip) => counsel(&tier(world, lease)),
            (LeaseKind::Coordinate, Ending::Nonsense) => counsel("claude-haiku-5-5"),
            (LeaseKind::Coordinate, Ending::Judged(_)) => answered(&tier(world, lease), Outcome::Succeeded),
            (LeaseKind::Integrate | LeaseKind::Publish, Ending::Trouble(..)) => report(Outcome::Failed),
            (_, Ending::Trouble(outcome, after)) => in_trouble(outcome, after),
            (LeaseKind::Task, Ending::Good) => Report { usage: tokens_used(1_000), ..changed(mark) },
            (LeaseKind::Task, Ending::Skip) => report(Outcome::Skipped),
            (LeaseKind::Task, Ending::Bad | Ending::Nonsense) => report(Outcome::Failed),
            (LeaseKind::Task, Ending::Judged(_)) => report(Outcome::TimedOut),
            (LeaseKind::Integrate, Ending::Good | Ending::Skip) => candidate(mark),
            (LeaseKind::Integrate, Ending::Judged(Decision::Challenged)) => self.conflict_of_last(world),
            (LeaseKind::Integrate, Ending::Judged(_)) => conflicts(&[&self.first_task(world)]),
            (LeaseKind::Publish, Ending::Good | Ending::Skip) => candidate(mark),
            (LeaseKind::Publish, Ending::Judged(_)) => report(Outcome::TargetMoved),
            (LeaseKind::Publish, Ending::Bad | Ending::Nonsense) => report(Outcome::Failed),
            (LeaseKind::Integrate, Ending::Bad | Ending::Nonsense) => conflicts(&["no such task"]),
            (LeaseKind::Validate, Ending::Good | Ending::Skip) => judged(approved()),
            (LeaseKind::Validate, Ending::Judged(decision)) => {
                let first = self.first_task(world);
                judged(if decision == Decision::Rejected {
                    rejected(&[&first])
                } else {
                    model_verdict(decision)
                })
            }
            (LeaseKind::Validate | LeaseKind::Coordinate, Ending::Bad) => report(Outcome::Failed),
            (LeaseKind::Validate, Ending::Nonsense) => judged(rejected(&[])),
        }
    }

    /// The wave's last task conflicts with all others; the target has moved, too.
    fn conflict_of_last(&self, world: &World) -> Report {
        let shape = &world.store.plans[&self.plan].shape;
        let tasks = shape.waves[self.wave.at()].tasks.clone();
        let keys: Vec<_> = tasks.map(|at| shape.tasks[at as usize].key.as_str()).collect();
        let (last, others) = keys.split_last().expect("a wave has a task");
        Report { target: Some(digest(251)), ..conflict_with(last, others) }
    }

    pub(crate) fn first_task(&self, world: &World) -> String {
        let shape = &world.store.plans[&self.plan].shape;
        shape.tasks[shape.waves[self.wave.at()].tasks.start as usize].key.clone()
    }
}

/// On the whole wave, so that it names whatever there is.
pub(crate) fn model_verdict(decision: Decision) -> Verdict {
    match decision {
        Decision::Approved => approved(),
        Decision::Rejected | Decision::Challenged | Decision::Escalated => verdict(decision, &[""]),
    }
}

pub(crate) fn session_ended(world: &World, session: SessionId) -> bool {
    let goodbye = |message: &Message| matches!(message, Message::Goodbye { .. });
    world.sends.iter().any(|send| send.session == session && goodbye(&send.message))
}

/// A model of the family that the coordinate lease asks for.
fn tier(world: &World, lease: LeaseId) -> String {
    let LeaseWork::Coordinate { tier, .. } = world.store.leases[&lease].work else {
        panic!("{lease} is no coordinate lease");
    };
    format!("claude-{}-5-5", tier.family())
}

//! What happens in a run from outside: plans, workers, faults and persons, each at its time. A function of
//! the seed; a shrunk one is the same with parts left out.

use wavegate_engine::{
    Config, Decision, Mode, Resolution, Timings,
    spec::{OnLost, ThorKind, WorkspaceKind},
};

use super::random::Random;

/// All of it.
#[derive(Debug, Clone)]
pub struct Scenario {
    pub seed: u64,
    pub timings: Timings,
    pub max_agents: Option<u32>,
    /// Of a thousand ends of work, so many are not good ones.
    pub trouble: u64,
    pub plans: Vec<PlanSketch>,
    pub workers: Vec<WorkerSketch>,
    /// In the order of time.
    pub script: Vec<(u64, Act)>,
    /// When faults stop.
    pub calm_ms: u64,
}

/// A plan that somebody gives to the coordinator and approves.
#[derive(Debug, Clone)]
pub struct PlanSketch {
    pub at_ms: u64,
    /// None: nobody approves it.
    pub mode: Option<Mode>,
    pub workspace: WorkspaceKind,
    pub thor: ThorKind,
    pub agents: bool,
    pub budget: Option<u64>,
    pub waves: Vec<WaveSketch>,
}

/// One wave.
#[derive(Debug, Clone)]
pub struct WaveSketch {
    /// It waits for no other.
    pub is_free: bool,
    pub tasks: Vec<TaskSketch>,
}

/// One task.
#[derive(Debug, Clone)]
pub struct TaskSketch {
    pub priority: u8,
    /// It needs the task before it.
    pub needs_last: bool,
    pub needs_gpu: bool,
    pub on_lost: OnLost,
    pub lost_after_ms: Option<u64>,
    pub own_budget: Option<u64>,
}

/// A worker's host and what it offers.
#[derive(Debug, Clone)]
pub struct WorkerSketch {
    pub slots: Option<u32>,
    pub is_executor: bool,
    pub is_thor: bool,
    pub has_gpu: bool,
    /// The account of its agent, if it has one.
    pub account: Option<u8>,
}

/// One thing that happens. Numbers choose among what there is, modulo.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Act {
    /// The coordinator's process dies at the n-th thing that it does with its store or its outbox.
    CoordinatorCrash {
        after: u32,
        down_ms: u64,
    },
    /// Its host loses power: streams end without a word, and its clock begins anew.
    CoordinatorHostCrash {
        down_ms: u64,
    },
    /// Its host sleeps, or the process is stopped.
    CoordinatorSuspend {
        ms: u64,
    },
    /// Its wall clock is set.
    WallClock {
        by_ms: i64,
    },
    /// The next commits fail, and nothing of them is stored.
    CommitsFail {
        count: u32,
    },
    /// The next commit says that it failed, and is stored whole.
    CommitFailsLate,
    BeginsFail {
        count: u32,
    },
    LoadsFail {
        count: u32,
    },
    /// The store refuses the next changes of a plan's tasks.
    Poison {
        plan: u8,
        count: u32,
    },
    /// The next message to a worker finds its buffer full.
    DeafWorker {
        worker: u8,
    },
    /// A worker's process dies; its agents are ended by their supervisors.
    WorkerCrash {
        worker: u8,
        down_ms: u64,
    },
    WorkerHostCrash {
        worker: u8,
        down_ms: u64,
    },
    /// A laptop is closed: worker and agents stand still, clocks run on.
    WorkerSuspend {
        worker: u8,
        ms: u64,
    },
    /// The worker's process alone stands still.
    WorkerFreeze {
        worker: u8,
        ms: u64,
    },
    /// Nothing can be written to its state directory.
    SpoolFails {
        worker: u8,
        ms: u64,
    },
    /// A person ends it.
    WorkerStops {
        worker: u8,
        gently: bool,
        down_ms: u64,
    },
    /// Its connection is reset; what was on its way is lost.
    Cut {
        worker: u8,
    },
    /// The same, and one side hears of it late.
    HalfOpen {
        worker: u8,
        by_worker: bool,
        ms: u64,
    },
    /// Nothing gets through, in one direction or both.
    Partition {
        worker: u8,
        up: bool,
        down: bool,
        ms: u64,
    },
    /// What is sent from now on takes so much longer.
    Slow {
        worker: u8,
        delay_ms: u64,
        ms: u64,
    },
    /// It says its next words about leases twice.
    Stutter {
        worker: u8,
    },
    Person(Word),
}

/// What a person, or another system, asks.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Word {
    SetMode {
        plan: u8,
        mode: Mode,
    },
    Sql {
        plan: u8,
        text: Option<&'static str>,
    },
    Pause {
        plan: u8,
    },
    Resume {
        plan: u8,
        add: u64,
        task: Option<u8>,
    },
    Cancel {
        plan: u8,
    },
    Retry {
        plan: u8,
        task: u8,
    },
    Resolve {
        plan: u8,
        resolution: Resolution,
        named: bool,
    },
    External {
        at: u8,
        decision: Decision,
        is_fresh: bool,
    },
    Drain {
        worker: u8,
    },
    Forget {
        worker: u8,
    },
    Clear {
        account: u8,
    },
    /// Looks at what waits for a person, and moves it on.
    Attend {
        at: u8,
    },
}

impl Scenario {
    /// The scenario of a seed.
    #[must_use]
    pub fn of(seed: u64) -> Self {
        let mut random = Random::new(seed);
        let timings = if random.chance(250) { Timings::default() } else { brisk() };
        let calm_ms = random.between(4, 12) * timings.lost_after_ms;
        let plans = (0..random.between(2, 7)).map(|_| plan(&mut random, calm_ms, &timings)).collect();
        let workers = (0..random.between(1, 4)).map(|at| worker(&mut random, at)).collect();
        let harshness = random.pick(&[0, 4, 10, 20, 40]);
        let (acts, looks) = (random.between(0, harshness), random.between(0, 24));
        let mut script = Vec::new();
        for _ in 0..acts {
            script.push((random.below(calm_ms), act(&mut random, &timings)));
        }
        for _ in 0..looks {
            let at = random.below(256) as u8;
            script.push((random.below(calm_ms), Act::Person(Word::Attend { at })));
        }
        let max_agents = random.chance(200).then(|| random.between(1, 3) as u32);
        let trouble = random.pick(&[0, 50, 200, 400]);
        if random.chance(50) {
            script.extend(cancelled_in_silence(&mut random, calm_ms, &timings));
        }
        script.sort_by_key(|(at, _)| *at);
        Self { seed, timings, max_agents, trouble, plans, workers, script, calm_ms }
    }

    /// The same plans and workers, and nothing goes wrong.
    #[must_use]
    pub fn quiet(seed: u64) -> Self {
        let mut scenario = Self { trouble: 0, script: Vec::new(), ..Self::of(seed) };
        for plan in &mut scenario.plans {
            plan.budget = None;
            plan.waves.iter_mut().flat_map(|wave| &mut wave.tasks).for_each(|task| task.own_budget = None);
        }
        scenario
    }

    /// Nothing goes wrong, and persons do no more than look at what waits for them.
    #[must_use]
    pub fn is_quiet(&self) -> bool {
        let is_look = |act: &Act| matches!(act, Act::Person(Word::Attend { .. }));
        self.trouble == 0 && self.script.iter().all(|(_, act)| is_look(act))
    }

    /// How the coordinator is set up.
    #[must_use]
    pub fn config(&self) -> Config {
        Config { max_agents: self.max_agents, timings: self.timings.clone(), ..Config::default() }
    }
}

/// Timings in which much happens in little time.
fn brisk() -> Timings {
    Timings {
        heartbeat_ms: 5_000,
        unreachable_after_ms: 15_000,
        lost_after_ms: 60_000,
        fence_margin_ms: 15_000,
        kill_grace_ms: 5_000,
        retry_delays_ms: [1_000, 5_000, 20_000],
        no_worker_pause_ms: 60_000,
        clock_gap_ms: 15_000,
        account_probe_ms: 90_000,
        provider_wait_ms: 4_000,
    }
}

fn plan(random: &mut Random, calm_ms: u64, timings: &Timings) -> PlanSketch {
    let agents = random.chance(450);
    let waves = (0..random.between(1, 3))
        .map(|_| WaveSketch {
            is_free: random.chance(300),
            tasks: (0..random.between(1, 5)).map(|_| task(random, agents, timings)).collect(),
        })
        .collect();
    let thor = match (random.chance(150), agents && random.chance(300)) {
        (true, _) => ThorKind::External,
        (false, true) => ThorKind::Agent,
        (false, false) => ThorKind::Worker,
    };
    PlanSketch {
        at_ms: random.below(calm_ms * 2 / 3),
        mode: (!random.chance(30)).then(|| random.pick(Mode::ALL)),
        workspace: random.pick(&[WorkspaceKind::None, WorkspaceKind::Dir, WorkspaceKind::Git]),
        thor,
        agents,
        budget: random.chance(200).then(|| random.between(20_000, 300_000)),
        waves,
    }
}

fn task(random: &mut Random, agents: bool, timings: &Timings) -> TaskSketch {
    let least = timings.fence_margin_ms + 2 * timings.heartbeat_ms + 1_000;
    TaskSketch {
        priority: random.below(4) as u8,
        needs_last: random.chance(250),
        needs_gpu: random.chance(100),
        on_lost: random.pick(&[OnLost::Retry, OnLost::Retry, OnLost::Hold, OnLost::Fail]),
        lost_after_ms: random.chance(200).then(|| random.between(least, 3 * timings.lost_after_ms)),
        own_budget: (agents && random.chance(100)).then(|| random.between(500, 40_000)),
    }
}

/// The first one can do most things, so that most plans have somebody.
fn worker(random: &mut Random, at: u64) -> WorkerSketch {
    let is_first = at == 0;
    WorkerSketch {
        slots: (!random.chance(300)).then(|| random.between(1, 4) as u32),
        is_executor: is_first || random.chance(800),
        is_thor: is_first || random.chance(600),
        has_gpu: random.chance(500),
        account: (is_first || random.chance(600)).then(|| random.below(2) as u8),
    }
}

/// Plans are cancelled while nobody hears of their leases, and what was said before comes after it.
fn cancelled_in_silence(random: &mut Random, calm_ms: u64, timings: &Timings) -> Vec<(u64, Act)> {
    let silent = timings.unreachable_after_ms;
    let mut script = Vec::new();
    for _ in 0..random.between(2, 8) {
        let at = random.below(calm_ms);
        let ms = random.between(silent, timings.lost_after_ms);
        for worker in 0..4 {
            let act = match random.below(3) {
                0 => Act::Slow { worker, delay_ms: random.between(silent, 2 * silent), ms },
                1 => Act::WorkerFreeze { worker, ms },
                _ => Act::Partition { worker, up: true, down: random.chance(500), ms },
            };
            script.push((at, act));
        }
        let plan = random.below(256) as u8;
        script.push((at + random.between(silent, ms + silent), Act::Person(Word::Cancel { plan })));
    }
    script
}

fn act(random: &mut Random, timings: &Timings) -> Act {
    let worker = random.below(256) as u8;
    let plan = random.below(256) as u8;
    let lost = timings.lost_after_ms;
    let ms = random.magnitude(500, 3 * lost);
    let down_ms = random.magnitude(100, 2 * lost);
    match random.below(40) {
        0..=3 => Act::CoordinatorCrash { after: random.below(30) as u32, down_ms },
        4 => Act::CoordinatorHostCrash { down_ms },
        5 => Act::CoordinatorSuspend { ms },
        6 => {
            let by = i64::try_from(random.magnitude(1_000, 40_000_000)).unwrap_or(0);
            Act::WallClock { by_ms: if random.chance(500) { by } else { -by } }
        }
        7 => Act::CommitsFail { count: random.between(1, 6) as u32 },
        8 => Act::CommitFailsLate,
        9 => Act::BeginsFail { count: random.between(1, 4) as u32 },
        10 => Act::LoadsFail { count: random.between(1, 4) as u32 },
        11 => Act::Poison { plan, count: random.between(1, 4) as u32 },
        12 => Act::DeafWorker { worker },
        13..=14 => Act::WorkerCrash { worker, down_ms },
        15 => Act::WorkerHostCrash { worker, down_ms },
        16 => Act::WorkerSuspend { worker, ms },
        17 => Act::WorkerFreeze { worker, ms },
        18 => Act::SpoolFails { worker, ms },
        19 => Act::WorkerStops { worker, gently: random.chance(500), down_ms },
        20..=22 => Act::Cut { worker },
        23 => Act::HalfOpen { worker, by_worker: random.chance(500), ms },
        24..=26 => {
            let up = random.chance(700);
            Act::Partition { worker, up, down: !up || random.chance(700), ms }
        }
        27 => Act::Slow { worker, delay_ms: random.magnitude(100, lost / 2), ms },
        28..=29 => Act::Stutter { worker },
        _ => Act::Person(word(random)),
    }
}

fn word(random: &mut Random) -> Word {
    let (plan, worker) = (random.below(256) as u8, random.below(256) as u8);
    match random.below(13) {
        0 => Word::SetMode { plan, mode: random.pick(Mode::ALL) },
        1..=2 => Word::Sql { plan, text: random.pick(&[Some("max"), Some("standard"), Some("turbo"), None]) },
        3 => Word::Pause { plan },
        4 => {
            let task = random.chance(300).then(|| random.below(16) as u8);
            Word::Resume { plan, add: random.pick(&[0, 50_000]), task }
        }
        5 => Word::Cancel { plan },
        6 => Word::Retry { plan, task: random.below(16) as u8 },
        7..=8 => {
            let resolution = random.pick(Resolution::ALL);
            Word::Resolve { plan, resolution, named: random.chance(500) }
        }
        9 => {
            let decision = random.pick(Decision::ALL);
            Word::External { at: plan, decision, is_fresh: random.chance(700) }
        }
        10 => Word::Drain { worker },
        11 => Word::Forget { worker },
        _ => Word::Clear { account: worker },
    }
}

//! One simulation: hosts, links, and the faults that befall them. Owns simulated time; what is checked after each
//! step is what the book says is broken.

use std::{
    path::{Path, PathBuf},
    sync::{Arc, MutexGuard, PoisonError},
    time::Duration,
};

use tempfile::TempDir;
use turmoil::{Builder, Sim};
use wavegate_worker::{
    FileWork, Outside, Shutdown, WorkerConfig,
    config::{Address, Slots, TokenSource},
    run_within,
};

use crate::{
    agents::Agents,
    book::{Book, Fate},
    chance::{Chance, SimulatedClock, boottime_ms},
    coordinator::{self, COORDINATOR, PORT},
    network::connect,
    operator::{self, Seen, Sight},
    plan::Plan,
};

/// What is sent in one step arrives in a later one. A step costs the same however short it is: at this length an hour
/// is some seconds of a debug build, and a heartbeat still twenty steps.
pub(crate) const TICK: Duration = Duration::from_millis(500);
/// A plan that is not done by then is stuck.
const LIMIT: Duration = Duration::from_secs(24 * 3600);
/// More than reconnects of hours may queue up in a link that is held.
const TCP_CAPACITY: usize = 16 * 1024;
const OPERATOR: &str = "operator";

/// What a simulation consists of.
#[derive(Debug, Clone)]
pub(crate) struct Setting {
    pub(crate) seed: u64,
    pub(crate) workers: usize,
    pub(crate) plan: Plan,
    /// How long a task takes, in seconds.
    pub(crate) takes_s: (u64, u64),
}

/// How a process or its host ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Crash {
    /// The host closes its connections.
    Killed,
    /// Nobody hears of it.
    PowerLost,
}

/// The state of the link between a worker and the coordinator.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Link {
    Whole,
    Cut,
    /// What the worker says is lost.
    Mute,
    /// What the worker is told is lost.
    Deaf,
    /// Everything waits.
    Held,
}

pub(crate) struct World {
    sim: Sim<'static>,
    home: TempDir,
    pub(crate) book: Book,
    sight: Sight,
    /// By worker, from 1.
    links: Vec<Link>,
    coordinator_is_up: bool,
}

pub(crate) fn name_of(worker: usize) -> String {
    format!("worker{worker}")
}

impl World {
    pub(crate) fn new(setting: &Setting) -> Self {
        let home = tempfile::tempdir().expect("a directory");
        let db = home.path().join("wavegate.db");
        coordinator::prepare(&db);
        let book = Book::open(&db);
        let mut builder = Builder::new();
        builder
            .rng_seed(setting.seed)
            .tick_duration(TICK)
            .simulation_duration(LIMIT)
            .min_message_latency(Duration::from_millis(1))
            .max_message_latency(Duration::from_millis(500))
            .tcp_capacity(TCP_CAPACITY)
            .enable_random_order();
        let mut sim = builder.build();
        let clock = SimulatedClock(Chance::of(setting.seed, "coordinator"));
        let peers: Vec<_> = (1..=setting.workers).map(name_of).chain([OPERATOR.to_owned()]).collect();
        let (seen, path) = (book.clone(), db.clone());
        sim.host(COORDINATOR, move || {
            coordinator::serve(path.clone(), clock.clone(), seen.clone(), peers.clone())
        });
        for worker in 1..=setting.workers {
            add_worker(&mut sim, worker, setting, &book, home.path());
        }
        let sight = Sight::default();
        let (text, name) = (setting.plan.text(), setting.plan.name.clone());
        sim.client(OPERATOR, operator::attend(token(home.path()), text, name, Arc::clone(&sight)));
        Self {
            sim,
            home,
            book,
            sight,
            links: vec![Link::Whole; setting.workers + 1],
            coordinator_is_up: true,
        }
    }

    pub(crate) fn now(&self) -> Duration {
        self.sim.elapsed()
    }

    /// What the person knows.
    pub(crate) fn seen(&self) -> MutexGuard<'_, Seen> {
        self.sight.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn state_dir(&self, worker: usize) -> PathBuf {
        self.home.path().join(name_of(worker))
    }

    /// One step of simulated time, and the end of a coordinator whose hour came in it.
    pub(crate) fn step(&mut self) -> Result<(), String> {
        self.book.pages().now_ms = u64::try_from(self.now().as_millis()).unwrap_or(u64::MAX);
        self.sim.step().map_err(|error| format!("a host failed: {error}"))?;
        self.book.pages().now_ms = u64::try_from(self.now().as_millis()).unwrap_or(u64::MAX);
        if self.book.pages().is_dead && self.coordinator_is_up {
            self.crash_coordinator(Crash::PowerLost);
        }
        match self.book.pages().broken.first() {
            Some(broken) => Err(broken.clone()),
            None => Ok(()),
        }
    }

    pub(crate) fn run_for(&mut self, time: Duration) -> Result<(), String> {
        let end = self.now() + time;
        while self.now() < end {
            self.step()?;
        }
        Ok(())
    }

    /// Until it is so; a failure after so long.
    pub(crate) fn run_until(
        &mut self,
        what: &str,
        limit: Duration,
        is_so: impl Fn(&Self) -> bool,
    ) -> Result<(), String> {
        let end = self.now() + limit;
        while !is_so(self) {
            if self.now() >= end {
                return Err(format!("I10: waited {limit:?} for {what}; {:#?}", self.seen().plan));
            }
            self.step()?;
        }
        Ok(())
    }

    /// The coordinator ends at its next commit.
    pub(crate) fn doom(&self, fate: Fate) {
        self.book.pages().fate = Some(fate);
    }

    /// It does not, if it has not yet.
    pub(crate) fn spare(&self) {
        self.book.pages().fate = None;
    }

    pub(crate) fn coordinator_is_up(&self) -> bool {
        self.coordinator_is_up
    }

    pub(crate) fn crash_coordinator(&mut self, crash: Crash) {
        self.note(&format!("the coordinator crashes: {crash:?}"));
        if crash == Crash::PowerLost {
            for worker in 1..self.links.len() {
                self.sim.partition(COORDINATOR, name_of(worker));
            }
            self.sim.partition(COORDINATOR, OPERATOR);
        }
        self.sim.crash(COORDINATOR);
        self.coordinator_is_up = false;
        let mut pages = self.book.pages();
        pages.fate = None;
        pages.check_acknowledged();
    }

    pub(crate) fn bounce_coordinator(&mut self) {
        self.note("the coordinator starts");
        self.sim.repair(COORDINATOR, OPERATOR);
        for worker in 1..self.links.len() {
            self.set_link(worker, self.links[worker]);
        }
        self.sim.bounce(COORDINATOR);
        self.coordinator_is_up = true;
    }

    pub(crate) fn crash_worker(&mut self, worker: usize, crash: Crash) {
        self.note(&format!("worker {worker} crashes: {crash:?}"));
        if crash == Crash::PowerLost {
            self.sim.partition(COORDINATOR, name_of(worker));
        }
        self.sim.crash(name_of(worker));
    }

    pub(crate) fn bounce_worker(&mut self, worker: usize) {
        self.note(&format!("worker {worker} starts"));
        self.set_link(worker, self.links[worker]);
        self.sim.bounce(name_of(worker));
    }

    /// Brings a worker's link to this state, whatever it was in.
    pub(crate) fn set_link(&mut self, worker: usize, link: Link) {
        let name = name_of(worker);
        if self.links[worker] != link {
            self.note(&format!("the link of worker {worker} is now {link:?}"));
        }
        self.links[worker] = link;
        self.sim.release(COORDINATOR, name.as_str());
        match link {
            Link::Whole => {}
            Link::Cut => self.sim.partition(COORDINATOR, name),
            Link::Mute => self.sim.partition_oneway(name, COORDINATOR),
            Link::Deaf => self.sim.partition_oneway(COORDINATOR, name),
            Link::Held => self.sim.hold(COORDINATOR, name),
        }
    }

    /// What a worker says and hears takes so long at most.
    pub(crate) fn slow_down(&mut self, worker: usize, most: Duration) {
        self.note(&format!("the link of worker {worker} takes up to {most:?}"));
        self.sim.set_link_max_message_latency(COORDINATOR, name_of(worker), most);
    }

    /// How often a link loses what is on its way, and all that follows until it is whole again by chance.
    pub(crate) fn lose(&mut self, rate: f64) {
        self.sim.set_fail_rate(rate);
    }

    fn note(&self, what: &str) {
        self.book.note(u64::try_from(self.now().as_millis()).unwrap_or(u64::MAX), what);
    }
}

fn token(home: &Path) -> PathBuf {
    home.join("wavegate.db.d").join("token")
}

fn add_worker(sim: &mut Sim<'static>, worker: usize, setting: &Setting, book: &Book, home: &Path) {
    let state_dir = home.join(name_of(worker));
    std::fs::create_dir_all(&state_dir).expect("a directory");
    // Its identity is a part of the seed: the engine goes through workers in its order.
    std::fs::write(state_dir.join("id"), format!("00000000-0000-4000-8000-{worker:012x}\n")).expect("an id");
    let address = Address::Url(format!("http://{COORDINATOR}:{PORT}"));
    let mut config = WorkerConfig::new(address, TokenSource::File(token(home)), state_dir);
    config.name = name_of(worker);
    config.runners = Some(vec!["shell".to_owned()]);
    config.slots = Slots::AtMost(2.try_into().expect("not zero"));
    let agents = Agents { worker, seed: setting.seed, book: book.clone(), takes_s: setting.takes_s };
    let chance = Chance::of(setting.seed, &name_of(worker));
    let outside = Outside {
        clock_ms: Arc::new(move || boottime_ms(worker)),
        connect: Arc::new(connect),
        seed: Arc::new(move || chance.next()),
        files: FileWork::Inline,
        perform: Arc::new(agents),
    };
    let book = book.clone();
    sim.host(name_of(worker), move || {
        let (config, outside, book) = (config.clone(), outside.clone(), book.clone());
        async move {
            book.clear(worker);
            run_within(config, Shutdown::new(), outside).await?;
            Err("the worker left by itself".into())
        }
    });
}

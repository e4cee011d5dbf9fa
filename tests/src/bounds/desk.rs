//! The real driver on a real database in this thread, with sessions whose workers do at once what they are
//! granted. Owns the turns that are measured; no sockets and no processes.

use std::{
    cell::RefCell,
    collections::VecDeque,
    rc::Rc,
    sync::Arc,
    time::{Duration, Instant},
};

use anyhow::Context as _;
use tempfile::TempDir;
use tokio::sync::{mpsc, oneshot};
use wavegate_coordinator::{
    driver::{Clock as _, Driver, Handle, Look, Outbox, Outgoing, Request, Submission, SystemClock},
    planfile,
    store::{self, SqliteStore},
};
use wavegate_engine::{
    Config, Decision, Engine, Hello, Input, LeaseId, LeaseKind, Mode, Outcome, PlanId, Published, Report,
    Role, Runner, SessionEvent, SessionId, Talk, Usage, Verdict, WorkerId,
};

/// What a granted lease is.
pub type Granted = (SessionId, LeaseId, LeaseKind);

/// The driver, and what it has granted.
pub struct Desk {
    driver: Driver<SqliteStore, SystemClock, Grants>,
    grants: Grants,
    sessions: u64,
    /// A driver whose handles are gone stops.
    _handle: Handle,
    home: TempDir,
}

/// Keeps grants and lets everything else go.
#[derive(Clone, Default)]
struct Grants(Rc<RefCell<VecDeque<Granted>>>);

impl Outbox for Grants {
    fn open(&mut self, _: SessionId, _: mpsc::Sender<Outgoing>) {}

    fn send(&mut self, session: SessionId, message: Outgoing) -> bool {
        if let Outgoing::Grant { lease, .. } = message {
            self.0.borrow_mut().push_back((session, lease.id, lease.work.kind()));
        }
        true
    }

    fn close(&mut self, _: SessionId) {}

    fn committed(&mut self) {}
}

impl Desk {
    /// On a database of its own.
    pub fn new(config: Config) -> anyhow::Result<Self> {
        // In memory, where there is such a folder: what a disk takes for a commit says nothing of us.
        let home = TempDir::new_in("/dev/shm").or_else(|_| TempDir::new())?;
        let opened =
            store::open(&home.path().join("wavegate.db"), Duration::from_secs(5), SystemClock.utc())?;
        let (handle, requests) = Handle::new(16);
        let grants = Grants::default();
        let driver = Driver::new(Engine::new(config), opened.store, SystemClock, grants.clone(), requests)?;
        Ok(Self { driver, grants, sessions: 0, _handle: handle, home })
    }

    /// The database.
    #[must_use]
    pub fn db(&self) -> std::path::PathBuf {
        self.home.path().join("wavegate.db")
    }

    /// Stores a plan and starts it in max.
    pub fn run(&mut self, source: &str) -> anyhow::Result<PlanId> {
        let plan = self.submit(source)?;
        self.approve(plan)?;
        Ok(plan)
    }

    /// Stores a plan.
    pub fn submit(&mut self, source: &str) -> anyhow::Result<PlanId> {
        Ok(self.submit_timed(source)?.0)
    }

    /// Stores a plan; how long the longest turn of that took.
    pub fn submit_timed(&mut self, source: &str) -> anyhow::Result<(PlanId, Duration)> {
        let reading = planfile::read(source, "plan.yaml", &std::collections::BTreeMap::new());
        let spec = reading.spec.with_context(|| format!("{:?}", reading.diagnostics))?;
        let (by, file_name) = ("Ada".to_owned(), "plan.yaml".to_owned());
        let submission = Submission { spec, source: String::new(), file_name, base: None, by };
        let (answer, mut answered) = oneshot::channel();
        let mut requests = vec![Request::Submit { submission: Arc::new(submission), answer }];
        let mut longest = Duration::ZERO;
        loop {
            let begun = Instant::now();
            self.driver.turn(std::mem::take(&mut requests));
            longest = longest.max(begun.elapsed());
            match answered.try_recv() {
                Ok(submitted) => return Ok((submitted?.plan, longest)),
                Err(oneshot::error::TryRecvError::Empty) => {}
                Err(closed @ oneshot::error::TryRecvError::Closed) => return Err(closed.into()),
            }
        }
    }

    /// Asks why everything of the plan waits.
    pub fn holds(&mut self, plan: PlanId) -> anyhow::Result<usize> {
        let (answer, mut answered) = oneshot::channel();
        self.driver.turn(vec![Request::Look { look: Look::Holds { plan, answer } }]);
        Ok(answered.try_recv()?.tasks.len())
    }

    /// Starts a plan in max.
    pub fn approve(&mut self, plan: PlanId) -> anyhow::Result<()> {
        let (answer, mut answered) = oneshot::channel();
        let input = Input::Approve { plan, mode: Some(Mode::Max), by: "Ada".to_owned(), estimates: None };
        self.driver.turn(vec![Request::Apply { input: Box::new(input), answer: Some(answer) }]);
        answered.try_recv()??;
        Ok(())
    }

    /// Connects a worker with so many slots, in a turn of its own.
    pub fn connect(&mut self, slots: u32, roles: &[Role]) -> SessionId {
        self.sessions += 1;
        let session = SessionId(self.sessions);
        self.say(session, SessionEvent::Hello(Box::new(hello(session, slots, roles))));
        session
    }

    /// One message of a session, in a turn of its own.
    pub fn say(&mut self, session: SessionId, event: SessionEvent) {
        self.driver.turn(vec![apply(session, event)]);
    }

    /// Messages that came together.
    pub fn say_all(&mut self, events: Vec<(SessionId, SessionEvent)>) {
        self.driver.turn(events.into_iter().map(|(session, event)| apply(session, event)).collect());
    }

    /// Does all that is granted, so many results in a turn, until nothing is granted any more; the longest turn.
    pub fn work_to_the_end(&mut self, mut granted: Vec<Granted>, in_a_turn: usize) -> Duration {
        let mut longest = Duration::ZERO;
        granted.extend(self.take_grants());
        while !granted.is_empty() {
            let rest = granted.split_off(granted.len().min(in_a_turn));
            let done = granted.into_iter().map(|(session, lease, kind)| (session, finished(lease, kind)));
            let begun = Instant::now();
            self.say_all(done.collect());
            longest = longest.max(begun.elapsed());
            granted = rest;
            granted.extend(self.take_grants());
        }
        longest
    }

    /// What was granted since this was last asked.
    pub fn take_grants(&mut self) -> Vec<Granted> {
        self.grants.0.borrow_mut().drain(..).collect()
    }
}

/// How a simulated worker introduces itself.
fn hello(session: SessionId, slots: u32, roles: &[Role]) -> Hello {
    Hello {
        worker: WorkerId::from(format!("worker-{:05}", session.0).as_str()),
        instance: "first".to_owned(),
        name: format!("worker-{:05}", session.0),
        host: "host".to_owned(),
        version: "0.1.0".to_owned(),
        roles: roles.to_vec(),
        runners: vec![Runner {
            name: "shell".to_owned(),
            version: String::new(),
            account: String::new(),
            models: Vec::new(),
        }],
        labels: Vec::new(),
        slots: Some(slots),
        held: Vec::new(),
        draining: false,
    }
}

/// The end of a lease that went well.
#[must_use]
pub fn finished(lease: LeaseId, kind: LeaseKind) -> SessionEvent {
    let verdict = (kind == LeaseKind::Validate).then(|| Verdict::bare(Decision::Approved, Vec::new()));
    let report = report(verdict);
    SessionEvent::Finished { lease, report: Box::new(report), past: None }
}

fn report(verdict: Option<Verdict>) -> Report {
    Report {
        outcome: Outcome::Succeeded,
        exit_code: Some(0),
        summary: "did it".to_owned(),
        output_tail: String::new(),
        run_ms: 1,
        usage: Usage::default(),
        output_json: String::new(),
        changes: None,
        changed_files: 0,
        candidate: None,
        target: None,
        conflicts: Vec::new(),
        published: Published::default(),
        verdict,
        talk: Talk::default(),
        counsel: None,
    }
}

fn apply(session: SessionId, event: SessionEvent) -> Request {
    Request::Apply { input: Box::new(Input::Session { session, event }), answer: None }
}

//! The real driver and engine, and peers that say anything to them: a script of bytes is carried out step by
//! step. Owns what sessions and the front of a coordinator do around the driver; judges nothing, since the
//! stores do.

use std::collections::BTreeMap;

use tokio::sync::{mpsc, oneshot};
use wavegate_coordinator::{
    driver::{Driver, Outgoing, Request, Store, Submission},
    planfile,
    prices::Prices,
    rpc::{event_of, grant_of},
};
use wavegate_engine::{
    Account, Config, Decision, Digest, Engine, Finding, Gate, Input, LeaseRow, Mode, PlanId, Resolution,
    Resolve, SessionEvent, SessionId, Verdict, WorkerId, spec::Budget,
};
use wavegate_proto::v1;

use crate::{
    draw::Draw,
    outside::{Outside, Shared, TestClock, TestOutbox},
    sentences::{hello, sentence, task_text},
};

/// Where a driver's store comes from, again and again.
pub(crate) trait Home {
    type Store: Store;
    /// None: it was refused in words.
    fn open(&mut self) -> Option<Self::Store>;
    /// What people and tools read is read.
    fn look(&mut self);
}

/// A shell plan in files, with dependencies and two waves.
const SHELL: &str = "name: shell\nproject: {workspace: dir}\nwaves:\n- {id: W1, verify: ['true'], tasks: [\
    {id: T1, run: 'true', verify: ['true']}, {id: T2, run: 'true', depends_on: T1}, {id: T3, run: 'true'}]}\n\
    - {id: W2, tasks: [{id: U1, run: 'true', max_failures: 1, on_lost: hold}]}\n";
/// Agents, with a budget, an agent as Thor, and more than the cap.
const AGENTS: &str = "name: agents\nproject: {workspace: dir}\nbudget: {tokens: 5000000, usd: 20}\nthor: {runner: claude}\n\
    waves:\n- {id: W1, tasks: [{id: T1, do: work, budget: {tokens: 200000}}, {id: T2, do: work}, {id: T3, do: work}, {id: T4, do: work}]}\n\
    - {id: W2, depends_on: [], tasks: [{id: U1, do: work}]}\n";
/// A repository.
const REPOSITORY: &str = "name: repository\nproject: {workspace: git, repo: /srv/repository, base: main}\n\
    waves:\n- {id: W1, tasks: [{id: T1, run: 'true'}, {id: T2, do: work}]}\n- {id: W2, merge_mode: async, tasks: [{id: U1, run: 'true'}]}\n";
/// Judged from outside.
const OUTSIDE: &str = "name: outside\nthor: external\nwaves:\n- {id: W1, tasks: [{id: T1, run: 'true'}, {id: T2, run: 'true'}]}\n";

const PLANS: [&str; 4] = [SHELL, AGENTS, REPOSITORY, OUTSIDE];
const WORKERS: usize = 3;
/// Longer scripts find what shorter ones find, later.
const MOST_STEPS: usize = 64;

pub(crate) struct Peers<H: Home> {
    home: H,
    /// None: what is stored was refused.
    driver: Option<Driver<H::Store, TestClock, TestOutbox>>,
    outside: Shared,
    prices: Prices,
    /// The newest session of each worker.
    sessions: BTreeMap<usize, SessionId>,
    last_session: u64,
    pub(crate) leases: Vec<LeaseRow>,
    pub(crate) plans: i64,
}

impl<H: Home> Peers<H> {
    pub(crate) fn new(home: H) -> Self {
        let mut peers = Self {
            home,
            driver: None,
            outside: Shared::new(Outside::default().into()),
            prices: Prices::built_in(),
            sessions: BTreeMap::new(),
            last_session: 0,
            leases: Vec::new(),
            plans: 0,
        };
        peers.restart();
        peers
    }

    /// Carries a script out.
    pub(crate) fn run(mut self, bytes: &[u8]) {
        let mut draw = Draw::new(bytes);
        let plan = draw.below(PLANS.len());
        let mode = draw.pick(&[Mode::Max, Mode::Standard]);
        self.begin(plan, mode);
        self.go_on(&mut draw);
    }

    /// Steps, silence, another start.
    pub(crate) fn go_on(&mut self, draw: &mut Draw<'_>) {
        for _ in 0..MOST_STEPS {
            if draw.is_empty() {
                break;
            }
            self.step(draw);
        }
        self.settle();
        self.restart();
        self.home.look();
    }

    /// The process is gone.
    pub(crate) fn end(mut self) -> H {
        self.driver = None;
        self.home
    }

    pub(crate) const fn home(&self) -> &H {
        &self.home
    }

    /// A plan that is approved, and a worker who takes leases.
    pub(crate) fn begin(&mut self, plan: usize, mode: Mode) {
        self.submit(PLANS[plan]);
        let approve = Input::Approve {
            plan: PlanId(self.plans),
            mode: Some(mode),
            by: "ada".to_owned(),
            estimates: None,
        };
        self.apply(approve);
        self.greet(&mut Draw::new(&[]), 0);
    }

    pub(crate) fn step(&mut self, draw: &mut Draw<'_>) {
        match draw.below(20) {
            0..=11 => {
                let message = sentence(draw, &self.leases);
                let worker = draw.below(WORKERS);
                self.say(draw, worker, message);
            }
            12 | 13 => {
                let worker = draw.below(WORKERS);
                self.greet(draw, worker);
            }
            14 => {
                let worker = draw.below(WORKERS);
                if let Some(session) = self.sessions.remove(&worker) {
                    self.outside.borrow_mut().open.remove(&session);
                    self.apply(Input::Session { session, event: SessionEvent::Closed });
                }
            }
            15 | 16 => {
                let ms = draw.pick(&[1, 1_000, 31_000, 130_000, 900_000, 4_000_000]);
                self.outside.borrow_mut().now_ms += ms;
                self.turn(Vec::new());
            }
            17 | 18 => {
                let input = self.ask(draw);
                self.apply(input);
            }
            _ => match draw.below(4) {
                0 => self.restart(),
                _ if self.plans < 4 => {
                    let plan = draw.pick(&PLANS);
                    self.submit(plan);
                }
                _ => self.turn(Vec::new()),
            },
        }
    }

    fn submit(&mut self, source: &str) {
        let spec = planfile::read(source, "plan.yaml", &BTreeMap::new()).spec.expect("the plan is right");
        let submission = Submission {
            spec,
            source: source.to_owned(),
            file_name: "plan.yaml".to_owned(),
            base: None,
            by: "ada".to_owned(),
        };
        let (answer, mut submitted) = oneshot::channel();
        self.turn(vec![Request::Submit { submission: std::sync::Arc::new(submission), answer }]);
        self.turn(Vec::new());
        self.turn(Vec::new());
        if let Ok(Ok(submitted)) = submitted.try_recv() {
            self.plans = submitted.plan.0;
        }
    }

    pub(crate) fn greet(&mut self, draw: &mut Draw<'_>, worker: usize) {
        let message = hello(draw, worker, &self.leases);
        self.last_session += 1;
        let session = SessionId(self.last_session);
        let Some(event) = event_of(message) else { return };
        self.sessions.insert(worker, session);
        let (sender, _) = mpsc::channel(1);
        let open = Request::OpenSession { session, sender };
        let event = Input::Session { session, event };
        self.turn(vec![open, Request::Apply { input: Box::new(event), answer: None }]);
    }

    /// As a session reads it.
    fn say(&mut self, draw: &mut Draw<'_>, worker: usize, message: v1::WorkerMessage) {
        let Some(mut event) = event_of(message) else { return };
        match &mut event {
            SessionEvent::Finished { report, .. } => self.prices.complete(report),
            SessionEvent::Progress { usage, models, .. } => self.prices.complete_models("", models, usage),
            _ => {}
        }
        let session = match self.sessions.get(&worker) {
            Some(session) if !draw.one_in(24) => *session,
            _ => SessionId(draw.number()),
        };
        self.apply(Input::Session { session, event });
    }

    fn ask(&mut self, draw: &mut Draw<'_>) -> Input {
        let plan = if draw.one_in(16) {
            PlanId(draw.number().cast_signed())
        } else {
            PlanId(1 + draw.below(self.plans.max(1).unsigned_abs() as usize) as i64)
        };
        let by = "ada".to_owned();
        match draw.below(12) {
            0 => Input::Approve {
                plan,
                mode: draw.pick(&[None, Some(Mode::Max), Some(Mode::Standard)]),
                by,
                estimates: None,
            },
            1 => Input::SetMode { plan, mode: draw.pick(&[Mode::Max, Mode::Standard]), by },
            2 => Input::ModeRequested { plan, text: draw.maybe(Draw::text) },
            3 => Input::Pause { plan, by: draw.text(), note: draw.text() },
            4 | 5 => {
                let within = |number: u64| Some(number.min(1_000_000_000_000_000));
                let add = Budget { tokens: within(draw.number()), micro_usd: within(draw.number()) };
                Input::Resume { plan, by, task: draw.maybe(task_text), add }
            }
            6 => Input::Retry { plan, task: task_text(draw), by },
            7 | 8 => {
                let resolution = draw.pick(&[
                    Resolution::Rework,
                    Resolution::Approve,
                    Resolution::Skip,
                    Resolution::Cancel,
                ]);
                let wave = draw.pick(&["", "W1", "W2", "\n"]).to_owned();
                let (tasks, note) = (draw.many(3, task_text), draw.text());
                Input::Resolve { plan, resolve: Resolve { wave, resolution, tasks, note, by } }
            }
            9 => Input::ExternalVerdict {
                plan,
                wave: draw.pick(&["W1", "W2", ""]).to_owned(),
                round: draw.number_u32().min(3),
                candidate: self.candidate(draw),
                verdict: verdict(draw),
                by,
            },
            10 => {
                let worker = WorkerId::from(format!("worker-{}", draw.below(WORKERS)).as_str());
                if draw.one_in(2) {
                    Input::ForgetWorker { worker, by }
                } else {
                    Input::DrainWorker { worker, by }
                }
            }
            _ => match draw.below(3) {
                0 => Input::Cancel { plan, by, note: draw.text() },
                1 => Input::Serve { plan },
                _ => {
                    let account = Account { runner: "claude".to_owned(), fingerprint: "account".to_owned() };
                    Input::ClearAccount { account, by }
                }
            },
        }
    }

    /// Of what waits for a Thor outside, if anything does.
    fn candidate(&mut self, draw: &mut Draw<'_>) -> Digest {
        use wavegate_coordinator::driver::Look;
        let (answer, mut pending) = oneshot::channel();
        self.turn(vec![Request::Look { look: Look::PendingVerdicts { answer } }]);
        let pending = pending.try_recv().unwrap_or_default();
        pending.first().filter(|_| !draw.one_in(8)).map_or(Digest([1; 32]), |pending| pending.candidate)
    }

    pub(crate) fn apply(&mut self, input: Input) {
        self.turn(vec![Request::Apply { input: Box::new(input), answer: None }]);
    }

    fn turn(&mut self, requests: Vec<Request>) {
        let Some(driver) = &mut self.driver else { return };
        assert!(driver.turn(requests), "nobody asked it to stop");
        let sent = std::mem::take(&mut self.outside.borrow_mut().sent);
        for (_, message) in sent {
            if let Outgoing::Grant { number, lease, work } = message {
                // What a worker is told can be written, too.
                let _ = prost::Message::encode_to_vec(&grant_of(number, &lease, *work));
                self.leases.push(*lease);
            }
        }
    }

    /// The peers fall silent for long.
    pub(crate) fn settle(&mut self) {
        for _ in 0..4 {
            self.outside.borrow_mut().now_ms += 1_000_000;
            self.turn(Vec::new());
        }
    }

    fn restart(&mut self) {
        self.driver = None;
        self.sessions.clear();
        self.outside.borrow_mut().open.clear();
        let (_, requests) = mpsc::channel(1);
        let (clock, outbox) = (TestClock(self.outside.clone()), TestOutbox(self.outside.clone()));
        let Some(store) = self.home.open() else { return };
        self.driver = Driver::new(Engine::new(Config::default()), store, clock, outbox, requests).ok();
        self.turn(Vec::new());
    }
}

fn verdict(draw: &mut Draw<'_>) -> Verdict {
    let decision =
        draw.pick(&[Decision::Approved, Decision::Rejected, Decision::Challenged, Decision::Escalated]);
    let findings = draw.many(3, |draw| Finding { task: task_text(draw), text: draw.text() });
    let gates = draw.many(2, |draw| Gate { name: draw.text(), passed: draw.one_in(2), notes: draw.text() });
    Verdict { gates, ..Verdict::bare(decision, findings) }
}

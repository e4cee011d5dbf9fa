//! The driver in a world of memory: what it does when the store fails.

mod world;

use std::collections::BTreeMap;

use tokio::sync::{mpsc, oneshot};
use wavegate_engine::{
    Config, Engine, EventKind, Hello, Input, Mode, Outcome, PauseReason, PlanId, PlanState, Reply, Report,
    Role, Runner, SessionEvent, SessionId, Usage, WorkerId,
    spec::{OnLost, PlanSpec, ProjectSpec, TaskSpec, WaveSpec, WorkSpec, WorkspaceKind},
};

use super::{ApplyError, Driver, Outgoing, Request, StoreError, Submission, Submitted};
use world::{MemoryStore, World};

type TestDriver = Driver<MemoryStore, World, World>;

const SESSION: SessionId = SessionId(1);

fn driver(world: &World) -> TestDriver {
    let (_, requests) = mpsc::channel(1);
    Driver::new(Engine::new(Config::default()), world.store(), world.clone(), world.clone(), requests)
        .unwrap()
}

fn task(at: usize) -> TaskSpec {
    TaskSpec {
        allowed_tools: Vec::new(),
        budget: Default::default(),
        key: format!("T{at}"),
        title: String::new(),
        work: WorkSpec::Run("true".to_owned()),
        runner: "shell".to_owned(),
        model: None,
        effort: 1,
        priority: 2,
        kind: String::new(),
        files: vec![],
        verify: vec![],
        criteria: vec![],
        depends_on: vec![],
        requires: vec![],
        timeout_ms: 1000,
        max_failures: 3,
        on_lost: OnLost::Retry,
        lost_after_ms: None,
        setup: vec![],
        permissions: Default::default(),
        env: vec![],
        skip_if: None,
    }
}

fn wave(tasks: usize) -> WaveSpec {
    WaveSpec {
        key: "W1".to_owned(),
        name: String::new(),
        depends_on: vec![],
        verify: vec![],
        merge_mode: Default::default(),
        tasks: (0..tasks).map(task).collect(),
    }
}

fn spec(name: &str, tasks: usize) -> PlanSpec {
    PlanSpec {
        coordinator_runner: "claude".to_owned(),
        thor_agent: Default::default(),
        name: name.to_owned(),
        description: String::new(),
        project: ProjectSpec { workspace: WorkspaceKind::None, ..ProjectSpec::default() },
        vars: BTreeMap::new(),
        requirements: vec![],
        constraints: vec![],
        budget: Default::default(),
        thor: Default::default(),
        waves: vec![wave(tasks)],
    }
}

fn submission(name: &str, tasks: usize) -> std::sync::Arc<Submission> {
    std::sync::Arc::new(Submission {
        spec: spec(name, tasks),
        source: String::new(),
        file_name: String::new(),
        base: None,
        by: "tester".to_owned(),
    })
}

fn apply(driver: &mut TestDriver, input: Input) -> Result<Reply, ApplyError> {
    let (answer, mut answered) = oneshot::channel();
    driver.turn(vec![Request::Apply { input: Box::new(input), answer: Some(answer) }]);
    answered.try_recv().unwrap()
}

fn session(driver: &mut TestDriver, event: SessionEvent) {
    let input = Box::new(Input::Session { session: SESSION, event });
    driver.turn(vec![Request::Apply { input, answer: None }]);
}

fn submit(driver: &mut TestDriver, name: &str, tasks: usize) -> Submitted {
    let (answer, mut answered) = oneshot::channel();
    driver.turn(vec![Request::Submit { submission: submission(name, tasks), answer }]);
    for _ in 0..tasks {
        driver.turn(vec![]);
    }
    answered.try_recv().unwrap().unwrap()
}

fn approve(plan: PlanId, mode: Mode) -> Input {
    Input::Approve { plan, mode: Some(mode), by: "tester".to_owned(), estimates: None }
}

fn hello() -> SessionEvent {
    SessionEvent::Hello(Box::new(Hello {
        worker: WorkerId::from("worker"),
        instance: "first".to_owned(),
        name: "worker".to_owned(),
        host: String::new(),
        version: String::new(),
        roles: vec![Role::Executor, Role::Thor],
        runners: vec![Runner {
            models: Vec::new(),
            name: "shell".to_owned(),
            version: String::new(),
            account: String::new(),
        }],
        labels: vec![],
        slots: None,
        held: vec![],
        draining: false,
    }))
}

fn succeeded() -> Box<Report> {
    Box::new(Report {
        counsel: None,
        talk: Default::default(),
        outcome: Outcome::Succeeded,
        exit_code: Some(0),
        summary: String::new(),
        output_tail: String::new(),
        run_ms: 1,
        usage: Usage::default(),
        output_json: String::new(),
        changes: None,
        changed_files: 0,
        candidate: None,
        conflicts: vec![],
        target: None,
        published: Default::default(),
        verdict: None,
    })
}

#[test]
fn a_commit_that_fails_sends_nothing_and_says_unavailable() {
    let world = World::default();
    let mut driver = driver(&world);
    let plan = submit(&mut driver, "one", 2).plan;
    session(&mut driver, hello());
    world.take_sent();

    world.faults.borrow_mut().commit = Some(StoreError::Unavailable("disk full".to_owned()));
    let answer = apply(&mut driver, approve(plan, Mode::Standard));
    assert_eq!(answer, Err(ApplyError::Unavailable("disk full".to_owned())));
    assert_eq!(world.take_sent(), vec![]);
    assert_eq!(world.plan(plan).row.state, PlanState::AwaitingApproval);

    world.faults.borrow_mut().commit = None;
    apply(&mut driver, approve(plan, Mode::Standard)).unwrap();
    assert_eq!(world.grants().len(), 2);
}

#[test]
fn a_session_whose_report_cannot_be_stored_is_closed_and_reports_again() {
    let world = World::default();
    let mut driver = driver(&world);
    let plan = submit(&mut driver, "one", 1).plan;
    session(&mut driver, hello());
    apply(&mut driver, approve(plan, Mode::Standard)).unwrap();
    let lease = world.grants()[0].id;

    world.faults.borrow_mut().begin = Some(StoreError::Unavailable("locked".to_owned()));
    session(&mut driver, SessionEvent::Finished { lease, report: succeeded(), past: None });
    assert_eq!(world.take_sent(), vec![]);
    assert_eq!(world.closed.take(), vec![SESSION]);

    world.faults.borrow_mut().begin = None;
    session(&mut driver, SessionEvent::Finished { lease, report: succeeded(), past: None });
    assert_eq!(world.take_sent()[0], (SESSION, Outgoing::Accepted { lease }));
}

#[test]
fn a_plan_that_the_store_refuses_pauses_alone() {
    let world = World::default();
    let mut driver = driver(&world);
    let poisoned = submit(&mut driver, "poisoned", 2).plan;
    let sound = submit(&mut driver, "sound", 2).plan;
    session(&mut driver, hello());
    world.take_sent();

    world.faults.borrow_mut().poisoned = Some(poisoned);
    let answer = apply(&mut driver, approve(poisoned, Mode::Max));
    assert!(matches!(answer, Err(ApplyError::Poisoned(_))), "{answer:?}");
    apply(&mut driver, approve(sound, Mode::Max)).unwrap();
    let granted: Vec<_> = world.grants().into_iter().map(|lease| lease.plan).collect();
    assert_eq!(granted, vec![sound, sound]);
}

#[test]
fn a_running_plan_that_becomes_poisoned_is_paused_and_others_go_on() {
    let world = World::default();
    let mut driver = driver(&world);
    let poisoned = submit(&mut driver, "poisoned", 1).plan;
    let sound = submit(&mut driver, "sound", 1).plan;
    apply(&mut driver, approve(poisoned, Mode::Max)).unwrap();
    apply(&mut driver, approve(sound, Mode::Max)).unwrap();

    world.faults.borrow_mut().poisoned = Some(poisoned);
    // The hello lets both be granted in one transaction; one of the grants is refused.
    session(&mut driver, hello());
    let granted: Vec<_> = world.grants().into_iter().map(|lease| lease.plan).collect();
    assert_eq!(granted, vec![sound]);
    assert_eq!(world.plan(poisoned).row.state, PlanState::Paused(PauseReason::Store));
    assert!(world.has_event(EventKind::PlanPaused));
}

/// Two plans of which one is refused by the store when the hello lets both be granted.
fn two_plans(world: &World) -> (TestDriver, PlanId, PlanId) {
    let mut driver = driver(world);
    let poisoned = submit(&mut driver, "poisoned", 1).plan;
    let sound = submit(&mut driver, "sound", 1).plan;
    apply(&mut driver, approve(poisoned, Mode::Max)).unwrap();
    apply(&mut driver, approve(sound, Mode::Max)).unwrap();
    world.faults.borrow_mut().poisoned = Some(poisoned);
    (driver, poisoned, sound)
}

#[test]
fn a_plan_that_cannot_be_paused_for_want_of_a_disk_is_paused_later() {
    let world = World::default();
    let (mut driver, poisoned, _) = two_plans(&world);
    world.faults.borrow_mut().commit = Some(StoreError::Unavailable("disk full".to_owned()));
    session(&mut driver, hello());
    assert_eq!(world.plan(poisoned).row.state, PlanState::Running);
    world.faults.borrow_mut().commit = None;
    session(&mut driver, hello());
    assert_eq!(world.plan(poisoned).row.state, PlanState::Paused(PauseReason::Store));
}

#[test]
fn nothing_is_decided_on_a_state_that_could_not_be_read_back() {
    let world = World::default();
    let (mut driver, poisoned, sound) = two_plans(&world);
    world.faults.borrow_mut().load = Some(StoreError::Unavailable("i/o".to_owned()));
    session(&mut driver, hello());
    assert!(world.stored.borrow().leases.is_empty(), "{:?}", world.stored.borrow().leases);
    let mut faults = world.faults.borrow_mut();
    (faults.load, faults.poisoned) = (None, None);
    drop(faults);
    session(&mut driver, hello());
    let granted: Vec<_> = world.grants().into_iter().map(|lease| lease.plan).collect();
    assert_eq!(granted, vec![poisoned, sound]);
}

#[test]
fn a_store_that_cannot_be_read_back_is_read_again_before_anything_else() {
    let world = World::default();
    let mut driver = driver(&world);
    let plan = submit(&mut driver, "one", 1).plan;
    {
        let mut faults = world.faults.borrow_mut();
        faults.commit = Some(StoreError::Unavailable("i/o".to_owned()));
        faults.load = Some(StoreError::Unavailable("i/o".to_owned()));
    }
    assert!(apply(&mut driver, approve(plan, Mode::Max)).is_err());
    world.faults.borrow_mut().commit = None;
    let answer = apply(&mut driver, approve(plan, Mode::Max));
    assert!(matches!(answer, Err(ApplyError::Unavailable(_))), "{answer:?}");
    world.faults.borrow_mut().load = None;
    apply(&mut driver, approve(plan, Mode::Max)).unwrap();
}

#[test]
fn the_mode_in_the_column_rules_the_transaction_that_reads_it() {
    let world = World::default();
    let mut driver = driver(&world);
    let plan = submit(&mut driver, "ten", 10).plan;
    apply(&mut driver, approve(plan, Mode::Max)).unwrap();
    world.stored.borrow_mut().plans.entry(plan).and_modify(|plan| plan.column = Some("standard".to_owned()));
    session(&mut driver, hello());
    assert_eq!(world.grants().len(), 3);
}

#[test]
fn a_result_that_was_accepted_before_a_restart_is_accepted_again_and_counted_once() {
    let world = World::default();
    let mut first = driver(&world);
    let plan = submit(&mut first, "one", 2).plan;
    session(&mut first, hello());
    apply(&mut first, approve(plan, Mode::Max)).unwrap();
    let lease = world.grants()[0].id;
    session(&mut first, SessionEvent::Finished { lease, report: succeeded(), past: None });
    drop(first);
    world.take_sent();

    let mut second = driver(&world);
    session(&mut second, hello());
    session(&mut second, SessionEvent::Finished { lease, report: succeeded(), past: None });
    assert!(world.take_sent().contains(&(SESSION, Outgoing::Accepted { lease })));
    let submitted =
        world.stored.borrow().events.iter().filter(|event| event.kind == EventKind::TaskSubmitted).count();
    assert_eq!(submitted, 1);
}

#[test]
fn a_big_plan_is_stored_in_chunks_and_invisible_until_it_is_whole() {
    let world = World::default();
    let mut driver = driver(&world);
    let (answer, mut answered) = oneshot::channel();
    driver.turn(vec![Request::Submit { submission: submission("big", 1200), answer }]);
    driver.turn(vec![]);
    let plan = PlanId(1);
    assert_eq!((world.plan(plan).staged_tasks, world.plan(plan).is_on), (500, false));
    assert!(matches!(apply(&mut driver, approve(plan, Mode::Max)), Err(ApplyError::Refused(_))));
    driver.turn(vec![]);
    driver.turn(vec![]);
    answered.try_recv().unwrap().unwrap();
    assert_eq!((world.plan(plan).staged_tasks, world.plan(plan).is_on), (1200, true));
}

#[test]
fn the_end_of_a_stream_that_could_not_be_noted_is_noted_later() {
    let world = World::default();
    let mut driver = driver(&world);
    session(&mut driver, hello());
    world.faults.borrow_mut().commit = Some(StoreError::Unavailable("disk full".to_owned()));
    session(&mut driver, SessionEvent::Closed);
    assert_eq!(driver.engine.connected().len(), 1);
    world.faults.borrow_mut().commit = None;
    driver.turn(vec![]);
    assert_eq!(driver.engine.connected().len(), 0);
}

#[test]
fn what_was_stored_by_a_commit_that_failed_holds_for_workers_too() {
    let world = World::default();
    let mut driver = driver(&world);
    session(&mut driver, hello());
    let plan = submit(&mut driver, "one", 1).plan;
    world.take_sent();
    // Stored all the same: the worker drains.
    world.stored.borrow_mut().workers.values_mut().for_each(|row| row.draining = true);
    world.faults.borrow_mut().commit = Some(StoreError::Unavailable("i/o".to_owned()));
    session(&mut driver, SessionEvent::Draining);
    world.faults.borrow_mut().commit = None;
    apply(&mut driver, approve(plan, Mode::Max)).unwrap();
    assert!(world.grants().is_empty(), "granted to a worker that drains");
}

#[test]
fn a_full_disk_is_tried_again_after_a_rest_and_at_once_by_who_asks() {
    let world = World::default();
    let mut driver = driver(&world);
    let plan = submit(&mut driver, "five", 5).plan;
    session(&mut driver, hello());
    apply(&mut driver, approve(plan, Mode::Standard)).unwrap();
    assert_eq!(world.grants().len(), 3);
    world.faults.borrow_mut().commit = Some(StoreError::Unavailable("disk full".to_owned()));
    // Asked by another program, and leases that nobody was heard of for long.
    world.stored.borrow_mut().plans.entry(plan).and_modify(|plan| plan.column = Some("max".to_owned()));
    *world.now.borrow_mut() += 60_000;
    driver.turn(vec![]);
    let loads = *world.loads.borrow();
    for _ in 0..10 {
        assert!(!driver.until_due().is_zero(), "nothing is due while the disk is full");
        driver.turn(vec![]);
    }
    assert_eq!(*world.loads.borrow(), loads, "nothing was tried, so nothing was read back");
    let cancel = || Input::Cancel { plan, by: "tester".to_owned(), note: String::new() };
    assert_eq!(apply(&mut driver, cancel()), Err(ApplyError::Unavailable("disk full".to_owned())));
    assert_eq!(*world.loads.borrow(), loads + 1, "who asks is heard at once");

    *world.now.borrow_mut() += driver.until_due().as_millis() as u64;
    driver.turn(vec![]);
    assert_eq!(*world.loads.borrow(), loads + 2, "it is tried again by itself");

    world.faults.borrow_mut().commit = None;
    *world.now.borrow_mut() += driver.until_due().as_millis() as u64;
    driver.turn(vec![]);
    assert_eq!(world.plan(plan).row.mode, Some(Mode::Max));
}

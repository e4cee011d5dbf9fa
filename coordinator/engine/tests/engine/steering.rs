//! Pauses and what ends them: persons, budgets, workers, poison; and what an embedded run serves.

use wavegate_engine::{
    HoldReason, Input, LeaseId, Message, Missing, Mode, PauseReason, PlanState, Refusal, Reply, Scope,
    TaskState, WaveBlock,
    spec::{Budget, OnLost},
};

use crate::environment::*;

/// What a restored database is known by.
fn restored() -> Input {
    Input::Restored { evidence: "abc".to_owned(), why: "it is a copy".to_owned() }
}

#[test]
fn a_restored_database_grants_nothing_until_a_person_resumes_the_plan() {
    let mut world = World::running(one_wave(&["A", "B", "C", "D"]), Mode::Standard);
    world.take_grants();
    world.must(restored());
    assert_eq!(world.plan_state(), PlanState::Paused(PauseReason::Restored));
    world.succeed("A");
    world.nothing_else_sent();
    world.must(Input::Resume { plan: P1, by: "me".to_owned(), task: None, add: Budget::default() });
    assert_eq!(world.take_grants().len(), 1);
}

#[test]
fn a_restored_database_is_more_than_a_want_of_workers_and_less_than_a_persons_pause() {
    let mut world = World::new();
    world.start(one_wave(&["A"]), Mode::Standard);
    world.pass(20 * 60_000);
    assert_eq!(world.plan_state(), PlanState::Paused(PauseReason::NoWorker));
    world.must(restored());
    world.connect(WorkerBuilder::new("w1"));
    assert_eq!(world.plan_state(), PlanState::Paused(PauseReason::Restored), "it does not go on by itself");
    world.must(Input::Pause { plan: P1, by: "me".to_owned(), note: String::new() });
    world.must(restored());
    assert_eq!(world.plan_state(), PlanState::Paused(PauseReason::Operator));
}

/// A plan that is blocked for want of a word on A, whose worker vanished with it.
fn blocked_by_a_loss() -> (World, LeaseId) {
    let plan = one_wave(&["A"]).task("A", |task| task.on_lost = OnLost::Hold);
    let mut world = World::running(plan, Mode::Standard);
    let lease = world.granted_only(&["A"])[0];
    world.lose("A");
    assert_eq!(world.plan_state(), PlanState::Blocked(WaveBlock::Tasks));
    (world, lease)
}

#[test]
fn a_late_result_does_not_move_on_a_blocked_plan_of_a_restored_database() {
    let (mut world, lease) = blocked_by_a_loss();
    world.must(restored());
    assert_eq!(world.plan_state(), PlanState::Paused(PauseReason::Restored));
    assert_eq!(world.report(lease, success()), Message::Accepted { lease });
    assert_eq!(world.task_state("A"), TaskState::Submitted);
    assert_eq!(world.plan_state(), PlanState::Paused(PauseReason::Restored));
    world.granted_only(&[]);
    world.resume(P1);
    assert_eq!(world.plan_state(), PlanState::Running);
    world.granted_only(&["validate W1"]);
}

#[test]
fn a_blocked_plan_of_a_restored_database_is_blocked_again_when_it_is_resumed() {
    let (mut world, _) = blocked_by_a_loss();
    world.must(restored());
    world.resume(P1);
    assert_eq!(world.plan_state(), PlanState::Blocked(WaveBlock::Tasks));
    world.must(restored());
    world.retry("A").expect("its task is blocked");
    assert_eq!(world.plan_state(), PlanState::Paused(PauseReason::Restored), "that begins nothing by itself");
    world.granted_only(&[]);
    world.resume(P1);
    world.granted_only(&["A"]);
}

#[test]
fn a_paused_plan_accepts_results_and_grants_nothing() {
    let mut world = World::running(one_wave(&["A", "B", "C", "D"]), Mode::Standard);
    world.take_grants();
    world.pause(P1);
    world.succeed("A");
    assert_eq!(world.task_state("A"), TaskState::Submitted);
    world.granted_only(&[]);
    assert_eq!(world.hold("D"), Some(HoldReason::PlanPaused(PauseReason::Operator)));
    world.resume(P1);
    world.granted_only(&["D"]);
}

#[test]
fn only_what_is_paused_can_be_resumed() {
    let mut world = World::new();
    let plan = world.submit(one_wave(&["A"]));
    let resume = Input::Resume { plan, by: "ada".to_owned(), task: None, add: Budget::default() };
    assert!(matches!(world.apply(resume), Err(Refusal::PlanState { .. })));
}

#[test]
fn a_plan_that_nobody_can_work_on_pauses_and_goes_on_when_somebody_comes() {
    let mut world = World::new();
    world.connect(WorkerBuilder::new("w1").runner("claude"));
    world.start(one_wave(&["A"]), Mode::Standard);
    world.pass_with(599_000, &["w1"]);
    assert_eq!(world.plan_state(), PlanState::Running);
    world.pass_with(10_000, &["w1"]);
    assert_eq!(world.plan_state(), PlanState::Paused(PauseReason::NoWorker));
    world.connect(WorkerBuilder::new("w2"));
    world.granted_only(&["A"]);
    assert_eq!(world.plan_state(), PlanState::Running);
}

#[test]
fn a_pause_for_want_of_a_worker_outlives_a_restart_with_a_retry_due() {
    let mut world = World::running(one_wave(&["A"]), Mode::Standard);
    world.fail("A");
    world.disconnect("w1");
    world.pass(11 * 60_000);
    assert_eq!(world.plan_state(), PlanState::Paused(PauseReason::NoWorker));
    world.restart();
    assert_eq!(world.plan_state(), PlanState::Paused(PauseReason::NoWorker));
}

#[test]
fn a_plan_that_the_store_refused_does_not_go_on_when_a_worker_comes() {
    let mut world = World::new();
    world.start(one_wave(&["A"]), Mode::Standard);
    world.pass(11 * 60_000);
    world.must(Input::PausePoisoned { plan: P1, error: "no".to_owned() });
    assert_eq!(world.plan_state(), PlanState::Paused(PauseReason::Store));
    world.connect(WorkerBuilder::new("w1"));
    world.granted_only(&[]);
}

#[test]
fn a_budget_pauses_before_it_is_passed_and_more_budget_moves_on() {
    let mut world = World::running(one_wave(&["A", "B", "C"]).token_budget(65_000), Mode::Standard);
    world.granted_only(&["A", "B"]);
    assert_eq!(world.plan_state(), PlanState::Paused(PauseReason::Budget));
    world.finish("A", spending(40_000));
    world.resume(P1);
    assert_eq!(world.plan_state(), PlanState::Paused(PauseReason::Budget), "40,000 + 30,000 + 30,000");
    let (add, by) = (Budget { tokens: Some(35_000), micro_usd: None }, "ada".to_owned());
    world.must(Input::Resume { plan: P1, by, task: None, add });
    world.granted_only(&["C"]);
}

#[test]
fn cancel_frees_everything_and_a_plan_without_leases_is_forgotten() {
    let mut world = World::new();
    world.start(one_wave(&["A"]), Mode::Standard);
    world.cancel(P1);
    assert_eq!(world.engine.open_plans().count(), 0);
    let again = Input::Cancel { plan: P1, by: "ada".to_owned(), note: String::new() };
    assert_eq!(world.apply(again), Err(Refusal::NoOpenPlan(P1)));
}

#[test]
fn an_embedded_run_serves_only_what_was_asked_for_since_its_start() {
    let mut world = World::with(|config| config.scope = Scope::Asked);
    world.start(one_wave(&["A"]), Mode::Standard);
    world.restart();
    world.connect(WorkerBuilder::new("w1"));
    world.granted_only(&[]);
    assert_eq!(world.hold("A"), Some(HoldReason::NotServed));
    world.must(Input::Serve { plan: P1 });
    world.granted_only(&["A"]);
}

#[test]
fn an_embedded_run_leaves_another_plans_pause_alone() {
    let mut world = World::with(|config| config.scope = Scope::Asked);
    world.start(one_wave(&["A"]), Mode::Standard);
    world.pass(11 * 60_000);
    world.restart();
    world.connect(WorkerBuilder::new("w1"));
    assert_eq!(world.plan_state(), PlanState::Paused(PauseReason::NoWorker));
}

#[test]
fn approving_a_long_chain_of_tasks_on_one_file_warns_of_none_of_its_pairs() {
    let keys: Vec<_> = (0..500).map(|at| format!("T{at}")).collect();
    let keys: Vec<_> = keys.iter().map(String::as_str).collect();
    let files = |task: &mut wavegate_engine::spec::TaskShape| task.files = vec!["src/a.rs".to_owned()];
    let approve = |plan: PlanBuilder| {
        let mut world = World::new();
        let plan = world.submit(plan);
        let by = "ada".to_owned();
        world.apply(Input::Approve { plan, mode: Some(Mode::Standard), by, estimates: None })
    };
    let warnings = |reply| match reply {
        Ok(Reply::Mode { warnings, .. }) => warnings,
        other => panic!("{other:?}"),
    };
    assert_eq!(warnings(approve(chain(&keys).each(files))), Vec::<String>::new());
    let told = warnings(approve(one_wave(&keys).each(files)));
    assert_eq!(told.len(), 6);
    assert!(told[5].starts_with("and at least 995 more pairs"), "{}", told[5]);
}

#[test]
fn each_hold_says_why_in_words() {
    let words = |reason: HoldReason| reason.to_string();
    assert_eq!(words(HoldReason::Cap), "three leases live");
    assert_eq!(words(HoldReason::Dependencies(listed(&["A"], 0))), "A not submitted");
    assert_eq!(words(HoldReason::Delay { ms: 4_200 }), "retry in 5 s");
    assert_eq!(words(HoldReason::NoWorker(Missing::Any)), "no worker is connected");
    assert_eq!(words(HoldReason::MaxAgents(2)), "2 agents at work, the coordinator's limit");
    assert_eq!(words(HoldReason::PlanPaused(PauseReason::Budget)), "the plan is paused (budget)");
}

#[test]
fn what_no_worker_has_is_named() {
    let mut world = World::new();
    let needs = |task: &mut wavegate_engine::spec::TaskShape| task.demand.requires = vec!["gpu".to_owned()];
    world.start(one_wave(&["A"]).task("A", needs), Mode::Standard);
    assert_eq!(world.hold("A"), Some(HoldReason::NoWorker(Missing::Any)));
    world.connect(WorkerBuilder::new("w1").runner("claude"));
    assert_eq!(world.hold("A"), Some(HoldReason::NoWorker(Missing::Runner("shell".to_owned()))));
    world.connect(WorkerBuilder::new("w2"));
    assert_eq!(world.hold("A"), Some(HoldReason::NoWorker(Missing::Labels(vec!["gpu".to_owned()]))));
    world.connect(WorkerBuilder::new("w3").labels(&["gpu"]));
    world.granted_only(&["A"]);
}

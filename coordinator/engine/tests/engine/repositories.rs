//! Plans on a repository: publishing by a worker's lease, targets that move, conflicts that are resolved on the
//! other side's work, and declared files.

use wavegate_engine::{
    EventKind, HoldReason, LeaseWork, Missing, Mode, Outcome, PauseReason, PlanState, ReleaseReason, Report,
    TaskState, WaveState, WorkBrief, spec::WorkspaceKind,
};

use crate::environment::*;

fn on_git(plan: PlanBuilder) -> PlanBuilder {
    plan.workspace(WorkspaceKind::Git)
}

/// A wave whose candidate was approved.
fn approved_wave(plan: PlanBuilder, tasks: &[&str]) -> World {
    let mut world = World::running(on_git(plan), Mode::Standard);
    world.succeed_all(tasks);
    world.finish("integrate W1", candidate(9));
    world.judge("W1", approved());
    world
}

#[test]
fn an_approved_candidate_is_published_by_a_lease_and_only_then_done() {
    let mut world = approved_wave(plan().wave("W1", &["A"]).wave("W2", &["B"]), &["A"]);
    assert_eq!(
        (world.wave_state("W1"), world.task_state("A")),
        (WaveState::Publishing, TaskState::Submitted)
    );
    let grants = world.take_grants();
    let publish = grants.last().expect("a grant");
    assert_eq!(publish.what, "publish W1");
    assert_eq!(publish.brief, WorkBrief::Publish { base: None, candidate: digest(9) });
    world.finish("publish W1", candidate(10));
    assert_eq!((world.wave_state("W1"), world.task_state("A")), (WaveState::Done, TaskState::Done));
    let next = world.take_grants();
    let WorkBrief::Task { base, .. } = &next[0].brief else { panic!("{next:?}") };
    assert_eq!(*base, Some(digest(10)), "the next wave begins from what was published");
}

#[test]
fn a_target_that_moved_is_integrated_and_judged_again_and_nobody_is_rejected() {
    let mut world = approved_wave(one_wave(&["A"]), &["A"]);
    world.finish("publish W1", report(Outcome::TargetMoved));
    assert_eq!(
        (world.wave_state("W1"), world.task_state("A")),
        (WaveState::Integrating, TaskState::Submitted)
    );
    assert_eq!(world.counters("A"), (1, 0, 0, 0, 2), "a round, and no rejection");
    world.finish("integrate W1", Report { target: Some(digest(20)), ..candidate(11) });
    assert_eq!(world.store.plans[&P1].row.tree, Some(digest(20)), "the plan goes on from what is there now");
    world.judge("W1", approved());
    world.finish("publish W1", candidate(12));
    assert_eq!(world.plan_state(), PlanState::Done);
}

#[test]
fn a_target_that_moves_five_times_pauses_the_plan() {
    let mut world = approved_wave(one_wave(&["A"]), &["A"]);
    for _ in 0..4 {
        world.finish("publish W1", report(Outcome::TargetMoved));
        world.finish("integrate W1", candidate(9));
        world.judge("W1", approved());
    }
    world.finish("publish W1", report(Outcome::TargetMoved));
    assert_eq!(world.plan_state(), PlanState::Paused(PauseReason::TargetMoved));
    world.resume(P1);
    world.finish("integrate W1", candidate(9));
    assert_eq!(world.wave_state("W1"), WaveState::Validating);
}

#[test]
fn publishing_that_fails_is_tried_three_times_and_then_a_person_is_asked() {
    let mut world = approved_wave(one_wave(&["A"]), &["A"]);
    world.finish("publish W1", report(Outcome::Failed));
    world.lose("publish W1");
    assert_eq!(world.plan_state(), PlanState::Running);
    world.finish("publish W1", report(Outcome::Failed));
    assert_eq!(world.plan_state(), PlanState::Paused(PauseReason::Integration));
    assert_eq!(world.wave_state("W1"), WaveState::Publishing, "what was judged stays judged");
    world.resume(P1);
    world.finish("publish W1", candidate(10));
    assert_eq!(world.plan_state(), PlanState::Done);
}

#[test]
fn what_reached_the_target_although_the_plan_was_cancelled_is_said() {
    let mut world = approved_wave(one_wave(&["A"]), &["A"]);
    world.cancel(P1);
    let before = world.store.events.len();
    world.finish("publish W1", candidate(10));
    let said: Vec<_> = world.store.events[before..].iter().map(|event| event.kind).collect();
    assert!(said.contains(&EventKind::WavePublished), "{said:?}");
    assert_eq!((world.plan_state(), world.wave_state("W1")), (PlanState::Cancelled, WaveState::Cancelled));
}

#[test]
fn a_task_that_conflicts_is_built_on_what_it_conflicts_with() {
    let mut world = World::running(on_git(one_wave(&["A", "B", "C"])), Mode::Standard);
    for (task, mark) in [("A", 1), ("B", 2), ("C", 3)] {
        world.finish(task, changed(mark));
    }
    world.take_grants();
    world.finish("integrate W1", conflict_with("B", &["A", "B", "nobody"]));
    let grants = world.take_grants();
    let WorkBrief::Task { layers, .. } = &grants[0].brief else { panic!("{grants:?}") };
    assert_eq!((grants[0].what.as_str(), layers.as_slice()), ("B", &[digest(1)][..]));
    world.finish("B", changed(4));
    let grants = world.take_grants();
    let WorkBrief::Integrate { results, .. } = &grants[0].brief else { panic!("{grants:?}") };
    let built_on: Vec<_> = results.iter().map(|result| result.built_on.len()).collect();
    assert_eq!(built_on, [0, 1, 0]);
    // What it is built on goes back: so does it, and waits for it.
    world.finish("integrate W1", candidate(9));
    world.judge("W1", rejected(&["A"]));
    assert!(matches!(world.task_state("B"), TaskState::Pending { .. }));
    assert_eq!(world.hold("B"), Some(HoldReason::Dependencies(listed(&["A"], 0))));
}

#[test]
fn results_come_after_what_they_were_built_on_whatever_the_plans_order() {
    let mut world = World::running(on_git(one_wave(&["A", "B", "C"]).needs("A", &["C"])), Mode::Max);
    world.finish("B", changed(2));
    world.finish("C", changed(3));
    world.take_grants();
    world.finish("A", changed(1));
    let grants = world.take_grants();
    let WorkBrief::Integrate { results, .. } = &grants[0].brief else { panic!("{grants:?}") };
    let changes: Vec<_> = results.iter().map(|result| result.changes).collect();
    assert_eq!(changes, [Some(digest(2)), Some(digest(3)), Some(digest(1))]);
}

#[test]
fn a_worker_that_cannot_reach_the_repository_is_passed_over_until_it_connects_anew() {
    let mut world = World::new();
    world.connect(WorkerBuilder::new("w1"));
    world.start(on_git(one_wave(&["A"])), Mode::Standard);
    world.release("A", ReleaseReason::Repository);
    assert_eq!(world.counters("A"), (1, 0, 0, 0, 1), "nobody's fault");
    let missing = HoldReason::NoWorker(Missing::Repository("/srv/repository".to_owned()));
    assert_eq!(world.hold("A"), Some(missing));
    world.connect(WorkerBuilder::new("w2"));
    let grants = world.take_grants();
    assert_eq!((grants[1].what.as_str(), grants[1].worker.as_str()), ("A", "w2"));
    world.release("A", ReleaseReason::Repository);
    world.disconnect("w1");
    world.connect(WorkerBuilder::new("w1"));
    let grants = world.take_grants();
    assert_eq!((grants[0].what.as_str(), grants[0].worker.as_str()), ("A", "w1"));
}

#[test]
fn in_standard_tasks_that_declare_the_same_files_take_turns() {
    let files = |path: &'static str| {
        move |task: &mut wavegate_engine::spec::TaskShape| task.files.push(path.to_owned())
    };
    let build = || {
        let plan = one_wave(&["A", "B", "C"]);
        plan.task("A", files("src/a.rs")).task("B", files("src/*.rs")).task("C", files("docs"))
    };
    let mut world = World::running(build(), Mode::Standard);
    world.granted_only(&["A", "C"]);
    assert_eq!(world.hold("B"), Some(HoldReason::FilesOverlap("A".to_owned())));
    world.finish("A", success());
    world.granted_only_after_answers(&["B"]);
    World::running(build(), Mode::Max).granted_only(&["A", "B", "C"]);
}

#[test]
fn a_worker_that_cannot_publish_counts_as_a_failure_and_it_is_granted_again() {
    let mut world = approved_wave(one_wave(&["A"]), &["A"]);
    let lease = world.lease("publish W1");
    assert_eq!(world.store.leases[&lease].work, LeaseWork::Publish { candidate: digest(9) });
    world.take_grants();
    world.release("publish W1", ReleaseReason::Unable);
    assert_eq!(world.wave("W1").integrate_failures, 1);
    world.granted_only(&["publish W1"]);
}

#[test]
fn waves_are_published_one_after_the_other_each_from_what_the_one_before_left() {
    let plan = on_git(plan().free_wave("W1", &["A"]).free_wave("W2", &["B"]));
    let mut world = World::running(plan, Mode::Max);
    world.succeed_all(&["A", "B"]);
    world.finish("integrate W1", Report { target: Some(digest(20)), ..candidate(1) });
    world.judge("W1", approved());
    world.finish("publish W1", candidate(2));
    // It was built before the other was published, and knows a target that is older.
    world.finish("integrate W2", Report { target: Some(digest(20)), ..candidate(3) });
    assert_eq!(world.plan().tree, Some(digest(2)), "what was published is not forgotten");
    world.take_grants();
    world.judge("W2", approved());
    let grants = world.take_grants();
    assert_eq!(grants[0].brief, WorkBrief::Publish { base: Some(digest(2)), candidate: digest(3) });
}

#[test]
fn two_approved_waves_do_not_publish_at_the_same_time() {
    let plan = on_git(plan().free_wave("W1", &["A"]).free_wave("W2", &["B"]));
    let mut world = World::running(plan, Mode::Max);
    world.succeed_all(&["A", "B"]);
    world.finish("integrate W1", candidate(1));
    world.finish("integrate W2", candidate(2));
    world.take_grants();
    world.judge("W1", approved());
    world.judge("W2", approved());
    world.granted_only(&["publish W1"]);
    world.finish("publish W1", candidate(3));
    world.granted_only_after_answers(&["publish W2"]);
}

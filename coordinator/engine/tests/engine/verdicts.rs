//! Thor's rounds, integration, and verdicts from outside.

use wavegate_engine::{
    Decision, Input, Mode, Outcome, PauseReason, PlanState, Refusal, ReleaseReason, Role, TaskBlock,
    TaskState, WaveBlock, WaveIx, WaveState, WorkBrief,
    spec::{ThorKind, WorkspaceKind},
};

use crate::environment::*;

const PENDING: TaskState = TaskState::Pending { not_before: None };

fn judged_wave(plan: PlanBuilder, tasks: &[&str]) -> World {
    let mut world = World::running(plan, Mode::Standard);
    world.succeed_all(tasks);
    world.take_grants();
    world
}

#[test]
fn an_approved_wave_is_done_and_the_next_begins() {
    let mut world = judged_wave(plan().wave("W1", &["A"]).wave("W2", &["B"]), &["A"]);
    assert_eq!(world.task_state("A"), TaskState::Submitted);
    world.judge("W1", approved());
    assert_eq!((world.task_state("A"), world.wave_state("W1")), (TaskState::Done, WaveState::Done));
    world.granted_only(&["B"]);
}

#[test]
fn a_rejected_task_goes_back_with_what_was_built_on_it() {
    let plan = chain(&["A", "B", "C"]).wave("W2", &["D"]);
    let mut world = judged_wave(plan, &["A", "B", "C"]);
    world.judge("W1", rejected(&["B"]));
    assert_eq!(world.task_state("A"), TaskState::Submitted);
    assert_eq!(world.task_state("C"), PENDING);
    assert_eq!((world.counters("B").3, world.counters("C").3), (1, 0), "no rejection of C");
    world.granted_only(&["B"]);
}

#[test]
fn the_waves_own_verify_rejects_all_its_tasks_once() {
    let mut world = judged_wave(one_wave(&["A", "B"]), &["A", "B"]);
    world.judge("W1", rejected(&["", "A"]));
    assert_eq!((world.counters("A").3, world.counters("B").3), (1, 1));
}

#[test]
fn the_third_rejection_blocks_the_task_and_escalates() {
    let mut world = judged_wave(one_wave(&["A"]), &["A"]);
    for _ in 0..2 {
        world.judge("W1", rejected(&["A"]));
        world.succeed("A");
    }
    world.judge("W1", rejected(&["A"]));
    assert_eq!(world.task_state("A"), TaskState::Blocked(TaskBlock::Rejections));
    assert_eq!(world.wave_state("W1"), WaveState::Blocked(WaveBlock::Escalated));
    assert_eq!(world.plan_state(), PlanState::Blocked(WaveBlock::Escalated));
}

#[test]
fn a_challenged_task_gives_evidence_and_its_changes_are_refused() {
    let plan = one_wave(&["A"]).workspace(WorkspaceKind::Dir);
    let mut world = World::running(plan, Mode::Standard);
    world.finish("A", changed(1));
    world.finish("integrate W1", candidate(9));
    world.judge("W1", challenged(&["A"]));
    assert!(world.task("A").evidence_only);
    world.finish("A", changed(2));
    let result = world.task("A").result.clone().expect("a result");
    assert_eq!((result.changes, result.attempt), (Some(digest(1)), 2));
    assert!(!world.task("A").evidence_only);
}

#[test]
fn a_challenge_sends_no_dependents_back_and_they_keep_what_they_are_built_on() {
    let plan = chain(&["A", "B", "C"]).workspace(WorkspaceKind::Dir);
    let mut world = World::running(plan, Mode::Standard);
    for (task, mark) in [("A", 1), ("B", 2), ("C", 3)] {
        world.finish(task, changed(mark));
    }
    world.finish("integrate W1", candidate(9));
    world.take_grants();
    world.judge("W1", challenged(&["A", "C"]));
    assert_eq!(world.task_state("B"), TaskState::Submitted);
    let grants = world.take_grants();
    let layers = vec![digest(1), digest(2)];
    let brief = WorkBrief::Task { base: None, layers, own: None, budget_micro_usd: None };
    assert_eq!(grants.iter().find(|grant| grant.what == "C").map(|grant| &grant.brief), Some(&brief));
}

#[test]
fn an_escalated_wave_blocks_until_a_person_resolves() {
    let mut world = judged_wave(one_wave(&["A", "B"]), &["A", "B"]);
    world.judge("W1", escalated(&["A"]));
    assert_eq!(world.task_state("A"), TaskState::Blocked(TaskBlock::Rejections));
    assert_eq!(world.task_state("B"), TaskState::Submitted);
    assert_eq!(world.plan_state(), PlanState::Blocked(WaveBlock::Escalated));
    world.granted_only(&[]);
}

#[test]
fn nonsense_is_never_taken_for_approval_and_thor_is_asked_three_times() {
    let mut world = judged_wave(one_wave(&["A"]), &["A"]);
    world.judge("W1", rejected(&[]));
    world.granted_only(&["validate W1"]);
    world.judge("W1", rejected(&["Z"]));
    world.granted_only(&["validate W1"]);
    world.finish("validate W1", success());
    assert_eq!(world.plan_state(), PlanState::Paused(PauseReason::Validation));
    assert_eq!(world.task_state("A"), TaskState::Submitted);
    world.resume(P1);
    world.granted_only(&["validate W1"]);
}

#[test]
fn a_thor_or_an_integration_that_says_three_times_that_it_cannot_pauses_the_plan() {
    let plan = one_wave(&["A"]).workspace(WorkspaceKind::Dir);
    let mut world = judged_wave(plan, &["A"]);
    (0..3).for_each(|_| world.release("integrate W1", ReleaseReason::Unable));
    assert_eq!(world.plan_state(), PlanState::Paused(PauseReason::Integration));
    world.resume(P1);
    world.finish("integrate W1", candidate(9));
    (0..3).for_each(|_| world.release("validate W1", ReleaseReason::Unable));
    assert_eq!(world.plan_state(), PlanState::Paused(PauseReason::Validation));
}

#[test]
fn a_thor_that_is_lost_three_times_pauses_the_plan() {
    let mut world = judged_wave(one_wave(&["A"]), &["A"]);
    for _ in 0..2 {
        world.lose("validate W1");
        world.granted_only(&["validate W1"]);
    }
    world.lose("validate W1");
    assert_eq!(world.plan_state(), PlanState::Paused(PauseReason::Validation));
}

#[test]
fn the_late_verdict_of_a_lost_thor_is_refused() {
    let mut world = judged_wave(one_wave(&["A"]), &["A"]);
    let stale = world.lease("validate W1");
    world.lose("validate W1");
    let answer = world.report(stale, judged(approved()));
    assert!(matches!(answer, wavegate_engine::Message::Refused { .. }));
    assert_eq!(world.wave_state("W1"), WaveState::Validating);
}

#[test]
fn thor_is_never_who_did_the_work_if_another_can() {
    let mut world = World::running(one_wave(&["A"]), Mode::Standard);
    world.connect(WorkerBuilder::new("w2").roles(&[Role::Thor]).slots(1));
    world.succeed("A");
    let grants: Vec<_> = world.take_grants().into_iter().map(|grant| (grant.what, grant.worker)).collect();
    assert_eq!(grants[1..], [("validate W1".to_owned(), "w2".to_owned())]);
}

#[test]
fn while_the_other_thor_is_full_the_wave_says_that_it_waits_for_a_slot() {
    let mut world = World::with(|_| {});
    world.connect(WorkerBuilder::new("w1").roles(&[Role::Thor]).slots(1));
    world.connect(WorkerBuilder::new("w2"));
    world.start(plan().free_wave("W1", &["A"]).free_wave("W2", &["B"]), Mode::Max);
    world.succeed_all(&["A", "B"]);
    assert_eq!(world.wave_hold(WaveIx(1)), Some(wavegate_engine::HoldReason::NoSlot));
}

#[test]
fn a_conflict_sends_the_later_task_back() {
    let plan = one_wave(&["A", "B"]).workspace(WorkspaceKind::Dir);
    let mut world = judged_wave(plan, &["A", "B"]);
    world.finish("integrate W1", conflicts(&["B"]));
    assert_eq!((world.task_state("A"), world.task_state("B")), (TaskState::Submitted, TaskState::Leased));
    world.granted_only(&["B"]);
}

#[test]
fn an_integration_that_fails_three_times_pauses_the_plan() {
    let plan = one_wave(&["A"]).workspace(WorkspaceKind::Dir);
    let mut world = judged_wave(plan, &["A"]);
    world.finish("integrate W1", report(Outcome::Failed));
    world.finish("integrate W1", conflicts(&["nobody"]));
    world.lose("integrate W1");
    assert_eq!(world.plan_state(), PlanState::Paused(PauseReason::Integration));
    assert_eq!(world.counters("A"), (1, 0, 0, 0, 1));
    world.resume(P1);
    world.finish("integrate W1", candidate(9));
    assert_eq!(world.wave_state("W1"), WaveState::Validating);
}

#[test]
fn a_target_that_moved_meanwhile_means_a_new_round_and_nobody_is_rejected() {
    let plan = plan().free_wave("W1", &["A"]).free_wave("W2", &["B"]).workspace(WorkspaceKind::Dir);
    let mut world = World::running(plan, Mode::Max);
    world.succeed_all(&["A", "B"]);
    world.finish("integrate W1", candidate(1));
    world.finish("integrate W2", candidate(2));
    world.judge("W1", approved());
    assert_eq!(world.plan().tree, Some(digest(1)));
    world.judge("W2", approved());
    assert_eq!((world.wave("W2").round, world.counters("B").3), (2, 0));
    assert_eq!(world.plan().tree, Some(digest(1)), "nothing reaches the target before");
    world.finish("integrate W2", candidate(3));
    world.judge("W2", approved());
    assert_eq!((world.plan().tree, world.plan_state()), (Some(digest(3)), PlanState::Done));
}

fn external() -> World {
    let plan = one_wave(&["A"]).with(|shape| shape.thor = ThorKind::External);
    judged_wave(plan, &["A"])
}

#[test]
fn an_external_verdict_must_name_the_present_candidate_and_round() {
    let mut world = external();
    let pending = world.engine.pending_verdicts()[0].clone();
    let stale = [(pending.round + 1, pending.candidate), (pending.round, digest(7))];
    for (round, candidate) in stale {
        let answer = world.external("W1", round, candidate, approved());
        assert!(matches!(answer, Err(Refusal::StaleVerdict { .. })), "{answer:?}");
    }
    let nonsense = world.external("W1", pending.round, pending.candidate, verdict(Decision::Rejected, &[]));
    assert_eq!(nonsense, Err(Refusal::EmptyRejection));
    let nonsense =
        world.external("W1", pending.round, pending.candidate, verdict(Decision::Approved, &["A"]));
    assert_eq!(nonsense, Err(Refusal::ApprovedFindings));
    world.external("W1", pending.round, pending.candidate, approved()).expect("it is current");
    assert_eq!(world.plan_state(), PlanState::Done);
}

#[test]
fn a_plan_judged_by_workers_takes_no_verdict_from_outside() {
    let mut world = judged_wave(one_wave(&["A"]), &["A"]);
    let candidate = world.wave("W1").candidate.expect("a candidate");
    assert_eq!(world.external("W1", 1, candidate, approved()), Err(Refusal::NotExternal(P1)));
}

#[test]
fn the_lost_thor_of_a_cancelled_plan_changes_nothing_of_its_wave() {
    let mut world = judged_wave(one_wave(&["A"]), &["A"]);
    world.cancel(P1);
    world.must(Input::Tick);
    world.disconnect("w1");
    world.pass(16 * 60_000);
    assert_eq!(world.wave("W1").validate_failures, 0);
    assert_eq!(world.wave_state("W1"), WaveState::Cancelled);
}

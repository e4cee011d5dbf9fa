//! A person's recorded word on a blocked wave, and retries.

use wavegate_engine::{
    Message, Mode, PauseReason, PlanState, Refusal, Resolution, TaskBlock, TaskState, VerdictSource,
    WaveBlock, WaveState, spec::OnLost, spec::WorkspaceKind,
};

use crate::environment::*;

/// A and B; A is escalated.
fn escalated_wave() -> World {
    let mut world = World::running(one_wave(&["A", "B"]), Mode::Standard);
    world.succeed_all(&["A", "B"]);
    world.judge("W1", escalated(&["A"]));
    world.take_grants();
    world
}

#[test]
fn approve_makes_the_wave_done_and_records_who_and_why() {
    let mut world = escalated_wave();
    world.resolve(Resolution::Approve, &[]).expect("there is a candidate");
    assert_eq!((world.task_state("A"), world.plan_state()), (TaskState::Done, PlanState::Done));
    let last = world.store.verdicts.last().expect("it is recorded");
    assert_eq!((last.source, last.by.as_str()), (VerdictSource::Override, "ada"));
    assert!(last.note.contains("because"));
}

#[test]
fn rework_begins_anew_with_fresh_counters() {
    let mut world = escalated_wave();
    world.resolve(Resolution::Rework, &[]).expect("a blocked wave");
    world.granted_only(&["A"]);
    assert_eq!(world.counters("A").3, 0);
    assert_eq!(world.task_state("B"), TaskState::Submitted);
    assert_eq!(world.plan_state(), PlanState::Running);
}

#[test]
fn skip_goes_on_without_the_task() {
    let mut world = escalated_wave();
    world.resolve(Resolution::Skip, &["A"]).expect("a blocked wave");
    world.granted_only(&["validate W1"]);
    world.judge("W1", approved());
    assert_eq!((world.task_state("A"), world.task_state("B")), (TaskState::Skipped, TaskState::Done));
}

#[test]
fn cancel_ends_the_plan() {
    let mut world = escalated_wave();
    world.resolve(Resolution::Cancel, &[]).expect("a blocked wave");
    assert_eq!(world.plan_state(), PlanState::Cancelled);
}

#[test]
fn what_cannot_be_resolved_is_refused_in_words_and_changes_nothing() {
    let mut world = escalated_wave();
    let note = world.resolve_wave("", Resolution::Approve, &[], " ");
    assert_eq!(note, Err(Refusal::NoteMissing));
    let wave = world.resolve_wave("W9", Resolution::Approve, &[], "because");
    assert_eq!(wave, Err(Refusal::NoWave { plan: P1, wave: "W9".to_owned() }));
    let task = world.resolve(Resolution::Rework, &["Z"]);
    assert_eq!(task, Err(Refusal::NoTask { plan: P1, task: "Z".to_owned() }));
    let state = world.resolve(Resolution::Skip, &["B"]);
    assert!(matches!(state, Err(Refusal::TaskNotBlocking { .. })));
    assert_eq!(world.plan_state(), PlanState::Blocked(WaveBlock::Escalated));
}

#[test]
fn a_wave_without_a_judged_candidate_cannot_be_approved() {
    let plan = one_wave(&["A"]).task("A", |task| task.max_failures = 1);
    let mut world = World::running(plan, Mode::Standard);
    world.fail("A");
    let refusal = world.resolve(Resolution::Approve, &[]);
    assert_eq!(refusal, Err(Refusal::NoCandidate { wave: "W1".to_owned(), task: "A".to_owned() }));
    assert_eq!(world.resolve_wave("W1", Resolution::Rework, &[], "because").map(drop), Ok(()));
    assert_eq!(world.task_state("A"), TaskState::Leased);
}

#[test]
fn an_approved_candidate_whose_target_moved_is_built_anew_with_all_its_results() {
    let plan = plan().free_wave("W1", &["A"]).free_wave("W2", &["B", "C"]).workspace(WorkspaceKind::Dir);
    let mut world = World::running(plan, Mode::Max);
    world.succeed_all(&["A", "B", "C"]);
    world.finish("integrate W1", candidate(1));
    world.finish("integrate W2", candidate(2));
    world.judge("W2", escalated(&["B"]));
    world.judge("W1", approved());
    world.take_grants();
    world.resolve(Resolution::Approve, &[]).expect("there is a candidate");
    let grants = world.take_grants();
    let wavegate_engine::WorkBrief::Integrate { base, results } = &grants[0].brief else {
        panic!("{grants:?}");
    };
    assert_eq!((*base, results.len()), (Some(digest(1)), 2), "B's result is part of it");
    assert_eq!(world.task_state("B"), TaskState::Submitted);
}

#[test]
fn a_retried_task_begins_anew_and_unblocks_the_plan() {
    let plan = one_wave(&["A", "B"]).task("A", |task| task.max_failures = 1);
    let mut world = World::running(plan, Mode::Standard);
    world.fail("A");
    assert_eq!(world.wave_state("W1"), WaveState::Running, "siblings finish first");
    world.succeed("B");
    assert_eq!(world.wave_state("W1"), WaveState::Blocked(WaveBlock::Tasks));
    world.take_grants();
    let refused = world.retry("B");
    assert_eq!(refused, Err(Refusal::TaskState { task: "B".to_owned(), state: "submitted" }));
    world.retry("A").expect("it is blocked");
    world.granted_only(&["A"]);
    assert_eq!(world.counters("A").1, 0);
}

#[test]
fn a_challenged_task_that_failed_and_is_retried_may_change_things_again() {
    let plan = one_wave(&["A"]).task("A", |task| task.max_failures = 1);
    let mut world = World::running(plan, Mode::Standard);
    world.succeed("A");
    world.judge("W1", challenged(&["A"]));
    world.fail("A");
    world.retry("A").expect("it is blocked");
    world.finish("A", changed(5));
    assert_eq!(world.task("A").result.as_ref().and_then(|result| result.changes), Some(digest(5)));
}

#[test]
fn under_hold_a_loss_blocks_and_a_late_result_moves_it_on() {
    let plan = one_wave(&["A"]).task("A", |task| task.on_lost = OnLost::Hold);
    let mut world = World::running(plan, Mode::Standard);
    let lease = world.lease("A");
    world.lose("A");
    assert_eq!(world.task_state("A"), TaskState::Blocked(TaskBlock::Held));
    assert_eq!(world.plan_state(), PlanState::Blocked(WaveBlock::Tasks));
    assert_eq!(world.report(lease, success()), Message::Accepted { lease });
    assert_eq!((world.task_state("A"), world.plan_state()), (TaskState::Submitted, PlanState::Running));
}

#[test]
fn under_fail_the_first_loss_blocks() {
    let plan = one_wave(&["A"]).task("A", |task| task.on_lost = OnLost::Fail);
    let mut world = World::running(plan, Mode::Standard);
    world.lose("A");
    assert_eq!(world.task_state("A"), TaskState::Blocked(TaskBlock::Lost));
}

#[test]
fn a_paused_plan_whose_wave_was_blocked_meanwhile_resumes_as_blocked() {
    let mut world = World::running(one_wave(&["A"]), Mode::Standard);
    world.succeed("A");
    world.pause(P1);
    world.judge("W1", escalated(&[]));
    assert_eq!(world.plan_state(), PlanState::Paused(PauseReason::Operator));
    world.resume(P1);
    assert_eq!(world.plan_state(), PlanState::Blocked(WaveBlock::Escalated));
}

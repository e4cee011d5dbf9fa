//! What each happening does to attempt, failures, losses, rejections and round, and when it blocks.

use wavegate_engine::{Mode, Outcome, PlanState, ReleaseReason, TaskBlock, TaskState, WaveBlock, WaveState};

use crate::environment::*;

fn one() -> World {
    let mut world = World::running(one_wave(&["A"]), Mode::Standard);
    world.granted_only(&["A"]);
    world
}

#[test]
fn a_grant_counts_an_attempt_and_nothing_else() {
    let world = one();
    assert_eq!(world.counters("A"), (1, 0, 0, 0, 1));
}

#[test]
fn failure_and_timeout_count_failures_and_the_third_blocks() {
    let mut world = one();
    world.fail("A");
    assert_eq!(world.counters("A"), (1, 1, 0, 0, 1));
    world.wait_retry();
    world.finish("A", report(Outcome::TimedOut));
    assert_eq!(world.counters("A"), (2, 2, 0, 0, 1));
    world.wait_retry();
    world.release("A", ReleaseReason::Unable);
    assert_eq!(world.counters("A"), (3, 3, 0, 0, 1));
    assert_eq!(world.task_state("A"), TaskState::Blocked(TaskBlock::Failures));
    assert_eq!(world.wave_state("W1"), WaveState::Blocked(WaveBlock::Tasks));
    assert_eq!(world.plan_state(), PlanState::Blocked(WaveBlock::Tasks));
}

#[test]
fn max_failures_replaces_the_third() {
    let plan = one_wave(&["A"]).task("A", |task| task.max_failures = 1);
    let mut world = World::running(plan, Mode::Standard);
    world.fail("A");
    assert_eq!(world.task_state("A"), TaskState::Blocked(TaskBlock::Failures));
}

#[test]
fn a_vanished_worker_counts_a_loss_and_the_second_blocks() {
    let mut world = one();
    world.lose("A");
    assert_eq!(world.counters("A"), (1, 0, 1, 0, 1));
    world.wait_retry();
    world.lose("A");
    assert_eq!(world.counters("A"), (2, 0, 2, 0, 1));
    assert_eq!(world.task_state("A"), TaskState::Blocked(TaskBlock::Lost));
}

#[test]
fn drain_and_self_fencing_count_nothing_but_the_next_attempt() {
    let mut world = one();
    for (reason, attempt) in [(ReleaseReason::Drain, 2), (ReleaseReason::SelfFenced, 3)] {
        world.release("A", reason);
        assert_eq!(world.counters("A"), (attempt, 0, 0, 0, 1), "{reason}");
        world.granted_only(&["A"]);
    }
}

#[test]
fn a_restart_of_the_coordinator_and_a_reconnect_count_nothing() {
    let mut world = one();
    let lease = world.lease("A");
    world.restart();
    world.connect(WorkerBuilder::new("w1").held(&[lease]));
    world.disconnect("w1");
    world.connect(WorkerBuilder::new("w1").held(&[lease]));
    assert_eq!(world.counters("A"), (1, 0, 0, 0, 1));
    world.nothing_else_sent();
}

#[test]
fn an_unanswered_grant_counts_nothing_but_the_next_attempt() {
    let mut world = one();
    world.disconnect("w1");
    world.connect(WorkerBuilder::new("w1"));
    world.heartbeat("w1", &[], 0);
    world.next_send();
    world.granted_only(&["A"]);
    assert_eq!(world.counters("A"), (2, 0, 0, 0, 1));
}

#[test]
fn a_rejection_counts_for_the_named_task_and_a_round_for_the_wave() {
    let mut world = World::running(one_wave(&["A", "B"]), Mode::Standard);
    world.succeed_all(&["A", "B"]);
    world.judge("W1", rejected(&["A"]));
    assert_eq!(world.counters("A"), (2, 0, 0, 1, 2));
    assert_eq!(world.counters("B"), (1, 0, 0, 0, 2));
}

#[test]
fn a_challenge_counts_as_a_rejection() {
    let mut world = one();
    world.succeed("A");
    world.judge("W1", challenged(&["A"]));
    assert_eq!(world.counters("A"), (2, 0, 0, 1, 2));
}

#[test]
fn a_conflict_counts_as_a_rejection() {
    use wavegate_engine::spec::WorkspaceKind;
    let plan = one_wave(&["A", "B"]).workspace(WorkspaceKind::Dir);
    let mut world = World::running(plan, Mode::Standard);
    world.succeed_all(&["A", "B"]);
    world.finish("integrate W1", conflicts(&["B"]));
    assert_eq!(world.counters("A"), (1, 0, 0, 0, 2));
    assert_eq!(world.counters("B"), (2, 0, 0, 1, 2));
}

#[test]
fn approval_resets_rejections() {
    let mut world = one();
    world.succeed("A");
    world.judge("W1", rejected(&["A"]));
    world.succeed("A");
    world.judge("W1", approved());
    assert_eq!(world.counters("A"), (2, 0, 0, 0, 2));
    assert_eq!(world.plan_state(), PlanState::Done);
}

#[test]
fn retries_wait_longer_each_time_and_rework_starts_at_once() {
    let mut world = one();
    for (least, most) in [(5_000, 7_500), (30_000, 45_000)] {
        world.fail("A");
        world.pass_with(least - 1, &["w1"]);
        assert!(matches!(world.task_state("A"), TaskState::Pending { .. }), "before {least} ms");
        world.pass_with(most - least + 1, &["w1"]);
        assert_eq!(world.task_state("A"), TaskState::Leased, "after {most} ms");
    }
    world.succeed("A");
    world.judge("W1", rejected(&["A"]));
    assert_eq!(world.task_state("A"), TaskState::Leased);
}

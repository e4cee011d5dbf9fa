//! Results in time, late, twice, from the wrong worker, and what they cost.

use wavegate_engine::{
    HoldReason, LeaseId, Message, Mode, Outcome, PlanState, ReleaseReason, SessionEvent, TaskState, Timings,
    spec::WorkspaceKind,
};

use crate::environment::*;

fn lost_once() -> (World, LeaseId) {
    let mut world = World::running(one_wave(&["A"]), Mode::Standard);
    let lease = world.lease("A");
    world.lose("A");
    world.take_grants();
    (world, lease)
}

#[test]
fn a_result_of_a_plan_that_is_set_aside_is_kept_by_its_worker() {
    let mut world = World::running(one_wave(&["A"]), Mode::Standard);
    let lease = world.granted_only(&["A"])[0];
    world.engine.set_aside(P1);
    let past = world.store.past(lease);
    world.say("w1", SessionEvent::Finished { lease, report: Box::new(success()), past });
    let past = world.store.past(lease);
    world
        .say("w1", SessionEvent::Released { lease, reason: ReleaseReason::Drain, note: String::new(), past });
    world.nothing_else_sent();
    assert_eq!(world.store.results.get(&lease), None, "it is taken when the plan is there again");
}

#[test]
fn a_late_result_is_accepted_while_no_newer_attempt_was_granted() {
    let (mut world, lease) = lost_once();
    assert_eq!(world.report(lease, success()), Message::Accepted { lease });
    assert_eq!(world.task_state("A"), TaskState::Submitted);
    assert_eq!(world.counters("A"), (1, 0, 1, 0, 1));
}

/// A lost its lease by silence; its retry's wait is over, and nobody is there to take it.
fn away_with_a() -> (World, LeaseId) {
    let mut world = World::running(one_wave(&["A"]), Mode::Standard);
    let lease = world.lease("A");
    world.take_grants();
    world.pass(3_600_000);
    world.disconnect("w1");
    assert!(matches!(world.task_state("A"), TaskState::Pending { .. }));
    (world, lease)
}

#[test]
fn a_worker_that_comes_back_with_a_late_result_is_heard_before_a_newer_attempt_is_granted() {
    let (mut world, lease) = away_with_a();
    world.connect(WorkerBuilder::new("w1").held(&[lease]));
    world.nothing_else_sent();
    assert_eq!(world.hold("A"), Some(HoldReason::ResultOwed));
    assert_eq!(world.report(lease, success()), Message::Accepted { lease });
    assert_eq!(world.task_state("A"), TaskState::Submitted);
}

#[test]
fn a_worker_that_says_it_has_nothing_after_all_is_granted_a_newer_attempt_at_once() {
    let (mut world, lease) = away_with_a();
    world.connect(WorkerBuilder::new("w1").held(&[lease]));
    let note = String::new();
    world.say("w1", SessionEvent::Released { lease, reason: ReleaseReason::SelfFenced, note, past: None });
    assert_eq!(world.take_grants().len(), 1);
}

#[test]
fn a_wall_clock_that_was_set_back_meanwhile_holds_the_newer_attempt_up_for_no_longer_than_a_retry() {
    let (mut world, lease) = away_with_a();
    world.connect(WorkerBuilder::new("w1").held(&[lease]));
    world.utc -= 5 * 3_600_000;
    let note = String::new();
    world.say("w1", SessionEvent::Released { lease, reason: ReleaseReason::SelfFenced, note, past: None });
    world.wait_retry();
    assert_eq!(world.take_grants().len(), 1);
}

#[test]
fn a_claim_that_is_never_kept_holds_a_task_for_one_more_lost_after_only() {
    let (mut world, lease) = away_with_a();
    world.connect(WorkerBuilder::new("w1").held(&[lease]));
    let lost_after = Timings::default().lost_after_ms;
    for waited in (0..2 * lost_after).step_by(10_000) {
        world.pass_with(10_000, &[]);
        world.heartbeat("w1", &[lease], 0);
        if !world.take_grants().is_empty() {
            assert!(waited >= lost_after - 60_000, "after {waited} ms");
            return;
        }
    }
    panic!("nothing was granted");
}

#[test]
fn a_worker_that_leaves_again_without_its_late_result_holds_nothing_up() {
    let (mut world, lease) = away_with_a();
    world.connect(WorkerBuilder::new("w1").held(&[lease]));
    world.disconnect("w1");
    world.connect(WorkerBuilder::new("w2"));
    assert_eq!(world.take_grants().len(), 0);
    world.pass_with(Timings::default().unreachable_after_ms, &["w2"]);
    assert_eq!(world.take_grants().len(), 1);
}

#[test]
fn a_late_result_is_refused_after_a_newer_attempt_was_granted_even_if_that_one_failed() {
    for restart in [false, true] {
        let (mut world, lease) = lost_once();
        world.wait_retry();
        world.fail("A");
        if restart {
            world.restart();
            world.connect(WorkerBuilder::new("w1"));
        }
        let answer = world.report(lease, success());
        assert!(matches!(answer, Message::Refused { .. }), "{answer:?}");
        assert!(matches!(world.task_state("A"), TaskState::Pending { .. }));
    }
}

#[test]
fn a_late_failure_changes_nothing() {
    let (mut world, lease) = lost_once();
    assert_eq!(world.report(lease, report(Outcome::Failed)), Message::Accepted { lease });
    assert_eq!(world.counters("A"), (1, 0, 1, 0, 1));
}

#[test]
fn a_result_sent_again_is_answered_again_and_counts_once() {
    let mut world = World::running(one_wave(&["A"]), Mode::Standard);
    let lease = world.lease("A");
    world.finish("A", spending(10));
    assert_eq!(world.report(lease, spending(10)), Message::Accepted { lease });
    assert_eq!(world.plan().spent.tokens(), 10);
}

#[test]
fn a_report_on_another_workers_lease_is_refused_and_changes_nothing() {
    let mut world = World::running(one_wave(&["A"]), Mode::Standard);
    world.connect(WorkerBuilder::new("w2"));
    let lease = world.lease("A");
    assert!(matches!(world.report_by("w2", lease, success()), Message::Refused { .. }));
    world.say("w2", SessionEvent::Started { lease });
    assert_eq!(world.task_state("A"), TaskState::Leased);
    assert_eq!(world.store.leases[&lease].started, None);
}

#[test]
fn a_result_of_a_cancelled_plan_is_answered_and_the_plan_stays_cancelled() {
    let mut world = World::running(one_wave(&["A", "B"]), Mode::Standard);
    world.take_grants();
    let (a, b) = (world.lease("A"), world.lease("B"));
    world.cancel(P1);
    let cancels: Vec<_> = world.sends.drain(..).map(|send| send.message).collect();
    assert!(cancels.iter().all(|message| matches!(message, Message::Cancel { .. })) && cancels.len() == 2);
    assert_eq!(world.report(a, success()), Message::Accepted { lease: a });
    assert_eq!(world.report(b, report(Outcome::Failed)), Message::Accepted { lease: b });
    assert_eq!((world.task_state("A"), world.plan_state()), (TaskState::Cancelled, PlanState::Cancelled));
    assert_eq!(world.engine.open_plans().count(), 0, "nothing can happen any more");
}

#[test]
fn a_lost_lease_costs_its_reservation_until_its_late_result_says_what_it_was() {
    let plan = one_wave(&["A"]).token_budget(100_000);
    let mut world = World::running(plan, Mode::Standard);
    let lease = world.lease("A");
    world.say("w1", SessionEvent::Progress { lease, usage: tokens_used(5_000), models: Vec::new() });
    world.lose("A");
    assert_eq!(world.plan().spent.tokens(), 30_000);
    world.say("w1", SessionEvent::Progress { lease, usage: tokens_used(90_000), models: Vec::new() });
    assert_eq!(world.plan().spent.tokens(), 90_000, "it went on until it stopped by itself");
    assert_eq!(world.report(lease, spending(8_000)), Message::Accepted { lease });
    assert_eq!(world.plan().spent.tokens(), 8_000);
}

#[test]
fn a_lost_lease_that_used_more_than_its_reservation_costs_what_it_used() {
    let plan = one_wave(&["A"]).token_budget(100_000);
    let mut world = World::running(plan, Mode::Standard);
    let lease = world.lease("A");
    world.say("w1", SessionEvent::Progress { lease, usage: tokens_used(45_000), models: Vec::new() });
    world.lose("A");
    assert_eq!(world.plan().spent.tokens(), 45_000);
}

#[test]
fn a_released_lease_costs_its_last_progress() {
    let mut world = World::running(one_wave(&["A"]), Mode::Standard);
    let lease = world.lease("A");
    world.say("w1", SessionEvent::Progress { lease, usage: tokens_used(700), models: Vec::new() });
    world.release("A", wavegate_engine::ReleaseReason::SelfFenced);
    assert_eq!(world.plan().spent.tokens(), 700);
}

#[test]
fn a_result_without_figures_costs_what_its_worker_had_told() {
    let mut world = World::running(one_wave(&["A"]), Mode::Standard);
    let lease = world.lease("A");
    world.say("w1", SessionEvent::Progress { lease, usage: tokens_used(700), models: Vec::new() });
    world.finish("A", report(Outcome::Failed));
    assert_eq!(world.plan().spent.tokens(), 700);
}

#[test]
fn a_result_that_comes_too_late_says_what_its_lease_has_cost_once() {
    let plan = one_wave(&["A"]).token_budget(200_000);
    let mut world = World::running(plan, Mode::Standard);
    let lease = world.lease("A");
    world.lose("A");
    world.wait_retry();
    world.take_grants();
    assert_eq!(world.plan().spent.tokens(), 30_000);
    for _ in 0..2 {
        assert!(matches!(world.report(lease, spending(45_000)), Message::Refused { .. }));
        assert_eq!(world.plan().spent.tokens(), 45_000);
    }
}

#[test]
fn what_a_task_depends_on_lies_under_its_work_in_plan_order() {
    let plan = one_wave(&["A", "B", "C"]).needs("C", &["A", "B"]).workspace(WorkspaceKind::Dir);
    let mut world = World::running(plan, Mode::Standard);
    world.take_grants();
    world.finish("B", changed(2));
    world.finish("A", changed(1));
    let grants = world.take_grants();
    let layers = vec![digest(1), digest(2)];
    assert_eq!(
        grants[0].brief,
        wavegate_engine::WorkBrief::Task { base: None, layers, own: None, budget_micro_usd: None }
    );
}

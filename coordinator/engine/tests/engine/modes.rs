//! Modes: the cap, one wave at a time, tiers, and changes on the way.

use wavegate_engine::{
    HoldReason, Input, LeaseState, Mode, PlanState, Refusal, ReleaseReason, Reply, TaskState, Tier,
    WaveState, estimate::KeptEstimates,
};

use crate::environment::*;

const FIVE: [&str; 5] = ["A", "B", "C", "D", "E"];

#[test]
fn standard_grants_three_and_the_next_when_one_ends() {
    let mut world = World::running(one_wave(&FIVE), Mode::Standard);
    world.granted_only(&["A", "B", "C"]);
    assert_eq!(world.hold("D"), Some(HoldReason::Cap));
    world.succeed("B");
    world.granted_only(&["D"]);
}

#[test]
fn max_grants_all_independent_tasks_at_once() {
    let mut world = World::running(one_wave(&FIVE), Mode::Max);
    world.granted_only(&FIVE);
    assert_eq!(world.plan().tier, Some(Tier::Opus));
}

#[test]
fn the_cap_counts_unreachable_leases() {
    let mut world = World::running(one_wave(&FIVE), Mode::Standard);
    world.connect(WorkerBuilder::new("w2"));
    world.disconnect("w1");
    world.take_grants();
    world.pass_with(60_000, &["w2"]);
    assert_eq!(
        world.store.leases.values().filter(|l| matches!(l.state, LeaseState::Unreachable { .. })).count(),
        3
    );
    world.granted_only(&[]);
    world.pass_with(15 * 60_000, &["w2"]);
    assert_eq!(world.at_work().len(), 3);
}

#[test]
fn the_cap_counts_cancelling_leases() {
    // Only a cancelled plan has leases that are being cancelled: its places under --max-agents are
    // not free before its agents have ended.
    let mut world = World::with(|config| config.max_agents = Some(2));
    world.connect(WorkerBuilder::new("w1"));
    let first = world.start(one_wave(&["A", "B"]), Mode::Max);
    world.start(one_wave(&["C"]), Mode::Max);
    world.take_grants();
    world.cancel(first);
    assert!(world.take_grants().is_empty());
    world.release("A", ReleaseReason::Cancelled);
    assert_eq!(world.take_grants().len(), 1);
}

#[test]
fn from_max_to_standard_kills_nothing_and_waits_until_fewer_than_three_remain() {
    let mut world = World::running(
        one_wave(&["A", "B", "C", "D", "E", "F"]).task("F", |task| {
            task.depends_on = vec![wavegate_engine::TaskIx(0)];
        }),
        Mode::Max,
    );
    world.granted_only(&FIVE);
    world.set_mode(P1, Mode::Standard);
    world.nothing_else_sent();
    assert_eq!(world.cap_count(), 5);
    world.succeed_all(&["A", "B"]);
    world.granted_only(&[]);
    world.succeed("C");
    world.granted_only(&["F"]);
}

#[test]
fn from_standard_to_max_grants_the_rest() {
    let mut world = World::running(one_wave(&FIVE), Mode::Standard);
    world.granted_only(&["A", "B", "C"]);
    world.set_mode(P1, Mode::Max);
    world.granted_only(&["D", "E"]);
}

#[test]
fn standard_runs_one_wave_at_a_time_and_max_independent_waves_together() {
    let waves = || plan().free_wave("W1", &["A"]).free_wave("W2", &["B"]);
    let mut world = World::running(waves(), Mode::Standard);
    world.granted_only(&["A"]);
    assert_eq!(world.hold("B"), Some(HoldReason::OneWaveAtATime("W1".to_owned())));
    world.succeed("A");
    world.judge("W1", approved());
    world.take_grants();
    assert_eq!(world.at_work(), ["B"]);

    let mut world = World::running(waves(), Mode::Max);
    world.granted_only(&["A", "B"]);
}

#[test]
fn a_wave_waits_for_every_wave_it_depends_on_even_in_max() {
    let mut world = World::running(plan().wave("W1", &["A"]).wave("W2", &["B"]), Mode::Max);
    world.granted_only(&["A"]);
    assert_eq!(world.hold("B"), Some(HoldReason::WavesBefore(listed(&["W1"], 0).into())));
    world.succeed("A");
    world.granted_only(&["validate W1"]);
    assert_eq!(world.task_state("B"), TaskState::Pending { not_before: None });
    world.judge("W1", approved());
    world.granted_only(&["B"]);
}

#[test]
fn a_plan_does_not_start_without_a_mode() {
    let mut world = World::new();
    world.connect(WorkerBuilder::new("w1"));
    let plan = world.submit(one_wave(&["A"]));
    let approve = Input::Approve { plan, mode: None, by: "ada".to_owned(), estimates: None };
    assert_eq!(world.apply(approve), Err(Refusal::ModeMissing));
    world.must(Input::ModeRequested { plan, text: Some("max".to_owned()) });
    assert_eq!(world.plan_state(), PlanState::AwaitingApproval);
    assert_eq!(world.store.plans[&plan].mode_column, None, "it never approves and is written back");
    world.nothing_else_sent();
}

#[test]
fn what_was_estimated_is_kept_by_the_approval_that_counts() {
    let mut world = World::new();
    let plan = world.submit(one_wave(&["A"]));
    let kept = |prices_date: &str| KeptEstimates {
        standard_tokens: 90_000,
        max_tokens: 80_000,
        standard_micro_usd: None,
        max_micro_usd: None,
        max_coordinator_tokens: 50_000,
        prices_date: prices_date.to_owned(),
    };
    let approve = |mode, date| {
        let estimates = Some(Box::new(kept(date)));
        Input::Approve { plan, mode, by: "ada".to_owned(), estimates }
    };
    assert!(world.apply(approve(None, "first")).is_err());
    world.must(approve(Some(Mode::Standard), "second"));
    assert!(world.apply(approve(Some(Mode::Standard), "third")).is_err());
    assert_eq!(world.store.estimates[&plan], kept("second"));
}

#[test]
fn a_mode_asked_by_sql_takes_effect_and_an_unknown_one_is_written_back() {
    let mut world = World::running(one_wave(&FIVE), Mode::Standard);
    world.must(Input::ModeRequested { plan: P1, text: Some("max".to_owned()) });
    assert_eq!((world.plan().mode, world.plan().tier), (Some(Mode::Max), Some(Tier::Opus)));
    for text in [Some("turbo".to_owned()), None] {
        world.must(Input::ModeRequested { plan: P1, text });
        assert_eq!(world.plan().mode, Some(Mode::Max));
        assert_eq!(world.store.plans[&P1].mode_column.as_deref(), Some("max"));
    }
}

#[test]
fn where_opus_is_forbidden_max_is_refused_by_every_way() {
    let mut world = World::with(|config| config.max_tier = Tier::Sonnet);
    let plan = world.submit(one_wave(&["A"]));
    let approve = |mode| Input::Approve { plan, mode: Some(mode), by: "ada".to_owned(), estimates: None };
    assert_eq!(world.apply(approve(Mode::Max)), Err(Refusal::OpusForbidden));
    let standard = Reply::Mode { mode: Mode::Standard, tier: Tier::Sonnet, warnings: Vec::new() };
    assert_eq!(world.apply(approve(Mode::Standard)), Ok(standard));
    let set = Input::SetMode { plan, mode: Mode::Max, by: "ada".to_owned() };
    assert_eq!(world.apply(set), Err(Refusal::OpusForbidden));
    world.must(Input::ModeRequested { plan, text: Some("max".to_owned()) });
    assert_eq!(world.plan().mode, Some(Mode::Standard));
    assert_eq!(world.store.plans[&plan].mode_column.as_deref(), Some("standard"));
}

#[test]
fn a_plan_that_has_ended_takes_no_mode() {
    let mut world = World::running(one_wave(&["A"]), Mode::Standard);
    world.cancel(P1);
    let set = Input::SetMode { plan: P1, mode: Mode::Max, by: "ada".to_owned() };
    assert!(matches!(world.apply(set), Err(Refusal::PlanState { .. })));
    assert_eq!(world.wave_state("W1"), WaveState::Cancelled);
}

#[test]
fn max_agents_caps_all_plans_together() {
    let mut world = World::with(|config| config.max_agents = Some(3));
    world.connect(WorkerBuilder::new("w1"));
    world.start(one_wave(&["A", "B"]), Mode::Max);
    world.start(one_wave(&["C", "D"]), Mode::Max);
    let what: Vec<_> = world.take_grants().into_iter().map(|grant| grant.what).collect();
    assert_eq!(what, ["A", "B", "C"]);
    world.succeed("C");
    assert_eq!(world.take_grants().len(), 1);
}

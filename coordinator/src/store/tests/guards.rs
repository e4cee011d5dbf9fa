//! What the store refuses although it was asked by the engine, and that nothing of it is kept.

use wavegate_engine::{
    Change, LeaseId, LeaseRow, LeaseState, LeaseWork, Mode, Outcome, PlanId, PlanRow, PlanState, TaskIx,
    TaskRow, TaskState, Tier, WaveIx, WaveRow, WaveState,
};

use super::world::{NOW, World, approve, greet, report, running, task_lease};
use crate::driver::{Store as _, StoreError};

fn refused(result: Result<(), StoreError>) -> String {
    match result {
        Err(StoreError::Constraint(text)) => text,
        other => panic!("expected a constraint error, found {other:?}"),
    }
}

fn submitted() -> TaskRow {
    TaskRow {
        awaits_counsel: wavegate_engine::AwaitsCounsel::No,
        budget: Default::default(),
        spent: Default::default(),
        state: TaskState::Submitted,
        attempt: 1,
        failures: 0,
        losses: 0,
        rejections: 0,
        evidence_only: false,
        built_on: Vec::new(),
        own: None,
        result: None,
    }
}

#[test]
fn a_change_whose_old_state_is_not_in_the_database_is_refused_and_names_both() {
    let (mut world, plan, lease) = World::with_lease();
    let wave = WaveRow {
        counsel: None,
        counsel_failures: 0,
        state: WaveState::Done,
        round: 1,
        candidate: None,
        target: None,
        target_moves: 0,
        integrate_failures: 0,
        validate_failures: 0,
    };
    let cases = [
        (Change::SwitchOn(plan), "plan 1 is switched on in the database, expected staged"),
        (Change::SwitchOn(PlanId(7)), "plan 7 is not there in the database, expected staged"),
        (
            Change::Plan { id: plan, was: "paused", row: running() },
            "plan 1 is running in the database, expected paused",
        ),
        (
            Change::Wave { plan, wave: WaveIx(1), was: "running", row: wave },
            "wave number 1 of plan 1 is waiting in the database, expected running",
        ),
        (
            Change::Task { plan, task: TaskIx(2), was: "leased", row: submitted() },
            "task number 2 of plan 1 is pending in the database, expected leased",
        ),
        (
            Change::Task { plan, task: TaskIx(9), was: "leased", row: submitted() },
            "task number 9 of plan 1 is not there in the database, expected leased",
        ),
        (
            Change::Lease { was: "running", row: lease },
            "lease 00000000000000000000000000000001 is granted in the database, expected running",
        ),
    ];
    for (change, expected) in cases {
        assert_eq!(refused(world.try_write(&[change])), expected);
    }
}

#[test]
fn nothing_of_a_refused_transaction_is_kept() {
    let (mut world, plan, _) = World::with_lease();
    let task = |was| Change::Task { plan, task: TaskIx(1), was, row: submitted() };
    refused(world.try_write(&[task("pending"), task("pending")]));
    let found = world.load().tasks[1].state;
    assert_eq!(found, TaskState::Pending { not_before: None });

    // And the connection works as before.
    world.write(&[task("pending")]);
    assert_eq!(world.load().tasks[1].state, TaskState::Submitted);
}

#[test]
fn a_transaction_that_is_given_up_leaves_nothing_and_giving_up_twice_is_harmless() {
    let mut world = World::new();
    let plan = world.submit(&greet());
    world.store().begin().unwrap();
    world.store().write(&approve(plan), NOW).unwrap();
    world.store().roll_back();
    world.store().roll_back();
    assert_eq!(world.load().row.state, PlanState::AwaitingApproval);
}

#[test]
fn a_second_accepted_result_of_an_attempt_is_refused() {
    let (mut world, _, lease) = World::with_lease();
    let result =
        |accepted| Change::Result { lease: lease.id, accepted, report: Box::new(report(Outcome::Succeeded)) };
    world.write(&[result(true)]);
    assert!(refused(world.try_write(&[result(true)])).contains("already has a result"));
    // A copy that is only booked changes nothing.
    world.write(&[result(false)]);
    assert_eq!(world.store().past_lease(lease.id).unwrap().unwrap().accepted, Some(true));
}

#[test]
fn an_attempt_has_one_lease_and_a_task_one_open_lease() {
    let (mut world, plan, lease) = World::with_lease();
    let again = LeaseRow { id: LeaseId(5), ..lease.clone() };
    refused(world.try_write(&[Change::LeaseGranted(again)]));
    let beside = task_lease(plan, TaskIx(0), 2);
    refused(world.try_write(&[Change::LeaseGranted(beside.clone())]));

    let lost = LeaseRow { state: LeaseState::Lost, ..lease };
    world.write(&[Change::Lease { was: "granted", row: lost }, Change::LeaseGranted(beside)]);
}

#[test]
fn no_plan_starts_without_a_mode_and_none_runs_in_max_under_sonnet() {
    let mut world = World::new();
    let plan = world.submit(&greet());
    let start = |mode, tier| Change::Plan {
        id: plan,
        was: "awaiting_approval",
        row: PlanRow { mode, tier, ..running() },
    };
    refused(world.try_write(&[start(None, None)]));
    refused(world.try_write(&[start(Some(Mode::Max), Some(Tier::Sonnet))]));
    world.write(&[start(Some(Mode::Max), Some(Tier::Opus))]);
}

#[test]
fn a_lease_and_a_result_of_what_is_not_stored_are_refused() {
    let mut world = World::new();
    let lease = LeaseRow { work: LeaseWork::Integrate, ..task_lease(PlanId(9), TaskIx(0), 1) };
    refused(world.try_write(&[Change::LeaseGranted(lease)]));
    let report = Box::new(report(Outcome::Succeeded));
    refused(world.try_write(&[Change::Result { lease: LeaseId(1), accepted: true, report }]));
}

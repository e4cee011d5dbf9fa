//! `plans.parallel_mode`, which any SQLite client may change.

use wavegate_engine::{Change, PlanId, PlanRow, PlanState};

use super::world::{World, approve, greet, running};
use crate::driver::{ModeRequest, Store as _};

/// A plan that runs in standard and says so.
fn started() -> (World, PlanId) {
    let mut world = World::new();
    let plan = world.submit(&greet());
    let value = Some("standard".to_owned());
    world.write(&[approve(plan), Change::ModeColumn { plan, value }]);
    assert!(!world.store().has_foreign_changes().unwrap());
    (world, plan)
}

fn ask(world: &World, value: &str) {
    world.stranger().execute(&format!("UPDATE plans SET parallel_mode = {value} WHERE id = 1"), []).unwrap();
}

fn requests(world: &mut World) -> Vec<ModeRequest> {
    let found = world.store().begin().unwrap();
    world.store().roll_back();
    found
}

#[test]
fn a_change_of_the_column_is_seen_until_the_transaction_that_handles_it_is_committed() {
    let (mut world, plan) = started();
    assert_eq!(requests(&mut world), vec![]);
    ask(&world, "'max'");
    assert!(world.store().has_foreign_changes().unwrap());
    let request = ModeRequest { plan, text: Some("max".to_owned()) };
    // A transaction that is given up handles nothing.
    assert_eq!(requests(&mut world), vec![request.clone()]);
    assert!(world.store().has_foreign_changes().unwrap());

    assert_eq!(world.store().begin().unwrap(), vec![request]);
    let value = Some("standard".to_owned());
    world.store().write(&Change::ModeColumn { plan, value }, super::world::NOW).unwrap();
    world.store().commit().unwrap();
    assert!(!world.store().has_foreign_changes().unwrap());
    assert_eq!(world.load().requested_mode.as_deref(), Some("standard"));
}

#[test]
fn a_change_that_comes_while_another_is_handled_is_not_missed() {
    let (mut world, plan) = started();
    ask(&world, "'max'");
    world.store().begin().unwrap();
    world
        .store()
        .write(&Change::ModeColumn { plan, value: Some("standard".to_owned()) }, super::world::NOW)
        .unwrap();
    world.store().commit().unwrap();
    ask(&world, "'max'");
    assert!(world.store().has_foreign_changes().unwrap());
    assert_eq!(requests(&mut world).len(), 1);
}

#[test]
fn whatever_another_program_writes_is_a_request_and_never_an_error() {
    for (value, text) in [
        ("NULL", None),
        ("''", Some("")),
        ("7", Some("7")),
        ("1.5", Some("1.5")),
        ("x'ff00'", Some("\u{fffd}\0")),
        ("CAST(x'ff' AS TEXT)", Some("\u{fffd}")),
    ] {
        let (mut world, plan) = started();
        ask(&world, value);
        let text = text.map(str::to_owned);
        assert_eq!(requests(&mut world), vec![ModeRequest { plan, text: text.clone() }]);
        assert_eq!(world.load().requested_mode, text);
    }
}

#[test]
fn a_plan_that_awaits_approval_can_be_asked_for_and_one_that_ended_cannot() {
    let (mut world, plan) = started();
    let waiting = world.submit(&greet());
    let done = PlanRow { state: PlanState::Done, ..running() };
    world.write(&[Change::Plan { id: plan, was: "running", row: done }]);
    world.stranger().execute("UPDATE plans SET parallel_mode = 'max'", []).unwrap();
    assert_eq!(requests(&mut world), vec![ModeRequest { plan: waiting, text: Some("max".to_owned()) }]);
}

#[test]
fn other_changes_of_the_file_and_our_own_ask_for_nothing() {
    let (mut world, _) = started();
    world.stranger().execute_batch("CREATE TABLE theirs (a); DELETE FROM plans").unwrap();
    assert!(!world.store().has_foreign_changes().unwrap());
    assert_eq!(requests(&mut world), vec![]);
    // What they deleted does not hold us up.
    world.write(&[Change::Plan { id: PlanId(1), was: "running", row: running() }]);
}

#[test]
fn a_lock_held_by_another_program_is_a_matter_of_time() {
    let (mut world, plan) = started();
    world.opened.store.sql.busy_timeout(std::time::Duration::from_millis(20)).unwrap();
    let stranger = world.stranger();
    stranger.execute_batch("BEGIN IMMEDIATE").unwrap();
    let error = world.try_write(&[Change::ModeColumn { plan, value: None }]).unwrap_err();
    assert!(error.to_string().contains("another program holds the database"), "{error}");
    stranger.execute_batch("COMMIT").unwrap();
    world.write(&[Change::ModeColumn { plan, value: None }]);
}
